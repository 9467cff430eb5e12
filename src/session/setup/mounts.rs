//! The mounts of a profile, each onto a handle resolved inside the tree.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode as FileMode, Uid, makedev};
use rustix::io::Errno;

use super::{Error, Mode, Setup, inside};
use crate::sys::effect;
use crate::sys::inroot::Root;
use crate::sys::mount::{Access, Attached, Detached, is_root_of_mount, mount_id};
use crate::template::{Mount, MountKind};

/// Room for names; whoever fills /dev by mistake gets ENOSPC and not the host's memory.
const DEV_SIZE: u64 = 4 << 20;
/// Name and device number of each node, all of them mode 666.
const NODES: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];
const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];
const TTY_GROUP: u32 = 5;

impl Setup<'_> {
    /// Makes one mount of the profile.
    pub(super) fn mount(&mut self, mount: &Mount) -> Result<(), Error> {
        let target = mount.target.as_path();
        let access = Access { read_only: mount.read_only, ..Access::default() };
        match &mount.kind {
            MountKind::Proc => self.fresh(target, false, || Detached::proc(access)),
            MountKind::Sys => {
                let access = Access { no_exec: true, ..access };
                self.fresh(target, false, || Detached::bind(Path::new("/sys"), false, access))
            }
            MountKind::Dev => self.dev(target, mount.read_only),
            MountKind::Devpts => {
                self.fresh(target, false, || Detached::devpts(access))?;
                self.ptmx(target)
            }
            MountKind::Tmpfs { size, mode } => {
                self.fresh(target, true, || Detached::tmpfs(*size, mode.unwrap_or(0o1777), access))
            }
            MountKind::Bind { .. } if self.mode == Mode::Source => {
                tracing::debug!(target = %target.display(), "bind is left out of a source session");
                Ok(())
            }
            MountKind::Bind { source, recursive } => {
                self.bind(target, source, mount.optional, |source| Detached::bind(source, *recursive, access))
            }
        }
    }

    /// Mounts what `make` gives on the directory `target`; with `ours` things may be made in it later.
    fn fresh(
        &mut self,
        target: &Path,
        ours: bool,
        make: impl FnOnce() -> io::Result<Detached>,
    ) -> Result<(), Error> {
        let point = self.root.make_dirs(target, &mut self.notice()).map_err(Error::inside)?;
        if self.stands(target, &point)? {
            return Ok(());
        }
        let attached = inside("mount", target, make().and_then(|mount| mount.attach(point.as_fd())))?;
        self.keep(target, &attached, ours)
    }

    fn bind(
        &mut self,
        target: &Path,
        source: &Path,
        optional: bool,
        make: impl FnOnce(&Path) -> io::Result<Detached>,
    ) -> Result<(), Error> {
        // The handle tells a file from a directory, and that it is there at all.
        let kind = match rustix::fs::statat(CWD, source, AtFlags::empty()) {
            Err(Errno::NOENT | Errno::NOTDIR) if optional => return Ok(()),
            other => other.map_err(io::Error::from),
        };
        let kind = crate::sys::file::at("bind", source, kind)?.st_mode;
        let point = if FileType::from_raw_mode(kind) == FileType::Directory {
            self.root.make_dirs(target, &mut self.notice())
        } else {
            self.root.make_file(target, &mut self.notice())
        }
        .map_err(Error::inside)?;
        if self.stands(target, &point)? {
            return Ok(());
        }
        let attached = inside("mount", target, make(source).and_then(|mount| mount.attach(point.as_fd())))?;
        self.keep(target, &attached, false)
    }

    /// Whether an earlier set-up of this tree mounted here. The tree's own root is no target.
    pub(super) fn stands(&self, target: &Path, point: &OwnedFd) -> Result<bool, Error> {
        let look = || {
            if is_same(self.root.as_fd(), point.as_fd())? {
                // Else the mount would cover the tree, or be outside of it in the end.
                return Err(Errno::INVAL.into());
            }
            Ok(is_root_of_mount(point.as_fd())? && !self.made.contains(&mount_id(point.as_fd())?))
        };
        inside("mount over the root of the tree, to which leads", target, look())
    }

    fn keep(&mut self, target: &Path, attached: &Attached, ours: bool) -> Result<(), Error> {
        let id = inside("look at the mount on", target, attached.id())?;
        self.made.push(id);
        if ours {
            self.root.trust(id);
        }
        Ok(())
    }

    /// A /dev of our own, complete before anybody sees it.
    fn dev(&mut self, target: &Path, read_only: bool) -> Result<(), Error> {
        let access = Access { allow_dev: true, no_exec: false, ..Access::default() };
        self.fresh(target, true, || {
            let mount = Detached::tmpfs(Some(DEV_SIZE), 0o755, access)?;
            populate(mount.root())?;
            Ok(mount)
        })?;
        self.fresh(&target.join("shm"), true, || Detached::tmpfs(None, 0o1777, Access::default()))?;
        if read_only { self.restrict(target) } else { Ok(()) }
    }

    fn restrict(&self, target: &Path) -> Result<(), Error> {
        let point = self.root.resolve(target).map_err(Error::inside)?;
        let access = Access { read_only: true, allow_dev: true, ..Access::default() };
        inside("make read-only", target, crate::sys::mount::restrict(point.as_fd(), access))
    }

    /// Terminals are opened through a ptmx beside the directory; a tree without nodes has none.
    fn ptmx(&self, target: &Path) -> Result<(), Error> {
        let (Some(parent), Some(name)) = (target.parent(), target.file_name()) else { return Ok(()) };
        let made =
            self.root.make_symlink(&parent.join("ptmx"), &Path::new(name).join("ptmx"), &mut self.notice());
        made.map(|_| ()).map_err(Error::inside)
    }
}

/// Whether a mount of a profile is there, or would be left out.
pub(super) fn stands_in(tree: &Root, mount: &Mount, mode: Mode) -> bool {
    let is_there = |target: &Path| tree.resolve(target).is_ok_and(|point| is_mount(point.as_fd()));
    match &mount.kind {
        MountKind::Bind { .. } if mode == Mode::Source => true,
        MountKind::Bind { source, .. } if mount.optional => {
            is_there(&mount.target) || rustix::fs::statat(CWD, source, AtFlags::empty()).is_err()
        }
        MountKind::Dev => is_there(&mount.target) && is_there(&mount.target.join("shm")),
        _ => is_there(&mount.target),
    }
}

/// Whether this is the root of a mount.
pub(super) fn is_mount(point: BorrowedFd<'_>) -> bool {
    is_root_of_mount(point).unwrap_or(false)
}

fn is_same(one: BorrowedFd<'_>, other: BorrowedFd<'_>) -> io::Result<bool> {
    let (a, b) = (rustix::fs::fstat(one)?, rustix::fs::fstat(other)?);
    Ok((a.st_dev, a.st_ino) == (b.st_dev, b.st_ino) && mount_id(one)? == mount_id(other)?)
}

fn populate(dev: BorrowedFd<'_>) -> io::Result<()> {
    effect::point("populate dev")?;
    let mode = FileMode::from(0o666);
    for (name, major, minor) in NODES {
        rustix::fs::mknodat(dev, name, FileType::CharacterDevice, mode, makedev(major, minor))?;
        // The umask has had its say. Nobody else has a handle of this file system: nothing to follow.
        rustix::fs::chmodat(dev, name, mode, AtFlags::empty())?;
    }
    let tty = Some(Gid::from_raw(TTY_GROUP));
    rustix::fs::chownat(dev, "tty", None::<Uid>, tty, AtFlags::SYMLINK_NOFOLLOW)?;
    for (name, link) in LINKS {
        rustix::fs::symlinkat(link, dev, name)?;
    }
    for name in ["pts", "shm"] {
        rustix::fs::mkdirat(dev, name, FileMode::from(0o755))?;
        rustix::fs::chmodat(dev, name, FileMode::from(0o755), AtFlags::empty())?;
    }
    Ok(())
}

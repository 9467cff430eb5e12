//! Mounts, by file descriptor: made detached, set up where nobody sees them, then attached to a handle.
//!
//! A [`Detached`] mount is nowhere in the tree of files: dropping it dissolves it, so a failure on the way
//! leaves nothing behind. [`Detached::attach`] is the only step that others can see.
//!
//! No mount is a peer of what it was made from: nothing that happens under it shows up there. What is attached below a
//! [`shared_parent`] is shared with the copies of that parent in other mount namespaces, so that it goes there when it
//! goes here; else a service that was started meanwhile would keep it mounted. All calls exist since Linux 5.12.
//!
//! Unmounting is in [`table`], which knows what is mounted where.

#[cfg(test)]
pub(crate) mod scratch;
mod table;

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, StatVfsMountFlags, StatxAttributes, StatxFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
};

use super::effect;
use super::file::{Result, at};
use super::limit::{self, or_limit};

pub use table::{How, mounts_below, unmount_all, unmount_below};

/// The group `tty`, the same number in every Debian system since 1993.
const TTY_GROUP: &str = "5";

/// What a mount allows; by default neither setuid bits nor device nodes have an effect through it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Access {
    /// Nothing can be written through it.
    pub read_only: bool,
    /// No program can be started from it.
    pub no_exec: bool,
    /// Setuid bits count.
    pub allow_suid: bool,
    /// Device nodes work.
    pub allow_dev: bool,
}

impl Access {
    fn flags(self) -> MountAttrFlags {
        let mut flags = MountAttrFlags::empty();
        flags.set(MountAttrFlags::MOUNT_ATTR_RDONLY, self.read_only);
        flags.set(MountAttrFlags::MOUNT_ATTR_NOEXEC, self.no_exec);
        flags.set(MountAttrFlags::MOUNT_ATTR_NOSUID, !self.allow_suid);
        flags.set(MountAttrFlags::MOUNT_ATTR_NODEV, !self.allow_dev);
        flags
    }
}

/// What has no effect where a tree comes from, by the will of whoever mounted it there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Inert {
    /// Setuid bits.
    pub setuid: bool,
    /// Device nodes.
    pub devices: bool,
}

impl Inert {
    /// What has none on the mount that `path` lies on.
    ///
    /// # Errors
    /// As statvfs(3).
    pub fn at(path: &Path) -> Result<Self> {
        let found = rustix::fs::statvfs(path).map_err(io::Error::from);
        let flags = at("look at the mount of", path, found)?.f_flag;
        Ok(Self {
            setuid: flags.contains(StatVfsMountFlags::NOSUID),
            devices: flags.contains(StatVfsMountFlags::NODEV),
        })
    }
}

/// The kernel's number of a mount (`STATX_MNT_ID`), unique while the mount stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MountId(u64);

/// A mount that is not attached anywhere: gone when dropped.
#[derive(Debug)]
pub struct Detached {
    fd: OwnedFd,
}

impl Detached {
    /// A fresh procfs of the caller's pid namespace.
    ///
    /// # Errors
    /// As fsopen(2), fsmount(2).
    pub fn proc(access: Access) -> io::Result<Self> {
        let context = fsopen("proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
        Self::from_context(&context, Access { no_exec: true, ..access })
    }

    /// A fresh tmpfs of at most `size` bytes (else the kernel's default), its root with `mode`.
    ///
    /// # Errors
    /// As fsopen(2), fsconfig(2), fsmount(2).
    pub fn tmpfs(size: Option<u64>, mode: u32, access: Access) -> io::Result<Self> {
        let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_set_string(&context, "mode", format!("{mode:o}"))?;
        if let Some(size) = size {
            fsconfig_set_string(&context, "size", size.to_string())?;
        }
        Self::from_context(&context, access)
    }

    /// A new instance of devpts: terminals of its own, whose ptmx anybody may open.
    ///
    /// # Errors
    /// As fsopen(2), fsconfig(2), fsmount(2).
    pub fn devpts(access: Access) -> io::Result<Self> {
        let context = fsopen("devpts", FsOpenFlags::FSOPEN_CLOEXEC)?;
        // Each mount is a new instance since Linux 4.7; the word stands for whoever reads the mount table.
        fsconfig_set_flag(&context, "newinstance")?;
        fsconfig_set_string(&context, "ptmxmode", "0666")?;
        fsconfig_set_string(&context, "mode", "0620")?;
        fsconfig_set_string(&context, "gid", TTY_GROUP)?;
        Self::from_context(&context, Access { no_exec: true, allow_dev: true, ..access })
    }

    /// A file or directory of the host once more; with `recursive` what is mounted below it too.
    ///
    /// # Errors
    /// As open_tree(2), mount_setattr(2).
    pub fn bind(source: &Path, recursive: bool, access: Access) -> io::Result<Self> {
        Self::cloned(CWD, source, OpenTreeFlags::empty(), recursive, access)
    }

    /// As [`Detached::bind`] of what is open as `source`, which may have no name (any more).
    ///
    /// # Errors
    /// As open_tree(2), mount_setattr(2).
    pub fn bind_open(source: BorrowedFd<'_>, access: Access) -> io::Result<Self> {
        Self::cloned(source, Path::new(""), OpenTreeFlags::AT_EMPTY_PATH, false, access)
    }

    /// As [`Detached::bind_open`] with what is mounted below. That stays as it is on the host: `access` is for the
    /// uppermost mount.
    ///
    /// # Errors
    /// As open_tree(2), mount_setattr(2).
    pub fn bind_open_with_all_below(source: BorrowedFd<'_>, access: Access) -> io::Result<Self> {
        let all = Access { allow_suid: true, allow_dev: true, ..Access::default() };
        let mount = Self::bind_open_all(source, all)?;
        set_attributes(mount.root(), false, access.flags(), AS_IT_IS)?;
        Ok(mount)
    }

    fn cloned(
        dir: BorrowedFd<'_>,
        path: &Path,
        how: OpenTreeFlags,
        recursive: bool,
        access: Access,
    ) -> io::Result<Self> {
        let mut flags = how | OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        flags.set(OpenTreeFlags::AT_RECURSIVE, recursive);
        let fd = open_tree(dir, path, flags).map_err(|error| or_limit(error, limit::MOUNT_NAMESPACES))?;
        set_attributes(fd.as_fd(), recursive, access.flags(), libc::MS_PRIVATE)?;
        Ok(Self { fd })
    }

    fn from_context(context: &OwnedFd, access: Access) -> io::Result<Self> {
        fsconfig_create(context)?;
        let fd = fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, access.flags())
            .map_err(|error| or_limit(error, limit::MOUNT_NAMESPACES))?;
        Ok(Self { fd })
    }

    /// The root of the mount, for fd-relative calls; it stays valid once attached.
    #[must_use]
    pub fn root(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Attaches the mount to `target`, an `O_PATH` handle. It is shared with other namespaces if the mount is on which
    /// `target` lies, and with nothing that it was made from.
    ///
    /// # Errors
    /// As move_mount(2); but ENOTDIR or EISDIR, of the target, if it is not what the mount's root is.
    pub fn attach(self, target: BorrowedFd<'_>) -> io::Result<Attached> {
        effect::point("mount")?;
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        move_mount(&self.fd, "", target, "", flags).map_err(|error| misfit(error, &self.fd, target))?;
        Ok(Attached { fd: self.fd })
    }
}

/// The kernel says EINVAL for a file on a directory as for much else.
fn misfit(error: Errno, mount: &OwnedFd, target: BorrowedFd<'_>) -> io::Error {
    let is_dir = |fd: BorrowedFd<'_>| {
        rustix::fs::fstat(fd).map(|found| FileType::from_raw_mode(found.st_mode) == FileType::Directory)
    };
    match (error, is_dir(mount.as_fd()), is_dir(target)) {
        (Errno::INVAL, Ok(true), Ok(false)) => Errno::NOTDIR.into(),
        (Errno::INVAL, Ok(false), Ok(true)) => Errno::ISDIR.into(),
        _ => or_limit(error, limit::MOUNTS),
    }
}

/// A mount that stands, and the handle of its root.
#[derive(Debug)]
pub struct Attached {
    fd: OwnedFd,
}

impl Attached {
    /// The root of the mount.
    #[must_use]
    pub fn root(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Which mount it is.
    ///
    /// # Errors
    /// As statx(2).
    pub fn id(&self) -> io::Result<MountId> {
        mount_id(self.fd.as_fd())
    }
}

/// Takes more away from what the mount at `root`, an open root of a mount, allows.
///
/// # Errors
/// As mount_setattr(2).
pub fn restrict(root: BorrowedFd<'_>, access: Access) -> io::Result<()> {
    effect::point("mount")?;
    set_attributes(root, false, access.flags(), AS_IT_IS)
}

/// The mount on which an open file or directory lies.
///
/// # Errors
/// As statx(2).
pub fn mount_id(fd: BorrowedFd<'_>) -> io::Result<MountId> {
    let found = rustix::fs::statx(fd, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID)?;
    Ok(MountId(found.stx_mnt_id))
}

/// Whether an open file or directory is the root of a mount.
///
/// # Errors
/// As statx(2).
pub fn is_root_of_mount(fd: BorrowedFd<'_>) -> io::Result<bool> {
    let found = rustix::fs::statx(fd, "", AtFlags::EMPTY_PATH, StatxFlags::empty())?;
    Ok(found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

/// Whether something is mounted at `path`; not if `path` is absent. A last symlink is not followed.
///
/// # Errors
/// As statx(2), but ENOENT.
pub fn is_mount_root(path: &Path) -> Result<bool> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    match rustix::fs::statx(CWD, path, flags, StatxFlags::empty()) {
        Ok(found) => Ok(found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(false),
        Err(error) => at("look for a mount at", path, Err(error.into())),
    }
}

/// Writes what is dirty in the file system at `path` back, mapped pages included; nothing if `path` is absent.
///
/// # Errors
/// As open(2), syncfs(2).
pub fn sync_filesystem(path: &Path) -> Result<()> {
    at(
        "sync",
        path,
        effect::point("syncfs").and_then(|()| {
            match rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            {
                Ok(dir) => Ok(rustix::fs::syncfs(dir)?),
                Err(rustix::io::Errno::NOENT) => Ok(()),
                Err(error) => Err(error.into()),
            }
        }),
    )
}

/// Makes the directory `path` a mount of its own that is shared with its copies in other mount namespaces and with
/// nothing else, so that what is mounted below it is mounted and unmounted in all of them; `false` if it was a mount.
/// Callers keep a lock meanwhile: two that mounted here at once would hide each other's sessions.
///
/// # Errors
/// `path` is no directory, or cannot be mounted on itself.
pub fn shared_parent(path: &Path) -> Result<bool> {
    at("make a shared mount of", path, try_shared_parent(path))
}

fn try_shared_parent(path: &Path) -> io::Result<bool> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let there = rustix::fs::open(path, flags, Mode::empty())?;
    if is_root_of_mount(there.as_fd())? {
        share(there.as_fd())?;
        return Ok(false);
    }
    let access = Access { allow_suid: true, allow_dev: true, ..Access::default() };
    let attached = Detached::bind_open_all(there.as_fd(), access)?.attach(there.as_fd())?;
    // Below a mount that is shared it is shared by now, with its copies: then this changes nothing.
    share(attached.root())?;
    Ok(true)
}

impl Detached {
    /// As [`Detached::bind_open`] with all that is mounted below.
    fn bind_open_all(source: BorrowedFd<'_>, access: Access) -> io::Result<Self> {
        Self::cloned(source, Path::new(""), OpenTreeFlags::AT_EMPTY_PATH, true, access)
    }
}

fn share(mount: BorrowedFd<'_>) -> io::Result<()> {
    effect::point("make mount shared")?;
    set_attributes(mount, false, MountAttrFlags::empty(), libc::MS_SHARED)
}

/// For [`set_attributes`]: the propagation is not changed.
const AS_IT_IS: libc::c_ulong = 0;

/// Adds `set` to a mount's flags and changes its propagation.
fn set_attributes(
    mount: BorrowedFd<'_>,
    recursive: bool,
    set: MountAttrFlags,
    propagation: libc::c_ulong,
) -> io::Result<()> {
    let attributes =
        libc::mount_attr { attr_set: u64::from(set.bits()), attr_clr: 0, propagation, userns_fd: 0 };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the descriptor is open for the whole call, the path is a static C string, and the structure
    // lives on this stack with exactly the size that is given.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests lay out hostile trees by hand")]
mod tests;

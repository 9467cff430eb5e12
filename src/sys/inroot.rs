//! Paths inside a session's tree, which is hostile: everything is resolved by the kernel with the tree as
//! its root (`RESOLVE_IN_ROOT`), so that no symlink, `..` or magic link of the tree leads outside.
//!
//! A tree has mounts of ours in it, and a bind shows the host: `etc -> /home/x` inside a tree with the
//! host's /home bound over it would lead a writer right out again. So whatever makes, replaces or removes
//! something looks at the mount that it would do so on, and refuses with EXDEV all but the tree's own and
//! those that it was told to [trust](Root::trust).

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Uid};
use rustix::io::Errno;

use super::effect;
use super::file::{Result, at, with_all_modes};
use super::mount::{self, MountId};

/// Directories made and symlinks followed on the way to one target; beyond it stands ELOOP.
const MOST_STEPS: usize = 128;
/// EAGAIN says that something was renamed or mounted, anywhere, while `..` was resolved.
const MOST_RETRIES: usize = 128;
const HANDLE: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);

/// Whose a file is and who may do what with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The permission bits.
    pub mode: u32,
}

impl Owner {
    /// Root's, with `mode`.
    #[must_use]
    pub const fn root(mode: u32) -> Self {
        Self { uid: 0, gid: 0, mode }
    }
}

/// Something that is about to be made inside the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Making {
    /// A directory, empty.
    Directory,
    /// A file, empty.
    File,
    /// A symlink.
    Symlink,
}

/// Hears of what is about to be made, before it is, so that it can be unmade.
pub type Notice<'a> = dyn FnMut(Making, &Path) -> io::Result<()> + 'a;

/// A [`Notice`] for trees that are thrown away.
///
/// # Errors
/// None.
pub fn unnoticed(_what: Making, _path: &Path) -> io::Result<()> {
    Ok(())
}

/// A tree, opened once. Paths given to it are absolute as seen from inside.
#[derive(Debug)]
pub struct Root {
    fd: OwnedFd,
    trusted: Vec<MountId>,
}

impl Root {
    /// Opens the tree at `path` on the host; a last symlink is refused.
    ///
    /// # Errors
    /// `path` is no directory.
    pub fn open(path: &Path) -> Result<Self> {
        at("open", path, Self::try_open(path))
    }

    fn try_open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty())?;
        let own = mount::mount_id(fd.as_fd())?;
        Ok(Self { fd, trusted: vec![own] })
    }

    /// The handle of the tree's root directory.
    #[must_use]
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Lets things be made on one more mount: one that shows nothing of the host.
    pub fn trust(&mut self, mount: MountId) {
        self.trusted.push(mount);
    }

    /// Whether things may be made on the mount on which `dir` lies.
    ///
    /// # Errors
    /// As statx(2).
    pub fn trusts(&self, dir: BorrowedFd<'_>) -> io::Result<bool> {
        Ok(self.trusted.contains(&mount::mount_id(dir)?))
    }

    /// An `O_PATH` handle of `target`, all symlinks followed inside the tree.
    ///
    /// # Errors
    /// As openat2(2).
    pub fn resolve(&self, target: &Path) -> Result<OwnedFd> {
        at("resolve", target, self.handle(target, OFlags::empty()).map_err(Into::into))
    }

    /// As [`Root::resolve`], `None` if there is no such file.
    ///
    /// # Errors
    /// As [`Root::resolve`], but ENOENT.
    pub fn resolve_if_there(&self, target: &Path) -> Result<Option<OwnedFd>> {
        match self.resolve(target) {
            Ok(fd) => Ok(Some(fd)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes `path` a directory, and those above it, with mode 755; what is there is left as it is. A
    /// symlink that leads nowhere gets its directory where it leads, inside the tree.
    ///
    /// # Errors
    /// Something on the way is no directory (ENOTDIR), on a foreign mount (EXDEV), or as mkdirat(2).
    pub fn make_dirs(&self, path: &Path, notice: &mut Notice<'_>) -> Result<OwnedFd> {
        at("make directory", path, self.dirs(path, notice, &mut MOST_STEPS.clone()))
    }

    /// Makes `path` an empty file with mode 644 unless it is there, symlinks and missing directories as with
    /// [`Root::make_dirs`]; gives its `O_PATH` handle.
    ///
    /// # Errors
    /// As [`Root::make_dirs`], openat(2).
    pub fn make_file(&self, path: &Path, notice: &mut Notice<'_>) -> Result<OwnedFd> {
        at("make file", path, self.file(path, notice, &mut MOST_STEPS.clone()))
    }

    /// Makes `path` a symlink to `link` if there is nothing and the mount is trusted; `false` if not.
    ///
    /// # Errors
    /// Its directory cannot be resolved, or as symlinkat(2).
    pub fn make_symlink(&self, path: &Path, link: &Path, notice: &mut Notice<'_>) -> Result<bool> {
        at("make symlink", path, self.symlink(path, link, notice))
    }

    /// Replaces `path` by a file of these bytes, at once for every reader, unless it is one already (then
    /// `false`). A last component that is a symlink, a device or a fifo is replaced, never followed or
    /// opened; the directories above are resolved inside the tree, and made if they are missing.
    ///
    /// Not durable: a tree that a power cut may hurt is synced as a whole by whoever commits it.
    ///
    /// # Errors
    /// As [`Root::make_dirs`], openat(2), write(2), renameat(2): EISDIR if a directory is there.
    pub fn replace_file(&self, path: &Path, bytes: &[u8], owner: Owner) -> Result<bool> {
        at("write", path, self.replace(path, bytes, owner))
    }

    /// Removes what [`Root`] made as `what`, if it is still what was made: an empty directory, an empty
    /// file, any symlink. `false` if it is gone or has become something else.
    ///
    /// # Errors
    /// As unlinkat(2): EBUSY if something is mounted there.
    pub fn unmake(&self, what: Making, path: &Path) -> Result<bool> {
        at("remove", path, self.try_unmake(what, path))
    }

    fn handle(&self, path: &Path, more: OFlags) -> rustix::io::Result<OwnedFd> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        for _ in 0..MOST_RETRIES {
            match rustix::fs::openat2(&self.fd, path, HANDLE | more, Mode::empty(), resolve) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                other => return other,
            }
        }
        Err(Errno::AGAIN)
    }

    fn dirs(&self, path: &Path, notice: &mut Notice<'_>, steps: &mut usize) -> io::Result<OwnedFd> {
        match self.handle(path, OFlags::DIRECTORY) {
            Err(Errno::NOENT) => {}
            other => return Ok(other?),
        }
        *steps = steps.checked_sub(1).ok_or(Errno::LOOP)?;
        let parent = path.parent().ok_or(Errno::NOENT)?;
        let dir = self.dirs(parent, notice, steps)?;
        // With the directories above it may be there after all: `new/../etc`.
        let name = match (self.handle(path, OFlags::DIRECTORY), path.file_name()) {
            (Err(Errno::NOENT), Some(name)) => Path::new(name),
            (other, _) => return Ok(other?),
        };
        if let Some(link) = dangling(&dir, name)? {
            return self.dirs(&parent.join(link), notice, steps);
        }
        self.require_trust(dir.as_fd())?;
        notice(Making::Directory, path)?;
        effect::point("mkdir")?;
        with_all_modes(|| rustix::fs::mkdirat(&dir, name, Mode::from(0o755)))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(&dir, name, flags, Mode::empty())?)
    }

    fn file(&self, path: &Path, notice: &mut Notice<'_>, steps: &mut usize) -> io::Result<OwnedFd> {
        match self.handle(path, OFlags::empty()) {
            Err(Errno::NOENT) => {}
            other => return Ok(other?),
        }
        *steps = steps.checked_sub(1).ok_or(Errno::LOOP)?;
        let (parent, name) = split(path)?;
        let dir = self.dirs(parent, notice, steps)?;
        match self.handle(path, OFlags::empty()) {
            Err(Errno::NOENT) => {}
            other => return Ok(other?),
        }
        if let Some(link) = dangling(&dir, name)? {
            return self.file(&parent.join(link), notice, steps);
        }
        self.require_trust(dir.as_fd())?;
        notice(Making::File, path)?;
        effect::point("create")?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(with_all_modes(|| rustix::fs::openat(&dir, name, flags, Mode::from(0o644)))?)
    }

    fn symlink(&self, path: &Path, link: &Path, notice: &mut Notice<'_>) -> io::Result<bool> {
        let (parent, name) = split(path)?;
        let dir = self.handle(parent, OFlags::DIRECTORY)?;
        match rustix::fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) if self.trusts(dir.as_fd())? => {}
            Err(error) if error != Errno::NOENT => return Err(error.into()),
            _ => return Ok(false),
        }
        notice(Making::Symlink, path)?;
        effect::point("symlink")?;
        rustix::fs::symlinkat(link, &dir, name)?;
        Ok(true)
    }

    fn replace(&self, path: &Path, bytes: &[u8], owner: Owner) -> io::Result<bool> {
        let (parent, name) = split(path)?;
        let dir = self.dirs(parent, &mut unnoticed, &mut MOST_STEPS.clone())?;
        if is_already(&dir, name, bytes, owner)? {
            return Ok(false);
        }
        self.require_trust(dir.as_fd())?;
        let temp = PathBuf::from(format!(".tmp-zchroot-{}", std::process::id()));
        effect::point("write")?;
        let done = write_temp(&dir, &temp, bytes, owner)
            .and_then(|()| effect::point("rename"))
            .and_then(|()| Ok(rustix::fs::renameat(&dir, &temp, &dir, name)?));
        if let Err(error) = done {
            // What went wrong first is what matters.
            let _ = rustix::fs::unlinkat(&dir, &temp, AtFlags::empty());
            return Err(error);
        }
        Ok(true)
    }

    fn try_unmake(&self, what: Making, path: &Path) -> io::Result<bool> {
        let (parent, name) = split(path)?;
        let dir = match self.handle(parent, OFlags::DIRECTORY) {
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(false),
            other => other?,
        };
        let found = match rustix::fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(false),
            other => other?,
        };
        let (still, how) = match (what, FileType::from_raw_mode(found.st_mode)) {
            (Making::Directory, FileType::Directory) => (true, AtFlags::REMOVEDIR),
            (Making::File, FileType::RegularFile) => (found.st_size == 0, AtFlags::empty()),
            (Making::Symlink, FileType::Symlink) => (true, AtFlags::empty()),
            _ => (false, AtFlags::empty()),
        };
        if !still || !self.trusts(dir.as_fd())? {
            return Ok(false);
        }
        effect::point("unlink")?;
        match rustix::fs::unlinkat(&dir, name, how) {
            Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOENT) => Ok(false),
            other => Ok(other.map(|()| true)?),
        }
    }

    fn require_trust(&self, dir: BorrowedFd<'_>) -> io::Result<()> {
        if self.trusts(dir)? { Ok(()) } else { Err(Errno::XDEV.into()) }
    }
}

fn split(path: &Path) -> io::Result<(&Path, &Path)> {
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => Ok((parent, Path::new(name))),
        _ => Err(Errno::ISDIR.into()),
    }
}

/// Where `name`, which leads nowhere, does so; `None` if there is nothing.
fn dangling(dir: &OwnedFd, name: &Path) -> io::Result<Option<PathBuf>> {
    match rustix::fs::readlinkat(dir, name, Vec::new()) {
        Ok(link) => Ok(Some(PathBuf::from(std::ffi::OsString::from_vec(link.into_bytes())))),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn is_already(dir: &OwnedFd, name: &Path, bytes: &[u8], owner: Owner) -> io::Result<bool> {
    let found = match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(false),
        other => other?,
    };
    let alike = FileType::from_raw_mode(found.st_mode) == FileType::RegularFile
        && usize::try_from(found.st_size) == Ok(bytes.len())
        && (found.st_uid, found.st_gid, found.st_mode & 0o7777) == (owner.uid, owner.gid, owner.mode);
    if !alike {
        return Ok(false);
    }
    // Only a regular file is opened: opening a device can do things, opening a fifo can hang.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(dir, name, flags, Mode::empty())?;
    let opened = rustix::fs::fstat(&fd)?;
    if (opened.st_dev, opened.st_ino) != (found.st_dev, found.st_ino) {
        return Ok(false);
    }
    let mut there = Vec::with_capacity(bytes.len());
    File::from(fd).take(bytes.len() as u64 + 1).read_to_end(&mut there)?;
    Ok(there == bytes)
}

fn write_temp(dir: &OwnedFd, temp: &Path, bytes: &[u8], owner: Owner) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let create = || rustix::fs::openat(dir, temp, flags, Mode::from(0o600));
    let fd = match create() {
        // A left-over of our own pid from before a reboot, or planted.
        Err(Errno::EXIST) => {
            rustix::fs::unlinkat(dir, temp, AtFlags::empty())?;
            create()?
        }
        other => other?,
    };
    let mut file = File::from(fd);
    file.write_all(bytes)?;
    give(file.as_fd(), owner)
}

/// Gives an open file its owner and mode; the mode last, since a change of owner takes bits away.
///
/// # Errors
/// As fchown(2), fchmod(2).
pub fn give(file: BorrowedFd<'_>, owner: Owner) -> io::Result<()> {
    rustix::fs::fchown(file, Some(Uid::from_raw(owner.uid)), Some(Gid::from_raw(owner.gid)))?;
    Ok(rustix::fs::fchmod(file, Mode::from(owner.mode))?)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests lay out hostile trees by hand")]
mod tests;

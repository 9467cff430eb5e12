//! Whole trees: copy, remove, measure; relative to file descriptors, never following a symlink.
//!
//! A tree that a build wrote is hostile: it may be thousands of levels deep, hold immutable files or symlinks
//! that lead outside. So a walk recurses on the heap, keeps only its deepest few directories open (the way back
//! up is `..`, checked against the inode that was left), opens by openat2(2) inside one mount, and takes what
//! it finds for what fstat(2) of the open file says.
//!
//! Crash rule: every entry made or removed announces itself to [`effect`](super::effect). Neither call is
//! atomic: who copies does it under a name that nobody reads, who removes renames out of sight first.

mod attributes;
mod copy;
mod data;
mod read;
mod remove;
mod walk;

use std::collections::HashSet;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

pub use attributes::copy_attributes;
pub use copy::{Copied, CopyOptions, Reflink, copy_tree};
pub use read::{Step, digest_file, same_bytes};
pub use remove::{clear_immutable, remove_tree};
pub use walk::{Entry, Guide, Time, Type, Walk, by_path, open_beneath};

/// How many directories of one walk are open at a time.
const OPEN_AT_MOST: usize = 32;

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC)
    .union(OFlags::NONBLOCK);

/// Bytes that a tree takes on disk; a file with several links counts once, what is mounted inside does not.
///
/// # Errors
/// A directory cannot be read. What vanishes meanwhile is left out.
pub fn tree_size(top: BorrowedFd<'_>) -> io::Result<u64> {
    let mut walk = Descent::new(reopen(top)?)?;
    let mut seen = HashSet::new();
    let mut bytes = allocated(&rustix::fs::fstat(walk.here())?);
    let mut pending = vec![entries(walk.here())?.into_iter()];
    while let Some(rest) = pending.last_mut() {
        let Some(entry) = rest.next() else {
            pending.pop();
            if !pending.is_empty() {
                walk.up()?;
            }
            continue;
        };
        let Some(stat) = stat_inside(walk.here(), &entry)? else { continue };
        if stat.st_nlink > 1 && !is_directory(&stat) && !seen.insert((stat.st_dev, stat.st_ino)) {
            continue;
        }
        if is_directory(&stat) {
            match open_inside(walk.here(), &entry) {
                Ok(dir) => {
                    pending.push(entries(dir.as_fd())?.into_iter());
                    walk.down(dir)?;
                }
                Err(Errno::NOENT | Errno::XDEV) => continue,
                Err(error) => return Err(error.into()),
            }
        }
        bytes = bytes.saturating_add(allocated(&stat));
    }
    Ok(bytes)
}

/// The way from the top of a tree to where a walk is.
struct Descent {
    here: OwnedFd,
    id: FileId,
    above: Vec<(Option<OwnedFd>, FileId)>,
}

/// Device and inode.
type FileId = (u64, u64);

impl Descent {
    fn new(top: OwnedFd) -> io::Result<Self> {
        let id = id_of(&top)?;
        Ok(Self { here: top, id, above: Vec::new() })
    }

    /// The directory that the walk is in.
    fn here(&self) -> BorrowedFd<'_> {
        self.here.as_fd()
    }

    /// Goes down into `dir`, a directory in [`Self::here`].
    fn down(&mut self, dir: OwnedFd) -> io::Result<()> {
        let id = id_of(&dir)?;
        let parent = std::mem::replace(&mut self.here, dir);
        self.above.push((Some(parent), std::mem::replace(&mut self.id, id)));
        let far = self.above.len().checked_sub(OPEN_AT_MOST + 1);
        if let Some((fd, _)) = far.and_then(|far| self.above.get_mut(far)) {
            *fd = None;
        }
        Ok(())
    }

    /// Goes up; returns the directory that was left.
    fn up(&mut self) -> io::Result<OwnedFd> {
        let Some((parent, id)) = self.above.pop() else { return Err(Errno::NOENT.into()) };
        let parent = match parent {
            Some(fd) => fd,
            None => {
                let fd = rustix::fs::openat(&self.here, c"..", DIRECTORY, Mode::empty())?;
                // Somebody moved the directory under us: going on would leave the tree.
                if id_of(&fd)? != id {
                    return Err(Errno::STALE.into());
                }
                fd
            }
        };
        self.id = id;
        Ok(std::mem::replace(&mut self.here, parent))
    }
}

fn id_of(fd: impl AsFd) -> io::Result<FileId> {
    let stat = rustix::fs::fstat(fd)?;
    Ok((stat.st_dev, stat.st_ino))
}

/// Another open file of the same directory, readable also if `dir` is only a path handle.
fn reopen(dir: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    Ok(rustix::fs::openat(dir, c".", DIRECTORY, Mode::empty())?)
}

/// Opens the directory `name` in `dir`: no symlink, and `EXDEV` if something is mounted on it.
fn open_inside(dir: BorrowedFd<'_>, name: &CString) -> rustix::io::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH
        | ResolveFlags::NO_XDEV
        | ResolveFlags::NO_SYMLINKS
        | ResolveFlags::NO_MAGICLINKS;
    loop {
        // EAGAIN: there was a rename somewhere meanwhile.
        match retry(|| rustix::fs::openat2(dir, name, DIRECTORY, Mode::empty(), resolve)) {
            Err(Errno::AGAIN) => {}
            other => return other,
        }
    }
}

/// Repeats a call that a signal cut short.
fn retry<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> rustix::io::Result<T> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            other => return other,
        }
    }
}

fn entries(dir: BorrowedFd<'_>) -> io::Result<Vec<CString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

fn stat_inside(dir: BorrowedFd<'_>, name: &CString) -> io::Result<Option<Stat>> {
    match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn file_type(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

fn is_directory(stat: &Stat) -> bool {
    file_type(stat) == FileType::Directory
}

fn allocated(stat: &Stat) -> u64 {
    u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512)
}

#[cfg(test)]
mod tests;

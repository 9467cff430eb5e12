//! Removing a tree.

use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{AtFlags, IFlags, Mode, OFlags};
use rustix::io::Errno;

use super::{DIRECTORY, Descent, entries, is_directory, open_inside, reopen, stat_inside};
use crate::sys::effect;

/// Removes `name` in `parent` and all that is in it; absence is success.
///
/// Immutable and append-only marks (chattr +i, +a) are cleared on the way.
///
/// # Errors
/// `EBUSY` if something is mounted in it (what is mounted is left alone), or as unlink(2).
pub fn remove_tree(parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    let name = CString::new(name.as_bytes()).map_err(|_| Errno::INVAL)?;
    let mut walk = Descent::new(reopen(parent)?)?;
    let mut pending = Vec::new();
    enter_or_unlink(&mut walk, &mut pending, name)?;
    while let Some((_, rest)) = pending.last_mut() {
        match rest.next() {
            Some(entry) => enter_or_unlink(&mut walk, &mut pending, entry)?,
            None => {
                walk.up()?;
                if let Some((emptied, _)) = pending.pop() {
                    unlink(walk.here(), &emptied, AtFlags::REMOVEDIR)?;
                }
            }
        }
    }
    Ok(())
}

type Pending = Vec<(CString, std::vec::IntoIter<CString>)>;

fn enter_or_unlink(walk: &mut Descent, pending: &mut Pending, name: CString) -> io::Result<()> {
    let Some(stat) = stat_inside(walk.here(), &name)? else { return Ok(()) };
    if !is_directory(&stat) {
        return unlink(walk.here(), &name, AtFlags::empty());
    }
    let dir = match open_inside(walk.here(), &name) {
        Ok(dir) => dir,
        Err(Errno::NOENT) => return Ok(()),
        Err(Errno::XDEV) => return Err(Errno::BUSY.into()),
        Err(error) => return Err(error.into()),
    };
    pending.push((name, entries(dir.as_fd())?.into_iter()));
    walk.down(dir)
}

fn unlink(dir: BorrowedFd<'_>, name: &CString, flags: AtFlags) -> io::Result<()> {
    effect::point("remove entry")?;
    let mut result = rustix::fs::unlinkat(dir, name, flags);
    if result == Err(Errno::PERM) {
        // Either the entry or the directory that holds it is marked.
        clear_immutable(dir)?;
        clear_entry(dir, name)?;
        result = rustix::fs::unlinkat(dir, name, flags);
    }
    match result {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn clear_entry(dir: BorrowedFd<'_>, name: &CString) -> io::Result<()> {
    // Only files and directories can carry the marks; opening a device or a FIFO would do something.
    let Some(stat) = stat_inside(dir, name)? else { return Ok(()) };
    let flags = match super::file_type(&stat) {
        rustix::fs::FileType::Directory => DIRECTORY,
        rustix::fs::FileType::RegularFile => {
            OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK
        }
        _ => return Ok(()),
    };
    clear_immutable(rustix::fs::openat(dir, name, flags, Mode::empty())?.as_fd())
}

/// Clears the marks "immutable" and "append only" of an open file or directory; nothing where there are none.
///
/// # Errors
/// The marks cannot be cleared (no CAP_LINUX_IMMUTABLE).
pub fn clear_immutable(file: BorrowedFd<'_>) -> io::Result<()> {
    let flags = match rustix::fs::ioctl_getflags(file) {
        Ok(flags) => flags,
        // A file system without such marks.
        Err(Errno::NOTTY | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let marks = IFlags::IMMUTABLE | IFlags::APPEND;
    if flags.intersects(marks) {
        effect::point("clear immutable")?;
        rustix::fs::ioctl_setflags(file, flags - marks)?;
    }
    Ok(())
}

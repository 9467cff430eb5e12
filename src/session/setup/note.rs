//! The note of what a set-up made in a source session's tree, kept as an extended attribute of the tree's
//! root: it lives and dies with the tree, is there after a power cut if what it names is, and no program of
//! the maintainer trips over it.
//!
//! Format: for each thing a letter (`d`, `f`, `l`), the path seen from inside, and a NUL. A thing is noted
//! before it is made, so a note may name what never came to be.

use std::ffi::OsStr;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::XattrFlags;
use rustix::io::Errno;

use super::{Error, inside};
use crate::sys::effect;
use crate::sys::inroot::{Making, Root};

const NAME: &str = "trusted.zchroot.made";
/// What ext4 can keep at the least.
const LONGEST: usize = 4000;

/// Notes that `path` is about to be made.
pub(super) fn add(root: &Root, what: Making, path: &Path) -> io::Result<()> {
    let mut entry = vec![letter(what)];
    entry.extend_from_slice(path.as_os_str().as_bytes());
    let mut note = read(root.as_fd())?;
    if note.split(|byte| *byte == 0).any(|line| line == entry) {
        return Ok(());
    }
    note.extend_from_slice(&entry);
    note.push(0);
    if note.len() > LONGEST {
        return Err(Errno::NOSPC.into());
    }
    effect::point("note")?;
    Ok(rustix::fs::fsetxattr(root.as_fd(), NAME, &note, XattrFlags::empty())?)
}

/// Unmakes what is noted, last first, then the note; `false` if there is none.
pub(super) fn undo(root: &Root) -> Result<bool, Error> {
    let top = Path::new("/");
    let note = inside("read the note on", top, read(root.as_fd()))?;
    if note.is_empty() {
        return Ok(false);
    }
    for line in note.split(|byte| *byte == 0).rev() {
        let Some((what, path)) = line.split_first().and_then(|(first, path)| Some((making(*first)?, path)))
        else {
            continue;
        };
        root.unmake(what, Path::new(OsStr::from_bytes(path))).map_err(Error::inside)?;
    }
    let removed = effect::point("note").and_then(|()| Ok(rustix::fs::fremovexattr(root.as_fd(), NAME)?));
    inside("remove the note on", top, removed).map(|()| true)
}

/// The paths that are noted on the tree at `root`, as they are seen from inside.
pub(super) fn paths(root: BorrowedFd<'_>) -> io::Result<Vec<Vec<u8>>> {
    let note = read(root)?;
    let lines = note.split(|byte| *byte == 0).filter_map(|line| line.split_first());
    Ok(lines.map(|(_, path)| path.to_vec()).collect())
}

fn read(root: BorrowedFd<'_>) -> io::Result<Vec<u8>> {
    let mut note = vec![0; LONGEST];
    match rustix::fs::fgetxattr(root, NAME, note.as_mut_slice()) {
        Ok(length) => {
            note.truncate(length);
            Ok(note)
        }
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

fn letter(what: Making) -> u8 {
    match what {
        Making::Directory => b'd',
        Making::File => b'f',
        Making::Symlink => b'l',
    }
}

fn making(letter: u8) -> Option<Making> {
    [Making::Directory, Making::File, Making::Symlink].into_iter().find(|what| self::letter(*what) == letter)
}

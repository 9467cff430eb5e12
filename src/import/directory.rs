//! A directory of the host, copied as it is, by reflink where both lie on one file system that can.
//!
//! Only what was opened is copied: where something is mounted inside (proc, another disk) an empty directory
//! stands in the copy, and a note says so. A file that is mounted over another is copied as it is seen.

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Statx, StatxAttributes, StatxFlags};

use super::Filled;
use super::error::{Error, Result};
use crate::store::Progress;
use crate::sys::file;
use crate::sys::tree::{self, CopyOptions};

const MOST_NAMED: usize = 16;

/// What the walk met.
#[derive(Debug, Default)]
struct Met {
    /// The entry that is being copied, for the error.
    at: PathBuf,
    mounts: Vec<PathBuf>,
    itself: Option<PathBuf>,
}

/// Copies the open directory `from`, called `name`, into the mounted empty tree `root`.
///
/// # Errors
/// An entry cannot be read or written; the error names it.
pub(super) fn fill(from: &File, name: &str, root: &Path, progress: &mut dyn Progress) -> Result<Filled> {
    let to = file::open_dir(root)?;
    let target = identify(to.as_fd(), Path::new("")).map_err(|error| failed("stat", root, error))?;
    let source =
        identify(from.as_fd(), Path::new("")).map_err(|error| failed("stat", Path::new(name), error))?;
    if same(&source, &target) {
        let why = "it is the tree that is to be filled".to_owned();
        return Err(Error::NotASource { object: name.to_owned(), why });
    }
    progress.start(&format!("measure {name}"), None);
    let total = tree::tree_size(from.as_fd()).map_err(|error| failed("measure", Path::new(name), error))?;
    progress.finish();
    progress.start(&format!("copy {name}"), Some(total));
    let met = RefCell::new(Met::default());
    let leave_out = |path: &Path| met.borrow_mut().sees(from, path, &target);
    let options = CopyOptions { leave_out: Some(&leave_out), ..CopyOptions::default() };
    let copied = tree::copy_tree(from.as_fd(), to.as_fd(), &options, &mut |bytes| progress.advance(bytes));
    let met = met.into_inner();
    let copied = copied.map_err(|error| failed("copy", &Path::new(name).join(&met.at), error))?;
    progress.finish();
    let mut notes = met.notes();
    if copied.skipped_xattrs > 0 {
        notes.push(format!("{} extended attributes cannot be kept by the store", copied.skipped_xattrs));
    }
    Ok(Filled { bytes: copied.bytes, files: copied.files, saved: 0, notes })
}

impl Met {
    /// Looks at the next entry; true if it has to be left out: the copy must not copy itself.
    fn sees(&mut self, from: &File, path: &Path, target: &Statx) -> bool {
        path.clone_into(&mut self.at);
        // What cannot be looked at is the copier's to complain about.
        let Ok(entry) = identify(from.as_fd(), path) else { return false };
        let kind = FileType::from_raw_mode(entry.stx_mode.into());
        if kind == FileType::Directory && same(&entry, target) {
            self.itself = Some(path.to_owned());
            return true;
        }
        if kind == FileType::Directory && entry.stx_attributes.contains(StatxAttributes::MOUNT_ROOT) {
            self.mounts.push(path.to_owned());
        }
        false
    }

    fn notes(&self) -> Vec<String> {
        let named = self.mounts.iter().take(MOST_NAMED);
        let mut notes: Vec<String> =
            named.map(|path| format!("what is mounted at {} was left out", path.display())).collect();
        if let Some(more) = self.mounts.len().checked_sub(MOST_NAMED).filter(|more| *more > 0) {
            notes.push(format!("what is mounted at {more} more places was left out"));
        }
        if let Some(path) = &self.itself {
            notes.push(format!("{} is the copy itself and was left out", path.display()));
        }
        notes
    }
}

fn identify(dir: impl AsFd, path: &Path) -> io::Result<Statx> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::EMPTY_PATH;
    Ok(rustix::fs::statx(dir, path, flags, StatxFlags::BASIC_STATS)?)
}

fn same(one: &Statx, other: &Statx) -> bool {
    (one.stx_dev_major, one.stx_dev_minor, one.stx_ino)
        == (other.stx_dev_major, other.stx_dev_minor, other.stx_ino)
}

fn failed(op: &'static str, path: &Path, error: io::Error) -> Error {
    Error::failed(op, path.display().to_string(), error)
}

#[cfg(test)]
#[path = "directory_tests.rs"]
mod tests;

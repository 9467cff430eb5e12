//! The first tree of a template: `zchroot create TEMPLATE --from SOURCE`.
//!
//! ```text
//! source.rs     what may stand behind --from; opening it
//! bootstrap.rs  mmdebstrap, whose tar goes straight to the worker of tar/
//! directory.rs  a directory of the host
//! dedup/        files that another image has are cloned
//! tar/          an archive, plain or compressed: parsed and unpacked in a confined worker
//! ```
//!
//! A caller opens first ([`Source::open`], with the effective identity of whoever named the source: a wrong
//! path makes nothing), then makes and mounts an empty draft, then calls [`fill`] as root. A squashfs image or
//! an OCI layout will be one more kind in `source.rs` and one more file here.
//!
//! Crash rule: nothing here is atomic and nothing has to be; the draft is dropped after any error, and recover ends
//! its session after a crash. The worker and mmdebstrap never outlive a call.

mod bootstrap;
mod dedup;
mod directory;
mod error;
#[cfg(test)]
mod fixture;
mod hash;
pub mod image;
mod oci;
mod source;
mod squashfs;
mod tar;
#[cfg(test)]
mod tests;
mod unpack;

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::fs::AtFlags;

pub use error::{Error, Result};
pub use source::{DEFAULT_MIRROR, DEFAULT_VARIANT, Opened, Source, SourceError};

use crate::store::Progress;
use crate::sys::file;
use dedup::Lender;
use source::Input;

/// What a tree was filled with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filled {
    /// Bytes of file content that were written.
    pub bytes: u64,
    /// Entries that were made: files, directories, links, nodes.
    pub files: u64,
    /// Of the bytes, those that share the blocks of another image's files.
    pub saved: u64,
    /// What was left out, one sentence each, for people.
    pub notes: Vec<String>,
}

/// Fills the empty tree that is mounted at `root` from what was opened of `source`. Needs root.
///
/// # Errors
/// The source is wrong, or the tree has no room ([`ErrorKind::NoRoom`](crate::store::ErrorKind::NoRoom)).
/// What is in the tree then is good for nothing.
pub fn fill(source: &Source, opened: Opened, root: &Path, progress: &mut dyn Progress) -> Result<Filled> {
    fill_input(opened.0, &source.to_string(), root, None, progress)
}

fn fill_input(
    input: Input,
    name: &str,
    root: &Path,
    lender: Option<&mut Lender<'_>>,
    progress: &mut dyn Progress,
) -> Result<Filled> {
    match input {
        Input::Bootstrap(order) => order.fill(root, progress),
        Input::Directory(directory) => directory::fill(&directory, name, root, progress),
        Input::Tar { archive, size } => tar::fill(&archive, size, name, root, lender, progress),
        Input::Oci(image) => oci::fill(&image, name, root, lender, progress),
        Input::Squashfs { image, size } => squashfs::fill(&image, size, name, root, lender, progress),
    }
}

/// Whether a tree can be a root file system at all: it has a `usr` or `bin`.
///
/// # Errors
/// `root` cannot be read.
pub fn looks_like_root(root: &Path) -> Result<bool> {
    let tree = file::open_dir(root)?;
    Ok(has_directory(tree.as_fd(), "usr") || has_directory(tree.as_fd(), "bin"))
}

/// A directory, or a symlink to whatever, as `bin` is today.
fn has_directory(tree: BorrowedFd<'_>, name: &str) -> bool {
    rustix::fs::statat(tree, name, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|stat| {
        let kind = rustix::fs::FileType::from_raw_mode(stat.st_mode);
        kind.is_dir() || kind.is_symlink()
    })
}

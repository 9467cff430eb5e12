//! Files that another image has already are not written once more: they share its blocks.
//!
//! ```text
//! index.rs     which files an image has, by what is in them; beside its record
//! borrower.rs  in the worker that unpacks: each file as it comes, compared with what the archive says
//! asker.rs     finds a file in the indexes, and asks for it
//! wire.rs      how it asks
//! lender.rs    in its parent: opens the file in the other image and clones it
//! ```
//!
//! A file is made in its place in the draft, which nobody but the worker sees. When the beginning of its content has
//! come from the archive, it is looked up in the indexes of the images that the importer may use. If one has such a
//! file, the parent clones that into the new one, and everything that the archive says is compared **with the clone**,
//! as it comes. Where they differ, the clone is cut off and writing goes on from there: whatever an index says and
//! whatever becomes of the other image, what is in the tree is what is in the archive. Owner, mode, attributes and
//! times come last, as with every file.
//!
//! **Locks: none.** An image that files are cloned from may be removed at any time: what is not there any more comes
//! from the archive. Whoever removes an image takes away its index first, and whoever lends from it looks for that ten
//! times a second and lets go ([`lender`]).
//!
//! **Confinement.** The worker has no way into another image: of those it has the indexes, and it sends the file to be
//! filled. The parent opens what is asked for inside the other image's tree, never through what leads out of it, only
//! regular files, and with the importer's rights to files.
//!
//! **Crash rule.** Nothing of this has a name until the image is complete: a clone is a file of the draft, and the new
//! index has none until the record stands. The index is part of the record, and goes with it.

mod asker;
mod borrower;
mod index;
mod lender;
#[cfg(test)]
mod tests;
mod wire;

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

pub(super) use borrower::Borrower;
pub(super) use lender::{Lender, Source};

/// Smaller files are written: cloning takes more room and time than they do.
const LEAST: u64 = 4 << 10;

/// What a worker gets.
#[derive(Debug)]
pub(super) struct Loan {
    wire: Rc<OwnedFd>,
    indexes: Vec<Rc<File>>,
    out: Rc<File>,
    /// Nothing may be written while a file is cloned: what is written is counted then.
    still: bool,
}

impl Loan {
    /// The descriptors that the worker keeps.
    pub(super) fn fds(&self) -> Vec<BorrowedFd<'_>> {
        let indexes = self.indexes.iter().map(|index| index.as_fd());
        indexes.chain([self.wire.as_fd(), self.out.as_fd()]).collect()
    }
}

/// Whether that is an index.
pub(super) fn is_index(file: &Rc<File>) -> bool {
    index::Index::open(file.clone()).is_ok_and(|index| index.is_some())
}

//! What is to be made: one entry of an archive of any kind.

use std::io;

use super::broken;

/// What a member makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::import) enum Kind {
    File,
    Directory,
    Symlink(Vec<u8>),
    HardLink(Vec<u8>),
    Char(u32, u32),
    Block(u32, u32),
    Fifo,
    Socket,
    /// Labels and the like: of the archive, not of the tree.
    Nothing,
}

/// What a file, directory or node has besides its content.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::import) struct Attributes {
    pub(in crate::import) mode: u32,
    pub(in crate::import) uid: u64,
    pub(in crate::import) gid: u64,
    /// Seconds, and nanoseconds after them.
    pub(in crate::import) mtime: (i64, u32),
    pub(in crate::import) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// The archive has an ACL as text that says nothing to us.
    pub(in crate::import) text_acl: bool,
}

/// A file with holes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::import) struct Sparse {
    pub(in crate::import) real: u64,
    /// Offset and length of each piece that has data.
    pub(in crate::import) pieces: Vec<(u64, u64)>,
}

/// One member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::import) struct Member {
    /// As the archive has it: nothing is checked yet.
    pub(in crate::import) path: Vec<u8>,
    pub(in crate::import) kind: Kind,
    pub(in crate::import) attributes: Attributes,
    pub(in crate::import) size: u64,
    pub(in crate::import) sparse: Option<Sparse>,
}

impl Sparse {
    /// Pieces in order, inside the file, and as much data as the archive holds.
    pub(in crate::import) fn check(&self, stored: u64) -> io::Result<()> {
        let mut end = 0_u64;
        let mut sum = 0_u64;
        for (offset, length) in &self.pieces {
            let past = offset.checked_add(*length).filter(|past| *past <= self.real && *offset >= end);
            end = past.ok_or_else(|| broken("a sparse map whose pieces overlap or lie outside the file"))?;
            sum += length;
        }
        if sum != stored || i64::try_from(self.real).is_err() {
            return Err(broken("a sparse map that does not fit the data"));
        }
        Ok(())
    }
}

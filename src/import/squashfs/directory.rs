//! The entries of a directory, one after the other, in the order of their names.

use std::io;

use super::inode::Listing;
use super::metadata::{Blocks, Cursor};
use crate::import::unpack::broken;

/// Of the length of a directory so much is for `.` and `..`, which are not stored.
const DOTS: u32 = 3;
const HEADER: u32 = 12;
const ENTRY: u32 = 8;
/// A header is for so many entries at most.
const MOST: u32 = 256;

/// A directory that is being read.
#[derive(Debug)]
pub(super) struct Directory {
    cursor: Cursor,
    left: u32,
    /// Entries that come before the next header.
    entries: u32,
    /// The block of their inodes.
    block: u32,
    last: Vec<u8>,
}

/// One entry.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: Vec<u8>,
    /// Reference of its inode.
    pub(super) inode: u64,
}

impl Directory {
    /// Begins to read; `None` if it is empty.
    pub(super) fn open(blocks: &Blocks, listing: Listing) -> io::Result<Option<Self>> {
        if listing.length <= DOTS {
            return Ok(None);
        }
        let at = blocks.superblock.directory_table.checked_add(listing.block.into());
        let cursor = blocks.cursor(at.ok_or_else(damaged)?, listing.offset)?;
        Ok(Some(Self { cursor, left: listing.length - DOTS, entries: 0, block: 0, last: Vec::new() }))
    }

    /// The next entry.
    pub(super) fn next(&mut self, blocks: &Blocks) -> io::Result<Option<Entry>> {
        if self.entries == 0 {
            if self.left == 0 {
                return Ok(None);
            }
            self.spend(HEADER)?;
            self.entries =
                self.cursor.u32(blocks)?.checked_add(1).filter(|n| *n <= MOST).ok_or_else(damaged)?;
            self.block = self.cursor.u32(blocks)?;
            let _number = self.cursor.u32(blocks)?;
        }
        self.entries -= 1;
        self.spend(ENTRY)?;
        let offset = self.cursor.u16(blocks)?;
        let (_number, _kind) = (self.cursor.u16(blocks)?, self.cursor.u16(blocks)?);
        let length = u32::from(self.cursor.u16(blocks)?) + 1;
        self.spend(length)?;
        let name = self.cursor.bytes(blocks, usize::try_from(length).unwrap_or(0))?;
        if name.contains(&b'/') || matches!(name.as_slice(), b"." | b"..") {
            return Err(broken("a name in a directory that is no name"));
        }
        if name <= self.last {
            return Err(broken("a directory whose names are not in order"));
        }
        self.last.clone_from(&name);
        Ok(Some(Entry { name, inode: u64::from(self.block) << 16 | u64::from(offset) }))
    }

    fn spend(&mut self, bytes: u32) -> io::Result<()> {
        self.left = self.left.checked_sub(bytes).ok_or_else(damaged)?;
        Ok(())
    }
}

fn damaged() -> io::Error {
    broken("a damaged directory")
}

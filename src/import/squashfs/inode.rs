//! Inodes: what an entry is, beside its name.

use std::io;

use super::metadata::{Blocks, Cursor};
use super::xattr;
use crate::import::unpack::broken;
use crate::import::unpack::member::{Attributes, Kind};

/// "None", of fragments and of sets of extended attributes.
const NONE: u32 = u32::MAX;
/// As long as the kernel lets one be.
const LONGEST_LINK: u32 = 4096;

/// One inode.
#[derive(Debug)]
pub(super) struct Inode {
    pub(super) attributes: Attributes,
    pub(super) links: u32,
    pub(super) what: What,
}

/// What it is.
#[derive(Debug)]
pub(super) enum What {
    Directory(Listing),
    File(Content),
    /// All that has no content of its own.
    Other(Kind),
}

/// Where a directory's entries stand.
#[derive(Debug, Clone, Copy)]
pub(super) struct Listing {
    pub(super) block: u32,
    pub(super) offset: u16,
    pub(super) length: u32,
}

/// Where a file's content lies.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) size: u64,
    pub(super) start: u64,
    /// The index of the fragment that the tail is in, and where in it.
    pub(super) fragment: Option<(u32, u32)>,
    /// The lengths of the blocks follow here.
    pub(super) lengths: Cursor,
}

impl Inode {
    /// Reads the inode that a reference names: the block, from the beginning of the table, and a place in it.
    pub(super) fn read(blocks: &Blocks, reference: u64) -> io::Result<Self> {
        let [low, high, ..] = reference.to_le_bytes();
        let at = blocks.superblock.inode_table.checked_add(reference >> 16);
        let at = at.ok_or_else(|| broken("a reference to nowhere"))?;
        let mut cursor = blocks.cursor(at, u16::from_le_bytes([low, high]))?;
        let kind = cursor.u16(blocks)?;
        let mode = u32::from(cursor.u16(blocks)?) & 0o7777;
        let uid = id(blocks, cursor.u16(blocks)?)?;
        let gid = id(blocks, cursor.u16(blocks)?)?;
        let mtime = (cursor.u32(blocks)?.into(), 0);
        let _number = cursor.u32(blocks)?;
        let mut parser = Parser { blocks, cursor, links: 1, xattrs: NONE };
        let what = parser.what(kind)?;
        let xattrs = if parser.xattrs == NONE { Vec::new() } else { xattr::read(blocks, parser.xattrs)? };
        let attributes = Attributes { mode, uid, gid, mtime, xattrs, text_acl: false };
        Ok(Self { attributes, links: parser.links, what })
    }
}

fn id(blocks: &Blocks, index: u16) -> io::Result<u64> {
    if index >= blocks.superblock.ids {
        return Err(broken("an owner that is in no table"));
    }
    let mut cursor = blocks.entry(blocks.superblock.id_table, index.into(), 4)?;
    Ok(cursor.u32(blocks)?.into())
}

struct Parser<'a> {
    blocks: &'a Blocks,
    cursor: Cursor,
    links: u32,
    xattrs: u32,
}

impl Parser<'_> {
    fn u16(&mut self) -> io::Result<u16> {
        self.cursor.u16(self.blocks)
    }

    fn u32(&mut self) -> io::Result<u32> {
        self.cursor.u32(self.blocks)
    }

    /// Kinds from 8 on are those from 1 on with more in them: extended attributes above all.
    fn what(&mut self, kind: u16) -> io::Result<What> {
        let more = kind > 7;
        match if more { kind - 7 } else { kind } {
            1 if more => self.long_directory(),
            1 => self.directory(),
            2 if more => self.long_file(),
            2 => self.file(),
            3 => self.symlink(more),
            kind @ (4 | 5) => self.device(kind == 4, more),
            kind @ (6 | 7) => {
                self.links = self.u32()?;
                self.extended(more)?;
                Ok(What::Other(if kind == 6 { Kind::Fifo } else { Kind::Socket }))
            }
            _ => Err(broken("an entry of a kind that there is not")),
        }
    }

    fn extended(&mut self, more: bool) -> io::Result<()> {
        if more {
            self.xattrs = self.u32()?;
        }
        Ok(())
    }

    fn directory(&mut self) -> io::Result<What> {
        let block = self.u32()?;
        let _links = self.u32()?;
        let length = u32::from(self.u16()?);
        let offset = self.u16()?;
        Ok(What::Directory(Listing { block, offset, length }))
    }

    fn long_directory(&mut self) -> io::Result<What> {
        let _links = self.u32()?;
        let length = self.u32()?;
        let block = self.u32()?;
        let _parent = self.u32()?;
        let _index = self.u16()?;
        let offset = self.u16()?;
        self.extended(true)?;
        Ok(What::Directory(Listing { block, offset, length }))
    }

    fn file(&mut self) -> io::Result<What> {
        let start = self.u32()?.into();
        let fragment = (self.u32()?, self.u32()?);
        let size = self.u32()?.into();
        Ok(self.content(size, start, fragment))
    }

    fn long_file(&mut self) -> io::Result<What> {
        let start = self.cursor.u64(self.blocks)?;
        let size = self.cursor.u64(self.blocks)?;
        let _sparse = self.cursor.u64(self.blocks)?;
        self.links = self.u32()?;
        let fragment = (self.u32()?, self.u32()?);
        self.extended(true)?;
        Ok(self.content(size, start, fragment))
    }

    fn content(&self, size: u64, start: u64, fragment: (u32, u32)) -> What {
        let fragment = (fragment.0 != NONE).then_some(fragment);
        What::File(Content { size, start, fragment, lengths: self.cursor.clone() })
    }

    fn symlink(&mut self, more: bool) -> io::Result<What> {
        self.links = self.u32()?;
        let length = self.u32()?;
        if length > LONGEST_LINK {
            return Err(broken("a symlink whose target is too long"));
        }
        let target = self.cursor.bytes(self.blocks, usize::try_from(length).unwrap_or(0))?;
        self.extended(more)?;
        Ok(What::Other(Kind::Symlink(target)))
    }

    fn device(&mut self, block: bool, more: bool) -> io::Result<What> {
        self.links = self.u32()?;
        let number = self.u32()?;
        self.extended(more)?;
        let (major, minor) = ((number >> 8) & 0xfff, (number & 0xff) | ((number >> 12) & 0xf_ff00));
        Ok(What::Other(if block { Kind::Block(major, minor) } else { Kind::Char(major, minor) }))
    }
}

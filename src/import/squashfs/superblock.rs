//! The first 96 bytes of an image: where its tables lie and how its blocks are packed.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::import::unpack::{broken, cut_off};

pub(super) const LENGTH: usize = 96;
const MAGIC: u32 = 0x7371_7368;
/// "There is no such table".
const NONE: u64 = u64::MAX;

/// What an image says of itself.
#[derive(Debug, Clone)]
pub(super) struct Superblock {
    pub(super) block_size: usize,
    pub(super) fragments: u32,
    pub(super) compressor: u16,
    pub(super) ids: u16,
    pub(super) root: u64,
    /// How much of the file is the image.
    pub(super) end: u64,
    pub(super) id_table: u64,
    pub(super) xattr_table: Option<u64>,
    pub(super) inode_table: u64,
    pub(super) directory_table: u64,
    pub(super) fragment_table: Option<u64>,
}

/// Little-endian numbers, one after the other.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk().ok_or_else(cut_off)?;
        self.0 = rest;
        Ok(*head)
    }

    pub(super) fn u16(&mut self) -> io::Result<u16> {
        Ok(u16::from_le_bytes(self.take()?))
    }

    pub(super) fn u32(&mut self) -> io::Result<u32> {
        Ok(u32::from_le_bytes(self.take()?))
    }

    pub(super) fn u64(&mut self) -> io::Result<u64> {
        Ok(u64::from_le_bytes(self.take()?))
    }
}

impl Superblock {
    pub(super) fn read(file: &File) -> io::Result<Self> {
        let mut bytes = [0; LENGTH];
        file.read_exact_at(&mut bytes, 0).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => cut_off(),
            _ => error,
        })?;
        let parsed = Self::parse(&bytes)?;
        if parsed.end > file.metadata()?.len() {
            return Err(cut_off());
        }
        Ok(parsed)
    }

    fn parse(bytes: &[u8; LENGTH]) -> io::Result<Self> {
        let mut fields = Fields(bytes);
        if fields.u32()? != MAGIC {
            return Err(broken("it is no squashfs image"));
        }
        let (_inodes, _made) = (fields.u32()?, fields.u32()?);
        let (block_size, fragments) = (fields.u32()?, fields.u32()?);
        let (compressor, block_log) = (fields.u16()?, fields.u16()?);
        let (_flags, ids) = (fields.u16()?, fields.u16()?);
        if (fields.u16()?, fields.u16()?) != (4, 0) {
            return Err(broken("it is a squashfs image of an old version; only version 4.0 is known"));
        }
        if !(12..=20).contains(&block_log) || block_size != 1 << block_log {
            return Err(broken("a squashfs image with a block size that there is not"));
        }
        let (root, end) = (fields.u64()?, fields.u64()?);
        let mut table = || fields.u64();
        let (id_table, xattr_table) = (table()?, table()?);
        let (inode_table, directory_table, fragment_table) = (table()?, table()?, table()?);
        let unless_none = |table: u64| (table != NONE).then_some(table);
        Ok(Self {
            block_size: usize::try_from(block_size).map_err(|_| broken("too large a block"))?,
            fragments,
            compressor,
            ids,
            root,
            end,
            id_table,
            xattr_table: unless_none(xattr_table),
            inode_table,
            directory_table,
            fragment_table: unless_none(fragment_table),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes() -> [u8; LENGTH] {
        let mut bytes = [0xff; LENGTH];
        bytes[..4].copy_from_slice(b"hsqs");
        bytes[12..16].copy_from_slice(&0x2_0000_u32.to_le_bytes());
        bytes[22..24].copy_from_slice(&17_u16.to_le_bytes());
        bytes[28..32].copy_from_slice(&[4, 0, 0, 0]);
        bytes
    }

    #[test]
    fn a_superblock_says_where_the_tables_are_and_which_there_are_not() {
        let mut good = bytes();
        good[48..56].copy_from_slice(&7_u64.to_le_bytes());
        good[80..88].copy_from_slice(&9_u64.to_le_bytes());
        let parsed = Superblock::parse(&good).unwrap();
        assert_eq!((parsed.block_size, parsed.id_table), (131_072, 7));
        assert_eq!((parsed.xattr_table, parsed.fragment_table), (None, Some(9)));
    }

    #[test]
    fn what_is_no_superblock_is_refused_with_the_reason() {
        let cases: [(usize, &[u8], &str); 5] = [
            (0, b"sqsh", "no squashfs image"),
            (28, &[3], "version 4.0"),
            (30, &[1], "version 4.0"),
            (22, &[16], "block size"),
            (12, &[1], "block size"),
        ];
        for (at, with, why) in cases {
            let mut bad = bytes();
            bad[at..at + with.len()].copy_from_slice(with);
            let error = Superblock::parse(&bad).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}

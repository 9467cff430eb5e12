//! Metadata: a row of blocks of at most 8 KiB, each packed for itself, read by cursors.

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::rc::Rc;

use super::codec::Codec;
use super::superblock::{Fields, Superblock};
use crate::import::unpack::report::Beat;
use crate::import::unpack::{broken, cut_off};

const BLOCK: usize = 8192;
const STORED: u16 = 0x8000;
/// Blocks that are kept unpacked: 2 MiB, whatever the image holds.
const KEPT: u64 = 256;

/// The image as its blocks.
pub(super) struct Blocks {
    file: File,
    beat: Beat,
    pub(super) codec: Codec,
    pub(super) superblock: Superblock,
    kept: RefCell<Vec<Kept>>,
}

/// A block that is kept, and where it is stored.
type Kept = Option<(u64, Rc<Block>)>;

/// One metadata block, unpacked.
#[derive(Debug)]
struct Block {
    bytes: Vec<u8>,
    /// Where the one after it begins.
    next: u64,
}

/// A place in metadata.
#[derive(Debug, Clone)]
pub(super) struct Cursor {
    block: Rc<Block>,
    at: usize,
}

impl Blocks {
    pub(super) fn open(file: File, beat: Beat) -> io::Result<Self> {
        let superblock = Superblock::read(&file)?;
        let codec = Codec::new(superblock.compressor)?;
        let kept = RefCell::new((0..KEPT).map(|_| None).collect());
        Ok(Self { file, beat, codec, superblock, kept })
    }

    /// Reads bytes of the image as they are stored.
    pub(super) fn read(&self, at: u64, length: usize) -> io::Result<Vec<u8>> {
        let end = at.checked_add(length as u64).filter(|end| *end <= self.superblock.end);
        if end.is_none() {
            return Err(broken("something that would lie behind the end of the image"));
        }
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, at).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => cut_off(),
            _ => error,
        })?;
        self.beat.read(length as u64)?;
        Ok(bytes)
    }

    /// A cursor at byte `offset` of the unpacked block that is stored at `at`.
    pub(super) fn cursor(&self, at: u64, offset: u16) -> io::Result<Cursor> {
        let block = self.block(at)?;
        let offset = usize::from(offset);
        if offset > block.bytes.len() {
            return Err(broken("a reference to behind the end of a block"));
        }
        Ok(Cursor { block, at: offset })
    }

    /// A cursor at entry `index` of a table: a row of pointers, one for each block of entries of `size` bytes.
    pub(super) fn entry(&self, table: u64, index: u32, size: usize) -> io::Result<Cursor> {
        let byte = u64::from(index) * size as u64;
        let pointer = (byte / BLOCK as u64).checked_mul(8).and_then(|skip| table.checked_add(skip));
        let pointer = self.read(pointer.ok_or_else(cut_off)?, 8)?;
        let offset = u16::try_from(byte % BLOCK as u64).map_err(|_| cut_off())?;
        self.cursor(Fields(&pointer).u64()?, offset)
    }

    fn block(&self, at: u64) -> io::Result<Rc<Block>> {
        let slot = usize::try_from(at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56).unwrap_or(0);
        if let Some(Some((kept, block))) = self.kept.borrow().get(slot)
            && *kept == at
        {
            return Ok(block.clone());
        }
        let header = Fields(&self.read(at, 2)?).u16()?;
        let length = usize::from(header & !STORED);
        if length == 0 || length > BLOCK {
            return Err(broken("a damaged block of metadata"));
        }
        let stored = self.read(at + 2, length)?;
        let bytes = if header & STORED == 0 { self.codec.unpack(&stored, BLOCK)? } else { stored };
        let block = Rc::new(Block { bytes, next: at + 2 + length as u64 });
        if let Some(slot) = self.kept.borrow_mut().get_mut(slot) {
            *slot = Some((at, block.clone()));
        }
        Ok(block)
    }
}

impl Cursor {
    /// Reads so many bytes, going on in the next blocks.
    pub(super) fn take(&mut self, blocks: &Blocks, into: &mut [u8]) -> io::Result<()> {
        let mut rest = into;
        while !rest.is_empty() {
            if self.at >= self.block.bytes.len() {
                let next = blocks.block(self.block.next)?;
                if next.bytes.is_empty() {
                    return Err(broken("an empty block of metadata"));
                }
                *self = Self { block: next, at: 0 };
            }
            let here = self.block.bytes.get(self.at..).unwrap_or_default();
            let count = here.len().min(rest.len());
            let (now, later) = rest.split_at_mut(count);
            now.copy_from_slice(here.get(..count).unwrap_or_default());
            self.at += count;
            rest = later;
        }
        Ok(())
    }

    /// Reads `length` bytes, of which there may be any number: no more is set aside than there really are.
    pub(super) fn bytes(&mut self, blocks: &Blocks, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        while bytes.len() < length {
            let had = bytes.len();
            bytes.resize(length.min(had + BLOCK), 0);
            let (_, new) = bytes.split_at_mut(had);
            self.take(blocks, new)?;
        }
        Ok(bytes)
    }

    pub(super) fn u16(&mut self, blocks: &Blocks) -> io::Result<u16> {
        let mut bytes = [0; 2];
        self.take(blocks, &mut bytes)?;
        Ok(u16::from_le_bytes(bytes))
    }

    pub(super) fn u32(&mut self, blocks: &Blocks) -> io::Result<u32> {
        let mut bytes = [0; 4];
        self.take(blocks, &mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    pub(super) fn u64(&mut self, blocks: &Blocks) -> io::Result<u64> {
        let mut bytes = [0; 8];
        self.take(blocks, &mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }
}

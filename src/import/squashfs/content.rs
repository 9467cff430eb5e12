//! The content of files: whole blocks, holes between them, and tails that share a block, the fragments.

use std::io;
use std::rc::Rc;

use super::inode::Content;
use super::metadata::Blocks;
use crate::import::unpack::broken;
use crate::import::unpack::tree::{NewFile, Tree};

const STORED: u32 = 1 << 24;
const FRAGMENT: usize = 16;
/// Fragments that are kept unpacked.
const KEPT: usize = 8;

/// Reads contents.
pub(super) struct Contents<'a> {
    blocks: &'a Blocks,
    fragments: Vec<Option<(u32, Rc<Vec<u8>>)>>,
}

impl<'a> Contents<'a> {
    pub(super) fn new(blocks: &'a Blocks) -> Self {
        Self { blocks, fragments: vec![None; KEPT] }
    }

    /// Writes the content into a new file.
    pub(super) fn write(&mut self, content: &mut Content, tree: &mut Tree, file: &NewFile) -> io::Result<()> {
        let block_size = self.blocks.superblock.block_size as u64;
        let tail = if content.fragment.is_some() { content.size % block_size } else { 0 };
        let end = content.size - tail;
        let (mut offset, mut start) = (0, content.start);
        let mut holes = false;
        while offset < end {
            let length = usize::try_from((end - offset).min(block_size)).map_err(|_| damaged())?;
            let stored = content.lengths.u32(self.blocks)?;
            if stored & !STORED == 0 {
                holes = true;
                tree.alive()?;
            } else {
                let block = self.block(start, stored)?;
                if block.len() != length {
                    return Err(damaged());
                }
                tree.put(file, offset, &block)?;
            }
            start = start.checked_add((stored & !STORED).into()).ok_or_else(damaged)?;
            offset += length as u64;
        }
        match content.fragment {
            Some((index, at)) if tail > 0 => {
                let fragment = self.fragment(index)?;
                let (at, tail) = (usize::try_from(at), usize::try_from(tail));
                let (at, tail) = (at.map_err(|_| damaged())?, tail.map_err(|_| damaged())?);
                let piece = at.checked_add(tail).and_then(|past| fragment.get(at..past));
                tree.put(file, offset, piece.ok_or_else(damaged)?)
            }
            // A hole at the end.
            _ if holes => tree.set_length(file, content.size),
            _ => Ok(()),
        }
    }

    /// A block of data, unpacked; `stored` is its length and whether it is packed at all.
    fn block(&self, at: u64, stored: u32) -> io::Result<Vec<u8>> {
        let block_size = self.blocks.superblock.block_size;
        let length = usize::try_from(stored & !STORED).map_err(|_| damaged())?;
        if length > block_size {
            return Err(damaged());
        }
        let bytes = self.blocks.read(at, length)?;
        if stored & STORED == 0 { self.blocks.codec.unpack(&bytes, block_size) } else { Ok(bytes) }
    }

    fn fragment(&mut self, index: u32) -> io::Result<Rc<Vec<u8>>> {
        let slot = usize::try_from(index).unwrap_or(0) % KEPT;
        if let Some(Some((kept, bytes))) = self.fragments.get(slot)
            && *kept == index
        {
            return Ok(bytes.clone());
        }
        let superblock = &self.blocks.superblock;
        let table = superblock.fragment_table.filter(|_| index < superblock.fragments);
        let mut entry = self.blocks.entry(table.ok_or_else(damaged)?, index, FRAGMENT)?;
        let (at, stored) = (entry.u64(self.blocks)?, entry.u32(self.blocks)?);
        let bytes = Rc::new(self.block(at, stored)?);
        if let Some(slot) = self.fragments.get_mut(slot) {
            *slot = Some((index, bytes.clone()));
        }
        Ok(bytes)
    }
}

fn damaged() -> io::Error {
    broken("damaged content")
}

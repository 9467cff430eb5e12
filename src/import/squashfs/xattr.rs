//! Extended attributes: sets of them stand in a table of their own, values that several share only once.

use std::io;

use super::metadata::{Blocks, Cursor};
use super::superblock::Fields;
use crate::import::unpack::broken;

const ENTRY: usize = 16;
const HEAD: u64 = 16;
/// The value stands elsewhere.
const ELSEWHERE: u16 = 0x100;
/// As much as the kernel lets one file have.
const MOST: u32 = 4096;
const LONGEST: u32 = 65_536;

/// The set of that index.
pub(super) fn read(blocks: &Blocks, index: u32) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let table = blocks.superblock.xattr_table.ok_or_else(unknown)?;
    let head = blocks.read(table, usize::try_from(HEAD).unwrap_or(0))?;
    let mut fields = Fields(&head);
    let (values, count) = (fields.u64()?, fields.u32()?);
    if index >= count {
        return Err(unknown());
    }
    let mut entry = blocks.entry(table + HEAD, index, ENTRY)?;
    let (reference, pairs) = (entry.u64(blocks)?, entry.u32(blocks)?);
    if pairs > MOST {
        return Err(broken("more extended attributes than a file can have"));
    }
    let mut cursor = at(blocks, values, reference)?;
    let mut found = Vec::new();
    for _ in 0..pairs {
        let kind = cursor.u16(blocks)?;
        let length = usize::from(cursor.u16(blocks)?);
        let mut name = prefix(kind & !ELSEWHERE)?.to_vec();
        name.extend(cursor.bytes(blocks, length)?);
        let value = value(blocks, &mut cursor)?;
        let value = if kind & ELSEWHERE == 0 {
            value
        } else {
            self::value(blocks, &mut at(blocks, values, Fields(&value).u64()?)?)?
        };
        found.push((name, value));
    }
    Ok(found)
}

fn at(blocks: &Blocks, values: u64, reference: u64) -> io::Result<Cursor> {
    let [low, high, ..] = reference.to_le_bytes();
    let block = values.checked_add(reference >> 16).ok_or_else(unknown)?;
    blocks.cursor(block, u16::from_le_bytes([low, high]))
}

fn value(blocks: &Blocks, cursor: &mut Cursor) -> io::Result<Vec<u8>> {
    let length = cursor.u32(blocks)?;
    if length > LONGEST {
        return Err(broken("an extended attribute that is too long"));
    }
    cursor.bytes(blocks, usize::try_from(length).unwrap_or(0))
}

fn prefix(kind: u16) -> io::Result<&'static [u8]> {
    Ok(match kind {
        0 => b"user.",
        1 => b"trusted.",
        2 => b"security.",
        _ => return Err(broken("an extended attribute of a kind that there is not")),
    })
}

fn unknown() -> io::Error {
    broken("extended attributes that are in no table")
}

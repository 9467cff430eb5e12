//! Reads an archive as a row of members: headers, extensions, data.
//!
//! The tar crate decodes the single header block. The walk over the blocks is ours, because its own cuts PAX
//! records at newlines (see [`pax`](super::pax)), loses a `size` behind such a record and so the place of the
//! next header, reads extensions of any size into memory, and cannot tell an archive that ends from one that
//! was cut off.

use std::io::{self, Read};

use tar::{EntryType, GnuExtSparseHeader, GnuSparseHeader, Header};

use super::header::PaxSparse;
use super::pax;
use crate::import::unpack::member::{Kind, Member, Sparse};
use crate::import::unpack::{broken, cut_off};

const BLOCK: u64 = 512;
/// No name, link target or set of attributes of a real file comes near it.
const LONGEST_EXTENSION: u64 = 4 << 20;
const MOST_PIECES: usize = 1 << 20;

/// The walk over an archive.
pub(in crate::import) struct Archive<R> {
    input: R,
    /// Of the data of the current member, what was not read yet.
    left: u64,
    /// Filler after the data up to a whole block.
    filler: u64,
    members: u64,
    global: Vec<u8>,
}

/// What stood before a member's own header.
#[derive(Default)]
struct Extensions {
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
    pax: Option<Vec<u8>>,
}

impl<R: Read> Archive<R> {
    pub(in crate::import) fn new(input: R) -> Self {
        Self { input, left: 0, filler: 0, members: 0, global: Vec::new() }
    }

    /// The next member, `None` at the end mark. What was not read of the former one is passed over.
    pub(in crate::import) fn next(&mut self) -> io::Result<Option<Member>> {
        let mut extensions = Extensions::default();
        loop {
            let Some(header) = self.next_header()? else { return Ok(None) };
            let kind = header.entry_type();
            let size = header.entry_size()?;
            let slot = match kind {
                EntryType::GNULongName => &mut extensions.long_name,
                EntryType::GNULongLink => &mut extensions.long_link,
                EntryType::XHeader => &mut extensions.pax,
                EntryType::XGlobalHeader => {
                    self.global = self.extension(size)?;
                    continue;
                }
                _ => return self.member(&header, &extensions).map(Some),
            };
            if slot.is_some() {
                return Err(broken("two extension headers of one kind for one member"));
            }
            *slot = Some(self.extension(size)?);
        }
    }

    /// The data of the current member as the archive holds it.
    pub(in crate::import) fn data(&mut self) -> Data<'_, R> {
        Data { archive: self }
    }

    /// Ends the walk: what reads the archive can then see to its own end.
    pub(in crate::import) fn into_inner(self) -> R {
        self.input
    }

    fn next_header(&mut self) -> io::Result<Option<Header>> {
        self.skip()?;
        let mut header = Header::new_old();
        self.block(header.as_mut_bytes())?;
        if header.as_bytes().iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        if !checksum_fits(&header) {
            return Err(broken(match self.members {
                0 => {
                    "it is not a tar archive, or compressed in a way that is not known (gz, xz, zst, bz2 are)"
                }
                _ => "a damaged header: its checksum does not fit",
            }));
        }
        self.members += 1;
        Ok(Some(header))
    }

    /// Passes over the rest of the current member.
    fn skip(&mut self) -> io::Result<()> {
        let rest = self.left.saturating_add(self.filler);
        let skipped = io::copy(&mut self.input.by_ref().take(rest), &mut io::sink())?;
        (self.left, self.filler) = (0, 0);
        if skipped == rest { Ok(()) } else { Err(cut_off()) }
    }

    fn block(&mut self, block: &mut [u8]) -> io::Result<()> {
        self.input.read_exact(block).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof if error.raw_os_error().is_none() => cut_off(),
            _ => error,
        })
    }

    fn has_data(&mut self, size: u64) {
        self.left = size;
        self.filler = (BLOCK - size % BLOCK) % BLOCK;
    }

    fn extension(&mut self, size: u64) -> io::Result<Vec<u8>> {
        if size > LONGEST_EXTENSION {
            return Err(broken("an extension header of more than 4 MiB"));
        }
        self.has_data(size);
        let mut text = Vec::new();
        self.data().read_to_end(&mut text)?;
        Ok(text)
    }

    fn member(&mut self, header: &Header, extensions: &Extensions) -> io::Result<Member> {
        let mut member = Member::from_header(header)?;
        let mut size = header.entry_size()?;
        member.apply_global(&pax::records(&self.global)?)?;
        let records = pax::records(extensions.pax.as_deref().unwrap_or_default())?;
        for record in &records {
            if record.key == b"size" {
                size = pax::number(record.value)?;
            }
        }
        let sparse = member.apply(&records)?;
        if let Some(name) = &extensions.long_name {
            member.path = without_nul(name);
        }
        if let (Some(target), Kind::Symlink(link) | Kind::HardLink(link)) =
            (&extensions.long_link, &mut member.kind)
        {
            *link = without_nul(target);
        }
        member.old_directory();
        // What is only a header has no data, whatever its size says (as Go and Docker read it).
        let only_header = matches!(
            header.entry_type(),
            EntryType::Directory
                | EntryType::Symlink
                | EntryType::Link
                | EntryType::Char
                | EntryType::Block
                | EntryType::Fifo
        );
        let size = if only_header { 0 } else { size };
        self.has_data(size);
        member.size = size;
        if member.kind == Kind::File {
            member.sparse = match sparse {
                _ if header.entry_type() == EntryType::GNUSparse => Some(self.old_sparse(header)?),
                Some(sparse) => Some(self.pax_sparse(&sparse)?),
                None => None,
            };
        }
        if let Some(sparse) = &member.sparse {
            sparse.check(self.left)?;
        }
        Ok(member)
    }

    /// The map of a sparse file in the old GNU format: in the header and in blocks between it and the data.
    fn old_sparse(&mut self, header: &Header) -> io::Result<Sparse> {
        let gnu = header.as_gnu().ok_or_else(|| broken("a sparse member in a format that has none"))?;
        let mut sparse = Sparse { real: gnu.real_size()?, pieces: Vec::new() };
        add_pieces(&mut sparse, &gnu.sparse)?;
        let mut more = gnu.is_extended();
        while more {
            let mut extension = GnuExtSparseHeader::new();
            self.block(extension.as_mut_bytes())?;
            add_pieces(&mut sparse, &extension.sparse)?;
            more = extension.is_extended();
        }
        Ok(sparse)
    }

    /// The map of a sparse file in the PAX formats: 0.0 and 0.1 have it in the header, 1.0 before the data.
    fn pax_sparse(&mut self, found: &PaxSparse) -> io::Result<Sparse> {
        let real = found.real.ok_or_else(|| broken("a sparse member without its real size"))?;
        let pieces = if found.map_in_data { self.map_before_data()? } else { pairs(&found.numbers)? };
        Ok(Sparse { real, pieces })
    }

    /// `COUNT\n` and then COUNT times `OFFSET\nLENGTH\n`, filled up to whole blocks.
    fn map_before_data(&mut self) -> io::Result<Vec<(u64, u64)>> {
        let mut lines = Lines { data: self.data(), block: Vec::new(), at: 0 };
        let count = usize::try_from(lines.number()?).unwrap_or(usize::MAX);
        if count > MOST_PIECES {
            return Err(broken("a sparse member of more than a million pieces"));
        }
        (0..count).map(|_| Ok((lines.number()?, lines.number()?))).collect()
    }
}

fn checksum_fits(header: &Header) -> bool {
    let (head, tail) = header.as_bytes().split_at(148);
    let sum = head.iter().chain(tail.iter().skip(8)).fold(8 * 32, |sum, byte| sum + u32::from(*byte));
    header.cksum().is_ok_and(|stored| stored == sum)
}

fn without_nul(name: &[u8]) -> Vec<u8> {
    name.strip_suffix(b"\0").unwrap_or(name).to_vec()
}

fn add_pieces(sparse: &mut Sparse, blocks: &[GnuSparseHeader]) -> io::Result<()> {
    for block in blocks.iter().filter(|block| !block.is_empty()) {
        if sparse.pieces.len() >= MOST_PIECES {
            return Err(broken("a sparse member of more than a million pieces"));
        }
        sparse.pieces.push((block.offset()?, block.length()?));
    }
    Ok(())
}

fn pairs(numbers: &[u64]) -> io::Result<Vec<(u64, u64)>> {
    let (pairs, rest) = numbers.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(broken("a sparse map with an odd count of numbers"));
    }
    Ok(pairs.iter().map(|[offset, length]| (*offset, *length)).collect())
}

/// The data of one member.
pub(in crate::import) struct Data<'a, R> {
    archive: &'a mut Archive<R>,
}

impl<R: Read> Read for Data<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.archive.left).unwrap_or(usize::MAX).min(buffer.len());
        let (head, _) = buffer.split_at_mut(most);
        let read = self.archive.input.read(head)?;
        if read == 0 && most > 0 {
            return Err(cut_off());
        }
        self.archive.left -= read as u64;
        Ok(read)
    }
}

/// Numbers in lines, read block by block.
struct Lines<'a, R> {
    data: Data<'a, R>,
    block: Vec<u8>,
    at: usize,
}

impl<R: Read> Lines<'_, R> {
    fn number(&mut self) -> io::Result<u64> {
        let mut digits = Vec::new();
        loop {
            match self.byte()? {
                b'\n' => return pax::number(&digits),
                digit if digits.len() < 20 => digits.push(digit),
                _ => return Err(broken("a sparse map without numbers")),
            }
        }
    }

    fn byte(&mut self) -> io::Result<u8> {
        if self.at >= self.block.len() {
            self.block.resize(512, 0);
            self.data.read_exact(&mut self.block)?;
            self.at = 0;
        }
        let byte = self.block.get(self.at).copied().ok_or_else(cut_off)?;
        self.at += 1;
        Ok(byte)
    }
}

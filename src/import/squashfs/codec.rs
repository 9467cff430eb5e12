//! Unpacks one block, never into more than a block may hold.

use std::cell::RefCell;
use std::io;

use liblzma::stream::{Action, Status, Stream};

use super::lzo;
use crate::import::unpack::broken;

/// A dictionary is never larger than a block, of at most 1 MiB; this is far above it.
const MOST_MEMORY: u64 = 64 << 20;

/// How an image is packed.
pub(super) enum Codec {
    Gzip(RefCell<flate2::Decompress>),
    Lzo,
    Xz,
    Lz4,
    Zstd(RefCell<zstd::bulk::Decompressor<'static>>),
}

impl Codec {
    /// The codec of a superblock's number.
    pub(super) fn new(number: u16) -> io::Result<Self> {
        Ok(match number {
            1 => Self::Gzip(RefCell::new(flate2::Decompress::new(true))),
            3 => Self::Lzo,
            4 => Self::Xz,
            5 => Self::Lz4,
            6 => Self::Zstd(RefCell::new(zstd::bulk::Decompressor::new()?)),
            2 => {
                return Err(broken(
                    "a squashfs image packed with lzma; gzip, lzo, xz, lz4 and zstd are known",
                ));
            }
            _ => return Err(broken("a squashfs image packed in a way that is not known")),
        })
    }

    /// Unpacks `block`, which holds at most `most` bytes.
    pub(super) fn unpack(&self, block: &[u8], most: usize) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        match self {
            Self::Gzip(state) => gzip(&mut state.borrow_mut(), block, most, &mut out)?,
            Self::Lzo => lzo::unpack(block, most, &mut out).ok_or_else(damaged)?,
            Self::Xz => xz(block, most, &mut out)?,
            Self::Lz4 => {
                out.resize(most, 0);
                let length = lz4_flex::block::decompress_into(block, &mut out).map_err(|_| damaged())?;
                out.truncate(length);
            }
            Self::Zstd(state) => {
                out.reserve_exact(most);
                state.borrow_mut().decompress_to_buffer(block, &mut out).map_err(|_| damaged())?;
            }
        }
        Ok(out)
    }
}

fn damaged() -> io::Error {
    broken("a damaged block: it does not unpack")
}

fn gzip(state: &mut flate2::Decompress, block: &[u8], most: usize, out: &mut Vec<u8>) -> io::Result<()> {
    state.reset(true);
    out.reserve_exact(most);
    match state.decompress_vec(block, out, flate2::FlushDecompress::Finish) {
        Ok(flate2::Status::StreamEnd) => Ok(()),
        _ => Err(damaged()),
    }
}

fn xz(block: &[u8], most: usize, out: &mut Vec<u8>) -> io::Result<()> {
    let mut stream = Stream::new_stream_decoder(MOST_MEMORY, 0)?;
    out.reserve_exact(most);
    match stream.process_vec(block, out, Action::Finish) {
        Ok(Status::StreamEnd) => Ok(()),
        _ => Err(damaged()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_that_is_damaged_or_holds_too_much_is_an_error_and_the_codec_goes_on_working() {
        let text = b"abc ".repeat(1000);
        let zstd = zstd::bulk::compress(&text, 3).unwrap();
        let mut gzip = flate2::Compress::new(flate2::Compression::default(), true);
        let mut zlib = Vec::with_capacity(5000);
        gzip.compress_vec(&text, &mut zlib, flate2::FlushCompress::Finish).unwrap();
        let mut easy = Stream::new_easy_encoder(6, liblzma::stream::Check::Crc32).unwrap();
        let mut xz = Vec::with_capacity(5000);
        easy.process_vec(&text, &mut xz, Action::Finish).unwrap();
        for (number, packed) in [(1, zlib), (4, xz), (6, zstd)] {
            let codec = Codec::new(number).unwrap();
            assert_eq!(codec.unpack(&packed, 8192).unwrap(), text, "{number}");
            assert!(codec.unpack(&packed, 3999).is_err(), "{number}: too much");
            assert!(codec.unpack(&packed[..packed.len() - 1], 8192).is_err(), "{number}: cut");
            assert!(codec.unpack(b"nonsense", 8192).is_err(), "{number}");
            assert!(codec.unpack(b"", 8192).unwrap_or_default().is_empty(), "{number}: empty");
            assert_eq!(codec.unpack(&packed, 4000).unwrap(), text, "{number}: after an error");
        }
        assert!(Codec::new(5).unwrap().unpack(b"nonsense", 8192).is_err());
    }

    #[test]
    fn packings_that_are_not_known_are_refused() {
        for number in [0, 2, 7, u16::MAX] {
            assert!(Codec::new(number).is_err());
        }
    }
}

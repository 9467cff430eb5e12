//! The bytes of an archive, whatever it is compressed with: told by its first bytes, never by its name.
//!
//! A compressed file may be several streams one after the other (pigz, pbzip2, `cat a.gz b.gz`).

use std::fs::File;
use std::io::{self, BufRead, Read};
use std::os::unix::fs::FileExt;
use std::rc::Rc;

use crate::import::unpack::broken;
use crate::import::unpack::report::Beat;

const BUFFER: usize = 256 << 10;
/// What a hostile archive may make a decoder take: xz -9 needs 65 MiB, zstd --ultra -22 128 MiB.
const MOST_MEMORY: u64 = 1 << 30;

/// A part of a file that others may read as well: it has its own place in it.
pub(in crate::import) struct Piece {
    file: Rc<File>,
    at: u64,
    end: u64,
}

impl Piece {
    pub(in crate::import) fn new(file: Rc<File>, at: u64, size: u64) -> Self {
        Self { file, at, end: at.saturating_add(size) }
    }
}

impl Read for Piece {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.end - self.at).unwrap_or(usize::MAX).min(buffer.len());
        let (head, _) = buffer.split_at_mut(most);
        let read = self.file.read_at(head, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

/// What is read, counted; can look ahead.
pub(in crate::import) struct Input {
    source: Box<dyn Read>,
    buffer: Vec<u8>,
    at: usize,
    beat: Beat,
}

impl Input {
    pub(in crate::import) fn over(source: Box<dyn Read>, beat: Beat) -> Self {
        Self { source, buffer: Vec::new(), at: 0, beat }
    }

    /// At least `wanted` bytes that come next, fewer only before the end.
    fn peek(&mut self, wanted: usize) -> io::Result<&[u8]> {
        while self.rest().len() < wanted {
            self.buffer.drain(..self.at);
            self.at = 0;
            let had = self.buffer.len();
            self.buffer.resize(had + BUFFER, 0);
            let (_, room) = self.buffer.split_at_mut(had);
            let read = loop {
                match self.source.read(room) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    other => break other?,
                }
            };
            self.buffer.truncate(had + read);
            self.beat.read(read as u64)?;
            if read == 0 {
                break;
            }
        }
        Ok(self.rest())
    }

    fn rest(&self) -> &[u8] {
        self.buffer.get(self.at..).unwrap_or_default()
    }

    /// Whether nothing but zeros, with which tapes are filled up, comes any more; passes over them.
    fn ends(&mut self) -> io::Result<bool> {
        loop {
            let rest = self.peek(1)?;
            if rest.is_empty() {
                return Ok(true);
            }
            let zeros = rest.iter().take_while(|byte| **byte == 0).count();
            if zeros == 0 {
                return Ok(false);
            }
            self.consume(zeros);
        }
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(buffer)?;
        self.consume(read);
        Ok(read)
    }
}

impl BufRead for Input {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.peek(1)
    }

    fn consume(&mut self, amount: usize) {
        self.at = (self.at + amount).min(self.buffer.len());
    }
}

enum Codec {
    Plain(Input),
    Gzip(Box<flate2::bufread::GzDecoder<Input>>),
    Bzip2(bzip2::bufread::BzDecoder<Input>),
    /// Both of these see to further streams themselves.
    Xz(liblzma::bufread::XzDecoder<Input>),
    Zstd(zstd::stream::read::Decoder<'static, Input>),
}

/// The archive's bytes, unpacked.
pub(in crate::import) struct Stream {
    codec: Option<Codec>,
}

impl Stream {
    pub(in crate::import) fn new(mut input: Input) -> io::Result<Self> {
        if input.peek(1)?.is_empty() {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it is empty"));
        }
        Codec::new(input).map(|codec| Self { codec: Some(codec) })
    }

    /// After a compressed stream another may follow, and at the very end zeros.
    fn next_stream(&mut self) -> io::Result<bool> {
        let mut input = match self.codec.take() {
            Some(Codec::Gzip(decoder)) => decoder.into_inner(),
            Some(Codec::Bzip2(decoder)) => decoder.into_inner(),
            Some(Codec::Plain(_) | Codec::Xz(_) | Codec::Zstd(_)) | None => return Ok(false),
        };
        if input.ends()? {
            return Ok(false);
        }
        match Codec::new(input)? {
            Codec::Plain(_) => Err(broken("something that is no compressed stream follows the last one")),
            codec => {
                self.codec = Some(codec);
                Ok(true)
            }
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // Decoders take an empty buffer for a full one, or for their end.
        while !buffer.is_empty() {
            let read = match &mut self.codec {
                None => return Ok(0),
                Some(codec) => codec.read(buffer)?,
            };
            if read > 0 || !self.next_stream()? {
                return Ok(read);
            }
        }
        Ok(0)
    }
}

impl Codec {
    fn new(mut input: Input) -> io::Result<Self> {
        Ok(match input.peek(6)? {
            [0x1f, 0x8b, ..] => Self::Gzip(Box::new(flate2::bufread::GzDecoder::new(input))),
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Self::Bzip2(bzip2::bufread::BzDecoder::new(input)),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => {
                let flags = liblzma::stream::CONCATENATED;
                let stream = liblzma::stream::Stream::new_stream_decoder(MOST_MEMORY, flags)?;
                Self::Xz(liblzma::bufread::XzDecoder::new_stream(input, stream))
            }
            // A frame, or a skippable one as pzstd puts in front.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
                Self::Zstd(zstd::stream::read::Decoder::with_buffer(input)?)
            }
            _ => Self::Plain(input),
        })
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(input) => input.read(buffer),
            Self::Gzip(decoder) => decoder.read(buffer),
            Self::Bzip2(decoder) => decoder.read(buffer),
            Self::Xz(decoder) => decoder.read(buffer),
            Self::Zstd(decoder) => decoder.read(buffer),
        }
    }
}

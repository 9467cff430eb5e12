//! The worker's part: of each file that comes from the archive, is there one to be cloned, and is it the same?

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use super::index::{HEAD, Index, Key, Writer};
use super::wire::{self, Answer};
use super::{LEAST, Loan};
use crate::import::unpack::tree::write_at;
use crate::sys::reflink::same_bytes;

/// For one file it is asked at most so often.
const MOST_WISHES: usize = 4;

/// What is known of the file that is being made.
#[derive(Debug)]
enum State {
    /// It is written as it comes.
    Plain,
    /// So much of its beginning came; nothing is written.
    Head(Vec<u8>),
    /// It is a clone, and so many bytes of it are as in the archive.
    Clone(u64),
}

/// Writes files, and clones those that are there already.
#[derive(Debug)]
pub(in crate::import) struct Borrower {
    wire: Rc<OwnedFd>,
    /// With their numbers; the one that had the last file first.
    sources: Vec<(u8, Index)>,
    out: Option<Writer>,
    state: State,
    path: Vec<u8>,
    size: u64,
    /// The clone shares its blocks.
    shared: bool,
    buffer: Vec<u8>,
    saved: u64,
}

impl Borrower {
    /// What was lent, to be used.
    pub(in crate::import) fn new(loan: &Loan) -> Self {
        let numbered = (0..=u8::MAX).zip(&loan.indexes);
        let open = |(number, file): (u8, &Rc<std::fs::File>)| {
            Some((number, Index::open(file.clone()).ok().flatten()?))
        };
        Self {
            wire: loan.wire.clone(),
            sources: numbered.filter_map(open).collect(),
            out: Some(Writer::new(loan.out.clone())),
            state: State::Plain,
            path: Vec::new(),
            size: 0,
            shared: false,
            buffer: Vec::new(),
            saved: 0,
        }
    }

    /// A new, empty file of this size is about to come, in order and without holes.
    pub(in crate::import) fn begin(&mut self, path: &[u8], size: u64) {
        self.state = if size < LEAST { State::Plain } else { State::Head(Vec::new()) };
        self.path.clear();
        self.path.extend_from_slice(path);
        self.size = size;
    }

    /// A piece of the file.
    pub(in crate::import) fn put(
        &mut self,
        file: BorrowedFd<'_>,
        offset: u64,
        piece: &[u8],
    ) -> io::Result<()> {
        match std::mem::replace(&mut self.state, State::Plain) {
            State::Plain => write_at(file, piece, offset),
            State::Head(head) if head.len() as u64 == offset => self.head(file, head, piece),
            State::Head(head) => {
                write_at(file, &head, 0)?;
                write_at(file, piece, offset)
            }
            State::Clone(same) if same == offset => self.compare(file, same, piece),
            State::Clone(same) => {
                cut(file, same)?;
                write_at(file, piece, offset)
            }
        }
    }

    /// What comes is not in order, or no piece: from here on the file is written as it comes.
    pub(in crate::import) fn interrupt(&mut self, file: BorrowedFd<'_>) -> io::Result<()> {
        match std::mem::replace(&mut self.state, State::Plain) {
            State::Plain => Ok(()),
            State::Head(head) => write_at(file, &head, 0),
            State::Clone(same) => cut(file, same),
        }
    }

    /// All of the file came.
    pub(in crate::import) fn end(&mut self, file: BorrowedFd<'_>) -> io::Result<()> {
        match self.state {
            State::Clone(same) if same == self.size => {
                self.saved += if self.shared { self.size } else { 0 };
                self.state = State::Plain;
                Ok(())
            }
            _ => self.interrupt(file),
        }
    }

    /// All files came: the index is written. How many bytes share the blocks of other images.
    pub(in crate::import) fn finish(mut self) -> u64 {
        // Without an index nothing is lost but the next import's time.
        let _ = self.out.take().map(Writer::finish);
        self.saved
    }

    fn head(&mut self, file: BorrowedFd<'_>, mut head: Vec<u8>, piece: &[u8]) -> io::Result<()> {
        let wanted = usize::try_from(self.size).unwrap_or(HEAD).min(HEAD);
        if head.is_empty() && piece.len() >= wanted {
            return self.look_up(file, piece, wanted);
        }
        head.extend_from_slice(piece);
        if head.len() < wanted {
            self.state = State::Head(head);
            return Ok(());
        }
        self.look_up(file, &head, wanted)
    }

    /// Enough of the file is known to say whether there is one like it.
    fn look_up(&mut self, file: BorrowedFd<'_>, known: &[u8], wanted: usize) -> io::Result<()> {
        let key = Key::of(self.size, known.get(..wanted).unwrap_or(known));
        if self.out.as_mut().is_some_and(|out| out.add(key, &self.path).is_err()) {
            self.out = None;
        }
        if self.borrow(file, key)? { self.compare(file, 0, known) } else { write_at(file, known, 0) }
    }

    /// Makes the file a clone of one of this key; `false` if there is none, and it is empty.
    fn borrow(&mut self, file: BorrowedFd<'_>, key: Key) -> io::Result<bool> {
        let (mut number, mut wishes) = (0, 0);
        while wishes < MOST_WISHES
            && let Some((source, index)) = self.sources.get(number)
        {
            let (source, found) = (*source, index.find(key));
            let Ok(Some(path)) = found else {
                // One that cannot be read is not asked again.
                if found.is_err() {
                    drop(self.sources.remove(number))
                } else {
                    number += 1
                }
                continue;
            };
            wishes += 1;
            match wire::ask(&self.wire, source, &path, file)? {
                answer @ (Answer::Shared | Answer::Copied) => {
                    self.shared = answer == Answer::Shared;
                    self.sources.swap(0, number);
                    if !self.shared {
                        self.sources.clear();
                    }
                    if is_of_size(file, self.size)? {
                        return Ok(true);
                    }
                    number += 1;
                }
                Answer::Nothing => number += 1,
                Answer::SourceGone => drop(self.sources.remove(number)),
                Answer::Never => self.sources.clear(),
                Answer::Failed(errno) => return Err(io::Error::from_raw_os_error(errno)),
            }
        }
        if wishes > 0 {
            cut(file, 0)?;
        }
        Ok(false)
    }

    /// Compares the clone with what the archive says; from where they differ on it is written.
    fn compare(&mut self, file: BorrowedFd<'_>, offset: u64, piece: &[u8]) -> io::Result<()> {
        let same = same_bytes(file, offset, piece, &mut self.buffer)?;
        let past = offset + same as u64;
        if same == piece.len() {
            self.state = State::Clone(past);
            return Ok(());
        }
        cut(file, past)?;
        write_at(file, piece.get(same..).unwrap_or_default(), past)
    }
}

fn is_of_size(file: impl AsFd, size: u64) -> io::Result<bool> {
    Ok(u64::try_from(rustix::fs::fstat(file)?.st_size) == Ok(size))
}

fn cut(file: impl AsFd, size: u64) -> io::Result<()> {
    Ok(rustix::fs::ftruncate(file, size)?)
}

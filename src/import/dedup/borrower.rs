//! The worker's part: each file that comes from the archive is written, or asked for and compared.
//!
//! A file that was asked for is not waited for. What the archive says of it is held, and the next ones are made
//! meanwhile: the parent clones, and the disk reads what was cloned before. When too many are held the oldest one is
//! settled: its content is compared with what is held, byte by byte, and what differs is written. What is too large to be
//! held is waited for and compared as it comes. A file looks like what it shall be only when it is settled.

use std::collections::VecDeque;
use std::io;
use std::num::NonZeroU64;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::Advice;
use rustix::process::Resource;

use super::asker::{Asker, Granted, Wish, cut};
use super::index::{HEAD, Key, Writer};
use super::{LEAST, Loan};
use crate::import::unpack::member::Attributes;
use crate::import::unpack::tree::write_at;
use crate::sys::reflink::{is_damage, same_bytes};

/// So many files are held, and a quarter of the descriptors that a process may have.
const MOST_FILES: usize = 64;
/// Of them so many bytes, and of one file.
const MOST_BYTES: usize = 4 << 20;
const MOST_OF_ONE: usize = 1 << 20;
/// So far ahead a large file is read that is compared as it comes.
const AHEAD: u64 = 2 << 20;

/// What is known of the file that is being made.
#[derive(Debug)]
enum State {
    /// It is written as it comes.
    Plain,
    /// So much of its beginning came; nothing is written.
    Head(Vec<u8>),
    /// It was asked for; so many bytes of it are held.
    Asked(Wish, usize),
    /// It is a clone.
    Clone { granted: Granted, same: u64, ahead: u64 },
}

/// A file that came to its end and is to be settled.
#[derive(Debug)]
struct Held {
    path: Vec<u8>,
    file: OwnedFd,
    looks: Attributes,
    wish: Wish,
    length: usize,
}

/// A file whose content is right, unless that failed.
#[derive(Debug)]
pub(in crate::import) struct Settled {
    pub(in crate::import) path: Vec<u8>,
    pub(in crate::import) file: OwnedFd,
    pub(in crate::import) looks: Attributes,
    pub(in crate::import) done: io::Result<()>,
}

/// Writes files, and clones those that are there already.
#[derive(Debug)]
pub(in crate::import) struct Borrower {
    asker: Asker,
    out: Option<Writer>,
    state: State,
    path: Vec<u8>,
    size: u64,
    /// The oldest first.
    files: VecDeque<Held>,
    /// Their content, in their order, and that of the file that is being made behind it.
    bytes: VecDeque<u8>,
    most: usize,
    buffer: Vec<u8>,
    saved: u64,
}

impl Borrower {
    /// What was lent, to be used.
    pub(in crate::import) fn new(loan: &Loan) -> Self {
        let limit = rustix::process::getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        Self {
            asker: Asker::new(loan),
            out: Some(Writer::new(loan.out.clone())),
            state: State::Plain,
            path: Vec::new(),
            size: 0,
            files: VecDeque::new(),
            bytes: VecDeque::new(),
            most: usize::try_from(limit / 4).unwrap_or(MOST_FILES).min(MOST_FILES),
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

    /// Whether [`Borrower::put`] of this piece has to know what became of the file: all others are to be settled before.
    pub(in crate::import) fn must_know(&self, offset: u64, piece: &[u8]) -> bool {
        matches!(&self.state, State::Asked(_, held)
            if *held as u64 != offset || held.saturating_add(piece.len()) > MOST_OF_ONE)
    }

    /// A piece of the file.
    pub(in crate::import) fn put(
        &mut self,
        file: BorrowedFd<'_>,
        offset: u64,
        piece: &[u8],
    ) -> io::Result<()> {
        if self.must_know(offset, piece) {
            self.know(file)?;
        }
        match std::mem::replace(&mut self.state, State::Plain) {
            State::Plain => write_at(file, piece, offset),
            State::Head(head) if head.len() as u64 == offset => self.head(file, head, piece),
            State::Head(head) => {
                write_at(file, &head, 0)?;
                write_at(file, piece, offset)
            }
            State::Asked(wish, held) => {
                self.bytes.extend(piece);
                self.state = State::Asked(wish, held + piece.len());
                Ok(())
            }
            State::Clone { granted, same, ahead } if same == offset => {
                let ahead = read_ahead(file, same, ahead);
                if self.compare(file, same, piece, granted)? {
                    self.state = State::Clone { granted, same: same + piece.len() as u64, ahead };
                }
                Ok(())
            }
            State::Clone { same, .. } => {
                cut(file, same)?;
                write_at(file, piece, offset)
            }
        }
    }

    /// Whether less of the file came than was said, or it is not known whether it is there: see [`Borrower::interrupt`].
    pub(in crate::import) fn is_short(&self) -> bool {
        match &self.state {
            State::Plain => false,
            State::Head(_) => true,
            State::Asked(_, held) => *held as u64 != self.size,
            State::Clone { same, .. } => *same != self.size,
        }
    }

    /// What comes is not in order, or no piece: from here on the file is written as it comes. All others are to be
    /// settled before.
    pub(in crate::import) fn interrupt(&mut self, file: BorrowedFd<'_>) -> io::Result<()> {
        self.know(file)?;
        match std::mem::replace(&mut self.state, State::Plain) {
            State::Plain | State::Asked(..) => Ok(()),
            State::Head(head) => write_at(file, &head, 0),
            State::Clone { same, .. } => cut(file, same),
        }
    }

    /// All of the file came. It is given back, unless it is to be settled and look like this then.
    pub(in crate::import) fn end(&mut self, file: OwnedFd, looks: &Attributes) -> Option<OwnedFd> {
        match std::mem::replace(&mut self.state, State::Plain) {
            State::Asked(wish, length) => {
                let (path, looks) = (std::mem::take(&mut self.path), looks.clone());
                self.files.push_back(Held { path, file, looks, wish, length });
                return None;
            }
            State::Clone { granted, .. } => self.saved += granted.counts(self.size),
            State::Plain | State::Head(_) => {}
        }
        Some(file)
    }

    /// Settles the oldest file that is held, if too many are, or if `all` are to be.
    pub(in crate::import) fn settle(&mut self, all: bool) -> Option<Settled> {
        if !all && self.files.len() < self.most && self.bytes.len() < MOST_BYTES {
            return None;
        }
        let Held { path, file, looks, wish, length } = self.files.pop_front()?;
        let done = self.check(file.as_fd(), wish, length, length as u64).map(|granted| {
            self.saved += granted.map_or(0, |granted| granted.counts(length as u64));
        });
        Some(Settled { path, file, looks, done })
    }

    /// All files came and are settled: the index is written. How many bytes share the blocks of other images.
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
        let Some(wish) = self.asker.ask(key, file)? else { return write_at(file, known, 0) };
        self.bytes.extend(known);
        self.state = State::Asked(wish, known.len());
        Ok(())
    }

    /// If the file was asked for: what became of that? Nothing of it is held any more then.
    fn know(&mut self, file: BorrowedFd<'_>) -> io::Result<()> {
        match std::mem::replace(&mut self.state, State::Plain) {
            State::Asked(wish, held) => {
                if let Some(granted) = self.check(file, wish, held, self.size)? {
                    self.state = State::Clone { granted, same: held as u64, ahead: held as u64 };
                }
            }
            other => self.state = other,
        }
        Ok(())
    }

    /// Waits for the oldest wish, for a file of `size`, and makes it begin with the `length` bytes that are held of it; whether that is a
    /// clone still.
    fn check(
        &mut self,
        file: BorrowedFd<'_>,
        wish: Wish,
        length: usize,
        size: u64,
    ) -> io::Result<Option<Granted>> {
        let granted = self.asker.outcome(wish, file, size)?;
        let bytes = std::mem::take(&mut self.bytes);
        let checked = self.check_pieces(file, granted, front(&bytes, length));
        self.bytes = bytes;
        self.bytes.drain(..length.min(self.bytes.len()));
        checked
    }

    fn check_pieces(
        &mut self,
        file: BorrowedFd<'_>,
        granted: Option<Granted>,
        pieces: [&[u8]; 2],
    ) -> io::Result<Option<Granted>> {
        let (mut granted, mut offset) = (granted, 0);
        for piece in pieces {
            granted = match granted {
                Some(clone) => self.compare(file, offset, piece, clone)?.then_some(clone),
                None => {
                    write_at(file, piece, offset)?;
                    None
                }
            };
            offset += piece.len() as u64;
        }
        Ok(granted)
    }

    /// Compares the clone with what the archive says; from where they differ on it is written, and it is `false`. What
    /// cannot be read differs.
    fn compare(
        &mut self,
        file: BorrowedFd<'_>,
        offset: u64,
        piece: &[u8],
        granted: Granted,
    ) -> io::Result<bool> {
        let same = match same_bytes(file, offset, piece, &mut self.buffer) {
            Err(error) if is_damage(&error) => {
                self.asker.complain(granted.source, file)?;
                0
            }
            other => other?,
        };
        if same == piece.len() {
            return Ok(true);
        }
        let past = offset + same as u64;
        cut(file, past)?;
        write_at(file, piece.get(same..).unwrap_or_default(), past)?;
        Ok(false)
    }
}

/// The first bytes of a queue.
fn front(bytes: &VecDeque<u8>, length: usize) -> [&[u8]; 2] {
    let (one, two) = bytes.as_slices();
    match one.get(..length) {
        Some(one) => [one, &[]],
        None => [one, two.get(..length - one.len()).unwrap_or(two)],
    }
}

/// Has the disk read what comes after `same`, unless it does up to `ahead`; up to where it does now.
fn read_ahead(file: BorrowedFd<'_>, same: u64, ahead: u64) -> u64 {
    if same + AHEAD / 2 < ahead {
        return ahead;
    }
    // It only saves time.
    let _ = rustix::fs::fadvise(file, ahead, NonZeroU64::new(AHEAD), Advice::WillNeed);
    ahead + AHEAD
}

//! Finds files in the indexes of other images and asks for them, several before the first answer came.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use rustix::io::Errno;

use super::Loan;
use super::index::{Index, Key};
use super::wire::{self, Answer, MOST_ASKED};

/// For one file it is asked at most so often.
const MOST_WISHES: usize = 4;

/// Asks for files.
#[derive(Debug)]
pub(super) struct Asker {
    wire: Rc<OwnedFd>,
    /// With their numbers; the one that had the last file first.
    sources: Vec<(u8, Index)>,
    /// Questions without an answer.
    asked: usize,
    /// Answers that came before they were needed; those of the oldest questions.
    answers: VecDeque<Answer>,
    /// Every answer is waited for at once.
    still: bool,
}

/// What was asked for a file.
#[derive(Debug)]
pub(super) struct Wish {
    key: Key,
    /// The sources that were asked, the last one last.
    tried: Vec<u8>,
}

/// A file was cloned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Granted {
    /// From there.
    pub(super) source: u8,
    /// It shares its blocks.
    pub(super) shared: bool,
}

impl Granted {
    /// How much of a file of this size is saved.
    pub(super) fn counts(self, size: u64) -> u64 {
        if self.shared { size } else { 0 }
    }
}

impl Asker {
    pub(super) fn new(loan: &Loan) -> Self {
        let numbered = (0..=u8::MAX).zip(&loan.indexes);
        let open = |(number, file): (u8, &Rc<std::fs::File>)| {
            Some((number, Index::open(file.clone()).ok().flatten()?))
        };
        Self {
            wire: loan.wire.clone(),
            sources: numbered.filter_map(open).collect(),
            asked: 0,
            answers: VecDeque::new(),
            still: loan.still,
        }
    }

    /// Asks for a clone of a file of this key; `None` if there is none. The empty `file` is not to be touched until
    /// [`Asker::outcome`], which is to be called for all wishes in their order.
    pub(super) fn ask(&mut self, key: Key, file: BorrowedFd<'_>) -> io::Result<Option<Wish>> {
        let mut wish = Wish { key, tried: Vec::new() };
        let Some((source, path)) = self.next(&mut wish) else { return Ok(None) };
        while self.asked >= MOST_ASKED {
            self.listen()?;
        }
        if !self.send(source, &path, file)? {
            return Ok(None);
        }
        if self.still {
            self.listen_to_all()?;
        }
        Ok(Some(wish))
    }

    /// What became of the oldest wish: whether the file is a clone, of this size. If it is none it is empty.
    pub(super) fn outcome(
        &mut self,
        mut wish: Wish,
        file: BorrowedFd<'_>,
        size: u64,
    ) -> io::Result<Option<Granted>> {
        while self.answers.is_empty() {
            self.listen()?;
        }
        let mut answer = self.answers.pop_front();
        while let (Some(now), Some(&source)) = (answer, wish.tried.last()) {
            if let Some(granted) = self.take(now, source)?
                && is_of_size(file, size)?
            {
                return Ok(Some(granted));
            }
            answer = self.ask_again(&mut wish, file)?;
        }
        cut(file, 0)?;
        Ok(None)
    }

    /// What was cloned from a source cannot be read.
    pub(super) fn complain(&mut self, source: u8, file: BorrowedFd<'_>) -> io::Result<()> {
        self.listen_to_all()?;
        if self.send(source, b"", file)? {
            self.listen_to_all()?;
            self.answers.pop_back();
        }
        Ok(())
    }

    fn take(&mut self, answer: Answer, source: u8) -> io::Result<Option<Granted>> {
        match answer {
            Answer::Shared => {
                if let Some(at) = self.sources.iter().position(|(number, _)| *number == source) {
                    self.sources.swap(0, at);
                }
                return Ok(Some(Granted { source, shared: true }));
            }
            Answer::Copied => {
                self.sources.clear();
                return Ok(Some(Granted { source, shared: false }));
            }
            Answer::Nothing => {}
            Answer::SourceGone => self.sources.retain(|(number, _)| *number != source),
            Answer::Never => self.sources.clear(),
            Answer::Failed(errno) => return Err(io::Error::from_raw_os_error(errno)),
        }
        Ok(None)
    }

    /// Asks the next source, and waits; all that was asked before was answered then.
    fn ask_again(&mut self, wish: &mut Wish, file: BorrowedFd<'_>) -> io::Result<Option<Answer>> {
        let Some((source, path)) = self.next(wish) else { return Ok(None) };
        self.listen_to_all()?;
        if !self.send(source, &path, file)? {
            return Ok(None);
        }
        self.listen_to_all()?;
        Ok(self.answers.pop_back())
    }

    /// The next source that has such a file, and its path there.
    fn next(&mut self, wish: &mut Wish) -> Option<(u8, Vec<u8>)> {
        let mut number = 0;
        while wish.tried.len() < MOST_WISHES
            && let Some((source, index)) = self.sources.get(number)
        {
            let found = if wish.tried.contains(source) { Ok(None) } else { index.find(wish.key) };
            match found {
                Ok(Some(path)) => {
                    wish.tried.push(*source);
                    return Some((*source, path));
                }
                Ok(None) => number += 1,
                // One that cannot be read is not asked again.
                Err(_) => drop(self.sources.remove(number)),
            }
        }
        None
    }

    /// `false` if a file cannot be sent now: others of our user have sent too many that nobody took.
    fn send(&mut self, source: u8, path: &[u8], file: BorrowedFd<'_>) -> io::Result<bool> {
        match wire::ask(&self.wire, source, path, file) {
            Err(error) if error.raw_os_error() == Some(Errno::TOOMANYREFS.raw_os_error()) => Ok(false),
            other => {
                other?;
                self.asked += 1;
                Ok(true)
            }
        }
    }

    fn listen(&mut self) -> io::Result<()> {
        let before = self.answers.len();
        wire::listen(&self.wire, &mut self.answers)?;
        let left = self.asked.checked_sub(self.answers.len() - before);
        self.asked = left.ok_or(Errno::PROTO)?;
        Ok(())
    }

    fn listen_to_all(&mut self) -> io::Result<()> {
        while self.asked > 0 {
            self.listen()?;
        }
        Ok(())
    }
}

fn is_of_size(file: impl AsFd, size: u64) -> io::Result<bool> {
    Ok(u64::try_from(rustix::fs::fstat(file)?.st_size) == Ok(size))
}

/// Leaves only the beginning of a file.
pub(super) fn cut(file: impl AsFd, size: u64) -> io::Result<()> {
    Ok(rustix::fs::ftruncate(file, size)?)
}

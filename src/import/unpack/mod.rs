//! Whatever is packed becomes a tree: in a worker that is shut into the tree, first error ends it.
//!
//! ```text
//! member.rs      what is to be made: the same for every kind of archive
//! tree.rs        makes it, every path resolved beneath the tree by the kernel
//! clear.rs       takes it away again, for layers
//! attributes.rs  owners, modes, extended attributes, times
//! report.rs      what the worker says
//! watchdog.rs    when it is given up
//! ```
//!
//! The archive is hostile until proved otherwise. It comes to the worker as open fds; the worker sees nothing
//! but the (empty) tree, has the six capabilities that making files of all kinds takes, and speaks to us through
//! [`report`] only. Nothing is kept of a tree that failed: the caller drops the draft.
//!
//! Kept: content, holes, modes with setuid bits, numeric owners, times to the nanosecond, symlinks, hard links,
//! device nodes, fifos, extended attributes `user.*`, `security.capability` and ACLs. What is left out is in
//! [`Filled::notes`].

mod attributes;
mod clear;
pub(super) mod member;
pub(super) mod report;
pub(super) mod tree;
mod watchdog;

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::process::{Resource, Rlimit, WaitStatus};
use rustix::thread::CapabilitySet;

use self::report::{Beat, Failure, Message};
use self::tree::Tree;
use self::watchdog::Watchdog;
use super::Filled;
use super::dedup::{Borrower, Lender, Loan};
use super::error::{Error, Result};
use crate::store::Progress;
use crate::sys::whereabouts::Whereabouts;
use crate::sys::worker::{self, Worker};
use crate::sys::{file, signals};

const CAPABILITIES: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::SETFCAP);
/// An archive that makes the worker need more is ended with it: xz may take 1 GiB to decode, the rest little.
const MOST_MEMORY: u64 = 2 << 30;
const MOST_NOTES: usize = 32;
const TICK: Timespec = Timespec { tv_sec: 0, tv_nsec: 500_000_000 };

/// An unpacking that is going on.
#[derive(Debug)]
pub(super) struct Unpacking {
    pub(super) worker: Worker,
    reports: OwnedFd,
    buffer: Vec<u8>,
    name: String,
    read: u64,
    saved: u64,
    notes: Vec<String>,
    watchdog: Watchdog,
}

/// Something else to listen to while a tree is unpacked.
pub(super) trait Aside {
    /// What to wait for; `None` when there is nothing more to come.
    fn fd(&self) -> Option<BorrowedFd<'_>>;
    /// It can be read.
    fn ready(&mut self, progress: &mut dyn Progress);
    /// Time goes by; how long until the next time, if it matters.
    fn tick(&mut self) -> Option<Duration> {
        None
    }
}

/// Where a job works: in the worker, after it was shut in.
pub(super) struct Site {
    /// The tree, which is the worker's root.
    pub(super) tree: Tree,
    /// Signs of life.
    pub(super) beat: Beat,
    /// The entry that is being made, for the error; empty while it is about the archive as a whole.
    pub(super) entry: Vec<u8>,
}

/// An archive that is wrong in itself.
pub(super) fn broken(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// An archive that ends too early.
pub(super) fn cut_off() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the archive ends too early: it was cut off")
}

impl Unpacking {
    /// Starts a worker that does `job` in the tree at `root`; of our fds it keeps those in `keep`. It may clone files
    /// from what `lender` has, who must then be listened to.
    pub(super) fn start(
        keep: &[BorrowedFd<'_>],
        name: &str,
        root: &Path,
        lender: Option<&mut Lender<'_>>,
        job: impl FnOnce(&mut Site) -> io::Result<()>,
    ) -> Result<Self> {
        let failed = |error: io::Error| Error::failed("start to unpack", name, error);
        let tree = file::open_dir(root)?;
        let (reports, pipe) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(|e| failed(e.into()))?;
        let pipe = File::from(pipe);
        let whereabouts = Whereabouts::new().map_err(failed)?;
        let loan = lender.map(Lender::lend).transpose().map_err(failed)?;
        let lent = loan.as_ref().map(Loan::fds).unwrap_or_default();
        let keep: Vec<_> = keep.iter().copied().chain([pipe.as_fd()]).chain(lent).collect();
        let worker = Worker::fork(&keep, || work(&pipe, &whereabouts, root, loan.as_ref(), job));
        let worker = worker.map_err(failed)?;
        Ok(Self {
            worker,
            reports,
            buffer: Vec::new(),
            name: name.to_owned(),
            read: 0,
            saved: 0,
            notes: Vec::new(),
            watchdog: Watchdog::new(tree, whereabouts),
        })
    }

    /// Goes on until the tree is full or the worker gave up, listening to `aside` meanwhile.
    pub(super) fn finish(
        mut self,
        progress: &mut dyn Progress,
        aside: Option<&mut dyn Aside>,
    ) -> Result<Filled> {
        match self.follow(progress, aside) {
            Ok(end) => self.end(end),
            Err(error) => Err(self.put_down(error)),
        }
    }

    /// Its last word, or why nobody waits for that any more.
    fn follow(
        &mut self,
        progress: &mut dyn Progress,
        mut aside: Option<&mut dyn Aside>,
    ) -> io::Result<Message> {
        loop {
            let tick = aside.as_deref_mut().and_then(Aside::tick);
            let (reports, other) = self.wait(aside.as_deref(), tick)?;
            if other && let Some(aside) = aside.as_deref_mut() {
                aside.ready(progress);
                self.watchdog.others_heard();
            }
            if signals::asked_to_end().is_some() {
                return Err(Errno::INTR.into());
            }
            if !reports {
                if let Some(stall) = self.watchdog.look(progress.patience())? {
                    return Err(stall);
                }
            } else if let Some(end) = self.hear(progress)? {
                return Ok(end);
            }
        }
    }

    /// Ends the worker, for `error`. One that does not end keeps what it made from being cleared away, and its store
    /// would not let anybody else write either: that is then all there is to say, whatever the error was.
    fn put_down(self, error: io::Error) -> Error {
        let pid = self.worker.pid().map_or(0, rustix::process::Pid::as_raw_pid);
        if self.worker.end().unwrap_or(true) {
            return Error::failed("unpack", &self.name, error);
        }
        let source = match error.raw_os_error() {
            Some(libc::ENOSPC) => io::Error::other("it came no further: what it is written to stalls"),
            _ => error,
        };
        Error::Stuck { object: self.name, pid, source }
    }

    /// Waits a moment; which of the two has something to say.
    fn wait(&self, aside: Option<&dyn Aside>, tick: Option<Duration>) -> io::Result<(bool, bool)> {
        let tick = tick.and_then(|tick| Timespec::try_from(tick).ok()).unwrap_or(TICK);
        let mut fds = vec![PollFd::new(&self.reports, PollFlags::IN)];
        let aside = aside.and_then(Aside::fd);
        fds.extend(aside.as_ref().map(|fd| PollFd::new(fd, PollFlags::IN)));
        match rustix::event::poll(&mut fds, Some(&tick)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut ready = fds.iter().map(|fd| !fd.revents().is_empty());
        Ok((ready.next().unwrap_or(false), ready.next().unwrap_or(false)))
    }

    /// Reads what the worker said; its last word if that came, a silent failure if it ended without.
    fn hear(&mut self, progress: &mut dyn Progress) -> io::Result<Option<Message>> {
        let mut chunk = [0_u8; 8192];
        let read = match rustix::io::read(&self.reports, &mut chunk) {
            Err(Errno::INTR) => return Ok(None),
            other => other?,
        };
        self.watchdog.worker_heard();
        self.buffer.extend_from_slice(chunk.get(..read).unwrap_or_default());
        while let Some((message, length)) = Message::decode(&self.buffer)? {
            self.buffer.drain(..length);
            match message {
                Message::Progress(now) => {
                    progress.advance(now.saturating_sub(self.read));
                    self.read = self.read.max(now);
                }
                Message::Note(note) if self.notes.len() < MOST_NOTES => self.notes.push(note),
                Message::Note(_) => {}
                Message::Saved(bytes) => self.saved = bytes,
                end => return Ok(Some(end)),
            }
        }
        Ok((read == 0).then(|| Message::Failed(Failure::silent())))
    }

    #[cfg(test)]
    pub(super) fn set_when_full(&mut self, when_full: Duration) {
        self.watchdog.set_when_full(when_full);
    }

    /// The last word was said: looks at the exit status too.
    fn end(self, message: Message) -> Result<Filled> {
        let Self { worker, name, notes, saved, .. } = self;
        let failed = |error: io::Error| Error::failed("unpack", &name, error);
        let status = worker.wait().map_err(failed)?;
        match message {
            Message::Done { bytes, files } if status.exit_status() == Some(0) => {
                Ok(Filled { bytes, files, saved: saved.min(bytes), notes })
            }
            Message::Failed(failure) if !failure.is_silent() && failure.entry.is_empty() => {
                Err(failed(failure.cause()))
            }
            Message::Failed(failure) if !failure.is_silent() => {
                let object = format!("\"{}\" of {name}", failure.entry);
                Err(Error::failed("unpack", object, failure.cause()))
            }
            _ => Err(failed(io::Error::other(format!("the worker ended {}", describe(status))))),
        }
    }
}

/// How a child ended, for people.
fn describe(status: WaitStatus) -> String {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => format!("with status {code}"),
        (None, Some(signal)) => format!("by signal {signal}"),
        (None, None) => "in a way that is not known".to_owned(),
    }
}

/// The worker's whole life: its exit status.
fn work(
    pipe: &File,
    whereabouts: &Whereabouts,
    root: &Path,
    loan: Option<&Loan>,
    job: impl FnOnce(&mut Site) -> io::Result<()>,
) -> u8 {
    let Ok(pipe) = pipe.try_clone() else { return 1 };
    let beat = Beat::new(pipe, whereabouts.clone());
    let mut entry = Vec::new();
    let last_word = match unpack(&beat, root, loan, &mut entry, job) {
        Ok(done) => done,
        Err(error) => Message::Failed(Failure::new(&entry, &error)),
    };
    u8::from(beat.say(&last_word).is_err())
}

fn unpack(
    beat: &Beat,
    root: &Path,
    loan: Option<&Loan>,
    entry: &mut Vec<u8>,
    job: impl FnOnce(&mut Site) -> io::Result<()>,
) -> io::Result<Message> {
    let most = Rlimit { current: Some(MOST_MEMORY), maximum: Some(MOST_MEMORY) };
    rustix::process::setrlimit(Resource::Data, most)?;
    worker::confine(root, CAPABILITIES)?;
    let tree = Tree::new(beat.clone(), loan.map(Borrower::new))?;
    let mut site = Site { tree, beat: beat.clone(), entry: Vec::new() };
    let done = job(&mut site).and_then(|()| {
        site.entry.clear();
        site.tree.finish()
    });
    *entry = site.tree.failed.take().unwrap_or(site.entry);
    done?;
    for note in site.tree.notes.iter() {
        beat.say(&Message::Note(note.clone()))?;
    }
    beat.say(&Message::Saved(site.tree.saved))?;
    Ok(Message::Done { bytes: site.tree.bytes, files: site.tree.files })
}

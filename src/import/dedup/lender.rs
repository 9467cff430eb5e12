//! The parent's part: opens what is asked for in another image and clones it.
//!
//! The tree of a source is opened when the first file of it is asked for. On ZFS that is a mount which keeps the image
//! from being destroyed, on directories it keeps nobody from anything. Whoever removes an image unlinks its index
//! first; we see that by the index's links, before each file and at least ten times a second, and close the tree. So
//! who removes one waits no longer than that, however long the import takes.

use std::fs::File;
use std::io;
use std::num::NonZeroU64;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::fs::{Advice, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::Loan;
use super::wire::{self, Answer, Heard, MOST_ASKED};
use crate::import::unpack::Aside;
use crate::store::{Digest, Progress, Store};
use crate::sys::effect;
use crate::sys::privilege::with_files_of;
use crate::sys::reflink::{self, Shared, Way};

const LOOK: Duration = Duration::from_millis(100);
/// So many questions are answered at once.
const BATCH: usize = 8;
/// So much of a clone is read at once.
const AHEAD: u64 = 2 << 20;

/// An image that files are cloned from.
#[derive(Debug)]
pub(in crate::import) struct Source {
    image: Digest,
    index: Rc<File>,
    top: Option<OwnedFd>,
    /// It was said already that it is.
    damaged: bool,
}

/// Lends files of other images to a worker.
#[derive(Debug)]
pub(in crate::import) struct Lender<'a> {
    store: &'a dyn Store,
    sources: Vec<Source>,
    /// Whose rights to their files count.
    reader: u32,
    way: Way,
    out: Rc<File>,
    wire: Option<OwnedFd>,
    /// Answers that the worker did not take yet.
    answers: Vec<Answer>,
    /// Blocks cannot be shared here.
    never: bool,
    looked: Instant,
}

impl Source {
    /// An image and its index.
    pub(in crate::import) fn new(image: Digest, index: File) -> Self {
        Self { image, index: Rc::new(index), top: None, damaged: false }
    }

    /// Somebody is about to remove it, or has.
    fn goes(&self) -> bool {
        self.index.metadata().map_or(true, |meta| meta.nlink() == 0)
    }

    /// Something of it cannot be read; that is said once.
    fn is_damaged(&mut self, error: &str) {
        if !std::mem::replace(&mut self.damaged, true) {
            let image = self.image.short();
            tracing::warn!("image {image} is damaged, what cannot be cloned from it is unpacked: {error}");
        }
    }

    /// Its tree; `None` if it has gone, or cannot be opened.
    fn top(&mut self, store: &dyn Store) -> Option<BorrowedFd<'_>> {
        if self.goes() {
            self.top = None;
            return None;
        }
        if self.top.is_none() {
            match store.image_open(&self.image) {
                Ok(top) => self.top = Some(top),
                Err(error) => {
                    tracing::debug!(image = %self.image, "nothing is cloned from it: {}", crate::sys::chain(&error));
                    return None;
                }
            }
        }
        self.top.as_ref().map(AsFd::as_fd)
    }
}

impl<'a> Lender<'a> {
    /// Lends from `sources` in the given way what `reader` may read in them; the index of the new image goes to `out`.
    pub(in crate::import) fn new(
        store: &'a dyn Store,
        sources: Vec<Source>,
        reader: u32,
        way: Way,
        out: File,
    ) -> Self {
        Self {
            store,
            sources,
            reader,
            way,
            out: Rc::new(out),
            wire: None,
            answers: Vec::new(),
            never: false,
            looked: Instant::now(),
        }
    }

    /// What a worker needs to ask us.
    pub(in crate::import) fn lend(&mut self) -> io::Result<Loan> {
        let (ours, theirs) = wire::pair()?;
        self.wire = Some(ours);
        let indexes = self.sources.iter().map(|source| source.index.clone()).collect();
        let still = matches!(self.way, Way::Counted(_));
        Ok(Loan { wire: Rc::new(theirs), indexes, out: self.out.clone(), still })
    }

    /// The index that the worker wrote.
    pub(in crate::import) fn into_index(self) -> Rc<File> {
        self.out
    }

    #[cfg(test)]
    pub(super) fn open_sources(&self) -> usize {
        self.sources.iter().filter(|source| source.top.is_some()).count()
    }

    /// Makes `to`, which is empty, a clone of the file at `path` in a source.
    pub(super) fn answer(&mut self, source: u8, path: &[u8], to: BorrowedFd<'_>) -> Answer {
        let store = self.store;
        let Some(source) = self.sources.get_mut(usize::from(source)) else { return Answer::Nothing };
        if self.never {
            return Answer::Never;
        }
        if path.is_empty() {
            source.is_damaged("a clone cannot be read");
            return Answer::Nothing;
        }
        let Some(top) = source.top(store) else { return Answer::SourceGone };
        let cloned = with_files_of(self.reader, || open(top, path)).and_then(|found| match found {
            Some((file, size)) => share(file.as_fd(), to, size, &self.way).map(Some),
            None => Ok(None),
        });
        match cloned {
            Ok(Some(Shared::Blocks)) => {
                read_ahead(to, &self.way);
                Answer::Shared
            }
            Ok(Some(Shared::Copied)) => Answer::Copied,
            Ok(None) => Answer::Nothing,
            Err(error) if reflink::is_never(&error) => {
                tracing::debug!("nothing more is cloned: {error}");
                self.never = true;
                Answer::Never
            }
            Err(error) if reflink::is_damage(&error) => {
                source.is_damaged(&error.to_string());
                Answer::Nothing
            }
            Err(error) => match error.raw_os_error() {
                Some(libc::ENOENT | libc::ESTALE | libc::EAGAIN) => Answer::Nothing,
                errno => Answer::Failed(errno.unwrap_or(libc::EIO)),
            },
        }
    }

    /// Answers the questions that came; `false` if the worker has ended, or does not keep to the rules: there is nothing
    /// more to say to it.
    fn listen(&mut self, wire: &OwnedFd) -> io::Result<bool> {
        for _ in 0..BATCH {
            match wire::hear(wire)? {
                Heard::Question(source, path, to) => {
                    let answer = self.answer(source, &path, to.as_fd());
                    self.answers.push(answer);
                    self.look();
                }
                Heard::Nothing => break,
                Heard::End => return Ok(false),
            }
        }
        wire::answer(wire, &mut self.answers)?;
        Ok(self.answers.len() <= MOST_ASKED)
    }

    /// Lets go of images that somebody wants to remove.
    fn look(&mut self) {
        if self.looked.elapsed() >= LOOK {
            self.looked = Instant::now();
            for source in self.sources.iter_mut().filter(|source| source.top.is_some()) {
                if source.goes() {
                    source.top = None;
                }
            }
        }
    }
}

impl Aside for Lender<'_> {
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.wire.as_ref().map(AsFd::as_fd)
    }

    fn ready(&mut self, _progress: &mut dyn Progress) {
        let Some(wire) = self.wire.take() else { return };
        if self.listen(&wire).unwrap_or(false) {
            self.wire = Some(wire);
        }
    }

    fn tick(&mut self) -> Option<Duration> {
        self.look();
        if !self.answers.is_empty()
            && let Some(wire) = &self.wire
        {
            // Whoever is gone is seen when the wire is heard.
            let _ = wire::answer(wire, &mut self.answers);
        }
        self.sources.iter().any(|source| source.top.is_some()).then_some(LOOK)
    }
}

/// A regular file in a tree, and its size. What the index names may have been replaced by something else before the
/// image was complete, and need not be right at all: nothing but a regular file is opened, for to open a device can do
/// something.
fn open(top: BorrowedFd<'_>, path: &[u8]) -> io::Result<Option<(OwnedFd, u64)>> {
    effect::point("open source")?;
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let within = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
    let found = match rustix::fs::openat2(top, path, flags, Mode::empty(), within) {
        Err(
            Errno::NOENT
            | Errno::STALE
            | Errno::NOTDIR
            | Errno::LOOP
            | Errno::XDEV
            | Errno::NAMETOOLONG
            | Errno::NXIO
            | Errno::ACCESS
            | Errno::AGAIN,
        ) => return Ok(None),
        other => other?,
    };
    let stat = rustix::fs::fstat(&found)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Ok(None);
    }
    let by_fd = format!("/proc/self/fd/{}", found.as_raw_fd());
    match rustix::fs::open(by_fd, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
        Ok(file) => Ok(Some((file, u64::try_from(stat.st_size).unwrap_or(0)))),
        Err(Errno::STALE | Errno::ACCESS | Errno::AGAIN) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Has the disk read what the worker is about to compare, up to what it holds of one file. On ZFS a clone is what its source
/// is in the cache.
fn read_ahead(clone: BorrowedFd<'_>, way: &Way) {
    if *way == Way::Clone {
        // It only saves time.
        let _ = rustix::fs::fadvise(clone, 0, NonZeroU64::new(AHEAD), Advice::WillNeed);
    }
}

/// Clones, and what was written only just now is first brought to the disk.
fn share(from: BorrowedFd<'_>, to: BorrowedFd<'_>, size: u64, way: &Way) -> io::Result<Shared> {
    match reflink::share(from, to, size, way) {
        Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => {
            effect::point("syncfs")?;
            rustix::fs::syncfs(from)?;
            reflink::share(from, to, size, way)
        }
        other => other,
    }
}

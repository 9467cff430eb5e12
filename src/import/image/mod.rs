//! Images: archives that are unpacked once, under their digest, however many ask for them.
//!
//! ```text
//! identify.rs  what an archive is called by
//! record.rs    what is known of an image
//! state.rs     live, warm or cold
//! ```
//!
//! **Lock.** Whoever makes, uses or removes an image holds the lock of its digest: the first unpacks, the others
//! wait and find it there. A caller keeps it ([`Ready`]) until what it wants is cloned, so that no image goes
//! between the two.
//!
//! **Crash rule.** The draft, the tree in it, the record, and last the one step that completes it. What a crash
//! leaves before that is a draft whose lock is free: the next who wants the image throws it away and begins
//! anew, and so does gc.

mod identify;
mod record;
mod state;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustix::io::Errno;

pub use record::{ImageRecord, Origin};
pub use state::State;

use super::error::{Error, Result};
use super::source::Input;
use super::{Filled, Opened, Source, fill_input, looks_like_root};
use crate::session::Sessions;
use crate::store::{Digest, ImageTree, Layout, MountOptions, Progress, Store, Tree, digest};
use crate::sys::lock::Lock;
use crate::sys::mount::{self, How};
use crate::sys::{file, signals};
use identify::identify;
use record::NewImage;

/// How long to wait for somebody who unpacks the same image; who was asked to end ends sooner.
const PATIENCE: Duration = Duration::from_secs(6 * 3600);
const LOOK: Duration = Duration::from_millis(500);

/// The images of an installation.
#[derive(Debug, Clone, Copy)]
pub struct Images<'a> {
    sessions: Sessions<'a>,
}

/// An image that is there and stays as long as this does.
#[derive(Debug)]
pub struct Ready {
    /// What it is called by.
    pub digest: Digest,
    /// Whether it was unpacked now.
    pub fresh: bool,
    /// What was left out when it was.
    pub notes: Vec<String>,
    _lock: Lock,
}

/// One image of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// As the store sees it.
    pub tree: ImageTree,
    /// What is known of it.
    pub record: Option<ImageRecord>,
}

impl<'a> Images<'a> {
    /// The images in the store of `sessions`.
    #[must_use]
    pub fn new(sessions: Sessions<'a>) -> Self {
        Self { sessions }
    }

    fn layout(&self) -> &'a Layout {
        self.sessions.layout()
    }

    fn store(&self) -> &'a dyn Store {
        self.sessions.store()
    }

    /// The image of an archive: unpacked now, unless it is there. Needs root.
    ///
    /// # Errors
    /// It is not the one that was `wanted`, it is wrong, or there is no room: then nothing of it is left.
    pub fn ensure(
        &self,
        source: &Source,
        opened: Opened,
        wanted: Option<&Digest>,
        progress: &mut dyn Progress,
    ) -> Result<Ready> {
        let (new, input) = identify(source, opened.0, self.layout(), progress)?;
        if let Some(wanted) = wanted
            && *wanted != new.digest
            && new.manifest.as_ref() != Some(wanted)
        {
            let why = format!("its digest is {}, and {wanted} was asked for", new.digest);
            return Err(Error::NotASource { object: new.origin, why });
        }
        let lock = self.lock(&new.digest, PATIENCE, progress)?;
        let digest = new.digest.clone();
        let ready = |fresh, notes| Ready { digest: digest.clone(), fresh, notes, _lock: lock };
        if self.is_complete(&digest)? {
            self.touch(&digest)?;
            return Ok(ready(false, Vec::new()));
        }
        self.discard_draft(&digest)?;
        self.make(new, input, progress).map(|filled| ready(true, filled.notes))
    }

    /// An image that is there already, by its digest or the beginning of it.
    ///
    /// # Errors
    /// There is none, or several begin so.
    pub fn find(&self, text: &str) -> Result<Ready> {
        let digest = self.resolve(text)?;
        let lock = self.lock(&digest, PATIENCE, &mut crate::store::Silent)?;
        if !self.is_complete(&digest)? {
            return Err(no_such(text));
        }
        self.touch(&digest)?;
        Ok(Ready { digest, fresh: false, notes: Vec::new(), _lock: lock })
    }

    /// All images, with what is known of them; drafts are left out.
    ///
    /// # Errors
    /// The store or a record cannot be read.
    pub fn list(&self) -> Result<Vec<Listed>> {
        let complete = self.images()?.into_iter().filter(|tree| tree.complete);
        complete
            .map(|tree| Ok(Listed { record: ImageRecord::load(self.layout(), &tree.digest)?, tree }))
            .collect()
    }

    /// Removes an image that nothing is cloned from.
    ///
    /// # Errors
    /// There is none of that name, or it is in use ([`ErrorKind::Busy`]).
    pub fn remove(&self, text: &str) -> Result<Digest> {
        let digest = self.resolve(text)?;
        self.remove_unused(&digest)?;
        Ok(digest)
    }

    /// Removes an image, or a draft of one, that nobody works on and nothing is cloned from.
    ///
    /// # Errors
    /// As [`Images::remove`].
    pub fn remove_unused(&self, digest: &Digest) -> Result<()> {
        let busy = || Error::failed("remove image", digest.short(), Errno::BUSY);
        let lock = self.try_lock(digest)?.ok_or_else(busy)?;
        self.unmount(digest)?;
        self.store().image_drop(digest).map_err(|error| self.failed("remove", digest, error))?;
        file::remove(&self.layout().image(digest))?;
        lock.remove()?;
        Ok(())
    }

    /// Whether somebody works on an image just now.
    ///
    /// # Errors
    /// Its lock cannot be looked at.
    pub fn is_being_made(&self, digest: &Digest) -> Result<bool> {
        let stands = file::stat(&self.layout().image_lock(digest))?.is_some();
        Ok(stands && self.try_lock(digest)?.is_none())
    }

    fn resolve(&self, text: &str) -> Result<Digest> {
        let digits = digest::prefix(text).ok_or_else(|| no_such(text))?;
        let mut found = self.images()?.into_iter().filter(|tree| tree.digest.as_str().starts_with(digits));
        match (found.next(), found.next()) {
            (Some(only), None) => Ok(only.digest),
            (None, _) => Err(no_such(text)),
            (Some(_), Some(_)) => Err(Error::NotASource {
                object: format!("image {text}"),
                why: "several images begin so: say more of its digest".to_owned(),
            }),
        }
    }

    fn images(&self) -> Result<Vec<ImageTree>> {
        self.store().images().map_err(|error| Error::store("list the images of", self.store().name(), error))
    }

    fn is_complete(&self, digest: &Digest) -> Result<bool> {
        Ok(self.images()?.iter().any(|tree| tree.complete && tree.digest == *digest))
    }

    fn touch(&self, digest: &Digest) -> Result<()> {
        if let Some(mut record) = ImageRecord::load(self.layout(), digest)? {
            record.last_used = Timestamp::now();
            record.save(self.layout(), false)?;
        }
        Ok(())
    }

    fn try_lock(&self, digest: &Digest) -> Result<Option<Lock>> {
        file::make_dirs(&self.layout().locks(), 0o700)?;
        Ok(Lock::take(&self.layout().image_lock(digest), Duration::ZERO)?)
    }

    fn lock(&self, digest: &Digest, patience: Duration, progress: &mut dyn Progress) -> Result<Lock> {
        if let Some(lock) = self.try_lock(digest)? {
            return Ok(lock);
        }
        progress.start(&format!("wait for image {}, which somebody is making", digest.short()), None);
        let deadline = Instant::now() + patience;
        loop {
            if let Some(lock) = Lock::take(&self.layout().image_lock(digest), LOOK)? {
                progress.finish();
                return Ok(lock);
            }
            let errno = match signals::asked_to_end() {
                Some(_) => Errno::INTR,
                None if Instant::now() >= deadline => Errno::BUSY,
                None => continue,
            };
            return Err(Error::failed("wait for image", digest.short(), errno));
        }
    }

    fn make(&self, new: NewImage, input: Input, progress: &mut dyn Progress) -> Result<Filled> {
        let digest = new.digest.clone();
        let made = self.fill_draft(&new, input, progress).and_then(|filled| {
            ImageRecord::new(new, filled.bytes, filled.files).save(self.layout(), true)?;
            self.store().image_complete(&digest).map_err(|error| self.failed("complete", &digest, error))?;
            Ok(filled)
        });
        if made.is_err()
            && let Err(trouble) = self.discard_draft(&digest)
        {
            tracing::warn!(image = %digest, "a draft stays for gc: {}", crate::sys::chain(&trouble));
        }
        made
    }

    fn fill_draft(&self, new: &NewImage, input: Input, progress: &mut dyn Progress) -> Result<Filled> {
        let digest = &new.digest;
        let at = self.layout().image_mount(digest);
        self.store().image_new(digest).map_err(|error| self.failed("make", digest, error))?;
        let prepared = self.sessions.prepare_mounts();
        prepared.map_err(|error| {
            Error::failed("mount", at.display().to_string(), std::io::Error::other(error))
        })?;
        file::make_dir(&at, 0o700)?;
        let options = MountOptions { nosuid: true, nodev: true, ..MountOptions::default() };
        let mounted = self.store().mount(&Tree::Image(digest.clone()), &at, options);
        mounted.map_err(|error| self.failed("mount", digest, error))?;
        let filled = fill_input(input, &new.origin, &at, progress)?;
        if !looks_like_root(&at)? {
            return Err(Error::no_root(&new.origin));
        }
        if signals::asked_to_end().is_some() {
            return Err(Error::failed("import", &new.origin, Errno::INTR));
        }
        mount::sync_filesystem(&at)?;
        self.unmount(digest)?;
        Ok(filled)
    }

    fn unmount(&self, digest: &Digest) -> Result<()> {
        let at = self.layout().image_mount(digest);
        mount::unmount_all(&at, How::Strict)?;
        Ok(file::remove_dir(&at)?)
    }

    /// Takes a draft away, of a failure or of a crash.
    fn discard_draft(&self, digest: &Digest) -> Result<()> {
        self.unmount(digest)?;
        self.store().image_drop(digest).map_err(|error| self.failed("discard", digest, error))?;
        Ok(file::remove(&self.layout().image(digest))?)
    }

    fn failed(&self, op: &'static str, digest: &Digest, error: crate::store::Error) -> Error {
        Error::store(op, format!("image {}", digest.short()), error)
    }
}

fn no_such(text: &str) -> Error {
    Error::failed("find image", text, std::io::Error::from(Errno::NOENT))
}

impl Listed {
    /// Its state now.
    #[must_use]
    pub fn state(&self, warm: crate::template::Warm) -> State {
        let used = self.record.as_ref().map(|record| record.last_used);
        State::of(self.tree.clones, used, Timestamp::now(), warm)
    }
}

//! Images: archives that are unpacked once, under their digest, however many ask for them.
//!
//! ```text
//! identify.rs  what an archive is called by
//! record.rs    what is known of an image
//! remove.rs    taking images away, and what a crash left of them
//! sharing.rs   what an import may clone from other images
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
mod remove;
mod sharing;
mod state;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustix::io::Errno;

pub use record::{ImageRecord, Importer, Origin};
pub use state::State;

use super::dedup::Lender;
use super::error::{Error, Result};
use super::source::Input;
use super::{Filled, Opened, Source, fill_input, looks_like_root, oci};
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
    /// Bytes of content in it, and how many of them were cloned from other images when it was unpacked now.
    pub bytes: u64,
    /// See [`Ready::bytes`].
    pub saved: u64,
    /// What was left out when it was.
    pub notes: Vec<String>,
    _lock: Lock,
}

impl Ready {
    /// One that is there already.
    fn there(digest: Digest, lock: Lock) -> Self {
        Self { digest, fresh: false, bytes: 0, saved: 0, notes: Vec::new(), _lock: lock }
    }
}

/// What an import is asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Asked<'a> {
    /// What the archive must be called by, if that is known.
    pub digest: Option<&'a Digest>,
    /// Who imports it; `None` if he shall not be known as somebody who did.
    pub importer: Option<u32>,
    /// Files are cloned from images that this user may use; `None` if all of them are to be written.
    pub sharing: Option<u32>,
}

/// One image of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// As the store sees it.
    pub tree: ImageTree,
    /// What is known of it.
    pub record: Option<ImageRecord>,
}

impl Listed {
    /// Whether it is whole, and nothing is cloned from it.
    #[must_use]
    pub fn is_unused(&self) -> bool {
        self.tree.complete && self.tree.clones == 0
    }
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

    /// The image of an archive: unpacked now, unless it is there. Whoever gives it is remembered, and may use it
    /// from then on; `None` if it is only made on the way to something else. Needs root.
    ///
    /// # Errors
    /// It is not the one that was `wanted`, it is wrong, or there is no room: then nothing of it is left.
    pub fn ensure(
        &self,
        source: &Source,
        opened: Opened,
        asked: &Asked<'_>,
        progress: &mut dyn Progress,
    ) -> Result<Ready> {
        let (new, input) = identify(source, opened.0, self.layout(), progress)?;
        if let Some(wanted) = asked.digest
            && *wanted != new.digest
            && new.manifest.as_ref() != Some(wanted)
        {
            let why = format!("its digest is {}, and {wanted} was asked for", new.digest);
            return Err(Error::NotASource { object: new.origin, why });
        }
        let lock = self.lock(&new.digest, PATIENCE, progress)?;
        self.mend(&new.digest)?;
        let digest = new.digest.clone();
        if self.is_complete(&digest)? {
            self.admit(new, input, asked.importer, progress)?;
            return Ok(Ready::there(digest, lock));
        }
        self.discard_draft(&digest)?;
        let Filled { bytes, saved, notes, .. } = self.make(new, input, asked, progress)?;
        Ok(Ready { digest, fresh: true, bytes, saved, notes, _lock: lock })
    }

    /// One more imports an image that is there. The name of a container image is that of a document in it: whose it
    /// is not yet must show that he has the layers too.
    fn admit(
        &self,
        new: NewImage,
        input: Input,
        importer: Option<u32>,
        progress: &mut dyn Progress,
    ) -> Result<()> {
        let digest = new.digest.clone();
        let known = ImageRecord::load(self.layout(), &digest)?;
        let stranger = importer.filter(|uid| !known.as_ref().is_some_and(|record| record.is_for(*uid)));
        if stranger.is_some()
            && let Input::Oci(image) = &input
        {
            self.with_mount_point(&digest, |at| oci::prove(image, &new.origin, at, progress))?;
        }
        let origin = new.origin.clone();
        let filled = || Ok::<_, Error>(Filled { bytes: self.size(&digest)?, ..Filled::default() });
        let unknown = || Ok::<_, Error>(ImageRecord::new(new, &filled()?));
        let mut record = known.map_or_else(unknown, Ok)?;
        if let Some(uid) = importer {
            record.add(uid, &origin);
        }
        record.last_used = Timestamp::now();
        Ok(record.save(self.layout(), importer.is_some())?)
    }

    fn size(&self, digest: &Digest) -> Result<u64> {
        let size = self.store().used(&Tree::Image(digest.clone()));
        size.map_err(|error| self.failed("measure", digest, error))
    }

    /// An image that is there already and that `uid` may use, by its digest or the beginning of it.
    ///
    /// # Errors
    /// There is none, or several begin so. Of others' images he does not learn that they are there.
    pub fn find(&self, text: &str, uid: u32) -> Result<Ready> {
        let is_for = |tree: &ImageTree| -> Result<bool> { Ok(tree.complete && self.is_for(tree, uid)?) };
        let digest = self.resolve(text, &is_for)?;
        let lock = self.lock(&digest, PATIENCE, &mut crate::store::Silent)?;
        self.mend(&digest)?;
        // Another image may have this name by now.
        let stands = self.images()?.into_iter().find(|tree| tree.digest == digest);
        if !stands.map_or(Ok(false), |tree| is_for(&tree))? {
            return Err(no_such(text));
        }
        // A store that is full is no reason not to use what is there.
        if let Err(error) = self.touch(&digest) {
            tracing::warn!(image = %digest, "its use is not noted: {}", crate::sys::chain(&error));
        }
        Ok(Ready::there(digest, lock))
    }

    /// The images that `uid` may use, with what is known of them; drafts are left out.
    ///
    /// # Errors
    /// The store or a record cannot be read.
    pub fn list(&self, uid: u32) -> Result<Vec<Listed>> {
        let complete = self.images()?.into_iter().filter(|tree| tree.complete);
        let listed =
            complete.map(|tree| Ok(Listed { record: ImageRecord::load(self.layout(), &tree.digest)?, tree }));
        let mut listed: Vec<Listed> = listed.collect::<Result<_>>()?;
        listed.retain(|image| is_for(image.record.as_ref(), uid));
        Ok(listed)
    }

    /// What is known of an image.
    ///
    /// # Errors
    /// Its record cannot be read.
    pub fn known(&self, tree: ImageTree) -> Result<Listed> {
        Ok(Listed { record: ImageRecord::load(self.layout(), &tree.digest)?, tree })
    }

    fn is_for(&self, tree: &ImageTree, uid: u32) -> Result<bool> {
        Ok(is_for(ImageRecord::load(self.layout(), &tree.digest)?.as_ref(), uid))
    }

    /// The only image that begins so, of those that `counts` says count.
    fn resolve(&self, text: &str, counts: &dyn Fn(&ImageTree) -> Result<bool>) -> Result<Digest> {
        let digits = digest::prefix(text).ok_or_else(|| no_such(text))?;
        let mut found = None;
        for tree in self.images()?.into_iter().filter(|tree| tree.digest.as_str().starts_with(digits)) {
            if !counts(&tree)? {
                continue;
            }
            if found.replace(tree.digest).is_some() {
                return Err(Error::Ambiguous { text: text.to_owned() });
            }
        }
        found.ok_or_else(|| no_such(text))
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

    fn make(
        &self,
        new: NewImage,
        input: Input,
        asked: &Asked<'_>,
        progress: &mut dyn Progress,
    ) -> Result<Filled> {
        let (digest, origin) = (new.digest.clone(), new.origin.clone());
        let made = self.fill_draft(&new, input, asked, progress).and_then(|(filled, index)| {
            let mut record = ImageRecord::new(new, &filled);
            if let Some(uid) = asked.importer {
                record.add(uid, &origin);
            }
            record.save(self.layout(), true)?;
            if let Some(index) = &index {
                self.keep_index(&digest, index);
            }
            self.store().image_complete(&digest).map_err(|error| self.failed("complete", &digest, error))?;
            Ok(filled)
        });
        // In a store that does not answer the clearing up would wait for ever.
        if made.as_ref().is_err_and(|error| !error.is_stuck())
            && let Err(trouble) = self.discard_draft(&digest)
        {
            tracing::warn!(image = %digest, "a draft stays for gc: {}", crate::sys::chain(&trouble));
        }
        made
    }

    /// Fills a new draft; with the index of what is in it, if there is one.
    fn fill_draft(
        &self,
        new: &NewImage,
        input: Input,
        asked: &Asked<'_>,
        progress: &mut dyn Progress,
    ) -> Result<(Filled, Option<Rc<File>>)> {
        let digest = &new.digest;
        self.store().image_new(digest).map_err(|error| self.failed("make", digest, error))?;
        self.with_mount_point(digest, |at| self.fill_mounted(new, input, asked, at, progress))
    }

    /// Goes on with an empty place where the image can be mounted; it is gone afterwards.
    fn with_mount_point<T>(&self, digest: &Digest, work: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
        let at = self.layout().image_mount(digest);
        let prepared = self.sessions.prepare_mounts();
        prepared.map_err(|error| {
            Error::failed("mount", at.display().to_string(), std::io::Error::other(error))
        })?;
        // What a crash left there.
        self.unmount(digest)?;
        file::make_dir(&at, 0o700)?;
        let done = work(&at);
        let cleared = self.unmount(digest);
        // What went wrong first is what matters.
        let value = done?;
        cleared.map(|()| value)
    }

    fn fill_mounted(
        &self,
        new: &NewImage,
        input: Input,
        asked: &Asked<'_>,
        at: &Path,
        progress: &mut dyn Progress,
    ) -> Result<(Filled, Option<Rc<File>>)> {
        let digest = &new.digest;
        let options = MountOptions { nosuid: true, nodev: true, ..MountOptions::default() };
        let mounted = self.store().mount(&Tree::Image(digest.clone()), at, options);
        mounted.map_err(|error| self.failed("mount", digest, error))?;
        let mut lender = self.lender(digest, asked.sharing, at);
        let filled = fill_input(input, &new.origin, at, lender.as_mut(), progress)?;
        // Nobody waits for us to let go of other images while this one goes to the disk.
        let index = lender.map(Lender::into_index);
        if !looks_like_root(at)? {
            return Err(Error::no_root(&new.origin));
        }
        if signals::asked_to_end().is_some() {
            return Err(Error::failed("import", &new.origin, Errno::INTR));
        }
        mount::sync_filesystem(at)?;
        Ok((filled, index))
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
        self.drop_index(digest)?;
        Ok(file::remove(&self.layout().image(digest))?)
    }

    fn failed(&self, op: &'static str, digest: &Digest, error: crate::store::Error) -> Error {
        Error::store(op, format!("image {}", digest.short()), error)
    }
}

/// Of one that nothing is known of, nobody knows whose it is.
fn is_for(record: Option<&ImageRecord>, uid: u32) -> bool {
    uid == 0 || record.is_some_and(|record| record.is_for(uid))
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

//! Taking images away: one that was named, those that gc says, and what a crash left of them.
//!
//! The index goes first: who clones files from the image takes that as the word to let go of it. Then the tree, the
//! record, and last the lock's file: what a crash leaves of it is found by its name.

use rustix::io::Errno;

use super::{Error, Images, Listed, Result};
use crate::store::Digest;
use crate::sys::file;
use crate::sys::lock::{self, Lock};

impl Images<'_> {
    /// Removes an image that nothing is cloned from.
    ///
    /// # Errors
    /// There is none of that name, or it is in use ([`ErrorKind::Busy`](crate::store::ErrorKind::Busy)).
    pub fn remove(&self, text: &str) -> Result<Digest> {
        let digest = self.resolve(text, &|_| Ok(true))?;
        let busy = || Error::failed("remove image", digest.short(), Errno::BUSY);
        let lock = self.try_lock(&digest)?.ok_or_else(busy)?;
        self.unmount(&digest)?;
        self.drop_all(&digest)?;
        lock.remove()?;
        Ok(digest)
    }

    /// Removes an image, a draft of one, or what is left of one, if `may_go` says so under its lock of what is there
    /// by then; `false` if not, or if somebody works on it.
    ///
    /// # Errors
    /// As [`Images::remove`].
    pub fn remove_if(&self, digest: &Digest, may_go: &dyn Fn(Option<&Listed>) -> bool) -> Result<bool> {
        let Some(lock) = self.try_lock(digest)? else { return Ok(false) };
        self.mend(digest)?;
        let tree = self.images()?.into_iter().find(|tree| tree.digest == *digest);
        let listed = tree.map(|tree| self.known(tree)).transpose()?;
        if !may_go(listed.as_ref()) {
            return Ok(false);
        }
        self.unmount(digest)?;
        self.drop_all(digest)?;
        lock.remove()?;
        Ok(true)
    }

    /// Takes away what a crash left where an image is mounted; `false` if somebody works on it.
    ///
    /// # Errors
    /// It cannot be unmounted.
    pub fn clear_mount_point(&self, digest: &Digest) -> Result<bool> {
        let Some(_lock) = self.try_lock(digest)? else { return Ok(false) };
        self.unmount(digest).map(|()| true)
    }

    /// Brings an image to where it was that a crash left halfway; of one that somebody works on that is his to do.
    ///
    /// # Errors
    /// It cannot be looked at or brought back.
    pub fn mend_unless_held(&self, digest: &Digest) -> Result<()> {
        match self.try_lock(digest)? {
            Some(_lock) => self.mend(digest),
            None => Ok(()),
        }
    }

    /// Whether somebody works on an image just now.
    ///
    /// # Errors
    /// Its lock cannot be looked at.
    pub fn is_being_made(&self, digest: &Digest) -> Result<bool> {
        let stands = file::stat(&self.layout().image_lock(digest))?.is_some();
        Ok(stands && self.try_lock(digest)?.is_none())
    }

    /// Under the lock.
    fn drop_all(&self, digest: &Digest) -> Result<()> {
        // Of one that stays since something is cloned from it, the index stays too.
        let tree = self.images()?.into_iter().find(|tree| tree.digest == *digest);
        if tree.is_none_or(|tree| tree.clones == 0) {
            self.drop_index(digest)?;
        }
        self.store().image_drop(digest).map_err(|error| self.failed("remove", digest, error))?;
        self.drop_index(digest)?;
        Ok(file::remove(&self.layout().image(digest))?)
    }

    /// Under the lock, before one looks what there is: what a crash left halfway is brought to where it was.
    pub(super) fn mend(&self, digest: &Digest) -> Result<()> {
        self.store().image_mend(digest).map_err(|error| self.failed("look at", digest, error))
    }

    /// `None` if somebody has it.
    pub(super) fn try_lock(&self, digest: &Digest) -> Result<Option<Lock>> {
        lock::make_folder(&self.layout().locks())?;
        Ok(Lock::take(&self.layout().image_lock(digest), std::time::Duration::ZERO)?)
    }
}

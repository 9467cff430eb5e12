//! Images in a store: unpacked archives, each under its digest, that drafts and sessions are cloned from.
//!
//! Whoever makes, completes or drops an image holds its lock ([`Layout::image_lock`](super::Layout::image_lock));
//! listing and cloning take none. A clone is whole or [`ErrorKind::Gone`], whatever
//! somebody else does to the image meanwhile.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::SystemTime;

use super::{Digest, Error, ErrorKind, Outcome, Progress, Result, SessionId, TemplateName, VersionId};

/// An image, as the store sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageTree {
    /// What it is called by.
    pub digest: Digest,
    /// Unpacked as a whole, or still a draft.
    pub complete: bool,
    /// When its tree was made.
    pub created: SystemTime,
    /// How many trees are cloned from it and would not be without it.
    pub clones: u64,
}

/// What a store does with images.
pub trait Images {
    /// All that there are, also drafts, sorted by digest.
    ///
    /// # Errors
    /// The store cannot be read.
    fn images(&self) -> Result<Vec<ImageTree>>;

    /// The sessions that are cloned from an image; none if there is no such image.
    ///
    /// # Errors
    /// The store cannot be read.
    fn image_sessions(&self, image: &Digest) -> Result<Vec<SessionId>>;

    /// Makes an empty draft of an image.
    ///
    /// # Errors
    /// [`ErrorKind::Exists`] if there is an image or a draft of it.
    fn image_new(&self, image: &Digest) -> Result<()>;

    /// Completes a draft, which is unmounted: at once, and it survives a power cut. Completing what is complete
    /// changes nothing.
    ///
    /// # Errors
    /// [`ErrorKind::Gone`] if there is no such draft. After an error nothing changed.
    fn image_complete(&self, image: &Digest) -> Result<Outcome>;

    /// Destroys an image or a draft of one.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] if something is cloned from it, or it is mounted.
    fn image_drop(&self, image: &Digest) -> Result<Outcome>;

    /// What a crash left halfway when an image was dropped stands where it did, or is a draft. Whoever holds the
    /// lock calls this before he looks whether there is an image.
    ///
    /// # Errors
    /// The store cannot be changed.
    fn image_mend(&self, _image: &Digest) -> Result<()> {
        Ok(())
    }

    /// Opens the top of a complete image, to read files in it. Where that keeps it from being dropped, it does until the
    /// descriptor is closed, and [`Images::image_drop`] waits a few seconds for that.
    ///
    /// # Errors
    /// [`ErrorKind::Gone`] if there is no such image,
    /// [`ErrorKind::Unsupported`] if the store cannot do that.
    fn image_open(&self, image: &Digest) -> Result<OwnedFd> {
        Err(Error::new(ErrorKind::Unsupported, "open image", image.short(), "this store keeps no files"))
    }

    /// Where the kernel counts what is written to a draft, if that is how one sees whether files share blocks with those
    /// of another image; `None` if a call that shares blocks does so or fails.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] if it cannot be seen.
    fn image_write_count(&self, _image: &Digest) -> Result<Option<PathBuf>> {
        Ok(None)
    }

    /// Makes a draft of a template that starts as a copy of a complete image, and the template's container if it
    /// is the first.
    ///
    /// # Errors
    /// As [`Store::draft_clone`](super::Store::draft_clone).
    fn draft_from_image(
        &self,
        template: &TemplateName,
        draft: &VersionId,
        image: &Digest,
        progress: &mut dyn Progress,
    ) -> Result<()>;

    /// Clones a complete image for a session.
    ///
    /// # Errors
    /// As [`Store::session_clone`](super::Store::session_clone).
    fn session_from_image(&self, image: &Digest, session: &SessionId) -> Result<()>;

    /// As [`Images::session_from_image`]; what the session writes takes at most `limit` bytes.
    ///
    /// # Errors
    /// As [`Store::session_clone_limited`](super::Store::session_clone_limited).
    fn session_from_image_limited(
        &self,
        image: &Digest,
        session: &SessionId,
        limit: Option<u64>,
    ) -> Result<()> {
        match limit {
            None => self.session_from_image(image, session),
            Some(_) => Err(super::Error::no_limit(session)),
        }
    }
}

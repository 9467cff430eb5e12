//! Images on ZFS: a dataset each, complete once its snapshot `pristine` exists.
//!
//! The dataset has its last name from the beginning and one transaction group completes it, so no crash leaves an
//! image of which one could not say what it is.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::mount::MountFlags;

use super::look::mount_detached;
use super::setup::mount_zfs;
use super::{PATIENCE, ZfsStore, decoded, listing};
use crate::store::{
    Digest, Error, ErrorKind, ImageTree, Images, Outcome, Progress, Result, SessionId, TemplateName,
    VersionId,
};
use crate::sys::{file, reflink};

/// Where the module tells of each pool, and of the datasets in use in it.
const STATISTICS: &str = "/proc/spl/kstat/zfs";
const TABLE: &str = "objset-";
/// Who clones files from an image looks ten times a second whether it is to go.
const READERS_PATIENCE: Duration = Duration::from_secs(5);
const IMAGES: &str = include_str!("programs/images.lua");
const CLONES: &str = include_str!("programs/clones.lua");

impl ZfsStore {
    fn pristine(&self, image: &Digest) -> String {
        format!("{}@pristine", self.names.image(image))
    }

    pub(super) fn mount_image(&self, image: &Digest, at: &Path, flags: MountFlags) -> Result<()> {
        let (head, pristine) = (self.names.image(image), self.pristine(image));
        let (what, flags) = if self.engine.exists(&pristine) {
            (pristine, flags | MountFlags::RDONLY)
        } else {
            (head, flags)
        };
        mount_zfs(&what, at, flags).map_err(|error| Error::io("mount", what, error))
    }

    /// What is read of an image is read of its snapshot, once it is complete.
    pub(super) fn used_by_image(&self, image: &Digest) -> Result<u64> {
        let head = self.names.image(image);
        let room = self.room(&head)?.map(|room| room.referenced);
        room.ok_or_else(|| Error::new(ErrorKind::Gone, "measure", head, "there is no such image"))
    }

    /// The pool decides between this and a clone that is made this moment. Whoever reads files of it lets go soon.
    fn drop_pristine(&self, pristine: &str) -> Result<()> {
        let deadline = Instant::now() + READERS_PATIENCE;
        loop {
            let error = match self.engine.destroy_snapshot(pristine) {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            match error.raw_os_error() {
                Some(libc::EBUSY) if Instant::now() < deadline => sleep(Duration::from_millis(20)),
                Some(libc::EEXIST | libc::EBUSY) => {
                    let why = "something is cloned from it, or it is mounted";
                    return Err(Error::new(ErrorKind::Busy, "destroy", pristine, why));
                }
                _ => return Err(Error::io("destroy", pristine, error)),
            }
        }
    }

    fn clone_image(&self, image: &Digest, tree: &str, limit: Option<u64>) -> Result<()> {
        let pristine = self.pristine(image);
        self.engine.clone_limited(&pristine, tree, limit).map_err(|error| Error::io("clone", pristine, error))
    }
}

impl Images for ZfsStore {
    fn images(&self) -> Result<Vec<ImageTree>> {
        let dataset = self.names.images();
        let text = self.engine.read(&dataset, IMAGES, &[("d", &dataset)])?;
        let mut images = decoded(&dataset, listing::images(&text))?;
        images.sort_by(|one, other| one.digest.cmp(&other.digest));
        Ok(images)
    }

    fn image_sessions(&self, image: &Digest) -> Result<Vec<SessionId>> {
        let (pristine, sessions) = (self.pristine(image), self.names.sessions());
        let text = self.engine.read(&pristine, CLONES, &[("s", &pristine), ("d", &sessions)])?;
        let clones = decoded(&pristine, listing::children(&text))?.unwrap_or_default();
        Ok(clones.into_iter().filter_map(|(name, _)| name.parse().ok()).collect())
    }

    fn image_new(&self, image: &Digest) -> Result<()> {
        let head = self.names.image(image);
        self.engine.create(&head).map_err(|error| match error.raw_os_error() {
            Some(libc::ENOENT) => self.not_laid_out("create", &head),
            _ => Error::io("create", head, error),
        })
    }

    fn image_complete(&self, image: &Digest) -> Result<Outcome> {
        let pristine = self.pristine(image);
        // COMMIT: the snapshot is the whole of it.
        match self.engine.snapshot(&pristine) {
            Ok(()) => Ok(Outcome::Changed),
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(Outcome::Unchanged),
            Err(error) => Err(Error::io("snapshot", pristine, error)),
        }
    }

    fn image_drop(&self, image: &Digest) -> Result<Outcome> {
        let (head, pristine) = (self.names.image(image), self.pristine(image));
        if self.engine.exists(&pristine) {
            self.drop_pristine(&pristine)?;
        }
        self.engine.destroy_patiently(&head, PATIENCE)
    }

    fn image_open(&self, image: &Digest) -> Result<OwnedFd> {
        let pristine = self.pristine(image);
        mount_detached(&pristine).map_err(|error| Error::io("mount", pristine, error))
    }

    fn image_write_count(&self, image: &Digest) -> Result<Option<PathBuf>> {
        let head = self.names.image(image);
        let folder = Path::new(STATISTICS).join(self.names.pool());
        let tables = file::list(&folder).map_err(Error::from)?;
        let mut tables = tables.iter().filter(|name| name.starts_with(TABLE)).map(|name| folder.join(name));
        let found = tables.find(|path| reflink::counts_of(path).as_deref() == Some(&head));
        let none =
            || Error::new(ErrorKind::Unsupported, "count the writes to", head, "the kernel does not tell");
        found.map(Some).ok_or_else(none)
    }

    fn draft_from_image(
        &self,
        template: &TemplateName,
        draft: &VersionId,
        image: &Digest,
        _progress: &mut dyn Progress,
    ) -> Result<()> {
        self.refuse_taken("clone", template, draft)?;
        self.ensure_container(template)?;
        self.clone_image(image, &self.names.head(template, draft), None)
    }

    fn session_from_image(&self, image: &Digest, session: &SessionId) -> Result<()> {
        self.session_from_image_limited(image, session, None)
    }

    fn session_from_image_limited(
        &self,
        image: &Digest,
        session: &SessionId,
        limit: Option<u64>,
    ) -> Result<()> {
        self.clone_image(image, &self.names.session(session), limit)
    }
}

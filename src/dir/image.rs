//! Images on directories.
//!
//! ```text
//! STORE/images/SHA256           a complete image, never written again
//! STORE/images/.making-SHA256   a draft of one
//! STORE/images/.dropped-SHA256  a complete one that is about to go
//! ```
//!
//! The rename of a draft that is on the disk completes it. A session's `lower` names its image, so what
//! `session.rs` says of versions and settle holds for images and [`Images::image_drop`]: the image is renamed
//! aside, *then* the sessions are read, and it is brought back if one names it. What a crash left aside is
//! brought back by whoever next takes the image's lock. Drafts of templates are copies and keep no image.

use std::fs::Permissions;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::claim::{self, Hold, Made};
use super::session::Base;
use super::{DirStore, draft, failed, gone, mount, place, session, trash};
use crate::store::{
    Digest, Error, ErrorKind, ImageTree, Images, Outcome, Progress, Result, SessionId, TemplateName,
    VersionId,
};
use crate::sys::{effect, file};

const MAKING: &str = ".making-";
const DROPPED: &str = ".dropped-";

impl DirStore {
    fn images_folder(&self) -> PathBuf {
        self.layout.dir_store().join("images")
    }

    pub(super) fn image(&self, image: &Digest) -> PathBuf {
        self.images_folder().join(image.as_str())
    }

    pub(super) fn image_draft(&self, image: &Digest) -> PathBuf {
        self.images_folder().join(format!("{MAKING}{image}"))
    }

    /// Where it stands while it is decided whether it goes.
    pub(super) fn image_aside(&self, image: &Digest) -> PathBuf {
        self.images_folder().join(format!("{DROPPED}{image}"))
    }

    /// Brings back what a crash left aside.
    fn bring_back(&self, image: &Digest) -> Result<()> {
        let aside = self.image_aside(image);
        if file::stat(&aside)?.is_some() && file::stat(&self.image(image))?.is_none() {
            place::rename(&aside, &self.image(image))?;
        }
        Ok(())
    }

    /// How many sessions are cloned from an image, ready or not.
    fn image_clones(&self, image: &Digest) -> Result<u64> {
        let is_of = |base: &Base| matches!(base, Base::Image(of) if of == image);
        Ok(session::bases(self)?.iter().filter(|base| is_of(base)).count() as u64)
    }

    fn drop_image_draft(&self, image: &Digest) -> Result<Outcome> {
        let path = self.image_draft(image);
        let busy = |why| Err(Error::new(ErrorKind::Busy, "drop image", path.display().to_string(), why));
        match claim::hold(&path)? {
            Hold::Absent => Ok(Outcome::Unchanged),
            Hold::Taken => busy("somebody holds it"),
            Hold::Held(dir) if mount::is_mounted(&dir, &path)? => busy("it is mounted"),
            Hold::Held(dir) => trash::discard(self, &path, dir).map(|()| Outcome::Changed),
        }
    }
}

impl Images for DirStore {
    fn images(&self) -> Result<Vec<ImageTree>> {
        let folder = self.images_folder();
        let mut images: Vec<ImageTree> = Vec::new();
        for name in file::list(&folder)? {
            let complete = !name.starts_with(MAKING);
            let digits = name.strip_prefix(MAKING).or(name.strip_prefix(DROPPED)).unwrap_or(&name);
            let Ok(digest) = digits.parse::<Digest>() else { continue };
            // Gone meanwhile, or brought back.
            let Some(stat) = file::stat(&folder.join(&name))? else { continue };
            if images.iter().any(|image| image.digest == digest) {
                continue;
            }
            let created = stat.created().or_else(|_| stat.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
            let clones = self.image_clones(&digest)?;
            images.push(ImageTree { digest, complete, created, clones });
        }
        images.sort_by(|one, other| one.digest.cmp(&other.digest));
        Ok(images)
    }

    fn image_sessions(&self, image: &Digest) -> Result<Vec<SessionId>> {
        session::of_image(self, image)
    }

    fn image_new(&self, image: &Digest) -> Result<()> {
        let path = self.image_draft(image);
        self.bring_back(image)?;
        let exists = || Error::new(ErrorKind::Exists, "make image", image.short(), "it is there");
        if file::stat(&self.image(image))?.is_some() {
            return Err(exists());
        }
        let Made::New(dir) = claim::make(&path)? else { return Err(exists()) };
        effect::point("chmod")
            .and_then(|()| dir.set_permissions(Permissions::from_mode(0o755)))
            .map_err(failed("set the mode of", &path))
    }

    fn image_complete(&self, image: &Digest) -> Result<Outcome> {
        let (path, done) = (self.image_draft(image), self.image(image));
        let Some(tree) = place::open(&path)? else {
            return match file::stat(&done)? {
                Some(_) => Ok(Outcome::Unchanged),
                None => Err(gone("complete image", &path)),
            };
        };
        effect::point("syncfs")
            .and_then(|()| Ok(rustix::fs::syncfs(tree.as_fd())?))
            .map_err(failed("sync", &path))?;
        // COMMIT: from this rename on it is an image.
        place::rename(&path, &done)?;
        file::sync_parent(&done)?;
        Ok(Outcome::Changed)
    }

    fn image_drop(&self, image: &Digest) -> Result<Outcome> {
        let (path, aside) = (self.image(image), self.image_aside(image));
        let busy = |why| Err(Error::new(ErrorKind::Busy, "drop image", path.display().to_string(), why));
        self.bring_back(image)?;
        let draft = self.drop_image_draft(image)?;
        let Some(dir) = place::open(&path)? else { return Ok(draft) };
        if mount::is_mounted(&dir, &path)? {
            return busy("it is mounted");
        }
        place::rename(&path, &aside)?;
        match self.image_clones(image) {
            Ok(0) => {
                // Else a power cut could bring back an image that is half deleted.
                file::sync_parent(&aside)?;
                // Not where it lies: whoever finds half of it aside would bring that back.
                trash::put(self, &aside, dir)?.remove(self);
                Ok(Outcome::Changed)
            }
            other => {
                place::rename(&aside, &path)?;
                other.and_then(|_| busy("something is cloned from it"))
            }
        }
    }

    fn image_mend(&self, image: &Digest) -> Result<()> {
        self.bring_back(image)
    }

    fn image_open(&self, image: &Digest) -> Result<OwnedFd> {
        // A directory that is open is in nobody's way.
        let (_, dir) = complete(self, image)?.ok_or_else(|| gone("open image", &self.image(image)))?;
        Ok(dir.into())
    }

    fn draft_from_image(
        &self,
        template: &TemplateName,
        draft: &VersionId,
        image: &Digest,
        progress: &mut dyn Progress,
    ) -> Result<()> {
        let what = format!("copying image {}", image.short());
        draft::copy(self, (template, draft), &what, progress, &|| complete(self, image))
    }

    fn session_from_image(&self, image: &Digest, session: &SessionId) -> Result<()> {
        session::clone(self, &Base::Image(image.clone()), session)
    }
}

/// Finds a complete image.
pub(super) fn complete(store: &DirStore, image: &Digest) -> Result<Option<(PathBuf, std::fs::File)>> {
    let path = store.image(image);
    Ok(place::open(&path)?.map(|dir| (path, dir)))
}

/// Where an image's tree is: also aside, or as a draft.
pub(super) fn place_of(store: &DirStore, image: &Digest) -> Result<PathBuf> {
    let is_there = |path: &Path| Ok::<_, Error>(file::stat(path)?.is_some());
    for path in [store.image(image), store.image_aside(image), store.image(image), store.image_draft(image)] {
        if is_there(&path)? {
            return Ok(path);
        }
    }
    Err(gone("find", &store.image(image)))
}

//! Trees that are not the store's: what schroot.conf names, used where it lies.
//!
//! ```text
//! DIRECTORY                 in place: shown through a mount, written by whoever may, never removed by us
//! OVERLAYS/ID/{upper,work}  what a session writes over a tree that it must not change; goes with the session
//! UNPACKED/ID/tree          an archive, unpacked for one session
//! ARCHIVE                   replaced by a rename when a source session of it ends ([`Outside::pack`])
//! DEVICE, IMAGE             a file system, mounted for a session
//! SNAPSHOTS/ID              a snapshot of a subvolume of btrfs, for one session
//! DATASET@zchroot-ID        a snapshot of a dataset, which goes with its clone
//! BASE/zchroot/sessions/ID  the clone of it for a session, if the store is on the same pool; else zchroot-ID beside it
//! ```
//!
//! A session of such a tree has the record, the lock, the mount and the cgroup of every session; only what is
//! mounted comes from here and not from a [`Store`](crate::store::Store). Nothing here has versions, so nothing is
//! atomic but what schroot made so: who works in place changes what others see at once.
//!
//! **Crash rule.** What is made for a session is made after its record and removed before it, under names that were
//! free when the session began ([`Outside::checked`]): [`Outside::discard`] takes away what a session had, from
//! any state, any number of times, and nothing else. gc knows nothing of these places but of the store's, so the records of
//! such sessions are durable, whatever they are for. No lock is needed: the session's own is held.

mod archive;
mod dataset;
mod device;
mod left;
mod mount;
mod overlay;
mod subvolume;

use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::store::{Error, ErrorKind, MountOptions, Result, SessionId};
use crate::sys::mount::Inert;
use crate::sys::{file, tree};

const OTHER_WRITE: u32 = 0o002;

/// A tree that is not the store's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Outside {
    /// The folder of overlays: what is written goes to one and with the session. None: the tree itself is changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlays: Option<PathBuf>,
    /// It is worked in to change it for those who come later.
    #[serde(default)]
    pub is_source: bool,
    /// What has the tree.
    pub origin: Origin,
}

/// What has a tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Origin {
    /// A directory of the host.
    Directory {
        /// Which.
        path: PathBuf,
        /// What the host has mounted below is there too.
        #[serde(default)]
        with_mounts: bool,
    },
    /// An archive, unpacked for each session.
    Archive {
        /// Which.
        file: PathBuf,
        /// The folder of what is unpacked.
        unpacked: PathBuf,
        /// Where in it the tree lies, empty for its top.
        location: PathBuf,
        /// The file as it was when the session began.
        seen: Option<Seen>,
        /// What was packed and is about to take its place, or has.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        packed: Option<Seen>,
    },
    /// A file system on a device or in a file, mounted for each session.
    Device {
        /// The device or the file.
        path: PathBuf,
        /// It is a file, which takes a loop device.
        looped: bool,
        /// Words for mount(8).
        options: Vec<String>,
        /// Where in it the tree lies, empty for its top.
        location: PathBuf,
    },
    /// A subvolume of btrfs, of which each session has a snapshot.
    Subvolume {
        /// Which.
        source: PathBuf,
        /// The folder of snapshots.
        snapshots: PathBuf,
    },
    /// A dataset of ZFS.
    Dataset {
        /// Which.
        dataset: String,
        /// Where a session's clone of it lies; none: the dataset itself is mounted.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        clones: Option<Clones>,
        /// Properties of the user's for the snapshot.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        properties: Vec<(String, String)>,
        /// Words for mount(8).
        options: Vec<String>,
        /// Where in it the tree lies, empty for its top.
        location: PathBuf,
    },
}

pub use archive::Seen;
pub use dataset::{Clones, Names};
pub use left::Made;

impl Outside {
    /// Whether others may have the same tree mounted, and see what is written to it.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.overlays.is_none() && !self.is_unpacked() && !self.is_cloned()
    }

    /// Whether nothing but mounts is made for a session of it: then a reboot takes all away.
    #[must_use]
    pub fn leaves_nothing(&self) -> bool {
        self.is_shared() && !self.is_source
    }

    /// Whether what is written in a session goes with it, or at least from where it is written. Of a dataset itself schroot
    /// says so too.
    #[must_use]
    pub fn is_purged(&self) -> bool {
        !self.is_shared() || matches!(self.origin, Origin::Dataset { .. })
    }

    /// Whether a session's end changes what it came from.
    #[must_use]
    pub fn is_packed_again(&self) -> bool {
        self.is_source && self.is_unpacked()
    }

    fn is_unpacked(&self) -> bool {
        matches!(self.origin, Origin::Archive { .. })
    }

    fn is_cloned(&self) -> bool {
        matches!(self.origin, Origin::Dataset { clones: Some(_), .. } | Origin::Subvolume { .. })
    }

    /// Where a session's snapshot of a subvolume lies.
    #[must_use]
    pub fn snapshot(&self, session: &SessionId) -> Option<PathBuf> {
        match &self.origin {
            Origin::Subvolume { snapshots, .. } => Some(subvolume::place(snapshots, session)),
            _ => None,
        }
    }

    /// What a session of it is mounted from, where that is a dataset.
    #[must_use]
    pub fn dataset(&self) -> Option<&str> {
        match &self.origin {
            Origin::Dataset { dataset, .. } => Some(dataset),
            _ => None,
        }
    }

    /// What a session has of a dataset that is cloned.
    #[must_use]
    pub fn names(&self, session: &SessionId) -> Option<Names> {
        match &self.origin {
            Origin::Dataset { dataset, clones: Some(clones), .. } => {
                Some(dataset::names(dataset, clones, session))
            }
            _ => None,
        }
    }

    /// Refuses a session for which something lies in the way that is not its own, or of a tree that is not there. What
    /// comes of it is to be recorded.
    ///
    /// # Errors
    /// [`ErrorKind::Exists`] if there is, [`ErrorKind::Gone`] if the tree is not there.
    pub fn checked(mut self, session: &SessionId) -> Result<Self> {
        match &mut self.origin {
            Origin::Directory { path, .. } => drop(mount::open(path)?),
            Origin::Archive { file, unpacked, seen, .. } => {
                *seen = Some(archive::look(file, self.is_source)?);
                refuse_taken(unpacked, session)?;
            }
            Origin::Device { path, looped, .. } => device::check(path, *looped)?,
            Origin::Subvolume { source, snapshots } => {
                drop(mount::open(source)?);
                refuse_taken(snapshots, session)?;
            }
            Origin::Dataset { dataset, clones, options, .. } => {
                dataset::check(dataset, clones.as_ref(), options, session)?;
            }
        }
        if let Some(folder) = &self.overlays {
            refuse_taken(folder, session)?;
        }
        Ok(self)
    }

    /// Makes what a session needs of its own; the directory that is to be filled from the archive, if there is one.
    ///
    /// # Errors
    /// The file system refused.
    pub fn make(&self, session: &SessionId, staging: &Path) -> Result<Option<(&Path, PathBuf)>> {
        if let Origin::Archive { file, unpacked, .. } = &self.origin {
            return archive::make(unpacked, session).map(|tree| Some((file.as_path(), tree)));
        }
        match &self.origin {
            Origin::Dataset { dataset, clones: Some(clones), properties, .. } => {
                dataset::make(dataset, clones, properties, session)?;
            }
            Origin::Subvolume { source, snapshots } => subvolume::make(source, snapshots, session)?,
            _ => {}
        }
        if let Some(folder) = &self.overlays {
            self.with_lower(session, staging, |lower| overlay::make(folder, session, lower))?;
        }
        Ok(None)
    }

    /// Mounts the tree at an empty directory; `staging` is a place beside it, for what has to be mounted first.
    ///
    /// # Errors
    /// It is not there, or the kernel refused.
    pub fn mount(&self, session: &SessionId, at: &Path, staging: &Path, options: MountOptions) -> Result<()> {
        self.with_lower(session, staging, |lower| match &self.overlays {
            Some(folder) => overlay::mount(folder, session, lower, at, options),
            None if self.has_mounts() => mount::bind_all(lower, at, staging.parent(), options),
            None => mount::bind(lower, at, options),
        })
    }

    fn has_mounts(&self) -> bool {
        matches!(self.origin, Origin::Directory { with_mounts: true, .. })
    }

    /// What has no effect in the tree on the host, where whoever mounted it wanted it so: an overlay is a mount of its own.
    ///
    /// # Errors
    /// The tree is not there.
    pub fn inert(&self, session: &SessionId) -> Result<Inert> {
        if self.overlays.is_some() {
            return Ok(Inert::default());
        }
        Ok(match &self.origin {
            Origin::Directory { path, .. } => Inert::at(path)?,
            Origin::Archive { unpacked, .. } => Inert::at(&archive::tree(unpacked, session))?,
            Origin::Subvolume { snapshots, .. } => Inert::at(&subvolume::place(snapshots, session))?,
            Origin::Device { options, .. } | Origin::Dataset { options, .. } => device::inert(options),
        })
    }

    /// Shows `work` the tree itself at a path on which the tree has no say.
    fn with_lower(
        &self,
        session: &SessionId,
        staging: &Path,
        work: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<()> {
        match &self.origin {
            Origin::Directory { path, .. } => work(path),
            Origin::Subvolume { snapshots, .. } => work(&subvolume::place(snapshots, session)),
            Origin::Archive { unpacked, location, .. } => {
                let tree = archive::tree(unpacked, session);
                if location.as_os_str().is_empty() {
                    return work(&tree);
                }
                mount::staged(staging, |point| mount::bind_inside(&tree, location, point), work)
            }
            Origin::Device { path, looped, options, location } => {
                let fill = |point: &Path| {
                    device::mount(path, *looped, options, point)?;
                    narrow(point, location)
                };
                mount::staged(staging, fill, work)
            }
            Origin::Dataset { dataset, clones, options, location, .. } => {
                let fill = |point: &Path| {
                    dataset::mount(dataset, clones.as_ref(), options, session, point)?;
                    narrow(point, location)
                };
                mount::staged(staging, fill, work)
            }
        }
    }

    /// Packs the archive beside the one of which it was unpacked. What comes of it is to be recorded before
    /// [`Outside::put_in_place`]: else a crash right after that would leave a session that takes its own archive for
    /// somebody else's.
    ///
    /// # Errors
    /// It was changed since the session began, there is no room, or tar(1) failed: then nothing has changed.
    pub fn pack(mut self, session: &SessionId) -> Result<Self> {
        if let Origin::Archive { file, unpacked, seen, packed, .. } = &mut self.origin {
            let known = [seen.take(), packed.take()];
            let (now, made) = archive::pack(file, &archive::tree(unpacked, session), session, &known)?;
            (*seen, *packed) = (Some(now), Some(made));
        }
        Ok(self)
    }

    /// Puts what was packed in the place of the archive, at once for all who read it.
    ///
    /// # Errors
    /// It was changed since the session began: then nothing has changed.
    pub fn put_in_place(&self, session: &SessionId) -> Result<()> {
        match &self.origin {
            Origin::Archive { file, seen, .. } => archive::put_in_place(file, session, seen.as_ref()),
            _ => Ok(()),
        }
    }

    /// Takes away what was made for a session, which is mounted nowhere any more. The tree itself stays.
    ///
    /// # Errors
    /// The file system refused, or it is mounted still.
    pub fn discard(&self, session: &SessionId, staging: &Path) -> Result<()> {
        mount::clear_staging(staging)?;
        if let Some(folder) = &self.overlays {
            overlay::discard(folder, session.as_str())?;
        }
        match &self.origin {
            Origin::Archive { file, unpacked, .. } => archive::discard(file, unpacked, session),
            Origin::Subvolume { snapshots, .. } => subvolume::discard(snapshots, session.as_str()),
            Origin::Dataset { dataset, clones: Some(clones), .. } => {
                dataset::discard(dataset, clones, session)
            }
            _ => Ok(()),
        }
    }
}

/// Shows what lies deeper in a file system that is mounted at `point` in its place.
fn narrow(point: &Path, location: &Path) -> Result<()> {
    if location.as_os_str().is_empty() { Ok(()) } else { mount::bind_inside(point, location, point) }
}

/// What lies where a session's own will be would be removed with the session.
fn refuse_taken(folder: &Path, session: &SessionId) -> Result<()> {
    let path = folder.join(session.as_str());
    if file::stat(&path)?.is_none() {
        return Ok(());
    }
    let why = "it is there already, and not this session's";
    Err(Error::new(ErrorKind::Exists, "make directory", path.display().to_string(), why))
}

/// Removes what was made for a session in a folder, if it is there.
fn remove_in(folder: &Path, name: &str) -> Result<()> {
    let opened = match file::open_dir(folder) {
        Err(error) if error.is_not_found() => return Ok(()),
        other => other?,
    };
    let removed = tree::remove_tree(opened.as_fd(), OsStr::new(name));
    removed.map_err(failed("remove", &folder.join(name)))
}

/// Makes the folder of what is made for sessions. Who may write it could put something else in the place of what is
/// removed.
fn make_folder(folder: &Path) -> Result<()> {
    file::make_dirs(folder, 0o755)?;
    let refuse = |why| Err(Error::new(ErrorKind::Other, "use", folder.display().to_string(), why));
    match file::stat(folder)? {
        Some(stat) if !stat.is_dir() => refuse("it is no directory"),
        Some(stat) => distrust(stat.uid(), stat.mode()).map_or(Ok(()), refuse),
        None => Ok(()),
    }
}

/// Why something of this owner and mode is not the administrator's alone.
fn distrust(uid: u32, mode: u32) -> Option<&'static str> {
    match (uid, mode & OTHER_WRITE) {
        (0, 0) => None,
        (0, _) => Some("everybody may write it"),
        _ => Some("it does not belong to root"),
    }
}

/// An I/O error with its operation and object.
fn failed(op: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let object = path.display().to_string();
    move |source| Error::io(op, object, source)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests lay out trees by hand")]
mod tests;

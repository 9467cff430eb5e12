//! Trees that are not the store's: what schroot.conf names, used where it lies.
//!
//! ```text
//! DIRECTORY                 in place: shown through a mount, written by whoever may, never removed by us
//! OVERLAYS/ID/{upper,work}  what a session writes over a tree that it must not change; goes with the session
//! ```
//!
//! A session of such a tree has the record, the lock, the mount and the cgroup of every session; only what is
//! mounted comes from here and not from a [`Store`](crate::store::Store). Nothing here has versions, so nothing is
//! atomic but what schroot made so: who works in place changes what others see at once.
//!
//! **Crash rule.** What is made for a session is made after its record and removed before it, under names that were
//! free when the session began ([`Outside::refuse_taken`]): [`Outside::discard`] takes away what a session had, from
//! any state, any number of times, and nothing else. gc knows nothing of these places, so the records of such
//! sessions are durable, whatever they are for. No lock is needed: the session's own is held.

mod mount;
mod overlay;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::store::{Error, ErrorKind, MountOptions, Result, SessionId};
use crate::sys::file;

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
    },
}

impl Outside {
    /// Whether others may have the same tree mounted, and see what is written to it.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.overlays.is_none()
    }

    /// Whether nothing but mounts is made for a session of it: then a reboot takes all away.
    #[must_use]
    pub fn leaves_nothing(&self) -> bool {
        self.overlays.is_none() && !self.is_source
    }

    /// Refuses a session for which something lies in the way that is not its own.
    ///
    /// # Errors
    /// [`ErrorKind::Exists`] if there is, [`ErrorKind::Gone`] if the tree is not there.
    pub fn refuse_taken(&self, session: &SessionId) -> Result<()> {
        let Origin::Directory { path } = &self.origin;
        mount::open(path)?;
        let taken = |path: PathBuf| {
            let why = "it is there already, and not this session's";
            Err(Error::new(ErrorKind::Exists, "make directory", path.display().to_string(), why))
        };
        match &self.overlays {
            Some(folder) if file::stat(&folder.join(session.as_str()))?.is_some() => {
                taken(folder.join(session.as_str()))
            }
            _ => Ok(()),
        }
    }

    /// Makes what a session needs of its own.
    ///
    /// # Errors
    /// The file system refused.
    pub fn make(&self, session: &SessionId) -> Result<()> {
        let Origin::Directory { path } = &self.origin;
        match &self.overlays {
            Some(folder) => overlay::make(folder, session, path),
            None => Ok(()),
        }
    }

    /// Mounts the tree at an empty directory.
    ///
    /// # Errors
    /// It is not there, or the kernel refused.
    pub fn mount(&self, session: &SessionId, at: &Path, options: MountOptions) -> Result<()> {
        let Origin::Directory { path } = &self.origin;
        match &self.overlays {
            Some(folder) => overlay::mount(folder, session, path, at, options),
            None => mount::bind(path, at, options),
        }
    }

    /// Takes away what was made for a session, which is mounted nowhere any more. The tree itself stays.
    ///
    /// # Errors
    /// The file system refused, or it is mounted still.
    pub fn discard(&self, session: &SessionId) -> Result<()> {
        match &self.overlays {
            Some(folder) => overlay::discard(folder, session),
            None => Ok(()),
        }
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

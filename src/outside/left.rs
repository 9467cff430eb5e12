//! What a session has that schroot itself began and cannot end any more, since zchroot took its place.
//!
//! Where it lies its own file says ([`Made`]); it is taken away by the rules of our own sessions' things: only what has the
//! session's name, only when nothing of it is mounted, any number of times.

use std::path::{Path, PathBuf};

use super::{dataset, overlay, remove_in, subvolume};
use crate::store::{Error, ErrorKind, Result};
use crate::sys::file;

/// What schroot made for a session, but for mounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Made {
    /// Nothing.
    Nothing,
    /// The layers of a union.
    Union {
        /// What was written in the session.
        overlay: PathBuf,
        /// Where the tree below is mounted.
        underlay: PathBuf,
    },
    /// An unpacked archive.
    Unpacked(PathBuf),
    /// A snapshot of a subvolume.
    Subvolume(PathBuf),
    /// A snapshot of a dataset, and its clone.
    Dataset {
        /// `DATASET@ID`
        snapshot: String,
        /// `DATASET/schroot-ID`
        clone: String,
    },
}

impl Made {
    /// Whether nobody but the session has its tree.
    #[must_use]
    pub fn is_private(&self) -> bool {
        !matches!(self, Self::Nothing)
    }

    /// What is mounted besides the tree.
    #[must_use]
    pub fn mounted(&self) -> Option<&Path> {
        match self {
            Self::Union { underlay, .. } => Some(underlay),
            _ => None,
        }
    }

    /// Refuses what has not the session's name: it would be somebody else's.
    ///
    /// # Errors
    /// It is so.
    pub fn checked(self, session: &str) -> Result<Self> {
        let strange = match &self {
            Self::Nothing => None,
            Self::Union { overlay, underlay } => [overlay, underlay]
                .into_iter()
                .find(|path| folder(path, session).is_none())
                .map(|path| shown(path)),
            Self::Unpacked(path) | Self::Subvolume(path) => {
                folder(path, session).is_none().then(|| shown(path))
            }
            Self::Dataset { snapshot, clone } => [snapshot, clone]
                .into_iter()
                .find(|name| !name.contains(['/', '@']) || !name.ends_with(session))
                .cloned(),
        };
        match strange {
            None => Ok(self),
            Some(name) => {
                Err(Error::new(ErrorKind::Other, "remove", name, "it has not the name of the session"))
            }
        }
    }

    /// Takes it away. Nothing of it may be mounted any more.
    ///
    /// # Errors
    /// The file system or the pool refused.
    pub fn discard(&self, session: &str) -> Result<()> {
        match self {
            Self::Nothing => Ok(()),
            Self::Union { overlay, underlay } => {
                if let Some(folder) = folder(overlay, session) {
                    overlay::discard(folder, session)?;
                }
                Ok(file::remove_dir(underlay)?)
            }
            Self::Unpacked(path) => match folder(path, session) {
                Some(folder) => remove_in(folder, session),
                None => Ok(()),
            },
            Self::Subvolume(path) => match folder(path, session) {
                Some(folder) => subvolume::discard(folder, session),
                None => Ok(()),
            },
            Self::Dataset { snapshot, clone } => dataset::discard_named(snapshot, clone),
        }
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// The folder of something that has the session's name.
fn folder<'a>(path: &'a Path, session: &str) -> Option<&'a Path> {
    let plain = path.is_absolute() && path.components().all(|part| part != std::path::Component::ParentDir);
    let named = path.file_name().is_some_and(|name| name == session);
    if plain && named { path.parent() } else { None }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests lay out trees by hand")]
mod tests {
    use super::*;

    #[test]
    fn what_has_not_the_name_of_the_session_is_not_removed() {
        let id = "s1";
        let path = |text: &str| PathBuf::from(text);
        let dataset = |snapshot: &str, clone: &str| Made::Dataset {
            snapshot: snapshot.to_owned(),
            clone: clone.to_owned(),
        };
        let union =
            |overlay: &str, underlay: &str| Made::Union { overlay: path(overlay), underlay: path(underlay) };
        for good in [
            Made::Nothing,
            union("/o/s1", "/u/s1"),
            Made::Unpacked(path("/x/s1")),
            Made::Subvolume(path("/b/s1")),
            dataset("tank/sid@s1", "tank/sid/schroot-s1"),
        ] {
            assert_eq!(good.clone().checked(id).unwrap(), good);
        }
        for bad in [
            union("/o", "/u/s1"),
            union("/o/s1", "/etc"),
            Made::Unpacked(path("/")),
            Made::Unpacked(path("s1")),
            Made::Unpacked(path("/a/../s1")),
            Made::Subvolume(path("/b/other")),
            dataset("tank/sid@daily", "tank/sid/schroot-s1"),
            dataset("tank/sid@s1", "tank/sid"),
        ] {
            let error = bad.clone().checked(id).unwrap_err();
            assert!(crate::sys::chain(&error).contains("not the name of the session"), "{bad:?}");
            // Even so nothing happens.
            if !matches!(bad, Made::Union { .. } | Made::Dataset { .. }) {
                bad.discard(id).unwrap();
            }
        }
    }

    #[test]
    fn an_unpacked_tree_goes_and_what_lies_beside_it_stays() {
        let dir = tempfile::tempdir().unwrap();
        let id = "s1";
        for name in ["s1/etc", "s2/etc"] {
            std::fs::create_dir_all(dir.path().join(name)).unwrap();
        }
        let made = Made::Unpacked(dir.path().join("s1"));
        for _ in 0..2 {
            made.discard(id).unwrap();
        }
        assert!(!dir.path().join("s1").exists() && dir.path().join("s2/etc").exists());
        assert!(made.is_private() && !Made::Nothing.is_private());
    }
}

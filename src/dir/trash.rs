//! Deleting: rename into `trash/`, where nobody looks, then remove.
//!
//! The rename is made under the template's lock where there is one, the removal, which takes as long as the tree is
//! large, after the lock is let go. What is in the trash is held by whoever removes it; what nobody holds was left by a crash.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::claim::{self, Hold};
use super::{DirStore, failed, place};
use crate::store::{ErrorKind, Result};
use crate::sys::{file, tree};

/// A tree that is out of sight, held until it is removed: whoever empties the trash meanwhile leaves it alone.
#[derive(Debug)]
#[must_use = "it stays in the trash until it is removed"]
pub(super) struct Trashed {
    path: PathBuf,
    _held: File,
}

impl Trashed {
    /// Removes it, which may take long: callers have let their locks go. It counts as deleted already, so what
    /// cannot be removed stays in the trash, for the next settle.
    pub(super) fn remove(self, store: &DirStore) {
        if let Err(error) = remove(&store.trash(), &self.path) {
            tracing::warn!(path = %self.path.display(), "left in the trash: {error}");
        }
    }
}

/// Renames the directory `path`, which `held` holds, into the trash.
pub(super) fn put(store: &DirStore, path: &Path, held: File) -> Result<Trashed> {
    Ok(Trashed { path: rename(store, path)?, _held: held })
}

/// As [`put`], for what nobody takes for whole when half of it is gone: a draft, a session. A file system that writes
/// nothing in place may be too full to rename anything and still be able to delete: then it is removed where it lies.
pub(super) fn put_or_remove(store: &DirStore, path: &Path, held: File) -> Result<Option<Trashed>> {
    match rename(store, path) {
        Ok(path) => Ok(Some(Trashed { path, _held: held })),
        Err(error) if error.kind() == ErrorKind::NoRoom => {
            remove(path.parent().unwrap_or(path), path)?;
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Deletes the directory `path`, which `held` holds, for who has no lock that others wait for: a draft, a session.
pub(super) fn discard(store: &DirStore, path: &Path, held: File) -> Result<()> {
    if let Some(tree) = put_or_remove(store, path, held)? {
        tree.remove(store);
    }
    Ok(())
}

/// Where it lies in the trash now.
fn rename(store: &DirStore, path: &Path) -> Result<PathBuf> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let trash = store.trash();
    file::make_dirs(&trash, 0o700)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let target = loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let target = trash.join(format!("{}.{}.{number}", name.trim_start_matches('.'), std::process::id()));
        if file::stat(&target)?.is_none() {
            break target;
        }
    };
    place::rename(path, &target)?;
    Ok(target)
}

/// Removes what crashes left; returns how many trees that were.
pub(super) fn empty(store: &DirStore) -> Result<usize> {
    let trash = store.trash();
    let mut removed = 0;
    for name in file::list(&trash)? {
        let path = trash.join(name);
        if let Hold::Held(_held) = claim::hold(&path)? {
            remove(&trash, &path)?;
            removed += 1;
        }
    }
    Ok(removed)
}

fn remove(folder: &Path, path: &Path) -> Result<()> {
    let folder = file::open_dir(folder)?;
    tree::remove_tree(folder.as_fd(), path.file_name().unwrap_or_default()).map_err(failed("remove", path))
}

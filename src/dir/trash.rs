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
use crate::store::Result;
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
    Ok(Trashed { path: target, _held: held })
}

/// Deletes the directory `path`, which `held` holds, for who has no lock that others wait for.
pub(super) fn discard(store: &DirStore, path: &Path, held: File) -> Result<()> {
    put(store, path, held)?.remove(store);
    Ok(())
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

fn remove(trash: &Path, path: &Path) -> Result<()> {
    let folder = file::open_dir(trash)?;
    tree::remove_tree(folder.as_fd(), path.file_name().unwrap_or_default()).map_err(failed("remove", path))
}

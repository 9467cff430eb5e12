//! The commit. The table in the module above has the steps and what a crash after each leaves.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{DirStore, failed, gone, place};
use crate::store::{Error, ErrorKind, Published, Result, TemplateName, VersionId, pointer};
use crate::sys::lock::{self, Lock};
use crate::sys::{effect, file};

const PATIENCE: Duration = Duration::from_secs(5);

/// The lock of a template's trees: not [`Layout::template_lock`](crate::store::Layout::template_lock), which
/// our callers may hold.
pub(super) fn lock_file(store: &DirStore, template: &TemplateName) -> PathBuf {
    store.layout.locks().join(format!("trees-{template}"))
}

/// Takes it, with a little patience.
pub(super) fn lock(store: &DirStore, template: &TemplateName) -> Result<Lock> {
    let path = lock_file(store, template);
    lock::make_folder(&store.layout.locks())?;
    Lock::take(&path, PATIENCE)?.ok_or_else(|| {
        Error::new(ErrorKind::Busy, "lock", path.display().to_string(), "somebody else kept it for 5 s")
    })
}

pub(super) fn publish(
    store: &DirStore,
    template: &TemplateName,
    draft: &VersionId,
    base: Option<&VersionId>,
) -> Result<Published> {
    let _lock = lock(store, template)?;
    let current = pointer::read(&store.layout, template)?;
    if current.as_ref() == Some(draft) {
        // A repeat: whoever began may have crashed before the fsync or before the last step.
        pointer::write(&store.layout, template, draft)?;
        finish_or_warn(store, template, draft);
        return Ok(Published::Committed);
    }
    let path = store.draft(template, draft);
    let Some(tree) = place::open(&path)? else { return Err(gone("publish", &path)) };
    let about = store.layout.version(template, draft);
    if file::stat(&about)?.is_none() {
        return Err(gone("publish without", &about));
    }
    if current.as_ref() != base {
        return Ok(Published::Conflict { current });
    }
    if let Some(current) = &current {
        finish(store, template, current)?;
    }
    effect::point("syncfs").and_then(|()| Ok(rustix::fs::syncfs(&tree)?)).map_err(failed("sync", &path))?;
    // COMMIT: the pointer is renamed over.
    if let Err(error) = pointer::write(&store.layout, template, draft) {
        if pointer::read(&store.layout, template)?.as_ref() != Some(draft) {
            return Err(error);
        }
        // Readers see the new version, so it is committed: only the fsync after the rename failed. The tree
        // stays in drafts/ until a later fsync of the pointer succeeds.
        tracing::warn!(%template, version = %draft, "committed, but a power cut may undo it: {error}");
        return Ok(Published::Committed);
    }
    finish_or_warn(store, template, draft);
    Ok(Published::Committed)
}

fn finish_or_warn(store: &DirStore, template: &TemplateName, current: &VersionId) {
    if let Err(error) = finish(store, template, current) {
        tracing::warn!(%template, version = %current, "committed; to be finished by the next settle: {error}");
    }
}

/// Moves the tree of the current version to its place, should it not be there yet. Under the lock.
///
/// The pointer is fsynced first: what stands in `templates/` was current for good.
pub(super) fn finish(store: &DirStore, template: &TemplateName, current: &VersionId) -> Result<()> {
    let (draft, version) = (store.draft(template, current), store.version(template, current));
    if file::stat(&draft)?.is_none() {
        return Ok(());
    }
    file::sync_parent(&store.layout.pointer(template))?;
    file::make_dirs(&store.versions(template), 0o700)?;
    place::rename(&draft, &version)?;
    sync_parents(&[&version, &draft])
}

fn sync_parents(paths: &[&Path]) -> Result<()> {
    paths.iter().try_for_each(|path| Ok(file::sync_parent(path)?))
}

//! Drafts: versions that are being made.

use std::fs::{File, Permissions};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::time::SystemTime;

use super::claim::{self, Hold, Made};
use super::trash::{self, Trashed};
use super::{DirStore, commit, failed, mount, place, session};
use crate::store::{Error, ErrorKind, Head, Outcome, Progress, Result, TemplateName, VersionId, pointer};
use crate::sys::tree::{self, CopyOptions};
use crate::sys::{effect, file};

pub(super) fn heads(store: &DirStore, template: &TemplateName) -> Result<Vec<Head>> {
    // In this order: a version that is published meanwhile is then seen as the draft that it was, or as
    // complete, but a complete one never as a draft.
    let current = pointer::read(&store.layout, template)?;
    let drafts: Vec<VersionId> = place::names(&store.drafts(template))?;
    let versions: Vec<VersionId> = place::names(&store.versions(template))?;
    let mut heads: Vec<Head> = Vec::new();
    for id in versions {
        if let Some(stat) = file::stat(&store.version(template, &id))? {
            heads.push(Head { id, complete: true, created: created(&stat) });
        }
    }
    for id in drafts {
        if heads.iter().any(|head| head.id == id) {
            continue;
        }
        if let Some(stat) = file::stat(&store.draft(template, &id))? {
            let complete = current.as_ref() == Some(&id);
            heads.push(Head { id, complete, created: created(&stat) });
        }
    }
    heads.sort_by(|one, other| one.id.cmp(&other.id));
    Ok(heads)
}

fn created(stat: &std::fs::Metadata) -> SystemTime {
    // What birth times are missing on gives the time of the last change.
    stat.created().or_else(|_| stat.modified()).unwrap_or(SystemTime::UNIX_EPOCH)
}

/// Makes a draft under a name that nobody reads, has it filled, and renames it into place, durably: what `fill` wants to
/// survive a power cut it flushes itself.
pub(super) fn make(
    store: &DirStore,
    template: &TemplateName,
    draft: &VersionId,
    fill: impl FnOnce(&File) -> Result<()>,
) -> Result<()> {
    let (path, making) = (store.draft(template, draft), store.making(template, draft));
    let exists = |why| Err(Error::new(ErrorKind::Exists, "make draft", path.display().to_string(), why));
    for taken in [&path, &store.version(template, draft), &store.dropped(template, draft)] {
        if file::stat(taken)?.is_some() {
            return exists("the name is taken");
        }
    }
    file::make_dirs(&store.versions(template), 0o700)?;
    let dir = loop {
        match claim::make(&making)? {
            Made::New(dir) => break dir,
            Made::LeftOver(dir) => trash::discard(store, &making, dir)?,
            Made::Taken => return exists("somebody makes it just now"),
        }
    };
    let made = effect::point("chmod")
        .and_then(|()| dir.set_permissions(Permissions::from_mode(0o755)))
        .map_err(failed("set the mode of", &making))
        .and_then(|()| fill(&dir))
        .and_then(|()| place::rename(&making, &path));
    let (made, lies) = match made {
        Ok(()) => (file::sync_parent(&path).map_err(Error::from), path),
        Err(error) => (Err(error), making),
    };
    made.inspect_err(|_| {
        if let Err(error) = trash::discard(store, &lies, dir) {
            tracing::warn!(path = %lies.display(), "a half-made draft stays: {error}");
        }
    })
}

pub(super) fn make_copy(
    store: &DirStore,
    template: &TemplateName,
    draft: &VersionId,
    base: &VersionId,
    progress: &mut dyn Progress,
) -> Result<()> {
    let what = format!("copying {template} {base}");
    let find = || place::complete(store, template, base);
    copy(store, (template, draft), &what, progress, &find)
}

/// Makes a draft that is a copy of the tree that `find` finds.
pub(super) fn copy(
    store: &DirStore,
    (template, draft): (&TemplateName, &VersionId),
    what: &str,
    progress: &mut dyn Progress,
    find: &dyn Fn() -> Result<Option<(PathBuf, File)>>,
) -> Result<()> {
    let none = || Error::io("find what is to be copied, for", what, rustix::io::Errno::NOENT.into());
    let (path, from) = find()?.ok_or_else(none)?;
    let total = tree::tree_size(from.as_fd()).map_err(failed("measure", &path))?;
    progress.start(what, Some(total));
    let made = make(store, template, draft, |to| {
        let tell = &mut |bytes| progress.advance(bytes);
        tree::copy_tree(from.as_fd(), to.as_fd(), &CopyOptions::default(), tell)
            .map_err(failed("copy", &path))?;
        // Who deletes renames first: while the tree stands in its place, nothing of it was missing.
        let still = find()?.ok_or_else(none)?.1;
        if id(&still)? != id(&from)? {
            return Err(none());
        }
        // The record that says that the session stands is durable: by itself it would outlive the tree's contents.
        effect::point("syncfs").and_then(|()| Ok(rustix::fs::syncfs(to)?)).map_err(failed("sync", &path))
    });
    progress.finish();
    // The tree may have been deleted under the copy, which then failed somewhere in it.
    match made {
        Err(error) if error.kind() != ErrorKind::Gone && find()?.is_none() => Err(none()),
        other => other,
    }
}

fn id(dir: &File) -> Result<(u64, u64)> {
    let stat = dir.metadata().map_err(|error| Error::io("stat", "a version", error))?;
    Ok((stat.dev(), stat.ino()))
}

pub(super) fn drop(store: &DirStore, template: &TemplateName, draft: &VersionId) -> Result<Outcome> {
    // Else a publish could flip the pointer to it between our look and our rename.
    let lock = commit::lock(store, template)?;
    let mut trash = Vec::new();
    let dropped = put_away(store, template, draft, &mut trash);
    // Removing takes as long as the tree is large, and others wait for the lock.
    std::mem::drop(lock);
    trash.into_iter().for_each(|tree| tree.remove(store));
    dropped
}

/// Under the lock: renames a draft into the trash, and what is being made of it.
fn put_away(
    store: &DirStore,
    template: &TemplateName,
    draft: &VersionId,
    trash: &mut Vec<Trashed>,
) -> Result<Outcome> {
    let path = store.draft(template, draft);
    let refuse = |kind, why| Err(Error::new(kind, "drop draft", path.display().to_string(), why));
    let current = pointer::read(&store.layout, template)?;
    if current.as_ref() == Some(draft) || file::stat(&store.version(template, draft))?.is_some() {
        return refuse(ErrorKind::Exists, "it is a complete version");
    }
    let making = store.making(template, draft);
    let mut outcome = Outcome::Unchanged;
    match claim::hold(&making)? {
        Hold::Held(dir) => {
            trash.extend(trash::put_or_remove(store, &making, dir)?);
            outcome = Outcome::Changed;
        }
        Hold::Taken => return refuse(ErrorKind::Busy, "somebody makes it just now"),
        Hold::Absent => {}
    }
    match claim::hold(&path)? {
        Hold::Held(dir) => {
            if mount::is_mounted(&dir, &path)? {
                return refuse(ErrorKind::Busy, "it is mounted");
            }
            if session::references(store, template)?.contains(draft) {
                return refuse(ErrorKind::Busy, "a session tries it out");
            }
            trash.extend(trash::put_or_remove(store, &path, dir)?);
            Ok(Outcome::Changed)
        }
        Hold::Taken => refuse(ErrorKind::Busy, "somebody holds it"),
        Hold::Absent => Ok(outcome),
    }
}

//! Settle: versions go that are not current and may go. `session.rs` says why none goes under a session.

use std::path::Path;
use std::time::{Duration, SystemTime};

use super::claim::{self, Hold};
use super::trash::{self, Trashed};
use super::{DirStore, commit, mount, place, session};
use crate::store::{Error, ErrorKind, Result, Settled, TemplateName, VersionId, pointer};
use crate::sys::file;

/// A half-made draft that nobody holds is younger than this only if its maker is about to hold it.
const GRACE: Duration = Duration::from_secs(600);

pub(super) fn settle(
    store: &DirStore,
    template: &TemplateName,
    may_go: &dyn Fn(&VersionId) -> bool,
) -> Result<Settled> {
    let lock = commit::lock(store, template)?;
    let mut trash = Vec::new();
    let settled = put_away(store, template, may_go, &mut trash);
    // What nobody finds any more is removed without the lock: a commit must not wait for that.
    drop(lock);
    trash.into_iter().for_each(|tree| tree.remove(store));
    let mut settled = settled?;
    if let Err(error) = trash::empty(store) {
        settled.deferred.push(format!("the trash: {}", chain(&error)));
    }
    Ok(settled)
}

/// Under the lock: renames into the trash what goes.
fn put_away(
    store: &DirStore,
    template: &TemplateName,
    may_go: &dyn Fn(&VersionId) -> bool,
    trash: &mut Vec<Trashed>,
) -> Result<Settled> {
    let current = pointer::read(&store.layout, template)?;
    if let Some(current) = &current {
        commit::finish(store, template, current)?;
    }
    let mut settled = Settled::default();
    let stays = |version: &VersionId| !may_go(version) || current.as_ref() == Some(version);
    let folder = store.versions(template);
    for version in place::dropped(&folder)? {
        delete_or_bring_back(store, template, &version, stays(&version), &mut settled, trash)?;
    }
    for version in place::names::<VersionId>(&folder)? {
        if !stays(&version) {
            drop_version(store, template, &version, &mut settled, trash)?;
        }
    }
    drop_half_made(store, template, &mut settled, trash)?;
    Ok(settled)
}

fn drop_version(
    store: &DirStore,
    template: &TemplateName,
    version: &VersionId,
    settled: &mut Settled,
    trash: &mut Vec<Trashed>,
) -> Result<()> {
    let path = store.version(template, version);
    let Some(dir) = place::open(&path)? else { return Ok(()) };
    // A first look, so that a version with sessions is not put aside each time.
    let reason = match session::references(store, template) {
        Ok(references) if references.contains(version) => Some("a session is cloned from it".to_owned()),
        Ok(_) if mount::is_mounted(&dir, &path)? => Some("it is mounted".to_owned()),
        Ok(_) => None,
        Err(error) => Some(chain(&error)),
    };
    if let Some(reason) = reason {
        settled.deferred.push(format!("{template} {version}: {reason}"));
        return Ok(());
    }
    if let Err(error) = place::rename(&path, &store.dropped(template, version)) {
        settled.deferred.push(format!("{template} {version}: {}", chain(&error)));
        return Ok(());
    }
    delete_or_bring_back(store, template, version, false, settled, trash)
}

/// Decides on a version that has been put aside.
fn delete_or_bring_back(
    store: &DirStore,
    template: &TemplateName,
    version: &VersionId,
    wanted: bool,
    settled: &mut Settled,
    trash: &mut Vec<Trashed>,
) -> Result<()> {
    let aside = store.dropped(template, version);
    let keep = match session::references(store, template) {
        _ if wanted => Some("it is to be kept".to_owned()),
        Ok(references) if references.contains(version) => Some("a session is cloned from it".to_owned()),
        Ok(_) => None,
        Err(error) => Some(chain(&error)),
    };
    let result = match &keep {
        Some(_) => place::rename(&aside, &store.version(template, version)),
        None => delete(store, &aside).map(|tree| trash.extend(tree)),
    };
    match (result, keep) {
        (Ok(()), None) => settled.dropped.push(version.clone()),
        (Ok(()), Some(_)) if wanted => {}
        (Ok(()), Some(reason)) => settled.deferred.push(format!("{template} {version}: {reason}")),
        (Err(error), _) => settled.deferred.push(format!("{template} {version}: {}", chain(&error))),
    }
    Ok(())
}

fn delete(store: &DirStore, aside: &Path) -> Result<Option<Trashed>> {
    // Else a power cut could bring back a version that is half deleted.
    file::sync_parent(aside)?;
    match claim::hold(aside)? {
        Hold::Held(dir) => trash::put(store, aside, dir).map(Some),
        Hold::Taken => {
            let object = aside.display().to_string();
            Err(Error::new(ErrorKind::Busy, "drop", object, "somebody holds it"))
        }
        Hold::Absent => Ok(None),
    }
}

/// Drops what a crash left of drafts that were being made.
fn drop_half_made(
    store: &DirStore,
    template: &TemplateName,
    settled: &mut Settled,
    trash: &mut Vec<Trashed>,
) -> Result<()> {
    for draft in place::making(&store.drafts(template))? {
        let path = store.making(template, &draft);
        let old = file::stat(&path)?
            .and_then(|stat| stat.modified().ok())
            .and_then(|made| SystemTime::now().duration_since(made).ok())
            .is_some_and(|age| age > GRACE);
        if !old {
            continue;
        }
        let Hold::Held(dir) = claim::hold(&path)? else { continue };
        match trash::put_or_remove(store, &path, dir) {
            Ok(tree) => trash.extend(tree),
            Err(error) => {
                settled.deferred.push(format!("{template} {draft} (half made): {}", chain(&error)));
            }
        }
    }
    Ok(())
}

fn chain(error: &Error) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

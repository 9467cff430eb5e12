//! Datasets that are not the store's, used where they lie: for a session a snapshot and a clone of one, or the dataset
//! itself.
//!
//! As with trials the snapshot is destroyed, deferred, as soon as something is cloned from it: then it goes with its
//! clone, whoever destroys that. Everything is done by names, so that each step can be repeated by who knows them; a clone
//! is taken away only while it is one of its snapshot, since one that was promoted has other people's snapshots.

use std::io;
use std::path::Path;

use rustix::mount::MountFlags;

use super::engine::{self, Engine, Property};
use super::{PATIENCE, setup};
use crate::store::{Error, ErrorKind, Result};

const CLONE: &str = include_str!("programs/clone.lua");
/// Nothing mounts it but us, and nobody takes snapshots of it: what `zchroot init` sets on the store.
const ALONE: [(&str, Property); 3] = [
    ("mountpoint", Property::Text("none")),
    ("canmount", Property::Number(2)),
    ("com.sun:auto-snapshot", Property::Text("false")),
];

/// What a session has of a dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pair {
    /// Of the dataset.
    pub(crate) snapshot: String,
    /// Of the snapshot.
    pub(crate) clone: String,
    /// The clone inherits what the store's sessions do.
    pub(crate) is_in_store: bool,
}

/// Refuses a dataset that is not there, and names that are taken.
///
/// # Errors
/// It is so, or the pool cannot be asked.
pub(crate) fn check(dataset: &str, pair: Option<&Pair>) -> Result<()> {
    let engine = open(dataset)?;
    let refuse = |kind, op, name: &str, why: &str| Err(Error::new(kind, op, name, why));
    if dataset.contains('@') || !engine.exists(dataset) {
        return refuse(ErrorKind::Gone, "use", dataset, "there is no such dataset");
    }
    let Some(pair) = pair else { return Ok(()) };
    for (op, name) in [("snapshot", &pair.snapshot), ("clone", &pair.clone)] {
        if engine.exists(name) {
            return refuse(ErrorKind::Exists, op, name, "it is there already, and not this session's");
        }
    }
    match pair.clone.rsplit_once('/') {
        Some((parent, _)) if !engine.exists(parent) => {
            refuse(ErrorKind::Other, "clone", &pair.clone, &format!("there is no dataset {parent}"))
        }
        _ => Ok(()),
    }
}

/// Takes the snapshot, with user properties, and clones it.
///
/// # Errors
/// The pool refused. What was made stays, for [`discard`].
pub(crate) fn make(dataset: &str, pair: &Pair, properties: &[(String, String)]) -> Result<()> {
    let engine = open(dataset)?;
    let Pair { snapshot, clone, is_in_store } = pair;
    engine.snapshot_with(snapshot, properties).map_err(|error| Error::io("snapshot", snapshot, error))?;
    let more: &[_] = if *is_in_store { &[] } else { &ALONE };
    engine.clone_with(snapshot, clone, more).map_err(|error| Error::io("clone", snapshot, error))?;
    let_go(&engine, snapshot)
}

/// Mounts a dataset, whatever its mount point is said to be.
///
/// # Errors
/// It is not there, or the kernel refused.
pub(crate) fn mount(dataset: &str, at: &Path, flags: MountFlags) -> Result<()> {
    open(dataset)?;
    setup::mount_zfs(dataset, at, flags).map_err(|error| Error::io("mount", dataset, error))
}

/// Destroys both, each whatever becomes of the other. What is not there is destroyed.
///
/// # Errors
/// The pool cannot be asked, or one of them would not go.
pub(crate) fn discard(dataset: &str, pair: &Pair) -> Result<()> {
    let engine = open(dataset)?;
    let cloned = discard_clone(&engine, pair);
    // One that is not imported any more, or that was renamed, has it no more under this name; deferred it goes by itself.
    let snapped = let_go(&engine, &pair.snapshot);
    cloned.and(snapped)
}

fn discard_clone(engine: &Engine, pair: &Pair) -> Result<()> {
    let clone = &pair.clone;
    let text = engine.read(clone, CLONE, &[("d", clone)])?;
    let mut lines = text.lines();
    let Some(origin) = lines.next() else { return Ok(()) };
    let own = pair.snapshot.split_once('@').map(|(_, name)| name);
    if origin.split_once('@').map(|(_, name)| name) != own {
        let why = format!("it is no clone of {} any more", pair.snapshot);
        return Err(Error::new(ErrorKind::Other, "destroy", clone, why));
    }
    // Whoever takes snapshots of all there is took them of a session.
    for snapshot in lines {
        let_go(engine, snapshot)?;
    }
    engine.destroy_patiently(clone, PATIENCE).map(drop)
}

fn let_go(engine: &Engine, snapshot: &str) -> Result<()> {
    match engine.destroy_snapshot_later(snapshot) {
        // The dataset itself is gone, and it with that.
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        other => other.map_err(|error| Error::io("destroy", snapshot, error)),
    }
}

/// The pool of a dataset, if it is there: in one that is not imported nothing can be found gone.
fn open(dataset: &str) -> Result<Engine> {
    let pool = dataset.split_once('/').map_or(dataset, |(pool, _)| pool);
    let engine = Engine::open(pool)?;
    if engine.exists(pool) {
        return Ok(engine);
    }
    Err(Error::io("use", dataset, io::Error::other(engine::no_pool(pool))))
}

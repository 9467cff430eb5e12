//! A dataset of ZFS: cloned for each session, or mounted itself for who changes it.
//!
//! What it takes is asked of the pool by [`zfs::outside`](crate::zfs), which works by names; here are the names. They
//! follow from the session's, so that whoever has its record knows them.

use std::path::Path;

use rustix::mount::MountFlags;
use serde::{Deserialize, Serialize};

#[cfg(feature = "zfs")]
use crate::zfs::outside as pool;
#[cfg(not(feature = "zfs"))]
use without as pool;

use super::device;
use crate::store::{Error, ErrorKind, Result, SessionId};

/// What of a dataset is a session's begins with this.
const MARK: &str = "zchroot-";

/// Where clones lie.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Clones {
    /// Among the sessions of a store on the same pool: the dataset that has them.
    In(String),
    /// In another pool: beside the dataset that they are of, for what is in it would hinder its renaming, and go
    /// wherever it is sent.
    Beside,
}

/// The names of what a session has of a dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// The snapshot.
    pub snapshot: String,
    /// The clone.
    pub clone: String,
}

pub(super) fn names(dataset: &str, clones: &Clones, session: &SessionId) -> Names {
    let clone = match clones {
        Clones::In(parent) => format!("{parent}/{session}"),
        Clones::Beside => {
            let parent = dataset.rsplit_once('/').map_or(dataset, |(parent, _)| parent);
            format!("{parent}/{MARK}{session}")
        }
    };
    Names { snapshot: format!("{dataset}@{MARK}{session}"), clone }
}

fn pair(dataset: &str, clones: &Clones, session: &SessionId) -> pool::Pair {
    let Names { snapshot, clone } = names(dataset, clones, session);
    pool::Pair { snapshot, clone, is_in_store: matches!(clones, Clones::In(_)) }
}

/// Refuses what cannot be had, before anything is made.
pub(super) fn check(
    dataset: &str,
    clones: Option<&Clones>,
    options: &[String],
    session: &SessionId,
) -> Result<()> {
    flags(dataset, options)?;
    pool::check(dataset, clones.map(|clones| pair(dataset, clones, session)).as_ref())
}

/// Makes a session's clone.
pub(super) fn make(
    dataset: &str,
    clones: &Clones,
    properties: &[(String, String)],
    session: &SessionId,
) -> Result<()> {
    pool::make(dataset, &pair(dataset, clones, session), properties)
}

/// Mounts a session's clone, or the dataset itself.
pub(super) fn mount(
    dataset: &str,
    clones: Option<&Clones>,
    options: &[String],
    session: &SessionId,
    at: &Path,
) -> Result<()> {
    let flags = flags(dataset, options)?;
    match clones {
        Some(clones) => pool::mount(&names(dataset, clones, session).clone, at, flags),
        None => pool::mount(dataset, at, flags),
    }
}

/// Destroys what was made for a session.
pub(super) fn discard(dataset: &str, clones: &Clones, session: &SessionId) -> Result<()> {
    pool::discard(dataset, &pair(dataset, clones, session))
}

/// Destroys what another program made for a session.
pub(super) fn discard_named(snapshot: &str, clone: &str) -> Result<()> {
    let dataset = snapshot.split_once('@').map_or(snapshot, |(dataset, _)| dataset);
    let (snapshot, clone) = (snapshot.to_owned(), clone.to_owned());
    pool::discard(dataset, &pool::Pair { snapshot, clone, is_in_store: false })
}

/// The words of `mount-options`, which are for mount(8), as flags for mount(2).
fn flags(dataset: &str, options: &[String]) -> Result<MountFlags> {
    let mut flags = MountFlags::empty();
    for word in device::words(options) {
        let (flag, is_set) = match word.as_str() {
            "" | "defaults" | "zfsutil" => continue,
            "ro" | "-r" | "--read-only" => (MountFlags::RDONLY, true),
            "rw" | "-w" | "--rw" | "--read-write" => (MountFlags::RDONLY, false),
            "nosuid" => (MountFlags::NOSUID, true),
            "suid" => (MountFlags::NOSUID, false),
            "nodev" => (MountFlags::NODEV, true),
            "dev" => (MountFlags::NODEV, false),
            "noexec" => (MountFlags::NOEXEC, true),
            "exec" => (MountFlags::NOEXEC, false),
            "noatime" => (MountFlags::NOATIME, true),
            "atime" => (MountFlags::NOATIME, false),
            "nodiratime" => (MountFlags::NODIRATIME, true),
            "diratime" => (MountFlags::NODIRATIME, false),
            "relatime" => (MountFlags::RELATIME, true),
            "norelatime" => (MountFlags::RELATIME, false),
            "strictatime" => (MountFlags::STRICTATIME, true),
            "sync" => (MountFlags::SYNCHRONOUS, true),
            "async" => (MountFlags::SYNCHRONOUS, false),
            other => {
                let why = format!("mount-options: ‘{other}’ is not supported for a dataset");
                return Err(Error::new(ErrorKind::Unsupported, "mount", dataset, why));
            }
        };
        flags.set(flag, is_set);
    }
    Ok(flags)
}

/// What stands in for the pool where this program was built without it.
#[cfg(not(feature = "zfs"))]
mod without {
    use std::path::Path;

    use rustix::mount::MountFlags;

    use crate::store::{Error, ErrorKind, Result};

    pub(super) struct Pair {
        pub(super) snapshot: String,
        pub(super) clone: String,
        pub(super) is_in_store: bool,
    }

    fn refuse(dataset: &str) -> Result<()> {
        Err(Error::new(ErrorKind::Unsupported, "use", dataset, "this zchroot was built without ZFS"))
    }

    pub(super) fn check(dataset: &str, _: Option<&Pair>) -> Result<()> {
        refuse(dataset)
    }

    pub(super) fn make(dataset: &str, _: &Pair, _: &[(String, String)]) -> Result<()> {
        refuse(dataset)
    }

    pub(super) fn mount(dataset: &str, _: &Path, _: MountFlags) -> Result<()> {
        refuse(dataset)
    }

    pub(super) fn discard(dataset: &str, pair: &Pair) -> Result<()> {
        tracing::debug!(pair.snapshot, pair.clone, pair.is_in_store, "cannot be destroyed");
        refuse(dataset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clone_lies_among_the_stores_sessions_or_beside_its_dataset_and_never_in_it() {
        let id: SessionId = "s1".parse().unwrap();
        let of = |dataset: &str, clones: &Clones| {
            let Names { snapshot, clone } = names(dataset, clones, &id);
            (snapshot, clone)
        };
        let named = |snapshot: &str, clone: &str| (snapshot.to_owned(), clone.to_owned());
        let store = Clones::In("tank/zchroot/sessions".to_owned());
        assert_eq!(of("tank/sid", &store), named("tank/sid@zchroot-s1", "tank/zchroot/sessions/s1"));
        let beside = Clones::Beside;
        assert_eq!(of("rpool/C/sid", &beside), named("rpool/C/sid@zchroot-s1", "rpool/C/zchroot-s1"));
        // A pool has nothing beside it.
        assert_eq!(of("rpool", &beside), named("rpool@zchroot-s1", "rpool/zchroot-s1"));
    }

    #[test]
    fn words_for_mount_are_flags_or_are_refused() {
        let of = |text: &str| {
            let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
            flags("tank/sid", &words)
        };
        assert_eq!(of("").unwrap(), MountFlags::empty());
        assert_eq!(of("-o noatime").unwrap(), MountFlags::NOATIME);
        assert_eq!(of("-onoatime,ro,nosuid,rw").unwrap(), MountFlags::NOATIME | MountFlags::NOSUID);
        assert_eq!(of("--options=nodev --options noexec -r").unwrap().bits(), {
            (MountFlags::NODEV | MountFlags::NOEXEC | MountFlags::RDONLY).bits()
        });
        for bad in ["-o context=x", "-v", "uid=0"] {
            let error = of(bad).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(crate::sys::chain(&error).contains("is not supported for a dataset"), "{error}");
        }
    }
}

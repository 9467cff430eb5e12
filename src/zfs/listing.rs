//! What the reading programs return, decoded. Pure: no pool is touched here.
//!
//! Where a version lives: published, it is the snapshot `VID@VID`; once a successor was promoted, the
//! successor's head has it, `NEXT@VID`. So a snapshot named VID under any head of the template *is* the
//! version VID, if something is known of such a version; an administrator's own snapshot is none. One whose destruction is deferred (`leaving`) only lives for its sessions: it is no version
//! that can be asked for any more, but its head, if it still stands, is no draft either.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use crate::store::{Head, ImageTree, VersionId};

/// A text that no program of ours returns.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the channel program returned {0:?}")]
pub(super) struct Malformed(String);

/// A dataset right under a template's container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HeadLine {
    pub(super) id: VersionId,
    pub(super) created: SystemTime,
    /// The snapshot that it is a clone of.
    pub(super) origin: Option<String>,
}

/// A snapshot of a head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SnapLine {
    pub(super) head: VersionId,
    pub(super) name: String,
    pub(super) created: SystemTime,
    /// Destroyed as soon as its last clone is.
    pub(super) leaving: bool,
}

/// One template, read at one instant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Listing {
    pub(super) current: Option<VersionId>,
    pub(super) heads: Vec<HeadLine>,
    pub(super) snapshots: Vec<SnapLine>,
    /// Snapshots of somebody else's: they are no versions, and not ours to touch.
    pub(super) foreign: Vec<SnapLine>,
}

impl Listing {
    /// Decodes what `heads.lua` returns. Datasets with names that are none of ours are left out.
    pub(super) fn decode(text: &str) -> Result<Self, Malformed> {
        let mut listing = Self::default();
        for line in text.lines() {
            listing.add(line).ok_or_else(|| Malformed(line.to_owned()))?;
        }
        Ok(listing)
    }

    fn add(&mut self, line: &str) -> Option<()> {
        let fields: Vec<&str> = line.split('\t').collect();
        match *fields.as_slice() {
            ["container"] => {}
            ["current", version] => self.current = Some(version.parse().ok()?),
            ["head", name, created, origin] => {
                let created = time(created)?;
                let origin = (origin != "-").then(|| origin.to_owned());
                if let Ok(id) = name.parse() {
                    self.heads.push(HeadLine { id, created, origin });
                }
            }
            ["snapshot", name, created, leaving] => {
                let (created, leaving) = (time(created)?, flag(leaving)?);
                let (head, name) = name.split_once('@')?;
                if let Ok(head) = head.parse() {
                    let snap = SnapLine { head, name: name.to_owned(), created, leaving };
                    let is_name = snap.name.parse::<VersionId>().is_ok();
                    if is_name { &mut self.snapshots } else { &mut self.foreign }.push(snap);
                }
            }
            _ => return None,
        }
        Some(())
    }

    /// Tells versions from what somebody else took a snapshot for, whatever he called it: of each version something
    /// is known, from before its commit on.
    pub(super) fn set_aside(&mut self, is_known: impl Fn(&str) -> bool) {
        let current = self.current.clone();
        let is_ours = |snap: &SnapLine| {
            current.as_ref().is_some_and(|current| snap.name == current.as_str()) || is_known(&snap.name)
        };
        let (ours, foreign): (Vec<_>, Vec<_>) = self.snapshots.drain(..).partition(is_ours);
        self.snapshots = ours;
        self.foreign.extend(foreign);
    }

    /// A snapshot of somebody else's that a head has.
    pub(super) fn foreign_of(&self, head: &VersionId) -> Option<&SnapLine> {
        self.foreign.iter().find(|snap| snap.head == *head)
    }

    pub(super) fn head(&self, id: &VersionId) -> Option<&HeadLine> {
        self.heads.iter().find(|head| head.id == *id)
    }

    /// Where a version lives now; the current head is the likeliest place.
    pub(super) fn place(&self, version: &VersionId) -> Option<&SnapLine> {
        let lives = |snap: &&SnapLine| snap.name == version.as_str() && !snap.leaving;
        let at_current = |snap: &&SnapLine| self.current.as_ref() == Some(&snap.head);
        self.snapshots.iter().filter(at_current).find(lives).or_else(|| self.snapshots.iter().find(lives))
    }

    /// Whether a version of that name is or was: its snapshot stands somewhere, if only for its sessions.
    pub(super) fn is_taken(&self, version: &VersionId) -> bool {
        self.snapshots.iter().any(|snap| snap.name == version.as_str())
    }

    /// The snapshots that a head has itself.
    pub(super) fn own<'a>(&'a self, head: &'a VersionId) -> impl Iterator<Item = &'a SnapLine> {
        self.snapshots.iter().filter(move |snap| snap.head == *head)
    }

    /// The versions and the drafts, sorted by name.
    pub(super) fn to_heads(&self) -> Vec<Head> {
        let versions = self.snapshots.iter().filter(|snap| !snap.leaving).filter_map(|snap| {
            let id = snap.name.parse().ok()?;
            Some(Head { id, complete: true, created: snap.created })
        });
        let drafts = self.heads.iter().filter(|head| !self.is_taken(&head.id)).map(|head| Head {
            id: head.id.clone(),
            complete: false,
            created: head.created,
        });
        let mut heads: Vec<Head> = versions.chain(drafts).collect();
        heads.sort_by(|a, b| a.id.cmp(&b.id));
        heads.dedup_by(|a, b| a.id == b.id);
        heads
    }

    /// All versions that are or only live for their sessions.
    pub(super) fn versions(&self) -> BTreeSet<VersionId> {
        self.snapshots.iter().filter_map(|snap| snap.name.parse().ok()).collect()
    }

    /// The snapshots that settling destroys, `HEAD@VID`: of versions that are not current and may go, and whose own
    /// heads are gone.
    pub(super) fn superseded(&self, may_go: &dyn Fn(&VersionId) -> bool) -> Vec<String> {
        let stays =
            |id: &VersionId| self.current.as_ref() == Some(id) || self.head(id).is_some() || !may_go(id);
        let goes = |snap: &&SnapLine| !snap.leaving && snap.name.parse().is_ok_and(|id| !stays(&id));
        let snapshots = self.snapshots.iter().filter(goes);
        snapshots.map(|snap| format!("{}@{}", snap.head, snap.name)).collect()
    }

    /// The former heads that have no snapshot but their own, and whose version may go.
    pub(super) fn retirable(&self, may_go: &dyn Fn(&VersionId) -> bool) -> Vec<VersionId> {
        let alone = |id: &VersionId| {
            let mut own = self.own(id);
            let first = own.next().is_some_and(|snap| snap.name == id.as_str());
            first && own.next().is_none() && self.foreign_of(id).is_none()
        };
        let goes = |id: &&VersionId| self.current.as_ref() != Some(*id) && may_go(id) && alone(id);
        self.heads.iter().map(|head| &head.id).filter(goes).cloned().collect()
    }
}

/// The datasets right under one, with the time that each was made; `None` if there is no such dataset.
pub(super) fn children(text: &str) -> Result<Option<Vec<(&str, SystemTime)>>, Malformed> {
    let mut lines = text.lines();
    match lines.next() {
        None => return Ok(None),
        Some("container") => {}
        Some(other) => return Err(Malformed(other.to_owned())),
    }
    lines
        .map(|line| child(line).ok_or_else(|| Malformed(line.to_owned())))
        .collect::<Result<_, _>>()
        .map(Some)
}

fn child(line: &str) -> Option<(&str, SystemTime)> {
    let (name, created) = line.split_once('\t')?;
    Some((name, time(created)?))
}

/// The images as `images.lua` lists them; what has no name of an image is none of ours.
pub(super) fn images(text: &str) -> Result<Vec<ImageTree>, Malformed> {
    let lines = text.lines().skip(1);
    let named = lines.map(|line| image(line).ok_or_else(|| Malformed(line.to_owned())));
    Ok(named.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
}

fn image(line: &str) -> Option<Option<ImageTree>> {
    let fields: Vec<&str> = line.split('\t').collect();
    let [name, created, complete, clones] = *fields.as_slice() else { return None };
    let (created, complete, clones) = (time(created)?, flag(complete)?, clones.parse().ok()?);
    Some(name.parse().ok().map(|digest| ImageTree { digest, complete, created, clones }))
}

/// What a dataset or snapshot takes and may take, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Room {
    pub(super) used: u64,
    pub(super) referenced: u64,
    pub(super) available: u64,
}

impl Room {
    /// Decodes what `room.lua` returns; `None` if there is no such dataset.
    pub(super) fn decode(text: &str) -> Result<Option<Self>, Malformed> {
        if text.is_empty() {
            return Ok(None);
        }
        let numbers: Vec<Option<u64>> = text.split('\t').map(|field| field.parse().ok()).collect();
        match *numbers.as_slice() {
            [Some(used), Some(referenced), Some(available)] => Ok(Some(Self { used, referenced, available })),
            _ => Err(Malformed(text.to_owned())),
        }
    }
}

/// How far a dataset of the layout is made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Laid {
    /// Children and snapshots.
    pub(super) children: u64,
    /// The value of the property that was asked for, if it is set on the dataset itself.
    pub(super) own: Option<String>,
}

impl Laid {
    /// Decodes what `laid.lua` returns; `None` if there is no such dataset.
    pub(super) fn decode(text: &str) -> Result<Option<Self>, Malformed> {
        if text.is_empty() {
            return Ok(None);
        }
        let mut laid = Self::default();
        for line in text.lines() {
            match line.split_once('\t') {
                Some(("children", count)) => {
                    laid.children = count.parse().map_err(|_| Malformed(line.to_owned()))?;
                }
                Some(("own", value)) => laid.own = Some(value.to_owned()),
                _ => return Err(Malformed(line.to_owned())),
            }
        }
        Ok(Some(laid))
    }
}

/// What `publish.lua` says happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    Committed,
    Conflict(Option<VersionId>),
    NoDraft,
    /// The step that refused, and its errno.
    Refused(String, i32),
}

impl Verdict {
    pub(super) fn decode(text: &str) -> Result<Self, Malformed> {
        let malformed = || Malformed(text.to_owned());
        let fields: Vec<&str> = text.split(' ').collect();
        match *fields.as_slice() {
            ["ok"] => Ok(Self::Committed),
            ["gone"] => Ok(Self::NoDraft),
            ["conflict", ""] => Ok(Self::Conflict(None)),
            ["conflict", version] => version.parse().map(Some).map(Self::Conflict).map_err(|_| malformed()),
            ["err", step, errno] => {
                errno.parse().map(|errno| Self::Refused(step.to_owned(), errno)).map_err(|_| malformed())
            }
            _ => Err(malformed()),
        }
    }
}

/// The current version as `current.lua` returns it.
pub(super) fn current(text: &str) -> Result<Option<VersionId>, Malformed> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| Malformed(text.to_owned()))
}

fn time(seconds: &str) -> Option<SystemTime> {
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds.parse().ok()?))
}

fn flag(text: &str) -> Option<bool> {
    match text {
        "on" => Some(true),
        "off" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
#[path = "listing_tests.rs"]
mod tests;

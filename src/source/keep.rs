//! Which versions stay, and why: one pure function, which settle, gc and history ask.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::Timestamp;
use serde::Serialize;

use super::pin::Pin;
use super::{Error, Sources, Version};
use crate::session::record::Records;
use crate::store::{SessionId, TemplateName, VersionId};
use crate::template::{Period, Template};

/// How much a template keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// So many versions before the current one.
    pub versions: usize,
    /// And all that are younger.
    pub younger: Option<Period>,
}

impl Keep {
    /// Everything: of a template whose definition cannot be read.
    pub const ALL: Self = Self { versions: usize::MAX, younger: None };

    /// What a template's definition says.
    #[must_use]
    pub fn of(template: &Template) -> Self {
        Self { versions: template.keep.get() as usize, younger: template.keep_for }
    }
}

impl From<usize> for Keep {
    /// So many before the current one, of whatever age.
    fn from(versions: usize) -> Self {
        Self { versions, younger: None }
    }
}

/// Why a version stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Reason {
    /// New sessions are cloned from it.
    Current,
    /// Somebody wants it to stay.
    Pinned {
        /// Who.
        by: String,
        /// What for.
        why: Option<String>,
    },
    /// Sessions are cloned from it, or a source session is based on it.
    Sessions {
        /// How many.
        count: usize,
    },
    /// It is among the newest.
    WithinKeep {
        /// How many are kept before the current one.
        keep: usize,
    },
    /// It is younger than what is kept by age.
    WithinKeepFor {
        /// How long one is kept.
        period: Period,
    },
    /// It was committed after we looked what is current.
    New,
    /// Its tree is there, but the file that says what it is is not: nothing can be decided.
    Unknown,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Current => f.write_str("current"),
            Self::Pinned { by, why: None } => write!(f, "pinned by {by}"),
            Self::Pinned { by, why: Some(why) } => write!(f, "pinned by {by} ({why})"),
            Self::Sessions { count: 1 } => f.write_str("1 session"),
            Self::Sessions { count } => write!(f, "{count} sessions"),
            Self::WithinKeep { keep: usize::MAX } => f.write_str("all are kept"),
            Self::WithinKeep { keep } => write!(f, "within keep = {keep}"),
            Self::WithinKeepFor { period } => write!(f, "within keep-for = {period}"),
            Self::New => f.write_str("just committed"),
            Self::Unknown => f.write_str("its file is missing"),
        }
    }
}

/// What becomes of a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It stays, for these reasons: at least one.
    Keep(Vec<Reason>),
    /// Nothing keeps it.
    Drop,
    /// Its tree went already, and nothing keeps what a crash may have left of it.
    Gone,
}

/// What decides on a template's versions.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Those whose trees are there.
    pub complete: BTreeSet<VersionId>,
    /// The one that new sessions are cloned from.
    pub current: Option<VersionId>,
    /// What is known of them, and perhaps of others, by generation, oldest first.
    pub versions: Vec<Version>,
    /// Which are to stay whatever else is said.
    pub pins: BTreeMap<VersionId, Pin>,
    /// The sessions on each.
    pub sessions: BTreeMap<VersionId, Vec<SessionId>>,
}

/// What becomes of each version of which something is known, or whose tree is there, at the time `now`.
#[must_use]
pub fn fates(facts: &Facts, keep: Keep, now: Timestamp) -> BTreeMap<VersionId, Fate> {
    let current = facts.versions.iter().find(|version| facts.current.as_ref() == Some(&version.id));
    let latest = current.map_or(0, |version| version.generation);
    let settled = facts.versions.iter().rev().filter(|version| version.generation <= latest);
    let newest = settled.filter(|version| facts.complete.contains(&version.id));
    let newest: BTreeSet<&VersionId> =
        newest.take(keep.versions.saturating_add(1)).map(|version| &version.id).collect();
    let judge = |id: &VersionId, version: Option<&Version>| {
        let mut reasons = facts.asked_for(id);
        match version {
            None => reasons.push(Reason::Unknown),
            // A draft, or committed since we looked, however many commits there were.
            Some(version) if version.generation > latest => reasons.push(Reason::New),
            Some(version) => {
                if newest.contains(id) && facts.current.as_ref() != Some(id) {
                    reasons.push(Reason::WithinKeep { keep: keep.versions });
                }
                // A clock that went back makes a version look young: it stays.
                let young = |period: &Period| now.duration_since(version.created) < signed(*period);
                let young = keep.younger.filter(young).filter(|_| facts.complete.contains(id));
                reasons.extend(young.map(|period| Reason::WithinKeepFor { period }));
            }
        }
        match (reasons.is_empty(), facts.complete.contains(id)) {
            (false, _) => Fate::Keep(reasons),
            (true, true) => Fate::Drop,
            (true, false) => Fate::Gone,
        }
    };
    let known: BTreeMap<&VersionId, &Version> =
        facts.versions.iter().map(|version| (&version.id, version)).collect();
    let all = known.keys().copied().chain(&facts.complete);
    all.map(|id| (id.clone(), judge(id, known.get(id).copied()))).collect()
}

impl Facts {
    /// The reasons that are somebody's, not the template's.
    fn asked_for(&self, id: &VersionId) -> Vec<Reason> {
        let mut reasons = Vec::new();
        if self.current.as_ref() == Some(id) {
            reasons.push(Reason::Current);
        }
        if let Some(pin) = self.pins.get(id) {
            reasons.push(Reason::Pinned { by: pin.by.name.clone(), why: pin.why.clone() });
        }
        if let Some(sessions) = self.sessions.get(id).filter(|sessions| !sessions.is_empty()) {
            reasons.push(Reason::Sessions { count: sessions.len() });
        }
        reasons
    }
}

/// A period longer than the clock can count is for ever.
fn signed(period: Period) -> jiff::SignedDuration {
    jiff::SignedDuration::try_from(period.duration()).unwrap_or(jiff::SignedDuration::MAX)
}

impl Sources<'_> {
    /// What becomes of each version of a template, as [`fates`] says.
    ///
    /// # Errors
    /// A record, a pin, a version's file or the store cannot be read: then nothing may go.
    pub fn fates(&self, template: &TemplateName, keep: Keep) -> Result<BTreeMap<VersionId, Fate>, Error> {
        Ok(fates(&self.facts(template)?, keep, Timestamp::now()))
    }

    fn facts(&self, template: &TemplateName) -> Result<Facts, Error> {
        // What is current first: whatever is committed after it is newer, and stays, also if the trees that we see
        // next are from before. The records last: who begins and is not recorded yet finds his version gone, if it
        // goes, and reads the pointer again.
        let current = self.store().current(template)?;
        let heads = self.store().heads(template)?;
        let complete = heads.into_iter().filter(|head| head.complete).map(|head| head.id).collect();
        let versions = Version::all(self.layout(), template)?;
        let pins = Pin::all(self.layout(), template)?;
        let all = Records::new(self.layout()).all()?;
        if let Some((_, error)) = all.damaged.into_iter().next() {
            // What it is based on cannot be known: keep everything rather than guess.
            return Err(error.into());
        }
        let mut sessions: BTreeMap<VersionId, Vec<SessionId>> = BTreeMap::new();
        for record in all.records.into_iter().filter(|record| &record.template == template) {
            // Its draft too: it may be committed by now without that having been finished.
            for version in [record.base, record.draft].into_iter().flatten() {
                sessions.entry(version).or_default().push(record.id.clone());
            }
        }
        Ok(Facts { complete, current, versions, pins, sessions })
    }
}

#[cfg(test)]
mod tests;

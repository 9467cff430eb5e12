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
            Self::WithinKeep { keep } => write!(f, "within keep = {keep}"),
            Self::WithinKeepFor { period } => write!(f, "within keep-for = {period}"),
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

/// What becomes of each complete version at the time `now`.
#[must_use]
pub fn fates(facts: &Facts, keep: Keep, now: Timestamp) -> BTreeMap<VersionId, Fate> {
    let known: Vec<&Version> =
        facts.versions.iter().rev().filter(|version| facts.complete.contains(&version.id)).collect();
    let newest: BTreeSet<&VersionId> =
        known.iter().take(keep.versions.saturating_add(1)).map(|version| &version.id).collect();
    let fate = |id: &VersionId| {
        let mut reasons = Vec::new();
        if facts.current.as_ref() == Some(id) {
            reasons.push(Reason::Current);
        }
        if let Some(pin) = facts.pins.get(id) {
            reasons.push(Reason::Pinned { by: pin.by.name.clone(), why: pin.why.clone() });
        }
        if let Some(sessions) = facts.sessions.get(id).filter(|sessions| !sessions.is_empty()) {
            reasons.push(Reason::Sessions { count: sessions.len() });
        }
        match known.iter().find(|version| &version.id == id) {
            None => reasons.push(Reason::Unknown),
            Some(version) => {
                if facts.current.as_ref() != Some(id) && newest.contains(id) {
                    reasons.push(Reason::WithinKeep { keep: keep.versions });
                }
                // A clock that went back makes a version look young: it stays.
                let young = |period: &Period| now.duration_since(version.created) < signed(*period);
                reasons.extend(keep.younger.filter(young).map(|period| Reason::WithinKeepFor { period }));
            }
        }
        if reasons.is_empty() { Fate::Drop } else { Fate::Keep(reasons) }
    };
    facts.complete.iter().map(|id| (id.clone(), fate(id))).collect()
}

/// A period longer than the clock can count is for ever.
fn signed(period: Period) -> jiff::SignedDuration {
    jiff::SignedDuration::try_from(period.duration()).unwrap_or(jiff::SignedDuration::MAX)
}

impl Sources<'_> {
    /// What becomes of each version of a template whose tree is there.
    ///
    /// # Errors
    /// A record, a pin, a version's file or the store cannot be read: then nothing may go.
    pub fn fates(&self, template: &TemplateName, keep: Keep) -> Result<BTreeMap<VersionId, Fate>, Error> {
        Ok(fates(&self.facts(template)?, keep, Timestamp::now()))
    }

    fn facts(&self, template: &TemplateName) -> Result<Facts, Error> {
        // The trees first: what is committed or begun after this is not judged.
        let heads = self.store().heads(template)?;
        let complete = heads.into_iter().filter(|head| head.complete).map(|head| head.id).collect();
        let all = Records::new(self.layout()).all()?;
        if let Some((_, error)) = all.damaged.into_iter().next() {
            // What it is based on cannot be known: keep everything rather than guess.
            return Err(error.into());
        }
        let mut sessions: BTreeMap<VersionId, Vec<SessionId>> = BTreeMap::new();
        for record in all.records.into_iter().filter(|record| &record.template == template) {
            if let Some(base) = record.base {
                sessions.entry(base).or_default().push(record.id);
            }
        }
        Ok(Facts {
            complete,
            versions: Version::all(self.layout(), template)?,
            pins: Pin::all(self.layout(), template)?,
            sessions,
            current: self.store().current(template)?,
        })
    }
}

#[cfg(test)]
mod tests;

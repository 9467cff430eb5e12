//! The history of a template.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Error, NoMatch, Sources, Version, VersionSpec};
use crate::session::record::Records;
use crate::store::{SessionId, TemplateName, VersionId};

/// Whether a version can still be begun from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TreeState {
    /// New sessions are cloned from it.
    Current,
    /// Kept: `--at` begins from it.
    Kept,
    /// Its tree is reclaimed; only what is known of it is left.
    Gone,
}

/// One line of a history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// What is known of the version.
    #[serde(flatten)]
    pub version: Version,
    /// Whether its tree is there.
    pub tree: TreeState,
    /// Bytes that it holds more (or less) than the version it was made from, if both sizes are known.
    pub delta: Option<i64>,
    /// The sessions that are cloned from it.
    pub sessions: Vec<SessionId>,
}

impl Sources<'_> {
    /// What is known of the current version; `None` if there is none, or nothing is known of it.
    ///
    /// # Errors
    /// The store or the version's file cannot be read.
    pub fn current_version(&self, template: &TemplateName) -> Result<Option<Version>, Error> {
        match self.store().current(template)? {
            Some(id) => Ok(Version::load(self.layout(), template, &id)?),
            None => Ok(None),
        }
    }

    /// The version that is meant, whose tree is there.
    ///
    /// # Errors
    /// The template has no such version, or the store or the records cannot be read.
    pub fn resolve(&self, template: &TemplateName, spec: &VersionSpec) -> Result<VersionId, Error> {
        let history = self.history(template)?;
        if history.is_empty() {
            return Err(Error::NoVersion(template.clone()));
        }
        match spec.find(&history) {
            Ok(entry) => Ok(entry.version.id.clone()),
            Err(why) => {
                let there = history.iter().filter(|entry| entry.tree != TreeState::Gone);
                let there = there.map(|entry| entry.version.generation).collect();
                let (template, spec) = (template.clone(), spec.clone());
                Err(Error::NoMatch(Box::new(NoMatch { template, spec, why, there })))
            }
        }
    }

    /// The committed versions of a template, newest first.
    ///
    /// # Errors
    /// The store or the records cannot be read.
    pub fn history(&self, template: &TemplateName) -> Result<Vec<Entry>, Error> {
        let current = self.store().current(template)?;
        let trees: BTreeMap<VersionId, bool> =
            self.store().heads(template)?.into_iter().map(|head| (head.id, head.complete)).collect();
        let records = Records::new(self.layout()).all()?.records;
        let versions = Version::all(self.layout(), template)?;
        let sizes: BTreeMap<VersionId, u64> =
            versions.iter().map(|version| (version.id.clone(), version.size)).collect();
        let mut entries = Vec::new();
        for version in versions.into_iter().rev() {
            let tree = match trees.get(&version.id) {
                _ if current.as_ref() == Some(&version.id) => TreeState::Current,
                Some(true) => TreeState::Kept,
                // A draft: its file was written, its commit did not come.
                Some(false) => continue,
                None => TreeState::Gone,
            };
            let sessions = records
                .iter()
                .filter(|record| &record.template == template && record.base.as_ref() == Some(&version.id))
                .map(|record| record.id.clone())
                .collect();
            let before = version.parent.as_ref().and_then(|parent| sizes.get(parent));
            let delta = before.map(|before| version.size.cast_signed().saturating_sub_unsigned(*before));
            entries.push(Entry { version, tree, delta, sessions });
        }
        Ok(entries)
    }
}

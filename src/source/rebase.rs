//! After a conflict: what a source session changed, what others committed meanwhile, and what both touched.
//!
//! Nothing is replayed: nobody can merge two package databases by machine. A maintainer gets a new source session on
//! the current version, keeps the old one to look things up in, and decides.

use std::collections::BTreeMap;
use std::io;

use serde::Serialize;

use super::diff::{Difference, Wanted};
use super::{Error, Sources};
use crate::session::Kind;
use crate::session::record::Record;
use crate::store::VersionId;
use crate::sys::tree::Step;

/// What became of one path on either side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Both {
    /// In the session.
    pub yours: Difference,
    /// In the current version.
    pub theirs: Difference,
}

/// What differs between a session that was refused, and the version that is current.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Divergence {
    /// Paths that both changed: to be looked at.
    pub both: Vec<Both>,
    /// What only the session changed, against its base: to be done again.
    pub yours: Vec<Difference>,
    /// What only others changed since that base: it is in the new session already.
    pub theirs: Vec<Difference>,
}

impl Sources<'_> {
    /// The version that is current in place of the base of a source session.
    ///
    /// # Errors
    /// It is no source session, has no base, or its base is current.
    pub fn outdated(&self, record: &Record) -> Result<(VersionId, VersionId), Error> {
        if record.kind != Kind::Source || record.draft.is_none() {
            return Err(Error::IsNoSource(record.id.clone()));
        }
        let base = record.base.clone().ok_or_else(|| Error::NoBase(record.id.clone()))?;
        let current = self.current(&record.template)?;
        if base == current {
            return Err(Error::UpToDate {
                session: record.id.clone(),
                template: record.template.clone(),
                base,
            });
        }
        Ok((base, current))
    }

    /// Compares a source session, whose lock the caller holds, and a newer version with the session's base.
    ///
    /// # Errors
    /// The session does not stand, or a tree cannot be read.
    pub fn divergence(
        &self,
        record: &Record,
        current: &VersionId,
        step: &mut Step<'_>,
    ) -> Result<Divergence, Error> {
        let base = record.base.as_ref().ok_or_else(|| Error::NoBase(record.id.clone()))?;
        let mut yours = Vec::new();
        let mut collect = |difference| keep(&mut yours, difference);
        let wanted = Wanted { files: true, full: false, tell: &mut collect, step: &mut *step };
        self.diff_session(record, wanted)?;
        let mut theirs = Vec::new();
        let mut collect = |difference| keep(&mut theirs, difference);
        let wanted = Wanted { files: true, full: false, tell: &mut collect, step };
        self.diff(&record.template, base, current, wanted)?;
        Ok(sort(yours, theirs))
    }
}

#[expect(clippy::unnecessary_wraps, reason = "it is what a comparison tells")]
fn keep(list: &mut Vec<Difference>, difference: Difference) -> io::Result<()> {
    list.push(difference);
    Ok(())
}

fn sort(yours: Vec<Difference>, theirs: Vec<Difference>) -> Divergence {
    let mut divergence = Divergence::default();
    let mut by_path: BTreeMap<String, Difference> =
        theirs.iter().map(|difference| (difference.path.clone(), difference.clone())).collect();
    for yours in yours {
        match by_path.remove(&yours.path) {
            Some(theirs) => divergence.both.push(Both { yours, theirs }),
            None => divergence.yours.push(yours),
        }
    }
    divergence.theirs = theirs.into_iter().filter(|it| by_path.contains_key(&it.path)).collect();
    divergence
}

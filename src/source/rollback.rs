//! Rollback: a commit whose tree is that of an older version. History only grows.
//!
//! It is a source session that nobody enters: record, draft (cloned from the older version instead of the
//! current one), version file, **COMMIT** against the current version, pointer, record removed. Nothing is
//! mounted or set up. The record stays planned, so that `recover` ends what a crash left before the commit and
//! finishes what it left after it.

use super::create::new_version;
use super::{Error, Sources, Version};
use crate::session::record::{NewRecord, Record};
use crate::session::{self, Begun};
use crate::store::{ErrorKind, Progress, Published, VersionId};

/// What a rollback is done with.
#[derive(Debug)]
pub struct Rollback {
    /// What the record will say.
    pub new: NewRecord,
    /// What was current when it was decided where to go back to.
    pub base: VersionId,
    /// The version whose tree is to be current again.
    pub to: VersionId,
    /// What the history says of it; which version's tree it is, if nothing is said.
    pub message: Option<String>,
}

impl Sources<'_> {
    /// Commits a new version whose tree is that of an older one. On failure nothing changed and nothing is left.
    ///
    /// # Errors
    /// The version is current, or its tree is gone; [`Error::Moved`] if somebody committed meanwhile; or a step
    /// before the commit failed.
    pub fn rollback(&self, request: Rollback, progress: &mut dyn Progress) -> Result<Version, Error> {
        let Rollback { new, base, to, message } = request;
        let template = new.template.clone();
        let current = self.current(&template)?;
        if base != current {
            return Err(Error::Moved { template, base: Some(base), current: Some(current) });
        }
        if base == to {
            return Err(Error::IsCurrent { template, version: to });
        }
        let draft = new_version()?;
        let record = Record::planned(new, Some(base), Some(draft.clone()));
        let make = || match self.store().draft_clone(&template, &draft, &to, progress) {
            Err(error) if error.kind() == ErrorKind::Gone => {
                Err(session::Error::NoSuchVersion { template: template.clone(), version: to.clone() })
            }
            made => Ok(made?),
        };
        let begun = self.sessions.begin_unmounted(record, make)?;
        match self.publish_tree_of(&begun.record, &draft, &to, message) {
            Ok(version) => {
                self.conclude(begun, &version.id);
                Ok(version)
            }
            Err(error @ Error::Unfinished { .. }) => Err(error),
            Err(error) => Err(self.give_up(begun, error)),
        }
    }

    fn publish_tree_of(
        &self,
        record: &Record,
        draft: &VersionId,
        to: &VersionId,
        message: Option<String>,
    ) -> Result<Version, Error> {
        let (template, base) = (&record.template, record.base.as_ref());
        let older = Version::load(self.layout(), template, to)?;
        let parent = match base {
            Some(base) => Version::load(self.layout(), template, base)?,
            None => None,
        };
        let message = message.or_else(|| {
            let which =
                older.as_ref().map_or_else(|| to.to_string(), |it| format!("generation {}", it.generation));
            Some(format!("rollback to {which}"))
        });
        let size = match &older {
            Some(older) => older.size,
            None => self.store().used(&record.tree())?,
        };
        let mut version = Version::new(draft.clone(), parent.as_ref(), record.owner.clone(), message, size);
        version.tree_of = Some(to.clone());
        version.save(self.layout(), template)?;
        match self.publish_and_show(record, draft)? {
            Published::Committed => Ok(version),
            Published::Conflict { current } => {
                Err(Error::Moved { template: template.clone(), base: base.cloned(), current })
            }
        }
    }

    /// Nothing was worked on, so there is nothing to keep.
    fn give_up(&self, begun: Begun, error: Error) -> Error {
        let id = begun.record.id.clone();
        if let Err(trouble) = self.sessions.dispose(begun) {
            let trouble = crate::sys::chain(&trouble);
            tracing::error!(session = %id, %trouble, "what a failed rollback left stays; `zchroot recover` takes it away");
        }
        error
    }
}

#[cfg(test)]
mod tests;

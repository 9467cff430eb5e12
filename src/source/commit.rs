//! Commit and abort.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Error, Sources, Version};
use crate::session::record::{Kind, Record, State};
use crate::session::{self, Begun};
use crate::store::{Published, Settled, TemplateName, VersionId, pointer};
use crate::sys::file;
use crate::sys::lock::Lock;
use crate::template::Profile;

/// How long settling waits for a commit that is under way.
const PATIENCE: Duration = Duration::from_secs(5);

impl Sources<'_> {
    /// Makes the draft of a source session the current version of its template, all at once.
    /// On a conflict or an error before the commit the session is brought up again and kept.
    ///
    /// # Errors
    /// [`Error::Conflict`], or a step before the commit failed: the session is kept, nothing changed.
    pub fn commit(&self, begun: Begun, profile: &Profile, message: Option<String>) -> Result<Version, Error> {
        let draft = self.draft_of(&begun.record)?;
        if begun.record.state != State::Ready {
            return Err(Error::NotReady(begun.record.id));
        }
        self.refuse_conflict(&begun.record)?;
        match self.publish(&begun.record, &draft, message) {
            Ok(version) => {
                pointer::write(self.layout(), &begun.record.template, &version.id)?;
                self.sessions.forget(begun)?;
                Ok(version)
            }
            Err(error) => Err(self.keep(&begun.record, profile, error)),
        }
    }

    /// Throws the draft of a source session away.
    ///
    /// # Errors
    /// It is no source session, or something of it would not go.
    pub fn abort(&self, begun: Begun) -> Result<(), Error> {
        self.draft_of(&begun.record)?;
        Ok(self.sessions.dispose(begun)?)
    }

    /// Tidies a template after commits: versions beyond `keep` that no session is based on go.
    ///
    /// # Errors
    /// Records or store cannot be read: then nothing goes.
    pub fn settle(&self, template: &TemplateName, keep: usize) -> Result<Settled, Error> {
        file::make_dirs(&self.layout().locks(), 0o700)?;
        // One at a time, and not beside a commit: what a commit has just made current must not look old.
        let Some(_lock) = Lock::take(&self.layout().template_lock(template), PATIENCE)? else {
            let deferred = vec![format!("template {template} is being committed to or settled by another")];
            return Ok(Settled { deferred, ..Settled::default() });
        };
        let keep = self.kept(template, keep)?;
        Ok(self.store().settle(template, &keep)?)
    }

    /// The versions that stay: the current one, `keep` before it, and those that sessions are based on.
    fn kept(&self, template: &TemplateName, keep: usize) -> Result<BTreeSet<VersionId>, Error> {
        let all = session::record::Records::new(self.layout()).all()?;
        if let Some((_, error)) = all.damaged.into_iter().next() {
            // What it is based on cannot be known: keep everything rather than guess.
            return Err(error.into());
        }
        let mut kept: BTreeSet<VersionId> = all
            .records
            .into_iter()
            .filter(|record| &record.template == template)
            .filter_map(|record| record.base)
            .collect();
        let complete: BTreeSet<VersionId> = self
            .store()
            .heads(template)?
            .into_iter()
            .filter(|head| head.complete)
            .map(|head| head.id)
            .collect();
        let versions = Version::all(self.layout(), template)?;
        kept.extend(
            versions
                .into_iter()
                .rev()
                .map(|version| version.id)
                .filter(|id| complete.contains(id))
                .take(keep.saturating_add(1)),
        );
        kept.extend(self.store().current(template)?);
        Ok(kept)
    }

    fn publish(&self, record: &Record, draft: &VersionId, message: Option<String>) -> Result<Version, Error> {
        let template = &record.template;
        self.sessions.mark(record, State::Unmounted)?;
        self.sessions.quiesce(record)?;
        let size = self.store().used(&record.tree())?;
        let parent = match &record.base {
            Some(base) => Version::load(self.layout(), template, base)?,
            None => None,
        };
        let version = Version::new(draft.clone(), parent.as_ref(), record.owner.clone(), message, size);
        version.save(self.layout(), template)?;
        // COMMIT: before it the draft can be thrown away, after it everything else can be done again.
        match self.store().publish(template, draft, record.base.as_ref())? {
            Published::Committed => Ok(version),
            Published::Conflict { current } => Err(self.conflict(record, current)),
        }
    }

    /// What would be refused in the end is refused before anything is unmounted.
    fn refuse_conflict(&self, record: &Record) -> Result<(), Error> {
        let current = self.store().current(&record.template)?;
        if current == record.base { Ok(()) } else { Err(self.conflict(record, current)) }
    }

    fn conflict(&self, record: &Record, current: Option<VersionId>) -> Error {
        Error::Conflict {
            session: record.id.clone(),
            template: record.template.clone(),
            base: record.base.clone(),
            current,
        }
    }

    /// After a refused commit: lets the session stand again, so that nothing of the maintainer's work is lost.
    fn keep(&self, record: &Record, profile: &Profile, error: Error) -> Error {
        if let Err(trouble) = self.sessions.restore(record, profile) {
            tracing::error!(session = %record.id, %trouble, "the session is kept, but its tree is not mounted; `zchroot recover` mounts it");
        }
        error
    }

    fn draft_of(&self, record: &Record) -> Result<VersionId, Error> {
        match (&record.draft, record.kind) {
            (Some(draft), Kind::Source) => Ok(draft.clone()),
            _ => Err(Error::IsNoSource(record.id.clone())),
        }
    }
}

//! Commit and abort.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Error, Fate, Keep, Sources, Version};
use crate::session::Begun;
use crate::session::record::{Kind, Record, State};
use crate::store::pointer::Held;
use crate::store::{Published, Settled, TemplateName, VersionId, pointer};
use crate::sys::lock::{self, Lock};
use crate::template::Profile;

/// How long settling waits for another that settles the same template.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a commit waits for another one that is moving the pointer, which takes milliseconds.
pub(super) const POINTER_PATIENCE: Duration = Duration::from_secs(30);

/// What a commit depends on besides the base.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Condition {
    /// Nothing.
    None,
    /// Every command in the session has ended with 0.
    CleanRuns,
}

impl Sources<'_> {
    /// Makes the draft of a source session the current version of its template, all at once.
    /// On a conflict or an error before the commit the session is brought up again and kept. Where a crash
    /// came between the commit and its publication, a repeat finishes it.
    ///
    /// # Errors
    /// [`Error::Conflict`], or a step before the commit failed: the session is kept, nothing changed. Or
    /// [`Error::Unfinished`]: it is committed, and `recover` has to finish it.
    pub fn commit(&self, begun: Begun, profile: &Profile, message: Option<String>) -> Result<Version, Error> {
        if let Some(version) = self.committed_before(&begun.record)? {
            self.finish(begun)?;
            return Ok(version);
        }
        let version = self.commit_held(&begun.record, profile, message, Condition::None)?;
        self.conclude(begun, &version.id);
        Ok(version)
    }

    /// The version that the draft of a session has become, if a crash came between that and the end of the session.
    pub(super) fn committed_before(&self, record: &Record) -> Result<Option<Version>, Error> {
        let draft = self.draft_of(record)?;
        if !self.sessions.is_committed(record)? {
            return Ok(None);
        }
        let about = Version::load(self.layout(), &record.template, &draft)?;
        about.map(Some).ok_or_else(|| Error::NotReady(record.id.clone()))
    }

    /// Commits a session whose lock is held; it is for the caller to forget it then. A session whose commands do not
    /// allow it is left unmounted.
    pub(super) fn commit_held(
        &self,
        record: &Record,
        profile: &Profile,
        message: Option<String>,
        condition: Condition,
    ) -> Result<Version, Error> {
        let draft = self.draft_of(record)?;
        if !matches!(record.state, State::Ready | State::Kept) {
            return Err(Error::NotReady(record.id.clone()));
        }
        if let Err(error) = self.refuse_conflict(record) {
            // After a trial its mounts are gone.
            let stands = self.sessions.is_mounted(record)?;
            return Err(if stands { error } else { self.keep(record, profile, error) });
        }
        if !self.sessions.is_mounted(record)? {
            // Only through its mount is what a set-up left in the tree taken away.
            self.sessions.restore(record, profile)?;
        }
        match self.publish(record, &draft, message, condition) {
            Err(error @ (Error::Unfinished { .. } | Error::NotClean { .. })) => Err(error),
            Err(error) => Err(self.keep(record, profile, error)),
            published => published,
        }
    }

    /// As [`Sources::commit`] for a session of [`Sources::begin_first`], whose tree is whole now.
    ///
    /// # Errors
    /// As [`Sources::commit`].
    pub fn commit_first(
        &self,
        mut begun: Begun,
        profile: &Profile,
        message: Option<String>,
    ) -> Result<Version, Error> {
        begun.record.state = State::Ready;
        self.sessions.records().save(&begun.record)?;
        self.commit(begun, profile, message)
    }

    /// COMMIT: before it the draft can be thrown away, after it everything else can be done again. The pointer
    /// follows under the same lock, so that nobody can be told of the version and then begin from an older one.
    pub(super) fn publish_and_show(&self, record: &Record, draft: &VersionId) -> Result<Published, Error> {
        let template = &record.template;
        let pointer = Held::take(self.layout(), self.store(), template, POINTER_PATIENCE)?;
        let published = self.store().publish(template, draft, record.base.as_ref())?;
        if published == Published::Committed {
            pointer.follow().map_err(|source| Error::Unfinished {
                session: record.id.clone(),
                template: template.clone(),
                version: draft.clone(),
                source: Box::new(source),
            })?;
        }
        Ok(published)
    }

    /// After the commit, when all see it: forgets the session.
    pub(super) fn conclude(&self, begun: Begun, version: &VersionId) {
        let template = begun.record.template.clone();
        // Whatever fails from here on must not look as if it were not committed.
        if let Err(trouble) = self.sessions.forget(begun) {
            let trouble = crate::sys::chain(&trouble);
            tracing::error!(%template, %version, %trouble, "committed, but not tidied; `zchroot recover` does it");
        }
    }

    /// Lets the pointer say what is current, and a session go whose draft has become a version.
    pub(super) fn finish(&self, begun: Begun) -> Result<(), Error> {
        let template = begun.record.template.clone();
        pointer::follow(self.layout(), self.store(), &template, POINTER_PATIENCE)?;
        Ok(self.sessions.dispose(begun)?)
    }

    /// Throws the draft of a source session away.
    ///
    /// # Errors
    /// It is no source session, or something of it would not go; or [`Error::Committed`]: its commit had taken
    /// place, and was finished now.
    pub fn abort(&self, begun: Begun) -> Result<(), Error> {
        let version = self.draft_of(&begun.record)?;
        if self.sessions.is_committed(&begun.record)? {
            let (session, template) = (begun.record.id.clone(), begun.record.template.clone());
            self.finish(begun)?;
            return Err(Error::Committed { session, template, version });
        }
        Ok(self.sessions.dispose(begun)?)
    }

    /// Tidies a template after commits: versions that nothing keeps go.
    ///
    /// Commits take no lock that this waits for, and this none that they wait for. What is committed once we have
    /// looked is not among what may go, however many commits there are before the store has done its part.
    ///
    /// # Errors
    /// Records, pins or store cannot be read: then nothing goes.
    pub fn settle(&self, template: &TemplateName, keep: impl Into<Keep>) -> Result<Settled, Error> {
        lock::make_folder(&self.layout().locks())?;
        let Some(_lock) = Lock::take(&self.layout().template_lock(template), PATIENCE)? else {
            let deferred = vec![format!("template {template} is being settled by another")];
            return Ok(Settled { deferred, ..Settled::default() });
        };
        let may_go: BTreeSet<VersionId> = self
            .fates(template, keep.into())?
            .into_iter()
            .filter(|(_, fate)| matches!(fate, Fate::Drop | Fate::Gone))
            .map(|(id, _)| id)
            .collect();
        let mut settled = self.store().settle(template, &|version| may_go.contains(version))?;
        if let Err(error) = self.prune_digests(template) {
            settled.deferred.push(format!("digests of {template}: {}", crate::sys::chain(&error)));
        }
        Ok(settled)
    }

    fn publish(
        &self,
        record: &Record,
        draft: &VersionId,
        message: Option<String>,
        condition: Condition,
    ) -> Result<Version, Error> {
        let template = &record.template;
        self.sessions.mark(record, State::Unmounted)?;
        self.sessions.quiesce(record)?;
        if condition == Condition::CleanRuns {
            // Now, since what was just ended in it may have been a command, and none can start any more.
            self.refuse_unclean(record)?;
        }
        let size = self.store().used(&record.tree())?;
        let parent = match &record.base {
            Some(base) => Version::load(self.layout(), template, base)?,
            None => None,
        };
        let version = Version::new(draft.clone(), parent.as_ref(), record.owner.clone(), message, size);
        version.save(self.layout(), template)?;
        match self.publish_and_show(record, draft)? {
            Published::Committed => Ok(version),
            Published::Conflict { current } => Err(self.conflict(record, current)),
        }
    }

    /// Refuses a session in which a command did not end with 0.
    pub(super) fn refuse_unclean(&self, record: &Record) -> Result<(), Error> {
        match self.sessions.unclean_runs(record)? {
            0 => Ok(()),
            runs => Err(Error::NotClean { session: record.id.clone(), runs }),
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
    pub(super) fn keep(&self, record: &Record, profile: &Profile, error: Error) -> Error {
        if let Err(trouble) = self.sessions.mend(record, profile) {
            let trouble = crate::sys::chain(&trouble);
            tracing::error!(session = %record.id, %trouble, "the session is kept, but its tree may not be mounted; `zchroot recover` mounts it");
        }
        error
    }

    pub(super) fn draft_of(&self, record: &Record) -> Result<VersionId, Error> {
        match (&record.draft, record.kind) {
            (Some(draft), Kind::Source) => Ok(draft.clone()),
            _ => Err(Error::IsNoSource(record.id.clone())),
        }
    }
}

#[cfg(test)]
#[path = "settle_tests.rs"]
mod tests;

//! The end of a source session that was begun in schroot's words: it commits, or keeps the draft for a while.
//!
//! Who says no more than that a session ends cannot say whether its work is whole; what its commands ended with does.
//!
//! | step | crash after it |
//! |---|---|
//! | commands that did not end with 0 are counted | the session stands |
//! | none: a commit, in which they are counted again when nobody is in the tree any more | as in a commit |
//! | some: quiesced, as for a commit | it stands again after `recover`, and its end is the same |
//! | the record says that it is kept, and how long | it is kept |

use jiff::{SignedDuration, Timestamp, Unit};

use super::commit::Condition;
use super::{Error, Sources, Version};
use crate::session::Begun;
use crate::session::record::{Record, State};
use crate::template::{CommitOnEnd, Profile};

/// How long the draft of a session is kept that ended without a commit.
const KEPT_FOR: SignedDuration = SignedDuration::from_hours(24);

/// What became of a source session that was ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceEnd {
    /// Its draft is the current version.
    Committed(Version),
    /// It is not, but it is kept.
    Kept {
        /// How many of its commands did not end with 0.
        runs: usize,
        /// How long it is kept.
        until: Timestamp,
    },
}

impl Sources<'_> {
    /// Ends a source session: commits it, or keeps its draft, as was said when it was begun.
    ///
    /// # Errors
    /// [`Error::NotByEnd`]: nothing was said. Else as [`Sources::commit`].
    pub fn end(&self, begun: Begun, profile: &Profile, message: Option<String>) -> Result<SourceEnd, Error> {
        let record = &begun.record;
        let when = record.commit_on_end.ok_or_else(|| Error::NotByEnd(record.id.clone()))?;
        if let Some(version) = self.committed_before(record)? {
            self.finish(begun)?;
            return Ok(SourceEnd::Committed(version));
        }
        if record.state != State::Ready {
            return Err(Error::NotReady(record.id.clone()));
        }
        let condition = match when {
            CommitOnEnd::Success => Condition::CleanRuns,
            CommitOnEnd::Always => Condition::None,
        };
        let committed = match condition {
            Condition::CleanRuns => self.refuse_unclean(record),
            Condition::None => Ok(()),
        };
        match committed.and_then(|()| self.commit_held(record, profile, message, condition)) {
            Ok(version) => {
                self.conclude(begun, &version.id);
                Ok(SourceEnd::Committed(version))
            }
            Err(Error::NotClean { runs, .. }) => match self.set_aside(record) {
                Ok(until) => Ok(SourceEnd::Kept { runs, until }),
                Err(error) => Err(self.keep(record, profile, error)),
            },
            Err(error) => Err(error),
        }
    }

    /// Leaves nothing of a session but its draft and its record.
    fn set_aside(&self, record: &Record) -> Result<Timestamp, Error> {
        if self.sessions.is_mounted(record)? {
            self.sessions.mark(record, State::Unmounted)?;
            self.sessions.quiesce(record)?;
        }
        let until = Timestamp::now() + KEPT_FOR;
        let until = until.round(Unit::Second).unwrap_or(until);
        let mut kept = record.clone();
        (kept.state, kept.kept_until) = (State::Kept, Some(until));
        self.sessions.records().save(&kept)?;
        Ok(until)
    }
}

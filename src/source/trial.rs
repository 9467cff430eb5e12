//! Trying a draft out before it is committed: an ephemeral session on a clone of exactly what would be committed.
//!
//! | step | crash after it |
//! |---|---|
//! | the source session is quiesced, its set-up taken away | it stands again after `recover` |
//! | record of the trial, clone of the draft, mount, set-up as for a user | `recover` ends the trial |
//! | the test runs, the trial is ended | as before |
//!
//! The draft itself is not touched: what the test writes goes with the clone.

use super::{Error, Sources};
use crate::session::Begun;
use crate::session::record::{NewRecord, Record, State};
use crate::template::Profile;

impl Sources<'_> {
    /// Begins a session on a clone of a source session's draft. The source session does not stand until it is
    /// committed, or stands again by [`Sources::stand_again`].
    ///
    /// # Errors
    /// It is no source session, something still works in its tree, or the clone cannot be begun.
    pub fn begin_trial(&self, source: &Begun, new: NewRecord, profile: &Profile) -> Result<Begun, Error> {
        let draft = self.draft_of(&source.record)?;
        self.sessions.mark(&source.record, State::Unmounted)?;
        self.sessions.quiesce(&source.record)?;
        let record = Record::planned(new, source.record.base.clone(), None);
        Ok(self.sessions.begin_trial(record, &draft, profile)?)
    }

    /// Lets a source session stand again whose draft was tried out.
    ///
    /// # Errors
    /// Its tree cannot be mounted or set up.
    pub fn stand_again(&self, source: &Begun, profile: &Profile) -> Result<(), Error> {
        Ok(self.sessions.mend(&source.record, profile)?)
    }
}

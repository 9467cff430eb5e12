//! End: processes, mounts, tree, record, in this order, from any state, any number of times.

use super::record::{Kind, Record, State};
use super::scripts::{Part, Stage};
use super::{Begun, Error, Sessions};
use crate::store::Tree;

impl Sessions<'_> {
    /// Ends an ephemeral or named session.
    ///
    /// # Errors
    /// It is a source session, or something of it would not go; then it stays recorded as ending.
    pub fn end(&self, mut begun: Begun) -> Result<(), Error> {
        if begun.record.kind == Kind::Source {
            return Err(Error::IsSource(begun.record.id));
        }
        self.pack_again(&mut begun.record)?;
        self.dispose(begun)
    }

    /// Ends a session of any kind; a source session's draft goes, a commit that took place stays.
    ///
    /// # Errors
    /// Something of it would not go; then it stays recorded as ending.
    pub fn dispose(&self, begun: Begun) -> Result<(), Error> {
        let Begun { mut record, lock } = begun;
        let stage = Stage::ending(&record);
        record.state = State::Ending;
        match self.records().save(&record) {
            // Ending gives room back: that there is none is no reason to keep the session. Were this to crash, a record
            // that says less than it might would make recover let the session stand again.
            Err(error) if error.is_no_room() => {
                tracing::warn!(session = %record.id, "ended without a note of it: {}", crate::sys::chain(&error));
            }
            other => other?,
        }
        self.undo_in(record, stage)?;
        lock.remove()?;
        Ok(())
    }

    /// Removes whatever there is of a session, its record last.
    pub(super) fn undo(&self, record: Record) -> Result<(), Error> {
        let stage = Stage::ending(&record);
        self.undo_in(record, stage)
    }

    fn undo_in(&self, record: Record, stage: Stage) -> Result<(), Error> {
        // They have run already for one that was packed, and is mounted no more.
        if !record.is_packed_again() || self.is_mounted(&record)? {
            self.run_scripts(&record, stage, Part::AfterMounts)?;
        }
        self.take_down(&record)?;
        self.run_scripts(&record, stage, Part::BeforeMounts)?;
        match record.tree() {
            Tree::Session(id) if record.foreign.is_some() => self.discard_foreign(&id, &record)?,
            Tree::Session(id) => {
                self.store().session_drop(&id)?;
            }
            Tree::Draft(template, draft) => {
                if !self.is_committed(&record)? {
                    // The file first: one without a draft would look like a version whose tree was reclaimed.
                    crate::sys::file::remove(&self.layout().version(&template, &draft))?;
                    self.store().draft_drop(&template, &draft)?;
                }
            }
            Tree::Version(..) | Tree::Image(_) => {}
        }
        self.forget_runs(&record)?;
        self.records().remove(&record)?;
        Ok(())
    }

    /// Forgets a source session whose draft was committed: its mounts are gone already.
    ///
    /// # Errors
    /// The record cannot be removed.
    pub fn forget(&self, begun: Begun) -> Result<(), Error> {
        self.forget_runs(&begun.record)?;
        self.records().remove(&begun.record)?;
        begun.lock.remove()?;
        Ok(())
    }
}

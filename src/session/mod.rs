//! Sessions: begin, enter, end, recover.
//!
//! A session is a record (`sessions/ID.toml`), a private clone in the store, a mount at `/run/zchroot/mount/ID`
//! and, where there is a cgroup v2, a cgroup of its processes.
//!
//! **Order.** The record is first and last: it is written before anything else exists and removed after
//! everything else is gone. So each command can be killed anywhere and run again, and [`Sessions::recover`]
//! finds what was left.
//!
//! **Locks.** A session's lock is held while its state changes, and by `run` for the whole life of its
//! ephemeral session: a record whose lock is free and that is not `ready` was left by a crash. Entering a
//! ready session takes no lock, and neither does cloning.

mod begin;
mod end;
mod enter;
mod error;
mod foreign;
mod left;
pub mod record;
mod recover;
mod runs;
mod scripts;
pub mod setup;
mod standing;

use std::time::Duration;

pub use begin::{Begun, Request};
pub use enter::{EnterFailure, Manner, Wish};
pub use error::Error;
pub use foreign::{Foreign, Verbosity};
pub use left::LeftSession;
pub use record::{Kind, Owner, Record, Records, State};
pub use recover::{Recovered, Recovery};

use crate::store::{Layout, SessionId, Store};
use crate::sys::lock::{self, Lock};
use crate::sys::program::Stream;

/// How long a command waits for another that changes the same session.
const PATIENCE: Duration = Duration::from_secs(5);

/// The sessions of an installation.
#[derive(Debug, Clone, Copy)]
pub struct Sessions<'a> {
    layout: &'a Layout,
    store: &'a dyn Store,
    hear: Hear,
    is_forced: bool,
}

/// Hears what scripts say: which one, where, and a line.
pub type Hear = fn(&str, Stream, &str);

impl<'a> Sessions<'a> {
    /// The sessions whose records lie in `layout` and whose trees in `store`.
    #[must_use]
    pub fn new(layout: &'a Layout, store: &'a dyn Store) -> Self {
        Self { layout, store, hear: scripts::log, is_forced: false }
    }

    /// The same, with another ear for what scripts say.
    #[must_use]
    pub fn hearing(self, hear: Hear) -> Self {
        Self { hear, ..self }
    }

    /// The same, but a script that fails does not keep a session from ending.
    #[must_use]
    pub fn forced(self) -> Self {
        Self { is_forced: true, ..self }
    }

    /// Where things lie.
    #[must_use]
    pub fn layout(&self) -> &'a Layout {
        self.layout
    }

    /// Where the trees lie.
    #[must_use]
    pub fn store(&self) -> &'a dyn Store {
        self.store
    }

    /// Their records.
    #[must_use]
    pub fn records(&self) -> Records<'a> {
        Records::new(self.layout)
    }

    /// Locks a session that has a record, and reads it under the lock.
    ///
    /// # Errors
    /// There is no such session, or somebody else keeps it locked.
    pub fn lock(&self, id: &SessionId) -> Result<Begun, Error> {
        // Looking first keeps a wrong name from leaving a lock file behind.
        self.records().load(id)?;
        let lock = self.take_lock(id, PATIENCE)?.ok_or_else(|| Error::InUse(id.clone()))?;
        match self.records().load(id) {
            Ok(record) => Ok(Begun { record, lock }),
            Err(error) => {
                lock.remove()?;
                Err(error.into())
            }
        }
    }

    /// Locks the session of a record, and no other one that got its name while somebody else had the lock.
    ///
    /// # Errors
    /// As [`lock`](Self::lock).
    pub fn lock_same(&self, record: &Record) -> Result<Begun, Error> {
        let begun = self.lock(&record.id)?;
        if begun.record.is_of_same_session(record) {
            return Ok(begun);
        }
        Err(record::Error::Unknown(record.id.clone()).into())
    }

    /// Whether somebody has a session locked just now.
    ///
    /// # Errors
    /// Its lock cannot be tried.
    pub fn is_in_use(&self, id: &SessionId) -> Result<bool, Error> {
        Ok(self.take_lock(id, Duration::ZERO)?.is_none())
    }

    fn take_lock(&self, id: &SessionId, patience: Duration) -> Result<Option<Lock>, Error> {
        lock::make_folder(&self.layout.locks())?;
        Ok(Lock::take(&self.layout.session_lock(id), patience)?)
    }
}

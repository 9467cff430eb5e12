//! Recover: after a crash or at boot every record is brought to ready or ended.

use std::time::Duration;

use super::record::{self, Kind, Record, State};
use super::{Begun, Error, PATIENCE, Sessions};
use crate::store::{Layout, SessionId, TemplateName, pointer};
use crate::sys::file;
use crate::template;

/// What became of a session.
#[derive(Debug)]
pub enum Recovered {
    /// It was ready, its tree and all that its profile mounts in it are mounted: it stays as it is.
    Stands,
    /// It can be entered again.
    Ready,
    /// Nothing of it is left.
    Ended,
    /// Its commit had taken place and is finished now.
    Committed,
    /// It had ended without a commit, and its draft is kept.
    Kept,
    /// A running zchroot works on it.
    InUse,
    /// It could not be recovered; it stays as it is.
    Failed(Error),
}

/// What a recover did.
#[derive(Debug, Default)]
pub struct Recovery {
    /// Each session that has a record.
    pub sessions: Vec<(SessionId, Recovered)>,
    /// Templates whose pointer could not be mended, and why.
    pub pointers: Vec<(TemplateName, Error)>,
}

impl Sessions<'_> {
    /// Brings every record to ready or ended, and says which; then mends the pointers.
    ///
    /// # Errors
    /// The records or the templates cannot be listed. What fails for one session or template is in its result.
    pub fn recover(&self) -> Result<Recovery, Error> {
        let mut results = Vec::new();
        let all = self.records().all()?;
        for (id, error) in all.damaged {
            let result = self.recover_damaged(&id, error).unwrap_or_else(Recovered::Failed);
            results.push((id, result));
        }
        // Who tries a draft out before the session that it is of, which cannot end as long as somebody does.
        let mut records = all.records;
        records.sort_by_key(|record| record.kind == Kind::Source);
        let recover = |record: Record| {
            let result = self.recover_one(&record.id).unwrap_or_else(Recovered::Failed);
            (record.id, result)
        };
        results.extend(records.into_iter().map(recover));
        results.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok(Recovery { sessions: results, pointers: self.mend_pointers()? })
    }

    /// A record without a byte is that of an ephemeral session which a power cut took: nobody was promised
    /// anything, and gc takes what else is left. Any other damage is for a person to look at.
    fn recover_damaged(&self, id: &SessionId, error: record::Error) -> Result<Recovered, Error> {
        let Some(lock) = self.take_lock(id, Duration::ZERO)? else { return Ok(Recovered::InUse) };
        let path = self.layout().record(id);
        let empty = file::stat(&path)?.is_some_and(|meta| meta.len() == 0);
        if empty {
            file::remove(&path)?;
        }
        lock.remove()?;
        if empty { Ok(Recovered::Ended) } else { Err(error.into()) }
    }

    fn recover_one(&self, id: &SessionId) -> Result<Recovered, Error> {
        let Some(lock) = self.take_lock(id, Duration::ZERO)? else { return Ok(Recovered::InUse) };
        let record = match self.records().load(id) {
            Ok(record) => record,
            Err(error) => {
                lock.remove()?;
                // One that is gone ended by itself since it was listed.
                let is_gone = matches!(error, record::Error::Unknown(_));
                return if is_gone { Ok(Recovered::Ended) } else { Err(error.into()) };
            }
        };
        let begun = Begun { record, lock };
        if self.is_committed(&begun.record)? {
            self.dispose(begun)?;
            return Ok(Recovered::Committed);
        }
        if begun.record.is_kept() {
            return Ok(Recovered::Kept);
        }
        let is_first = begun.record.kind == Kind::Source && begun.record.base.is_none();
        match (begun.record.kind, begun.record.state) {
            // A first version is filled by one command, which is gone: what is there may be half of it.
            _ if is_first => self.dispose(begun).map(|()| Recovered::Ended),
            (Kind::Named | Kind::Source, State::Ready | State::Unmounted) => self.stand_again(&begun.record),
            _ => self.dispose(begun).map(|()| Recovered::Ended),
        }
    }

    /// Whether the draft of a source session has become a version.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn is_committed(&self, record: &Record) -> Result<bool, Error> {
        let Some(draft) = &record.draft else { return Ok(false) };
        let heads = self.store().heads(&record.template)?;
        Ok(heads.iter().any(|head| &head.id == draft && head.complete))
    }

    fn stand_again(&self, record: &Record) -> Result<Recovered, Error> {
        let profile = profile_of(self.layout(), record)?;
        if record.state != State::Ready || !self.is_mounted(record)? {
            self.restore(record, &profile)?;
        } else if self.is_set_up(record, &profile)? {
            return Ok(Recovered::Stands);
        } else {
            self.mend(record, &profile)?;
        }
        Ok(Recovered::Ready)
    }

    /// Lets a ready session stand anew, whatever is left of its mounts and processes.
    ///
    /// # Errors
    /// Its tree cannot be mounted or set up; nothing of it stands then.
    pub fn restore(&self, record: &Record, profile: &template::Profile) -> Result<(), Error> {
        self.mark(record, State::Unmounted)?;
        self.take_down(record)?;
        self.bring_up(record, profile).map_err(|error| error.after(self.take_down(record)))?;
        self.mark(record, State::Ready)
    }

    /// Records how far a session is. Without this a crash while mounts come and go would leave a tree that looks
    /// as if it stood.
    ///
    /// # Errors
    /// The record cannot be written.
    pub(crate) fn mark(&self, record: &Record, state: State) -> Result<(), Error> {
        let mut marked = record.clone();
        marked.state = state;
        marked.kept_until = None;
        Ok(self.records().save(&marked)?)
    }

    /// As [`Sessions::restore`], but a tree that is mounted stays mounted and is only set up again: whoever is in
    /// it would stay behind in a mount that nobody finds any more, and go on writing to the tree.
    ///
    /// # Errors
    /// As [`Sessions::restore`].
    pub fn mend(&self, record: &Record, profile: &template::Profile) -> Result<(), Error> {
        if !self.is_mounted(record)? {
            return self.restore(record, profile);
        }
        self.set_up(record, profile)?;
        // It was marked as one whose mounts go: else nobody could enter or commit it before the next recover.
        self.mark(record, State::Ready)
    }

    /// Lets every pointer say what the store knows to be current; those that would not.
    fn mend_pointers(&self) -> Result<Vec<(TemplateName, Error)>, Error> {
        let mut troubles = Vec::new();
        for template in self.store().templates()? {
            if let Err(error) = pointer::follow(self.layout(), self.store(), &template, PATIENCE) {
                troubles.push((template, error.into()));
            }
        }
        Ok(troubles)
    }
}

fn profile_of(layout: &Layout, record: &Record) -> Result<template::Profile, Error> {
    if let Some(foreign) = &record.foreign {
        return Ok(foreign.profile.clone().unwrap_or_default());
    }
    template::profile(layout, &record.setup.profile).map_err(|error| {
        Error::sys("read the profile of", &record.id, std::io::Error::other(error.to_string()))
    })
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests bend what the program made")]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::store::fake::FakeStore;
    use crate::store::{Published, Silent, Store};

    #[test]
    fn a_pointer_that_is_lost_or_bent_is_mended() {
        let root = tempfile::tempdir().unwrap();
        let (layout, store) = (Layout::new(root.path()), FakeStore::new(&root.path().join("trees")));
        store.init().unwrap();
        let sid = "sid".parse().unwrap();
        let [old, new]: [crate::store::VersionId; 2] = ["v1", "v2"].map(|name| name.parse().unwrap());
        store.draft_new(&sid, &old).unwrap();
        assert_eq!(store.publish(&sid, &old, None).unwrap(), Published::Committed);
        store.draft_clone(&sid, &new, &old, &mut Silent).unwrap();
        assert_eq!(store.publish(&sid, &new, Some(&old)).unwrap(), Published::Committed);
        let (sessions, link) = (Sessions::new(&layout, &store), layout.pointer(&sid));
        let read = || pointer::read(&layout, &sid);
        assert_eq!(read().unwrap(), None, "it was never written: as after a crash right after the commit");
        for bent in [None, Some("versions/v1.toml"), Some("versions/v9.toml"), Some("../../etc/passwd")] {
            if std::fs::symlink_metadata(&link).is_ok() {
                std::fs::remove_file(&link).unwrap();
            }
            if let Some(target) = bent {
                symlink(target, &link).unwrap();
            }
            assert!(read().map_or(true, |read| read.as_ref() != Some(&new)), "{bent:?}: it is bent");
            sessions.recover().unwrap();
            assert_eq!(read().unwrap(), Some(new.clone()), "{bent:?}");
        }
    }
}

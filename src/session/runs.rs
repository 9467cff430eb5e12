//! Runs: which commands in a source session did not end with 0, so that the end of the session knows whether it is
//! to commit.
//!
//! `sessions/ID.runs/` has an empty file for each command that was begun and has not ended with 0: it is there,
//! durably, before the command starts, and goes when that has exited with 0. So a command whose end nobody saw counts
//! as one that failed. What one that ended well wrote is on the disk before its file goes: a power cut leaves both or
//! the first alone.
//! The status of a command that only asks is an answer, no failure.
//! A file has the name of the draft in its own, so that one that stayed behind says nothing of a later session.
//!
//! No lock is taken, as for entering: who ends a session looks when all of its processes are gone, and who is about
//! to start one looks once more whether the session still stands, with his file made already.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::record::{Record, Records};
use super::{Error, Sessions};
use crate::store::{SessionId, VersionId};
use crate::sys::file;
use crate::template::CommitOnEnd;

/// A command that was begun. Dropped, it counts as one that failed.
#[derive(Debug)]
#[must_use = "a run that is not told to have been clean was not"]
pub(super) struct Run {
    path: PathBuf,
}

impl Run {
    /// It ended with 0, or nobody will ask.
    pub(super) fn forget(self) {
        if let Err(error) = file::remove(&self.path) {
            let error = crate::sys::chain(&error);
            tracing::warn!(%error, "a command that ended well counts as one that failed");
        }
    }
}

/// Whether a command does no more than ask something of the tree, so that its status is an answer: sbuild asks for its
/// own group and users first, and makes those that are not there.
pub(super) fn is_question(command: &[OsString]) -> bool {
    let name = command.first().and_then(|program| Path::new(program).file_name());
    name.is_some_and(|name| ["getent", "test", "["].iter().any(|question| name == *question))
}

impl Sessions<'_> {
    /// Notes that a command is about to be started, where the end of the session will ask for it.
    pub(super) fn begin_run(&self, record: &Record) -> Result<Option<Run>, Error> {
        let (Some(CommitOnEnd::Success), Some(draft)) = (record.commit_on_end, &record.draft) else {
            return Ok(None);
        };
        let folder = self.layout().runs(&record.id);
        if file::make_dir(&folder, 0o700)? {
            file::sync_parent(&folder)?;
        }
        let name = VersionId::generate().map_err(|error| Error::sys("name", "a command", error))?;
        let path = folder.join(format!("{draft}.{name}"));
        file::make_empty(&path)?;
        let run = Run { path };
        match file::sync_dir(&folder) {
            Ok(()) => Ok(Some(run)),
            Err(error) => {
                run.forget();
                Err(error.into())
            }
        }
    }

    /// How many commands of a source session were begun and did not end with 0.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn unclean_runs(&self, record: &Record) -> Result<usize, Error> {
        let Some(draft) = &record.draft else { return Ok(0) };
        let ours = format!("{draft}.");
        let names = file::list(&self.layout().runs(&record.id))?;
        Ok(names.iter().filter(|name| name.starts_with(&ours)).count())
    }

    /// Forgets the commands of a session that goes; of any that may have been left under its name, too.
    pub(super) fn forget_runs(&self, record: &Record) -> Result<(), Error> {
        if record.commit_on_end.is_some() {
            self.remove_runs(&record.id)?;
        }
        Ok(())
    }

    /// Removes what is noted of the commands of a session.
    ///
    /// # Errors
    /// The file system refused.
    pub fn remove_runs(&self, id: &SessionId) -> Result<(), Error> {
        let folder = self.layout().runs(id);
        for name in file::list(&folder)? {
            file::remove(&folder.join(name))?;
        }
        match file::remove_dir(&folder) {
            // Somebody is about to find out that the session has gone.
            Err(error) if error.errno() == libc::ENOTEMPTY => Ok(()),
            other => Ok(other?),
        }
    }
}

impl Records<'_> {
    /// The names of the sessions that have not ended: all but those whose draft is kept. No more records are read
    /// than have commands that failed.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn standing(&self) -> Result<Vec<SessionId>, super::record::Error> {
        let (mut ids, failed) = self.ids_and_runs()?;
        ids.retain(|id| !failed.contains(id) || self.load(id).map_or(true, |record| !record.is_kept()));
        Ok(ids)
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests look at what the program made")]
mod tests {
    use super::*;
    use crate::session::Owner;
    use crate::session::record::{Kind, NewRecord, Setup};
    use crate::store::Layout;
    use crate::store::fake::FakeStore;
    use crate::template::Overlay;

    fn record(draft: &str, commit_on_end: Option<CommitOnEnd>) -> Record {
        let setup = Setup {
            profile: "default".parse().unwrap(),
            shell: None,
            preserve_environment: false,
            setuid: true,
            overlay: Overlay::Disk,
            quota: None,
            isolate_net: false,
            isolate_pid: false,
            isolate_ipc: false,
            isolate_uts: false,
        };
        let new = NewRecord {
            id: "work".parse().unwrap(),
            kind: Kind::Source,
            template: "sid".parse().unwrap(),
            image: None,
            owner: Owner { uid: 0, name: "root".to_owned() },
            root_allowed: true,
            commit_on_end,
            setup,
        };
        Record::planned(new, None, Some(draft.parse().unwrap()))
    }

    #[test]
    fn a_command_counts_until_it_has_ended_well_and_for_its_own_session_alone() {
        let root = tempfile::tempdir().unwrap();
        let (layout, store) = (Layout::new(root.path()), FakeStore::new(&root.path().join("trees")));
        let sessions = Sessions::new(&layout, &store);
        std::fs::create_dir_all(layout.records()).unwrap();
        let (ours, later) =
            (record("v2", Some(CommitOnEnd::Success)), record("v3", Some(CommitOnEnd::Success)));
        assert_eq!(sessions.unclean_runs(&ours).unwrap(), 0);
        let [one, other] = [(); 2].map(|()| sessions.begin_run(&ours).unwrap().unwrap());
        assert_eq!(sessions.unclean_runs(&ours).unwrap(), 2);
        one.forget();
        drop(other);
        assert_eq!(sessions.unclean_runs(&ours).unwrap(), 1);
        assert_eq!(sessions.unclean_runs(&later).unwrap(), 0, "it had the same name, and is another one");
        sessions.forget_runs(&later).unwrap();
        assert!(!layout.runs(&ours.id).exists());
        for nobody_asks in [None, Some(CommitOnEnd::Always)] {
            assert!(sessions.begin_run(&record("v2", nobody_asks)).unwrap().is_none());
        }
        assert!(!layout.runs(&ours.id).exists());
    }

    #[test]
    fn a_question_is_known_by_the_name_of_the_program_and_nothing_else_is_one() {
        let is_question = |words: &[&str]| is_question(&words.iter().map(OsString::from).collect::<Vec<_>>());
        for words in [&["getent", "group", "sbuild"][..], &["/usr/bin/test", "-e", "/x"], &["[", "a", "]"]] {
            assert!(is_question(words), "{words:?}");
        }
        for words in [&[][..], &[""], &["apt-get", "test"], &["sh", "-c", "getent group x"], &["test/run"]] {
            assert!(!is_question(words), "{words:?}");
        }
    }

    #[test]
    fn a_command_that_cannot_be_noted_is_not_started() {
        let root = tempfile::tempdir().unwrap();
        let (layout, store) = (Layout::new(root.path()), FakeStore::new(&root.path().join("trees")));
        let sessions = Sessions::new(&layout, &store);
        std::fs::create_dir_all(layout.records()).unwrap();
        let ours = record("v2", Some(CommitOnEnd::Success));
        std::fs::write(layout.runs(&ours.id), "no folder").unwrap();
        assert!(sessions.begin_run(&ours).is_err());
        assert!(sessions.unclean_runs(&ours).is_err(), "and nobody takes it for a clean session");
    }
}

//! Records: what is known of a session, one small file each, written before anything else exists of it.
//!
//! `sessions/ID.toml`. Whatever has a record can be ended again, from any state, any number of times; whatever
//! has none and is older than the grace time is gc's. Records of named and source sessions are durable when
//! [`Records::save`] returns; an ephemeral session does not outlive a power cut, and neither must its record.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::foreign::Foreign;
use crate::store::{Digest, Layout, SessionId, TemplateName, Tree, VersionId};
use crate::sys::file;
use crate::template::{CommitOnEnd, Overlay, ProfileName, Size};

/// Longer files are no records.
const LONGEST: u64 = 64 * 1024;
const FORMAT: u32 = 1;

/// What a session is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Made for one command, ended with it.
    Ephemeral,
    /// Begun, entered any number of times, ended.
    Named,
    /// A maintainer's: ends with commit or abort.
    Source,
}

/// How far a session's life is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Being made: its tree may or may not exist.
    Planned,
    /// It can be entered.
    Ready,
    /// What is mounted of it is being made anew or taken away for a commit: recover lets it stand again.
    Unmounted,
    /// Being taken apart; whatever is left of it goes.
    Ending,
    /// A source session that has ended without a commit: nothing of it is there but its draft, for a while.
    Kept,
}

impl State {
    /// The state in a word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Ready => "ready",
            Self::Unmounted => "unmounted",
            Self::Ending => "ending",
            Self::Kept => "kept",
        }
    }
}

/// Who began a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// Real user id.
    pub uid: u32,
    /// The name it had.
    pub name: String,
}

/// How the session's commands are set up; fixed at begin, whatever happens to the definition later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Setup {
    /// The profile's name.
    pub profile: ProfileName,
    /// The shell of the definition.
    pub shell: Option<std::path::PathBuf>,
    /// `-p` is on without being asked for.
    pub preserve_environment: bool,
    /// Setuid bits and device nodes work inside.
    pub setuid: bool,
    /// Where the `dir` store keeps what the session writes.
    pub overlay: Overlay,
    /// How much the session may write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<Size>,
    /// No network but `lo`.
    pub isolate_net: bool,
    /// A pid namespace for each command.
    pub isolate_pid: bool,
    /// An IPC namespace for each command.
    pub isolate_ipc: bool,
    /// A UTS namespace for each command.
    pub isolate_uts: bool,
}

/// A session, as it is on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Record {
    format: u32,
    /// Its name.
    pub id: SessionId,
    /// What it is for.
    pub kind: Kind,
    /// How far it is.
    pub state: State,
    /// Whose tree it has.
    pub template: TemplateName,
    /// The image that it was cloned from, in place of a version: then the template is one in name only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Digest>,
    /// The version that it was cloned from; none for the draft of a template's first version.
    pub base: Option<VersionId>,
    /// The version that a source session will become.
    pub draft: Option<VersionId>,
    /// When it was begun.
    pub created: Timestamp,
    /// Its owner may be root inside.
    pub root_allowed: bool,
    /// Its end commits it, then; if none says so, only `zchroot source` commits or aborts it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit_on_end: Option<CommitOnEnd>,
    /// How long the draft of one that has ended without a commit is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept_until: Option<Timestamp>,
    /// Who began it.
    pub owner: Owner,
    /// How commands are set up in it.
    pub setup: Setup,
    /// Its tree is not the store's, and no template's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub foreign: Option<Foreign>,
}

/// What a new record is made from.
#[derive(Debug, Clone)]
pub struct NewRecord {
    /// Its name.
    pub id: SessionId,
    /// What it is for.
    pub kind: Kind,
    /// Whose tree it has.
    pub template: TemplateName,
    /// The image that it is to be cloned from, in place of a version.
    pub image: Option<Digest>,
    /// Who begins it.
    pub owner: Owner,
    /// Its owner may be root inside.
    pub root_allowed: bool,
    /// When its end commits it, if that is to commit at all.
    pub commit_on_end: Option<CommitOnEnd>,
    /// How commands are set up in it.
    pub setup: Setup,
}

impl Record {
    /// The record of a session that is about to be made.
    #[must_use]
    pub fn planned(new: NewRecord, base: Option<VersionId>, draft: Option<VersionId>) -> Self {
        Self {
            format: FORMAT,
            id: new.id,
            kind: new.kind,
            state: State::Planned,
            template: new.template,
            image: new.image,
            base,
            draft,
            created: Timestamp::now(),
            root_allowed: new.root_allowed,
            commit_on_end: new.commit_on_end,
            kept_until: None,
            owner: new.owner,
            setup: new.setup,
            foreign: None,
        }
    }

    /// Whether two records are of one session, and not of two that had one name.
    #[must_use]
    pub fn is_of_same_session(&self, other: &Self) -> bool {
        let told_by = |record: &Self| (record.id.clone(), record.kind, record.created, record.owner.clone());
        told_by(self) == told_by(other)
    }

    /// Whether a power cut may take it. What a session has outside of the store is found by its record alone.
    fn is_volatile(&self) -> bool {
        self.kind == Kind::Ephemeral
            && self.foreign.as_ref().is_none_or(|foreign| foreign.tree.leaves_nothing())
    }

    /// Whether it has ended, and only its draft is kept.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.state == State::Kept
    }

    /// Refuses what has ended and is only kept.
    ///
    /// # Errors
    /// It is.
    pub fn refuse_kept(&self) -> Result<(), super::Error> {
        match self.kept_until {
            Some(until) => Err(super::Error::Kept { id: self.id.clone(), until }),
            None => Ok(()),
        }
    }

    /// The tree that the session works on.
    #[must_use]
    pub fn tree(&self) -> Tree {
        match &self.draft {
            Some(draft) => Tree::Draft(self.template.clone(), draft.clone()),
            None => Tree::Session(self.id.clone()),
        }
    }
}

/// Why a record could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system refused.
    #[error(transparent)]
    File(#[from] file::Error),
    /// There is no such session.
    #[error("there is no session {0}")]
    Unknown(SessionId),
    /// The file is no record.
    #[error("the record {path} is damaged: {why}")]
    Damaged {
        /// Which file.
        path: String,
        /// What is wrong with it.
        why: String,
    },
}

impl Error {
    /// Whether there was no room for the record.
    #[must_use]
    pub fn is_no_room(&self) -> bool {
        matches!(self, Self::File(error) if matches!(error.errno(), libc::ENOSPC | libc::EDQUOT))
    }
}

/// The folder of records.
#[derive(Debug, Clone, Copy)]
pub struct Records<'a> {
    layout: &'a Layout,
}

/// All records, and those that cannot be read: one bad record does not hide the others.
#[derive(Debug, Default)]
pub struct All {
    /// The readable ones, by name.
    pub records: Vec<Record>,
    /// The names and troubles of the others.
    pub damaged: Vec<(SessionId, Error)>,
}

impl<'a> Records<'a> {
    /// The records of an installation.
    #[must_use]
    pub fn new(layout: &'a Layout) -> Self {
        Self { layout }
    }

    /// Reads one.
    ///
    /// # Errors
    /// [`Error::Unknown`], or the file cannot be read.
    pub fn load(&self, id: &SessionId) -> Result<Record, Error> {
        let path = self.layout.record(id);
        let text = file::read_text_if_there(&path, LONGEST)?.ok_or_else(|| Error::Unknown(id.clone()))?;
        let damaged = |why: String| Error::Damaged { path: path.display().to_string(), why };
        let record: Record = toml::from_str(&text).map_err(|error| damaged(error.message().to_owned()))?;
        if record.format != FORMAT {
            return Err(damaged(format!("its format is {}, this program reads {FORMAT}", record.format)));
        }
        if &record.id != id {
            return Err(damaged(format!("it is that of session {}", record.id)));
        }
        Ok(record)
    }

    /// Whether there is a record, readable or not.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn stands(&self, id: &SessionId) -> Result<bool, Error> {
        Ok(file::stat(&self.layout.record(id))?.is_some())
    }

    /// The names of all sessions that have a record, readable or not.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn ids(&self) -> Result<Vec<SessionId>, Error> {
        Ok(self.ids_and_runs()?.0)
    }

    /// The names of all sessions that have a record, and of those of whose commands something is noted.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn ids_and_runs(&self) -> Result<(Vec<SessionId>, BTreeSet<SessionId>), Error> {
        let names = file::list(&self.layout.records())?;
        let ending = |end: &'static str| {
            names.iter().filter_map(move |name| name.strip_suffix(end)?.parse::<SessionId>().ok())
        };
        Ok((ending(".toml").collect(), ending(Layout::RUNS).collect()))
    }

    /// Reads all.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn all(&self) -> Result<All, Error> {
        let mut all = All::default();
        for id in self.ids()? {
            match self.load(&id) {
                Ok(record) => all.records.push(record),
                // It ended while we were reading.
                Err(Error::Unknown(_)) => {}
                Err(error) => all.damaged.push((id, error)),
            }
        }
        Ok(all)
    }

    /// Writes one; durable but for an ephemeral session.
    ///
    /// # Errors
    /// The file system refused.
    pub fn save(&self, record: &Record) -> Result<(), Error> {
        file::make_dirs(&self.layout.records(), 0o755)?;
        let path = self.layout.record(&record.id);
        let text = toml::to_string(record)
            .map_err(|error| Error::Damaged { path: path.display().to_string(), why: error.to_string() })?;
        // What defines a chroot of schroot.conf may be in a file that only root reads, for the passwords of mounts.
        let replace = match (record.foreign.is_some(), record.is_volatile()) {
            (false, false) => file::replace,
            (false, true) => file::replace_volatile,
            (true, false) => file::replace_secret,
            (true, true) => file::replace_secret_volatile,
        };
        Ok(replace(&path, &text)?)
    }

    /// Removes one; absence is success.
    ///
    /// # Errors
    /// The file system refused.
    pub fn remove(&self, record: &Record) -> Result<(), Error> {
        let path = self.layout.record(&record.id);
        file::remove(&path)?;
        if !record.is_volatile() {
            file::sync_parent(&path)?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests write what older programs wrote")]
mod tests {
    use super::*;

    /// As it was written before there was an end that commits.
    const OLD: &str = "format = 1
id = \"work\"
kind = \"source\"
state = \"ready\"
template = \"sid\"
base = \"v1\"
draft = \"v2\"
created = \"2026-11-21T10:00:00Z\"
root-allowed = true

[owner]
uid = 1000
name = \"alice\"

[setup]
profile = \"default\"
preserve-environment = false
setuid = true
isolate-net = false
isolate-pid = false
isolate-ipc = false
isolate-uts = false

[setup.overlay]
kind = \"disk\"
";

    #[test]
    fn a_record_of_an_older_program_is_read_and_written_as_it_was() {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::new(root.path());
        std::fs::create_dir_all(layout.records()).unwrap();
        let id: SessionId = "work".parse().unwrap();
        std::fs::write(layout.record(&id), OLD).unwrap();
        let record = Records::new(&layout).load(&id).unwrap();
        assert_eq!((record.commit_on_end, record.kept_until), (None, None));
        assert!(!record.is_kept() && record.refuse_kept().is_ok());
        assert_eq!(toml::to_string(&record).unwrap(), OLD);
    }

    #[test]
    fn of_a_session_that_is_kept_only_schroot_does_not_know() {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::new(root.path());
        let records = Records::new(&layout);
        let mut record: Record = toml::from_str(OLD).unwrap();
        record.commit_on_end = Some(CommitOnEnd::Success);
        records.save(&record).unwrap();
        // A command that failed, and one of a session that is no more.
        for name in ["work", "gone"] {
            std::fs::create_dir(layout.runs(&name.parse().unwrap())).unwrap();
        }
        assert_eq!(records.standing().unwrap(), [record.id.clone()]);
        (record.state, record.kept_until) = (State::Kept, Some(Timestamp::UNIX_EPOCH));
        records.save(&record).unwrap();
        assert_eq!(records.load(&record.id).unwrap(), record);
        assert_eq!(records.standing().unwrap(), []);
        assert_eq!(records.ids().unwrap(), [record.id.clone()]);
        let refused = record.refuse_kept().unwrap_err().to_string();
        assert_eq!(
            refused,
            "session work has ended without a commit, its draft is kept until 1970-01-01T00:00:00Z"
        );
        // One that cannot be read stands: it is to be looked at.
        std::fs::write(layout.record(&record.id), "what").unwrap();
        assert_eq!(records.standing().unwrap(), [record.id]);
    }
}

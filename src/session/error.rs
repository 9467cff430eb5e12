//! What can go wrong with a session.

use std::io;

use super::record;
use super::setup;
use crate::store::{self, SessionId, TemplateName, VersionId};
use crate::sys::{chain, file};

/// A failed operation on a session.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The name is taken.
    #[error("there is a session {0} already")]
    Exists(SessionId),
    /// Somebody works on the session: begins it, ends it, or runs an ephemeral one.
    #[error("session {0} is in use by another zchroot")]
    InUse(SessionId),
    /// It is being made or taken apart.
    #[error("session {id} is not ready, it is {state}")]
    NotReady {
        /// Which session.
        id: SessionId,
        /// Its state, in a word.
        state: &'static str,
    },
    /// It has ended without a commit.
    #[error("session {id} has ended without a commit, its draft is kept until {until}")]
    Kept {
        /// Which session.
        id: SessionId,
        /// How long.
        until: jiff::Timestamp,
    },
    /// A source session cannot be ended, only committed or aborted.
    #[error("{0} is a source session: commit or abort it")]
    IsSource(SessionId),
    /// Only a source session can be committed or aborted.
    #[error("{0} is not a source session")]
    IsNoSource(SessionId),
    /// Nothing was ever committed to the template.
    #[error("template {0} has no version yet")]
    NoVersion(TemplateName),
    /// A version that is not kept, or never was.
    #[error("template {template} has no version {version}")]
    NoSuchVersion {
        /// Which template.
        template: TemplateName,
        /// Which version.
        version: VersionId,
    },
    /// The version kept moving while it was cloned.
    #[error("template {0} changed too often while it was cloned")]
    Moving(TemplateName),
    /// A process that may not be ended, since it called us, is in the tree.
    #[error("process {pid} ({name}), from which zchroot was called, is in the tree of {id}: leave it first")]
    CalledFromInside {
        /// Which session.
        id: SessionId,
        /// The process.
        pid: i32,
        /// What it is called.
        name: String,
    },
    /// A process is in the tree and did not go, not even by SIGKILL.
    #[error("process {pid} ({name}) is in the tree of {id} and cannot be ended")]
    StillUsed {
        /// Which session.
        id: SessionId,
        /// The process.
        pid: i32,
        /// What it is called.
        name: String,
    },
    /// A mount of a source session is still there in some mount namespace, so its data may not be whole.
    #[error("the tree of {id} is still mounted in the mount namespace of process {pid}")]
    StillMounted {
        /// Which session.
        id: SessionId,
        /// A process that has the mount.
        pid: i32,
    },
    /// Its record could not be read or written.
    #[error(transparent)]
    Record(#[from] record::Error),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The tree could not be set up.
    #[error(transparent)]
    Setup(#[from] setup::Error),
    /// The file system refused.
    #[error(transparent)]
    File(#[from] file::Error),
    /// The system refused.
    #[error("cannot {op} {object}")]
    Sys {
        /// What was tried.
        op: &'static str,
        /// On what.
        object: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// An operation failed, and so did clearing up after it.
    #[error("{}; clearing up failed too: {}", chain(cause.as_ref()), chain(undo.as_ref()))]
    Undo {
        /// The first failure.
        cause: Box<Error>,
        /// The failure of clearing up.
        undo: Box<Error>,
    },
}

impl Error {
    /// Gives an I/O error its operation and object.
    pub fn sys(op: &'static str, object: impl std::fmt::Display, source: io::Error) -> Self {
        Self::Sys { op, object: object.to_string(), source }
    }

    /// The failure `self`, after which clearing up ended as `undo`.
    #[must_use]
    pub fn after(self, undo: Result<(), Error>) -> Self {
        match undo {
            Ok(()) => self,
            Err(undo) => Self::Undo { cause: Box::new(self), undo: Box::new(undo) },
        }
    }
}

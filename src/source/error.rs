//! What can go wrong with a template's versions.

use super::version::VersionError;
use crate::session;
use crate::store::{self, SessionId, TemplateName, VersionId};
use crate::sys::file;

/// A failed operation on a template's versions.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Somebody committed since the session was begun; the session is kept.
    #[error(
        "conflict: session {session} is based on version {} of {template}, but {} is current by now",
        or_none(base),
        or_none(current)
    )]
    Conflict {
        /// The session whose commit was refused.
        session: SessionId,
        /// Whose versions.
        template: TemplateName,
        /// What the session was begun from.
        base: Option<VersionId>,
        /// What is current.
        current: Option<VersionId>,
    },
    /// The template has a first version already.
    #[error("template {template} exists already, its current version is {current}")]
    Created {
        /// Which template.
        template: TemplateName,
        /// Its current version.
        current: VersionId,
    },
    /// Nothing was ever committed to it.
    #[error("template {0} has no version yet")]
    NoVersion(TemplateName),
    /// The session has no draft.
    #[error("{0} is not a source session")]
    IsNoSource(SessionId),
    /// The source session was not brought to its end.
    #[error("source session {0} is not ready to be committed")]
    NotReady(SessionId),
    /// What was to be thrown away is a version by now.
    #[error("session {session} was committed already: it is version {version} of {template}")]
    Committed {
        /// Which session.
        session: SessionId,
        /// Whose version.
        template: TemplateName,
        /// What its draft became.
        version: VersionId,
    },
    /// The session refused.
    #[error(transparent)]
    Session(#[from] session::Error),
    /// A record could not be read or written.
    #[error(transparent)]
    Record(#[from] session::record::Error),
    /// A version's file could not be read or written.
    #[error(transparent)]
    Version(#[from] VersionError),
    /// Something about images failed.
    #[error(transparent)]
    Import(#[from] crate::import::Error),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The file system refused.
    #[error(transparent)]
    File(#[from] file::Error),
}

fn or_none(version: &Option<VersionId>) -> &str {
    version.as_ref().map_or("none", VersionId::as_str)
}

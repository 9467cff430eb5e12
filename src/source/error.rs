//! What can go wrong with a template's versions.

use super::spec::NoMatch;
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
    /// Somebody committed while a rollback was made.
    #[error(
        "conflict: version {} of {template} was current when the rollback began, but {} is by now",
        or_none(base),
        or_none(current)
    )]
    Moved {
        /// Whose versions.
        template: TemplateName,
        /// What was current.
        base: Option<VersionId>,
        /// What is current.
        current: Option<VersionId>,
    },
    /// What was to be gone back to is current.
    #[error("version {version} of {template} is the current one already")]
    IsCurrent {
        /// Whose version.
        template: TemplateName,
        /// Which.
        version: VersionId,
    },
    /// The template has no such version, or its tree is gone.
    #[error(transparent)]
    NoMatch(Box<NoMatch>),
    /// No template has a version of that name.
    #[error("no template has a version {0}")]
    InNone(String),
    /// Versions of several templates have names that begin so.
    #[error("versions of several templates have names that begin with {name}: {}", list(templates))]
    InSeveral {
        /// What was asked for.
        name: String,
        /// Who has one.
        templates: Vec<TemplateName>,
    },
    /// Somebody else keeps the template's lock.
    #[error("template {0} is being settled by another zchroot")]
    Settling(TemplateName),
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
    /// Only its commit or its abort ends it.
    #[error("source session {0} was begun by `zchroot source`, and ends by its commit or its abort alone")]
    NotByEnd(SessionId),
    /// Commands in it did not end with 0.
    #[error("{runs} of the commands in {session} did not end with 0")]
    NotClean {
        /// The session that was not committed.
        session: SessionId,
        /// How many.
        runs: usize,
    },
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
    /// The commit took place, and what has to follow it did not.
    #[error(
        "session {session} is committed as version {version} of {template}, but not everybody sees that yet"
    )]
    Unfinished {
        /// Which session.
        session: SessionId,
        /// Whose version.
        template: TemplateName,
        /// What its draft became.
        version: VersionId,
        /// What failed.
        #[source]
        source: Box<store::Error>,
    },
    /// There is no such version, or its tree was reclaimed.
    #[error("template {template} has no version {version}")]
    NoSuchVersion {
        /// Whose.
        template: TemplateName,
        /// What was asked for.
        version: String,
    },
    /// The session is of no version.
    #[error("session {0} is based on no version: there is nothing to compare it with")]
    NoBase(SessionId),
    /// The session is of an image.
    #[error("session {session} is of image {} and of no version: there is nothing to compare it with", image.short())]
    OfImage {
        /// Which.
        session: SessionId,
        /// Of which image.
        image: crate::store::Digest,
    },
    /// Its tree is not mounted.
    #[error("session {0} does not stand")]
    NotStanding(SessionId),
    /// The base of a source session is current.
    #[error("the base of session {session} is current: version {base} of {template}")]
    UpToDate {
        /// Which session.
        session: SessionId,
        /// Whose versions.
        template: TemplateName,
        /// What it is based on.
        base: VersionId,
    },
    /// A tree could not be read.
    #[error("cannot {op} {object}")]
    Tree {
        /// What was tried.
        op: &'static str,
        /// With what.
        object: String,
        /// Why it failed.
        #[source]
        source: std::io::Error,
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

impl Error {
    /// Of a session that has no base.
    #[must_use]
    pub fn no_base(record: &session::Record) -> Self {
        let session = record.id.clone();
        match &record.image {
            Some(image) => Self::OfImage { session, image: image.clone() },
            None => Self::NoBase(session),
        }
    }
}

fn or_none(version: &Option<VersionId>) -> &str {
    version.as_ref().map_or("none", VersionId::as_str)
}

fn list(templates: &[TemplateName]) -> String {
    templates.iter().map(TemplateName::as_str).collect::<Vec<_>>().join(", ")
}

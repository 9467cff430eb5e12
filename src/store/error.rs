//! What can go wrong in a store, by errno and never by text.

use std::io;

use crate::sys::file;

/// What a failure means to those above.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The version or session is not there (any more).
    Gone,
    /// The name is taken.
    Exists,
    /// Something still uses it: mounted, held, open.
    Busy,
    /// ENOSPC or EDQUOT: no room.
    NoRoom,
    /// This store or this host cannot do it.
    Unsupported,
    /// Anything else.
    Other,
}

/// A failed operation of a store: what was tried, on what, and why.
#[derive(Debug, thiserror::Error)]
#[error("cannot {op} {object}")]
pub struct Error {
    kind: ErrorKind,
    op: &'static str,
    object: String,
    #[source]
    source: io::Error,
}

/// The result of an operation of a store.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error of `kind`, for causes that are no errno.
    pub fn new(kind: ErrorKind, op: &'static str, object: impl Into<String>, why: impl Into<String>) -> Self {
        Self { kind, op, object: object.into(), source: io::Error::other(why.into()) }
    }

    /// An error from an I/O error; its errno gives the kind.
    pub fn io(op: &'static str, object: impl Into<String>, source: io::Error) -> Self {
        Self { kind: kind_of(&source), op, object: object.into(), source }
    }

    /// A store that cannot limit what a session takes.
    pub(super) fn no_limit(session: &super::SessionId) -> Self {
        let why = "this store cannot limit what a session writes";
        Self::new(ErrorKind::Unsupported, "set the quota of", format!("session {session}"), why)
    }

    /// What the failure means.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What it is about.
    #[must_use]
    pub fn object(&self) -> &str {
        &self.object
    }

    /// The errno behind it, if there is one.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        self.source.raw_os_error()
    }
}

impl From<file::Error> for Error {
    fn from(error: file::Error) -> Self {
        Self::io(error.op, error.path.display().to_string(), error.source)
    }
}

fn kind_of(error: &io::Error) -> ErrorKind {
    match error.raw_os_error() {
        Some(libc::ENOENT) => ErrorKind::Gone,
        Some(libc::EEXIST) => ErrorKind::Exists,
        Some(libc::EBUSY) => ErrorKind::Busy,
        Some(libc::ENOSPC | libc::EDQUOT) => ErrorKind::NoRoom,
        Some(libc::EOPNOTSUPP | libc::ENOSYS) => ErrorKind::Unsupported,
        _ => ErrorKind::Other,
    }
}

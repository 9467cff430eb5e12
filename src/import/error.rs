//! What can go wrong while a tree is filled, by errno where there is one.

use std::io;

use crate::store::{self, ErrorKind};
use crate::sys::file;

/// A failed import: what was tried, on what, and why.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An operation failed.
    #[error("cannot {op} {object}")]
    Failed {
        /// What was tried, as a verb.
        op: &'static str,
        /// On what: a path, or an entry of an archive.
        object: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// What was named can be opened but is nothing that a tree can be filled from.
    #[error("cannot import {object}: {why}")]
    NotASource {
        /// What was named.
        object: String,
        /// What it is instead, and the way out.
        why: String,
    },
    /// A beginning of a digest that several images have.
    #[error("several images begin with {text}: say more of the digest")]
    Ambiguous {
        /// What was said.
        text: String,
    },
    /// It is whole, but a session could not live in it.
    #[error("{object} has neither usr nor bin in it: it is no root file system")]
    NoRoot {
        /// What was named.
        object: String,
    },
    /// The store refused.
    #[error("cannot {op} {object}")]
    Store {
        /// What was tried, as a verb.
        op: &'static str,
        /// On what.
        object: String,
        /// Why it failed.
        #[source]
        source: store::Error,
    },
    /// It was given up, and the worker that unpacks cannot be ended: it waits in the kernel for the store.
    #[error(
        "cannot unpack {object}; its worker, process {pid}, waits for the store and cannot be ended: what it made stays \
         until the store answers"
    )]
    Stuck {
        /// What was unpacked.
        object: String,
        /// The worker.
        pid: i32,
        /// Why it was given up.
        #[source]
        source: io::Error,
    },
    /// A program that makes the tree failed.
    #[error("{program} failed ({status}); the last that it said:\n{tail}")]
    Program {
        /// Its path.
        program: &'static str,
        /// How it ended.
        status: String,
        /// The last lines of its standard error.
        tail: String,
    },
}

/// The result of an import.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub(super) fn failed(op: &'static str, object: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Self::Failed { op, object: object.into(), source: source.into() }
    }

    pub(super) fn store(op: &'static str, object: impl Into<String>, source: store::Error) -> Self {
        Self::Store { op, object: object.into(), source }
    }

    pub(super) fn no_root(object: impl Into<String>) -> Self {
        Self::NoRoot { object: object.into() }
    }

    /// What the failure means; [`ErrorKind::NoRoom`] is worth a sweep and one retry.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        if let Self::Store { source, .. } = self {
            return source.kind();
        }
        match self.errno() {
            Some(libc::EBUSY) => ErrorKind::Busy,
            Some(libc::ENOENT) => ErrorKind::Gone,
            Some(libc::ENOSPC | libc::EDQUOT) => ErrorKind::NoRoom,
            Some(libc::EOPNOTSUPP | libc::ENOSYS) => ErrorKind::Unsupported,
            _ => ErrorKind::Other,
        }
    }

    /// The errno behind it, if there is one.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Failed { source, .. } => source.raw_os_error(),
            Self::Store { source, .. } => source.errno(),
            Self::NotASource { .. }
            | Self::Ambiguous { .. }
            | Self::NoRoot { .. }
            | Self::Stuck { .. }
            | Self::Program { .. } => None,
        }
    }

    /// Whether it is about an image by its name, and not about an archive.
    #[must_use]
    pub fn is_of_image(&self) -> bool {
        matches!(self, Self::Failed { op: "find image", .. } | Self::Store { .. })
    }

    /// Whether the store does not answer: then nothing that was made in it can be taken away now, and who tries waits with
    /// the worker.
    #[must_use]
    pub fn is_stuck(&self) -> bool {
        matches!(self, Self::Stuck { .. })
    }

    /// Whether the input ended too early: then whoever wrote it knows the true reason.
    pub(super) fn is_truncated(&self) -> bool {
        matches!(self, Self::Failed { source, .. } if source.kind() == io::ErrorKind::UnexpectedEof)
    }
}

impl From<file::Error> for Error {
    fn from(error: file::Error) -> Self {
        Self::failed(error.op, error.path.display().to_string(), error.source)
    }
}

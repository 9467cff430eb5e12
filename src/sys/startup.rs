//! Start-up of a program that may be setuid root: make the process ours before anything else runs.
//!
//! [`harden`] is the first call of the program. Whatever the caller could prepare (descriptors, environment,
//! limits, umask, working directory, signals, timers) is replaced by known values; what a command must get
//! back is kept in [`Saved`]. Every failure is fatal. Afterwards the program runs with the caller's
//! effective ids, and with root's only inside [`raised`](super::privilege::raised).

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::sys::signal::{self, SigHandler, SigSet, SigmaskHow, Signal, sigprocmask};
use nix::unistd::{getresgid, getresuid, setegid, seteuid};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Resource, Rlimit};

use super::env::Environment;
use super::identity::{self, Caller};

/// Why the program may not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The effective user is not root.
    #[error("cannot run without root privileges: {0}")]
    NotRoot(&'static str),
    /// A step of the start-up failed.
    #[error("cannot {step}")]
    Step {
        /// What was tried, as a verb and its object.
        step: &'static str,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The host does not know the caller.
    #[error("cannot find out who runs the program")]
    Caller(#[from] identity::Error),
}

/// What the caller gave this process and its commands get back.
#[derive(Debug, Clone)]
pub struct Saved {
    pub(super) umask: Mode,
    pub(super) limits: Vec<(Resource, Rlimit)>,
    pub(super) mask: SigSet,
    pub(super) ignored: Vec<Signal>,
}

/// This process, once it is ours.
#[derive(Debug)]
pub struct Process {
    caller: Caller,
    cwd: OwnedFd,
    cwd_path: Option<PathBuf>,
    environment: Environment,
    saved: Saved,
}

impl Process {
    /// Who runs the program.
    #[must_use]
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// The caller's working directory, for names that the caller gave relative to it.
    #[must_use]
    pub fn cwd(&self) -> BorrowedFd<'_> {
        self.cwd.as_fd()
    }

    /// The path of the caller's working directory; `None` if it has none any more.
    #[must_use]
    pub fn cwd_path(&self) -> Option<&Path> {
        self.cwd_path.as_deref()
    }

    /// The caller's environment.
    #[must_use]
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// What commands get back.
    #[must_use]
    pub fn saved(&self) -> &Saved {
        &self.saved
    }

    /// Lets the caller's working directory go: before a session is ended whose tree it may lie in.
    ///
    /// # Errors
    /// `/` cannot be opened instead.
    pub fn release_cwd(&mut self) -> io::Result<()> {
        self.cwd = open_directory("/")?;
        Ok(())
    }

    /// This process as it is, with nothing changed: for tests, which share theirs.
    ///
    /// # Errors
    /// As [`harden`].
    #[cfg(any(test, feature = "fake"))]
    pub fn unhardened() -> Result<Self, Error> {
        let limits = LIMITS.map(|(resource, _)| (resource, rustix::process::getrlimit(resource)));
        let saved = Saved {
            umask: Mode::from_raw_mode(0o022),
            limits: limits.to_vec(),
            mask: SigSet::empty(),
            ignored: Vec::new(),
        };
        let (cwd, cwd_path) = keep_directory()?;
        let caller = Caller::of_this_process()?;
        Ok(Self { caller, cwd, cwd_path, environment: Environment::of_this_process(), saved })
    }
}

/// Makes the process ours: see the module.
///
/// # Errors
/// The effective user is not root, the caller is unknown, or a step failed; the program must then end.
pub fn harden() -> Result<Process, Error> {
    require_root()?;
    close_descriptors()?;
    let environment = take_environment()?;
    forbid_dumps()?;
    let limits = take_limits()?;
    let umask = rustix::process::umask(Mode::from_raw_mode(0o077));
    let (cwd, cwd_path) = keep_directory()?;
    leave_directory()?;
    let (mask, ignored) = take_signals()?;
    cancel_timers()?;
    let caller = Caller::of_this_process()?;
    lower()?;
    Ok(Process { caller, cwd, cwd_path, environment, saved: Saved { umask, limits, mask, ignored } })
}

fn step<T, E: Into<io::Error>>(step: &'static str, result: Result<T, E>) -> Result<T, Error> {
    result.map_err(|source| Error::Step { step, source: source.into() })
}

/// Step 1: effective root, or a reason that helps.
fn require_root() -> Result<(), Error> {
    let ids = step("read the user ids", getresuid())?;
    if ids.effective.is_root() && ids.saved.is_root() {
        return Ok(());
    }
    Err(Error::NotRoot(missing_privilege()))
}

/// Which of the usual causes keeps the setuid bit from working.
fn missing_privilege() -> &'static str {
    if rustix::thread::no_new_privs().unwrap_or(false) {
        return "“no new privileges” is set here (by a container or a service's sandbox), which disables setuid";
    }
    let path = "/proc/self/exe";
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let Ok(exe) = rustix::fs::open(path, flags, Mode::empty()) else {
        return "the program is not installed setuid root";
    };
    let is_setuid = rustix::fs::fstat(&exe)
        .is_ok_and(|stat| stat.st_uid == 0 && Mode::from_raw_mode(stat.st_mode).contains(Mode::SUID));
    let is_nosuid = rustix::fs::fstatvfs(&exe)
        .is_ok_and(|stat| stat.f_flag.contains(rustix::fs::StatVfsMountFlags::NOSUID));
    match (is_setuid, is_nosuid) {
        (false, _) => "the program is not installed setuid root",
        (true, true) => "it lies on a file system that is mounted nosuid",
        (true, false) => "it is setuid root, but this process did not get root's rights",
    }
}

/// Step 2: 0 to 2 are open, whatever else the caller left open does not reach a program that we start.
fn close_descriptors() -> Result<(), Error> {
    // The runtime opens /dev/null for missing ones before main; this is the proof.
    step("find standard input open", rustix::io::fcntl_getfd(rustix::stdio::stdin()))?;
    step("find standard output open", rustix::io::fcntl_getfd(rustix::stdio::stdout()))?;
    step("find standard error open", rustix::io::fcntl_getfd(rustix::stdio::stderr()))?;
    // SAFETY: closes nothing now; sets a flag on descriptors 3 and up, whoever owns them.
    let result = unsafe { libc::close_range(3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC as libc::c_int) };
    step("mark open files to be closed", nix::errno::Errno::result(result)).map(|_| ())
}

/// Step 3: the caller's variables become data.
fn take_environment() -> Result<Environment, Error> {
    let environment = Environment::of_this_process();
    // SAFETY: start-up is single-threaded, nobody reads the environment meanwhile.
    let result = unsafe { libc::clearenv() };
    if result != 0 {
        return step("clear the environment", Err(io::Error::from_raw_os_error(libc::ENOMEM)));
    }
    Ok(environment)
}

/// Step 4a: no core file, no ptrace by the caller, no /proc/PID/mem.
fn forbid_dumps() -> Result<(), Error> {
    let behavior = rustix::process::DumpableBehavior::NotDumpable;
    step("forbid core dumps", rustix::process::set_dumpable_behavior(behavior))
}

/// The limits that a caller could use to break off work of ours half-way, with what we want instead.
/// What is enough is left alone: root without `CAP_SYS_RESOURCE` (in a container) may not raise a hard limit.
/// Only the core size is lowered, and only its soft limit: so everything can be given back without privilege.
const LIMITS: [(Resource, Want); 11] = [
    (Resource::Core, Want::Nothing),
    (Resource::Fsize, Want::Everything),
    (Resource::Cpu, Want::Everything),
    (Resource::As, Want::Everything),
    (Resource::Data, Want::Everything),
    (Resource::Stack, Want::AtLeast(8 << 20)),
    (Resource::Nofile, Want::AtLeast(4096)),
    (Resource::Nproc, Want::AtLeast(1024)),
    (Resource::Memlock, Want::AtLeast(8 << 20)),
    (Resource::Rttime, Want::Everything),
    (Resource::Sigpending, Want::AtLeast(4096)),
];

#[derive(Debug, Clone, Copy)]
enum Want {
    Nothing,
    Everything,
    AtLeast(u64),
}

/// Step 4b: our own limits; the caller's are kept.
fn take_limits() -> Result<Vec<(Resource, Rlimit)>, Error> {
    let mut saved = Vec::new();
    for (resource, want) in LIMITS {
        let old = rustix::process::getrlimit(resource);
        saved.push((resource, old));
        step("set resource limits", rustix::process::setrlimit(resource, wanted(old, want)))?;
    }
    Ok(saved)
}

/// `None` in a limit is infinity.
fn wanted(old: Rlimit, want: Want) -> Rlimit {
    let at_least = |limit: Option<u64>, least: u64| limit.map(|limit| limit.max(least));
    match want {
        Want::Nothing => Rlimit { current: Some(0), maximum: old.maximum },
        Want::Everything => Rlimit { current: None, maximum: None },
        Want::AtLeast(least) => {
            Rlimit { current: at_least(old.current, least), maximum: at_least(old.maximum, least) }
        }
    }
}

/// Step 5a: the caller's directory as a handle and as a path.
fn keep_directory() -> Result<(OwnedFd, Option<PathBuf>), Error> {
    let cwd = step("open the working directory", open_directory("."))?;
    // It may have been removed, or lie where our root does not reach: then it has no path.
    let path = nix::unistd::getcwd().ok().filter(|path| path.is_absolute());
    Ok((cwd, path))
}

fn open_directory(path: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

/// Step 5b.
fn leave_directory() -> Result<(), Error> {
    step("change to the directory /", rustix::process::chdir("/"))
}

/// Step 6a: default dispositions, nothing blocked, a broken pipe is an error of the write.
fn take_signals() -> Result<(SigSet, Vec<Signal>), Error> {
    let mut ignored = Vec::new();
    for signal in Signal::iterator().filter(|signal| !matches!(signal, Signal::SIGKILL | Signal::SIGSTOP)) {
        // SAFETY: installs no handler.
        let old = unsafe { signal::signal(signal, SigHandler::SigDfl) };
        let was_ignored = matches!(step("reset a signal", old)?, SigHandler::SigIgn);
        // The runtime ignores SIGPIPE before main, whatever the caller did.
        if was_ignored && signal != Signal::SIGPIPE {
            ignored.push(signal);
        }
    }
    // SAFETY: installs no handler.
    let pipe = unsafe { signal::signal(Signal::SIGPIPE, SigHandler::SigIgn) };
    step("ignore SIGPIPE", pipe)?;
    let mut mask = SigSet::empty();
    let empty = SigSet::empty();
    let masked = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&empty), Some(&mut mask));
    step("unblock signals", masked)?;
    Ok((mask, ignored))
}

/// Step 6b: timers survive exec and would interrupt us at a moment of the caller's choice.
fn cancel_timers() -> Result<(), Error> {
    for which in [libc::ITIMER_REAL, libc::ITIMER_VIRTUAL, libc::ITIMER_PROF] {
        // SAFETY: all zero is a timer that is off; the old value is not asked for.
        let result = unsafe { libc::setitimer(which as _, &std::mem::zeroed(), std::ptr::null_mut()) };
        step("cancel a timer", nix::errno::Errno::result(result))?;
    }
    Ok(())
}

/// Step 8: down to the caller; the saved ids stay root's. Group first, while there is the right to.
fn lower() -> Result<(), Error> {
    let user = step("read the user ids", getresuid())?;
    let group = step("read the group ids", getresgid())?;
    if user.real.is_root() {
        return Ok(());
    }
    step("give up the privileged group", setegid(group.real))?;
    step("give up privileges", seteuid(user.real))?;
    let now = step("read the user ids", getresuid())?;
    if now.effective != user.real {
        return Err(Error::NotRoot("the effective user did not change"));
    }
    Ok(())
}

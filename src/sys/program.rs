//! Programs of the host, run with nothing of the caller's: the one wrapper of `Command`.

use std::ffi::{OsStr, OsString};
use std::io;

/// `mmdebstrap ARGUMENT...`: makes a Debian tree.
pub const MMDEBSTRAP: &str = "/usr/bin/mmdebstrap";
/// `zpool ARGUMENT...`.
pub const ZPOOL: &str = "/usr/sbin/zpool";
/// `modprobe MODULE`.
pub const MODPROBE: &str = "/usr/sbin/modprobe";

/// Why a program did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It could not be started or talked to.
    #[error("cannot run {path}")]
    Start {
        /// The program.
        path: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It failed.
    #[error("{path} failed with {ended}{}", if tail.is_empty() { String::new() } else { format!(": {tail}") })]
    Failed {
        /// The program.
        path: &'static str,
        /// Its exit status or signal.
        ended: String,
        /// The end of what it wrote to standard error.
        tail: String,
    },
}

/// A program of the host, to be run as root with an environment of its own.
#[derive(Debug)]
pub struct HostProgram {
    path: &'static str,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    stdin: Option<std::fs::File>,
}

/// Where a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

impl HostProgram {
    /// The program at an absolute path.
    #[must_use]
    pub fn new(path: &'static str) -> Self {
        Self { path, arguments: Vec::new(), environment: Vec::new(), stdin: None }
    }

    /// Adds an argument. What a user named comes after `--`.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args(mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.arguments.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    /// Adds a variable to the environment, which else has only `PATH`.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.into(), value.as_ref().to_owned()));
        self
    }

    /// Gives it a file as standard input, which else is empty.
    #[must_use]
    pub fn stdin(mut self, file: std::fs::File) -> Self {
        self.stdin = Some(file);
        self
    }

    /// Runs it and returns what it wrote to standard output.
    ///
    /// # Errors
    /// It did not start or did not succeed.
    pub fn run(self) -> Result<Vec<u8>, Error> {
        let path = self.path;
        Err(Error::Start { path, source: io::Error::from_raw_os_error(libc::ENOSYS) })
    }

    /// Runs it and passes each line that it writes to `on_line`.
    ///
    /// # Errors
    /// As [`HostProgram::run`].
    pub fn stream(self, on_line: &mut dyn FnMut(Stream, &str)) -> Result<(), Error> {
        let _ = on_line;
        let path = self.path;
        Err(Error::Start { path, source: io::Error::from_raw_os_error(libc::ENOSYS) })
    }
}

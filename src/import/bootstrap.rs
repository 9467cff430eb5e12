//! A new installation: `mmdebstrap`, whose archive is unpacked while it is written.
//!
//! ```text
//! /usr/bin/mmdebstrap --mode=root --variant=VARIANT --format=tar -- SUITE - MIRROR
//! ```
//!
//! It runs with an empty environment but for `PATH` and `LC_ALL`, in a process group of its own, and finds the
//! keyrings of the host by itself. It works in a directory of its own under /tmp, which takes about twice the
//! room of the tree. Whatever happens, its group is gone when [`Order::fill`] returns: first asked to tidy up
//! (TERM), then killed.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{Access, AtFlags, CWD};
use rustix::io::Errno;
use rustix::process::{Pid, Signal};

use super::Filled;
use super::error::{Error, Result};
use super::source::{DEFAULT_MIRROR, DEFAULT_VARIANT};
use super::tar;
use super::unpack::Aside;
use crate::store::Progress;
use crate::sys::effect;

const MMDEBSTRAP: &str = "/usr/bin/mmdebstrap";
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const TAIL_LINES: usize = 12;
const LONGEST_LINE: usize = 400;
/// How long mmdebstrap may tidy up after it was asked to end.
const TIDY: Duration = Duration::from_secs(20);
/// How long it may take for that after its work.
const REMOVES_ITS_TREE: Duration = Duration::from_secs(600);

/// What to install; nothing runs yet.
#[derive(Debug)]
pub(super) struct Order {
    program: &'static str,
    suite: String,
    variant: String,
    mirror: String,
}

impl Order {
    /// An order of checked words (see [`Source`](super::Source)).
    ///
    /// # Errors
    /// mmdebstrap is not installed.
    pub(super) fn new(suite: &str, variant: Option<&str>, mirror: Option<&str>) -> Result<Self> {
        Self::with(MMDEBSTRAP, suite, variant, mirror)
    }

    fn with(program: &'static str, suite: &str, variant: Option<&str>, mirror: Option<&str>) -> Result<Self> {
        rustix::fs::accessat(CWD, program, Access::EXEC_OK, AtFlags::EACCESS).map_err(|_| {
            Error::NotASource {
                object: format!("bootstrap:{suite}"),
                why: format!("{program} is not there; install the package mmdebstrap"),
            }
        })?;
        Ok(Self {
            program,
            suite: suite.to_owned(),
            variant: variant.unwrap_or(DEFAULT_VARIANT).to_owned(),
            mirror: mirror.unwrap_or(DEFAULT_MIRROR).to_owned(),
        })
    }

    /// Installs into the mounted empty tree `root`.
    ///
    /// # Errors
    /// mmdebstrap failed (the error has its last lines), or its archive could not be unpacked.
    pub(super) fn fill(self, root: &Path, progress: &mut dyn Progress) -> Result<Filled> {
        let name = format!("bootstrap:{}", self.suite);
        let failed = |error: io::Error| Error::failed("run", self.program, error);
        progress.start(&name, None);
        // The worker comes first: it must not hold the ends of mmdebstrap's pipes open.
        let (archive, out) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
            .map_err(|error| failed(error.into()))?;
        let unpacking = tar::start(archive.as_fd(), &name, root, None)?;
        drop(archive);
        let mut running = self.spawn(out.into()).map_err(failed)?;
        let unpacked = unpacking.finish(progress, Some(&mut running));
        // When its output ended, so does it, by itself; when the tree failed, it has to be told.
        let ending = unpacked.as_ref().map_or_else(Error::is_truncated, |_| true);
        let ended = running.end(ending, progress).map_err(failed)?;
        progress.finish();
        self.judge(unpacked, ended, &running)
    }

    /// Both have to succeed. When both failed, the one that failed for its own reason has the word: an archive
    /// that was cut off is mmdebstrap's failure, a broken pipe ours.
    fn judge(&self, unpacked: Result<Filled>, ended: ExitStatus, running: &Running) -> Result<Filled> {
        let program =
            || Error::Program { program: self.program, status: ended.to_string(), tail: running.tail() };
        match unpacked {
            Ok(filled) if ended.success() => Ok(filled),
            Err(error) if !error.is_truncated() || ended.success() => Err(error),
            Ok(_) | Err(_) => Err(program()),
        }
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "its output is the worker's input, which no wrapper offers"
    )]
    fn spawn(&self, out: Stdio) -> io::Result<Running> {
        effect::point("run mmdebstrap")?;
        let mut child = Command::new(self.program)
            .args(["--mode=root", "--format=tar"])
            .arg(format!("--variant={}", self.variant))
            .args(["--", &self.suite, "-", &self.mirror])
            .env_clear()
            .env("PATH", PATH)
            .env("LC_ALL", "C.UTF-8")
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(Stdio::piped())
            // As root in full: Perl distrusts everything when real and effective ids differ.
            .gid(0)
            .uid(0)
            .process_group(0)
            .spawn()?;
        let stderr = child.stderr.take();
        Ok(Running { child, stderr, line: Vec::new(), lines: VecDeque::new() })
    }
}

/// mmdebstrap at work; its whole process group is killed when this is dropped.
struct Running {
    child: Child,
    stderr: Option<ChildStderr>,
    line: Vec<u8>,
    lines: VecDeque<String>,
}

impl Running {
    /// Waits for its end, or brings it about; what it says until then is heard.
    fn end(&mut self, by_itself: bool, progress: &mut dyn Progress) -> io::Result<ExitStatus> {
        if !by_itself {
            self.signal(Signal::TERM);
        }
        let mut deadline = Instant::now() + if by_itself { REMOVES_ITS_TREE } else { TIDY };
        loop {
            self.drain(progress);
            if let Some(status) = self.child.try_wait()? {
                self.signal(Signal::KILL);
                self.drain(progress);
                return Ok(status);
            }
            if Instant::now() >= deadline {
                self.signal(Signal::KILL);
                deadline += TIDY;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// To the group: the programs that it started belong to it.
    fn signal(&self, signal: Signal) {
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // ESRCH: nobody is left, which is what we want.
            let _ = rustix::process::kill_process_group(group, signal);
        }
    }

    /// Reads what is there without waiting for more.
    fn drain(&mut self, progress: &mut dyn Progress) {
        while let Some(fd) = self.stderr.as_ref() {
            let mut fds = [rustix::event::PollFd::new(fd, rustix::event::PollFlags::IN)];
            let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
            match rustix::event::poll(&mut fds, Some(&now)) {
                Ok(1..) => self.ready(progress),
                Err(Errno::INTR) => {}
                Ok(0) | Err(_) => return,
            }
        }
    }

    fn line_ends(&mut self, progress: &mut dyn Progress) {
        let line: String = String::from_utf8_lossy(&self.line)
            .chars()
            .filter(|char| !char.is_control())
            .take(LONGEST_LINE)
            .collect();
        self.line.clear();
        if let Some(step) = line.strip_prefix("I: ") {
            progress.finish();
            progress.start(step, None);
        }
        if !line.trim().is_empty() {
            if self.lines.len() == TAIL_LINES {
                self.lines.pop_front();
            }
            self.lines.push_back(line);
        }
    }

    fn tail(&self) -> String {
        self.lines.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
    }
}

impl Aside for Running {
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.stderr.as_ref().map(AsFd::as_fd)
    }

    fn ready(&mut self, progress: &mut dyn Progress) {
        let mut chunk = [0_u8; 4096];
        let read = match self.stderr.as_mut().map(|stderr| stderr.read(&mut chunk)) {
            Some(Ok(read @ 1..)) => read,
            Some(Err(error)) if error.kind() == io::ErrorKind::Interrupted => return,
            _ => {
                self.stderr = None;
                return self.line_ends(progress);
            }
        };
        for byte in chunk.iter().take(read) {
            match byte {
                b'\n' | b'\r' => self.line_ends(progress),
                _ if self.line.len() < LONGEST_LINE * 4 => self.line.push(*byte),
                _ => {}
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            self.signal(Signal::KILL);
            let _ = self.child.wait();
        }
    }
}

#[cfg(test)]
#[path = "bootstrap_tests.rs"]
mod tests;

//! The parent's side while a command runs: reports, signals, job control, the end.
//!
//! Signals are held back and read one by one. Those that ask to end are passed on; those that the terminal
//! sends reach the command by themselves, since it is in our process group. We stop only when the command has
//! stopped, as a shell expects of a job, and then wait to be continued.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{self as proc, WaitOptions, WaitStatus};

use super::clone::Child;
use super::enter::Ended;
use super::privilege::raised;
use super::report::{Failure, Received, Report, receive};

/// Passed on whoever sends them.
const PASSED_ON: [Signal; 5] =
    [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGALRM];

/// Passed on if a program sends them; a terminal sends them to the command as well.
const TYPED: [Signal; 2] = [Signal::SIGINT, Signal::SIGQUIT];

/// Read and dropped: the command's own stop tells us.
const ABOUT_JOBS: [Signal; 5] =
    [Signal::SIGCHLD, Signal::SIGTSTP, Signal::SIGTTIN, Signal::SIGTTOU, Signal::SIGCONT];

/// How it went: the command ended, or never started.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Finish {
    Ended(Ended),
    Failed(Failure),
}

/// A source of the signals that are read while a command runs. They must be held back.
pub(super) fn signals() -> io::Result<SignalFd> {
    let watched = PASSED_ON.into_iter().chain(TYPED).chain(ABOUT_JOBS).collect();
    Ok(SignalFd::with_flags(&watched, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?)
}

/// A command that runs.
pub(super) struct Watch<'a> {
    child: Child,
    reports: OwnedFd,
    signals: SignalFd,
    on_report: &'a mut dyn FnMut(Report),
    failure: Option<Failure>,
    /// What the init of a process namespace said about the command's end.
    told: Option<i32>,
}

impl<'a> Watch<'a> {
    /// `reports` must not block.
    pub(super) fn new(
        child: Child,
        reports: OwnedFd,
        signals: SignalFd,
        on_report: &'a mut dyn FnMut(Report),
    ) -> Self {
        Self { child, reports, signals, on_report, failure: None, told: None }
    }

    /// Waits for the end of the child. If we cannot wait, it must not go on without us.
    pub(super) fn finish(mut self) -> io::Result<Finish> {
        let result = self.follow();
        if result.is_err() {
            self.send(Signal::SIGKILL);
        }
        result
    }

    fn follow(&mut self) -> io::Result<Finish> {
        let mut reports_open = true;
        loop {
            let ready = self.wait_for_something(reports_open)?;
            if ready.report {
                reports_open = self.take_reports();
            }
            if ready.signal {
                self.take_signals()?;
            }
            if let Some(status) = self.child_changed(ready.ended)? {
                self.take_reports();
                return Ok(self.conclude(status));
            }
        }
    }

    fn wait_for_something(&self, reports_open: bool) -> io::Result<Ready> {
        // A pipe that was closed would be ready for ever: then the handle stands in for it.
        let reports = if reports_open { self.reports.as_fd() } else { self.child.handle.as_fd() };
        let mut fds = [
            PollFd::new(&self.signals, PollFlags::IN),
            PollFd::new(&self.child.handle, PollFlags::IN),
            PollFd::from_borrowed_fd(reports, PollFlags::IN),
        ];
        match poll(&mut fds, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let [signal, ended, report] = fds.map(|fd| !fd.revents().is_empty());
        Ok(Ready { signal, ended, report: report && reports_open })
    }

    /// Whether the pipe is still open.
    fn take_reports(&mut self) -> bool {
        loop {
            match receive(self.reports.as_fd()) {
                Received::Report(report) => self.take_report(report),
                Received::Nothing => return true,
                Received::End => return false,
            }
        }
    }

    fn take_report(&mut self, report: Report) {
        match report {
            Report::Failed(failure) => self.failure = Some(failure),
            Report::Stopped { signal: _ } => self.stop_too(),
            Report::Ended { status } => self.told = Some(status),
            note => (self.on_report)(note),
        }
    }

    fn take_signals(&mut self) -> io::Result<()> {
        while let Some(info) = self.signals.read_signal()? {
            let Ok(signal) = Signal::try_from(info.ssi_signo.cast_signed()) else { continue };
            let typed = TYPED.contains(&signal) && info.ssi_code == libc::SI_KERNEL;
            if !ABOUT_JOBS.contains(&signal) && !typed {
                self.send(signal);
            }
        }
        Ok(())
    }

    /// A child that has just ended needs no signal.
    fn send(&self, signal: Signal) {
        if let Some(signal) = proc::Signal::from_named_raw(signal as i32) {
            let _ = raised(|| proc::pidfd_send_signal(&self.child.handle, signal));
        }
    }

    /// The wait status if the child has ended. Follows it if it has stopped.
    fn child_changed(&mut self, ended: bool) -> io::Result<Option<WaitStatus>> {
        let options = if ended { WaitOptions::empty() } else { WaitOptions::NOHANG | WaitOptions::UNTRACED };
        loop {
            match proc::waitpid(Some(self.child.pid), options) {
                Ok(Some((_, status))) if status.stopped() => self.stop_too(),
                Ok(Some((_, status))) => return Ok(Some(status)),
                Ok(None) => return Ok(None),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Stops this process as if the terminal had, until somebody continues it, and then the command.
    /// Without a shell that could continue it (an orphaned process group) the kernel does not stop it.
    fn stop_too(&self) {
        let mut stop = SigSet::empty();
        stop.add(Signal::SIGTSTP);
        let unblocked = sigprocmask(SigmaskHow::SIG_UNBLOCK, Some(&stop), None);
        let stopped = nix::sys::signal::kill(nix::unistd::getpid(), Signal::SIGTSTP);
        let blocked = sigprocmask(SigmaskHow::SIG_BLOCK, Some(&stop), None);
        if unblocked.is_err() || stopped.is_err() || blocked.is_err() {
            tracing::debug!("cannot stop together with the command");
        }
        self.send(Signal::SIGCONT);
    }

    fn conclude(&self, status: WaitStatus) -> Finish {
        if let Some(failure) = self.failure {
            return Finish::Failed(failure);
        }
        // An init tells the command's own status; killed from outside, it tells nothing and its own counts.
        let raw = self.told.unwrap_or(status.as_raw());
        Finish::Ended(if libc::WIFSIGNALED(raw) {
            Ended::Signaled(libc::WTERMSIG(raw))
        } else {
            Ended::Exited(u8::try_from(libc::WEXITSTATUS(raw)).unwrap_or(u8::MAX))
        })
    }
}

struct Ready {
    signal: bool,
    ended: bool,
    report: bool,
}

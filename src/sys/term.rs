//! The terminal: whether there is one, and its attributes across a login shell.

use std::os::fd::BorrowedFd;

use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use rustix::termios::{OptionalActions, Termios};

/// Whether standard input is a terminal.
#[must_use]
pub fn is_interactive() -> bool {
    rustix::termios::isatty(rustix::stdio::stdin())
}

/// Whether standard error is a terminal.
#[must_use]
pub fn is_error_shown() -> bool {
    rustix::termios::isatty(rustix::stdio::stderr())
}

/// The width of the terminal on standard output.
#[must_use]
pub fn width() -> Option<u16> {
    let size = rustix::termios::tcgetwinsize(rustix::stdio::stdout()).ok()?;
    (size.ws_col > 0).then_some(size.ws_col)
}

/// The controlling terminal's path, for the log.
#[must_use]
pub fn name() -> Option<String> {
    rustix::termios::ttyname(rustix::stdio::stdin(), Vec::new()).ok()?.into_string().ok()
}

/// A terminal in whose foreground this process was, with its attributes.
#[derive(Debug)]
pub(super) struct Terminal {
    attributes: Termios,
    group: rustix::process::Pid,
}

impl Terminal {
    /// Remembers the terminal on standard input; `None` if there is none or it is not ours at the moment.
    pub(super) fn remember() -> Option<Self> {
        let group = rustix::termios::tcgetpgrp(tty()).ok()?;
        let attributes = rustix::termios::tcgetattr(tty()).ok()?;
        // Not rustix's: in a namespace of processes that does not have the group's leader the answer is 0, no Pid of it.
        let own = nix::unistd::getpgrp();
        (own.as_raw() == group.as_raw_nonzero().get()).then_some(Self { attributes, group })
    }

    /// Takes the terminal back after a shell that had it to itself, as it was.
    pub(super) fn restore(&self) {
        // A background process that sets the terminal is stopped for it, unless it blocks this.
        let mut touched = SigSet::empty();
        touched.add(Signal::SIGTTOU);
        let mut old = SigSet::empty();
        let blocked = sigprocmask(SigmaskHow::SIG_BLOCK, Some(&touched), Some(&mut old));
        let taken = rustix::termios::tcsetpgrp(tty(), self.group);
        let set = rustix::termios::tcsetattr(tty(), OptionalActions::Drain, &self.attributes);
        let unblocked = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&old), None);
        if blocked.is_err() || taken.is_err() || set.is_err() || unblocked.is_err() {
            // The terminal may be gone with its window; the shell's status is what counts.
            tracing::debug!("cannot restore the terminal");
        }
    }
}

fn tty() -> BorrowedFd<'static> {
    rustix::stdio::stdin()
}

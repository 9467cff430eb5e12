//! Signals: held back while work must not be broken off, and while a command runs.

use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};

/// The signals that ask a program to end or to stop.
const BREAKING: [Signal; 5] =
    [Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM, Signal::SIGQUIT, Signal::SIGTSTP];

/// Holds signals back until dropped. May be nested; a command that is entered meanwhile gets the caller's mask.
#[derive(Debug)]
#[must_use = "signals are held back only while this lives"]
pub struct Held {
    before: SigSet,
}

impl Held {
    /// Holds back the signals that would end or stop the program: HUP, INT, TERM, QUIT, TSTP.
    ///
    /// # Errors
    /// As sigprocmask(2).
    pub fn breaking() -> std::io::Result<Self> {
        Self::these(&BREAKING.into_iter().collect())
    }

    /// Holds back every signal that can be.
    ///
    /// # Errors
    /// As sigprocmask(2).
    pub fn all() -> std::io::Result<Self> {
        Self::these(&SigSet::all())
    }

    pub(super) fn these(set: &SigSet) -> std::io::Result<Self> {
        let mut before = SigSet::empty();
        sigprocmask(SigmaskHow::SIG_BLOCK, Some(set), Some(&mut before))?;
        Ok(Self { before })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // Setting a mask that was read before cannot fail.
        let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&self.before), None);
    }
}

/// A signal that came while it was held back and asks the program to end.
#[must_use]
pub fn asked_to_end() -> Option<Signal> {
    let mut pending = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigpending fills the set that it is given.
    let pending = unsafe {
        if libc::sigpending(pending.as_mut_ptr()) != 0 {
            return None;
        }
        SigSet::from_sigset_t_unchecked(pending.assume_init())
    };
    BREAKING.into_iter().filter(|signal| *signal != Signal::SIGTSTP).find(|signal| pending.contains(*signal))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask() -> SigSet {
        let mut mask = SigSet::empty();
        sigprocmask(SigmaskHow::SIG_BLOCK, None, Some(&mut mask)).unwrap();
        mask
    }

    #[test]
    fn signals_are_held_back_while_the_guard_lives() {
        let before = mask();
        let outer = Held::breaking().unwrap();
        let inner = Held::all().unwrap();
        assert!(mask().contains(Signal::SIGUSR1));
        drop(inner);
        assert!(mask().contains(Signal::SIGTERM) && !mask().contains(Signal::SIGUSR1));
        drop(outer);
        assert_eq!(mask(), before);
    }

    #[test]
    fn a_signal_that_came_meanwhile_is_seen() {
        let held = Held::breaking().unwrap();
        assert_eq!(asked_to_end(), None);
        // To this thread only, so that other tests do not get it.
        // SAFETY: the signal is blocked; it is taken back below.
        unsafe { libc::pthread_kill(libc::pthread_self(), libc::SIGTERM) };
        assert_eq!(asked_to_end(), Some(Signal::SIGTERM));
        let mut set = SigSet::empty();
        set.add(Signal::SIGTERM);
        assert_eq!(set.wait().unwrap(), Signal::SIGTERM);
        drop(held);
    }
}

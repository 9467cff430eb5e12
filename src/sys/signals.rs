//! Signals that end a program wait while it must not end half way.

use std::io;

use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};

/// What a user, a terminal or an init system sends to end or stop a program.
const ENDING: [Signal; 5] =
    [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM, Signal::SIGTSTP];

/// Runs `body` while signals that would end or stop the program wait. Afterwards the mask is as it was, and
/// what came meanwhile takes effect. Scopes may be nested.
pub fn held<T>(body: impl FnOnce() -> T) -> T {
    let _scope = Scope::enter();
    body()
}

/// Fails with EINTR if a signal that would end the program waits: long work looks here between its steps.
///
/// # Errors
/// A signal waits.
pub fn interrupted() -> io::Result<()> {
    let mut waiting = std::mem::MaybeUninit::uninit();
    // SAFETY: sigpending(2) fills the set that it is given and has no other effect.
    let waiting = unsafe {
        if libc::sigpending(waiting.as_mut_ptr()) != 0 {
            return Err(io::Error::last_os_error());
        }
        SigSet::from_sigset_t_unchecked(waiting.assume_init())
    };
    let ending = ENDING.iter().filter(|signal| **signal != Signal::SIGTSTP);
    if ending.into_iter().any(|signal| waiting.contains(*signal)) {
        return Err(io::Error::from_raw_os_error(libc::EINTR));
    }
    Ok(())
}

struct Scope(Option<SigSet>);

impl Scope {
    fn enter() -> Self {
        let mut before = SigSet::empty();
        let ending: SigSet = ENDING.into_iter().collect();
        // It fails for a wrong argument only; then nothing is held and nothing must be undone.
        match sigprocmask(SigmaskHow::SIG_BLOCK, Some(&ending), Some(&mut before)) {
            Ok(()) => Self(Some(before)),
            Err(_) => Self(None),
        }
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            // As above.
            let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(before), None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_waits_until_the_scope_ends() {
        held(|| {
            assert!(interrupted().is_ok());
            nix::sys::signal::raise(Signal::SIGHUP).unwrap();
            assert_eq!(interrupted().unwrap_err().raw_os_error(), Some(libc::EINTR));
            // Taken away here, for else the test's process would end with the scope.
            let hup: SigSet = [Signal::SIGHUP].into_iter().collect();
            assert_eq!(hup.wait().unwrap(), Signal::SIGHUP);
        });
    }
}

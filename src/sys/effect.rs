//! Crash points: a name for every effect that the program has on the world outside it.
//!
//! In the shipped program [`point`] is empty. With the `fake` feature a test installs a [`Plan`]: the n-th
//! effect then fails with an errno, or the program "crashes" there (an unwinding panic that the driver
//! catches; whatever was made durable before it stays).

use std::io;

/// Announces an effect that is about to happen.
///
/// # Errors
/// Only under a test's plan: the errno that it asked for.
#[cfg(not(any(test, feature = "fake")))]
#[inline(always)]
pub fn point(_name: &'static str) -> io::Result<()> {
    Ok(())
}

/// Announces an effect that is about to happen.
///
/// # Errors
/// The errno that the installed plan asks for.
#[cfg(any(test, feature = "fake"))]
pub fn point(name: &'static str) -> io::Result<()> {
    plan::step(name)
}

#[cfg(any(test, feature = "fake"))]
pub use plan::{Crash, Mode, Plan, run};

#[cfg(any(test, feature = "fake"))]
mod plan {
    use std::cell::RefCell;
    use std::io;

    /// What happens at the chosen effect.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Mode {
        /// The effect does not happen; the call returns this errno.
        Fail(i32),
        /// The program stops before the effect.
        Crash,
    }

    /// A fault at the `at`-th effect, counted from 1.
    #[derive(Debug, Clone, Copy)]
    pub struct Plan {
        /// Which effect, counted from 1; 0 only counts.
        pub at: usize,
        /// What happens there.
        pub mode: Mode,
    }

    /// The panic payload of an injected crash.
    #[derive(Debug)]
    pub struct Crash {
        /// The name of the effect that did not happen any more.
        pub at: &'static str,
    }

    struct Running {
        plan: Plan,
        seen: Vec<&'static str>,
    }

    thread_local! {
        static RUNNING: RefCell<Option<Running>> = const { RefCell::new(None) };
    }

    pub(super) fn step(name: &'static str) -> io::Result<()> {
        let fault = RUNNING.with_borrow_mut(|running| {
            let running = running.as_mut()?;
            running.seen.push(name);
            (running.seen.len() == running.plan.at).then_some(running.plan.mode)
        });
        match fault {
            None => Ok(()),
            Some(Mode::Fail(errno)) => Err(io::Error::from_raw_os_error(errno)),
            Some(Mode::Crash) => std::panic::resume_unwind(Box::new(Crash { at: name })),
        }
    }

    /// Runs `body` under `plan` on this thread: its result (`Err` for an injected crash) and the names of all
    /// effects seen. Any other panic is passed on.
    pub fn run<T>(plan: Plan, body: impl FnOnce() -> T) -> (Result<T, Crash>, Vec<&'static str>) {
        RUNNING.set(Some(Running { plan, seen: Vec::new() }));
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
        let seen = RUNNING.take().map(|running| running.seen).unwrap_or_default();
        match result {
            Ok(value) => (Ok(value), seen),
            Err(payload) => match payload.downcast::<Crash>() {
                Ok(crash) => (Err(*crash), seen),
                Err(other) => std::panic::resume_unwind(other),
            },
        }
    }
}

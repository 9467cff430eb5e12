//! Crash points: a name for every effect that the program has on the world outside it.
//!
//! In the shipped program [`point`] is empty. With the `fake` feature a test installs a [`Plan`]: the n-th
//! effect then fails with an errno, or the program "crashes" there (an unwinding panic that the driver
//! catches; whatever was made durable before it stays).
//!
//! A crash *after* the n-th effect is one before the next: nothing outside the process changes between two
//! points, and where one effect is several calls each of them has a point of its own. Only the last effect has no
//! next one: for it there is [`Mode::CrashAfter`], which stops the program when the operation returns.
//!
//! A process that was killed does nothing more. What runs while a crash unwinds (a `Drop`) therefore meets an
//! error at every point.

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

/// Does the work of something outside the program, a pool for one: none of its steps is an effect of ours.
#[cfg(any(test, feature = "fake"))]
pub(crate) use plan::elsewhere;
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
        /// As [`Mode::Fail`], and so does every later effect.
        FailFrom(i32),
        /// The program stops before the effect.
        Crash,
        /// The program stops after the effect and before the next one.
        CrashAfter,
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
        crashed: bool,
    }

    enum Fault {
        Errno(i32),
        Crash,
    }

    impl Running {
        fn step(&mut self, name: &'static str) -> Option<Fault> {
            if self.crashed {
                return Some(Fault::Errno(libc::EOWNERDEAD));
            }
            self.seen.push(name);
            let (now, at) = (self.seen.len(), self.plan.at);
            match self.plan.mode {
                _ if at == 0 => None,
                Mode::Fail(errno) if now == at => Some(Fault::Errno(errno)),
                Mode::FailFrom(errno) if now >= at => Some(Fault::Errno(errno)),
                Mode::Crash if now == at => Some(Fault::Crash),
                Mode::CrashAfter if now > at => Some(Fault::Crash),
                _ => None,
            }
        }

        /// Whether the operation stops as it returns.
        fn ends(&self) -> bool {
            self.plan.mode == Mode::CrashAfter && self.plan.at > 0 && self.seen.len() >= self.plan.at
        }
    }

    thread_local! {
        static RUNNING: RefCell<Option<Running>> = const { RefCell::new(None) };
    }

    pub(super) fn step(name: &'static str) -> io::Result<()> {
        let fault = RUNNING.with_borrow_mut(|running| {
            let running = running.as_mut()?;
            let fault = running.step(name);
            running.crashed |= matches!(fault, Some(Fault::Crash));
            fault
        });
        match fault {
            None => Ok(()),
            Some(Fault::Errno(errno)) => Err(io::Error::from_raw_os_error(errno)),
            Some(Fault::Crash) => std::panic::resume_unwind(Box::new(Crash { at: name })),
        }
    }

    /// Runs `body` under `plan` on this thread: its result (`Err` for an injected crash) and the names of all
    /// effects seen. Any other panic is passed on.
    pub fn run<T>(plan: Plan, body: impl FnOnce() -> T) -> (Result<T, Crash>, Vec<&'static str>) {
        RUNNING.set(Some(Running { plan, seen: Vec::new(), crashed: false }));
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
        let Some(running) = RUNNING.take() else { return (Err(Crash { at: "no plan" }), Vec::new()) };
        match result {
            Ok(_) if running.ends() => (Err(Crash { at: "the end" }), running.seen),
            Ok(value) => (Ok(value), running.seen),
            Err(payload) => match payload.downcast::<Crash>() {
                Ok(crash) => (Err(*crash), running.seen),
                Err(other) => std::panic::resume_unwind(other),
            },
        }
    }

    pub(crate) fn elsewhere<T>(work: impl FnOnce() -> T) -> T {
        let running = RUNNING.take();
        let done = work();
        RUNNING.set(running);
        done
    }

    #[cfg(test)]
    mod tests {
        use super::super::point;
        use super::*;

        fn three() -> io::Result<()> {
            ["one", "two", "three"].into_iter().try_for_each(point)
        }

        fn stopped(mode: Mode, at: usize) -> (Option<&'static str>, usize) {
            let (result, seen) = run(Plan { at, mode }, three);
            (result.err().map(|crash| crash.at), seen.len())
        }

        #[test]
        fn a_crash_is_before_or_after_an_effect() {
            assert_eq!(stopped(Mode::Crash, 2), (Some("two"), 2));
            assert_eq!(stopped(Mode::CrashAfter, 2), (Some("three"), 3));
            assert_eq!(stopped(Mode::CrashAfter, 3), (Some("the end"), 3));
            assert_eq!(stopped(Mode::CrashAfter, 4), (None, 3));
            assert_eq!(stopped(Mode::Crash, 0), (None, 3));
            assert_eq!(stopped(Mode::CrashAfter, 0), (None, 3));
        }

        #[test]
        fn a_fault_is_met_once_or_from_then_on() {
            let body = || ["one", "two", "three"].map(|name| point(name).is_err());
            let failed = |mode| run(Plan { at: 2, mode }, body).0.unwrap();
            assert_eq!(failed(Mode::Fail(libc::EIO)), [false, true, false]);
            assert_eq!(failed(Mode::FailFrom(libc::EIO)), [false, true, true]);
        }

        #[test]
        fn what_unwinds_changes_nothing_any_more() {
            struct Tidy<'a>(&'a std::cell::Cell<Option<i32>>);
            impl Drop for Tidy<'_> {
                fn drop(&mut self) {
                    self.0.set(point("tidy").err().and_then(|error| error.raw_os_error()));
                }
            }
            let met = std::cell::Cell::new(None);
            let (result, seen) = run(Plan { at: 2, mode: Mode::Crash }, || {
                let _tidy = Tidy(&met);
                three()
            });
            assert_eq!(result.unwrap_err().at, "two");
            assert_eq!((met.get(), seen.len()), (Some(libc::EOWNERDEAD), 2));
        }

        #[test]
        fn what_happens_elsewhere_is_no_effect() {
            let (_, seen) =
                run(Plan { at: 0, mode: Mode::Crash }, || elsewhere(three).and_then(|()| point("ours")));
            assert_eq!(seen, ["ours"]);
        }
    }
}

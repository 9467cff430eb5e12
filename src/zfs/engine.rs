//! The pool as the store uses it: libzetta's [`ZfsLzc`] for what it can do, [`ffi`] for the rest, and the
//! channel programs.
//!
//! Nothing here runs another program; libzetta's `ZfsOpen3` and its kin are banned. Each call that changes
//! the pool is an effect and one transaction group: what has returned is on disk. Such calls do not wait for
//! each other, and no signal is let in meanwhile: one could stop a channel program between two steps, or while
//! it reads.

use std::io;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use libzetta::libnv::nvpair::{NvList, Value};
use libzetta::zfs::{CreateDatasetRequest, DatasetKind, DestroyTiming, Error as Zetta, ZfsEngine, ZfsLzc};
use nix::sys::signal::{SigSet, SigmaskHow};

use super::ffi;
use crate::store::{Error, ErrorKind, Outcome, Result};
use crate::sys::effect;

/// Ten million steps and 32 MiB: a listing of a hundred thousand sessions stays far below both.
const INSTRUCTIONS: u64 = 10_000_000;
const MEMORY: u64 = 32 << 20;

/// A value of a property that a dataset is made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Property {
    Text(&'static str),
    Number(u64),
}

/// One pool.
#[derive(Debug, Clone)]
pub(super) struct Engine {
    lzc: ZfsLzc,
    pool: String,
}

impl Engine {
    pub(super) fn open(pool: &str) -> Result<Self> {
        match ZfsLzc::new() {
            Ok(lzc) => Ok(Self { lzc, pool: pool.to_owned() }),
            Err(error) => Err(unopened(error)),
        }
    }

    /// Whether a dataset or snapshot is there; what cannot be looked up is not.
    pub(super) fn exists(&self, name: &str) -> bool {
        self.lzc.exists(name).unwrap_or(false)
    }

    /// Makes a file system that inherits everything: one transaction.
    pub(super) fn create(&self, name: &str) -> io::Result<()> {
        let request = CreateDatasetRequest::builder().name(name).kind(DatasetKind::Filesystem).build();
        let request = request.map_err(io::Error::other)?;
        change("lzc_create", || self.lzc.create(request).map_err(cause))
    }

    /// Makes a file system with properties: two transactions, so a power cut may leave it without them.
    pub(super) fn create_with(&self, name: &str, properties: &[(&str, Property)]) -> io::Result<()> {
        let list = list(properties)?;
        change("lzc_create", || ffi::create(&self.lzc, name, &list))
    }

    pub(super) fn clone_from(&self, origin: &str, name: &str) -> io::Result<()> {
        change("lzc_clone", || ffi::clone(&self.lzc, name, origin, None))
    }

    /// As [`Engine::clone_from`], with properties: with some it is two transactions.
    pub(super) fn clone_with(
        &self,
        origin: &str,
        name: &str,
        properties: &[(&str, Property)],
    ) -> io::Result<()> {
        if properties.is_empty() {
            return self.clone_from(origin, name);
        }
        let list = list(properties)?;
        change("lzc_clone", || ffi::clone(&self.lzc, name, origin, Some(&list)))
    }

    /// As [`Engine::clone_from`]; what is written to the clone takes at most `limit` bytes.
    pub(super) fn clone_limited(&self, origin: &str, name: &str, limit: Option<u64>) -> io::Result<()> {
        let Some(limit) = limit else { return self.clone_from(origin, name) };
        let mut list = NvList::default();
        list.insert_u64("quota", limit).map_err(io::Error::other)?;
        change("lzc_clone", || ffi::clone(&self.lzc, name, origin, Some(&list)))
    }

    pub(super) fn promote(&self, name: &str) -> io::Result<()> {
        change("lzc_promote", || ffi::promote(&self.lzc, name))
    }

    pub(super) fn destroy(&self, name: &str) -> io::Result<()> {
        change("lzc_destroy", || ffi::destroy(&self.lzc, name))
    }

    /// As [`Engine::destroy`], waiting for a mount that is just being let go. What is not there is destroyed.
    pub(super) fn destroy_patiently(&self, dataset: &str, patience: Duration) -> Result<Outcome> {
        let deadline = Instant::now() + patience;
        let mut pause = Duration::from_millis(5);
        loop {
            match self.destroy(dataset) {
                Ok(()) => return Ok(Outcome::Changed),
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(Outcome::Unchanged),
                Err(error)
                    if error.raw_os_error() == Some(libc::EBUSY) && Instant::now() + pause < deadline =>
                {
                    sleep(pause);
                    pause = (pause * 2).min(Duration::from_secs(1));
                }
                Err(error) => return Err(Error::io("destroy", dataset, error)),
            }
        }
    }

    /// Destroys a snapshot now, or when its last clone goes. One that is not there is destroyed.
    pub(super) fn destroy_snapshot_later(&self, name: &str) -> io::Result<()> {
        change("lzc_destroy_snaps", || {
            self.lzc.destroy_snapshots(&[PathBuf::from(name)], DestroyTiming::Defer).map_err(cause)
        })
    }

    /// Takes a snapshot.
    pub(super) fn snapshot(&self, name: &str) -> io::Result<()> {
        change("lzc_snapshot", || self.lzc.snapshot(&[PathBuf::from(name)], None).map_err(cause))
    }

    /// Takes a snapshot with properties of the user's, all at once.
    pub(super) fn snapshot_with(&self, name: &str, properties: &[(String, String)]) -> io::Result<()> {
        let properties = (!properties.is_empty()).then(|| properties.iter().cloned().collect());
        change("lzc_snapshot", || self.lzc.snapshot(&[PathBuf::from(name)], properties).map_err(cause))
    }

    /// Destroys a snapshot that nothing is cloned from.
    pub(super) fn destroy_snapshot(&self, name: &str) -> io::Result<()> {
        change("lzc_destroy_snaps", || {
            self.lzc.destroy_snapshots(&[PathBuf::from(name)], DestroyTiming::RightNow).map_err(cause)
        })
    }

    /// Waits until what was done so far is on the disk, and some of what was destroyed is free.
    pub(super) fn sync(&self) -> io::Result<()> {
        ffi::sync(&self.lzc, &self.pool)
    }

    /// Runs a program that reads. It sees the pool at one instant: no change is made while it runs.
    ///
    /// Signals are kept out here too. A longer program looks for them itself, and a stop signal (a Ctrl-Z) would
    /// stop it in the kernel, where it holds what every change of the pool waits for.
    pub(super) fn read(&self, object: &str, program: &str, args: &[(&str, &str)]) -> Result<String> {
        let _quiet = Quiet::new().map_err(|error| Error::io("read", object, error))?;
        self.run(false, program, args).map_err(|error| self.failed("read", object, error))
    }

    /// Runs a program that changes the pool, in one transaction group.
    pub(super) fn commit(&self, object: &str, program: &str, args: &[(&str, &str)]) -> Result<String> {
        let run = || Ok(self.run(true, program, args));
        match change("lzc_channel_program", run) {
            Err(error) => Err(Error::io("commit", object, error)),
            Ok(outcome) => outcome.map_err(|error| self.failed("commit", object, error)),
        }
    }

    fn run(&self, sync: bool, program: &str, args: &[(&str, &str)]) -> std::result::Result<String, Zetta> {
        let mut list = NvList::default();
        for (name, value) in args {
            list.insert_string(*name, *value)?;
        }
        let pool = self.pool.as_str();
        let out = self.lzc.run_channel_program(pool, program, INSTRUCTIONS, MEMORY, sync, list)?;
        Ok(out.get_string("return")?)
    }

    /// A failure to run a program at all. What a program *decided* is in what it returns, never here.
    fn failed(&self, op: &'static str, object: &str, error: Zetta) -> Error {
        let other = |why: String| Error::new(ErrorKind::Other, op, object, why);
        match error {
            Zetta::ChanProgRuntime(_) | Zetta::Io(_) if !self.exists(&self.pool) => {
                other(no_pool(&self.pool))
            }
            Zetta::ChanProgRuntime(details) | Zetta::ChanProgInval(details) => {
                let text = match details.get("error") {
                    Some(Value::String(text)) => text.lines().next().unwrap_or_default().to_owned(),
                    _ => "no reason given".to_owned(),
                };
                other(format!("the channel program failed: {text}"))
            }
            Zetta::Io(error) => match error.raw_os_error() {
                // Its own memory limit, not the pool's: nothing is gained by making room.
                Some(libc::ENOSPC) => other("the channel program ran out of its own memory".to_owned()),
                Some(libc::ETIME) => other("the channel program ran out of instructions".to_owned()),
                _ => Error::io(op, object, error),
            },
            error => Error::io(op, object, cause(error)),
        }
    }
}

/// What to say when there is no such pool.
pub(super) fn no_pool(pool: &str) -> String {
    format!("there is no pool {pool} (is it imported?)")
}

fn list(properties: &[(&str, Property)]) -> io::Result<NvList> {
    let mut list = NvList::default();
    for (property, value) in properties {
        match *value {
            Property::Text(text) => list.insert_string(*property, text),
            Property::Number(number) => list.insert_u64(*property, number),
        }
        .map_err(io::Error::other)?;
    }
    Ok(list)
}

/// Announces an effect and brings it about with all signals kept out.
fn change<T>(effect: &'static str, call: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    effect::point(effect)?;
    let _quiet = Quiet::new()?;
    call()
}

/// All signals wait until this is dropped.
struct Quiet(SigSet);

impl Quiet {
    fn new() -> io::Result<Self> {
        Ok(Self(SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK)?))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        if let Err(error) = self.0.thread_set_mask() {
            tracing::error!(%error, "cannot let signals in again");
        }
    }
}

fn unopened(error: Zetta) -> Error {
    let (op, object) = ("open", "/dev/zfs");
    let absent = [libc::ENOENT, libc::ENXIO, libc::ENODEV];
    match error {
        Zetta::LZCInitializationFailed(error) | Zetta::Io(error) => match error.raw_os_error() {
            Some(errno) if absent.contains(&errno) => {
                Error::new(ErrorKind::Unsupported, op, object, "the zfs kernel module is not loaded")
            }
            _ => Error::io(op, object, error),
        },
        error => Error::io(op, object, cause(error)),
    }
}

/// The errno in an error of libzetta.
fn cause(error: Zetta) -> io::Error {
    match error {
        Zetta::Io(error) | Zetta::LZCInitializationFailed(error) => error,
        Zetta::MultiOpError(errors) => {
            let errno = errors.values().find_map(|value| match value {
                Value::Int32(errno) => Some(*errno),
                _ => None,
            });
            errno.map_or_else(|| io::Error::other("no errno given"), io::Error::from_raw_os_error)
        }
        error => io::Error::other(format!("libzetta: {error:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn os(errno: i32) -> io::Error {
        io::Error::from_raw_os_error(errno)
    }

    #[test]
    fn without_the_module_the_error_says_so() {
        for errno in [libc::ENOENT, libc::ENXIO, libc::ENODEV] {
            let error = unopened(Zetta::LZCInitializationFailed(os(errno)));
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            let source = std::error::Error::source(&error).unwrap().to_string();
            assert_eq!(source, "the zfs kernel module is not loaded");
        }
        assert_eq!(unopened(Zetta::LZCInitializationFailed(os(libc::EACCES))).errno(), Some(libc::EACCES));
        assert_eq!(unopened(Zetta::Unknown).kind(), ErrorKind::Other);
    }

    #[test]
    fn the_errno_of_the_first_failed_snapshot_is_the_cause() {
        let errors = [("p/a@b".to_owned(), Value::Int32(libc::EBUSY))].into();
        assert_eq!(cause(Zetta::MultiOpError(errors)).raw_os_error(), Some(libc::EBUSY));
        assert_eq!(cause(Zetta::Io(os(libc::EDQUOT))).raw_os_error(), Some(libc::EDQUOT));
        assert_eq!(cause(Zetta::MultiOpError([].into())).raw_os_error(), None);
        assert_eq!(cause(Zetta::Unknown).raw_os_error(), None);
    }

    #[test]
    fn an_effect_that_a_plan_fails_is_not_brought_about() {
        let plan = effect::Plan { at: 1, mode: effect::Mode::Fail(libc::EIO) };
        let (result, seen) =
            effect::run(plan, || change("lzc_clone", || -> io::Result<()> { panic!("it was") }));
        assert_eq!(result.unwrap().unwrap_err().raw_os_error(), Some(libc::EIO));
        assert_eq!(seen, ["lzc_clone"]);
    }

    #[test]
    fn signals_wait_while_the_pool_changes_and_come_in_after() {
        use nix::sys::signal::Signal;
        let before = SigSet::thread_get_mask().unwrap();
        let during = change("lzc_clone", || Ok(SigSet::thread_get_mask()?)).unwrap();
        assert!(during.contains(Signal::SIGTERM) && during.contains(Signal::SIGINT));
        assert_eq!(SigSet::thread_get_mask().unwrap(), before);
    }
}

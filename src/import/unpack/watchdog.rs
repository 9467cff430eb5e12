//! When a worker that comes no further is given up, and as what.
//!
//! Only who stands in one piece of work in the store, and the store is nearly full, is out of room: near a quota ZFS lets
//! writers wait instead of failing them (openzfs/zfs#1668). Whoever waits for a silent source, or for a store with room
//! enough, is no such case, and nothing is evicted for him: he is given up after [`Progress::patience`].
//!
//! [`Progress::patience`]: crate::store::Progress::patience

use std::fs::File;
use std::io;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use crate::sys::whereabouts::{Place, Whereabouts};

/// How long a writer may stand in a store that is nearly full.
const WHEN_FULL: Duration = Duration::from_secs(30);
/// Not a share of all: a dataset says that it is as large as what is in it and what may still come.
const NEARLY_FULL: u64 = 32 << 20;

/// Looks after one worker.
#[derive(Debug)]
pub(super) struct Watchdog {
    root: File,
    whereabouts: Whereabouts,
    number: u64,
    /// Since when it has been in that one piece of work, and has said nothing.
    stands: Instant,
    /// When somebody who has to do with it was heard last.
    heard: Instant,
    when_full: Duration,
}

impl Watchdog {
    /// Of a worker in the tree that is open as `root`.
    pub(super) fn new(root: File, whereabouts: Whereabouts) -> Self {
        let number = whereabouts.number();
        let now = Instant::now();
        Self { root, whereabouts, number, stands: now, heard: now, when_full: WHEN_FULL }
    }

    /// The worker said something.
    pub(super) fn worker_heard(&mut self) {
        self.heard = Instant::now();
        self.stands = self.heard;
    }

    /// Somebody else said something on whom it depends.
    pub(super) fn others_heard(&mut self) {
        self.heard = Instant::now();
    }

    /// Why it has to be given up now, if it has.
    ///
    /// # Errors
    /// As fstatvfs(2).
    pub(super) fn look(&mut self, patience: Duration) -> io::Result<Option<io::Error>> {
        let number = self.whereabouts.number();
        if number != self.number {
            self.number = number;
            self.stands = Instant::now();
        }
        let place = Whereabouts::place_of(number);
        let silent = match place {
            Place::Store => self.stands.elapsed(),
            Place::Elsewhere => self.heard.elapsed(),
        };
        if place == Place::Store && silent >= patience.min(self.when_full) && self.is_nearly_full()? {
            return Ok(Some(Errno::NOSPC.into()));
        }
        Ok((silent >= patience).then(|| stall(silent, place)))
    }

    fn is_nearly_full(&self) -> io::Result<bool> {
        let space = rustix::fs::fstatvfs(&self.root)?;
        Ok(space.f_bavail.saturating_mul(space.f_frsize) < NEARLY_FULL)
    }

    #[cfg(test)]
    pub(super) fn set_when_full(&mut self, when_full: Duration) {
        self.when_full = when_full;
    }
}

fn stall(silent: Duration, place: Place) -> io::Error {
    let what = match place {
        Place::Store => "what it is written to stalls",
        Place::Elsewhere => "what it is read from stalls",
    };
    let why = format!("it came no further for {} s: {what} (stall in zchroot.toml)", silent.as_secs());
    io::Error::new(io::ErrorKind::TimedOut, why)
}

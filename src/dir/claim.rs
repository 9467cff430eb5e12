//! Holding a directory: flock(2) on the directory itself.
//!
//! It tells a left-over of a crash, which nobody holds, from what somebody is making or removing right now.

use std::fs::{File, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use super::{failed, place};
use crate::store::{Error, ErrorKind, Result};
use crate::sys::file;

/// A directory that was to be made.
#[derive(Debug)]
pub(super) enum Made {
    /// It is new, and held.
    New(File),
    /// It was there and nobody held it; it is held now.
    LeftOver(File),
    /// Somebody else holds it.
    Taken,
}

/// A directory that was to be held.
#[derive(Debug)]
pub(super) enum Hold {
    /// It is held.
    Held(File),
    /// Somebody else holds it.
    Taken,
    /// There is none.
    Absent,
}

/// Makes the directory `path` (0700) or takes over one that nobody holds.
pub(super) fn make(path: &Path) -> Result<Made> {
    for _ in 0..100 {
        let new = file::make_dirs(path, 0o700)?;
        match hold(path)? {
            Hold::Held(dir) if new => return Ok(Made::New(dir)),
            Hold::Held(dir) => return Ok(Made::LeftOver(dir)),
            Hold::Taken => return Ok(Made::Taken),
            // It was renamed or removed between the two calls.
            Hold::Absent => {}
        }
    }
    Err(Error::new(
        ErrorKind::Busy,
        "make",
        path.display().to_string(),
        "somebody removes it again and again",
    ))
}

/// Holds the directory `path`.
pub(super) fn hold(path: &Path) -> Result<Hold> {
    let Some(dir) = place::open(path)? else { return Ok(Hold::Absent) };
    match dir.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(Hold::Taken),
        Err(TryLockError::Error(error)) => return Err(failed("lock", path)(error)),
    }
    // Between open and lock it may have been renamed: then we hold something else.
    let ours = dir.metadata().map_err(failed("stat", path))?;
    match file::stat(path)? {
        Some(there) if (there.dev(), there.ino()) == (ours.dev(), ours.ino()) => Ok(Hold::Held(dir)),
        _ => Ok(Hold::Absent),
    }
}

/// As [`hold`], waiting at most `patience` for somebody else to let go.
pub(super) fn hold_patiently(path: &Path, patience: Duration) -> Result<Hold> {
    let deadline = Instant::now() + patience;
    loop {
        match hold(path)? {
            Hold::Taken if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(5)),
            other => return Ok(other),
        }
    }
}

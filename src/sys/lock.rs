//! Locks: flock(2) on files in a root-only directory that vanishes with a reboot.
//!
//! Order: that of who fills the store, an image's lock, a session's, then its template's, then the store's own. A session's lock file goes with the session, so a locker looks again
//! after it got the lock whether the file still stands (jj's `lock/unix.rs` has the same rule).

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::effect;
use super::file::{self, Result, at};

/// Makes the folder of locks, which is root's alone; the one above it is everybody's to look into.
///
/// # Errors
/// As mkdir(2), but EEXIST.
pub fn make_folder(path: &Path) -> Result<()> {
    match file::make_dir(path, 0o700) {
        Err(error) if error.is_not_found() => {
            if let Some(above) = path.parent() {
                file::make_dirs(above, 0o755)?;
            }
            file::make_dir(path, 0o700).map(|_| ())
        }
        other => other.map(|_| ()),
    }
}

/// A lock, held until dropped or the process ends; exclusive, unless it was taken as a shared one.
#[derive(Debug)]
pub struct Lock {
    file: File,
    path: PathBuf,
}

impl Lock {
    /// Takes the lock, waiting at most `patience`; `None` if somebody else kept it that long.
    ///
    /// # Errors
    /// The lock file cannot be made or locked.
    pub fn take(path: &Path, patience: Duration) -> Result<Option<Lock>> {
        Self::take_as(path, patience, File::try_lock)
    }

    /// As [`Lock::take`], beside others who take it so and beside nobody who has it alone. Such a file is never removed.
    ///
    /// # Errors
    /// The lock file cannot be made or locked.
    pub fn take_shared(path: &Path, patience: Duration) -> Result<Option<Lock>> {
        Self::take_as(path, patience, File::try_lock_shared)
    }

    fn take_as(path: &Path, patience: Duration, how: How) -> Result<Option<Lock>> {
        let deadline = Instant::now() + patience;
        let mut pause = Duration::from_millis(1);
        loop {
            if let Some(lock) = at("lock", path, try_once(path, how))? {
                return Ok(Some(lock));
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }

    /// Ends the lock and the file with it: for locks whose object is gone.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub fn remove(self) -> Result<()> {
        file::remove(&self.path)?;
        drop(self.file);
        Ok(())
    }
}

type How = fn(&File) -> std::result::Result<(), TryLockError>;

fn try_once(path: &Path, how: How) -> io::Result<Option<Lock>> {
    effect::point("lock")?;
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
    match how(&file) {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    // Between our open and our lock the former holder may have removed the file: then we hold nothing.
    let ours = file.metadata()?;
    match std::fs::symlink_metadata(path) {
        Ok(there) if there.ino() == ours.ino() => Ok(Some(Lock { file, path: path.to_owned() })),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_shared_by_those_who_take_it_so_and_by_nobody_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let shared = || Lock::take_shared(&path, Duration::ZERO).unwrap();
        let alone = || Lock::take(&path, Duration::ZERO).unwrap();
        let two = (shared().unwrap(), shared().unwrap());
        assert!(alone().is_none());
        drop(two);
        let held = alone().unwrap();
        assert!(shared().is_none() && alone().is_none());
        drop(held);
        assert!(shared().is_some());
    }
}

//! The directory of one run: copy-on-write layer, scratch disk, what is carried in and out.
//!
//! It lies in memory (`/dev/shm`) where there is room, else in the cache, and is locked while the run lives. Dropping it
//! removes it; what a killed xtask left behind is removed by the next one, which can tell by the lock.

use std::cell::RefCell;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::cache;
use crate::program;

const PREFIX: &str = "zchroot-vm-";
/// A run in memory needs room for its guest's memory and for what it writes to its disks.
const MIN_SHM: u64 = 6 << 30;

/// The directory of one run; locked while it lives.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
    locks: RefCell<Vec<File>>,
}

impl RunDir {
    /// Makes a directory for a run, after removing what killed runs left.
    pub fn new() -> Result<Self> {
        let bases = [PathBuf::from("/dev/shm"), cache::base()?.join("run")];
        fs::create_dir_all(&bases[1])?;
        for base in &bases {
            sweep(base);
        }
        let base =
            if free_space(&bases[0]).is_some_and(|free| free >= MIN_SHM) { &bases[0] } else { &bases[1] };
        Self::new_in(base)
    }

    fn new_in(base: &Path) -> Result<Self> {
        for number in 0..1000 {
            let path = base.join(format!("{PREFIX}{}-{number}", std::process::id()));
            match fs::create_dir(&path) {
                Ok(()) => {
                    let lock = File::create(path.join("lock"))?;
                    lock.try_lock().with_context(|| format!("lock {}", path.display()))?;
                    return Ok(Self { path, locks: RefCell::new(vec![lock]) });
                }
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error).with_context(|| format!("make {}", path.display())),
            }
        }
        bail!("no free name for a run in {}", base.display())
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Keeps a lock for as long as the run lives.
    pub fn hold(&self, lock: File) {
        self.locks.borrow_mut().push(lock);
    }
}

impl Drop for RunDir {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            eprintln!("xtask: remove {}: {error}", self.path.display());
        }
    }
}

/// Removes the directories of runs that nobody holds.
fn sweep(base: &Path) {
    let entries = fs::read_dir(base).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX)) {
        // A directory without its lock file is being made right now, or being removed.
        if let Ok(lock) = File::open(entry.path().join("lock"))
            && lock.try_lock().is_ok()
        {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// The free bytes of the file system at a path.
fn free_space(path: &Path) -> Option<u64> {
    let text = program::output(program::command("df").args(["--output=avail", "-B1"]).arg(path)).ok()?;
    text.lines().last()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_leaves_nothing_and_sweeping_spares_the_living() {
        let base = std::env::temp_dir().join(format!("xtask-rundir-{}", std::process::id()));
        fs::create_dir_all(&base).unwrap();
        let alive = RunDir::new_in(&base).unwrap();
        let dead = base.join(format!("{PREFIX}dead"));
        fs::create_dir(&dead).unwrap();
        fs::write(dead.join("lock"), "").unwrap();
        let strange = base.join("not-ours");
        fs::create_dir(&strange).unwrap();
        sweep(&base);
        assert!(alive.path().exists() && !dead.exists() && strange.exists());
        let path = alive.path().to_owned();
        drop(alive);
        assert!(!path.exists());
        fs::remove_dir_all(&base).unwrap();
    }
}

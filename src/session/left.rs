//! The end of sessions that schroot itself began, before zchroot took its place.
//!
//! They have no record, no cgroup and no mount of ours: all that is known of them is what schroot wrote in its own file,
//! which is removed last. So an end can be killed anywhere and made again. They can be ended and nothing else.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::scripts::{Part, Stage};
use super::{Error, Sessions};
use crate::outside::Made;
use crate::sys::lock::{self, Lock};
use crate::sys::mount::{How, unmount_all, unmount_below};
use crate::sys::reap::{self, Left};
use crate::sys::{chain, file};

/// One is ended after the other: another may take a while.
const PATIENCE: Duration = Duration::from_secs(60);
/// What left-over processes get between TERM and KILL.
const GRACE: Duration = Duration::from_millis(500);

/// A session of schroot's.
#[derive(Debug, Clone)]
pub struct LeftSession {
    /// Its name; it may be longer than those of ours.
    pub name: String,
    /// Schroot's own file of it.
    pub file: PathBuf,
    /// Where it is mounted.
    pub at: PathBuf,
    /// What else there is of it.
    pub made: Made,
    /// What scripts of the administrator are told of it.
    pub told: BTreeMap<String, String>,
}

impl Sessions<'_> {
    /// Ends a session that schroot began: processes, mounts, what was made for it, its file.
    ///
    /// # Errors
    /// Something of it would not go; what is left can be ended again.
    pub fn end_left(&self, session: &LeftSession) -> Result<(), Error> {
        let refused = |errno| Error::sys("end", &session.name, std::io::Error::from_raw_os_error(errno));
        lock::make_folder(&self.layout().locks())?;
        let lock = Lock::take(&self.layout().left_lock(), PATIENCE)?.ok_or_else(|| refused(libc::EBUSY))?;
        // It may have been ended while somebody else had the lock.
        let ended = match file::stat(&session.file)? {
            Some(_) => self.take_left(session),
            None => Err(refused(libc::ENOENT)),
        };
        lock.remove()?;
        ended
    }

    fn take_left(&self, session: &LeftSession) -> Result<(), Error> {
        let made = session.made.clone().checked(&session.name)?;
        self.run_told_scripts(&session.told, Stage::END, Part::AfterMounts)?;
        clear(session)?;
        unmount(&session.name, &session.at)?;
        if let Some(below) = made.mounted() {
            unmount(&session.name, below)?;
        }
        file::remove_dir(&session.at)?;
        self.run_told_scripts(&session.told, Stage::END, Part::BeforeMounts)?;
        made.discard(&session.name)?;
        file::remove(&session.file)?;
        Ok(file::sync_parent(&session.file)?)
    }
}

/// Ends every process of the session, or says who stays.
fn clear(session: &LeftSession) -> Result<(), Error> {
    let clear = if session.made.is_private() { reap::clear } else { reap::clear_mount };
    let reaped = clear(&session.at, None, GRACE)
        .map_err(|error| Error::sys("end the processes of", &session.name, error))?;
    match reaped.left.into_iter().next() {
        None => Ok(()),
        Some(Left { pid, name, is_caller }) => {
            let why = match is_caller {
                true => format!(
                    "process {pid} ({name}), from which we were called, is in its tree: leave it first"
                ),
                false => format!("process {pid} ({name}) is in its tree and cannot be ended"),
            };
            Err(Error::sys("end", &session.name, std::io::Error::other(why)))
        }
    }
}

/// Takes a mount and all that is below it away. What schroot could not unmount itself may have gone already, but for some
/// of what was below.
fn unmount(session: &str, at: &Path) -> Result<(), Error> {
    let all = |how| unmount_all(at, how).and_then(|_| unmount_below(at, how));
    let deadline = Instant::now() + GRACE;
    while let Err(error) = all(How::Strict) {
        if Instant::now() >= deadline {
            tracing::warn!(session, "unmounted lazily: {}", chain(&error));
            all(How::Lazy)?;
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

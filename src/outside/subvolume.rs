//! A subvolume of btrfs: a snapshot of it for each session, in a folder that the administrator named.

use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use super::mount::open;
use super::{failed, make_folder, remove_in};
use crate::store::{Result, SessionId};
use crate::sys::{file, subvolume};

/// Where a session's snapshot lies.
pub(super) fn place(snapshots: &Path, session: &SessionId) -> PathBuf {
    snapshots.join(session.as_str())
}

/// Takes a session's snapshot.
pub(super) fn make(source: &Path, snapshots: &Path, session: &SessionId) -> Result<()> {
    // It has to lie on the same file system, so it is not made where it is not.
    let (from, to) = (open(source)?, file::open_dir(snapshots)?);
    make_folder(snapshots)?;
    subvolume::snapshot(from.as_fd(), to.as_fd(), OsStr::new(session.as_str()))
        .map_err(failed("snapshot", source))
}

/// Takes it away, with what subvolumes were made in it.
pub(super) fn discard(snapshots: &Path, name: &str) -> Result<()> {
    let folder = match file::open_dir(snapshots) {
        Err(error) if error.is_not_found() => return Ok(()),
        other => other?,
    };
    if file::stat(&snapshots.join(name))?.is_none() {
        return Ok(());
    }
    match subvolume::destroy(folder.as_fd(), OsStr::new(name)) {
        Err(error) if error.raw_os_error() == Some(libc::ENOTEMPTY) => remove_in(snapshots, name),
        other => other.map_err(failed("destroy", &snapshots.join(name))),
    }
}

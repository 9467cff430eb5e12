//! Ending whatever still uses a mounted tree, and finding who still has it mounted.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::cgroup::Cgroup;
use super::mountinfo::Source;

/// What became of the processes in a tree.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reaped {
    /// How many were signalled one by one; those that went with the control group are not counted.
    pub ended: usize,
    /// Those that are still there: this process's own ancestors, which are never signalled, and what did not
    /// die of SIGKILL in time.
    pub left: Vec<Left>,
}

/// A process that still uses the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// Its id.
    pub pid: i32,
    /// Its short name.
    pub name: String,
}

/// A mount namespace in which something is still mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// A process in it.
    pub pid: i32,
    /// The inode of the namespace.
    pub namespace: u64,
    /// Where it is mounted there.
    pub point: PathBuf,
}

/// Ends every process that has its root, its working directory, its program or an open file in the tree
/// mounted at `root`.
///
/// # Errors
/// /proc cannot be read, or the control group refuses.
pub fn clear(root: &Path, cgroup: Option<&Cgroup>, grace: Duration) -> io::Result<Reaped> {
    let _ = (root, cgroup, grace);
    Err(io::Error::from_raw_os_error(libc::ENOSYS))
}

/// What is mounted at `root`, for [`namespaces_holding`] after the unmount; `None` if nothing is.
///
/// # Errors
/// `root` or /proc cannot be read.
pub fn source_of(root: &Path) -> io::Result<Option<Source>> {
    Ok(super::mountinfo::at(root)?.map(|mount| mount.source))
}

/// The mount namespaces in which `source` is mounted, each once.
///
/// # Errors
/// /proc cannot be read.
pub fn namespaces_holding(source: &Source) -> io::Result<Vec<Holder>> {
    let _ = source;
    Err(io::Error::from_raw_os_error(libc::ENOSYS))
}

//! Setting up a session's tree: mounts, files of the host, its databases. All in process, and all through
//! handles resolved inside the tree ([`Root`]), before any process of the session runs.
//!
//! What is done is the profile's word; in what order is ours: mounts as the profile lists them, then files,
//! then databases, then `/etc/debian_chroot`.
//!
//! A **source session** becomes a version, so nothing of the host may stay in it: its databases and
//! `debian_chroot` are not written; files of the host are shown by read-only binds of private copies that
//! have no name any more; and binds of the host (/home, /tmp) are left out, since a maintainer script must
//! not write there. What a mount needs below it and the tree does not have (a directory, an empty file) is
//! noted in the tree before it is made, and [`undo_source`] takes it away again.
//!
//! Crash rule: whatever is mounted is found in the kernel's table, whatever is made in a source session in the
//! tree's note, so both can be taken away from any state. [`apply`] may be repeated: what is mounted already is
//! left, files that are right already are not written.

mod files;
mod mounts;
mod note;
mod nss;

use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use crate::sys::file;
use crate::sys::inroot::{Making, Owner, Root};
use crate::sys::mount::{self, How};
use crate::template::Profile;

/// What a set-up is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// A session: its tree is thrown away.
    Session,
    /// A tree that stays, set up as a session's: what is written of the host stays in it, as with schroot.
    InPlace,
    /// A source session: its tree becomes a version.
    Source,
}

/// Whose tree it is.
#[derive(Debug, Clone, Copy)]
pub struct SetupInfo<'a> {
    /// The template; what `/etc/debian_chroot` and so the prompt says.
    pub template: &'a str,
    /// The session.
    pub session: &'a str,
}

/// A step of the set-up that failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// On a path inside the tree.
    #[error("cannot {op} {} inside the tree of the session", target.display())]
    Inside {
        /// What was tried.
        op: &'static str,
        /// On what, seen from inside.
        target: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// On the host.
    #[error(transparent)]
    Host(#[from] file::Error),
    /// A database of the host cannot be enumerated.
    #[error("cannot list the entries of the host's {database}")]
    Database {
        /// Which.
        database: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Error {
    fn inside(error: file::Error) -> Self {
        Self::Inside { op: error.op, target: error.path, source: error.source }
    }

    /// The errno behind it, 0 if there is none.
    #[must_use]
    pub fn errno(&self) -> i32 {
        match self {
            Self::Inside { source, .. } | Self::Database { source, .. } => source.raw_os_error().unwrap_or(0),
            Self::Host(error) => error.errno(),
        }
    }
}

/// Gives an I/O result of a step inside the tree its operation and target.
fn inside<T>(op: &'static str, target: &Path, result: io::Result<T>) -> Result<T, Error> {
    result.map_err(|source| Error::Inside { op, target: target.to_owned(), source })
}

/// One set-up on its way.
struct Setup<'a> {
    /// The tree's path on the host.
    path: &'a Path,
    root: Root,
    mode: Mode,
    /// What this set-up mounted: two lines of a profile may have the same target.
    made: Vec<mount::MountId>,
}

impl Setup<'_> {
    /// Notes what is about to be made in a tree that becomes a version.
    fn notice(&self) -> impl FnMut(Making, &Path) -> io::Result<()> + '_ {
        |what, path| match self.mode {
            Mode::Session | Mode::InPlace => Ok(()),
            Mode::Source => note::add(&self.root, what, path),
        }
    }
}

/// Sets up the tree mounted at `root` as `profile` says.
///
/// # Errors
/// The first step that failed. What was done before it stays, and ending the session takes it away.
pub fn apply(root: &Path, profile: &Profile, mode: Mode, identity: &SetupInfo<'_>) -> Result<(), Error> {
    let mut setup = Setup { path: root, root: Root::open(root)?, mode, made: Vec::new() };
    for mount in &profile.mounts {
        setup.mount(mount)?;
    }
    for file in &profile.files {
        setup.host_file(file)?;
    }
    if mode != Mode::Source {
        setup.databases(&profile.nss)?;
        let text = format!("{}\n", identity.template);
        setup.write(Path::new("/etc/debian_chroot"), text.as_bytes(), Owner::root(0o644))?;
    }
    tracing::debug!(session = identity.session, profile = profile.name, "tree is set up");
    Ok(())
}

/// Whether everything that `profile` mounts in the tree at `root` is mounted there.
///
/// # Errors
/// `root` is no directory.
pub fn stands(root: &Path, profile: &Profile, mode: Mode) -> Result<bool, Error> {
    let tree = Root::open(root)?;
    Ok(profile.mounts.iter().all(|mount| mounts::stands_in(&tree, mount, mode))
        && (mode != Mode::Source || profile.files.iter().all(|file| files::stands_in(&tree, file))))
}

/// What a set-up made in a source session's tree, whose top is `root`, and [`undo_source`] takes away: paths as
/// they are seen from inside.
///
/// # Errors
/// The note cannot be read.
pub fn made_in(root: std::os::fd::BorrowedFd<'_>) -> io::Result<Vec<Vec<u8>>> {
    // A path handle has no extended attributes.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let top = rustix::fs::openat(root, c".", flags, rustix::fs::Mode::empty())?;
    note::paths(std::os::fd::AsFd::as_fd(&top))
}

/// Takes a source session's set-up away, really, so that the tree is as the maintainer left it: every mount
/// below `root` and everything that was made for one, if it is still empty. `false` if there was nothing.
/// The tree itself stays mounted.
///
/// # Errors
/// EBUSY with the mount that is in use; or something that was made cannot be removed.
pub fn undo_source(root: &Path) -> Result<bool, Error> {
    let unmounted = mount::unmount_below(root, How::Strict)?;
    file::remove(&files::copy_path(root))?;
    let tree = Root::open(root)?;
    Ok(note::undo(&tree)? || unmounted)
}

impl Setup<'_> {
    fn write(&self, target: &Path, bytes: &[u8], owner: Owner) -> Result<bool, Error> {
        if self.mode == Mode::InPlace && self.is_of_host(target)? {
            return Ok(false);
        }
        self.root.replace_file(target, bytes, owner).map_err(Error::inside)
    }
}

impl Setup<'_> {
    /// Whether a place in the tree is the host's own: a chroot may be the host's root, or have its /etc.
    fn is_of_host(&self, target: &Path) -> Result<bool, Error> {
        let Some(folder) = target.parent() else { return Ok(false) };
        let Some(inside_of) = self.root.resolve_if_there(folder).map_err(Error::inside)? else {
            return Ok(false);
        };
        let here = inside("stat", folder, rustix::fs::fstat(&inside_of).map_err(io::Error::from))?;
        let host = rustix::fs::stat(folder);
        Ok(host.is_ok_and(|host| (host.st_dev, host.st_ino) == (here.st_dev, here.st_ino)))
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests lay out hostile trees by hand")]
mod tests;

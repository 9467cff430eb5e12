//! What a session writes, kept in memory: the upper directory of its overlay on a tmpfs of its own.
//!
//! The tmpfs is mounted only while the overlay is: the overlay holds it from then on, so it is taken out of sight
//! at once and goes with the overlay. What a crash left mounted here is taken away by the next mount or drop.

use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};

use super::failed;
use crate::store::{Memory, Result};
use crate::sys::mount::{Access, Detached, How, unmount_all};
use crate::sys::{effect, file, tree};

const PLACE: &str = "memory";

/// The two directories that an overlay writes to.
pub(super) struct Upper {
    place: PathBuf,
}

impl Upper {
    /// Mounts the tmpfs of a session; the top looks like `pattern`, the session's upper directory on disk.
    pub(super) fn make(session: &Path, pattern: &Path, memory: Memory) -> Result<Self> {
        clear(session)?;
        let place = session.join(PLACE);
        file::make_dir(&place, 0o700)?;
        let made = Self { place };
        made.fill(pattern, memory).map_err(failed("make room in memory for", session))?;
        Ok(made)
    }

    fn fill(&self, pattern: &Path, memory: Memory) -> io::Result<()> {
        effect::point("mount")?;
        let access = Access { allow_suid: true, allow_dev: true, ..Access::default() };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let at = rustix::fs::open(&self.place, flags, Mode::empty())?;
        let top = Detached::tmpfs(memory.limit, 0o700, access)?.attach(at.as_fd())?;
        rustix::fs::mkdirat(top.root(), "work", Mode::RWXU)?;
        rustix::fs::mkdirat(top.root(), "upper", Mode::RWXU)?;
        let upper = rustix::fs::openat(top.root(), "upper", flags, Mode::empty())?;
        let pattern = rustix::fs::openat(CWD, pattern, flags, Mode::empty())?;
        tree::copy_attributes(pattern.as_fd(), upper.as_fd())?;
        Ok(())
    }

    pub(super) fn upper(&self) -> PathBuf {
        self.place.join("upper")
    }

    pub(super) fn work(&self) -> PathBuf {
        self.place.join("work")
    }
}

impl Drop for Upper {
    fn drop(&mut self) {
        // The overlay, if it came to be, keeps what it needs; if not, all of it goes here.
        let gone = self.place.parent().map_or(Ok(()), clear);
        if let Err(error) = gone {
            tracing::warn!("left to the end of the session: {error}");
        }
    }
}

/// Takes away what is mounted in a session's directory.
pub(super) fn clear(session: &Path) -> Result<()> {
    let place = session.join(PLACE);
    unmount_all(&place, How::Lazy)?;
    file::remove_dir(&place)?;
    Ok(())
}

/// Where the kernel says that an overlay in memory writes to.
pub(super) fn upper_of(session: &Path) -> PathBuf {
    session.join(PLACE).join("upper")
}

//! What a session wrote over its version: the names in the upper directory of its overlay.
//!
//! What is not in the upper directory is the version's. A directory there shows only what was written, unless it
//! is opaque or was renamed: then it hides or shows other things of the version, and all of it has to be looked
//! at. The upper directory is only read.

use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{Dir, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::{DirStore, session};
use crate::store::{Result, SessionId};
use crate::sys::file;
use crate::sys::tree::Guide;

const HIDING: [&std::ffi::CStr; 2] = [c"trusted.overlay.opaque", c"trusted.overlay.redirect"];

pub(super) fn guide(store: &DirStore, id: &SessionId) -> Result<Option<Guide>> {
    if session::ready_base(store, id)?.is_none() {
        return Ok(None);
    }
    let upper: OwnedFd = file::open_dir(&store.session(id).join("upper"))?.into();
    Ok(Some(Box::new(move |path| names(&upper, path))))
}

fn names(upper: &OwnedFd, path: &[u8]) -> io::Result<Option<std::collections::BTreeSet<CString>>> {
    let path = Path::new(OsStr::from_bytes(if path.is_empty() { b"." } else { path }));
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    let dir = match rustix::fs::openat2(upper.as_fd(), path, flags, Mode::empty(), resolve) {
        Ok(dir) => dir,
        // Changed under us, or too deep for a path: then all of it is looked at.
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG | Errno::AGAIN | Errno::INTR) => {
            return Ok(None);
        }
        Err(error) => return Err(error.into()),
    };
    let by_fd = Path::new("/proc/self/fd").join(dir.as_raw_fd().to_string());
    for mark in HIDING {
        match rustix::fs::getxattr(&by_fd, mark, &mut [0_u8; 0][..]) {
            Ok(_) => return Ok(None),
            Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let mut found = std::collections::BTreeSet::new();
    for entry in Dir::read_from(&dir)? {
        found.insert(entry?.file_name().to_owned());
    }
    Ok(Some(found))
}

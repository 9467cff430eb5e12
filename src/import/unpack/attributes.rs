//! Owner, mode, extended attributes and time of what was unpacked; in this order, for chown takes away setuid
//! bits and file capabilities, and everything but the last changes nothing of the time.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::BorrowedFd;

use rustix::fs::{AtFlags, Gid, Mode, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags};
use rustix::io::Errno;

use super::broken;
use super::member::Attributes;
use super::report::escape;

const MOST_NOTES: usize = 16;

/// What could not be kept, each thing once.
#[derive(Debug, Default)]
pub(in crate::import) struct Notes(BTreeSet<String>);

impl Notes {
    fn add(&mut self, note: String) {
        if self.0.len() < MOST_NOTES {
            self.0.insert(note);
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &String> {
        self.0.iter()
    }
}

/// Sets all on an open file or directory.
pub(super) fn set_on_fd(fd: BorrowedFd<'_>, attributes: &Attributes, notes: &mut Notes) -> io::Result<()> {
    let (uid, gid) = owner(attributes)?;
    // Most files are root's as they are made, and to say so again is a transaction of the file system.
    let now = rustix::fs::fstat(fd)?;
    if (now.st_uid, now.st_gid) != (uid.as_raw(), gid.as_raw()) {
        rustix::fs::fchown(fd, Some(uid), Some(gid))?;
    }
    rustix::fs::fchmod(fd, Mode::from_raw_mode(attributes.mode))?;
    set_xattrs(attributes, notes, |name, value| rustix::fs::fsetxattr(fd, name, value, XattrFlags::empty()))?;
    Ok(rustix::fs::futimens(fd, &times(attributes))?)
}

/// Sets all on something that cannot be opened: a symlink, a device, a fifo.
pub(super) fn set_by_name(
    parent: BorrowedFd<'_>,
    name: &[u8],
    attributes: &Attributes,
    symlink: bool,
    notes: &mut Notes,
) -> io::Result<()> {
    let (uid, gid) = owner(attributes)?;
    rustix::fs::chownat(parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
    if !symlink {
        rustix::fs::chmodat(parent, name, Mode::from_raw_mode(attributes.mode), AtFlags::empty())?;
    }
    if !attributes.xattrs.is_empty() {
        // There is no call that takes a directory and a name for this.
        rustix::process::fchdir(parent)?;
    }
    set_xattrs(attributes, notes, |key, value| rustix::fs::lsetxattr(name, key, value, XattrFlags::empty()))?;
    Ok(rustix::fs::utimensat(parent, name, &times(attributes), AtFlags::SYMLINK_NOFOLLOW)?)
}

/// An id of all ones means "leave it" to the kernel and nobody to us.
fn owner(attributes: &Attributes) -> io::Result<(Uid, Gid)> {
    let id = |id: u64| {
        u32::try_from(id).ok().filter(|id| *id != u32::MAX).ok_or_else(|| broken("its owner is no user id"))
    };
    Ok((Uid::from_raw(id(attributes.uid)?), Gid::from_raw(id(attributes.gid)?)))
}

fn times(attributes: &Attributes) -> Timestamps {
    let (seconds, nanos) = attributes.mtime;
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: seconds, tv_nsec: nanos.into() },
    }
}

/// What belongs to the tree; labels of security modules and of overlayfs belong to the host it came from.
fn belongs(name: &[u8]) -> bool {
    name.starts_with(b"user.")
        || [&b"security.capability"[..], b"system.posix_acl_access", b"system.posix_acl_default"]
            .contains(&name)
}

fn set_xattrs(
    attributes: &Attributes,
    notes: &mut Notes,
    set: impl Fn(&[u8], &[u8]) -> rustix::io::Result<()>,
) -> io::Result<()> {
    for (name, value) in &attributes.xattrs {
        if !belongs(name) {
            notes.add(format!("extended attributes {} are of another host and were left out", escape(name)));
            continue;
        }
        match set(name, value) {
            // Without its capabilities a program does not do what it should: that is an error.
            Err(Errno::OPNOTSUPP) if name != b"security.capability" => {
                notes.add(format!("this file system cannot keep extended attributes {}", escape(name)));
            }
            other => other?,
        }
    }
    let has_acl = attributes.xattrs.iter().any(|(name, _)| name.starts_with(b"system.posix_acl_"));
    if attributes.text_acl && !has_acl {
        notes.add("ACLs that name users or groups and not their numbers were left out".to_owned());
    }
    Ok(())
}

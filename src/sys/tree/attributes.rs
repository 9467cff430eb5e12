//! Owners, modes, times and extended attributes.

use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Gid, Mode, Stat, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use super::file_type;

/// Gives the open file or directory `to` the owner, mode, extended attributes and times of `from`; returns how
/// many extended attributes the target cannot hold.
///
/// # Errors
/// Any step failed.
pub fn copy_attributes(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<u64> {
    let stat = rustix::fs::fstat(from)?;
    // Owner first: chown(2) clears setuid bits and capabilities.
    rustix::fs::fchown(to, Some(owner(&stat)), Some(group(&stat)))?;
    rustix::fs::fchmod(to, Mode::from_raw_mode(stat.st_mode))?;
    let mut skipped = 0;
    for name in xattr_names(|buffer| rustix::fs::flistxattr(from, buffer))? {
        let value = xattr_value(|buffer| rustix::fs::fgetxattr(from, &*name, buffer))?;
        let Some(value) = value else { continue };
        skipped += set_xattr(|| rustix::fs::fsetxattr(to, &*name, &value, XattrFlags::empty()))?;
    }
    rustix::fs::futimens(to, &times(&stat))?;
    Ok(skipped)
}

/// Gives `name` in `to` the attributes of `name` in `from`: for what cannot be opened (symlinks, devices) or
/// shall not be (a directory under a mount). The name was made by us in a directory that is ours, so chmod(2)
/// meets no symlink.
pub(super) fn copy_named(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    name: &CStr,
    stat: &Stat,
) -> io::Result<u64> {
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    rustix::fs::chownat(to, name, Some(owner(stat)), Some(group(stat)), flags)?;
    if file_type(stat) != FileType::Symlink {
        rustix::fs::chmodat(to, name, Mode::from_raw_mode(stat.st_mode), AtFlags::empty())?;
    }
    let (source, target) = (through_proc(from, name), through_proc(to, name));
    let mut skipped = 0;
    for xattr in xattr_names(|buffer| rustix::fs::llistxattr(&source, buffer))? {
        let value = xattr_value(|buffer| rustix::fs::lgetxattr(&source, &*xattr, buffer))?;
        let Some(value) = value else { continue };
        skipped += set_xattr(|| rustix::fs::lsetxattr(&target, &*xattr, &value, XattrFlags::empty()))?;
    }
    rustix::fs::utimensat(to, name, &times(stat), flags)?;
    Ok(skipped)
}

/// Extended attributes by name, of `dir` itself or of what is called `name` in it; those that only say how we
/// work on the tree are left out.
pub(super) fn xattrs_of(dir: BorrowedFd<'_>, name: Option<&CStr>) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let path = through_proc(dir, name.unwrap_or(c"."));
    let mut found = Vec::new();
    for xattr in xattr_names(|buffer| rustix::fs::llistxattr(&path, buffer))? {
        if xattr.to_bytes().starts_with(b"trusted.zchroot.") {
            continue;
        }
        let value = xattr_value(|buffer| rustix::fs::lgetxattr(&path, &*xattr, buffer))?;
        found.extend(value.map(|value| (xattr.into_bytes(), value)));
    }
    found.sort_unstable();
    Ok(found)
}

/// lsetxattr(2) has no form relative to a descriptor.
fn through_proc(dir: BorrowedFd<'_>, name: &CStr) -> PathBuf {
    Path::new("/proc/self/fd").join(dir.as_raw_fd().to_string()).join(OsStr::from_bytes(name.to_bytes()))
}

/// The attributes worth a copy; none where the file system has none.
fn xattr_names(list: impl Fn(&mut [u8]) -> rustix::io::Result<usize>) -> io::Result<Vec<CString>> {
    let Some(names) = grown(list)? else { return Ok(Vec::new()) };
    let wanted = |name: &&[u8]| {
        let of = |prefix: &[u8]| name.starts_with(prefix);
        (of(b"user.") || of(b"security.") || of(b"trusted.") || of(b"system.posix_acl_"))
            && !of(b"trusted.overlay.")
    };
    Ok(names.split(|byte| *byte == 0).filter(wanted).filter_map(|name| CString::new(name).ok()).collect())
}

fn xattr_value(get: impl Fn(&mut [u8]) -> rustix::io::Result<usize>) -> io::Result<Option<Vec<u8>>> {
    grown(get)
}

/// Calls with a buffer that grows until the answer fits; `None` if there is nothing to answer.
fn grown(call: impl Fn(&mut [u8]) -> rustix::io::Result<usize>) -> io::Result<Option<Vec<u8>>> {
    let mut buffer = vec![0; 512];
    loop {
        match call(&mut buffer) {
            Ok(length) => {
                buffer.truncate(length);
                return Ok(Some(buffer));
            }
            Err(Errno::RANGE) if buffer.len() <= 1 << 20 => buffer.resize(buffer.len() * 8, 0),
            Err(Errno::OPNOTSUPP | Errno::NODATA) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
}

fn set_xattr(set: impl FnOnce() -> rustix::io::Result<()>) -> io::Result<u64> {
    match set() {
        Ok(()) => Ok(0),
        Err(Errno::OPNOTSUPP) => Ok(1),
        Err(error) => Err(error.into()),
    }
}

fn owner(stat: &Stat) -> Uid {
    Uid::from_raw(stat.st_uid)
}

fn group(stat: &Stat) -> Gid {
    Gid::from_raw(stat.st_gid)
}

fn times(stat: &Stat) -> Timestamps {
    let at = |seconds: i64, nanos: u64| Timespec { tv_sec: seconds, tv_nsec: nanos as _ };
    Timestamps {
        last_access: at(stat.st_atime as _, stat.st_atime_nsec as _),
        last_modification: at(stat.st_mtime as _, stat.st_mtime_nsec as _),
    }
}

//! An archive that is unpacked for each session, and packed again at the end of a source session.
//!
//! Who unpacks is above ([`import`](crate::import)); here is where to. What two source sessions did at once cannot be
//! put together, so whoever ends second is refused: the file is not the one any more that he unpacked.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Gid, Mode, OFlags, Uid};
use serde::{Deserialize, Serialize};

use super::{distrust, failed, make_folder, remove_in};
use crate::store::{Error, ErrorKind, Result, SessionId};
use crate::sys::program::{self, HostProgram};
use crate::sys::{effect, file};

const TREE: &str = "tree";
/// Endings of names, and how tar(1) is told what they stand for.
const PACKINGS: [(&[&str], &[&str]); 7] = [
    (&[".tar"], &[]),
    (&[".tar.gz", ".tgz"], &["--gzip"]),
    (&[".tar.bz2", ".tbz"], &["--bzip2"]),
    (&[".tar.xz", ".txz"], &["--xz"]),
    (&[".tar.lzo", ".tzo"], &["--lzop"]),
    (&[".tar.lz4", ".tlz4"], &["--use-compress-program=lz4"]),
    (&[".tar.zst", ".tar.zstd"], &["--zstd"]),
];

/// What tells a file from one that took its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    // As text: TOML has no numbers as large as the kernel's may be.
    device: String,
    inode: String,
    size: u64,
    seconds: i64,
    nanoseconds: i64,
}

/// Looks at an archive before it is used.
pub(super) fn look(path: &Path, is_source: bool) -> Result<Seen> {
    let refuse = |why: &str| Err(Error::new(ErrorKind::Other, "use", path.display().to_string(), why));
    let stat = rustix::fs::stat(path).map_err(|error| failed("open", path)(error.into()))?;
    if rustix::fs::FileType::from_raw_mode(stat.st_mode) != rustix::fs::FileType::RegularFile {
        return refuse("it is no file");
    }
    if let Some(why) = distrust(stat.st_uid, stat.st_mode) {
        return refuse(why);
    }
    if is_source && packing(path).is_none() {
        return refuse("it could not be packed again: its name does not say how");
    }
    seen(path)
}

fn seen(path: &Path) -> Result<Seen> {
    let stat = rustix::fs::stat(path).map_err(|error| failed("stat", path)(error.into()))?;
    Ok(Seen {
        device: stat.st_dev.to_string(),
        inode: stat.st_ino.to_string(),
        size: u64::try_from(stat.st_size).unwrap_or(0),
        seconds: stat.st_mtime,
        nanoseconds: i64::try_from(stat.st_mtime_nsec).unwrap_or(0),
    })
}

fn packing(path: &Path) -> Option<&'static [&'static str]> {
    let name = path.file_name()?.to_str()?;
    PACKINGS.iter().find(|(ends, _)| ends.iter().any(|end| name.ends_with(end))).map(|(_, how)| *how)
}

/// Where a session's copy lies.
pub(super) fn tree(unpacked: &Path, session: &SessionId) -> PathBuf {
    unpacked.join(session.as_str()).join(TREE)
}

/// Makes the empty directory that the archive is unpacked into.
pub(super) fn make(unpacked: &Path, session: &SessionId) -> Result<PathBuf> {
    make_folder(unpacked)?;
    file::make_dir(&unpacked.join(session.as_str()), 0o700)?;
    let tree = tree(unpacked, session);
    file::make_dir(&tree, 0o755)?;
    Ok(tree)
}

fn refused(path: &Path, why: &str) -> Error {
    Error::new(ErrorKind::Other, "replace", path.display().to_string(), why)
}

const CHANGED: &str = "somebody else has changed it since the session began";

/// Packs a tree beside its archive, which has to be one that is known. That one as it is, and the new one.
pub(super) fn pack(
    path: &Path,
    tree: &Path,
    session: &SessionId,
    known: &[Option<Seen>],
) -> Result<(Seen, Seen)> {
    let how = packing(path).ok_or_else(|| refused(path, "its name does not say how it is packed"))?;
    let now = seen(path)?;
    if !known.iter().flatten().any(|one| *one == now) {
        return Err(refused(path, CHANGED));
    }
    let temp = temp(path, session);
    file::remove(&temp)?;
    let made = write(path, tree, &temp, how).and_then(|()| seen(&temp));
    if made.is_err() {
        file::remove(&temp)?;
    }
    Ok((now, made?))
}

/// Puts what was packed in the place of the archive.
pub(super) fn put_in_place(path: &Path, session: &SessionId, before: Option<&Seen>) -> Result<()> {
    let temp = temp(path, session);
    // Packing takes its time: once more, right before the old one goes.
    if before != Some(&seen(path)?) {
        file::remove(&temp)?;
        return Err(refused(path, CHANGED));
    }
    file::rename(&temp, path)?;
    Ok(file::sync_parent(path)?)
}

fn write(path: &Path, tree: &Path, temp: &Path, how: &[&str]) -> Result<()> {
    let made = effect::point("create").and_then(|()| {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(File::from(rustix::fs::openat(CWD, temp, flags, Mode::from(0o600))?))
    });
    let made = made.map_err(failed("make", temp))?;
    let copy = made.try_clone().map_err(failed("make", temp))?;
    let tar = HostProgram::new(program::TAR)
        .args(["--create", "--file=-", "--numeric-owner", "--one-file-system", "--acls", "--xattrs"])
        .args(["--xattrs-include=user.*", "--xattrs-include=security.capability"])
        .args(how)
        .arg("--directory")
        .arg(tree)
        .arg(".")
        .stdout(copy);
    tar.run().map_err(|error| failed("pack", path)(io::Error::other(error)))?;
    like(path, &made).and_then(|()| made.sync_all()).map_err(failed("write", temp))
}

/// Gives the new one the owner and mode of the old one.
fn like(path: &Path, made: &File) -> io::Result<()> {
    let old = rustix::fs::stat(path)?;
    let (uid, gid) = (Uid::from_raw(old.st_uid), Gid::from_raw(old.st_gid));
    rustix::fs::fchown(made.as_fd(), Some(uid), Some(gid))?;
    Ok(rustix::fs::fchmod(made.as_fd(), Mode::from(old.st_mode & 0o7777))?)
}

/// A session's own, so that what a crash left of it is found.
fn temp(path: &Path, session: &SessionId) -> PathBuf {
    path.with_file_name(format!(".tmp-zchroot-{session}"))
}

/// Removes a session's copy.
pub(super) fn discard(path: &Path, unpacked: &Path, session: &SessionId) -> Result<()> {
    file::remove(&temp(path, session))?;
    remove_in(unpacked, session.as_str())
}

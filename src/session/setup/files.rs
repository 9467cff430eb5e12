//! Files of the host in a session's tree: copied into a session, shown in a source session.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode as FileMode, OFlags};
use rustix::io::Errno;

use super::{Error, Mode, Setup, inside, mounts};
use crate::sys::effect;
use crate::sys::file::{self, at};
use crate::sys::inroot::{Owner, Root, give};
use crate::sys::mount::{Access, Detached};
use crate::template::HostFile;

/// More than any file that a profile has reason to name.
const LARGEST: u64 = 16 << 20;

/// A file of the host.
pub(super) struct Content {
    pub(super) bytes: Vec<u8>,
    pub(super) owner: Owner,
}

/// Reads a regular file of the host, symlinks followed; `None` if there is no such file.
pub(super) fn read(path: &Path) -> Result<Option<Content>, Error> {
    match try_read(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)) => Ok(None),
        Err(error) => Ok(at("read", path, Err(error))?),
    }
}

fn try_read(path: &Path) -> io::Result<Content> {
    // NONBLOCK: a fifo must not hold us up before we see that it is one.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let fd = rustix::fs::open(path, flags, FileMode::empty())?;
    let found = rustix::fs::fstat(&fd)?;
    if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(found.st_size.min(LARGEST as i64)).unwrap_or(0));
    File::from(fd).take(LARGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST {
        return Err(Errno::FBIG.into());
    }
    let owner = Owner { uid: found.st_uid, gid: found.st_gid, mode: found.st_mode & 0o777 };
    Ok(Content { bytes, owner })
}

/// Where the private copies for the tree at `root` are made.
pub(super) fn copy_path(root: &Path) -> PathBuf {
    let mut name = OsString::from(".tmp-");
    name.push(root.file_name().unwrap_or_default());
    root.with_file_name(name)
}

/// Whether a file of a profile is shown in a source session, or would be left out as [`Setup::show`] does.
pub(super) fn stands_in(tree: &Root, file: &HostFile) -> bool {
    match tree.resolve_if_there(&file.target) {
        Ok(Some(point)) => {
            let is_dir = rustix::fs::fstat(&point)
                .is_ok_and(|found| FileType::from_raw_mode(found.st_mode) == FileType::Directory);
            is_dir || mounts::is_mount(point.as_fd()) || is_absent(&file.source)
        }
        Ok(None) => is_absent(&file.source),
        Err(_) => true,
    }
}

fn is_absent(source: &Path) -> bool {
    matches!(rustix::fs::stat(source), Err(Errno::NOENT | Errno::NOTDIR))
}

impl Setup<'_> {
    /// Brings one file of the host into the tree.
    pub(super) fn host_file(&mut self, file: &HostFile) -> Result<(), Error> {
        let Some(content) = read(&file.source)? else {
            return if file.optional {
                Ok(())
            } else {
                Ok(at("read", &file.source, Err(Errno::NOENT.into()))?)
            };
        };
        match self.mode {
            Mode::Session | Mode::InPlace => {
                self.write(&file.target, &content.bytes, content.owner).map(|_| ())
            }
            Mode::Source => self.show(&file.target, &content),
        }
    }

    /// Shows a private copy at `target` without a change to the tree.
    fn show(&mut self, target: &Path, content: &Content) -> Result<(), Error> {
        let point = match self.root.make_file(target, &mut self.notice()) {
            // The tree has something odd there, and it is the maintainer's tree: better no name server than no
            // session.
            Err(error) if matches!(error.errno(), libc::ENOTDIR | libc::ELOOP | libc::EXDEV) => {
                tracing::warn!(target = %target.display(), %error, "file of the host is left out");
                return Ok(());
            }
            other => other.map_err(Error::inside)?,
        };
        if self.stands(target, &point)? {
            return Ok(());
        }
        let access = Access { read_only: true, no_exec: true, ..Access::default() };
        let (copy, name) = self.copy(content)?;
        let shown = Detached::bind_open(copy.as_fd(), access).and_then(|mount| mount.attach(point.as_fd()));
        file::remove(&name)?;
        match shown {
            Err(error) if error.raw_os_error() == Some(libc::EISDIR) => {
                tracing::warn!(target = %target.display(), "file of the host is left out: a directory is there");
                Ok(())
            }
            other => inside("mount", target, other).map(|_| ()),
        }
    }

    /// A copy beside the tree, on the tmpfs where trees are mounted. The kernel binds only what has a name; once
    /// that is done the name goes, and the copy goes with its mount. What a crash leaves of it is a temp file
    /// that the next set-up of the tree, or its undoing, takes away.
    fn copy(&self, content: &Content) -> Result<(OwnedFd, PathBuf), Error> {
        let path = copy_path(self.path);
        file::remove(&path)?;
        let made = effect::point("create").and_then(|()| {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let mut file = File::from(rustix::fs::open(&path, flags, FileMode::from(0o600))?);
            file.write_all(&content.bytes)?;
            give(file.as_fd(), content.owner)?;
            Ok(OwnedFd::from(file))
        });
        Ok((at("write", &path, made)?, path))
    }
}

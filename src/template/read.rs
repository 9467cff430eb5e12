//! Opens the files of the configuration, and decides on the fd whether they are to be trusted.
//!
//! From the root down each directory is opened relative to the one before, no symlink is followed, and what
//! was opened is what is judged: it belongs to root, nobody else may write it. So no check can be answered
//! by one file and the read by another.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::{fs, io};

use rustix::fs::{Dir, FileType, Mode, OFlags, Stat, fstat, open, openat};
use rustix::io::Errno;

use crate::store::Layout;
use crate::sys::file::{self, at};
use crate::sys::privilege;

use super::load::Error;

const LIMIT: u64 = 1 << 20;
const GROUP_WRITE: u32 = 0o020;
const OTHER_WRITE: u32 = 0o002;

/// Every access to a file of the configuration is made in here, and no parsing: the one place that needs
/// privilege if the administrator made a file readable to root only.
fn reading<T>(access: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    privilege::raised(access)
}

/// A directory of the configuration that is to be trusted.
#[derive(Debug)]
pub(crate) struct ConfigDir {
    fd: OwnedFd,
    path: PathBuf,
    owner: u32,
    /// The caller himself could walk to it.
    public: bool,
}

/// A file of the configuration.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) text: String,
    /// The caller himself could read it: else nothing of it is shown to him.
    pub(crate) public: bool,
}

impl ConfigDir {
    /// The directory `/etc/zchroot`, whose files belong to `owner`; `None` if there is none.
    pub(super) fn open(layout: &Layout, owner: u32) -> Result<Option<Self>, Error> {
        let (root, dir) = (layout.root(), layout.config_dir());
        Self::open_below(root, dir.strip_prefix(root).unwrap_or(Path::new("etc/zchroot")), owner)
    }

    /// A directory below `root`, whose files belong to `owner`; `None` if there is none.
    ///
    /// # Errors
    /// It or one above it cannot be opened or is not to be trusted.
    pub(crate) fn open_below(root: &Path, below: &Path, owner: u32) -> Result<Option<Self>, Error> {
        // With the caller's own rights.
        let public = open(root.join(below), walk_flags(), Mode::empty()).is_ok();
        reading(|| {
            let opened = open(root, directory_flags(), Mode::empty()).map_err(io::Error::from);
            let mut dir = Self { fd: at("open", root, opened)?, path: root.to_owned(), owner, public };
            dir.judge(&dir.path, &dir.fd)?;
            for part in below {
                match dir.descend(Path::new(part))? {
                    Some(next) => dir = next,
                    None => return Ok(None),
                }
            }
            Ok(Some(dir))
        })
    }

    /// A directory in this one; `None` if there is none.
    pub(crate) fn sub(&self, name: &str) -> Result<Option<Self>, Error> {
        let public = self.public && self.caller_opens(name, walk_flags());
        Ok(reading(|| self.descend(Path::new(name)))?.map(|dir| Self { public, ..dir }))
    }

    /// The path of a file in here, for messages.
    pub(crate) fn path_of(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The text of a file in here; `None` if there is none.
    pub(crate) fn read(&self, name: &str) -> Result<Option<Source>, Error> {
        let public = self.may_caller_read(name);
        reading(|| {
            let path = self.path_of(name);
            // Without O_NONBLOCK a fifo would keep us waiting for its writer.
            let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
            let Some(fd) = self.open_in(Path::new(name), flags, &path)? else { return Ok(None) };
            if self.judge(&path, &fd)? != FileType::RegularFile {
                return Err(untrusted(&path, "it is no regular file".to_owned()));
            }
            let text = file::read_limited(fs::File::from(fd), LIMIT);
            Ok(Some(Source { text: at("read", &path, text)?, public }))
        })
    }

    /// Whether the caller himself could read a file in here.
    pub(super) fn may_caller_read(&self, name: &str) -> bool {
        self.public && self.caller_opens(name, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)
    }

    fn caller_opens(&self, name: &str, flags: OFlags) -> bool {
        openat(&self.fd, name, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()).is_ok()
    }

    /// The names in here, sorted; those that are not UTF-8 in their closest form.
    pub(crate) fn names(&self) -> Result<Vec<String>, Error> {
        reading(|| {
            let entries = Dir::read_from(&self.fd).and_then(Iterator::collect::<Result<Vec<_>, _>>);
            let entries = at("list", &self.path, entries.map_err(io::Error::from))?;
            let names = entries.iter().map(|entry| entry.file_name().to_string_lossy().into_owned());
            let mut names: Vec<String> = names.filter(|name| name != "." && name != "..").collect();
            names.sort();
            Ok(names)
        })
    }

    fn descend(&self, name: &Path) -> Result<Option<Self>, Error> {
        let path = self.path.join(name);
        let Some(fd) = self.open_in(name, directory_flags(), &path)? else { return Ok(None) };
        self.judge(&path, &fd)?;
        Ok(Some(Self { fd, path, owner: self.owner, public: self.public }))
    }

    fn open_in(&self, name: &Path, flags: OFlags, path: &Path) -> Result<Option<OwnedFd>, Error> {
        match openat(&self.fd, name, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()) {
            Ok(fd) => Ok(Some(fd)),
            Err(Errno::NOENT) => Ok(None),
            Err(Errno::NOTDIR) => {
                Err(untrusted(path, "it is no directory, and a symbolic link is not followed".to_owned()))
            }
            Err(Errno::LOOP) => Err(untrusted(path, "it is a symbolic link".to_owned())),
            Err(errno) => Ok(at("open", path, Err(errno.into()))?),
        }
    }

    fn judge(&self, path: &Path, fd: &OwnedFd) -> Result<FileType, Error> {
        let stat = at("stat", path, fstat(fd).map_err(io::Error::from))?;
        match distrust(&stat, self.owner) {
            Some(why) => Err(untrusted(path, why)),
            None => Ok(FileType::from_raw_mode(stat.st_mode)),
        }
    }
}

fn directory_flags() -> OFlags {
    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC
}

/// Enough to be on the way to what is in it.
fn walk_flags() -> OFlags {
    OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC
}

fn untrusted(path: &Path, why: String) -> Error {
    Error::Untrusted { path: path.to_owned(), why }
}

/// Why a file is not to be trusted, if it is not.
fn distrust(stat: &Stat, owner: u32) -> Option<String> {
    if stat.st_uid != owner {
        return Some(format!("it belongs to user {}, not to {owner}", stat.st_uid));
    }
    if stat.st_mode & OTHER_WRITE != 0 {
        return Some(format!("everybody may write it (mode {:04o})", stat.st_mode & 0o7777));
    }
    if stat.st_mode & GROUP_WRITE != 0 && stat.st_gid != 0 {
        return Some(format!("group {} may write it (mode {:04o})", stat.st_gid, stat.st_mode & 0o7777));
    }
    None
}

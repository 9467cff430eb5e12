//! Walking a tree to read it: entry by entry, in the order of paths, never following a symlink.
//!
//! The order is that of the paths compared name by name, a directory before what is in it ([`by_path`]), so that
//! two walks can be merged. A walk keeps the names of the directories on the way to where it is, and for files
//! with several links the path of the first one until all were seen; nothing else.
//!
//! Nothing is opened but directories and regular files, and these with `O_NONBLOCK` and only after a look: a fifo
//! or device of a hostile tree would block or act. What is mounted in the tree is not gone into.

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap};
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use super::{Descent, FileId, attributes, entries, file_type, open_inside, reopen, retry, stat_inside};

/// Which names of a directory, given by its path, a walk is to look at; `None` for all, also in what is below.
pub type Guide = Box<dyn Fn(&[u8]) -> io::Result<Option<BTreeSet<CString>>>>;

const FILE: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A character device.
    Character,
    /// A block device.
    Block,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

impl Type {
    /// All of them, each with its letter and its name.
    pub const ALL: [(Self, char, &'static str); 7] = [
        (Self::File, 'f', "file"),
        (Self::Directory, 'd', "directory"),
        (Self::Symlink, 'l', "symlink"),
        (Self::Character, 'c', "character device"),
        (Self::Block, 'b', "block device"),
        (Self::Fifo, 'p', "fifo"),
        (Self::Socket, 's', "socket"),
    ];

    /// Its letter, as find(1) has it.
    #[must_use]
    pub fn letter(self) -> char {
        Self::ALL.iter().find(|(it, ..)| *it == self).map_or('?', |(_, letter, _)| *letter)
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(it, ..)| *it == self).map_or("?", |(.., name)| name)
    }

    fn of(stat: &Stat) -> Self {
        match file_type(stat) {
            FileType::Directory => Self::Directory,
            FileType::Symlink => Self::Symlink,
            FileType::CharacterDevice => Self::Character,
            FileType::BlockDevice => Self::Block,
            FileType::Fifo => Self::Fifo,
            FileType::Socket => Self::Socket,
            FileType::RegularFile | FileType::Unknown => Self::File,
        }
    }
}

/// Seconds and nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Time {
    /// Since 1970; before it negative.
    pub seconds: i64,
    /// Of the second.
    pub nanos: u32,
}

/// One entry of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// From the top, without a slash at the beginning; empty for the top itself.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: Type,
    /// Permissions, with setuid, setgid and sticky bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Bytes of a regular file, else 0.
    pub size: u64,
    /// Major and minor number of a device.
    pub device: Option<(u32, u32)>,
    /// Where a symlink points to.
    pub target: Option<Vec<u8>>,
    /// Extended attributes by name, ACLs and capabilities among them.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// When the contents were last changed.
    pub mtime: Time,
    /// When anything was last changed; nobody can set it.
    pub ctime: Time,
    /// Number of the inode.
    pub inode: u64,
    /// The path of the first link of the same file, if this is a further one.
    pub first_link: Option<Rc<[u8]>>,
}

/// Where two paths stand in a walk.
#[must_use]
pub fn by_path(one: &[u8], other: &[u8]) -> Ordering {
    // A name has no NUL: so the slash, as the lowest byte, keeps what is in a directory together.
    let key = |byte: &u8| if *byte == b'/' { 0 } else { *byte };
    one.iter().map(key).cmp(other.iter().map(key))
}

/// A walk through a tree.
pub struct Walk<'a> {
    here: Descent,
    levels: Vec<Level>,
    path: Vec<u8>,
    /// The entry that was returned last, by its name in `here`.
    last: Option<(CString, Type, FileId)>,
    started: bool,
    links: HashMap<FileId, (Rc<[u8]>, u64)>,
    guide: Option<&'a Guide>,
}

/// A directory on the way.
struct Level {
    names: std::vec::IntoIter<CString>,
    /// How much of the path is the directory's own.
    length: usize,
    guided: bool,
}

impl std::fmt::Debug for Walk<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Walk").field("path", &String::from_utf8_lossy(&self.path)).finish_non_exhaustive()
    }
}

impl<'a> Walk<'a> {
    /// A walk through what is in the directory `top`; a `guide` narrows it.
    ///
    /// # Errors
    /// `top` cannot be read.
    pub fn new(top: BorrowedFd<'_>, guide: Option<&'a Guide>) -> io::Result<Self> {
        Ok(Self {
            here: Descent::new(reopen(top)?)?,
            levels: Vec::new(),
            path: Vec::new(),
            last: None,
            started: false,
            links: HashMap::new(),
            guide,
        })
    }

    /// The next entry, the top first. What vanishes meanwhile is left out.
    ///
    /// # Errors
    /// Something cannot be read.
    pub fn next_entry(&mut self) -> io::Result<Option<Entry>> {
        if !self.started {
            self.started = true;
            let stat = rustix::fs::fstat(self.here.here())?;
            let names = attributes::xattrs_of(self.here.here(), None)?;
            self.push_level(self.guide.is_some())?;
            return Ok(Some(Self::entry(Vec::new(), &stat, names)));
        }
        self.go_down()?;
        loop {
            let Some(level) = self.levels.last_mut() else { return Ok(None) };
            self.path.truncate(level.length);
            let Some(name) = level.names.next() else {
                self.levels.pop();
                if !self.levels.is_empty() {
                    self.here.up()?;
                }
                continue;
            };
            if let Some(entry) = self.look_at(&name)? {
                return Ok(Some(entry));
            }
        }
    }

    /// Opens the file that was returned last; `None` if it is gone, or is another one by now.
    ///
    /// # Errors
    /// As openat2(2).
    pub fn open_last(&self) -> io::Result<Option<File>> {
        let Some((name, Type::File, id)) = &self.last else { return Ok(None) };
        let fd = match open_file(self.here.here(), name) {
            Err(Errno::NOENT | Errno::LOOP | Errno::XDEV | Errno::NXIO) => return Ok(None),
            other => other?,
        };
        let stat = rustix::fs::fstat(&fd)?;
        let same = file_type(&stat) == FileType::RegularFile && (stat.st_dev, stat.st_ino) == *id;
        Ok(same.then(|| File::from(fd)))
    }

    fn look_at(&mut self, name: &CString) -> io::Result<Option<Entry>> {
        let Some(stat) = stat_inside(self.here.here(), name)? else { return Ok(None) };
        if !self.path.is_empty() {
            self.path.push(b'/');
        }
        self.path.extend_from_slice(name.to_bytes());
        let Some(xattrs) = gone_is_none(attributes::xattrs_of(self.here.here(), Some(name)))? else {
            return Ok(None);
        };
        let mut entry = Self::entry(self.path.clone(), &stat, xattrs);
        if entry.kind == Type::Symlink {
            let read = rustix::fs::readlinkat(self.here.here(), name, Vec::new());
            let Some(target) = gone_is_none(read.map_err(Into::into))? else { return Ok(None) };
            entry.target = Some(target.into_bytes());
        }
        let id = (stat.st_dev, stat.st_ino);
        if entry.kind != Type::Directory && stat.st_nlink > 1 {
            entry.first_link = self.link(id, stat.st_nlink as _, &entry.path);
        }
        self.last = Some((name.clone(), entry.kind, id));
        Ok(Some(entry))
    }

    /// Counts a link of a file with several; the path of the first one, if this is not it.
    fn link(&mut self, id: FileId, links: u64, path: &[u8]) -> Option<Rc<[u8]>> {
        let Some((first, left)) = self.links.get_mut(&id) else {
            self.links.insert(id, (path.into(), links.saturating_sub(1)));
            return None;
        };
        let first = Rc::clone(first);
        *left = left.saturating_sub(1);
        if *left == 0 {
            self.links.remove(&id);
        }
        Some(first)
    }

    /// Goes into the directory that was returned last, if it was one.
    fn go_down(&mut self) -> io::Result<()> {
        let Some((name, Type::Directory, id)) = self.last.take() else { return Ok(()) };
        let dir = match open_inside(self.here.here(), &name) {
            // Gone, replaced, or something is mounted on it.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => return Ok(()),
            other => other?,
        };
        if super::id_of(&dir)? != id {
            return Ok(());
        }
        let guided = self.levels.last().is_some_and(|level| level.guided);
        self.here.down(dir)?;
        self.push_level(guided)
    }

    fn push_level(&mut self, guided: bool) -> io::Result<()> {
        let wanted = match self.guide {
            Some(guide) if guided => guide(&self.path)?,
            _ => None,
        };
        let mut names = entries(self.here.here())?;
        let guided = wanted.is_some();
        if let Some(wanted) = wanted {
            names.retain(|name| wanted.contains(name));
        }
        names.sort_unstable();
        self.levels.push(Level { names: names.into_iter(), length: self.path.len(), guided });
        Ok(())
    }

    fn entry(path: Vec<u8>, stat: &Stat, xattrs: Vec<(Vec<u8>, Vec<u8>)>) -> Entry {
        let kind = Type::of(stat);
        let is_device = matches!(kind, Type::Character | Type::Block);
        let time =
            |seconds: i64, nanos: u64| Time { seconds, nanos: u32::try_from(nanos).unwrap_or_default() };
        Entry {
            path,
            kind,
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            size: if kind == Type::File { u64::try_from(stat.st_size).unwrap_or(0) } else { 0 },
            device: is_device.then(|| (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev))),
            target: None,
            xattrs,
            mtime: time(stat.st_mtime as _, stat.st_mtime_nsec as _),
            ctime: time(stat.st_ctime as _, stat.st_ctime_nsec as _),
            inode: stat.st_ino,
            first_link: None,
        }
    }
}

/// Opens the file at `path`, given as in [`Entry::path`], without following a symlink on the way; `None` if there
/// is no such regular file.
///
/// # Errors
/// As openat2(2).
pub fn open_beneath(top: BorrowedFd<'_>, path: &CStr) -> io::Result<Option<File>> {
    // Opening a fifo or a device can block or act, so it is looked at before.
    let handle = match beneath(top, path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC) {
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => return Ok(None),
        other => other?,
    };
    let seen = rustix::fs::fstat(&handle)?;
    if file_type(&seen) != FileType::RegularFile {
        return Ok(None);
    }
    let fd = match beneath(top, path, FILE) {
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV | Errno::NXIO) => return Ok(None),
        other => other?,
    };
    let opened = rustix::fs::fstat(&fd)?;
    let same = (opened.st_dev, opened.st_ino) == (seen.st_dev, seen.st_ino);
    Ok(same.then(|| File::from(fd)))
}

fn open_file(dir: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<rustix::fd::OwnedFd> {
    // Reading must leave no trace; who does not own the file may not ask for that.
    match beneath(dir, name, FILE | OFlags::NOATIME) {
        Err(Errno::PERM) => beneath(dir, name, FILE),
        other => other,
    }
}

fn beneath(dir: BorrowedFd<'_>, path: &CStr, flags: OFlags) -> rustix::io::Result<rustix::fd::OwnedFd> {
    let resolve = ResolveFlags::BENEATH
        | ResolveFlags::NO_XDEV
        | ResolveFlags::NO_SYMLINKS
        | ResolveFlags::NO_MAGICLINKS;
    loop {
        // EAGAIN: there was a rename somewhere meanwhile.
        match retry(|| rustix::fs::openat2(dir.as_fd(), path, flags, Mode::empty(), resolve)) {
            Err(Errno::AGAIN) => {}
            other => return other,
        }
    }
}

fn gone_is_none<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EINVAL)) => Ok(None),
        other => other.map(Some),
    }
}

#[cfg(test)]
mod tests;

//! Copying a tree.

use std::collections::HashMap;
use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::attributes::{self, copy_attributes};
use super::{DIRECTORY, Descent, FileId, data, entries, file_type, open_inside, reopen, retry, stat_inside};
use crate::sys::effect;

/// Whether files share their blocks with the original.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reflink {
    /// Where the file system can; else the bytes are copied.
    #[default]
    Auto,
    /// Never.
    Never,
}

/// How a tree is copied.
#[derive(Clone, Copy, Default)]
pub struct CopyOptions<'a> {
    /// Goes into what is mounted in the tree; else a mount point is copied as an empty directory.
    pub cross_mounts: bool,
    /// Whether files share their blocks with the original.
    pub reflink: Reflink,
    /// Leaves out the entries, given by their path in the tree, for which this is true.
    pub leave_out: Option<&'a dyn Fn(&Path) -> bool>,
}

impl std::fmt::Debug for CopyOptions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CopyOptions")
            .field("cross_mounts", &self.cross_mounts)
            .field("reflink", &self.reflink)
            .field("leave_out", &self.leave_out.is_some())
            .finish()
    }
}

/// What was copied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Copied {
    /// Entries of every type, hard links each, the top not.
    pub files: u64,
    /// Bytes of regular files, shared ones included, further hard links not.
    pub bytes: u64,
    /// Of these, bytes that share their blocks with the original.
    pub cloned_bytes: u64,
    /// Extended attributes that the target file system cannot hold.
    pub skipped_xattrs: u64,
}

/// Copies what is in the directory `from` into the empty directory `to`, and the attributes of `from` itself.
///
/// Kept: owners, modes, times, extended attributes (ACLs and capabilities among them), hard links within the
/// tree, symlinks, devices, FIFOs, sockets, holes. Not kept: attributes of overlayfs (`trusted.overlay.*`:
/// in a tree of ours they would mean something) and the marks of chattr(1). `progress` is told bytes.
///
/// # Errors
/// Any step failed; `to` then holds a part, which is the caller's to remove.
pub fn copy_tree(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    options: &CopyOptions<'_>,
    progress: &mut dyn FnMut(u64),
) -> io::Result<Copied> {
    let mut copier = Copier {
        from: Descent::new(reopen(from)?)?,
        to: Descent::new(reopen(to)?)?,
        top: reopen(to)?,
        path: PathBuf::new(),
        links: HashMap::new(),
        reflink: options.reflink == Reflink::Auto,
        options,
        copied: Copied::default(),
        progress,
    };
    copier.walk()?;
    Ok(copier.copied)
}

struct Copier<'a> {
    from: Descent,
    to: Descent,
    top: OwnedFd,
    /// Where the walk is, from the top.
    path: PathBuf,
    /// Where the first link of a file with several was put.
    links: HashMap<FileId, PathBuf>,
    /// Cleared by the first file system that cannot.
    reflink: bool,
    options: &'a CopyOptions<'a>,
    copied: Copied,
    progress: &'a mut dyn FnMut(u64),
}

impl Copier<'_> {
    fn walk(&mut self) -> io::Result<()> {
        let mut pending = vec![entries(self.from.here())?.into_iter()];
        while let Some(rest) = pending.last_mut() {
            if let Some(name) = rest.next() {
                if let Some(below) = self.entry(&name)? {
                    pending.push(below.into_iter());
                }
                continue;
            }
            pending.pop();
            // Last, since every entry that is made changes the time of its directory.
            effect::point("copy attributes")?;
            self.copied.skipped_xattrs += copy_attributes(self.from.here(), self.to.here())?;
            if !pending.is_empty() {
                self.from.up()?;
                self.to.up()?;
                self.path.pop();
            }
        }
        Ok(())
    }

    /// Copies one entry; if it is a directory, goes down into it and returns what is there.
    fn entry(&mut self, name: &CString) -> io::Result<Option<Vec<CString>>> {
        let path = self.path.join(OsStr::from_bytes(name.to_bytes()));
        if self.options.leave_out.is_some_and(|leave_out| leave_out(&path)) {
            return Ok(None);
        }
        let Some(stat) = stat_inside(self.from.here(), name)? else { return Ok(None) };
        effect::point("copy entry")?;
        self.copied.files += 1;
        if file_type(&stat) == FileType::Directory {
            return self.directory(name, &stat, path);
        }
        if stat.st_nlink > 1 {
            if self.linked((stat.st_dev, stat.st_ino), name)? {
                return Ok(None);
            }
            self.links.insert((stat.st_dev, stat.st_ino), path);
        }
        match file_type(&stat) {
            FileType::RegularFile => self.file(name)?,
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(self.from.here(), name, Vec::new())?;
                rustix::fs::symlinkat(target, self.to.here(), name)?;
                self.named_attributes(name, &stat)?;
            }
            kind => {
                rustix::fs::mknodat(self.to.here(), name, kind, Mode::empty(), stat.st_rdev)?;
                self.named_attributes(name, &stat)?;
            }
        }
        Ok(None)
    }

    fn directory(&mut self, name: &CString, stat: &Stat, path: PathBuf) -> io::Result<Option<Vec<CString>>> {
        rustix::fs::mkdirat(self.to.here(), name, Mode::RWXU)?;
        let from = match open_inside(self.from.here(), name) {
            Err(Errno::XDEV) if self.options.cross_mounts => {
                rustix::fs::openat(self.from.here(), name, DIRECTORY, Mode::empty())?
            }
            Err(Errno::XDEV) => {
                self.named_attributes(name, stat)?;
                return Ok(None);
            }
            other => other?,
        };
        let below = entries(from.as_fd())?;
        let to = open_inside(self.to.here(), name)?;
        self.from.down(from)?;
        self.to.down(to)?;
        self.path = path;
        Ok(Some(below))
    }

    /// Links to the copy of an earlier link, if there is one.
    fn linked(&mut self, id: FileId, name: &CStr) -> io::Result<bool> {
        let Some(first) = self.links.get(&id) else { return Ok(false) };
        match rustix::fs::linkat(&self.top, first.as_path(), self.to.here(), name, AtFlags::empty()) {
            Ok(()) => Ok(true),
            // Too deep to be named from the top, or too many links: a copy of its own then.
            Err(Errno::NAMETOOLONG | Errno::MLINK) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn file(&mut self, name: &CStr) -> io::Result<()> {
        let read = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let from = retry(|| rustix::fs::openat(self.from.here(), name, read, Mode::empty()))?;
        let stat = rustix::fs::fstat(&from)?;
        if file_type(&stat) != FileType::RegularFile {
            return Err(Errno::STALE.into());
        }
        let write = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let to = rustix::fs::openat(self.to.here(), name, write, Mode::RUSR | Mode::WUSR)?;
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        if size > 0 && self.share(from.as_fd(), to.as_fd())? {
            self.copied.cloned_bytes += size;
            (self.progress)(size);
        } else {
            data::copy(from.as_fd(), to.as_fd(), &stat, self.progress)?;
        }
        self.copied.bytes += size;
        self.copied.skipped_xattrs += copy_attributes(from.as_fd(), to.as_fd())?;
        Ok(())
    }

    fn share(&mut self, from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<bool> {
        if !self.reflink {
            return Ok(false);
        }
        match retry(|| rustix::fs::ioctl_ficlone(to, from)) {
            Ok(()) => Ok(true),
            Err(Errno::NOSPC) => Err(Errno::NOSPC.into()),
            Err(Errno::DQUOT) => Err(Errno::DQUOT.into()),
            // Only this file (not checksummed like the other, swap, still dirty on ZFS), or the file system.
            Err(Errno::INVAL | Errno::TXTBSY | Errno::PERM | Errno::AGAIN) => Ok(false),
            Err(_) => {
                self.reflink = false;
                Ok(false)
            }
        }
    }

    fn named_attributes(&mut self, name: &CStr, stat: &Stat) -> io::Result<()> {
        self.copied.skipped_xattrs += attributes::copy_named(self.from.here(), self.to.here(), name, stat)?;
        Ok(())
    }
}

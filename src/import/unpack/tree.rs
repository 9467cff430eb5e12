//! Writes members into the tree: every path is resolved beneath its root by the kernel, never by us.
//!
//! The worker stands in the tree as its root, so nothing outside can be named at all; `RESOLVE_BENEATH` is the
//! second wall, and it makes an entry that wants out an error instead of something surprising inside. What
//! directories look like is set at the end: else their own content would change it again.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::member::{Attributes, Kind, Member};
use super::report::Beat;
use super::{attributes, broken};
use crate::import::dedup::Borrower;
use crate::sys::whereabouts::{Place, Work};

const CHUNK: usize = 256 << 10;
// Read, too: a clone is compared with what it should be.
const NEW_FILE: OFlags = OFlags::RDWR.union(OFlags::CREATE).union(OFlags::EXCL).union(OFlags::NOFOLLOW);
pub(super) const BENEATH: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_MAGICLINKS);

/// The tree that is being filled.
pub(in crate::import) struct Tree {
    root: OwnedFd,
    /// The directory that was opened last, and its path: neighbours in an archive are neighbours in the tree.
    last: Option<(Vec<u8>, OwnedFd)>,
    directories: BTreeMap<Vec<u8>, Attributes>,
    chunk: Vec<u8>,
    beat: Beat,
    /// Clones what another image has already.
    borrower: Option<Borrower>,
    /// The file that failed, if it is none of the entry that is being made.
    pub(in crate::import) failed: Option<Vec<u8>>,
    pub(in crate::import) saved: u64,
    pub(in crate::import) bytes: u64,
    pub(in crate::import) files: u64,
    pub(in crate::import) notes: attributes::Notes,
}

/// A file that is being written.
#[derive(Debug)]
pub(in crate::import) struct NewFile(OwnedFd);

/// A path of an archive, made relative to the tree: no empty, `.` or `..` component. Empty is the root.
pub(in crate::import) fn clean(path: &[u8]) -> io::Result<Vec<u8>> {
    let mut clean: Vec<u8> = Vec::with_capacity(path.len());
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => continue,
            b".." => return Err(leaves()),
            _ if part.contains(&0) => return Err(broken("its name has a NUL in it")),
            _ => {}
        }
        if !clean.is_empty() {
            clean.push(b'/');
        }
        clean.extend_from_slice(part);
    }
    Ok(clean)
}

fn leaves() -> io::Error {
    broken("it leads out of the tree")
}

/// The directory and the last component of a clean path.
pub(in crate::import) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (path.get(..slash).unwrap_or_default(), path.get(slash + 1..).unwrap_or_default()),
        None => (b"", path),
    }
}

impl Tree {
    /// The tree whose root is the process's.
    pub(in crate::import) fn new(beat: Beat, borrower: Option<Borrower>) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self {
            root: rustix::fs::openat(CWD, "/", flags, Mode::empty())?,
            last: None,
            directories: BTreeMap::new(),
            chunk: vec![0; CHUNK],
            beat,
            borrower,
            failed: None,
            saved: 0,
            bytes: 0,
            files: 0,
            notes: attributes::Notes::default(),
        })
    }

    /// Writes one member; `data` is what the archive holds of it.
    pub(in crate::import) fn write(&mut self, member: &Member, data: &mut impl Read) -> io::Result<()> {
        let _work = self.beat.at(Place::Store);
        let path = clean(&member.path)?;
        if path.is_empty() && !matches!(member.kind, Kind::Directory | Kind::Nothing) {
            return Err(broken("it would stand in the place of the tree itself"));
        }
        match &member.kind {
            Kind::Nothing => return Ok(()),
            Kind::Directory => self.directory(path, &member.attributes)?,
            Kind::File => self.file(&path, member, data)?,
            Kind::HardLink(target) => self.hard_link(&path, &clean(target)?)?,
            Kind::Symlink(target) => self.symlink(&path, target, &member.attributes)?,
            Kind::Char(major, minor) => {
                self.node(&path, FileType::CharacterDevice, (*major, *minor), member)?
            }
            Kind::Block(major, minor) => self.node(&path, FileType::BlockDevice, (*major, *minor), member)?,
            Kind::Fifo => self.node(&path, FileType::Fifo, (0, 0), member)?,
            Kind::Socket => self.node(&path, FileType::Socket, (0, 0), member)?,
        }
        self.files += 1;
        self.beat.alive()
    }

    /// Gives the directories what they shall look like. The end of the work.
    pub(in crate::import) fn finish(&mut self) -> io::Result<()> {
        let _work = self.beat.at(Place::Store);
        self.settle(true)?;
        self.last = None;
        for (path, attributes) in std::mem::take(&mut self.directories) {
            self.set_directory(&path, &attributes)?;
        }
        self.saved = self.borrower.take().map_or(0, Borrower::finish);
        Ok(())
    }

    pub(super) fn beneath(&self, path: &[u8], flags: OFlags, resolve: ResolveFlags) -> io::Result<OwnedFd> {
        let path = if path.is_empty() { b"." } else { path };
        // EAGAIN: a `..` in a link met a rename elsewhere on the host; the answer is to ask again.
        for _ in 0..64 {
            match rustix::fs::openat2(&self.root, path, flags, Mode::empty(), resolve) {
                Err(Errno::AGAIN) => {}
                Err(Errno::XDEV) => return Err(leaves()),
                other => return Ok(other?),
            }
        }
        Err(Errno::AGAIN.into())
    }

    /// Opens a directory, making what is missing of it.
    fn open_dir(&mut self, path: &[u8]) -> io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match self.beneath(path, flags, BENEATH) {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) && !path.is_empty() => {
                let (parent, name) = split(path);
                let parent = self.open_dir(parent)?;
                match rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755)) {
                    // There, and yet ENOENT: a symlink to nothing.
                    Err(Errno::EXIST) => Err(Errno::NOTDIR.into()),
                    other => {
                        other?;
                        self.beneath(path, flags, BENEATH)
                    }
                }
            }
            other => other,
        }
    }

    /// The directory that holds `path`, and its name there.
    fn parent<'a>(&mut self, path: &'a [u8]) -> io::Result<(BorrowedFd<'_>, &'a [u8])> {
        let (parent, name) = split(path);
        if self.last.as_ref().is_none_or(|(open, _)| open != parent) {
            let fd = self.open_dir(parent)?;
            self.last = Some((parent.to_vec(), fd));
        }
        let (_, fd) = self.last.as_ref().ok_or(Errno::BADF)?;
        Ok((fd.as_fd(), name))
    }

    /// Makes something new; what stood in its place goes. The last of two members of one name wins.
    fn make<T>(
        &mut self,
        path: &[u8],
        make: impl Fn(BorrowedFd<'_>, &[u8]) -> rustix::io::Result<T>,
    ) -> io::Result<T> {
        let (parent, name) = self.parent(path)?;
        match make(parent, name) {
            Err(Errno::EXIST) => {
                self.remove(path)?;
                let (parent, name) = self.parent(path)?;
                Ok(make(parent, name)?)
            }
            other => Ok(other?),
        }
    }

    /// Removes what stands at `path`; a directory only if it is empty.
    pub(super) fn remove(&mut self, path: &[u8]) -> io::Result<()> {
        let (parent, name) = self.parent(path)?;
        match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
            Err(Errno::ISDIR) => rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)?,
            other => other?,
        }
        // Paths may lead elsewhere from now on.
        self.last = None;
        self.directories.remove(path);
        Ok(())
    }

    fn directory(&mut self, path: Vec<u8>, attributes: &Attributes) -> io::Result<()> {
        if !path.is_empty() {
            let (parent, name) = self.parent(&path)?;
            match rustix::fs::mkdirat(parent, name, Mode::RWXU) {
                Err(Errno::EXIST) if kind_of(parent, name)? == FileType::Directory => {}
                Err(Errno::EXIST) => {
                    self.remove(&path)?;
                    let (parent, name) = self.parent(&path)?;
                    rustix::fs::mkdirat(parent, name, Mode::RWXU)?;
                }
                other => other?,
            }
        }
        self.directories.insert(path, attributes.clone());
        Ok(())
    }

    fn file(&mut self, path: &[u8], member: &Member, data: &mut impl Read) -> io::Result<()> {
        let file = self.make_file(path)?;
        match &member.sparse {
            Some(sparse) => {
                self.set_length(&file, sparse.real)?;
                for (offset, length) in &sparse.pieces {
                    self.piece(&file, *offset, *length, data)?;
                }
            }
            None => {
                self.begin(path, member.size);
                self.piece(&file, 0, member.size, data)?;
            }
        }
        self.end(file, &member.attributes)
    }

    fn make_file(&mut self, path: &[u8]) -> io::Result<NewFile> {
        let (flags, mode) = (NEW_FILE | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR);
        self.make(path, |parent, name| rustix::fs::openat(parent, name, flags, mode)).map(NewFile)
    }

    fn piece(
        &mut self,
        file: &NewFile,
        mut offset: u64,
        mut left: u64,
        data: &mut impl Read,
    ) -> io::Result<()> {
        let mut chunk = std::mem::take(&mut self.chunk);
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(CHUNK);
            let (now, _) = chunk.split_at_mut(most);
            {
                // The archive's source may be slow, or silent.
                let _work = self.beat.at(Place::Elsewhere);
                data.read_exact(now)?;
            }
            self.put(file, offset, now)?;
            offset += most as u64;
            left -= most as u64;
        }
        self.chunk = chunk;
        Ok(())
    }

    /// Makes a file of this size whose content comes by [`Tree::put`]; [`Tree::close_file`] is its end.
    pub(in crate::import) fn new_file(&mut self, path: &[u8], size: u64) -> io::Result<NewFile> {
        let _work = self.beat.at(Place::Store);
        let path = clean(path)?;
        let file = self.make_file(&path)?;
        self.begin(&path, size);
        Ok(file)
    }

    fn begin(&mut self, path: &[u8], size: u64) {
        if let Some(borrower) = &mut self.borrower {
            borrower.begin(path, size);
        }
    }

    /// All of the file came; if it is a clone that is not compared yet, it looks like this later.
    fn end(&mut self, file: NewFile, looks: &Attributes) -> io::Result<()> {
        if self.borrower.as_ref().is_some_and(Borrower::is_short) {
            self.interrupt(&file)?;
        }
        let file = match &mut self.borrower {
            Some(borrower) => borrower.end(file.0, looks),
            None => Some(file.0),
        };
        match file {
            Some(file) => attributes::set_on_fd(file.as_fd(), looks, &mut self.notes),
            None => self.settle(false),
        }
    }

    fn interrupt(&mut self, file: &NewFile) -> io::Result<()> {
        self.settle(true)?;
        self.borrower.as_mut().map_or(Ok(()), |borrower| borrower.interrupt(file.0.as_fd()))
    }

    /// Brings files that are held to their end: while too many are, or all.
    fn settle(&mut self, all: bool) -> io::Result<()> {
        while let Some(settled) = self.borrower.as_mut().and_then(|borrower| borrower.settle(all)) {
            let looks = &settled.looks;
            let done = settled
                .done
                .and_then(|()| attributes::set_on_fd(settled.file.as_fd(), looks, &mut self.notes));
            if done.is_err() {
                self.failed = Some(settled.path);
            }
            done?;
            // Each is a piece of work of its own.
            drop(self.beat.at(Place::Elsewhere));
            self.beat.alive()?;
        }
        Ok(())
    }

    /// A piece of work that is done elsewhere than in the tree's own calls.
    pub(super) fn at(&self, place: Place) -> Work {
        self.beat.at(place)
    }

    /// A sign of life while nothing is written.
    pub(in crate::import) fn alive(&self) -> io::Result<()> {
        self.beat.alive()
    }

    /// Makes a file as long as it will be; what is not put is a hole.
    pub(in crate::import) fn set_length(&mut self, file: &NewFile, length: u64) -> io::Result<()> {
        let _work = self.beat.at(Place::Store);
        self.interrupt(file)?;
        Ok(rustix::fs::ftruncate(&file.0, length)?)
    }

    /// Writes a piece of a file.
    pub(in crate::import) fn put(&mut self, file: &NewFile, offset: u64, piece: &[u8]) -> io::Result<()> {
        let _work = self.beat.at(Place::Store);
        if self.borrower.as_ref().is_some_and(|borrower| borrower.must_know(offset, piece)) {
            self.settle(true)?;
        }
        match &mut self.borrower {
            Some(borrower) => borrower.put(file.0.as_fd(), offset, piece)?,
            None => write_at(file.0.as_fd(), piece, offset)?,
        }
        self.bytes += piece.len() as u64;
        self.beat.alive()
    }

    /// Gives a file what it shall look like.
    pub(in crate::import) fn close_file(&mut self, file: NewFile, looks: &Attributes) -> io::Result<()> {
        let _work = self.beat.at(Place::Store);
        self.files += 1;
        self.end(file, looks)
    }

    /// Gives a directory what it shall look like, now that all that is in it is made.
    pub(in crate::import) fn close_directory(&mut self, path: &[u8]) -> io::Result<()> {
        let _work = self.beat.at(Place::Store);
        match self.directories.remove(path) {
            Some(attributes) => self.set_directory(path, &attributes),
            None => Ok(()),
        }
    }

    fn set_directory(&mut self, path: &[u8], looks: &Attributes) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = self.beneath(path, flags, BENEATH | ResolveFlags::NO_SYMLINKS)?;
        attributes::set_on_fd(fd.as_fd(), looks, &mut self.notes)?;
        self.beat.alive()
    }

    fn hard_link(&mut self, path: &[u8], target: &[u8]) -> io::Result<()> {
        let (directory, name) = split(target);
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let from = self.beneath(directory, flags, BENEATH).map_err(|error| no_target(target, error))?;
        let there = rustix::fs::statat(&from, name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|error| no_target(target, error.into()))?;
        let (parent, new) = self.parent(path)?;
        if let Ok(stat) = rustix::fs::statat(parent, new, AtFlags::SYMLINK_NOFOLLOW)
            && (stat.st_dev, stat.st_ino) == (there.st_dev, there.st_ino)
        {
            return Ok(()); // making room for the link would remove its target
        }
        self.make(path, |parent, new| rustix::fs::linkat(&from, name, parent, new, AtFlags::empty()))
    }

    fn symlink(&mut self, path: &[u8], target: &[u8], attributes: &Attributes) -> io::Result<()> {
        let target = CString::new(target).map_err(|_| broken("its target has a NUL in it"))?;
        self.make(path, |parent, name| rustix::fs::symlinkat(&target, parent, name))?;
        self.set_by_name(path, attributes, true)
    }

    fn node(&mut self, path: &[u8], kind: FileType, device: (u32, u32), member: &Member) -> io::Result<()> {
        let device = rustix::fs::makedev(device.0, device.1);
        let mode = Mode::RUSR | Mode::WUSR;
        self.make(path, |parent, name| rustix::fs::mknodat(parent, name, kind, mode, device))?;
        self.set_by_name(path, &member.attributes, false)
    }

    fn set_by_name(&mut self, path: &[u8], attributes: &Attributes, symlink: bool) -> io::Result<()> {
        let (parent, name) = self.parent(path)?;
        let parent = parent.try_clone_to_owned()?;
        attributes::set_by_name(parent.as_fd(), name, attributes, symlink, &mut self.notes)
    }
}

fn kind_of(parent: BorrowedFd<'_>, name: &[u8]) -> io::Result<FileType> {
    let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(FileType::from_raw_mode(stat.st_mode))
}

fn no_target(target: &[u8], error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(libc::ENOENT | libc::ENOTDIR) => {
            broken(&format!("it is a hard link to {}, which is not there", super::report::escape(target)))
        }
        _ => error,
    }
}

/// Writes all of it.
pub(in crate::import) fn write_at(fd: BorrowedFd<'_>, mut chunk: &[u8], mut offset: u64) -> io::Result<()> {
    while !chunk.is_empty() {
        let written = match rustix::io::pwrite(fd, chunk, offset) {
            Err(Errno::INTR) => continue,
            other => other?,
        };
        if written == 0 {
            return Err(Errno::NOSPC.into());
        }
        chunk = chunk.get(written..).unwrap_or_default();
        offset += written as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_as_in_the_table() {
        let good: [(&[u8], &[u8]); 9] = [
            (b"a/b", b"a/b"),
            (b"./a", b"a"),
            (b"./", b""),
            (b".", b""),
            (b"/", b""),
            (b"/etc/passwd", b"etc/passwd"),
            (b"//a//./b/", b"a/b"),
            (b"..a/b..", b"..a/b.."),
            (b"\xff\n", b"\xff\n"),
        ];
        for (path, cleaned) in good {
            assert_eq!(clean(path).unwrap(), cleaned, "{path:?}");
        }
        for path in [&b".."[..], b"../a", b"a/../b", b"a/..", b"/..", b"a\0b"] {
            assert!(clean(path).is_err(), "{path:?}");
        }
    }
}

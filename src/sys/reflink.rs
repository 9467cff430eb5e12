//! Files that share their blocks: a whole file becomes one of the same content that takes no room.
//!
//! XFS, btrfs and a dataset of ZFS by itself know FICLONE. Between two datasets of a pool only copy_file_range(2)
//! shares, and where it cannot it copies and does not say so: there the dataset's own count of bytes written tells
//! ([`Way::Counted`]).

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::{effect, file};

/// A kernel's table of counts is no longer.
const LONGEST_TABLE: u64 = 64 << 10;
/// Read at once to be compared: it stays in the processor's cache.
const COMPARED: usize = 64 << 10;

/// How blocks are shared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// By FICLONE.
    Clone,
    /// By copy_file_range(2); the file, a kernel statistic, says in its line `nwritten` how much was written where the
    /// new file lies. Nobody else writes there meanwhile.
    Counted(PathBuf),
}

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shared {
    /// It shares its blocks.
    Blocks,
    /// It is a copy, with blocks of its own.
    Copied,
}

/// Whether files in the file system of the directory `dir` can share blocks at all: tried with two that have no name.
///
/// # Errors
/// They cannot be made.
pub fn is_possible(dir: BorrowedFd<'_>) -> io::Result<bool> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let nameless = || rustix::fs::openat(dir, ".", flags, Mode::RUSR | Mode::WUSR);
    effect::point("make temp file")?;
    let (one, other) = match (nameless(), nameless()) {
        (Ok(one), Ok(other)) => (one, other),
        // No file system that shares blocks is without them.
        (Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::NOENT), _) => return Ok(false),
        (Err(error), _) | (_, Err(error)) => return Err(error.into()),
    };
    match rustix::fs::ioctl_ficlone(&other, &one) {
        Ok(()) => Ok(true),
        Err(error) if is_never(&error.into()) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Whether an error of [`share`] says that it cannot be done here, with this file or any other.
#[must_use]
pub fn is_never(error: &io::Error) -> bool {
    let never = [libc::EOPNOTSUPP, libc::ENOSYS, libc::EXDEV, libc::EINVAL, libc::ENOTTY];
    error.raw_os_error().is_some_and(|errno| never.contains(&errno))
}

/// Whether an error says that what was to be read is damaged, and nothing of what it is read into: EIO, and what file systems
/// call checksums that do not fit (XFS and ext4 EUCLEAN and EBADMSG, ZFS EBADE).
#[must_use]
pub fn is_damage(error: &io::Error) -> bool {
    let damage =
        [libc::EIO, libc::EUCLEAN, libc::EBADMSG, libc::EBADE, libc::EILSEQ, libc::ENODATA, libc::EREMOTEIO];
    error.raw_os_error().is_some_and(|errno| damage.contains(&errno))
}

/// Makes the empty file `to` one of the content of `from`, of `size` bytes.
///
/// # Errors
/// As ioctl_ficlone(2), copy_file_range(2); EAGAIN if it was written just now and is not yet on the disk. Then there
/// may be something in `to`.
pub fn share(from: BorrowedFd<'_>, to: BorrowedFd<'_>, size: u64, way: &Way) -> io::Result<Shared> {
    effect::point("clone file")?;
    match way {
        Way::Clone => clone(from, to).map(|()| Shared::Blocks),
        Way::Counted(count) => {
            let before = written(count)?;
            copy_range(from, to, size)?;
            Ok(if written(count)? == before { Shared::Blocks } else { Shared::Copied })
        }
    }
}

fn clone(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<()> {
    loop {
        match rustix::fs::ioctl_ficlone(to, from) {
            Err(Errno::INTR) => {}
            other => return Ok(other?),
        }
    }
}

fn copy_range(from: BorrowedFd<'_>, to: BorrowedFd<'_>, size: u64) -> io::Result<()> {
    let (mut read, mut put) = (0, 0);
    while read < size {
        let most = usize::try_from(size - read).unwrap_or(usize::MAX);
        match rustix::fs::copy_file_range(from, Some(&mut read), to, Some(&mut put), most) {
            Err(Errno::INTR) => {}
            // Shorter than it was: whoever compares it sees that.
            Ok(0) => break,
            other => drop(other?),
        }
    }
    Ok(())
}

/// The count of bytes written in a statistic of the kernel.
fn written(path: &Path) -> io::Result<u64> {
    let open = || rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    let text = file::read_limited(File::from(open()?), LONGEST_TABLE)?;
    let count = text.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace();
        (words.next() == Some("nwritten")).then(|| words.nth(1)?.parse().ok())?
    });
    count.ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidData, "a statistic without a count of bytes written")
    })
}

/// What the counts of a table are about: its line `dataset_name`; `None` if it has none or cannot be read.
#[must_use]
pub fn counts_of(path: &Path) -> Option<String> {
    let open = || rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    let mut text = String::new();
    File::from(open().ok()?).take(LONGEST_TABLE).read_to_string(&mut text).ok()?;
    text.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace();
        (words.next() == Some("dataset_name")).then(|| words.nth(1).map(str::to_owned))?
    })
}

/// Compares a file from `offset` on with `bytes`: how many are the same.
///
/// # Errors
/// As pread(2).
pub fn same_bytes(file: impl AsFd, offset: u64, bytes: &[u8], buffer: &mut Vec<u8>) -> io::Result<usize> {
    buffer.resize(COMPARED, 0);
    let mut same = 0;
    while same < bytes.len() {
        let most = (bytes.len() - same).min(COMPARED);
        let room = buffer.get_mut(..most).unwrap_or_default();
        let read = match rustix::io::pread(&file, room, offset + same as u64) {
            Err(Errno::INTR) => continue,
            other => other?,
        };
        let (mine, theirs) = (bytes.get(same..same + read), buffer.get(..read));
        if read > 0 && mine == theirs {
            same += read;
            continue;
        }
        let pairs = mine.unwrap_or_default().iter().zip(theirs.unwrap_or_default());
        return Ok(same + pairs.take_while(|(mine, theirs)| mine == theirs).count());
    }
    Ok(same)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "fixtures")]
mod tests {
    use super::*;

    #[test]
    fn the_count_of_a_statistic_is_read_and_one_without_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("objset-0x4f");
        let text = "25 1 0x01 7 2160 1 2\nname type data\ndataset_name 7 tank/a b\nwrites 4 5243\nnwritten 4 20971520\n";
        std::fs::write(&path, text).unwrap();
        assert_eq!((written(&path).unwrap(), counts_of(&path).as_deref()), (20_971_520, Some("tank/a")));
        std::fs::write(&path, "nwritten 4\n").unwrap();
        assert_eq!(written(&path).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(counts_of(&path), None);
        assert!(written(&dir.path().join("none")).is_err());
    }

    #[test]
    fn bytes_are_compared_to_the_first_that_differs_or_is_not_there() {
        let file = tempfile::tempfile().unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, b"0123456789", 0).unwrap();
        let same = |offset, bytes| same_bytes(&file, offset, bytes, &mut Vec::new()).unwrap();
        assert_eq!((same(0, b"0123456789"), same(3, b"345"), same(3, b"3x5"), same(0, b"x")), (10, 3, 1, 0));
        assert_eq!((same(8, b"89+"), same(10, b"a"), same(99, b"a"), same(0, b"")), (2, 0, 0, 0));
    }

    #[test]
    fn what_cannot_be_done_here_is_told_from_what_failed() {
        let never = |errno| is_never(&io::Error::from_raw_os_error(errno));
        assert!([libc::EOPNOTSUPP, libc::ENOSYS, libc::EXDEV, libc::EINVAL].into_iter().all(never));
        assert!(![libc::EAGAIN, libc::ENOENT, libc::ENOSPC, libc::EIO].into_iter().any(never));
    }
}

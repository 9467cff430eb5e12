//! What is mounted where, and taking it away.
//!
//! [`How::Strict`] never detaches a busy mount: after it every page written through a mapping is in the file
//! system, which a commit rests on. [`How::Lazy`] always succeeds at once and leaves the rest to the kernel.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::UnmountFlags;

use crate::sys::effect;
use crate::sys::file::{Error, Result, at};

/// Mounts that are stacked higher than this are somebody's mischief.
const MOST_LAYERS: usize = 64;

/// How mounts are taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// Each mount really, deepest first; one that is in use is an error and stays.
    Strict,
    /// Out of sight at once; the kernel ends it when its last user is gone.
    Lazy,
}

/// Takes away the mount at `root` and all below it, layer by layer until nothing is mounted there;
/// `false` if nothing was.
///
/// # Errors
/// `Strict`: EBUSY, with the mount point that is in use; what lay deeper is gone by then.
pub fn unmount_all(root: &Path, how: How) -> Result<bool> {
    let mut changed = false;
    for _ in 0..MOST_LAYERS {
        if !super::is_mount_root(root)? {
            return Ok(changed);
        }
        match how {
            How::Lazy => unmount(root, UnmountFlags::DETACH)?,
            How::Strict => {
                for point in points(root, true)?.iter().rev() {
                    unmount(point, UnmountFlags::empty())?;
                }
            }
        }
        changed = true;
    }
    at("unmount", root, Err(Errno::BUSY.into()))
}

/// Takes away all mounts below `root`, not the one at `root`; `false` if there were none.
///
/// # Errors
/// As [`unmount_all`].
pub fn unmount_below(root: &Path, how: How) -> Result<bool> {
    let flags = match how {
        How::Lazy => UnmountFlags::DETACH,
        How::Strict => UnmountFlags::empty(),
    };
    let mut changed = false;
    for point in mounts_below(root)?.iter().rev() {
        unmount(point, flags)?;
        changed = true;
    }
    Ok(changed)
}

/// The mount points below `root`, each after the one that it is mounted on.
///
/// # Errors
/// The kernel's mount table cannot be read.
pub fn mounts_below(root: &Path) -> Result<Vec<PathBuf>> {
    points(root, false)
}

fn unmount(point: &Path, how: UnmountFlags) -> Result<()> {
    let result = effect::point("unmount")
        .and_then(|()| Ok(rustix::mount::unmount(point, how | UnmountFlags::NOFOLLOW)?));
    match result {
        // Somebody else was faster.
        Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOENT)) => Ok(()),
        other => at("unmount", point, other),
    }
}

/// The mounts that can be seen at or below `root`: what lies under another mount on `root` comes to light
/// when that one is gone.
fn points(root: &Path, with_root: bool) -> Result<Vec<PathBuf>> {
    let Some((top, root)) = at("look for mounts at", root, place(root))? else { return Ok(Vec::new()) };
    let table = Path::new("/proc/thread-self/mountinfo");
    let text = at("read", table, read_table(table))?;
    let lines = text.split(|byte| *byte == b'\n').filter_map(Line::parse).collect();
    let mut below = in_mount_order(lines, top);
    below.retain(|line| line.point.starts_with(&root) && (with_root || line.id != top));
    Ok(below.into_iter().map(|line| line.point).collect())
}

/// The mount on which `root` lies and its path as the mount table spells it, `None` if it is absent.
fn place(root: &Path) -> io::Result<Option<(u64, PathBuf)>> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd: OwnedFd = match rustix::fs::open(root, flags, Mode::empty()) {
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        other => other?,
    };
    let link = format!("/proc/thread-self/fd/{}", fd.as_raw_fd());
    let path = rustix::fs::readlink(link, Vec::new())?;
    let super::MountId(mount) = super::mount_id(fd.as_fd())?;
    Ok(Some((mount, PathBuf::from(OsString::from_vec(path.into_bytes())))))
}

fn read_table(path: &Path) -> io::Result<Vec<u8>> {
    let fd = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut text = Vec::with_capacity(crate::sys::mountinfo::USUAL);
    File::from(fd).read_to_end(&mut text)?;
    Ok(text)
}

/// What matters of a line of mountinfo.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    id: u64,
    parent: u64,
    point: PathBuf,
}

impl Line {
    /// Reads `ID PARENT MAJOR:MINOR ROOT POINT ...`, proc_pid_mountinfo(5).
    fn parse(line: &[u8]) -> Option<Self> {
        let mut fields = line.split(|byte| *byte == b' ');
        let mut number = || std::str::from_utf8(fields.next()?).ok()?.parse().ok();
        let (id, parent) = (number()?, number()?);
        let point = unescape(fields.nth(2)?);
        Some(Self { id, parent, point: PathBuf::from(OsString::from_vec(point)) })
    }
}

/// Undoes the kernel's `\ooo` for blank, tab, newline and backslash.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, tail)) = rest.split_first() {
        rest = tail;
        match tail {
            [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..] if *byte == b'\\' => {
                plain.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = after;
            }
            _ => plain.push(*byte),
        }
    }
    plain
}

/// `top` and all that is mounted on it, each after its parent. The table's own order does not say so: it
/// goes by the time at which a mount was made, which may be long before it was attached. Of two mounts on
/// the same parent, one that covers the place of the other comes after it.
fn in_mount_order(lines: Vec<Line>, top: u64) -> Vec<Line> {
    let mut children: HashMap<u64, Vec<Line>> = HashMap::new();
    let mut waiting = Vec::new();
    for line in lines {
        if line.id == top {
            waiting.push(line);
        } else {
            children.entry(line.parent).or_default().push(line);
        }
    }
    let mut order = Vec::new();
    while let Some(line) = waiting.pop() {
        let mut next = children.remove(&line.id).unwrap_or_default();
        next.sort_by(|a, b| a.point.cmp(&b.point));
        waiting.append(&mut next);
        order.push(line);
    }
    order
}

impl Error {
    /// Whether something is in use.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.errno() == libc::EBUSY
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_mount_table_is_read_with_its_escapes() {
        let line = br"36 35 98:0 /mnt1 /a\040b\134c\011\012 rw,noatime master:1 - ext3 /dev/root rw";
        let read = Line::parse(line).unwrap();
        assert_eq!((read.id, read.parent), (36, 35));
        assert_eq!(read.point, PathBuf::from("/a b\\c\t\n"));
        for broken in [&b""[..], b"x y z", b"1", b"1 2 0:1 /"] {
            assert_eq!(Line::parse(broken), None, "{broken:?}");
        }
        assert_eq!(unescape(br"\9\04\0400\777"), b"\\9\\04 0\\777");
    }

    #[test]
    fn mounts_are_ordered_by_their_parents_and_not_by_the_table() {
        let line = |id, parent, point: &str| Line { id, parent, point: point.into() };
        let lines = vec![
            line(3, 9, "/r/a/b"),
            line(9, 7, "/r/a"),
            line(7, 1, "/r"),
            line(4, 3, "/r/a/b"),
            line(8, 7, "/r/c"),
            line(2, 1, "/r/hidden"),
        ];
        let ids: Vec<_> = in_mount_order(lines, 7).iter().map(|line| line.id).collect();
        assert_eq!(ids, [7, 8, 9, 3, 4]);
    }

    #[test]
    fn a_mount_that_covers_another_goes_first_when_all_go() {
        let line = |id, parent, point: &str| Line { id, parent, point: point.into() };
        let lines = vec![line(1, 0, "/r"), line(2, 1, "/r/a/b"), line(3, 1, "/r/a"), line(4, 3, "/r/a/b")];
        let ids: Vec<_> = in_mount_order(lines, 1).iter().rev().map(|line| line.id).collect();
        assert_eq!(ids, [4, 3, 2, 1]);
    }

    #[test]
    fn a_table_that_contradicts_itself_is_read_to_an_end() {
        let line = |id, parent| Line { id, parent, point: "/r".into() };
        assert_eq!(in_mount_order(vec![line(1, 2), line(2, 1), line(3, 3)], 1).len(), 2);
        assert!(in_mount_order(vec![line(1, 2)], 7).is_empty());
    }
}

//! What is mounted where, as `/proc/PID/mountinfo` says it.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use super::file;

const LARGEST: u64 = 64 << 20;
/// Holds the table of most machines, so that it is read at once: each read makes the kernel walk it anew.
pub const USUAL: usize = 32 << 10;

/// What a mount shows: a device, and which directory of its file system.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Source {
    /// The device as `major:minor`.
    pub device: String,
    /// The directory of that file system which is seen at the mount point.
    pub root: PathBuf,
    /// On ZFS the dataset. The number of a device without a disk is given to the next mount as soon as it is free.
    pub dataset: Option<String>,
}

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Its number in its namespace.
    pub id: u64,
    /// The number of the mount that it is mounted on.
    pub parent: u64,
    /// What it shows.
    pub source: Source,
    /// Where, as the reading process sees it.
    pub point: PathBuf,
    /// The type of the file system.
    pub kind: String,
}

/// The mounts of this process's namespace, in the order in which they were made.
///
/// # Errors
/// /proc cannot be read.
pub fn own() -> file::Result<Vec<Mount>> {
    read(Path::new("/proc/thread-self/mountinfo"))
}

/// The mounts that another process sees.
///
/// # Errors
/// As [`own`]; the process may have ended.
pub fn of(pid: rustix::process::Pid) -> file::Result<Vec<Mount>> {
    read(&PathBuf::from(format!("/proc/{}/mountinfo", pid.as_raw_pid())))
}

/// The mount whose root directory `path` is, `None` if it is none.
///
/// # Errors
/// The path or /proc cannot be read.
pub fn at(path: &Path) -> io::Result<Option<Mount>> {
    let Some(id) = mount_id_if_root(path)? else { return Ok(None) };
    let mounts = own().map_err(|error| error.source)?;
    Ok(mounts.into_iter().find(|mount| mount.id == id))
}

fn mount_id_if_root(path: &Path) -> io::Result<Option<u64>> {
    use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags};
    let stat = rustix::fs::statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::MNT_ID)?;
    Ok(stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT).then_some(stat.stx_mnt_id))
}

/// Not as strict text: a user who may mount could otherwise stop us with a mount point that is not UTF-8.
fn read(path: &Path) -> file::Result<Vec<Mount>> {
    let mut bytes = Vec::with_capacity(USUAL);
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let opened = rustix::fs::open(path, flags, Mode::empty()).map_err(io::Error::from);
    let read = opened.and_then(|fd| File::from(fd).take(LARGEST).read_to_end(&mut bytes));
    file::at("read", path, read)?;
    Ok(String::from_utf8_lossy(&bytes).lines().filter_map(parse).collect())
}

/// A line: `id parent major:minor root point options [tags...] - type source super-options` (proc(5)).
fn parse(line: &str) -> Option<Mount> {
    let (head, tail) = line.split_once(" - ")?;
    let (mut words, mut tail) = (head.split(' '), tail.split(' '));
    let (kind, name) = (tail.next()?.to_owned(), tail.next());
    let dataset = name.filter(|_| kind == "zfs").map(str::to_owned);
    Some(Mount {
        id: words.next()?.parse().ok()?,
        parent: words.next()?.parse().ok()?,
        source: Source { device: words.next()?.to_owned(), root: unescape(words.next()?), dataset },
        point: unescape(words.next()?),
        kind,
    })
}

/// Blanks, newlines and backslashes are written as a backslash and three octal digits.
fn unescape(text: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        match octal(rest) {
            Some((code, after_code)) => {
                bytes.push(code);
                rest = after_code;
            }
            None => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    PathBuf::from(OsString::from_vec(bytes))
}

fn octal(text: &[u8]) -> Option<(u8, &[u8])> {
    let [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', rest @ ..] = text else { return None };
    Some(((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_taken_apart() {
        let line = r"36 35 98:0 /mnt1\040x /mnt\0112\134 rw,noatime master:1 shared:2 - ext3 /dev/root rw,errors=continue";
        let mount = parse(line).unwrap();
        assert_eq!((mount.id, mount.parent), (36, 35));
        let source = Source { device: "98:0".into(), root: "/mnt1 x".into(), dataset: None };
        assert_eq!(mount.source, source);
        assert_eq!(mount.point, Path::new("/mnt\t2\\"));
        assert_eq!(mount.kind, "ext3");
    }

    #[test]
    fn a_dataset_that_got_the_device_number_of_another_is_not_that() {
        let source = |dataset: &str| {
            parse(&format!("36 35 0:45 / /mnt rw,noatime - zfs {dataset} rw,xattr")).unwrap().source
        };
        assert_eq!(source("p/zchroot/a"), source("p/zchroot/a"));
        assert_ne!(source("p/zchroot/a"), source("p/zchroot/b"));
    }

    #[test]
    fn what_is_no_line_is_left_out() {
        for line in ["", "36 35", "x 35 98:0 / / rw - ext3 a b", "36 35 98:0 / / rw ext3 a b"] {
            assert_eq!(parse(line), None, "{line:?}");
        }
    }

    #[test]
    fn proc_is_a_mount_and_its_files_are_not() {
        let proc = at(Path::new("/proc")).unwrap().unwrap();
        assert_eq!(proc.kind, "proc");
        assert!(at(Path::new("/proc/self/status")).unwrap().is_none());
        assert!(at(Path::new("/no/such/path")).is_err());
    }
}

//! Mounting trees, and seeing whether they are mounted.
//!
//! No mount is a peer of the file system that the store is on, or what a session mounts in it would appear in the store
//! as well; [`Detached`] sees to that.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD, Mode, OFlags};

use super::memory::Upper;
use super::overlay::{self, Layers};
use super::{DirStore, failed, gone, place, session};
use crate::store::{Error, MountOptions, Result, SessionId, Tree};
use crate::sys::mount::{Access, Detached};
use crate::sys::{effect, mountinfo};

/// How long directories of an overlay may be held by a mount that is on its way out.
const PATIENCE: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(10);

pub(super) fn mount(store: &DirStore, tree: &Tree, at: &Path, options: MountOptions) -> Result<()> {
    match tree {
        Tree::Session(session) => mount_session(store, session, at, options),
        Tree::Draft(..) | Tree::Version(..) | Tree::Image(_) => {
            let source = place::tree(store, tree)?;
            let Some(dir) = place::open(&source)? else { return Err(gone("mount", &source)) };
            let read_only = match tree {
                Tree::Image(image) => source != store.image_draft(image),
                other => matches!(other, Tree::Version(..)),
            };
            bind(dir.as_fd(), at, options, read_only).map_err(failed("mount", &source))
        }
    }
}

fn mount_session(store: &DirStore, session: &SessionId, at: &Path, options: MountOptions) -> Result<()> {
    let path = store.session(session);
    let Some(base) = session::ready_base(store, session)? else {
        return Err(gone("mount", &path));
    };
    if !options.volatile {
        session::sync(&path)?;
    }
    let on_disk = path.join("upper");
    let in_memory = options.memory.map(|memory| Upper::make(&path, &on_disk, memory)).transpose()?;
    let (upper, work) = match &in_memory {
        Some(memory) => (memory.upper(), memory.work()),
        None => (on_disk, path.join("work")),
    };
    let mut last: Option<Error> = None;
    let deadline = Instant::now() + PATIENCE;
    let mut moves = 0;
    // The version may be renamed between our look and the kernel's: out of drafts/, aside, or back. And whoever
    // has just copied our mounts into a namespace of his own (each command that is started) may still hold
    // what an earlier mount of the same directories has let go: EBUSY, for a moment.
    while moves < 10 {
        let Some(lower) = place::lower(store, &base)? else { break };
        let layers = Layers { lower: &lower, upper: &upper, work: &work };
        let mounted = effect::point("mount").and_then(|()| overlay::mount(&layers, at, options));
        match mounted {
            Ok(()) => return Ok(()),
            Err(error) => {
                match error.raw_os_error() {
                    Some(libc::ENOENT) => moves += 1,
                    Some(libc::EBUSY) if Instant::now() < deadline => sleep(PAUSE),
                    _ => return Err(failed("mount", &path)(error)),
                }
                last = Some(failed("mount", &path)(error));
            }
        }
    }
    Err(last.unwrap_or_else(|| gone("mount", &base.place(store))))
}

/// Shows an open directory at another place. What is mounted below it is not shown.
pub(crate) fn bind(dir: BorrowedFd<'_>, at: &Path, options: MountOptions, read_only: bool) -> io::Result<()> {
    let access = Access { read_only, no_exec: false, allow_suid: !options.nosuid, allow_dev: !options.nodev };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let point = rustix::fs::open(at, flags, Mode::empty())?;
    Detached::bind_open(dir, access)?.attach(point.as_fd())?;
    Ok(())
}

/// Whether one of the directories is the upper one of an overlay, as far as our mount namespace shows.
pub(crate) fn is_upper(uppers: &[&Path]) -> Result<bool> {
    let is_one = |word: Vec<u8>| {
        let upper = word.strip_prefix(b"upperdir=".as_slice());
        upper.is_some_and(|upper| uppers.iter().any(|ours| ours.as_os_str().as_bytes() == upper))
    };
    let is_ours = |options: &[u8]| options.split(|byte| *byte == b',').any(|word| is_one(unescape(word)));
    Ok(mounts()?.iter().any(|mount| is_ours(&mount.options)))
}

/// Whether `dir`, at `path`, is the root of a mount, as far as our mount namespace shows.
pub(super) fn is_mounted(dir: &File, path: &Path) -> Result<bool> {
    let stat = dir.metadata().map_err(failed("stat", path))?;
    let (Some(name), Some(folder)) = (path.file_name(), path.parent().and_then(Path::file_name)) else {
        return Ok(false);
    };
    let suffix = Path::new(folder).join(name);
    for mount in mounts()? {
        // Only then look: a mount point of another kind may belong to a server that does not answer.
        if mount.root.ends_with(&suffix) {
            match rustix::fs::statat(CWD, &mount.point, AtFlags::empty()) {
                Ok(there) if (there.st_dev, there.st_ino) == (stat.dev(), stat.ino()) => return Ok(true),
                _ => {}
            }
        }
    }
    Ok(false)
}

/// A line of mountinfo (proc(5)).
struct MountLine {
    root: PathBuf,
    point: PathBuf,
    /// Of the file system, still escaped.
    options: Vec<u8>,
}

fn mounts() -> Result<Vec<MountLine>> {
    let path = Path::new("/proc/thread-self/mountinfo");
    let mut bytes = Vec::with_capacity(mountinfo::USUAL);
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty())
        .map_err(io::Error::from)
        .and_then(|fd| File::from(fd).read_to_end(&mut bytes))
        .map_err(failed("read", path))?;
    Ok(bytes.split(|byte| *byte == b'\n').filter_map(parse).collect())
}

fn parse(line: &[u8]) -> Option<MountLine> {
    let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let path = |word: &[u8]| PathBuf::from(std::ffi::OsString::from_vec(unescape(word)));
    Some(MountLine { root: path(words.get(3)?), point: path(words.get(4)?), options: words.last()?.to_vec() })
}

/// Blanks and the like are a backslash and three octal digits.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        match rest {
            [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', tail @ ..] => {
                plain.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = tail;
            }
            _ => {
                plain.push(*first);
                rest = after;
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_mountinfo_is_read() {
        let line =
            br"36 35 98:0 /drafts/a\040b /mnt/x\134y rw shared:1 - overlay zchroot rw,upperdir=/a\054b";
        let mount = parse(line).unwrap();
        assert_eq!(mount.root, Path::new("/drafts/a b"));
        assert_eq!(mount.point, Path::new(r"/mnt/x\y"));
        assert_eq!(unescape(mount.options.split(|byte| *byte == b',').nth(1).unwrap()), b"upperdir=/a,b");
        assert!(parse(b"").is_none());
    }
}

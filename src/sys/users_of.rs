//! Which processes use a mounted tree, as /proc tells.

use std::ffi::CString;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, StatxFlags};
use rustix::process::Pid;

use super::file;
use super::mountinfo::{self, Source};

const LARGEST: u64 = 64 << 10;

/// A mounted tree.
#[derive(Debug)]
pub(super) struct Tree {
    /// What it shows.
    source: Source,
    /// Its device, if no other mount on this host shows any part of it.
    device: Option<u64>,
    /// The numbers, in our namespace, of its mount, of those below it and of others that show the same.
    mounts: Vec<u64>,
    /// Our namespace of mounts.
    namespace: Option<PathBuf>,
    /// Other mounts of the same are of others, and none of ours.
    only_here: bool,
}

impl Tree {
    /// The tree mounted at `root`, where others may have it mounted too: this mount and those below it.
    pub(super) fn only_at(root: &Path) -> io::Result<Option<Self>> {
        let Some(tree) = Self::at(root)? else { return Ok(None) };
        let below = mountinfo::at(root)?.map(|top| top.point);
        let all = mountinfo::own().map_err(|error| error.source)?;
        let inside =
            all.iter().filter(|mount| below.as_ref().is_some_and(|top| mount.point.starts_with(top)));
        let mounts = inside.map(|mount| mount.id).collect();
        Ok(Some(Self { mounts, device: None, only_here: true, ..tree }))
    }

    /// The tree mounted at `root`; `None` if nothing is.
    pub(super) fn at(root: &Path) -> io::Result<Option<Self>> {
        let top = match mountinfo::at(root) {
            Ok(Some(top)) => top,
            Ok(None) => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let all = mountinfo::own().map_err(|error| error.source)?;
        let (inside, beside): (Vec<_>, Vec<_>) = all
            .into_iter()
            .partition(|mount| mount.point.starts_with(&top.point) || mount.source == top.source);
        let alone = top.source.root == Path::new("/")
            && beside.iter().all(|mount| mount.source.device != top.source.device);
        let device = if alone { Some(rustix::fs::lstat(root)?.st_dev) } else { None };
        let mounts = inside.iter().map(|mount| mount.id).collect();
        let namespace = file::read_link_if_there(Path::new("/proc/thread-self/ns/mnt")).ok().flatten();
        Ok(Some(Self { source: top.source, device, mounts, namespace, only_here: false }))
    }

    /// Whether a process has its root, directory, program or a file in the tree. One that has ended has not.
    pub(super) fn is_used_by(&self, pid: Pid) -> bool {
        let process = format!("/proc/{}", pid.as_raw_pid());
        let mut look = Look { tree: self, pid, copies: None };
        // Threads may have roots, directories and files of their own; a leader that has ended has none.
        let tasks = names(&format!("{process}/task"));
        look.is_inside(&format!("{process}/exe"))
            || tasks.iter().any(|task| {
                let task = format!("{process}/task/{task}");
                look.is_inside(&format!("{task}/root"))
                    || look.is_inside(&format!("{task}/cwd"))
                    || names(&format!("{task}/fd"))
                        .iter()
                        .any(|fd| look.is_inside(&format!("{task}/fd/{fd}")))
            })
    }
}

/// A look at one process; its mounts are read once, and only if they are needed.
struct Look<'a> {
    tree: &'a Tree,
    pid: Pid,
    copies: Option<Vec<u64>>,
}

impl Look<'_> {
    /// Whether a link of /proc leads into the tree.
    fn is_inside(&mut self, link: &str) -> bool {
        // Sockets, pipes and the like hang on mounts of the kernel's own, which are never the tree's.
        // Without asking a server that may not answer.
        let how = AtFlags::NO_AUTOMOUNT | AtFlags::STATX_DONT_SYNC;
        let Ok(stat) = rustix::fs::statx(CWD, link, how, StatxFlags::MNT_ID) else { return false };
        let device = rustix::fs::makedev(stat.stx_dev_major, stat.stx_dev_minor);
        self.tree.device == Some(device)
            || self.tree.mounts.contains(&stat.stx_mnt_id)
            || self.copies().contains(&stat.stx_mnt_id)
    }

    /// The numbers of the mounts in another namespace that show the same as the tree's.
    fn copies(&mut self) -> &[u64] {
        let (pid, tree) = (self.pid, self.tree);
        if tree.only_here {
            return &[];
        }
        self.copies.get_or_insert_with(|| {
            let link = PathBuf::from(format!("/proc/{}/ns/mnt", pid.as_raw_pid()));
            if file::read_link_if_there(&link).ok().flatten() == tree.namespace {
                return Vec::new();
            }
            let mounts = mountinfo::of(pid).unwrap_or_default();
            mounts.into_iter().filter(|mount| mount.source == tree.source).map(|mount| mount.id).collect()
        })
    }
}

/// All processes there are.
pub(super) fn processes() -> io::Result<Vec<Pid>> {
    let numbers = list("/proc")?;
    Ok(numbers.iter().filter_map(|name| name.parse().ok()).filter_map(Pid::from_raw).collect())
}

/// A process's short name, empty if it has ended.
pub(super) fn short_name(pid: Pid) -> String {
    let path = PathBuf::from(format!("/proc/{}/comm", pid.as_raw_pid()));
    file::read_text(&path, LARGEST).map(|name| name.trim_end().to_owned()).unwrap_or_default()
}

/// The numbers in a directory of a process that may have ended.
fn names(dir: &str) -> Vec<String> {
    list(dir).unwrap_or_default()
}

fn list(dir: &str) -> io::Result<Vec<String>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = rustix::fs::open(dir, flags, Mode::empty())?;
    let mut found = Vec::new();
    for entry in Dir::new(opened)? {
        let name = CString::from(entry?.file_name());
        if let Some(name) = name.to_str().ok().filter(|name| name.starts_with(|c: char| c.is_ascii_digit())) {
            found.push(name.to_owned());
        }
    }
    Ok(found)
}

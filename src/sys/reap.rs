//! Ending whatever still uses a mounted tree, and finding who still has it mounted.
//!
//! A process uses the tree if its root, its working directory, its program or an open file lies in the tree's
//! mount or in one below it. Mounts are told apart by their numbers: a process in another mount namespace (every
//! command that was entered has its own) sees a copy of the tree's mount, found there by what it shows.
//! Processes are held by pidfd and looked at again through it, so that a number that went to somebody else
//! is never signalled.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD, StatxFlags};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::cgroup::Cgroup;
use super::mountinfo::{self, Mount, Source};
use super::{effect, file};

/// How long a process may take to die of SIGKILL.
const DYING: Duration = Duration::from_secs(5);

/// What became of the processes in a tree.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reaped {
    /// How many were signalled one by one; those that went with the control group are not counted.
    pub ended: usize,
    /// Those that are still there: this process's own ancestors, which are never signalled, and what did not
    /// die of SIGKILL in time.
    pub left: Vec<Left>,
}

/// A process that still uses the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// Its id.
    pub pid: i32,
    /// Its short name.
    pub name: String,
}

/// A mount namespace in which something is still mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// A process in it.
    pub pid: i32,
    /// The inode of the namespace.
    pub namespace: u64,
    /// Where it is mounted there.
    pub point: PathBuf,
}

/// Ends every process that has its root, its working directory, its program or an open file in the tree
/// mounted at `root`: those of the control group at once, the others by TERM and, after `grace`, KILL, all
/// together. Nothing is mounted at `root`: only the control group is cleared.
///
/// # Errors
/// /proc cannot be read, or the control group refuses.
pub fn clear(root: &Path, cgroup: Option<&Cgroup>, grace: Duration) -> io::Result<Reaped> {
    if let Some(cgroup) = cgroup {
        cgroup.kill()?;
        cgroup.wait_until_empty(DYING)?;
    }
    let mut reaped = Reaped::default();
    let Some(tree) = Seen::of(root)? else { return Ok(reaped) };
    let spared = ancestors();
    let mut signalled = BTreeSet::new();
    let start = Instant::now();
    let mut pause = Duration::from_millis(1);
    loop {
        let users = tree.users()?;
        let (own, others): (Vec<User>, Vec<User>) =
            users.into_iter().partition(|user| spared.contains(&user.pid));
        if others.is_empty() || start.elapsed() > grace + DYING {
            reaped.ended = signalled.len();
            reaped.left = own.into_iter().chain(others).map(User::left).collect();
            return Ok(reaped);
        }
        let kill = start.elapsed() >= grace;
        for user in others {
            // One that was told to end gets the grace time; a new one may have been forked meanwhile.
            if kill || !signalled.contains(&user.pid) {
                user.signal(if kill { Signal::KILL } else { Signal::TERM })?;
                signalled.insert(user.pid);
            }
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// What is mounted at `root`, for [`namespaces_holding`] after the unmount; `None` if nothing is.
///
/// # Errors
/// `root` or /proc cannot be read.
pub fn source_of(root: &Path) -> io::Result<Option<Source>> {
    match mountinfo::at(root) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => Ok(other?.map(|mount| mount.source)),
    }
}

/// The mount namespaces in which `source` is mounted, each once.
///
/// # Errors
/// /proc cannot be read.
pub fn namespaces_holding(source: &Source) -> io::Result<Vec<Holder>> {
    let mut seen = BTreeSet::new();
    let mut holders = Vec::new();
    for pid in processes()? {
        let Some(namespace) = namespace(pid) else { continue };
        if !seen.insert(namespace) {
            continue;
        }
        // It may have ended since.
        let Ok(mounts) = mountinfo::of(pid) else { continue };
        if let Some(mount) = mounts.into_iter().find(|mount| &mount.source == source) {
            holders.push(Holder { pid: pid.as_raw_pid(), namespace, point: mount.point });
        }
    }
    Ok(holders)
}

/// A tree as the processes see it.
struct Seen {
    source: Source,
    ours: BTreeSet<u64>,
    namespace: Option<u64>,
}

/// A process in the tree.
struct User {
    pid: i32,
    handle: OwnedFd,
}

impl Seen {
    fn of(root: &Path) -> io::Result<Option<Self>> {
        let Some(source) = source_of(root)? else { return Ok(None) };
        let mounts = mountinfo::own().map_err(|error| error.source)?;
        let ours = family(&mounts, |mount| mount.point == root && mount.source == source);
        Ok(Some(Self { source, ours, namespace: namespace_of("/proc/thread-self/ns/mnt") }))
    }

    fn users(&self) -> io::Result<Vec<User>> {
        let mut elsewhere: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
        let mut users = Vec::new();
        for pid in processes()? {
            let Some(namespace) = namespace(pid) else { continue };
            let mounts = if Some(namespace) == self.namespace {
                &self.ours
            } else {
                elsewhere.entry(namespace).or_insert_with(|| self.copies(pid))
            };
            if mounts.is_empty() || !uses(pid, mounts) {
                continue;
            }
            // Looked at again once it is held: the number may have changed hands.
            if let Ok(handle) = pidfd_open(pid, PidfdFlags::empty())
                && uses(pid, mounts)
            {
                users.push(User { pid: pid.as_raw_pid(), handle });
            }
        }
        Ok(users)
    }

    /// The copies of the tree's mounts in the namespace of a process.
    fn copies(&self, pid: Pid) -> BTreeSet<u64> {
        let mounts = mountinfo::of(pid).unwrap_or_default();
        family(&mounts, |mount| mount.source == self.source)
    }
}

impl User {
    fn signal(&self, signal: Signal) -> io::Result<()> {
        effect::point("signal")?;
        match pidfd_send_signal(&self.handle, signal) {
            Err(rustix::io::Errno::SRCH) => Ok(()),
            other => Ok(other?),
        }
    }

    fn left(self) -> Left {
        let name =
            file::read_text(&PathBuf::from(format!("/proc/{}/comm", self.pid)), 256).unwrap_or_default();
        Left { pid: self.pid, name: name.trim().to_owned() }
    }
}

/// The mounts that `is_root` picks, and all that are mounted on them.
fn family(mounts: &[Mount], is_root: impl Fn(&Mount) -> bool) -> BTreeSet<u64> {
    let mut family: BTreeSet<u64> =
        mounts.iter().filter(|mount| is_root(mount)).map(|mount| mount.id).collect();
    loop {
        let before = family.len();
        let children: Vec<u64> =
            mounts.iter().filter(|mount| family.contains(&mount.parent)).map(|mount| mount.id).collect();
        family.extend(children);
        if family.len() == before {
            return family;
        }
    }
}

/// Whether a process has its root, working directory, program or an open file on one of these mounts.
fn uses(pid: Pid, mounts: &BTreeSet<u64>) -> bool {
    let base = format!("/proc/{}", pid.as_raw_pid());
    let on = |link: &str| mount_of(link).is_some_and(|id| mounts.contains(&id));
    if ["root", "cwd", "exe"].iter().any(|link| on(&format!("{base}/{link}"))) {
        return true;
    }
    let open = file::list(&PathBuf::from(format!("{base}/fd"))).unwrap_or_default();
    open.iter().any(|fd| on(&format!("{base}/fd/{fd}")))
}

fn mount_of(link: &str) -> Option<u64> {
    let stat = rustix::fs::statx(CWD, link, AtFlags::NO_AUTOMOUNT, StatxFlags::MNT_ID).ok()?;
    Some(stat.stx_mnt_id)
}

fn processes() -> io::Result<Vec<Pid>> {
    let names = file::list(Path::new("/proc")).map_err(|error| error.source)?;
    Ok(names.iter().filter_map(|name| name.parse().ok()).filter_map(Pid::from_raw).collect())
}

fn namespace(pid: Pid) -> Option<u64> {
    namespace_of(&format!("/proc/{}/ns/mnt", pid.as_raw_pid()))
}

fn namespace_of(link: &str) -> Option<u64> {
    rustix::fs::statx(CWD, link, AtFlags::empty(), StatxFlags::INO).ok().map(|stat| stat.stx_ino)
}

/// This process and those above it, and the first of all.
fn ancestors() -> BTreeSet<i32> {
    let mut found = BTreeSet::from([1]);
    let mut pid = i32::try_from(std::process::id()).unwrap_or(1);
    while pid > 0 && found.insert(pid) {
        let stat = file::read_text(&PathBuf::from(format!("/proc/{pid}/stat")), 4096).unwrap_or_default();
        // `pid (name) state ppid`: the name may hold anything, blanks and brackets too.
        let parent = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)?.parse().ok());
        pid = parent.unwrap_or(0);
    }
    found
}

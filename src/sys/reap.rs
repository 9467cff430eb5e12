//! Ending whatever still uses a mounted tree, and finding who still has it mounted.
//!
//! A process uses a tree if its root, its working directory, its program or an open file lies in it. That is
//! told by mounts, not by paths, so that it holds for other mount namespaces too, where the tree has another
//! path or none: by the number of the mount, which no other mount on the machine has, or by what the mount
//! shows ([`Source`]). Processes are signalled through handles and looked at again after the handle was
//! opened, so that a number that was given to another process meanwhile harms nobody.

use std::collections::HashSet;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::cgroup::Cgroup;
use super::mountinfo::{self, Source};
use super::privilege::raised;
use super::users_of::{Tree, processes, short_name};
use super::{effect, file};

/// How long processes get to die of SIGKILL.
const DEATH: Duration = Duration::from_secs(5);

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
    /// Whether it is one of those that wait for us, which are never signalled.
    pub is_caller: bool,
}

/// A mount namespace in which something is still mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// A process in it.
    pub pid: i32,
    /// The namespace, as `mnt:[NUMBER]`.
    pub namespace: String,
    /// Where it is mounted there.
    pub point: PathBuf,
}

/// Ends every process that has its root, its working directory, its program or an open file in the tree
/// mounted at `root`: first those of the control group at once, then what else there is by SIGTERM and, after
/// `grace` at most, SIGKILL, all of them at the same time.
///
/// Neither this process nor its ancestors nor process 1 are signalled. Where nothing is mounted at `root` only
/// the control group is cleared.
///
/// # Errors
/// /proc cannot be read, or the control group refuses.
pub fn clear(root: &Path, cgroup: Option<&Cgroup>, grace: Duration) -> io::Result<Reaped> {
    clear_found(root, cgroup, grace, Tree::at)
}

/// As [`clear`] of a mount whose tree others may have mounted too: whoever is in another mount of it, in this
/// namespace or in his own, is left alone unless he is of the control group.
///
/// # Errors
/// As [`clear`].
pub fn clear_mount(root: &Path, cgroup: Option<&Cgroup>, grace: Duration) -> io::Result<Reaped> {
    clear_found(root, cgroup, grace, Tree::only_at)
}

fn clear_found(
    root: &Path,
    cgroup: Option<&Cgroup>,
    grace: Duration,
    find: fn(&Path) -> io::Result<Option<Tree>>,
) -> io::Result<Reaped> {
    if let Some(cgroup) = cgroup {
        clear_group(cgroup)?;
    }
    raised(|| match find(root)? {
        Some(tree) => clear_tree(&tree, grace),
        None => Ok(Reaped::default()),
    })
}

/// A process that has its root, its working directory, its program or an open file in the tree mounted at `root`, if
/// there is one besides this one.
///
/// # Errors
/// /proc cannot be read.
pub fn user_of(root: &Path) -> io::Result<Option<Left>> {
    raised(|| {
        let Some(tree) = Tree::at(root)? else { return Ok(None) };
        let own = rustix::process::getpid();
        let user = processes()?.into_iter().find(|pid| *pid != own && tree.is_used_by(*pid));
        Ok(user.map(|pid| Left { pid: pid.as_raw_pid(), name: short_name(pid), is_caller: false }))
    })
}

fn clear_group(cgroup: &Cgroup) -> io::Result<()> {
    if !cgroup.is_populated()? {
        return Ok(());
    }
    match cgroup.kill() {
        // Before Linux 5.14: then they are found one by one.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    }
    cgroup.wait_until_empty(DEATH)?;
    Ok(())
}

fn clear_tree(tree: &Tree, grace: Duration) -> io::Result<Reaped> {
    let spared = spared()?;
    let mut ended = HashSet::new();
    let deadline = Instant::now() + grace + DEATH;
    // A stopped process sees SIGTERM only when it goes on.
    let mut signals: &[Signal] = &[Signal::TERM, Signal::CONT];
    let mut patience = grace;
    loop {
        let victims = find(tree, &spared)?;
        if victims.is_empty() || Instant::now() >= deadline {
            break;
        }
        for victim in &victims {
            signal(victim, signals)?;
            ended.insert(victim.pid);
        }
        wait_for(victims, patience)?;
        // Whoever is found from now on did not listen, or was born meanwhile.
        (signals, patience) = (&[Signal::KILL], DEATH);
    }
    let left = left_in(tree, &spared)?;
    Ok(Reaped { ended: ended.len(), left })
}

/// A process with a handle that no other process can take over.
struct Victim {
    pid: Pid,
    handle: OwnedFd,
}

fn find(tree: &Tree, spared: &HashSet<Pid>) -> io::Result<Vec<Victim>> {
    let candidates = processes()?.into_iter().filter(|pid| !spared.contains(pid) && tree.is_used_by(*pid));
    let opened = candidates.filter_map(|pid| {
        let handle = pidfd_open(pid, PidfdFlags::empty()).ok()?;
        tree.is_used_by(pid).then_some(Victim { pid, handle })
    });
    Ok(opened.collect())
}

/// A process that has just ended is what we want.
fn signal(victim: &Victim, signals: &[Signal]) -> io::Result<()> {
    effect::point("kill process")?;
    for signal in signals {
        match pidfd_send_signal(&victim.handle, *signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Waits until all have ended, `patience` at most: as long as the slowest, not as the sum.
fn wait_for(mut victims: Vec<Victim>, patience: Duration) -> io::Result<()> {
    let deadline = Instant::now() + patience;
    while !victims.is_empty() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
        let mut fds: Vec<_> =
            victims.iter().map(|victim| PollFd::new(&victim.handle, PollFlags::IN)).collect();
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut ended = fds.iter().map(|fd| !fd.revents().is_empty()).collect::<Vec<_>>().into_iter();
        victims.retain(|_| !ended.next().unwrap_or(false));
    }
    Ok(())
}

/// Who is never signalled: we, those who wait for us, and the host's first process.
fn spared() -> io::Result<HashSet<Pid>> {
    let mut spared = HashSet::from([Pid::INIT]);
    let mut next = Some(rustix::process::getpid());
    while let Some(pid) = next.filter(|pid| spared.insert(*pid)) {
        next = parent_of(pid)?;
    }
    Ok(spared)
}

fn parent_of(pid: Pid) -> io::Result<Option<Pid>> {
    let path = PathBuf::from(format!("/proc/{}/stat", pid.as_raw_pid()));
    let text = file::read_text(&path, 4096).map_err(|error| error.source)?;
    // The name stands in parentheses and may hold anything; the parent is the second word after it.
    let after = text.rsplit_once(')').map_or("", |(_, after)| after);
    Ok(after.split_whitespace().nth(1).and_then(|word| word.parse().ok()).and_then(Pid::from_raw))
}

fn left_in(tree: &Tree, spared: &HashSet<Pid>) -> io::Result<Vec<Left>> {
    let own = rustix::process::getpid();
    let users = processes()?.into_iter().filter(|pid| *pid != own && tree.is_used_by(*pid));
    let left = users.map(|pid| Left {
        pid: pid.as_raw_pid(),
        name: short_name(pid),
        is_caller: spared.contains(&pid),
    });
    Ok(left.collect())
}

/// What is mounted at `root`, for [`namespaces_holding`] after the unmount; `None` if nothing is.
///
/// # Errors
/// `root` or /proc cannot be read.
pub fn source_of(root: &Path) -> io::Result<Option<Source>> {
    raised(|| Ok(mountinfo::at(root)?.map(|mount| mount.source)))
}

/// The mount namespaces in which `source` is mounted, each once.
///
/// A namespace without a process (held by a file only) is not seen, nor a mount that is detached and still in
/// use: [`clear`] ends the users of those.
///
/// # Errors
/// /proc cannot be read.
pub fn namespaces_holding(source: &Source) -> io::Result<Vec<Holder>> {
    raised(|| {
        let mut seen = HashSet::new();
        let mut holders = Vec::new();
        for pid in processes()? {
            let path = PathBuf::from(format!("/proc/{}/ns/mnt", pid.as_raw_pid()));
            // One that has ended meanwhile holds nothing.
            let Ok(Some(namespace)) = file::read_link_if_there(&path) else { continue };
            let Ok(mounts) = mountinfo::of(pid) else { continue };
            let found = mounts.into_iter().find(|mount| mount.source == *source);
            // A process with another root sees only a part: the namespace is done with when one has it.
            let namespace = namespace.to_string_lossy().into_owned();
            if let Some(mount) = found.filter(|_| seen.insert(namespace.clone())) {
                holders.push(Holder { pid: pid.as_raw_pid(), namespace, point: mount.point });
            }
        }
        Ok(holders)
    })
}

//! What is left over of sessions below a directory, and taking it away by force.

use std::fs;
use std::path::{Path, PathBuf};

/// Both places where a version 2 hierarchy is mounted.
const CGROUPS: [&str; 2] = ["/sys/fs/cgroup/zchroot", "/sys/fs/cgroup/unified/zchroot"];

/// What is left over below `root`, a line each. The mount that keeps all sessions' mounts private may stand, as
/// may the state of a store on ZFS and the lock files of templates.
pub fn over(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let parent = root.join("run/zchroot/mount");
    let state = root.join("var/lib/zchroot");
    let stray = |at: &PathBuf| at != &parent && at != &state;
    found.extend(mounts(root).into_iter().filter(stray).map(|at| format!("mount {}", at.display())));
    found.extend(processes(root).into_iter().map(|pid| format!("process {pid}: {}", command(pid))));
    let locks = entries(&root.join("run/zchroot/lock"));
    let session_locks = |path: &PathBuf| name(path).starts_with("session-");
    found.extend(locks.into_iter().filter(session_locks).map(|path| said("lock", &path)));
    for (what, folder) in [
        ("mount point", parent),
        ("record", state.join("sessions")),
        ("session in the store", state.join("store/sessions")),
        ("trash in the store", state.join("store/trash")),
    ] {
        found.extend(entries(&folder).iter().map(|path| said(what, path)));
    }
    for template in entries(&state.join("store/drafts")) {
        found.extend(entries(&template).iter().map(|path| said("draft in the store", path)));
    }
    for template in entries(&state.join("store/templates")) {
        let aside = |path: &PathBuf| name(path).starts_with('.');
        found.extend(
            entries(&template).into_iter().filter(aside).map(|path| said("version put aside", &path)),
        );
    }
    for folder in ["etc/zchroot", "etc/zchroot/templates.d"] {
        let temp = |path: &PathBuf| name(path).starts_with(".tmp-");
        found.extend(
            entries(&root.join(folder)).into_iter().filter(temp).map(|path| said("temp file", &path)),
        );
    }
    if let Ok(stat) = fs::metadata(root) {
        let inode = std::os::unix::fs::MetadataExt::ino(&stat);
        found.extend(cgroups(inode).iter().map(|path| said("cgroup", path)));
    }
    found
}

/// Takes everything below `root` away that a removal of the directory would trip over; whether no mount is left.
pub fn clear(root: &Path, inode: u64) -> bool {
    for _ in 0..5 {
        for group in cgroups(inode) {
            let _ = fs::write(group.join("cgroup.kill"), "1");
        }
        for pid in processes(root).into_iter().chain(calls(root)) {
            let pid = nix::unistd::Pid::from_raw(pid.cast_signed());
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
        }
        for at in mounts(root).iter().rev() {
            let _ = nix::mount::umount2(at, nix::mount::MntFlags::MNT_DETACH);
        }
        for group in cgroups(inode) {
            let _ = fs::remove_dir(group);
        }
        if mounts(root).is_empty() && processes(root).is_empty() && cgroups(inode).is_empty() {
            return true;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    mounts(root).is_empty()
}

/// Into a mount namespace of our own: whoever else makes one meanwhile would have a copy of our mounts in it, and a file
/// system is unmounted when the last of them is. Those that others have just now are not kept here either.
pub fn leave_the_mounts_of_others() {
    leave_the_mounts(nix::mount::MsFlags::MS_PRIVATE, |_| true);
}

/// The same, with mounts that are spread as told; only those leave that `is_of_others`.
pub fn leave_the_mounts(spread: nix::mount::MsFlags, is_of_others: impl Fn(&Path) -> bool) {
    use nix::mount::{MntFlags, MsFlags, mount, umount2};
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).unwrap();
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | spread, None::<&str>).unwrap();
    for at in mounts(Path::new("/")).iter().rev().filter(|at| is_of_others(at)) {
        let text = at.to_string_lossy();
        if text.contains("/zchroot-test-") || text.contains("/run/zchroot/") {
            let _ = umount2(at, MntFlags::MNT_DETACH);
        }
    }
}

/// The mount points below `root`, in the order in which they were made, as this thread sees them.
pub fn mounts(root: &Path) -> Vec<PathBuf> {
    let table = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
    let points = table.lines().filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from);
    points.filter(|point| point.starts_with(root)).collect()
}

/// Processes whose root directory is a tree below `root`: their mount of `/` says so, also in namespaces of
/// their own.
pub fn processes(root: &Path) -> Vec<u32> {
    let Some(mark) = root.file_name().and_then(std::ffi::OsStr::to_str) else { return Vec::new() };
    let inside = |pid: &u32| {
        let is_in = |link: &str| {
            fs::read_link(format!("/proc/{pid}/{link}")).is_ok_and(|target| target.starts_with(root))
        };
        let table = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
        let is_top = |line: &str| line.split(' ').nth(4) == Some("/") && line.contains(mark);
        is_in("root") || is_in("cwd") || table.lines().any(is_top)
    };
    let all = entries(Path::new("/proc")).into_iter().filter_map(|path| name(&path).parse().ok());
    all.filter(|pid| *pid != std::process::id() && inside(pid)).collect()
}

/// Calls of the program on this installation: one whose tracer died may be stopped for ever.
fn calls(root: &Path) -> Vec<u32> {
    let all = entries(Path::new("/proc")).into_iter().filter_map(|path| name(&path).parse().ok());
    let is_ours = |pid: &u32| {
        command(*pid).split(' ').skip_while(|word| *word != "--root").nth(1).map(Path::new) == Some(root)
    };
    all.filter(|pid| *pid != std::process::id() && is_ours(pid)).collect()
}

/// Removes the cgroups of an installation whose root directory has this inode, and kills what is in them. They are
/// in a file system of the host's: what a test leaves there, every gc of every later test looks at.
pub fn remove_cgroups(inode: u64) {
    for group in cgroups(inode) {
        let _ = fs::write(group.join("cgroup.kill"), "1");
        for _ in 0..50 {
            if fs::remove_dir(&group).is_ok() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
}

fn cgroups(inode: u64) -> Vec<PathBuf> {
    let ours = format!("@{inode}");
    let all = CGROUPS.iter().flat_map(|top| entries(Path::new(top)));
    all.filter(|path| name(path).ends_with(&ours)).collect()
}

fn command(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default().replace('\0', " ")
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    paths
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn said(what: &str, path: &Path) -> String {
    format!("{what} {}", path.display())
}

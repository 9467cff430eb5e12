//! A worker: a forked child that does one dangerous job, shut into one tree.
//!
//! What it may touch is what it was given: the fds in `keep`, and after [`confine`] the tree, in a mount
//! namespace that holds nothing else, with a handful of capabilities that it can never win back. It dies with
//! its parent. The parent reaps it: [`Worker::wait`], or killed when the handle is dropped. A drop never takes long:
//! a worker that the kernel cannot end just now is left to init.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::unistd::ForkResult;
use rustix::fs::{CWD, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags};
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};
use rustix::thread::{CapabilitySet, CapabilitySets};

use super::effect;
use super::limit::{self, or_limit};

/// How long a worker that was killed may take to go: one that waits for a disk that does not answer cannot.
const REAPED: Duration = Duration::from_secs(10);
/// Exit status of a worker whose body panicked.
const PANICKED: i32 = 101;
/// Exit status of a worker that could not be set up.
const NOT_SET_UP: i32 = 102;
const LOOK: Duration = Duration::from_millis(2);

/// A running worker; killed and reaped when dropped.
#[derive(Debug)]
pub struct Worker {
    pid: Option<Pid>,
}

impl Worker {
    /// Forks a worker that keeps only the fds in `keep` (0, 1 and 2 are /dev/null), runs `body` and ends with
    /// the status that it returns. Nothing else of the caller runs in it: no drop, no exit handler.
    ///
    /// # Errors
    /// As fork(2).
    pub fn fork(keep: &[BorrowedFd<'_>], body: impl FnOnce() -> u8) -> io::Result<Self> {
        effect::point("fork worker")?;
        let mut keep: Vec<RawFd> = keep.iter().map(AsRawFd::as_raw_fd).collect();
        keep.sort_unstable();
        if keep.first().is_some_and(|fd| *fd < 3) {
            return Err(io::Error::from_raw_os_error(libc::EBADF));
        }
        let parent = rustix::process::getpid();
        // SAFETY: the program has no threads, so the child may do whatever the parent may; in tests, which
        // have some, it takes no lock of std and the C library keeps its heap usable across a fork. The child
        // leaves by _exit below and never returns from here.
        match unsafe { nix::unistd::fork() }? {
            ForkResult::Parent { child } => Ok(Self { pid: Pid::from_raw(child.as_raw()) }),
            ForkResult::Child => {
                let status = match set_up(parent, &keep) {
                    Ok(()) => catch_unwind(AssertUnwindSafe(body)).map_or(PANICKED, i32::from),
                    Err(_) => NOT_SET_UP,
                };
                // SAFETY: _exit(2) has no conditions.
                unsafe { libc::_exit(status) }
            }
        }
    }

    /// Its process id, as long as it was not waited for.
    #[must_use]
    pub fn pid(&self) -> Option<Pid> {
        self.pid
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// As waitpid(2).
    pub fn wait(mut self) -> io::Result<WaitStatus> {
        let Some(pid) = self.pid.take() else { return Err(Errno::CHILD.into()) };
        wait_for(pid)
    }

    /// Kills it; whether it went in time. One that did not is left to init: the kernel has not let go of it.
    ///
    /// # Errors
    /// As kill(2), waitpid(2).
    pub fn end(mut self) -> io::Result<bool> {
        let Some(pid) = self.pid.take() else { return Ok(true) };
        rustix::process::kill_process(pid, Signal::KILL)?;
        wait_a_while(pid)
    }

    /// Kills it and waits for its end.
    ///
    /// # Errors
    /// As kill(2), waitpid(2).
    pub fn kill(self) -> io::Result<WaitStatus> {
        if let Some(pid) = self.pid {
            rustix::process::kill_process(pid, Signal::KILL)?;
        }
        self.wait()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Some(pid) = self.pid.take() {
            // The emergency path: there is nobody to tell, and a child of ours that is gone is what we want.
            let _ = rustix::process::kill_process(pid, Signal::KILL);
            if let Ok(false) = wait_a_while(pid) {
                tracing::warn!(
                    pid = pid.as_raw_pid(),
                    "a worker was killed and does not go: the disk stalls"
                );
            }
        }
    }
}

/// Whether it went before [`REAPED`] was over.
fn wait_a_while(pid: Pid) -> io::Result<bool> {
    let deadline = Instant::now() + REAPED;
    loop {
        match rustix::process::waitpid(Some(pid), WaitOptions::NOHANG) {
            Ok(Some(_)) => return Ok(true),
            Ok(None) if Instant::now() >= deadline => return Ok(false),
            Ok(None) => std::thread::sleep(LOOK),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn wait_for(pid: Pid) -> io::Result<WaitStatus> {
    loop {
        match rustix::process::waitpid(Some(pid), WaitOptions::empty()) {
            Err(Errno::INTR) | Ok(None) => {}
            Err(error) => return Err(error.into()),
            Ok(Some((_, status))) => return Ok(status),
        }
    }
}

fn set_up(parent: Pid, keep: &[RawFd]) -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    if rustix::process::getppid() != Some(parent) {
        // It died before the line above: nobody waits for us.
        return Err(Errno::SRCH.into());
    }
    let null = rustix::fs::openat(CWD, "/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    nix::unistd::dup2_stdin(&null)?;
    nix::unistd::dup2_stdout(&null)?;
    nix::unistd::dup2_stderr(&null)?;
    std::mem::forget(null); // closed with all others
    close_all_but(keep)
}

/// Closes every fd from 3 on that is not in `keep`, which is sorted.
fn close_all_but(keep: &[RawFd]) -> io::Result<()> {
    let mut from: libc::c_uint = 3;
    for fd in keep.iter().filter_map(|fd| libc::c_uint::try_from(*fd).ok()).chain([libc::c_uint::MAX]) {
        if from < fd {
            // SAFETY: this child owns its copy of the fd table; what is closed belongs to objects of the
            // parent whose drop never runs here, because the child ends by _exit.
            if unsafe { libc::close_range(from, fd - 1, 0) } != 0 {
                return Err(io::Error::last_os_error());
            }
        }
        from = fd.saturating_add(1);
    }
    Ok(())
}

/// Shuts the calling worker into the tree at `root`: a mount namespace with nothing but the tree, in which it
/// is `/`; all ids 0, umask 0; of the capabilities only `capabilities`, for good.
///
/// # Errors
/// A step failed: the worker must then end.
pub fn confine(root: &Path, capabilities: CapabilitySet) -> io::Result<()> {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS)
        .map_err(|error| or_limit(error, limit::MOUNT_NAMESPACES))?;
    become_root(root)?;
    rustix::process::chdir("/")?;
    rustix::process::umask(Mode::empty());
    rustix::thread::set_thread_groups(&[])?;
    rustix::thread::set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT)?;
    rustix::thread::set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT)?;
    keep_capabilities(capabilities)?;
    Ok(rustix::thread::set_no_new_privs(true)?)
}

/// Makes the tree the root. Where the host's root cannot be pivoted (an initramfs, a chroot) a chroot takes its
/// place: without CAP_SYS_CHROOT, CAP_SYS_ADMIN and an fd to the outside it has no way out either.
fn become_root(root: &Path) -> io::Result<()> {
    match rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC) {
        // Not a mount: what would be mounted might spread to the host.
        Err(Errno::INVAL) => {
            rustix::process::chdir(root)?;
            return Ok(rustix::process::chroot(".")?);
        }
        other => other?,
    }
    // A mount of its own, for pivot_root wants one; not recursive: what is mounted inside stays outside.
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = rustix::mount::open_tree(CWD, root, flags)
        .map_err(|error| or_limit(error, limit::MOUNT_NAMESPACES))?;
    rustix::mount::move_mount(&tree, "", CWD, root, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .map_err(|error| or_limit(error, limit::MOUNTS))?;
    rustix::process::fchdir(&tree)?;
    match rustix::process::pivot_root(".", ".") {
        Ok(()) => Ok(rustix::mount::unmount(".", UnmountFlags::DETACH)?),
        Err(Errno::INVAL) => Ok(rustix::process::chroot(".")?),
        Err(error) => Err(error.into()),
    }
}

fn keep_capabilities(keep: CapabilitySet) -> io::Result<()> {
    for bit in 0..u64::BITS {
        let one = CapabilitySet::from_bits_retain(1 << bit);
        match rustix::thread::remove_capability_from_bounding_set(one) {
            // One past the last that this kernel knows.
            Err(Errno::INVAL) => break,
            other => other?,
        }
    }
    let sets = CapabilitySets { effective: keep, permitted: keep, inheritable: CapabilitySet::empty() };
    rustix::thread::set_capabilities(None, sets)?;
    Ok(rustix::thread::clear_ambient_capability_set()?)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a disk is frozen by the tools that do so")]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    const TESTED: CapabilitySet = CapabilitySet::CHOWN.union(CapabilitySet::MKNOD);

    /// Runs `body` in a confined worker; 0 is success.
    fn confined(root: &Path, body: impl FnOnce() -> io::Result<bool>) -> Option<i32> {
        let worker = Worker::fork(&[], || match confine(root, TESTED) {
            Err(error) => u8::try_from(error.raw_os_error().unwrap_or(200)).unwrap_or(200),
            Ok(()) => match body() {
                Ok(true) => 0,
                Ok(false) => 201,
                Err(_) => 202,
            },
        });
        worker.unwrap().wait().unwrap().exit_status()
    }

    fn only_marker() -> io::Result<bool> {
        let root = rustix::fs::openat(CWD, "/", OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
        let mut names: Vec<_> = rustix::fs::Dir::read_from(root)?
            .filter_map(|entry| entry.ok().map(|entry| entry.file_name().to_owned()))
            .collect();
        names.sort();
        Ok(names == [c".".to_owned(), c"..".to_owned(), c"marker".to_owned()])
    }

    #[test]
    fn sys_root_a_confined_worker_sees_only_its_tree() {
        let dir = tempfile::tempdir().unwrap();
        rustix::fs::mkdirat(CWD, dir.path().join("marker"), Mode::RWXU).unwrap();
        assert_eq!(confined(dir.path(), only_marker), Some(0));
        let above = || {
            rustix::process::chdir("../../..")?;
            only_marker()
        };
        assert_eq!(confined(dir.path(), above), Some(0));
    }

    #[test]
    fn sys_root_a_confined_worker_has_only_its_capabilities_and_cannot_win_others() {
        let dir = tempfile::tempdir().unwrap();
        let caps = || {
            let sets = rustix::thread::capabilities(None)?;
            let bounding = rustix::thread::capability_is_in_bounding_set(CapabilitySet::SYS_ADMIN)?;
            let mine = sets.permitted == TESTED && sets.effective == TESTED && sets.inheritable.is_empty();
            let chroot = rustix::process::chroot("/");
            Ok(mine && !bounding && rustix::thread::no_new_privs()? && chroot == Err(Errno::PERM))
        };
        assert_eq!(confined(dir.path(), caps), Some(0));
    }

    #[test]
    fn sys_root_where_the_root_cannot_be_pivoted_a_chroot_takes_its_place() {
        let outer = tempfile::tempdir().unwrap();
        let mode = Mode::RWXU;
        for path in ["tree", "tree/marker", "dev"] {
            rustix::fs::mkdirat(CWD, outer.path().join(path), mode).unwrap();
        }
        let worker = Worker::fork(&[], || {
            let inside = rustix::process::chroot(outer.path()).map_err(io::Error::from);
            let inside = inside.and_then(|()| Ok(rustix::process::chdir("/")?));
            // A chroot directory is no mount: neither can it be made private.
            match inside.and_then(|()| confine(Path::new("/tree"), TESTED)) {
                Err(error) => u8::try_from(error.raw_os_error().unwrap_or(200)).unwrap_or(200),
                Ok(()) => u8::from(!only_marker().unwrap_or(false)),
            }
        });
        assert_eq!(worker.unwrap().wait().unwrap().exit_status(), Some(0));
    }

    #[test]
    fn sys_root_a_tree_that_is_not_there_is_an_error_of_confine() {
        assert_eq!(confined(Path::new("/nonexistent/tree"), || Ok(true)), Some(libc::ENOENT));
    }

    #[test]
    fn sys_root_a_worker_keeps_only_the_fds_that_it_was_given() {
        let (read, write) = rustix::pipe::pipe().unwrap();
        let other = rustix::fs::openat(CWD, "/", OFlags::RDONLY, Mode::empty()).unwrap();
        let worker = Worker::fork(&[write.as_fd()], || {
            let gone = [&other, &read].iter().all(|fd| rustix::fs::fstat(fd).err() == Some(Errno::BADF));
            let kept = rustix::fs::fstat(&write).is_ok();
            u8::from(!(gone && kept))
        });
        assert_eq!(worker.unwrap().wait().unwrap().exit_status(), Some(0));
    }

    #[test]
    fn sys_root_a_panic_in_a_worker_is_a_status_and_a_dropped_worker_is_killed() {
        let panics = Worker::fork(&[], || std::panic::resume_unwind(Box::new("boo"))).unwrap();
        assert_eq!(panics.wait().unwrap().exit_status(), Some(PANICKED));
        let forever = || loop {
            std::thread::sleep(std::time::Duration::from_secs(60));
        };
        let (read, write) = rustix::pipe::pipe().unwrap();
        let worker = Worker::fork(&[write.as_fd()], forever).unwrap();
        drop(write);
        drop(worker);
        assert_eq!(rustix::io::read(&read, &mut [0_u8]), Ok(0), "the worker's copy of the pipe is closed");
        let killed = Worker::fork(&[], forever).unwrap().kill().unwrap();
        assert_eq!(killed.terminating_signal(), Some(libc::SIGKILL));
    }

    #[test]
    fn sys_root_standard_fds_cannot_be_kept_by_a_worker() {
        let error = Worker::fork(&[io::stdin().as_fd()], || 0).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EBADF));
    }

    #[test]
    fn sys_root_a_worker_that_waits_for_a_frozen_disk_is_left_when_it_was_killed() {
        let dir = tempfile::tempdir().unwrap();
        let (disk, at) = (dir.path().join("disk"), dir.path().join("at"));
        let run = |program: &str, args: &[&str]| {
            let status = std::process::Command::new(program).args(args).status().unwrap();
            assert!(status.success(), "{program} {args:?}");
        };
        std::fs::create_dir(&at).unwrap();
        std::fs::File::create(&disk).unwrap().set_len(16 << 20).unwrap();
        let (disk, at_text) = (disk.to_str().unwrap(), at.to_str().unwrap());
        run("mkfs.ext4", &["-q", "-F", disk]);
        run("mount", &["-o", "loop", disk, at_text]);
        run("fsfreeze", &["-f", at_text]);
        let worker = Worker::fork(&[], || u8::from(std::fs::write(at.join("file"), "x").is_err())).unwrap();
        let stat = format!("/proc/{}/stat", worker.pid().unwrap().as_raw_pid());
        let deadline = Instant::now() + REAPED;
        while !std::fs::read_to_string(&stat).unwrap().contains(") D ") && Instant::now() < deadline {
            std::thread::sleep(LOOK);
        }
        let began = Instant::now();
        drop(worker);
        let took = began.elapsed();
        run("fsfreeze", &["-u", at_text]);
        assert!(took >= REAPED && took < REAPED * 2, "{took:?}");
        while std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z ")) {
            std::thread::sleep(LOOK);
        }
        run("umount", &[at_text]);
    }
}

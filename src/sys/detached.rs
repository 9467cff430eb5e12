//! A process of its own for work that nobody waits for.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::ForkResult;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, UnmountFlags};

use super::effect;
use super::mountinfo;
use super::signals::Held;

/// ioprio_set(2): this process, the class that gets what nobody else wants.
const IO_WHO_PROCESS: libc::c_int = 1;
const IO_CLASS_IDLE: libc::c_int = 3 << 13;
/// Where the scheduler knows no idle class this is the next best.
const LEAST_NICE: libc::c_int = 19;

/// Runs `body` in a process that is nobody's child: in a session of its own, with nothing on its standard fds, in `/`,
/// with the least priority for processor and disk, called `name` in lists of processes. Signals that would end it wait
/// for [`asked_to_end`](super::signals::asked_to_end). Nothing else of the caller runs in it.
///
/// Locks by flock(2) that the caller holds are held by it too: the caller has none.
///
/// # Errors
/// As fork(2), or the process could not be detached from the caller. What fails in `body` nobody hears of.
pub fn run(name: &std::ffi::CStr, body: impl FnOnce()) -> io::Result<()> {
    effect::point("fork detached")?;
    // SAFETY: the program has no threads, so the child may do whatever the parent may. It leaves by _exit below and
    // never returns from here.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Parent { child } => loop {
            match waitpid(child, None) {
                Err(nix::Error::EINTR) => {}
                Ok(WaitStatus::Exited(_, 0)) => return Ok(()),
                Ok(WaitStatus::Exited(_, errno)) => return Err(io::Error::from_raw_os_error(errno)),
                Ok(_) => return Err(io::ErrorKind::Interrupted.into()),
                Err(error) => return Err(error.into()),
            }
        },
        ForkResult::Child => {
            let status = match leave(name) {
                Ok(()) => i32::from(catch_unwind(AssertUnwindSafe(body)).is_err()),
                Err(error) => error.raw_os_error().unwrap_or(libc::EIO),
            };
            // SAFETY: _exit(2) has no conditions.
            unsafe { libc::_exit(status) }
        }
    }
}

/// Becomes a process that has nothing to do with the caller any more.
fn leave(name: &std::ffi::CStr) -> io::Result<()> {
    std::mem::forget(Held::breaking()?);
    let null = rustix::fs::openat(CWD, "/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    nix::unistd::dup2_stdin(&null)?;
    nix::unistd::dup2_stdout(&null)?;
    nix::unistd::dup2_stderr(&null)?;
    rustix::process::setsid()?;
    // SAFETY: as above; the one in between only ends.
    if let ForkResult::Parent { .. } = unsafe { nix::unistd::fork() }? {
        // SAFETY: _exit(2) has no conditions.
        unsafe { libc::_exit(0) }
    }
    rustix::process::chdir("/")?;
    rustix::thread::set_name(name)?;
    yield_to_all();
    Ok(())
}

/// Goes into a mount namespace of its own, in which nothing is mounted any more at or below each directory whose path
/// ends in `folder`. The caller's namespace may be one of his own, which would else live on with copies of all
/// sessions' mounts: a commit of those sessions would wait for them.
///
/// # Errors
/// As unshare(2), umount(2), or the table of mounts cannot be read.
pub fn leave_mounts(folder: &Path) -> io::Result<()> {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS)?;
    // What is unmounted outside goes here too until all are left: with the least priority that may take long.
    let follow = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    match rustix::mount::mount_change("/", follow) {
        // A root that is no mount spreads nothing.
        Ok(()) | Err(Errno::INVAL) => {}
        Err(error) => return Err(error.into()),
    }
    let all = mountinfo::own().map_err(|error| error.source)?;
    for mount in all.iter().rev().filter(|mount| mount.point.ends_with(folder)) {
        match rustix::mount::unmount(&mount.point, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
            // It is hidden below another, or went with one.
            Ok(()) | Err(Errno::INVAL | Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Takes the least priority, as far as the kernel has such: the work is done without it, too.
fn yield_to_all() {
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: the structure lives on this stack; 0 is this process.
    if unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &raw const parameters) } != 0 {
        // SAFETY: plain numbers.
        unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, LEAST_NICE) };
    }
    // SAFETY: plain numbers; 0 is this process.
    unsafe { libc::syscall(libc::SYS_ioprio_set, IO_WHO_PROCESS, 0, IO_CLASS_IDLE) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_detached_is_of_least_priority_and_belongs_to_nobody() {
        let (read, write) = rustix::pipe::pipe().unwrap();
        let parent = rustix::process::getpid();
        run(c"detached-test", || {
            // SAFETY: plain numbers.
            let (policy, io) = unsafe {
                (libc::sched_getscheduler(0), libc::syscall(libc::SYS_ioprio_get, IO_WHO_PROCESS, 0))
            };
            // SAFETY: plain numbers. A session whose leader is outside of this namespace of processes has none: 0.
            let (own, left) = unsafe { (libc::getsid(0), libc::getsid(parent.as_raw_nonzero().get())) };
            let told =
                format!("{policy} {io} {} {}", rustix::process::getppid() != Some(parent), own == left);
            let _ = rustix::io::write(&write, told.as_bytes());
        })
        .unwrap();
        drop(write);
        let mut told = [0; 100];
        let length = rustix::io::read(&read, &mut told).unwrap();
        let expected = format!("{} {IO_CLASS_IDLE} true false", libc::SCHED_IDLE);
        assert_eq!(String::from_utf8_lossy(&told[..length]), expected);
    }
}

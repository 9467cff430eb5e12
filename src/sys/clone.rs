//! clone3(2): the one place where this program forks.
//!
//! The kernel's call, not the C library's `fork`: it puts the child into its namespaces and control group at
//! birth and gives a handle for it that no other process can take over. The child shares nothing with us, but
//! the C library was not told of it: it must not allocate, and must end by exec or [`exit_now`].

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::process::Pid;

/// The C library binding's constant of this name does not fit its type and is zero.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// A child as its parent knows it.
#[derive(Debug)]
pub(super) struct Child {
    pub(super) pid: Pid,
    pub(super) handle: OwnedFd,
}

/// On which side of the fork one is.
pub(super) enum Side {
    Parent(Child),
    Child,
}

/// Forks, with new namespaces by `flags` (`CLONE_NEW*`), into `cgroup` if there is one.
///
/// # Safety
/// In the child nothing may be allocated, no lock taken, and nothing returned from but by exec or `_exit`.
pub(super) unsafe fn clone3(flags: libc::c_int, cgroup: Option<BorrowedFd<'_>>) -> io::Result<Side> {
    let mut handle: RawFd = -1;
    // SAFETY: a plain structure of integers, for which zero means "not used".
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = (flags | libc::CLONE_PIDFD) as u64;
    args.pidfd = &raw mut handle as u64;
    args.exit_signal = libc::SIGCHLD as u64;
    if let Some(cgroup) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = cgroup.as_raw_fd() as u64;
    }
    // SAFETY: the structure is as long as we say and outlives the call; without CLONE_VM the child goes on
    // with a copy of this stack. What it does there is the caller's promise.
    let result = unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of_val(&args)) };
    match result {
        0 => Ok(Side::Child),
        -1 => Err(io::Error::last_os_error()),
        raw => {
            let pid = i32::try_from(raw).ok().and_then(Pid::from_raw);
            let pid = pid.ok_or_else(|| io::Error::from_raw_os_error(libc::EOVERFLOW))?;
            // SAFETY: the kernel has just made this descriptor for us.
            let handle = unsafe { OwnedFd::from_raw_fd(handle) };
            Ok(Side::Parent(Child { pid, handle }))
        }
    }
}

/// Ends this process at once: no destructors, no buffers, nothing of the parent's.
pub(super) fn exit_now(status: i32) -> ! {
    // SAFETY: does not return and touches no memory.
    unsafe { libc::_exit(status) }
}

//! The child side of entering a tree, in the order of the threat model: own mounts, the tree as root, own
//! /proc, identity, directory, what the caller gave, exec.
//!
//! Runs between clone and exec: allocates nothing, takes no lock, looks up no name. All it needs was prepared
//! in a [`Plan`]. Failures go through the report pipe.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use rustix::fs::{Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use rustix::mount::UnmountFlags;
use rustix::mount::{self, FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags};
use rustix::process as proc;
use rustix::thread::{self, CapabilitySet, CapabilitySets};

use super::clone::{Side, clone3, exit_now};
use super::enter::Namespaces;
use super::mount::Inert;
use super::report::{Failure, Report, Step};
use super::startup::Saved;
use super::{init, pointers::Pointers};

/// Everything the child needs, made by the parent.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    /// The mount point of the tree, as the host sees it, and the device and inode that must be there.
    pub(super) root: CString,
    pub(super) root_id: (u64, u64),
    /// Keeps that device and inode from being given to another tree until the child is in.
    pub(super) held: Option<OwnedFd>,
    pub(super) namespaces: Namespaces,
    pub(super) hostname: Option<&'a str>,
    pub(super) uid: Uid,
    pub(super) gid: Gid,
    /// Sorted, as the kernel keeps them.
    pub(super) groups: Vec<Gid>,
    /// As long as `groups` and one more: for reading them back.
    pub(super) groups_back: Vec<libc::gid_t>,
    pub(super) no_new_privs: bool,
    pub(super) inert: Inert,
    pub(super) directories: Vec<CString>,
    pub(super) candidates: Vec<Candidate>,
    pub(super) choice: Choice,
    pub(super) environment: Pointers,
    pub(super) saved: &'a Saved,
}

/// A file that may be the program, and the words that it is given.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) path: CString,
    pub(super) words: Rc<Pointers>,
}

/// Which of several candidates is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice {
    /// The first that is there, as execvp(3).
    Search,
    /// The first that can be executed; each refusal is reported.
    Fallback,
}

type Done<T = ()> = Result<T, Failure>;

/// Goes into the tree and executes the program; ends the process in any case.
pub(super) fn go_in(plan: &mut Plan<'_>, pipe: BorrowedFd<'_>) -> ! {
    let _dead_end = DeadEnd;
    let Err(failure) = way_in(plan, pipe);
    Report::Failed(failure).send(pipe);
    exit_now(125)
}

/// Where a panic unwinds, it must not unwind into a second copy of the parent.
struct DeadEnd;

impl Drop for DeadEnd {
    fn drop(&mut self) {
        exit_now(125);
    }
}

fn way_in(plan: &mut Plan<'_>, pipe: BorrowedFd<'_>) -> Done<std::convert::Infallible> {
    own_mounts()?;
    tree_as_root(plan)?;
    own_kernel_views(plan)?;
    close_all_but(pipe)?;
    become_target(plan)?;
    if plan.namespaces.pid {
        under_init(pipe)?;
    }
    change_directory(plan, pipe)?;
    give_back(plan.saved)?;
    execute(plan, pipe)
}

fn step<T>(step: Step, result: Result<T, Errno>) -> Done<T> {
    result.map_err(|errno| Failure { step, which: 0, errno: errno.raw_os_error() })
}

/// Before anything else: nothing that happens to mounts here may be seen outside. What is unmounted outside goes here
/// too, as long as the host's mounts are copied here: a child that is stopped now keeps nobody's tree.
fn own_mounts() -> Done {
    let follow = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    step(Step::Propagation, mount::mount_change(c"/", follow))
}

/// The tree becomes the root, and nothing else is mounted any more. The directory is opened again since a
/// handle from before belongs to the parent's mounts; it must be the same one.
fn tree_as_root(plan: &Plan<'_>) -> Done {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let root = step(Step::Tree, rustix::fs::open(plan.root.as_c_str(), flags, Mode::empty()))?;
    let stat = step(Step::Tree, rustix::fs::fstat(&root))?;
    if (stat.st_dev, stat.st_ino) != plan.root_id {
        return step(Step::Tree, Err(Errno::STALE));
    }
    step(Step::Tree, proc::fchdir(&root))?;
    step(Step::Pivot, proc::pivot_root(c".", c"."))?;
    // The old root now lies over the new one: take it off with all that is mounted below it.
    step(Step::Pivot, mount::unmount(c".", UnmountFlags::DETACH))?;
    step(Step::Pivot, proc::chdir(c"/"))?;
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    step(Step::Propagation, mount::mount_change(c"/", private))?;
    if plan.no_new_privs { Ok(()) } else { step(Step::Unlock, let_setuid_and_devices_work(plan.inert)) }
}

/// On the host's side the tree is mounted nosuid and nodev, so that nobody there gains anything by what is in it.
/// This mount is a copy in a namespace of our own: only what runs in the session comes by it. What was inert before it
/// was ours stays so.
fn let_setuid_and_devices_work(inert: Inert) -> Result<(), Errno> {
    let setuid = if inert.setuid { 0 } else { libc::MOUNT_ATTR_NOSUID };
    let devices = if inert.devices { 0 } else { libc::MOUNT_ATTR_NODEV };
    let attributes =
        libc::mount_attr { attr_set: 0, attr_clr: setuid | devices, propagation: 0, userns_fd: 0 };
    // SAFETY: a path and a structure of the size that is told, which the call only reads.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            c"/".as_ptr(),
            0,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(last_errno()) }
}

fn own_kernel_views(plan: &Plan<'_>) -> Done {
    if plan.namespaces.pid {
        step(Step::Proc, fresh_proc())?;
    }
    if plan.namespaces.net_none {
        step(Step::Loopback, loopback_up())?;
    }
    match plan.hostname {
        Some(name) if plan.namespaces.uts => {
            step(Step::Hostname, rustix::system::sethostname(name.as_bytes()))
        }
        _ => Ok(()),
    }
}

/// Replaces a /proc that shows the host's processes. Where the tree has none, it gets none.
fn fresh_proc() -> Result<(), Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut had_one = false;
    // More than one may lie on top of another; a symlink or a plain directory ends this.
    while let Ok(place) = rustix::fs::open(c"/proc", flags, Mode::empty()) {
        if rustix::fs::fstatfs(&place)?.f_type != rustix::fs::PROC_SUPER_MAGIC {
            return if had_one { mount_proc(place.as_fd()) } else { Ok(()) };
        }
        mount::unmount(c"/proc", UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)?;
        had_one = true;
    }
    if had_one { Err(Errno::NOTDIR) } else { Ok(()) }
}

fn mount_proc(place: BorrowedFd<'_>) -> Result<(), Errno> {
    let context = mount::fsopen(c"proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
    mount::fsconfig_create(&context)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let made = mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
    let by_handle = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    mount::move_mount(&made, c"", place, c"", by_handle)
}

fn loopback_up() -> Result<(), Errno> {
    // SAFETY: plain system calls on a socket that is closed again and a structure that outlives them. All zero
    // is a valid `ifreq`, and the flags are the member of its union that this call reads.
    unsafe {
        let socket = libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0);
        if socket < 0 {
            return Err(last_errno());
        }
        let mut request: libc::ifreq = std::mem::zeroed();
        for (to, from) in request.ifr_name.iter_mut().zip(c"lo".to_bytes()) {
            *to = *from as libc::c_char;
        }
        request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
        let result = libc::ioctl(socket, libc::SIOCSIFFLAGS as _, &raw const request);
        let done = if result == 0 { Ok(()) } else { Err(last_errno()) };
        libc::close(socket);
        done
    }
}

/// Closed, not only marked: a directory of the host that is still open could be entered through /proc/self/fd
/// when the directory is changed (CVE-2024-21626).
fn close_all_but(pipe: BorrowedFd<'_>) -> Done {
    let pipe = pipe.as_raw_fd().cast_unsigned();
    for (first, last) in [(3, pipe.wrapping_sub(1)), (pipe + 1, libc::c_uint::MAX)] {
        // SAFETY: this process has a copy of the table of its own, and owns nothing in it but the pipe.
        if first <= last && last != 2 && unsafe { libc::close_range(first, last, 0) } != 0 {
            return step(Step::Descriptors, Err(last_errno()));
        }
    }
    Ok(())
}

/// Groups, then ids, then the proof, then what is left of root's powers.
fn become_target(plan: &mut Plan<'_>) -> Done {
    let is_root = plan.uid.is_root();
    if plan.no_new_privs && !is_root {
        step(Step::Bounding, drop_bounding_set())?;
    }
    step(Step::Groups, thread::set_thread_groups(&plan.groups))?;
    step(Step::Ids, thread::set_thread_res_gid(plan.gid, plan.gid, plan.gid))?;
    step(Step::Ids, thread::set_thread_res_uid(plan.uid, plan.uid, plan.uid))?;
    step(Step::Verify, verify(plan))?;
    if !is_root {
        let none = CapabilitySets {
            effective: CapabilitySet::empty(),
            permitted: CapabilitySet::empty(),
            inheritable: CapabilitySet::empty(),
        };
        step(Step::Capabilities, thread::set_capabilities(None, none))?;
    }
    step(Step::Capabilities, thread::clear_ambient_capability_set())?;
    if plan.no_new_privs {
        step(Step::NoNewPrivs, thread::set_no_new_privs(true))?;
    }
    Ok(())
}

fn drop_bounding_set() -> Result<(), Errno> {
    for capability in 0..64 {
        // SAFETY: a plain system call on integers.
        let result = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
        // EINVAL: the kernel knows no more capabilities than these.
        if result != 0 {
            let errno = last_errno();
            return if errno == Errno::INVAL && capability > 0 { Ok(()) } else { Err(errno) };
        }
    }
    Ok(())
}

/// All three ids of both kinds and the groups are the target's, and root cannot be had again.
fn verify(plan: &mut Plan<'_>) -> Result<(), Errno> {
    let (mut real, mut effective, mut saved) = (0, 0, 0);
    // SAFETY: the calls fill the three integers, and the buffer up to the length that they are told.
    let (users, groups, listed) = unsafe {
        let users = libc::getresuid(&raw mut real, &raw mut effective, &raw mut saved) == 0
            && [real, effective, saved] == [plan.uid.as_raw(); 3];
        let groups = libc::getresgid(&raw mut real, &raw mut effective, &raw mut saved) == 0
            && [real, effective, saved] == [plan.gid.as_raw(); 3];
        let room = libc::c_int::try_from(plan.groups_back.len()).unwrap_or(0);
        (users, groups, libc::getgroups(room, plan.groups_back.as_mut_ptr()))
    };
    let same = usize::try_from(listed) == Ok(plan.groups.len())
        && plan.groups.iter().zip(&plan.groups_back).all(|(asked, got)| asked.as_raw() == *got);
    let root_again = thread::set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT);
    if users && groups && same && (plan.uid.is_root() || root_again == Err(Errno::PERM)) {
        Ok(())
    } else {
        Err(Errno::PERM)
    }
}

/// This process becomes the init of its namespace; only the command returns from here.
fn under_init(pipe: BorrowedFd<'_>) -> Done {
    // SAFETY: both sides allocate nothing and end by exec or _exit.
    match unsafe { clone3(0, None) } {
        Ok(Side::Child) => Ok(()),
        Ok(Side::Parent(command)) => init::supervise(command.pid, pipe),
        Err(error) => {
            let errno = error.raw_os_error().unwrap_or(libc::EAGAIN);
            Err(Failure { step: Step::Init, which: 0, errno })
        }
    }
}

/// As the target, so that its rights count. What cannot be reached from the new root is refused.
fn change_directory(plan: &Plan<'_>, pipe: BorrowedFd<'_>) -> Done {
    let last = plan.directories.len().saturating_sub(1);
    for (which, directory) in (0_u32..).zip(&plan.directories) {
        let Err(errno) = enter_directory(directory) else { return Ok(()) };
        let errno = errno.raw_os_error();
        if which as usize == last {
            return Err(Failure { step: Step::Directory, which, errno });
        }
        Report::DirectoryRefused { which, errno }.send(pipe);
    }
    step(Step::Directory, proc::chdir(c"/"))
}

fn enter_directory(directory: &CStr) -> Result<(), Errno> {
    proc::chdir(directory)?;
    let mut buffer = [0_u8; libc::PATH_MAX as usize];
    // SAFETY: fills the buffer up to its length. The C library's getcwd could allocate and walk the tree.
    let length = unsafe { libc::syscall(libc::SYS_getcwd, buffer.as_mut_ptr(), buffer.len()) };
    match (length, buffer.first()) {
        (1.., Some(b'/')) => Ok(()),
        (1.., _) => Err(Errno::NOENT),
        _ => Err(last_errno()),
    }
}

/// The caller's umask, limits and signals.
fn give_back(saved: &Saved) -> Done {
    proc::umask(saved.umask);
    for (resource, limit) in &saved.limits {
        step(Step::Limits, proc::setrlimit(*resource, *limit))?;
    }
    // SAFETY: installs no handler; the mask is a valid set.
    let result = unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
        for signal in &saved.ignored {
            libc::signal(*signal as libc::c_int, libc::SIG_IGN);
        }
        libc::sigprocmask(libc::SIG_SETMASK, saved.mask.as_ref(), std::ptr::null_mut())
    };
    if result == 0 { Ok(()) } else { step(Step::Signals, Err(last_errno())) }
}

fn execute(plan: &Plan<'_>, pipe: BorrowedFd<'_>) -> Done<std::convert::Infallible> {
    let last = plan.candidates.len().saturating_sub(1);
    let mut failure = Failure { step: Step::Exec, which: 0, errno: libc::ENOENT };
    for (which, candidate) in (0_u32..).zip(&plan.candidates) {
        let (path, words) = (candidate.path.as_ptr(), candidate.words.as_ptr());
        // SAFETY: a string and two lists of strings that end with a null pointer, all owned by the plan.
        unsafe { libc::execve(path, words, plan.environment.as_ptr()) };
        let errno = last_errno();
        let absent = matches!(errno, Errno::NOENT | Errno::NOTDIR);
        match plan.choice {
            Choice::Fallback if (which as usize) < last => {
                Report::ShellRefused { which, errno: errno.raw_os_error() }.send(pipe);
            }
            Choice::Search if absent => {}
            // As a shell does: one that may not be executed is worth a word, but the next may be.
            Choice::Search if errno == Errno::ACCESS => failure.errno = errno.raw_os_error(),
            Choice::Search | Choice::Fallback => {
                return Err(Failure { step: Step::Exec, which, errno: errno.raw_os_error() });
            }
        }
    }
    Err(failure)
}

/// Only after a failure: an errno of 0 is none.
fn last_errno() -> Errno {
    // SAFETY: the C library's errno of this thread.
    Errno::from_raw_os_error(unsafe { *libc::__errno_location() })
}

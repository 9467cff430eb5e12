//! Which system calls change something, on this architecture.

use nix::sys::ptrace;
use nix::unistd::Pid;

/// Calls that change the world outside the process that makes them, whatever their arguments. A point before
/// `exit_group` is the point after the last of them.
const CALLS: [(&str, i64); 62] = [
    ("mkdir", libc::SYS_mkdir),
    ("mkdirat", libc::SYS_mkdirat),
    ("rmdir", libc::SYS_rmdir),
    ("unlink", libc::SYS_unlink),
    ("unlinkat", libc::SYS_unlinkat),
    ("rename", libc::SYS_rename),
    ("renameat", libc::SYS_renameat),
    ("renameat2", libc::SYS_renameat2),
    ("symlink", libc::SYS_symlink),
    ("symlinkat", libc::SYS_symlinkat),
    ("link", libc::SYS_link),
    ("linkat", libc::SYS_linkat),
    ("mknod", libc::SYS_mknod),
    ("mknodat", libc::SYS_mknodat),
    ("mount", libc::SYS_mount),
    ("umount2", libc::SYS_umount2),
    ("fsopen", libc::SYS_fsopen),
    ("fsconfig", libc::SYS_fsconfig),
    ("fsmount", libc::SYS_fsmount),
    ("open_tree", libc::SYS_open_tree),
    ("move_mount", libc::SYS_move_mount),
    ("mount_setattr", libc::SYS_mount_setattr),
    ("pivot_root", libc::SYS_pivot_root),
    ("unshare", libc::SYS_unshare),
    ("setns", libc::SYS_setns),
    ("fsync", libc::SYS_fsync),
    ("fdatasync", libc::SYS_fdatasync),
    ("syncfs", libc::SYS_syncfs),
    ("sync", libc::SYS_sync),
    ("flock", libc::SYS_flock),
    ("write", libc::SYS_write),
    ("writev", libc::SYS_writev),
    ("pwrite64", libc::SYS_pwrite64),
    ("truncate", libc::SYS_truncate),
    ("ftruncate", libc::SYS_ftruncate),
    ("fallocate", libc::SYS_fallocate),
    ("copy_file_range", libc::SYS_copy_file_range),
    ("sendfile", libc::SYS_sendfile),
    ("splice", libc::SYS_splice),
    ("chmod", libc::SYS_chmod),
    ("fchmod", libc::SYS_fchmod),
    ("fchmodat", libc::SYS_fchmodat),
    ("chown", libc::SYS_chown),
    ("lchown", libc::SYS_lchown),
    ("fchown", libc::SYS_fchown),
    ("fchownat", libc::SYS_fchownat),
    ("utimensat", libc::SYS_utimensat),
    ("setxattr", libc::SYS_setxattr),
    ("lsetxattr", libc::SYS_lsetxattr),
    ("fsetxattr", libc::SYS_fsetxattr),
    ("removexattr", libc::SYS_removexattr),
    ("lremovexattr", libc::SYS_lremovexattr),
    ("fremovexattr", libc::SYS_fremovexattr),
    ("clone", libc::SYS_clone),
    ("clone3", libc::SYS_clone3),
    ("fork", libc::SYS_fork),
    ("vfork", libc::SYS_vfork),
    ("execve", libc::SYS_execve),
    ("execveat", libc::SYS_execveat),
    ("kill", libc::SYS_kill),
    ("pidfd_send_signal", libc::SYS_pidfd_send_signal),
    ("exit_group", libc::SYS_exit_group),
];
/// The type of all ioctls of `/dev/zfs`. Those that only read are among them: a channel program does not say
/// beforehand what it is.
const ZFS: u64 = 0x5a;
const FICLONE: u64 = 0x4004_9409;
const MAKES: u64 = (libc::O_CREAT | libc::O_TRUNC) as u64;

/// The call that a process is about to make, if it changes something.
pub(crate) fn changing(pid: Pid, registers: &libc::user_regs_struct) -> Option<&'static str> {
    let number = registers.orig_rax.cast_signed();
    let by_flags = |name, flags: u64| (flags & MAKES != 0).then_some(name);
    match number {
        libc::SYS_open => by_flags("open", registers.rsi),
        libc::SYS_openat => by_flags("openat", registers.rdx),
        // The flags are the first word of the structure.
        libc::SYS_openat2 => {
            let flags = ptrace::read(pid, registers.rdx as ptrace::AddressType).unwrap_or_default();
            by_flags("openat2", flags.cast_unsigned())
        }
        libc::SYS_ioctl => {
            let request = registers.rsi & 0xffff_ffff;
            (request == FICLONE || request >> 8 == ZFS).then_some("ioctl")
        }
        _ => CALLS.iter().find(|(_, call)| *call == number).map(|(name, _)| *name),
    }
}

/// The errors that are put into a call: no room, a broken disk, somebody in the way. None where no error of the kind
/// can be.
pub(crate) fn errors(name: &str) -> &'static [libc::c_int] {
    match name {
        "exit_group" | "kill" | "pidfd_send_signal" | "started" => &[],
        _ => &[libc::ENOSPC, libc::EIO, libc::EBUSY],
    }
}

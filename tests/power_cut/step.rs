//! Stops the shipped program after every system call of its own process that changes the disk.
//!
//! By ptrace(2), not by a signal: a stop signal that arrives while a channel program runs stops the process inside
//! the kernel, where it holds a lock that the whole pool waits for.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use crate::harness::{Installation, program};

/// Which calls are steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Steps {
    /// Those that name what they change by its path, those that flush, and those of pools and their mounts.
    Paths,
    /// Those too that name it from a folder's handle on: what copies, makes and removes trees.
    Trees,
}

/// What becomes of the program at a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Go {
    On,
    Kill,
}

/// The controls of /dev/zfs that change a pool; what they are called by, and at which number.
const CONTROLS: [(u64, &str); 6] = [
    (0x5a17, "create"),
    (0x5a18, "destroy"),
    (0x5a22, "promote"),
    (0x5a42, "clone"),
    (0x5a3b, "destroy_snaps"),
    (CHANNEL_PROGRAM, "channel_program"),
];
const CHANNEL_PROGRAM: u64 = 0x5a48;
/// A word that only a program that changes the pool has in it.
const CHANGES: &[u8] = b"zfs.sync.";
/// Where in a zfs_cmd the address and length of its list are.
const LIST: u64 = 4096;

/// Runs a call of the program and shows each step to `at`, in words; whether it exited with 0.
pub fn through(host: &Installation, steps: Steps, words: &[&str], mut at: impl FnMut(&str) -> Go) -> bool {
    let mut command = Command::new(program::binary());
    command.arg("--root").arg(host.path()).args(words).current_dir("/");
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C.UTF-8");
    command.envs(std::env::var_os("LD_LIBRARY_PATH").map(|path| ("LD_LIBRARY_PATH", path)));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::inherit());
    // SAFETY: one system call.
    unsafe {
        command.pre_exec(|| match libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        });
    }
    // It is waited for here, not by `Child`: its stops are ours too.
    #[allow(clippy::zombie_processes, reason = "wait() below does")]
    let pid = command.spawn().unwrap().id().cast_signed();
    let mut tracee = Tracee { pid, steps, entered: None };
    loop {
        match tracee.wait() {
            Stop::Ended(good) => return good,
            Stop::Signal(signal) => tracee.go_on(signal),
            Stop::Call => {
                let step = tracee.at_call();
                if step.is_some_and(|step| at(&step) == Go::Kill) {
                    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGKILL)
                        .unwrap();
                }
                tracee.go_on(0);
            }
        }
    }
}

enum Stop {
    Ended(bool),
    Signal(i32),
    Call,
}

struct Tracee {
    pid: libc::pid_t,
    steps: Steps,
    /// The call that it is in, in words, if it is one that changes the disk.
    entered: Option<Option<String>>,
}

impl Tracee {
    fn wait(&self) -> Stop {
        let mut status = 0;
        // SAFETY: `status` is ours.
        let found = unsafe { libc::waitpid(self.pid, &raw mut status, libc::__WALL) };
        assert_eq!(found, self.pid, "{}", std::io::Error::last_os_error());
        if libc::WIFEXITED(status) || libc::WIFSIGNALED(status) {
            return Stop::Ended(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0);
        }
        match libc::WSTOPSIG(status) {
            // The stop after execve(2), which tells us that it is traced.
            libc::SIGTRAP => {
                let options = libc::PTRACE_O_TRACESYSGOOD | libc::PTRACE_O_EXITKILL;
                // SAFETY: options are a number.
                unsafe { libc::ptrace(libc::PTRACE_SETOPTIONS, self.pid, 0, options) };
                Stop::Signal(0)
            }
            signal if signal == libc::SIGTRAP | 0x80 => Stop::Call,
            signal => Stop::Signal(signal),
        }
    }

    /// To the next entry into or return from a system call. If it was killed meanwhile, wait() says so.
    fn go_on(&self, signal: i32) {
        // SAFETY: the signal is a number.
        unsafe { libc::ptrace(libc::PTRACE_SYSCALL, self.pid, 0, signal) };
    }

    /// At the entry nothing; at the return the call, if it changed the disk.
    fn at_call(&mut self) -> Option<String> {
        let mut regs = std::mem::MaybeUninit::<libc::user_regs_struct>::zeroed();
        // SAFETY: `regs` has room for the registers, and all-zero is a value of it.
        let regs = unsafe {
            libc::ptrace(libc::PTRACE_GETREGS, self.pid, 0, regs.as_mut_ptr());
            regs.assume_init()
        };
        match self.entered.take() {
            None => {
                self.entered = Some(self.name(&regs));
                None
            }
            Some(step) => step.filter(|_| regs.rax.cast_signed() >= 0),
        }
    }

    /// A call in words, if it is one that changes the disk.
    fn name(&self, regs: &libc::user_regs_struct) -> Option<String> {
        let path = |address: u64| Some(self.text(address)).filter(|path| path.contains("/var/lib/zchroot/"));
        match regs.orig_rax.cast_signed() {
            libc::SYS_ioctl => {
                let (_, name) = CONTROLS.iter().find(|(number, _)| *number == regs.rsi)?;
                let reads = regs.rsi == CHANNEL_PROGRAM && !self.program_changes(regs.rdx);
                (!reads).then(|| (*name).to_owned())
            }
            libc::SYS_rename => Some(format!("rename {}", path(regs.rsi)?)),
            libc::SYS_renameat2 => Some(format!("exchange {}", path(regs.r10)?)),
            libc::SYS_unlink => Some(format!("unlink {}", path(regs.rdi)?)),
            libc::SYS_mkdir => Some(format!("mkdir {}", path(regs.rdi)?)),
            libc::SYS_symlink => Some(format!("symlink {}", path(regs.rsi)?)),
            libc::SYS_fsync => {
                let file = std::fs::read_link(format!("/proc/{}/fd/{}", self.pid, regs.rdi)).ok()?;
                Some(format!("fsync {}", file.display()))
            }
            libc::SYS_syncfs => Some("syncfs".to_owned()),
            libc::SYS_mount if self.text(regs.rdx) == "zfs" => Some(format!("mount {}", self.text(regs.rdi))),
            libc::SYS_umount2 => {
                let at = self.text(regs.rdi);
                // What is mounted inside a tree is the host's, not the pool's.
                (at.rsplit('/').nth(1) == Some("mount")).then(|| format!("umount {at}"))
            }
            number if self.steps == Steps::Trees => self.name_from_handle(number, regs),
            _ => None,
        }
    }

    /// As [`Tracee::name`], of a call that names what it changes from a folder's handle on.
    fn name_from_handle(&self, number: i64, regs: &libc::user_regs_struct) -> Option<String> {
        let (name, folder, last) = match number {
            libc::SYS_mkdirat => ("mkdirat", regs.rdi, regs.rsi),
            libc::SYS_symlinkat => ("symlinkat", regs.rsi, regs.rdx),
            libc::SYS_unlinkat => ("unlinkat", regs.rdi, regs.rsi),
            libc::SYS_linkat => ("linkat", regs.rdx, regs.r10),
            libc::SYS_renameat => ("renameat", regs.rdx, regs.r10),
            _ => return None,
        };
        let folder = std::fs::read_link(format!("/proc/{}/fd/{folder}", self.pid)).ok()?;
        let path = folder.join(self.text(last)).display().to_string();
        path.contains("/var/lib/zchroot/").then(|| format!("{name} {path}"))
    }

    /// Whether the program of a ZFS_IOC_CHANNEL_PROGRAM is one that changes the pool.
    fn program_changes(&self, command: u64) -> bool {
        let number = |at| u64::from_ne_bytes(self.memory(at, 8).try_into().unwrap());
        // zc_nvlist_src and zc_nvlist_src_size, behind the name.
        let list = self.memory(number(command + LIST), usize::try_from(number(command + LIST + 8)).unwrap());
        list.windows(CHANGES.len()).any(|window| window == CHANGES)
    }

    fn text(&self, address: u64) -> String {
        let bytes = self.memory(address, 512);
        String::from_utf8_lossy(bytes.split(|byte| *byte == 0).next().unwrap()).into_owned()
    }

    fn memory(&self, address: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        let memory = File::open(format!("/proc/{}/mem", self.pid)).unwrap();
        // What lies at the end of a mapping is shorter.
        let read = memory.read_at(&mut bytes, address).unwrap_or(0);
        bytes.truncate(read.max(8.min(length)));
        bytes
    }
}

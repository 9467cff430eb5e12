//! The first process of a new process namespace: starts nothing, reaps everything, ends with the command.
//!
//! When it ends the kernel ends whatever is left in the namespace. It runs as the command's user, with all
//! signals blocked (it takes them one by one), and like all of the child side it allocates nothing.

use std::os::fd::BorrowedFd;

use rustix::process::{self as proc, Pid, Signal, WaitOptions};

use super::clone::exit_now;
use super::report::Report;

/// How long a lost SIGCHLD goes unnoticed at most.
static LOOK_AGAIN: libc::timespec = libc::timespec { tv_sec: 1, tv_nsec: 0 };

/// Waits for the command, passing on the signals that come from outside.
pub(super) fn supervise(command: Pid, pipe: BorrowedFd<'_>) -> ! {
    detach();
    loop {
        // SAFETY: all zero is a valid value, and the call fills it.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        let mut all = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: sigfillset makes the set whole before it is read.
        let signal = unsafe {
            libc::sigfillset(all.as_mut_ptr());
            libc::sigtimedwait(all.as_ptr(), &raw mut info, &raw const LOOK_AGAIN)
        };
        if signal > 0 && signal != libc::SIGCHLD && is_from_outside(&info) {
            pass_on(command, signal);
        }
        // Whatever woke us: a signal that somebody in the namespace took away may cost a moment, never the session.
        reap(command, pipe);
    }
}

/// Out of the terminal's way (the command gets its signals from the terminal itself, and readers of our
/// output must see its end when the command closes it), and not without the program that started us.
fn detach() {
    let _ = rustix::thread::set_name(c"zchroot-init");
    let _ = proc::setpgid(None, None);
    let _ = proc::set_parent_process_death_signal(Some(Signal::KILL));
    for standard in 0..3 {
        // SAFETY: this process uses none of the three any more.
        unsafe { libc::close(standard) };
    }
}

fn reap(command: Pid, pipe: BorrowedFd<'_>) {
    while let Ok(Some((pid, status))) = proc::wait(WaitOptions::NOHANG | WaitOptions::UNTRACED) {
        if pid != command {
            continue;
        }
        if let Some(signal) = status.stopping_signal() {
            Report::Stopped { signal }.send(pipe);
            continue;
        }
        Report::Ended { status: status.as_raw() }.send(pipe);
        exit_now(status.exit_status().unwrap_or(128));
    }
}

/// From a process that has no number in here: the program that started us.
fn is_from_outside(info: &libc::siginfo_t) -> bool {
    // SAFETY: the sender is filled in for signals that a process sent.
    info.si_code <= 0 && unsafe { info.si_pid() } == 0
}

fn pass_on(command: Pid, signal: libc::c_int) {
    if let Some(signal) = Signal::from_named_raw(signal) {
        let _ = proc::kill_process(command, signal);
    }
}

//! Calls of the program that others may kill and stop meanwhile.

use std::collections::BTreeMap;
use std::io::{Read, Seek};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::Child;
use std::sync::Mutex;
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::harness::Order;
use super::history::{Op, Outcome, Reason, now_ns};

/// What takes longer hangs: it is killed, and the history is rejected.
const LONGEST: Duration = Duration::from_secs(150);

/// Which client has which process. A process that is listed was not waited for, so that its number is its own.
#[derive(Default)]
pub(crate) struct Registry(Mutex<BTreeMap<usize, Pid>>);

/// Whom a signal is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whom {
    /// The program alone, not what it runs.
    Parent,
    /// The program and what it runs.
    Group,
}

/// A call that has ended.
pub(crate) struct Called {
    /// Its exit status, none if it was killed.
    pub(crate) status: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) invoke_ns: u64,
    pub(crate) complete_ns: u64,
}

impl Registry {
    /// Calls the program for a client and waits for it, not for what it started.
    pub(crate) fn call(&self, client: usize, order: Order) -> Called {
        // Files, not pipes: what a killed call leaves behind may hold them open as long as it likes.
        let [mut stdout, mut stderr] = [(); 2].map(|()| tempfile::tempfile().unwrap());
        let mut command = order.into_command();
        command.stdin(std::process::Stdio::null());
        command.stdout(stdout.try_clone().unwrap()).stderr(stderr.try_clone().unwrap()).process_group(0);
        let invoke_ns = now_ns();
        let mut child = command.spawn().unwrap();
        let pid = Pid::from_raw(child.id().cast_signed());
        self.0.lock().unwrap().insert(client, pid);
        if !ends_within(&child, LONGEST) {
            let _ = killpg(pid, Signal::SIGKILL);
            ends_within(&child, LONGEST);
        }
        let complete_ns = now_ns();
        self.0.lock().unwrap().remove(&client);
        let status = child.wait().unwrap();
        let text = |file: &mut std::fs::File| {
            let mut bytes = Vec::new();
            file.rewind().unwrap();
            file.read_to_end(&mut bytes).unwrap();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let (stdout, stderr) = (text(&mut stdout), text(&mut stderr));
        assert!(status.signal().is_none_or(|signal| signal == libc::SIGKILL), "{status}: {stderr}");
        Called { status: status.code(), stdout, stderr, invoke_ns, complete_ns }
    }

    /// Signals the process of a client, if it has one just now. It is not waited for before this returns.
    pub(crate) fn strike(&self, client: usize, whom: Whom, signal: Signal) -> Option<Pid> {
        let processes = self.0.lock().unwrap();
        let pid = *processes.get(&client)?;
        signal_to(pid, whom, signal).then_some(pid)
    }

    /// Signals a process if it is still that of the client.
    pub(crate) fn strike_again(&self, client: usize, pid: Pid, whom: Whom, signal: Signal) {
        let processes = self.0.lock().unwrap();
        if processes.get(&client) == Some(&pid) {
            signal_to(pid, whom, signal);
        }
    }
}

fn signal_to(pid: Pid, whom: Whom, signal: Signal) -> bool {
    match whom {
        Whom::Parent => kill(pid, signal).is_ok(),
        Whom::Group => killpg(pid, signal).is_ok(),
    }
}

fn ends_within(child: &Child, patience: Duration) -> bool {
    let pid = rustix::process::Pid::from_child(child);
    let fd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).unwrap();
    let deadline = now_ns() + u64::try_from(patience.as_nanos()).unwrap();
    while now_ns() < deadline {
        let timeout = Timespec { tv_sec: 1, tv_nsec: 0 };
        if matches!(poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&timeout)), Ok(1..)) {
            return true;
        }
    }
    false
}

impl Called {
    /// How it ended. What the program says is for people; a test may look at it all the same.
    pub(crate) fn outcome(&self, op: Op) -> Outcome {
        let says = |texts: &[&str]| texts.iter().any(|text| self.stderr.contains(text));
        let is_about_a_session = !matches!(op, Op::Run | Op::Update | Op::Recover | Op::Gc);
        match self.status {
            None => Outcome::Info,
            Some(0) => Outcome::Ok,
            Some(_) if says(&["conflict: "]) => Outcome::Fail(Reason::Conflict),
            Some(_) if says(&["No space left", "Disk quota exceeded", "no room to "]) => {
                Outcome::Fail(Reason::NoRoom)
            }
            Some(_) if is_about_a_session && says(&["there is no session"]) => Outcome::Fail(Reason::Gone),
            // Who was killed after it is not waited for: it is committed, and nobody took the session away yet.
            Some(_) if op == Op::SourceAbort && says(&["was committed already"]) => {
                Outcome::Fail(Reason::Gone)
            }
            Some(_) if says(&["in use by another", "is not ready", "somebody else kept it"]) => {
                Outcome::Fail(Reason::Busy)
            }
            Some(_) => Outcome::Fail(Reason::Other),
        }
    }

    /// How often the clone of a version had to be tried again, as the program tells with -vv.
    pub(crate) fn retries(&self) -> usize {
        self.stderr.lines().filter(|line| line.contains("the version moved")).count()
    }
}

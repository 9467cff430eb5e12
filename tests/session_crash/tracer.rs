//! Runs the shipped program under ptrace(2) and strikes at one call of one of its processes.
//!
//! strace(1) can inject too, but it counts calls in each process by itself and cannot name one: a rule for the third
//! `umount2` of a child hits its parent as well, a moment later. And it can only strike the process that made the call.
//! Here a point is (process by order of appearance, name of the call, how often that process has made it), and the blow
//! is one of four: every process of the operation at once, as a power cut takes them; that process alone, as kill -9
//! takes one; the program itself alone while its child is there, which then goes on as an orphan; or the call fails with
//! an errno. In each case but the orphan's the call itself has no effect. `crash_points_are_those_that_strace_sees`
//! compares the two.
//!
//! The processes of a command that the program starts are part of the operation and die with all, but their calls are
//! no points: `started` is the one point that a command has, when it has been executed and has done nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::ptrace::{self, Event, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::calls;
use crate::harness::program;

/// What a killed program's status is, as in [`crate::harness::Done`].
pub(crate) const KILLED: i32 = 1000 + libc::SIGKILL;
const PATIENCE: Duration = Duration::from_secs(90);

/// A place to strike at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Point {
    pub(crate) process: usize,
    pub(crate) call: &'static str,
    pub(crate) nth: usize,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} number {} of process {}", self.call, self.nth, self.process)
    }
}

/// What happens there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blow {
    KillAll,
    KillOne,
    /// The program itself, when this other process comes there.
    KillParent,
    Fail(libc::c_int),
}

/// A point that was come by.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) point: Point,
    /// How many processes of the operation there were.
    pub(crate) alive: usize,
}

/// A traced run that is over.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) status: i32,
    pub(crate) output: String,
    pub(crate) seen: Vec<Seen>,
    pub(crate) struck: bool,
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "status {}, struck: {}, it said:\n{}", self.status, self.struck, self.output)
    }
}

/// Runs the program with these words.
pub(crate) fn run(words: &[String], blow: Option<(Point, Blow)>) -> Run {
    let words = words.to_vec();
    // A thread of its own: what it traces is let go when it ends.
    std::thread::spawn(move || Tracer::start(&words, blow).follow()).join().unwrap()
}

/// A process of the operation.
struct Process {
    index: usize,
    /// Runs a command of the user's.
    command: bool,
    /// Between the entry and the exit of a call.
    inside: bool,
    /// What the call is to return.
    error: Option<libc::c_int>,
    counts: BTreeMap<&'static str, usize>,
}

struct Tracer {
    main: Pid,
    alive: BTreeMap<Pid, Process>,
    born: usize,
    blow: Option<(Point, Blow)>,
    seen: Vec<Seen>,
    struck: bool,
    output: File,
}

impl Tracer {
    fn start(words: &[String], blow: Option<(Point, Blow)>) -> Self {
        let output = tempfile::tempfile().unwrap();
        let mut command = Command::new(program::binary());
        command.args(words).env_clear().env("LC_ALL", "C.UTF-8").current_dir("/").stdin(Stdio::null());
        command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command.envs(std::env::var_os("LD_LIBRARY_PATH").map(|path| ("LD_LIBRARY_PATH", path)));
        command.stdout(output.try_clone().unwrap()).stderr(output.try_clone().unwrap());
        // SAFETY: one system call.
        unsafe { command.pre_exec(|| Ok(ptrace::traceme()?)) };
        let main = Pid::from_raw(command.spawn().unwrap().id().cast_signed());
        let mut tracer =
            Self { main, alive: BTreeMap::new(), born: 0, blow, seen: Vec::new(), struck: false, output };
        let first = waitpid(main, None).unwrap();
        assert_eq!(first, WaitStatus::Stopped(main, Signal::SIGTRAP));
        let options = Options::PTRACE_O_TRACESYSGOOD
            | Options::PTRACE_O_TRACEFORK
            | Options::PTRACE_O_TRACEVFORK
            | Options::PTRACE_O_TRACECLONE
            | Options::PTRACE_O_TRACEEXEC;
        ptrace::setoptions(main, options).unwrap();
        tracer.born(main, false);
        tracer.go_on(main, None);
        tracer
    }

    /// Until the program itself has ended.
    fn follow(mut self) -> Run {
        let (over, end) = mpsc::channel::<()>();
        let main = self.main;
        let watchdog = std::thread::spawn(move || {
            let late = end.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout);
            if late {
                let _ = kill(main, Signal::SIGKILL);
            }
            late
        });
        let status = loop {
            let status = waitpid(None, Some(WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD)).unwrap();
            if let Some(end) = self.step(status) {
                break end;
            }
        };
        self.bury();
        drop(over);
        let run = Run { status, output: self.said(), seen: self.seen, struck: self.struck };
        assert!(!watchdog.join().unwrap(), "it took longer than {PATIENCE:?}: {run}");
        run
    }

    /// Where all were killed: until none of them is left.
    fn bury(&mut self) {
        while self.struck && matches!(self.blow, Some((_, Blow::KillAll))) && !self.alive.is_empty() {
            match waitpid(None, Some(WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD)) {
                Ok(status) => drop(self.step(status)),
                Err(_) => break,
            }
        }
    }

    fn said(&mut self) -> String {
        use std::io::Seek;
        let mut text = String::new();
        self.output.rewind().unwrap();
        self.output.read_to_string(&mut text).unwrap();
        text
    }

    /// Goes one event further; the program's status if that was its end.
    fn step(&mut self, status: WaitStatus) -> Option<i32> {
        match status {
            WaitStatus::Exited(pid, code) => return self.gone(pid, code),
            WaitStatus::Signaled(pid, signal, _) => return self.gone(pid, 1000 + signal as i32),
            WaitStatus::PtraceSyscall(pid) => self.call(pid),
            WaitStatus::PtraceEvent(pid, _, event) => self.event(pid, event),
            WaitStatus::Stopped(pid, signal) => {
                // A new one begins with a stop that is no signal.
                let new = self.born(pid, false);
                self.go_on(pid, Some(signal).filter(|_| !new && signal != Signal::SIGSTOP));
            }
            _ => {}
        }
        None
    }

    fn gone(&mut self, pid: Pid, status: i32) -> Option<i32> {
        self.alive.remove(&pid);
        (pid == self.main).then_some(status)
    }

    /// Takes a process into the count; whether it was not in it.
    fn born(&mut self, pid: Pid, command: bool) -> bool {
        if let Some(known) = self.alive.get_mut(&pid) {
            known.command |= command;
            return false;
        }
        let index = self.born;
        self.born += 1;
        let new = Process { index, command, inside: false, error: None, counts: BTreeMap::new() };
        self.alive.insert(pid, new).is_none()
    }

    fn event(&mut self, pid: Pid, event: i32) {
        if event == Event::PTRACE_EVENT_EXEC as i32 {
            let process = self.alive.get_mut(&pid).unwrap();
            let first = !std::mem::replace(&mut process.command, true);
            if first && matches!(self.pass(pid, "started"), Some(Blow::KillAll | Blow::KillOne)) {
                return;
            }
        } else if let Ok(child) = ptrace::getevent(pid) {
            let command = self.alive.get(&pid).is_some_and(|parent| parent.command);
            self.born(Pid::from_raw(i32::try_from(child).unwrap()), command);
        }
        self.go_on(pid, None);
    }

    /// At the entry or the exit of a call.
    fn call(&mut self, pid: Pid) {
        let process = self.alive.get_mut(&pid).unwrap();
        process.inside = !process.inside;
        if !process.inside {
            if let Some(errno) = process.error.take()
                && let Ok(mut registers) = ptrace::getregs(pid)
            {
                registers.rax = i64::from(-errno).cast_unsigned();
                let _ = ptrace::setregs(pid, registers);
            }
        } else if let Ok(mut registers) = ptrace::getregs(pid)
            && let Some(name) = calls::changing(pid, &registers)
            && let Some(blow) = self.pass(pid, name)
        {
            if blow != Blow::KillParent {
                // A number that is no call: whatever comes, it has no effect.
                registers.orig_rax = u64::MAX;
                let _ = ptrace::setregs(pid, registers);
            }
            match blow {
                Blow::KillParent => {}
                Blow::Fail(errno) => self.alive.get_mut(&pid).unwrap().error = Some(errno),
                Blow::KillAll | Blow::KillOne => return,
            }
        }
        self.go_on(pid, None);
    }

    /// Counts a point and kills, if it is the one.
    fn pass(&mut self, pid: Pid, call: &'static str) -> Option<Blow> {
        let alive = self.alive.len();
        let process = self.alive.get_mut(&pid)?;
        let nth = process.counts.entry(call).and_modify(|count| *count += 1).or_insert(1);
        let point = Point { process: process.index, call, nth: *nth };
        let blow = self.blow.as_ref().filter(|(at, _)| *at == point).map(|(_, blow)| *blow);
        self.seen.push(Seen { point, alive });
        self.struck |= blow.is_some();
        match blow? {
            Blow::KillAll => self.alive.keys().for_each(|pid| kill_it(*pid)),
            Blow::KillOne => kill_it(pid),
            Blow::KillParent => kill_it(self.main),
            Blow::Fail(_) => {}
        }
        blow
    }

    /// One that was killed meanwhile is no error.
    fn go_on(&self, pid: Pid, signal: Option<Signal>) {
        let command = self.alive.get(&pid).is_some_and(|process| process.command);
        let result = if command { ptrace::cont(pid, signal) } else { ptrace::syscall(pid, signal) };
        assert!(matches!(result, Ok(()) | Err(Errno::ESRCH)), "{result:?}");
    }
}

/// One that is no more is as good as killed.
fn kill_it(pid: Pid) {
    let _ = kill(pid, Signal::SIGKILL);
}

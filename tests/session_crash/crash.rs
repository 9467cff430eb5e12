//! Strikes an operation at its points, clears up after each blow, and looks.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::harness;
use crate::host::Host;
use crate::sample::{self, Random};
use crate::tracer::{self, Blow, KILLED, Point, Run};

/// What is done, and what must be true after a blow and the clearing up.
pub(crate) struct Case<'a> {
    pub(crate) what: &'static str,
    /// The words of the operation, by the number of the turn.
    pub(crate) words: &'a dyn Fn(usize) -> Vec<&'static str>,
    /// Before the operation; the number of the turn.
    pub(crate) before: &'a dyn Fn(usize),
    /// After it; whether it said that it succeeded. It ends what stands.
    pub(crate) after: &'a dyn Fn(bool),
}

#[derive(Default)]
struct Counts {
    killed_all: usize,
    killed_one: usize,
    orphaned: usize,
    failed: usize,
    survived: usize,
    missed: usize,
}

/// Enumerates, samples, strikes.
pub(crate) fn crash(host: &Host, case: &Case<'_>) {
    let mut random = Random::new(case.what);
    let first = turn(host, case, 0, None).seen;
    let points = sample::common(first, &turn(host, case, 1, None).seen);
    assert!(points.len() > 4, "{}: hardly a point: {points:?}", case.what);
    let blows = sample::blows(&points, &mut random);
    let mut counts = Counts::default();
    let mut missed = BTreeMap::new();
    for (number, blow) in blows.iter().enumerate() {
        let run = turn(host, case, number + 2, Some(blow));
        match blow.1 {
            _ if !run.struck => {
                counts.missed += 1;
                *missed.entry(blow.0.call).or_insert(0) += 1;
            }
            Blow::KillAll => counts.killed_all += 1,
            Blow::KillOne => counts.killed_one += 1,
            Blow::KillParent => counts.orphaned += 1,
            Blow::Fail(_) => {
                counts.failed += 1;
                counts.survived += usize::from(run.status == 0);
            }
        }
    }
    println!(
        "crash-count: {} points={} killed-all={} killed-one={} orphaned={} faults={} faults-survived={} missed={}",
        case.what,
        points.len(),
        counts.killed_all,
        counts.killed_one,
        counts.orphaned,
        counts.failed,
        counts.survived,
        counts.missed
    );
    // How often it waits differs from call to call, so it may end before it comes to a point.
    assert!(counts.missed * 4 <= blows.len(), "{}: too many points were not reached: {missed:?}", case.what);
}

fn turn(host: &Host, case: &Case<'_>, number: usize, blow: Option<&(Point, Blow)>) -> Run {
    let context = Context { what: case.what, blow };
    (case.before)(number);
    let words = host.words(&[&["-q"], &(case.words)(number)[..]].concat());
    let run = tracer::run(&words, blow.cloned());
    let looked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        ends_as_it_may(&run, blow);
        clear_up(host);
        (case.after)(run.status == 0);
        host.zchroot(["gc"]).ok();
        nothing_remains(host);
    }));
    if let Err(panic) = looked {
        println!("{context}: {run}");
        std::panic::resume_unwind(panic);
    }
    run
}

/// For people: where it was.
struct Context<'a> {
    what: &'static str,
    blow: Option<&'a (Point, Blow)>,
}

impl std::fmt::Display for Context<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.blow {
            None => write!(f, "{}, left alone", self.what),
            Some((point, blow)) => write!(f, "{}: {blow:?} at {point}", self.what),
        }
    }
}

/// Killed, or else by itself: with success or with words.
fn ends_as_it_may(run: &Run, blow: Option<&(Point, Blow)>) {
    let Some((point, blow)) = blow.filter(|_| run.struck) else {
        assert_eq!(run.status, 0, "nothing happened to it: {run}");
        return;
    };
    if matches!(blow, Blow::KillAll | Blow::KillParent) || (*blow == Blow::KillOne && point.process == 0) {
        assert_eq!(run.status, KILLED, "{run}");
        return;
    }
    assert!(run.status < 1000, "it did not end by itself: {run}");
    assert!(!run.output.contains("panicked"), "{run}");
    let silent = run.output.trim().is_empty() && run.status != 0;
    // A process that is killed on its way to the command is as good as a command that was killed: the status says so
    // and the program adds no words. And nobody hears a message that cannot be written.
    let says_all = *blow == Blow::KillOne && run.status == 128 + libc::SIGKILL;
    assert!(!silent || says_all || point.call == "write", "it failed without a word: {run}");
}

/// Twice, since recover itself must leave nothing to be recovered. An orphan on its way into the tree has the lock of
/// its session for a moment more: until then recover says so and leaves it alone.
fn clear_up(host: &Host) {
    let free = || !host.zchroot(["recover"]).ok().text().lines().any(|line| line.ends_with(": in use"));
    harness::wait_until("that nobody uses the session any more", free);
    let again = host.zchroot(["recover"]).ok();
    let stands = again.text().lines().all(|line| line.ends_with(": stands"));
    assert!(stands, "recover finds more to recover: {again}");
    host.zchroot(["gc"]).ok();
}

/// What the kernel takes a moment for gets it.
fn nothing_remains(host: &Host) {
    let mut found = host.remains();
    for _ in 0..20 {
        if found.is_empty() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
        found = host.remains();
    }
    panic!("left over:\n  {}", found.join("\n  "));
}

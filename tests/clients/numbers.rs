//! What the calls of a client cost, beside Debian's schroot: one sbuild of the same package through each, with the
//! calls written down; then the calls once more through each, with commands that do nothing. What they cost is printed and
//! nothing is demanded of it: a busy machine would decide.
//!
//! `ZCHROOT_TEST_PROGRAM` is the program as it is released; without it this is the one that the tests are built with,
//! which is slow.

use std::io::Read as _;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sched::CloneFlags;

use crate::harness::program::Order;
use crate::host::{BUILDER, Host, UID};
use crate::notes::{Noted, Notes};
use crate::{package, sbuild, tree};

const ROUNDS: usize = 5;

/// Lets sbuild build a package and notes its calls, in their order.
fn note(host: &Host) -> Vec<Noted> {
    let notes = Notes::of(host);
    let dsc = package::source(host.dir(), "counted", "true");
    host.builder(&sbuild::words(&tree::suite(), dsc.to_str().unwrap())).ok();
    notes.read()
}

/// How long something took, and how long processors worked on it.
#[derive(Debug, Clone, Copy, Default)]
struct Cost {
    wall: Duration,
    work: Duration,
}

/// Makes the calls once more, those for a session for one of ours, with a command that does nothing.
fn replay(host: &Host, calls: &[Noted]) -> Cost {
    let (mut total, mut session) = (Cost::default(), String::new());
    let begins = |words: &[String]| words.iter().any(|word| word == "--begin-session");
    let begun = calls.iter().position(|call| begins(&call.words)).unwrap();
    let old = calls[begun + 1].words.last().unwrap().trim_start_matches("session:").to_owned();
    for call in calls {
        let words = call.words.iter().take_while(|word| *word != "--");
        let mut words: Vec<String> = words.map(|word| word.replace(&old, &session)).collect();
        if let Some(at) = words.iter().position(|word| word == "-d") {
            words[at + 1] = "/".into();
        }
        if call.words.iter().any(|word| word == "--") {
            words.extend(["--".into(), "/bin/true".into()]);
        }
        let (cost, text) = timed(host, &host.dir().join("bin/schroot"), &words);
        total.wall += cost.wall;
        total.work += cost.work;
        if begins(&words) {
            text.trim().clone_into(&mut session);
        }
    }
    total
}

/// What so many calls of the command alone cost, started as the others are: that is no part of what schroot costs.
fn bare(host: &Host, calls: usize) -> Cost {
    let costs = (0..calls).map(|_| timed(host, Path::new("/bin/true"), &[]).0);
    costs.fold(Cost::default(), |sum, cost| Cost { wall: sum.wall + cost.wall, work: sum.work + cost.work })
}

/// One call by the ordinary user.
#[allow(clippy::zombie_processes, reason = "it is waited for by a call that tells what it cost")]
fn timed(host: &Host, program: &Path, words: &[String]) -> (Cost, String) {
    let namespace = std::fs::File::open(host.namespace()).map(Arc::new).unwrap();
    let group = std::fs::metadata(host.at("/var/lib/sbuild")).unwrap().gid();
    let groups: &'static [u32] = Box::leak(Box::new([group]));
    let order = Order::new(program)
        .words(words.iter().map(String::as_str))
        .env("USER", BUILDER)
        .before(move || Ok(nix::sched::setns(namespace.as_ref(), CloneFlags::CLONE_NEWNS)?))
        .user(UID, groups);
    let mut command = order.into_command();
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let begun = Instant::now();
    let mut child = command.spawn().unwrap();
    let mut text = String::new();
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    let (status, work) = wait(&child);
    let cost = Cost { wall: begun.elapsed(), work };
    assert_eq!(status, 0, "{words:?}");
    (cost, text)
}

/// Waits for a process: how it ended, and what it and those that it waited for cost.
fn wait(child: &Child) -> (i32, Duration) {
    let mut status = 0;
    // SAFETY: numbers alone, for which nothing is a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both places are ours; the child has not been waited for.
    let pid = unsafe { libc::wait4(child.id().cast_signed(), &raw mut status, 0, &raw mut usage) };
    assert_eq!(pid, child.id().cast_signed());
    let time = |time: libc::timeval| {
        Duration::from_secs(time.tv_sec.unsigned_abs()) + Duration::from_micros(time.tv_usec.unsigned_abs())
    };
    (status, time(usage.ru_utime) + time(usage.ru_stime))
}

/// The least of all rounds: what disturbs makes each dearer, and none cheaper.
fn least(rounds: &[Cost], of: impl Fn(&Cost) -> Duration) -> Duration {
    rounds.iter().map(of).min().unwrap()
}

/// The words of the commands in the session.
fn commands(calls: &[Noted]) -> Vec<&str> {
    let of = |call: &'_ Noted| call.words.iter().position(|word| word == "--").map(|at| at + 1);
    calls.iter().filter_map(|call| call.words.get(of(call)?).map(String::as_str)).collect()
}

#[test]
fn clients_calls_of_sbuild_are_the_same_and_what_they_cost_is_told() {
    let (ours, theirs) = (Host::on_directories(), Host::debians());
    let (our_calls, their_calls) = (note(&ours), note(&theirs));
    assert_eq!(commands(&our_calls), commands(&their_calls), "sbuild calls the one otherwise than the other");
    let (mut our_rounds, mut their_rounds, mut bare_rounds) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        our_rounds.push(replay(&ours, &our_calls));
        their_rounds.push(replay(&theirs, &their_calls));
        bare_rounds.push(bare(&ours, our_calls.len()));
    }
    let sum = |calls: &[Noted]| calls.iter().map(|call| call.took).sum::<Duration>().as_millis();
    let work = |rounds: &[Cost]| least(rounds, |cost| cost.work) - least(&bare_rounds, |cost| cost.work);
    let wall = |rounds: &[Cost]| least(rounds, |cost| cost.wall) - least(&bare_rounds, |cost| cost.wall);
    let (our, their) = (work(&our_rounds), work(&their_rounds));
    println!(
        "client-count: sbuild-ratio work-permille={}",
        our.as_millis() * 1000 / their.as_millis().max(1)
    );
    for (who, calls, rounds, work) in
        [("zchroot", &our_calls, &our_rounds, our), ("schroot", &their_calls, &their_rounds, their)]
    {
        println!(
            "client-count: sbuild-{who} calls={} with-commands-ms={} wall-ms={} work-ms={}",
            calls.len(),
            sum(calls),
            wall(rounds).as_millis(),
            work.as_millis(),
        );
    }
    ours.assert_nothing_left();
    theirs.assert_nothing_left();
}

//! A commit that is held up wherever it touches the pointer, while another goes through, and then goes on: neither
//! is lost, and nobody goes back to what the late one made.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::call::Registry;
use super::clients::{Deed, World};
use super::count;
use super::harness::{Order, program};
use super::history::{Log, Op, Outcome};
use super::place::Place;
use super::stamp;

const TEMPLATES: [&str; 1] = ["late"];
/// What touches a pointer.
const CALLS: &str = "readlink,readlinkat,rename,renameat,renameat2,unlink,unlinkat";
/// For so long (in seconds) a commit is held up: a few times what another takes.
const DELAY: u64 = 5;
const LATE: usize = 0;
const OTHER: usize = 1;

/// The n-th call of a name, counted from 1.
type Point = (String, usize);

/// A call of the program under strace(1), which looks at nothing but the pointer.
fn traced(world: &World<'_>, rule: &str, words: &[&str]) -> Order {
    let pointer = world.host.at(&format!("/var/lib/zchroot/templates/{}/current", TEMPLATES[0]));
    let (log, pointer) = (world.host.at("/calls"), pointer.to_str().unwrap().to_owned());
    let trace = format!("trace={CALLS}");
    let options = ["-qqq", "-o", log.to_str().unwrap(), "-P", &pointer, "-e", &trace, "-e", rule, "--"];
    let order = Order::new("strace").words(options);
    order.word(program::binary()).word("--root").word(world.host.path()).words(words.iter().copied())
}

/// A source session that is ready to be committed.
fn ready(world: &World<'_>, session: &str) {
    let (template, script) = (TEMPLATES[0], stamp::writing());
    let begin = ["source", "begin", template, "-n", session];
    let exec = ["source", "exec", session, "--", "sh", "-c", &script, "write", session, "0"];
    for (op, words) in [(Op::SourceBegin, &begin[..]), (Op::SourceExec, &exec[..])] {
        let done = world.act(LATE, &Deed { op, template, session, token: None, words });
        assert_eq!(done.result, Outcome::Ok, "{done:?}");
    }
}

fn commit<'a>(session: &'a str, words: &'a [&'a str]) -> Deed<'a> {
    Deed { op: Op::SourceCommit, template: TEMPLATES[0], session, token: Some(session), words }
}

/// Where a commit can be held up: a first one under strace says it. Before the pointer is renamed over, under the
/// lock of the store, nothing can overtake: those points are for ZCHROOT_TEST_LONG=1.
fn points(world: &World<'_>) -> Vec<Point> {
    ready(world, "first-late");
    let words = ["source", "commit", "first-late", "-m", "first-late"];
    let order = traced(world, "signal=none", &words);
    let done = world.act_by(LATE, &commit("first-late", &words), order);
    assert_eq!(done.result, Outcome::Ok, "{done:?}");
    let log = world.host.read("/calls");
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut points: Vec<Point> = Vec::new();
    let mut is_renamed = super::is_long();
    for name in log.lines().filter_map(|line| Some(line.split_once('(')?.0)) {
        let count = counts.entry(name).or_default();
        *count += 1;
        // On ZFS the commit is before the first rename, and the pointer is read just before that.
        if is_renamed || world.host.at("/var/lib/zchroot/store").exists() {
            points.push((name.to_owned(), *count));
        }
        is_renamed = is_renamed || name.starts_with("rename");
    }
    assert!(!points.is_empty(), "the commit hardly touched the pointer:\n{log}");
    points
}

/// Holds a commit up there, lets an update go through.
fn late(world: &World<'_>, turn: usize, point: &Point) {
    let (session, delay) = (format!("late-{turn}"), DELAY * 1_000_000);
    ready(world, &session);
    let words = ["source", "commit", &session, "-m", &session];
    let order = traced(world, &format!("inject={}:delay_enter={delay}:when={}", point.0, point.1), &words);
    let late = std::thread::scope(|scope| {
        let late = scope.spawn(|| world.act_by(LATE, &commit(&session, &words), order));
        // Until it comes there; where exactly the other overtakes it does not matter.
        std::thread::sleep(Duration::from_secs(1));
        let other = world.update(OTHER, TEMPLATES[0], &format!("other-{turn}"), "0");
        assert!(!matches!(other.result, Outcome::Info), "{point:?}: {other:?}");
        world.run(OTHER, TEMPLATES[0], &format!("between-{turn}"), "0");
        late.join().unwrap()
    });
    if late.result != Outcome::Ok {
        world.host.zchroot(["source", "abort", &session]).ok();
    }
    world.run(OTHER, TEMPLATES[0], &format!("after-{turn}"), "0");
}

fn late_commits(place: &Place, test: &str) {
    let log = Log::new(&count::file(test));
    place.make(&TEMPLATES);
    let world = World {
        host: &place.host,
        templates: &TEMPLATES,
        log: &log,
        registry: Registry::default(),
        over: AtomicBool::new(false),
    };
    let points = points(&world);
    for (turn, point) in points.iter().enumerate() {
        late(&world, turn, point);
    }
    place.clear_up();
    place.in_the_end(&TEMPLATES, &log);
    count::judge(&format!("store={} late-commits={}", place.store, points.len()), &log, "");
}

#[test]
fn dir_history_of_commits_that_are_late_loses_nothing() {
    late_commits(&Place::dir(), "dir-late");
}

#[test]
#[cfg(feature = "zfs")]
fn zfs_history_of_commits_that_are_late_loses_nothing() {
    late_commits(&Place::zfs(), "zfs-late");
}

//! A commit that is held up wherever it touches the pointer or the pool, while another goes through, and then goes on: neither
//! is lost, nobody goes back to what the late one made, and who begins beside it gets a version at the first try.

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
/// What a commit is held up at: a file and the calls that touch it. First the pointer, then the pool.
const PLACES: [(&str, &str); 2] = [
    ("/var/lib/zchroot/templates/late/current", "readlink,readlinkat,rename,renameat,renameat2"),
    ("/dev/zfs", "ioctl"),
];
/// For so long it is held up, and for a few times of what one usually takes: enough for another.
const DELAY: Duration = Duration::from_secs(2);
const LATE: usize = 0;
const OTHER: usize = 1;

/// The n-th call of a name on one of the places, n counted from 1.
#[derive(Debug)]
struct Point {
    place: usize,
    call: String,
    nth: usize,
}

/// A call of the program under strace(1), which looks at nothing but one place.
fn traced(world: &World<'_>, place: usize, rule: &str, words: &[&str]) -> Order {
    let (path, calls) = PLACES[place];
    let path = if place == 0 { world.host.at(path) } else { path.into() };
    let (log, path) = (world.host.at("/calls"), path.to_str().unwrap().to_owned());
    let trace = format!("trace={calls}");
    let options = ["-qqq", "-o", log.to_str().unwrap(), "-P", &path, "-e", &trace, "-e", rule, "--"];
    let order = Order::new("strace").words(options).word(program::binary());
    order.word("--root").word(world.host.path()).words(words.iter().copied())
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

/// Where a commit can be held up, and how long one takes: first ones under strace say it.
fn points(world: &World<'_>, places: usize) -> (Vec<Point>, Duration) {
    let (mut points, mut longest) = (Vec::new(), 0);
    for (place, held_at) in PLACES.iter().enumerate().take(places) {
        let name = format!("first-{place}");
        ready(world, &name);
        let words = ["source", "commit", &name, "-m", &name];
        let order = traced(world, place, "signal=none", &words);
        let done = world.act_by(LATE, &commit(&name, &words), order);
        assert_eq!(done.result, Outcome::Ok, "{done:?}");
        longest = longest.max(done.complete_ns - done.invoke_ns);
        let log = world.host.read("/calls");
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for call in log.lines().filter_map(|line| Some(line.split_once('(')?.0)) {
            let nth = *counts.entry(call).and_modify(|count| *count += 1).or_insert(1);
            points.push(Point { place, call: call.to_owned(), nth });
        }
        assert!(!counts.is_empty(), "the commit touched nothing of {held_at:?}:\n{log}");
    }
    (points, Duration::from_nanos(longest))
}

/// Holds a commit up there, lets an update go through.
fn late(world: &World<'_>, turn: usize, point: &Point, usual: Duration) {
    let (session, delay) = (format!("late-{turn}"), (DELAY + usual * 4).as_micros());
    ready(world, &session);
    let words = ["source", "commit", &session, "-m", &session];
    let order = traced(
        world,
        point.place,
        &format!("inject={}:delay_enter={delay}:when={}", point.call, point.nth),
        &words,
    );
    let late = std::thread::scope(|scope| {
        let late = scope.spawn(|| world.act_by(LATE, &commit(&session, &words), order));
        // Until it comes there; where exactly the other overtakes it does not matter.
        std::thread::sleep(usual);
        let beside = world.run(OTHER, TEMPLATES[0], &format!("beside-{turn}"), "0");
        assert_eq!(beside.result, Outcome::Ok, "{point:?}: {beside:?}");
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
    let (points, usual) = points(&world, if place.store == "zfs" { 2 } else { 1 });
    for (turn, point) in points.iter().enumerate() {
        late(&world, turn, point, usual);
    }
    place.clear_up();
    place.in_the_end(&TEMPLATES, &log);
    count::judge(&format!("store={} late-commits={}", place.store, points.len()), &log, "");
    let history = log.history();
    let retried: Vec<_> =
        history.events.iter().filter(|event| event.op == Op::Run && event.retries > 0).collect();
    assert!(retried.is_empty(), "beside a commit that is held up the pointer named no version: {retried:#?}");
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

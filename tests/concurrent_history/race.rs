//! Readers beside commits, with nobody making trouble: no begin fails, nobody waits, nothing is left over.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::call::Registry;
use super::clients::World;
use super::count;
use super::history::{Log, Op, Outcome};
use super::place::Place;

const TEMPLATES: [&str; 1] = ["race"];
const COMMITS: usize = 20;

fn seconds() -> u64 {
    if super::is_long() { 60 } else { 20 }
}

/// What is promised of readers is promised of a minute.
#[cfg(feature = "zfs")]
const MINUTE: u64 = 60;

/// So many readers begin and end sessions while commits follow each other. The history, for more questions.
fn race(place: &Place, test: &str, readers: usize, seconds: u64) -> super::history::History {
    let log = Log::new(&count::file(test));
    place.make(&TEMPLATES);
    let world = World {
        host: &place.host,
        templates: &TEMPLATES,
        log: &log,
        registry: Registry::default(),
        over: AtomicBool::new(false),
    };
    let deadline = Instant::now() + Duration::from_secs(seconds);
    std::thread::scope(|scope| {
        for number in 0..readers {
            let world = &world;
            scope.spawn(move || {
                for turn in 0.. {
                    if world.is_over() {
                        break;
                    }
                    world.run(number, TEMPLATES[0], &format!("c{number}-{turn}"), "0");
                }
            });
        }
        let mut commits = 0;
        while commits < COMMITS || Instant::now() < deadline {
            commits += 1;
            world.update(readers, TEMPLATES[0], &format!("c{readers}-{commits}"), "0");
        }
        world.over.store(true, Ordering::Relaxed);
    });
    world.run(readers + 1, TEMPLATES[0], "last", "0");
    place.in_the_end(&TEMPLATES, &log);
    place.clear_up();
    let history = log.history();
    count::judge(&format!("store={} readers={readers} seconds={seconds}", place.store), &log, "");
    for event in &history.events {
        assert_eq!(event.result, Outcome::Ok, "{event:?}");
        assert_eq!(event.looks.len(), if event.op == Op::Run { 2 } else { 1 }, "{event:?}");
    }
    let seen: std::collections::BTreeSet<_> = history
        .events
        .iter()
        .filter(|event| event.op == Op::Run)
        .flat_map(|event| event.looks.iter().flat_map(|look| look.files.keys()))
        .collect();
    assert!(seen.len() > COMMITS / 2, "the race was none: only {seen:?} were seen");
    history
}

#[test]
fn dir_history_of_eight_readers_beside_twenty_commits() {
    race(&Place::dir(), "dir-race", 8, seconds());
}

#[test]
#[cfg(feature = "zfs")]
fn zfs_history_of_eight_readers_beside_twenty_commits() {
    race(&Place::zfs(), "zfs-race", 8, seconds());
}

#[test]
#[cfg(feature = "zfs")]
fn zfs_history_no_reader_needs_more_than_one_retry() {
    let history = race(&Place::zfs(), "zfs-retries", 4, MINUTE);
    let mut tally = std::collections::BTreeMap::<usize, usize>::new();
    for event in history.events.iter().filter(|event| event.op == Op::Run) {
        *tally.entry(event.retries).or_default() += 1;
    }
    let with = |retries| tally.get(&retries).copied().unwrap_or(0);
    let most = *tally.last_key_value().unwrap().0;
    let commits = history.finals.values().map(|versions| versions.len() - 1).sum::<usize>();
    println!(
        "history-count: store=zfs readers-beside-commits={commits} sessions-without-retry={} sessions-with-one={} \
         retries-max={most}",
        with(0),
        with(1)
    );
    assert!(most <= 1, "a reader needed {most} retries: {tally:?}");
}

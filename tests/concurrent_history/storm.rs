//! Eight clients on three templates, and a nemesis.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::call::Registry;
use super::chance::Chance;
use super::clients::{Client, World};
use super::count;
use super::history::{FIRST, Log, Outcome};
use super::nemesis::{self, Troubles};
use super::place::Place;

const CLIENTS: usize = 8;
const TEMPLATES: [&str; 3] = ["ash", "birch", "cedar"];
/// On a slow machine it takes longer, until there are so many.
const COMMITS: usize = 12;
/// Numbers of those who are no clients.
const MENDER: usize = CLIENTS;
const LAST: usize = CLIENTS + 1;

fn seconds() -> u64 {
    if super::is_long() { 600 } else { 50 }
}

fn storm(place: &Place, test: &str) {
    let seed = Chance::seed();
    let log = Log::new(&count::file(test));
    place.make(&TEMPLATES);
    let world = World {
        host: &place.host,
        templates: &TEMPLATES,
        log: &log,
        registry: Registry::default(),
        over: AtomicBool::new(false),
    };
    let troubles = Troubles::default();
    std::thread::scope(|scope| {
        for number in 0..CLIENTS {
            let client = Client::new(&world, number, Chance::new(seed, number));
            scope.spawn(|| EndOnPanic(&world).of(|| client.work()));
        }
        scope.spawn(|| {
            EndOnPanic(&world).of(|| nemesis::mend(&world, MENDER, Chance::new(seed, MENDER), &troubles))
        });
        let chance = Chance::new(seed, LAST);
        // The mender is a client to the nemesis.
        scope.spawn(|| {
            EndOnPanic(&world).of(|| nemesis::rage(&world, CLIENTS + 1, chance, &place.ballast, &troubles));
        });
        let begun = Instant::now();
        let enough = || log.commits() >= COMMITS || begun.elapsed().as_secs() > 3 * seconds();
        while !world.is_over() && (begun.elapsed().as_secs() < seconds() || !enough()) {
            std::thread::sleep(Duration::from_millis(100));
        }
        world.over.store(true, Ordering::Relaxed);
    });
    place.clear_up();
    for template in TEMPLATES {
        let read = world.run(LAST, template, &format!("last-{template}"), "0");
        assert_eq!(read.result, Outcome::Ok, "{read:?}");
    }
    place.in_the_end(&TEMPLATES, &log);
    place.host.assert_nothing_left();
    let count = |number: &std::sync::atomic::AtomicUsize| number.load(Ordering::Relaxed);
    let (kills, stops) = (count(&troubles.kills), count(&troubles.stops));
    let (fills, aborts) = (count(&troubles.fills), count(&troubles.aborts));
    let extra = format!("kills={kills} stops={stops} fills={fills} abandoned={aborts}");
    count::judge(&format!("store={} seconds={}", place.store, seconds()), &log, &extra);
    let history = log.history();
    let versions: usize = history.finals.values().map(Vec::len).sum();
    assert!(versions > COMMITS && kills > 3 && stops > 3, "little happened: {extra}, {versions} versions");
    assert!(history.finals.values().all(|versions| versions[0].token == FIRST));
}

/// A panic of one ends the work of all: else the test would go on for as long as it lasts.
struct EndOnPanic<'a>(&'a World<'a>);

impl EndOnPanic<'_> {
    fn of(self, work: impl FnOnce()) {
        work();
        std::mem::forget(self);
    }
}

impl Drop for EndOnPanic<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::Relaxed);
    }
}

#[test]
fn dir_history_of_a_storm_is_one_that_can_be() {
    storm(&Place::dir(), "dir-storm");
}

#[test]
#[cfg(feature = "zfs")]
fn zfs_history_of_a_storm_is_one_that_can_be() {
    storm(&Place::zfs(), "zfs-storm");
}

//! gc in a loop beside sessions that come and go.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::lab::Lab;

const CLIENTS: usize = 3;
const ROUNDS: usize = 8;
const SEEDED: usize = 20;
const GRACE: u64 = 20;
/// So that something broken ends the test soon.
const MOST_PASSES: usize = 400;

pub(crate) fn nothing_in_use_or_young(lab: &Lab) {
    lab.grace(GRACE);
    (0..SEEDED).for_each(|n| lab.orphan(&format!("old-{n}"), 4096));
    std::thread::sleep(Duration::from_secs(GRACE + 1));
    let (done, begun, passes) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let began = Instant::now();
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                scope.spawn({
                    let begun = &begun;
                    move || one_client(lab, client, begun)
                })
            })
            .collect();
        let young = scope.spawn(|| young_ones(lab, &done));
        let collector = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) && passes.load(Ordering::Relaxed) < MOST_PASSES {
                lab.zchroot(["-q", "gc"]).ok();
                passes.fetch_add(1, Ordering::Relaxed);
            }
        });
        let ended: Vec<_> = clients.into_iter().map(|client| client.join()).collect();
        done.store(true, Ordering::Relaxed);
        let others = [young.join(), collector.join()];
        for result in ended.into_iter().chain(others) {
            result.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
    });
    assert_eq!(begun.load(Ordering::Relaxed), CLIENTS * ROUNDS);
    assert!(passes.load(Ordering::Relaxed) >= 3, "gc ran beside them: {passes:?} in {:?}", began.elapsed());
    let left = lab.trees();
    assert!(left.iter().all(|name| name.starts_with("young-")), "all of the old ones went: {left:?}");
    lab.grace(0);
    lab.zchroot(["gc"]).ok();
    assert_eq!(lab.remains(), [] as [&str; 0]);
}

/// A session that is begun can be used, and ended, whatever gc does meanwhile.
fn one_client(lab: &Lab, client: usize, begun: &AtomicUsize) {
    for round in 0..ROUNDS {
        let name = format!("live-{client}-{round}");
        lab.zchroot(["-q", "begin", "demo", "-n", &name]).ok();
        lab.zchroot(["exec", &name, "-d", "/", "--", "cat", "/etc/generation"]).ok().prints("1");
        lab.zchroot(["-q", "end", &name]).ok();
        begun.fetch_add(1, Ordering::Relaxed);
    }
}

/// Trees of which nothing is known yet: a begin that is about to write down what it made would leave such a one for a
/// moment, were records not written first. Each stays while it is young.
fn young_ones(lab: &Lab, done: &AtomicBool) {
    let mut made: Vec<(String, Instant)> = Vec::new();
    while !done.load(Ordering::Relaxed) {
        let name = format!("young-{}", made.len());
        let now = Instant::now();
        lab.orphan(&name, 0);
        made.push((name, now));
        std::thread::sleep(Duration::from_millis(100));
        let trees = lab.trees();
        // Looked at after the trees were: what is young now was young then. Pools tell ages in whole seconds.
        let still = |since: &Instant| since.elapsed() < Duration::from_secs(GRACE - 2);
        for (name, since) in made.iter().filter(|(_, since)| still(since)) {
            assert!(trees.contains(name), "a young one went after {:?}: {name}", since.elapsed());
        }
    }
}

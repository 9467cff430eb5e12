//! The rules that several at once keep.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use zchroot::store::{ErrorKind, Outcome, Published, pointer};

use super::{Bench, Lab, chain, session, version};

/// How often a reader may meet a version that has just gone before it is called starved.
const RETRIES: usize = 50;

/// Follows the pointer as a begin does, until a clone succeeds; the version and the retries.
fn clone_current(bench: &Bench<'_>, name: &str) -> (String, usize) {
    for retries in 0..RETRIES {
        let current = pointer::read(bench.lab.layout(), &bench.sid).unwrap().unwrap();
        match bench.clone_session(name, current.as_str()) {
            Ok(_) => return (current.to_string(), retries),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Gone, "{}", chain(&error)),
        }
    }
    panic!("a reader got no clone in {RETRIES} tries");
}

pub(crate) fn readers_get_whole_versions_while_commits_go_on(lab: &dyn Lab, commits: usize) {
    let bench = Bench::new(lab);
    bench.commit("v0000", None);
    let done = AtomicBool::new(false);
    let (clones, misses) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for reader in 0..3 {
            let (done, clones, misses) = (&done, &clones, &misses);
            scope.spawn(move || {
                let bench = Bench::new(lab);
                let mut last = String::new();
                let mut round = 0;
                while !done.load(Ordering::Relaxed) || round == 0 {
                    let name = format!("reader-{reader}-{round}");
                    let (version, retries) = clone_current(&bench, &name);
                    assert!(version >= last, "{version} after {last}: time ran backwards");
                    let id = session(&name);
                    assert_eq!(bench.stamp(&zchroot::store::Tree::Session(id.clone())), version);
                    bench.store.session_drop(&id).unwrap();
                    last = version;
                    round += 1;
                    clones.fetch_add(1, Ordering::Relaxed);
                    misses.fetch_add(retries, Ordering::Relaxed);
                }
            });
        }
        // Also when the writer panics: else the readers would go on for ever.
        struct Stop<'a>(&'a AtomicBool);
        impl Drop for Stop<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let _stop = Stop(&done);
        for number in 1..=commits {
            bench.commit(&format!("v{number:04}"), Some(&format!("v{:04}", number - 1)));
            bench.settle(&[]);
        }
    });
    let (clones, misses) = (clones.into_inner(), misses.into_inner());
    println!("{commits} commits, {clones} clones, {misses} of them tried again");
    assert!(clones >= 3);
    bench.settle(&[]);
    assert_eq!(bench.heads(), format!("v{commits:04}"));
    assert_eq!(lab.leftovers(), Vec::<String>::new());
}

pub(crate) fn of_two_maintainers_one_wins(lab: &dyn Lab, rounds: usize) {
    let bench = Bench::new(lab);
    bench.commit("start", None);
    let mut base = "start".to_owned();
    for round in 0..rounds {
        let names = ["a", "b"].map(|who| format!("r{round}-{who}"));
        names.iter().for_each(|name| bench.prepare(name, Some(&base)));
        let barrier = Barrier::new(names.len());
        let results: Vec<Published> = std::thread::scope(|scope| {
            let publish = |name: &str| {
                let bench = Bench::new(lab);
                barrier.wait();
                bench.store.publish(&bench.sid, &version(name), Some(&version(&base))).unwrap()
            };
            let threads: Vec<_> = names.iter().map(|name| scope.spawn(move || publish(name))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let winner = bench.current().unwrap();
        for (name, result) in names.iter().zip(results) {
            let conflict = Published::Conflict { current: Some(version(&winner)) };
            assert_eq!(result, if *name == winner { Published::Committed } else { conflict });
        }
        assert_eq!(bench.stamp(&bench.version(&winner)), winner);
        pointer::write(lab.layout(), &bench.sid, &version(&winner)).unwrap();
        base = winner;
    }
}

/// Whoever comes second may throw the draft away: it has taken nothing from the version that it was made from.
pub(crate) fn a_draft_that_was_refused_goes_and_takes_nothing_with_it(lab: &dyn Lab) {
    let bench = Bench::new(lab);
    bench.commit("v1", None);
    bench.prepare("late", Some("v1"));
    bench.commit("v2", Some("v1"));
    let conflict = Published::Conflict { current: Some(version("v2")) };
    assert_eq!(bench.publish("late", Some("v1")).unwrap(), conflict);
    let dropped = bench.store.draft_drop(&bench.sid, &version("late"));
    let dropped =
        dropped.unwrap_or_else(|error| panic!("what was refused cannot be dropped: {}", chain(&error)));
    assert_eq!(dropped, Outcome::Changed);
    bench.settle(&["v1"]);
    assert_eq!(bench.heads(), "v1 v2");
    assert_eq!(["v1", "v2"].map(|name| bench.stamp(&bench.version(name))), ["v1", "v2"]);
}

pub(crate) fn a_clone_of_an_old_version_is_whole_or_gone_while_settle_drops_it(lab: &dyn Lab, rounds: usize) {
    let bench = Bench::new(lab);
    bench.commit("v0000", None);
    let (mut got, mut gone) = (0, 0);
    for round in 1..=rounds {
        let (old, new) = (format!("v{:04}", round - 1), format!("v{round:04}"));
        bench.commit(&new, Some(&old));
        let barrier = Barrier::new(3);
        let names: Vec<Option<String>> = std::thread::scope(|scope| {
            let readers = ["one", "two"].map(|who| {
                let (old, barrier) = (&old, &barrier);
                scope.spawn(move || {
                    let bench = Bench::new(lab);
                    let name = format!("{who}-{round}");
                    barrier.wait();
                    if who == "two" {
                        std::thread::yield_now();
                    }
                    match bench.clone_session(&name, old) {
                        Ok(_) => Some(name),
                        Err(error) => {
                            assert_eq!(error.kind(), ErrorKind::Gone, "{}", chain(&error));
                            None
                        }
                    }
                })
            });
            barrier.wait();
            bench.settle(&[]);
            readers.into_iter().map(|reader| reader.join().unwrap()).collect()
        });
        for name in names {
            let Some(name) = name else {
                gone += 1;
                continue;
            };
            got += 1;
            assert_eq!(bench.stamp(&zchroot::store::Tree::Session(session(&name))), old);
            bench.store.session_drop(&session(&name)).unwrap();
        }
        bench.settle(&[]);
        assert_eq!(bench.heads(), new);
    }
    println!("{rounds} rounds: {got} clones, {gone} gone");
    assert_eq!(lab.leftovers(), Vec::<String>::new());
}

//! Readers beside commits: whoever begins a session while a template is updated gets one whole version.
//!
//! Every version has its generation in 200 files all over the tree, some of them in a directory of a new name
//! each time. Eight clients run throw-away sessions one after the other, each of which reads all files twice,
//! while updates commit. The history of both is then checked: one generation per session, never older than the
//! last commit that was done before the session was begun, never newer than the last one that was begun before
//! it ended reading.
#![allow(clippy::print_stdout, reason = "counts are for people")]
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "tests work on the host as it is"
)]

mod harness;
#[cfg(feature = "zfs")]
mod zfs_pool;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use harness::Installation;

const READERS: usize = 8;
const COMMITS: usize = 20;
/// Where the race goes on until this is over, whatever the number of commits.
const SECONDS: u64 = 20;
/// With ZCHROOT_TEST_LONG=1 as long as the acceptance of the whole asks for.
const LONG_SECONDS: u64 = 60;

/// Writes generation $1 into all files; a directory changes its name, one file has two names.
const STAMP: &str = "
set -e
rm -rf /srv/moving-*
mkdir -p /srv/moving-$1
for i in 0 1 2 3 4 5 6 7 8 9; do
  mkdir -p /srv/data/$i/deep /usr/lib/part-$i
  for j in 0 1 2 3 4 5 6 7 8; do echo $1 > /srv/data/$i/deep/$j; done
  for j in 0 1 2 3 4 5 6 7 8; do echo $1 > /usr/lib/part-$i/$j; done
  echo $1 > /srv/moving-$1/$i
done
for j in 0 1 2 3 4 5 6 7 8; do echo $1 > /etc/stamp-$j; done
rm -f /etc/linked
ln /etc/stamp-0 /etc/linked
ln -sfn moving-$1 /srv/now
";
/// How many files there are, then what they say, each value once.
const LOOK: &str = "
all() { cat /srv/data/*/deep/* /usr/lib/part-*/* /srv/moving-*/* /etc/stamp-* /etc/linked; }
all | wc -l; all | sort -u; basename $(readlink /srv/now)
all | sort -u
";

/// What a client saw.
struct Seen {
    begun: Instant,
    ended: Instant,
    generation: usize,
}

/// A commit, from its begin to its end.
struct Commit {
    begun: Instant,
    done: Instant,
}

fn update(host: &Installation, generation: usize) -> Commit {
    let begun = Instant::now();
    let (text, message) = (generation.to_string(), format!("generation {generation}"));
    host.zchroot(["-q", "update", "race", "-m", &message, "--", "sh", "-c", STAMP, "stamp", &text]).ok();
    Commit { begun, done: Instant::now() }
}

fn read(host: &Installation) -> Seen {
    let begun = Instant::now();
    let done = host.zchroot(["run", "race", "-d", "/", "--", "sh", "-c", LOOK]).ok();
    let ended = Instant::now();
    let lines: Vec<String> = done.text().lines().map(str::to_owned).collect();
    let [count, first, now, second] = &lines[..] else { panic!("more than one generation: {done}") };
    assert_eq!(count, "200", "{done}");
    assert!(first == second && now == &format!("moving-{first}"), "{done}");
    Seen { begun, ended, generation: first.parse().unwrap() }
}

/// The race itself, on whatever store the installation has.
fn readers_beside_commits(host: &Installation) {
    host.define("race", "version = 1\nprofile = \"minimal\"\nkeep = 3\n");
    host.create("race");
    update(host, 1);
    let seconds = if std::env::var_os("ZCHROOT_TEST_LONG").is_some() { LONG_SECONDS } else { SECONDS };
    let deadline = Instant::now() + Duration::from_secs(seconds);
    let over = AtomicBool::new(false);
    let (commits, seen) = std::thread::scope(|scope| {
        let readers: Vec<_> = (0..READERS)
            .map(|_| {
                scope.spawn(|| {
                    let mut seen = Vec::new();
                    while !over.load(Ordering::Relaxed) {
                        seen.push(read(host));
                    }
                    seen
                })
            })
            .collect();
        let mut commits = Vec::new();
        let committed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            while commits.len() < COMMITS || Instant::now() < deadline {
                commits.push(update(host, commits.len() + 2));
            }
        }));
        over.store(true, Ordering::Relaxed);
        let seen: Vec<Vec<Seen>> = readers.into_iter().map(|reader| reader.join().unwrap()).collect();
        committed.unwrap();
        (commits, seen)
    });
    let sessions: usize = seen.iter().map(Vec::len).sum();
    println!("{sessions} sessions beside {} commits in {seconds} s or more", commits.len());
    check(&commits, &seen);
    assert_eq!(read(host).generation, commits.len() + 1);
    assert_eq!(host.versions("race").len(), commits.len() + 2, "every commit is in the history, once");
    host.assert_nothing_left();
}

/// `commits[0]` made generation 2.
fn check(commits: &[Commit], seen: &[Vec<Seen>]) {
    for client in seen {
        let mut last = 0;
        for one in client {
            let at_least = 1 + commits.iter().filter(|commit| commit.done < one.begun).count();
            let at_most = 1 + commits.iter().filter(|commit| commit.begun < one.ended).count();
            let range = at_least..=at_most;
            assert!(range.contains(&one.generation), "saw {} where {range:?} can be", one.generation);
            assert!(one.generation >= last, "a client saw {} after {last}", one.generation);
            last = one.generation;
        }
    }
    let distinct: std::collections::BTreeSet<usize> =
        seen.iter().flatten().map(|one| one.generation).collect();
    assert!(distinct.len() > 3, "the race was none: only {distinct:?} were seen");
}

#[test]
fn dir_eight_readers_during_twenty_commits() {
    readers_beside_commits(&Installation::new());
}

#[test]
#[cfg(feature = "zfs")]
fn zfs_eight_readers_during_twenty_commits() {
    // The pool is dropped last: it can go only when nothing of it is mounted.
    let pool = zfs_pool::Pool::make();
    let host = Installation::empty();
    host.zchroot(["init", "--pool", &pool.name]).ok();
    readers_beside_commits(&host);
}

#[test]
fn a_history_that_cannot_be_is_rejected() {
    let start = Instant::now();
    let at = |seconds: u64| start + Duration::from_secs(seconds);
    let commits: Vec<Commit> =
        (0..4).map(|n| Commit { begun: at(10 * n + 5), done: at(10 * n + 8) }).collect();
    let seen = |begun, ended, generation| Seen { begun: at(begun), ended: at(ended), generation };
    let right = || vec![seen(0, 1, 1), seen(10, 11, 2), seen(16, 17, 3), seen(30, 31, 4), seen(40, 41, 5)];
    check(&commits, &[right()]);
    for (place, wrong, why) in [
        (1, seen(10, 11, 1), "older than a commit that was done"),
        (1, seen(10, 11, 3), "newer than any that was begun"),
        (3, seen(16, 17, 2), "a client goes back"),
    ] {
        let mut history = right();
        history[place] = wrong;
        assert!(std::panic::catch_unwind(|| check(&commits, &[history])).is_err(), "{why}");
    }
}

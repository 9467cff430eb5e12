//! Crashes of the shipped program, on both stores: it is struck at a system call that changes something, then
//! `recover` and `gc` have to find whatever was left, and the template has to have its old version or its new one, whole.
//!
//! A first call lists the points ([`tracer`]); the same call is then repeated once per point and blow ([`crash`]): all
//! processes killed, one process killed, its parent killed, the call failed with an errno. Normally a sample is taken, by the seed
//! ZCHROOT_TEST_SEED; with ZCHROOT_TEST_LONG=1 all processes are killed at every point.
#![cfg(target_arch = "x86_64")]
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "tests work on the host as it is"
)]

mod calls;
mod cases;
mod crash;
#[path = "../harness/mod.rs"]
mod harness;
mod host;
mod looks;
mod sample;
mod tracer;
#[cfg(feature = "zfs")]
#[path = "../zfs_pool/mod.rs"]
mod zfs_pool;

use std::collections::BTreeMap;

use harness::Order;
use host::Host;
use tracer::{Blow, Point};

/// A check that is content with everything would be content here too.
#[test]
fn dir_crash_checks_see_what_is_left_and_what_is_half() {
    let host = Host::on_directories();
    let words = host.words(&["begin", "demo", "-n", "work"]);
    let seen = tracer::run(&words, None).seen;
    let mounted = seen.iter().rev().find(|seen| seen.point.call == "move_mount").unwrap();
    host.zchroot(["end", "work"]).ok();
    assert!(host.remains().is_empty(), "{:?}", host.remains());
    let run = tracer::run(&words, Some((mounted.point.clone(), Blow::KillAll)));
    assert!(run.struck && run.status == tracer::KILLED, "{run}");
    let left = host.remains();
    for what in ["mount ", "record ", "session in the store "] {
        assert!(left.iter().any(|line| line.starts_with(what)), "no {what}in {left:?}");
    }
    host.zchroot(["recover"]).ok();
    assert_eq!(host.generation(), 1);
    host.zchroot(["-q", "update", "demo", "--", "sh", "-c", "echo 2 > /usr/lib/part/1"]).ok();
    let half = std::panic::AssertUnwindSafe(|| host.generation());
    assert!(std::panic::catch_unwind(half).is_err(), "a half version was taken for a whole one");
}

/// A point that the operation does not come by is no blow, and says so.
#[test]
fn dir_crash_a_point_that_is_not_reached_is_not_counted() {
    let host = Host::on_directories();
    let never = Point { process: 0, call: "mount", nth: 1000 };
    let run = tracer::run(&host.words(&["begin", "demo", "-n", "work"]), Some((never, Blow::KillAll)));
    assert!(!run.struck && run.status == 0, "{run}");
}

/// What strace calls the same; it knows nothing of `started`, and sees the command's calls too.
#[test]
fn dir_crash_points_are_those_that_strace_sees() {
    let host = Host::on_directories();
    let log = host.at("/calls");
    let words = host.words(&["begin", "demo", "-n", "work"]);
    let order = Order::new("strace").words(["-f", "-qq", "-o", log.to_str().unwrap(), "--"]);
    let order = order.word(harness::program::binary());
    order.words(words.iter().map(String::as_str)).run().ok();
    host.zchroot(["end", "work"]).ok();
    let mut theirs: BTreeMap<String, usize> = BTreeMap::new();
    for line in host.read("/calls").lines() {
        let call = line.split_once(' ').unwrap().1.trim_start();
        let name = call.split('(').next().unwrap();
        let always = ["mkdirat", "unlinkat", "renameat2", "mount", "move_mount", "fsync", "flock", "clone3"];
        let makes =
            name.starts_with("openat") && ["O_CREAT", "O_TRUNC"].iter().any(|flag| call.contains(flag));
        if always.contains(&name) || makes {
            *theirs.entry(name.to_owned()).or_default() += 1;
        }
    }
    let run = tracer::run(&words, None);
    assert_eq!(run.status, 0, "{run}");
    host.zchroot(["end", "work"]).ok();
    let mut ours: BTreeMap<String, usize> = BTreeMap::new();
    run.seen.iter().for_each(|seen| *ours.entry(seen.point.call.to_owned()).or_default() += 1);
    ours.retain(|name, _| theirs.contains_key(name));
    assert!(theirs.len() > 4, "strace saw next to nothing: {theirs:?}");
    assert_eq!(ours, theirs);
}

//! Crashes of the shipped program, on both stores: it is struck at a system call that changes something, then
//! `recover` and `gc` have to find whatever was left, and the template has to have its old version or its new one, whole.
//!
//! A first call lists the points ([`tracer`]); the same call is then repeated once per point and blow ([`crash`]): all
//! processes killed, one process killed, the call failed with an errno. Normally a sample is taken, by the seed
//! ZCHROOT_TEST_SEED; with ZCHROOT_TEST_LONG=1 no point is left out.
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
mod sample;
mod tracer;
#[cfg(feature = "zfs")]
#[path = "../zfs_pool/mod.rs"]
mod zfs_pool;

use std::collections::BTreeMap;

use harness::Order;
use host::Host;

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

//! Too little room, on a real pool: ballast is a reservation, so each run meets its limit where the test wants it.

#![cfg(feature = "zfs")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests look at files and run the ZFS programs"
)]

mod harness;
#[path = "space_lab/pool.rs"]
mod pool;
mod space_lab;
mod zfs_pool;

use harness::MINIMAL;
use pool::{Limit, OnPool};
use space_lab::{Lab, MIB, runs, stalls};

#[test]
fn zfs_space_an_import_succeeds_after_a_sweep_of_a_full_pool() {
    runs::an_import_succeeds_after_a_sweep(&OnPool::make(Limit::Pool));
}

#[test]
fn zfs_space_an_import_succeeds_after_a_sweep_of_a_full_quota() {
    runs::an_import_succeeds_after_a_sweep(&OnPool::make(Limit::Quota));
}

#[test]
fn zfs_space_an_import_that_finds_no_room_leaves_nothing_in_a_full_pool() {
    runs::an_import_that_finds_no_room_leaves_nothing(&OnPool::make(Limit::Pool));
}

#[test]
fn zfs_space_an_import_that_finds_no_room_leaves_nothing_in_a_full_quota() {
    runs::an_import_that_finds_no_room_leaves_nothing(&OnPool::make(Limit::Quota));
}

#[test]
fn zfs_space_streams_and_layers_end_in_bounded_time() {
    for limit in [Limit::Pool, Limit::Quota] {
        runs::streams_and_layers_end_in_bounded_time(&OnPool::make(limit));
    }
}

#[test]
fn zfs_space_many_makers_share_what_there_is() {
    runs::many_makers_share_what_there_is(&OnPool::make(Limit::Pool), 72 * MIB);
}

#[test]
fn zfs_space_sessions_and_commits_succeed_after_a_sweep() {
    runs::sessions_and_commits_succeed_after_a_sweep(&OnPool::make(Limit::Pool));
}

#[test]
fn zfs_space_sessions_and_commits_succeed_after_a_sweep_of_a_full_quota() {
    runs::sessions_and_commits_succeed_after_a_sweep(&OnPool::make(Limit::Quota));
}

#[test]
fn zfs_space_sessions_and_commits_that_find_no_room_leave_nothing_in_a_full_quota() {
    runs::sessions_and_commits_that_find_no_room_leave_nothing(&OnPool::make(Limit::Quota));
}

#[test]
fn zfs_space_sessions_and_commits_that_find_no_room_leave_nothing() {
    let lab = OnPool::make(Limit::Pool);
    runs::sessions_and_commits_that_find_no_room_leave_nothing(&lab);
    assert!(lab.available() > 0, "the ballast is gone with the test");
}

#[test]
fn zfs_space_the_reserve_lets_a_full_store_be_cleared_up() {
    let lab = OnPool::with_reserve(Limit::Pool, "16M");
    let path = lab.host().at("/var/lib/zchroot/one-byte");
    let one_byte = || {
        let written = std::fs::File::create(&path).and_then(|mut file| {
            std::io::Write::write_all(&mut file, b"x")?;
            file.sync_all()
        });
        let _ = std::fs::remove_file(&path);
        written
    };
    runs::the_reserve_lets_a_full_store_be_cleared_up(&lab, &one_byte);
}

#[test]
fn zfs_space_below_the_hard_floor_nothing_is_begun() {
    runs::below_the_hard_floor_nothing_is_begun(&OnPool::make(Limit::Pool));
}

#[test]
fn zfs_space_a_session_writes_no_more_than_its_quota() {
    let lab = OnPool::make(Limit::Pool);
    let host = lab.host();
    host.define("demo", &format!("{MINIMAL}quota = \"40M\"\n"));
    host.create("demo");
    host.zchroot(["begin", "demo", "-n", "one"]).ok();
    assert_eq!(lab.pool().property("sessions/one", "quota"), (40 * MIB).to_string());
    let fill = |session: &str, mib: u64| {
        let script = format!("dd if=/dev/urandom of=/srv/big bs=1048576 count={mib}; sync");
        host.zchroot(["exec", session, "-d", "/", "--", "sh", "-c", &script])
    };
    assert!(!fill("one", 60).stderr.contains("60+0 records out"));
    let used: u64 = lab.pool().property("sessions/one", "used").parse().unwrap();
    assert!((30 * MIB..44 * MIB).contains(&used), "{used}");
    host.zchroot(["begin", "demo", "-n", "two", "--quota", "20M"]).ok();
    host.zchroot(["begin", "demo", "-n", "three", "--quota", "80M"]).ok();
    assert_eq!(lab.pool().property("sessions/two", "quota"), (20 * MIB).to_string());
    assert_eq!(lab.pool().property("sessions/three", "quota"), (40 * MIB).to_string(), "never more");
    host.zchroot(["update", "demo", "--test", "true", "--", "true"]).ok();
    host.zchroot(["end", "one", "two", "three"]).ok();
    lab.assert_clean();
}

#[test]
fn zfs_space_what_is_promised_has_to_be_there() {
    let lab = OnPool::make(Limit::Pool);
    let host = lab.host();
    let config = host.read("/etc/zchroot/zchroot.toml");
    host.configure(&format!("{config}overcommit = \"1.0\"\n"));
    host.define("demo", MINIMAL);
    host.create("demo");
    lab.leave(100 * MIB);
    for name in ["one", "two"] {
        host.zchroot(["begin", "demo", "-n", name, "--quota", "40M"]).ok();
    }
    let refused = host.zchroot(["begin", "demo", "-n", "three", "--quota", "40M"]).exits(1);
    let words = "its quota of 40.00 MiB and the 80.00 MiB of 2 sessions make 120.00 MiB, and with overcommit = 1.0 at most";
    refused.says("no room to begin session three: ").says(words);
    // What the two have taken of theirs counts for them and not against them.
    let script = "dd if=/dev/urandom of=/srv/big bs=1048576 count=30; sync";
    host.zchroot(["exec", "one", "-d", "/", "--", "sh", "-c", script]).ok();
    host.zchroot(["begin", "demo", "-n", "three", "--quota", "10M"]).ok();
    host.zchroot(["begin", "demo", "-n", "free"]).ok();
    host.zchroot(["end", "one"]).ok();
    host.zchroot(["begin", "demo", "-n", "four", "--quota", "40M"]).ok();
    // Of many at once only so many as there is room for.
    host.zchroot(["end", "two", "three", "four"]).ok();
    let begin = |n: u32| host.order(["begin", "demo", "-n", &format!("n{n}"), "--quota", "30M"]).start();
    let running: Vec<_> = (0..6).map(begin).collect();
    let ended = running.into_iter().map(harness::program::Running::finish);
    assert_eq!(ended.filter(|done| done.status == 0).count(), 3);
    host.zchroot(["end", "--all"]).ok();
    lab.assert_clean();
}

#[test]
fn zfs_space_a_commit_that_was_cut_short_is_made_whole() {
    runs::a_commit_that_was_cut_short_is_made_whole(&OnPool::make(Limit::Pool));
}

#[test]
fn zfs_space_a_worker_that_stalls_is_given_up() {
    stalls::a_worker_that_stalls_is_given_up(&OnPool::make(Limit::Pool));
}

#[test]
fn zfs_space_a_silent_source_evicts_nothing_however_full_pool_or_quota_are() {
    for limit in [Limit::Pool, Limit::Quota] {
        stalls::a_silent_source_evicts_nothing_however_full_the_store_is(&OnPool::make(limit));
    }
}

#[test]
fn zfs_space_images_beyond_their_share_go_the_one_used_longest_ago_first() {
    runs::images_beyond_their_share_go(&OnPool::make(Limit::Pool));
}

#[test]
fn zfs_space_what_is_available_is_what_zfs_says() {
    use zchroot::store::Store;
    let lab = OnPool::make(Limit::Pool);
    let store = lab.pool().open();
    for left in [40 * MIB, 0] {
        lab.leave(left);
        assert_eq!(store.space().unwrap().available, lab.available());
    }
}

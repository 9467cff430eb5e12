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

use pool::{Limit, OnPool};
use space_lab::{Lab, MIB, runs};

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

//! Too little room, on the store of directories: a small file system, filled to where the test wants it.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "tests work on the host as it is"
)]

mod harness;
mod space_lab;

use harness::MINIMAL;
use space_lab::Lab;
use space_lab::small::{Kind, Small};
use space_lab::{MIB, frozen, runs, stalls};

#[test]
fn dir_space_an_import_succeeds_after_a_sweep() {
    runs::an_import_succeeds_after_a_sweep(&Small::make(192));
}

#[test]
fn dir_space_an_import_that_finds_no_room_leaves_nothing() {
    runs::an_import_that_finds_no_room_leaves_nothing(&Small::make(128));
}

#[test]
fn dir_space_streams_and_layers_end_in_bounded_time() {
    runs::streams_and_layers_end_in_bounded_time(&Small::make(128));
}

#[test]
fn dir_space_many_makers_share_what_there_is() {
    runs::many_makers_share_what_there_is(&Small::make(128), 92 * MIB);
}

#[test]
fn dir_space_sessions_and_commits_succeed_after_a_sweep() {
    runs::sessions_and_commits_succeed_after_a_sweep(&Small::make(128));
}

#[test]
fn dir_space_sessions_and_commits_that_find_no_room_leave_nothing() {
    runs::sessions_and_commits_that_find_no_room_leave_nothing(&Small::make(128));
}

#[test]
fn dir_space_the_reserve_lets_a_full_store_be_cleared_up() {
    let lab = Small::with_reserve(128, "16M");
    let path = lab.host().at("/var/lib/zchroot/one-byte");
    runs::the_reserve_lets_a_full_store_be_cleared_up(&lab, &|| one_byte(&path));
    // A file that a crash left short is made whole.
    let reserve = lab.host().at("/var/lib/zchroot/store/reserve");
    std::fs::File::options().write(true).open(&reserve).unwrap().set_len(4096).unwrap();
    lab.host().zchroot(["reserve", "lay"]).ok().prints("16.00 MiB of 16.00 MiB laid");
    // And gone when none is wanted any more.
    lab.host().configure("version = 1\n[dir]\nreserve = \"0\"\n");
    lab.host().zchroot(["gc"]).ok();
    assert!(!reserve.exists());
}

#[test]
fn dir_space_a_session_ends_in_a_full_store_without_a_reserve() {
    let lab = Small::make(128);
    let host = lab.host();
    host.define("demo", MINIMAL);
    host.create("demo");
    host.zchroot(["begin", "demo", "-n", "one"]).ok();
    lab.leave(0);
    host.zchroot(["end", "one"]).ok().says("ended without a note of it");
    lab.assert_clean();
}

fn one_byte(path: &std::path::Path) -> std::io::Result<()> {
    let written = std::fs::write(path, "x");
    std::fs::remove_file(path)?;
    written
}

#[test]
fn dir_space_below_the_hard_floor_nothing_is_begun() {
    runs::below_the_hard_floor_nothing_is_begun(&Small::make(128));
}

#[test]
fn dir_space_a_quota_that_cannot_be_kept_is_refused() {
    let lab = Small::make(64);
    let host = lab.host();
    host.define("demo", MINIMAL);
    host.create("demo");
    let refused = host.zchroot(["begin", "demo", "-n", "one", "--quota", "5M"]).exits(1);
    refused.says("cannot set the quota of session one: this store cannot limit what a session writes");
    host.define("demo", &format!("{MINIMAL}quota = \"1G\"\nroot-users = [\"root\"]\n"));
    host.zchroot(["run", "demo", "--", "true"]).exits(125).says("this store cannot limit");
    let found = host.zchroot(["check"]).exits(1);
    assert!(found.text().contains("quota: the store dir cannot limit what a session writes"), "{found}");
    host.zchroot(["begin", "demo", "--quota", "1K"]).exits(2).says("less than 1M");
    // What makes a version is not limited, so it can still be changed.
    host.zchroot(["update", "demo", "--", "true"]).ok();
    lab.assert_clean();
}

#[test]
fn dir_space_a_commit_that_was_cut_short_is_made_whole() {
    runs::a_commit_that_was_cut_short_is_made_whole(&Small::make(128));
}

#[test]
fn dir_space_images_beyond_their_share_go_the_one_used_longest_ago_first() {
    runs::images_beyond_their_share_go(&Small::make(192));
}

#[test]
fn dir_space_a_worker_that_stalls_is_given_up() {
    stalls::a_worker_that_stalls_is_given_up(&Small::make(192));
}

#[test]
fn dir_space_a_silent_source_evicts_nothing_however_full_the_store_is() {
    stalls::a_silent_source_evicts_nothing_however_full_the_store_is(&Small::make(128));
}

#[test]
fn dir_space_no_room_elsewhere_evicts_nothing() {
    stalls::no_room_elsewhere_evicts_nothing(&Small::make(192), true);
}

#[test]
fn dir_space_a_writer_in_a_frozen_store_is_given_up() {
    frozen::a_writer_in_a_frozen_store_is_given_up(&Small::make(192), None);
}

#[test]
fn dir_space_a_writer_in_a_frozen_store_is_given_up_on_xfs() {
    frozen::a_writer_in_a_frozen_store_is_given_up(&Small::on(Kind::Xfs, 320, "0"), None);
}

#[test]
fn dir_space_a_writer_in_a_frozen_store_is_given_up_and_not_swept_for_when_it_is_nearly_full() {
    frozen::a_writer_in_a_frozen_store_is_given_up(&Small::make(128), Some(24 * MIB));
}

#[test]
fn dir_space_a_template_that_is_made_in_a_frozen_store_is_given_up() {
    frozen::a_template_that_is_made_in_a_frozen_store_is_given_up(&Small::make(128));
}

#[test]
fn dir_space_a_writer_that_stands_in_a_full_store_is_out_of_room() {
    frozen::a_writer_that_stands_in_a_full_store_is_out_of_room(&Small::make(128));
}

#[test]
fn dir_space_what_is_available_is_what_df_says() {
    use zchroot::store::Store;
    let lab = Small::make(64);
    let store = zchroot::dir::DirStore::open(&zchroot::store::Layout::new(lab.host().path()));
    for left in [40 * MIB, 0] {
        lab.leave(left);
        let space = store.space().unwrap();
        let df = std::process::Command::new("df")
            .args(["-B1", "--output=avail,size"])
            .arg(lab.host().at("/var/lib/zchroot"))
            .output()
            .unwrap();
        let text = String::from_utf8(df.stdout).unwrap();
        let numbers: Vec<u64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        assert_eq!([space.available, space.total], numbers[..], "{text}");
    }
}

/// The same runs on other file systems, which keep account in other ways. Where nothing is written in place even what
/// is evicted needs some room: there the reserve is a part of the sweep.
macro_rules! on_others {
    ($($name:ident $kind:ident $mib:literal $reserve:literal $run:ident;)*) => {$(
        #[test]
        fn $name() {
            runs::$run(&Small::on(Kind::$kind, $mib, $reserve));
        }
    )*};
}

on_others! {
    dir_space_an_import_succeeds_after_a_sweep_on_xfs
        Xfs 320 "0" an_import_succeeds_after_a_sweep;
    dir_space_an_import_that_finds_no_room_leaves_nothing_on_xfs
        Xfs 320 "0" an_import_that_finds_no_room_leaves_nothing;
    dir_space_sessions_and_commits_succeed_after_a_sweep_on_xfs
        Xfs 320 "0" sessions_and_commits_succeed_after_a_sweep;
    dir_space_sessions_and_commits_that_find_no_room_leave_nothing_on_xfs
        Xfs 320 "0" sessions_and_commits_that_find_no_room_leave_nothing;
    dir_space_an_import_succeeds_after_a_sweep_on_btrfs
        Btrfs 256 "0" an_import_succeeds_after_a_sweep;
    dir_space_an_import_that_finds_no_room_leaves_nothing_on_btrfs
        Btrfs 256 "0" an_import_that_finds_no_room_leaves_nothing;
    dir_space_sessions_and_commits_succeed_after_a_sweep_on_btrfs
        Btrfs 256 "16M" sessions_and_commits_succeed_after_a_sweep;
    dir_space_sessions_and_commits_that_find_no_room_leave_nothing_on_btrfs
        Btrfs 256 "0" sessions_and_commits_that_find_no_room_leave_nothing;
    dir_space_an_import_succeeds_after_a_sweep_of_a_full_quota
        BtrfsQuota 512 "0" an_import_succeeds_after_a_sweep;
    dir_space_an_import_that_finds_no_room_leaves_nothing_in_a_full_quota
        BtrfsQuota 512 "0" an_import_that_finds_no_room_leaves_nothing;
    dir_space_streams_and_layers_end_in_bounded_time_in_a_full_quota
        BtrfsQuota 512 "0" streams_and_layers_end_in_bounded_time;
    dir_space_sessions_and_commits_succeed_after_a_sweep_of_a_full_quota
        BtrfsQuota 512 "16M" sessions_and_commits_succeed_after_a_sweep;
    dir_space_sessions_and_commits_that_find_no_room_leave_nothing_in_a_full_quota
        BtrfsQuota 512 "0" sessions_and_commits_that_find_no_room_leave_nothing;
}

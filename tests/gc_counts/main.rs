//! gc by numbers, on both stores: of many things exactly those go that nothing refers to and that are old, to the byte;
//! and beside a flood of begins nothing goes that is in use or young.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "tests work on the host as it is"
)]

mod counts;
mod flood;
#[path = "../harness/mod.rs"]
mod harness;
#[allow(dead_code, reason = "the crash tests use the rest")]
#[path = "../session_crash/host.rs"]
mod host;
mod lab;
#[cfg(feature = "zfs")]
#[path = "../zfs_pool/mod.rs"]
mod zfs_pool;

use harness::both::on_both;

on_both! {
    lab::Lab:
    dir_gc_of_150_old_orphans_40_young_and_20_in_use_takes_exactly_the_150
        zfs_gc_of_150_old_orphans_40_young_and_20_in_use_takes_exactly_the_150 counts::exactly_the_old_orphans;
    dir_gc_beside_a_flood_of_begins_takes_nothing_that_is_in_use_or_young
        zfs_gc_beside_a_flood_of_begins_takes_nothing_that_is_in_use_or_young flood::nothing_in_use_or_young;
    dir_gc_leaves_a_tree_alone_that_a_process_is_in zfs_gc_leaves_a_tree_alone_that_a_process_is_in
        counts::a_tree_that_is_used_stays;
    dir_gc_takes_an_orphan_and_the_image_that_it_kept_in_one_pass
        zfs_gc_takes_an_orphan_and_the_image_that_it_kept_in_one_pass counts::an_orphan_and_its_image;
    dir_gc_under_pressure_takes_an_orphan_and_the_image_that_it_kept_in_one_pass
        zfs_gc_under_pressure_takes_an_orphan_and_the_image_that_it_kept_in_one_pass
        counts::an_orphan_and_its_image_under_pressure;
    dir_gc_of_an_old_version_and_an_orphan_of_it_is_what_its_dry_run_says
        zfs_gc_of_an_old_version_and_an_orphan_of_it_is_what_its_dry_run_says
        counts::an_old_version_and_an_orphan_of_it;
    dir_gc_takes_nothing_while_something_cannot_be_read zfs_gc_takes_nothing_while_something_cannot_be_read
        counts::nothing_while_blind;
}

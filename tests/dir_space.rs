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

use space_lab::runs;
use space_lab::small::Small;

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
fn dir_space_many_importers_share_what_there_is() {
    runs::many_importers_share_what_there_is(&Small::make(128));
}

#[test]
fn dir_space_sessions_and_commits_succeed_after_a_sweep() {
    runs::sessions_and_commits_succeed_after_a_sweep(&Small::make(128));
}

#[test]
fn dir_space_sessions_and_commits_that_find_no_room_leave_nothing() {
    runs::sessions_and_commits_that_find_no_room_leave_nothing(&Small::make(128));
}

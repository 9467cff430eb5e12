//! Source sessions through schroot's words, on both stores: their end is what commits, and what is not to be
//! committed is kept.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "tests work on the host as it is"
)]

mod end;
#[path = "../harness/mod.rs"]
mod harness;
mod kept;
mod lab;
#[path = "../cli_setuid/world.rs"]
#[allow(dead_code, reason = "a part of it is used")]
mod world;
#[cfg(feature = "zfs")]
#[path = "../zfs_pool/mod.rs"]
mod zfs_pool;

use harness::both::on_both;

on_both! { lab::Lab:
    dir_schroot_source_a_command_that_ends_well_is_committed
    zfs_schroot_source_a_command_that_ends_well_is_committed
    end::automatic;
    dir_schroot_source_a_session_in_pieces_is_committed_by_its_end
    zfs_schroot_source_a_session_in_pieces_is_committed_by_its_end
    end::in_pieces;
    dir_schroot_source_who_may_change_a_template_is_what_its_source_says
    zfs_schroot_source_who_may_change_a_template_is_what_its_source_says
    end::who_may;
    dir_schroot_source_a_conflict_is_said_and_the_session_stands
    zfs_schroot_source_a_conflict_is_said_and_the_session_stands
    end::conflict;
    dir_schroot_source_always_commits_whatever_the_commands_gave
    zfs_schroot_source_always_commits_whatever_the_commands_gave
    end::always;
    dir_schroot_source_a_session_of_zchroot_is_not_ended_by_schroot
    zfs_schroot_source_a_session_of_zchroot_is_not_ended_by_schroot
    end::of_zchroot;
    dir_schroot_source_all_sessions_are_ended_or_none
    zfs_schroot_source_all_sessions_are_ended_or_none
    end::all;
    dir_schroot_source_a_session_is_recovered
    zfs_schroot_source_a_session_is_recovered
    end::recovered;
    dir_schroot_source_a_session_that_somebody_works_on_is_not_ended
    zfs_schroot_source_a_session_that_somebody_works_on_is_not_ended
    end::busy;
    dir_schroot_source_a_command_that_fails_leaves_a_draft_that_can_be_committed
    zfs_schroot_source_a_command_that_fails_leaves_a_draft_that_can_be_committed
    kept::committed;
    dir_schroot_source_what_was_kept_is_dropped_by_abort_or_by_gc_after_a_day
    zfs_schroot_source_what_was_kept_is_dropped_by_abort_or_by_gc_after_a_day
    kept::dropped;
    dir_schroot_source_a_run_that_was_killed_is_no_clean_one
    zfs_schroot_source_a_run_that_was_killed_is_no_clean_one
    kept::killed;
    dir_schroot_source_one_run_that_failed_is_enough_whoever_ran_it
    zfs_schroot_source_one_run_that_failed_is_enough_whoever_ran_it
    kept::one_is_enough;
    dir_schroot_source_what_was_kept_can_still_meet_a_conflict
    zfs_schroot_source_what_was_kept_can_still_meet_a_conflict
    kept::conflict;
    dir_schroot_source_a_command_that_never_started_leaves_nothing
    zfs_schroot_source_a_command_that_never_started_leaves_nothing
    kept::never_started;
    dir_schroot_source_what_is_kept_is_taken_up_by_who_may_begin_it_and_published_by_no_other
    zfs_schroot_source_what_is_kept_is_taken_up_by_who_may_begin_it_and_published_by_no_other
    kept::whose;
}

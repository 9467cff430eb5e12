//! One contract, three stores: `fake_*` (in memory, no root), `dir_*` (overlayfs, root), `zfs_*` (a pool of its
//! own on a file, in the test machine; the runner counts them there, and elsewhere they fail and say why).

#![allow(clippy::disallowed_methods, clippy::print_stdout, reason = "tests look at trees from outside")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may fail")]
#![allow(unreachable_pub, reason = "the modules of one test program")]

mod contract;

use contract::Lab;
use contract::labs::{DirLab, FakeLab};
use contract::{faults, images, pile, races, rules};

/// Makes the tests of one rule, a test per store.
macro_rules! on_every_store {
    ($($rule:expr => $fake:ident $dir:ident $zfs:ident;)*) => {$(
        #[test]
        fn $fake() {
            $rule(&FakeLab::new());
        }

        #[test]
        fn $dir() {
            $rule(&DirLab::new());
        }

        #[cfg(feature = "zfs")]
        #[test]
        fn $zfs() {
            $rule(&contract::labs::ZfsLab::new());
        }
    )*};
}

on_every_store! {
    images::an_image_is_none_until_it_is_complete =>
        fake_an_image_is_none_until_it_is_complete
        dir_an_image_is_none_until_it_is_complete
        zfs_an_image_is_none_until_it_is_complete;
    images::a_complete_image_is_read_only =>
        fake_a_complete_image_is_read_only
        dir_a_complete_image_is_read_only
        zfs_a_complete_image_is_read_only;
    images::sessions_of_an_image_are_its_own_and_keep_it =>
        fake_sessions_of_an_image_are_its_own_and_keep_it
        dir_sessions_of_an_image_are_its_own_and_keep_it
        zfs_sessions_of_an_image_are_its_own_and_keep_it;
    images::a_template_made_of_an_image_lives_its_own_life =>
        fake_a_template_made_of_an_image_lives_its_own_life
        dir_a_template_made_of_an_image_lives_its_own_life
        zfs_a_template_made_of_an_image_lives_its_own_life;
    images::a_draft_of_an_image_can_be_thrown_away_but_not_while_it_is_mounted =>
        fake_a_draft_of_an_image_can_be_thrown_away_but_not_while_it_is_mounted
        dir_a_draft_of_an_image_can_be_thrown_away_but_not_while_it_is_mounted
        zfs_a_draft_of_an_image_can_be_thrown_away_but_not_while_it_is_mounted;
    rules::an_empty_store_has_nothing =>
        fake_an_empty_store_has_nothing
        dir_an_empty_store_has_nothing
        zfs_an_empty_store_has_nothing;
    rules::laying_out_again_changes_nothing =>
        fake_laying_out_again_changes_nothing
        dir_laying_out_again_changes_nothing
        zfs_laying_out_again_changes_nothing;
    rules::there_is_room_and_it_is_less_than_all =>
        fake_there_is_room_and_it_is_less_than_all
        dir_there_is_room_and_it_is_less_than_all
        zfs_there_is_room_and_it_is_less_than_all;
    rules::a_draft_is_no_version_until_it_is_published =>
        fake_a_draft_is_no_version_until_it_is_published
        dir_a_draft_is_no_version_until_it_is_published
        zfs_a_draft_is_no_version_until_it_is_published;
    rules::a_name_is_taken_once =>
        fake_a_name_is_taken_once
        dir_a_name_is_taken_once
        zfs_a_name_is_taken_once;
    rules::templates_do_not_know_each_other =>
        fake_templates_do_not_know_each_other
        dir_templates_do_not_know_each_other
        zfs_templates_do_not_know_each_other;
    rules::publishing_again_is_committed_and_changes_nothing =>
        fake_publishing_again_is_committed_and_changes_nothing
        dir_publishing_again_is_committed_and_changes_nothing
        zfs_publishing_again_is_committed_and_changes_nothing;
    rules::publishing_on_an_old_base_is_a_conflict_and_changes_nothing =>
        fake_publishing_on_an_old_base_is_a_conflict_and_changes_nothing
        dir_publishing_on_an_old_base_is_a_conflict_and_changes_nothing
        zfs_publishing_on_an_old_base_is_a_conflict_and_changes_nothing;
    rules::publishing_on_a_base_where_there_is_none_is_a_conflict =>
        fake_publishing_on_a_base_where_there_is_none_is_a_conflict
        dir_publishing_on_a_base_where_there_is_none_is_a_conflict
        zfs_publishing_on_a_base_where_there_is_none_is_a_conflict;
    rules::publishing_what_is_no_draft_is_gone =>
        fake_publishing_what_is_no_draft_is_gone
        dir_publishing_what_is_no_draft_is_gone
        zfs_publishing_what_is_no_draft_is_gone;
    rules::a_clone_is_of_exactly_the_version_asked_for =>
        fake_a_clone_is_of_exactly_the_version_asked_for
        dir_a_clone_is_of_exactly_the_version_asked_for
        zfs_a_clone_is_of_exactly_the_version_asked_for;
    rules::a_clone_of_what_is_not_there_is_gone_and_leaves_nothing =>
        fake_a_clone_of_what_is_not_there_is_gone_and_leaves_nothing
        dir_a_clone_of_what_is_not_there_is_gone_and_leaves_nothing
        zfs_a_clone_of_what_is_not_there_is_gone_and_leaves_nothing;
    rules::a_session_is_cloned_once =>
        fake_a_session_is_cloned_once
        dir_a_session_is_cloned_once
        zfs_a_session_is_cloned_once;
    rules::what_a_session_writes_stays_in_it =>
        fake_what_a_session_writes_stays_in_it
        dir_what_a_session_writes_stays_in_it
        zfs_what_a_session_writes_stays_in_it;
    rules::a_file_with_two_names_stays_one_file_in_a_session =>
        fake_a_file_with_two_names_stays_one_file_in_a_session
        dir_a_file_with_two_names_stays_one_file_in_a_session
        zfs_a_file_with_two_names_stays_one_file_in_a_session;
    rules::the_top_of_a_tree_keeps_its_owner_and_mode =>
        fake_the_top_of_a_tree_keeps_its_owner_and_mode
        dir_the_top_of_a_tree_keeps_its_owner_and_mode
        zfs_the_top_of_a_tree_keeps_its_owner_and_mode;
    rules::a_commit_touches_no_live_session =>
        fake_a_commit_touches_no_live_session
        dir_a_commit_touches_no_live_session
        zfs_a_commit_touches_no_live_session;
    rules::settle_drops_what_is_neither_current_nor_kept =>
        fake_settle_drops_what_is_neither_current_nor_kept
        dir_settle_drops_what_is_neither_current_nor_kept
        zfs_settle_drops_what_is_neither_current_nor_kept;
    rules::settle_waits_for_sessions =>
        fake_settle_waits_for_sessions
        dir_settle_waits_for_sessions
        zfs_settle_waits_for_sessions;
    rules::a_draft_starts_as_a_copy_of_its_base_and_does_not_write_to_it =>
        fake_a_draft_starts_as_a_copy_of_its_base_and_does_not_write_to_it
        dir_a_draft_starts_as_a_copy_of_its_base_and_does_not_write_to_it
        zfs_a_draft_starts_as_a_copy_of_its_base_and_does_not_write_to_it;
    rules::an_old_version_can_be_committed_again_as_a_new_one =>
        fake_an_old_version_can_be_committed_again_as_a_new_one
        dir_an_old_version_can_be_committed_again_as_a_new_one
        zfs_an_old_version_can_be_committed_again_as_a_new_one;
    rules::a_draft_of_what_is_not_there_is_gone_and_leaves_nothing =>
        fake_a_draft_of_what_is_not_there_is_gone_and_leaves_nothing
        dir_a_draft_of_what_is_not_there_is_gone_and_leaves_nothing
        zfs_a_draft_of_what_is_not_there_is_gone_and_leaves_nothing;
    rules::dropping_what_is_not_there_changes_nothing =>
        fake_dropping_what_is_not_there_changes_nothing
        dir_dropping_what_is_not_there_changes_nothing
        zfs_dropping_what_is_not_there_changes_nothing;
    rules::a_complete_version_is_never_dropped_as_a_draft =>
        fake_a_complete_version_is_never_dropped_as_a_draft
        dir_a_complete_version_is_never_dropped_as_a_draft
        zfs_a_complete_version_is_never_dropped_as_a_draft;
    rules::a_mounted_draft_is_busy =>
        fake_a_mounted_draft_is_busy
        dir_a_mounted_draft_is_busy
        zfs_a_mounted_draft_is_busy;
    rules::a_mounted_session_is_busy =>
        fake_a_mounted_session_is_busy
        dir_a_mounted_session_is_busy
        zfs_a_mounted_session_is_busy;
    rules::mounting_and_measuring_what_is_not_there_is_gone =>
        fake_mounting_and_measuring_what_is_not_there_is_gone
        dir_mounting_and_measuring_what_is_not_there_is_gone
        zfs_mounting_and_measuring_what_is_not_there_is_gone;
    rules::a_version_is_mounted_read_only =>
        fake_a_version_is_mounted_read_only
        dir_a_version_is_mounted_read_only
        zfs_a_version_is_mounted_read_only;
    rules::mounts_have_the_flags_that_were_asked_for =>
        fake_mounts_have_the_flags_that_were_asked_for
        dir_mounts_have_the_flags_that_were_asked_for
        zfs_mounts_have_the_flags_that_were_asked_for;
    rules::a_session_takes_what_it_writes =>
        fake_a_session_takes_what_it_writes
        dir_a_session_takes_what_it_writes
        zfs_a_session_takes_what_it_writes;
    rules::trees_say_when_they_were_made =>
        fake_trees_say_when_they_were_made
        dir_trees_say_when_they_were_made
        zfs_trees_say_when_they_were_made;
    pile::history_does_not_pile_up =>
        fake_history_does_not_pile_up
        dir_history_does_not_pile_up
        zfs_history_does_not_pile_up;
    pile::what_a_rollback_went_over_goes_when_nothing_keeps_it =>
        fake_what_a_rollback_went_over_goes_when_nothing_keeps_it
        dir_what_a_rollback_went_over_goes_when_nothing_keeps_it
        zfs_what_a_rollback_went_over_goes_when_nothing_keeps_it;
    pile::rollbacks_do_not_pile_up =>
        fake_rollbacks_do_not_pile_up
        dir_rollbacks_do_not_pile_up
        zfs_rollbacks_do_not_pile_up;
    pile::a_draft_is_tried_out_without_being_touched =>
        fake_a_draft_is_tried_out_without_being_touched
        dir_a_draft_is_tried_out_without_being_touched
        zfs_a_draft_is_tried_out_without_being_touched;
    (|lab: &dyn Lab| races::readers_get_whole_versions_while_commits_go_on(lab, 20)) =>
        fake_readers_get_whole_versions_while_commits_go_on
        dir_readers_get_whole_versions_while_commits_go_on
        zfs_readers_get_whole_versions_while_commits_go_on;
    (|lab: &dyn Lab| races::of_two_maintainers_one_wins(lab, 8)) =>
        fake_of_two_maintainers_one_wins
        dir_of_two_maintainers_one_wins
        zfs_of_two_maintainers_one_wins;
    races::a_draft_that_was_refused_goes_and_takes_nothing_with_it =>
        fake_a_draft_that_was_refused_goes_and_takes_nothing_with_it
        dir_a_draft_that_was_refused_goes_and_takes_nothing_with_it
        zfs_a_draft_that_was_refused_goes_and_takes_nothing_with_it;
    (|lab: &dyn Lab| races::a_clone_of_an_old_version_is_whole_or_gone_while_settle_drops_it(lab, 25)) =>
        fake_a_clone_of_an_old_version_is_whole_or_gone_while_settle_drops_it
        dir_a_clone_of_an_old_version_is_whole_or_gone_while_settle_drops_it
        zfs_a_clone_of_an_old_version_is_whole_or_gone_while_settle_drops_it;
}

#[test]
fn fake_every_operation_stands_a_fault_at_every_effect() {
    faults::every_operation_stands_a_fault_at_every_effect(&|| Box::new(FakeLab::new()));
}

#[test]
fn dir_every_operation_stands_a_fault_at_every_effect() {
    faults::every_operation_stands_a_fault_at_every_effect(&|| Box::new(DirLab::in_memory()));
}

#[test]
fn dir_a_tree_is_on_the_disk_before_the_pointer_names_it() {
    faults::a_tree_is_on_the_disk_before_the_pointer_names_it(&DirLab::in_memory());
}

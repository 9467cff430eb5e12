//! Crashes and errors at every effect of every operation, above the store and in process.
//!
//! For every operation, every effect of it ([`effect`](zchroot::sys::effect)) fails with each plausible errno, fails
//! from then on, or is the last thing that the process did (before it, or after the last one), with and without a
//! reboot. Then `recover` runs, itself crashed or refused something at each of its effects, then `gc`, and then the
//! rules of [`check`] must hold: above all that the state is the old one or the new one. On the model of ZFS and on
//! the store on directories, with real mounts: needs root.
//!
//! The pairs of a crash and a crash of recover are thinned out evenly from a printed seed; with ZCHROOT_TEST_LONG=1
//! all are taken. A new operation is one line of [`model::Op`], one each where the compiler then asks for it, and one
//! entry in the list below.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "tests work on the host as it is"
)]

#[path = "../harness/left.rs"]
#[allow(dead_code, unreachable_pub, reason = "a part of it is used")]
mod left;

mod act;
mod check;
mod driver;
mod images;
mod look;
mod model;
mod programs;
mod world;

use driver::{Scenario, Step, enumerate};
use model::Op::*;
use world::{Backend, inside};

/// The names of sessions: `old` and `kept` stand by, `work` is what an operation is on.
const NAMES: [&str; 4] = ["old", "kept", "work", "create-new"];

/// A scenario as a test on each store: the name of the module is that of the operation.
macro_rules! enumerated {
    ($($name:ident: $scenario:expr;)+) => {$(
        mod $name {
            use super::*;

            const SCENARIO: Scenario = $scenario;

            #[test]
            fn crash_at_every_effect_on_the_model_of_zfs() {
                let name = concat!(stringify!($name), "::crash_at_every_effect_on_the_model_of_zfs");
                inside(name).then(|| enumerate(stringify!($name), &SCENARIO, Backend::Fake));
            }

            #[test]
            fn crash_at_every_effect_on_directories() {
                let name = concat!(stringify!($name), "::crash_at_every_effect_on_directories");
                inside(name).then(|| enumerate(stringify!($name), &SCENARIO, Backend::Dir));
            }
        }
    )+};
}

const NOTHING: &[Step] = &[];
const READY: &[Step] = &[Step::Do(Begin("sid", "work")), Step::Do(Write("work", 9))];
const OCCUPIED: &[Step] = &[Step::Do(Begin("sid", "work")), Step::Do(Write("work", 9)), Step::Lodger("work")];
const DRAFT: &[Step] = &[Step::Do(SourceBegin("sid", "work")), Step::Do(Write("work", 9))];
const SUPERSEDED: &[Step] = &[
    Step::Do(SourceBegin("sid", "work")),
    Step::Do(Write("work", 9)),
    Step::Do(Commit("work")),
    Step::Do(SourceBegin("sid", "work")),
    Step::Do(Write("work", 10)),
    Step::Do(Commit("work")),
    Step::Do(End("old")),
];
const REBOOTED: &[Step] = &[Step::Do(SourceBegin("sid", "kept")), Step::Do(Write("kept", 8)), Step::Reboot];
const IMAGE: &[Step] = &[Step::Do(ImageImport(4)), Step::Do(ImageImport(5))];
/// Nothing of the program was used since the machine came up.
const IMAGE_AT_BOOT: &[Step] = &[Step::Do(End("old")), Step::Do(ImageImport(5)), Step::Reboot];
/// One that is about to be complete.
const HALF_IMAGE: &[Step] = &[Step::Do(ImageImport(4)), Step::KilledAt(ImageImport(5), "fsync")];
/// A session whose tree is there and whose record is not yet `ready`; a draft that is being made; a left-over clone.
const KILLED: &[Step] = &[
    Step::KilledAt(SourceBegin("sid", "work"), "unlink"),
    Step::KilledAt(Begin("sid", "create-new"), "mount"),
];
/// A commit that took place and was never finished, and others after it: its version is not among those kept.
const OVERTAKEN: &[Step] = &[
    Step::Do(SourceBegin("sid", "work")),
    Step::Do(Write("work", 9)),
    Step::KilledAt(Commit("work"), "rename"),
    Step::History(&[10, 11, 12]),
    Step::Do(Settle("sid")),
];
/// A session that commits by its end, in which nothing failed; and one in which a command did.
const BY_END: &[Step] = &[Step::Do(SourceBeginToEnd("sid", "work")), Step::Do(Write("work", 9))];
const FAILED: &[Step] =
    &[Step::Do(SourceBeginToEnd("sid", "work")), Step::Do(Write("work", 9)), Step::Do(Exec("work"))];
const ENDED: &[Step] = &[
    Step::Do(SourceBeginToEnd("sid", "work")),
    Step::Do(Write("work", 9)),
    Step::Do(Exec("work")),
    Step::Do(SourceEndFailed("work")),
];
const KEPT_AT_BOOT: &[Step] = &[
    Step::Do(SourceBeginToEnd("sid", "work")),
    Step::Do(Write("work", 9)),
    Step::Do(Exec("work")),
    Step::Do(SourceEndFailed("work")),
    Step::Reboot,
];
const KEPT_FOR_A_DAY: &[Step] = &[
    Step::Do(SourceBeginToEnd("sid", "work")),
    Step::Do(Write("work", 9)),
    Step::Do(Exec("work")),
    Step::Do(SourceEndFailed("work")),
    Step::Do(Age("work")),
];
/// After a rollback the template's heads are a tree, not a chain.
const ROLLED_BACK: &[Step] =
    &[Step::Do(Rollback("sid", "work", 1)), Step::History(&[10, 11]), Step::Do(End("old"))];

/// A generation that goes when its pin does.
const PINNED: &[Step] = &[Step::Do(Pin("sid", 1)), Step::History(&[10, 11]), Step::Do(End("old"))];
/// A source session that others overtook.
const OUTDATED: &[Step] =
    &[Step::Do(SourceBegin("sid", "work")), Step::Do(Write("work", 9)), Step::History(&[10])];

enumerated! {
    init: Scenario { bare: true, before: NOTHING, op: Init, least: (3, 7), failure_is_old: false };
    create: Scenario { bare: false, before: NOTHING, op: Create("new", 5), least: (20, 20), failure_is_old: true };
    begin: Scenario { bare: false, before: NOTHING, op: Begin("sid", "work"), least: (15, 15), failure_is_old: true };
    run: Scenario { bare: false, before: NOTHING, op: Run("sid", "work"), least: (20, 20), failure_is_old: false };
    exec: Scenario { bare: false, before: READY, op: Exec("work"), least: (1, 1), failure_is_old: true };
    end: Scenario { bare: false, before: READY, op: End("work"), least: (10, 10), failure_is_old: false };
    end_with_a_process_in_it: Scenario { bare: false, before: OCCUPIED, op: End("work"), least: (11, 11), failure_is_old: false };
    source_begin: Scenario { bare: false, before: NOTHING, op: SourceBegin("sid", "work"), least: (15, 15), failure_is_old: true };
    commit: Scenario { bare: false, before: DRAFT, op: Commit("work"), least: (20, 20), failure_is_old: true };
    exec_in_a_session_that_commits_by_its_end: Scenario { bare: false, before: BY_END, op: Exec("work"), least: (5, 5), failure_is_old: false };
    source_end: Scenario { bare: false, before: BY_END, op: SourceEnd("work"), least: (20, 20), failure_is_old: true };
    source_end_after_a_failure: Scenario { bare: false, before: FAILED, op: SourceEndFailed("work"), least: (10, 10), failure_is_old: true };
    commit_of_what_was_kept: Scenario { bare: false, before: ENDED, op: Commit("work"), least: (25, 25), failure_is_old: false };
    abort_of_what_was_kept: Scenario { bare: false, before: ENDED, op: Abort("work"), least: (8, 8), failure_is_old: false };
    recover_what_was_kept: Scenario { bare: false, before: KEPT_AT_BOOT, op: Recover, least: (5, 5), failure_is_old: false };
    gc_of_what_was_kept_for_a_day: Scenario { bare: false, before: KEPT_FOR_A_DAY, op: Gc, least: (8, 8), failure_is_old: false };
    rollback: Scenario { bare: false, before: NOTHING, op: Rollback("sid", "work", 1), least: (15, 20), failure_is_old: true };
    gc_after_a_rollback: Scenario { bare: false, before: ROLLED_BACK, op: Gc, least: (5, 5), failure_is_old: false };
    abort: Scenario { bare: false, before: DRAFT, op: Abort("work"), least: (10, 10), failure_is_old: false };
    settle: Scenario { bare: false, before: SUPERSEDED, op: Settle("sid"), least: (3, 3), failure_is_old: false };
    gc: Scenario { bare: false, before: SUPERSEDED, op: Gc, least: (3, 3), failure_is_old: false };
    gc_after_crashes: Scenario { bare: false, before: KILLED, op: Gc, least: (3, 3), failure_is_old: false };
    pin: Scenario { bare: false, before: NOTHING, op: Pin("sid", 1), least: (7, 7), failure_is_old: false };
    unpin: Scenario { bare: false, before: PINNED, op: Unpin("sid", 1), least: (4, 4), failure_is_old: false };
    gc_beside_a_pin: Scenario { bare: false, before: PINNED, op: Gc, least: (3, 3), failure_is_old: false };
    verify: Scenario { bare: false, before: NOTHING, op: Verify("sid", 2), least: (5, 5), failure_is_old: false };
    diff_of_a_session: Scenario { bare: false, before: READY, op: DiffSession("work"), least: (1, 1), failure_is_old: true };
    rebase: Scenario { bare: false, before: OUTDATED, op: Rebase("work", "kept"), least: (15, 15), failure_is_old: true };
    image_import: Scenario { bare: false, before: NOTHING, op: ImageImport(5), least: (12, 15), failure_is_old: true };
    image_import_of_what_is_there: Scenario { bare: false, before: IMAGE, op: ImageImport(5), least: (4, 4), failure_is_old: false };
    image_import_after_a_crash: Scenario { bare: false, before: HALF_IMAGE, op: ImageImport(5), least: (12, 15), failure_is_old: false };
    image_remove: Scenario { bare: false, before: IMAGE, op: ImageRemove(5), least: (3, 5), failure_is_old: false };
    image_remove_after_a_reboot: Scenario { bare: false, before: IMAGE_AT_BOOT, op: ImageRemove(5), least: (4, 6), failure_is_old: false };
    image_run: Scenario { bare: false, before: IMAGE, op: ImageRun(5, "work"), least: (20, 20), failure_is_old: false };
    gc_of_images: Scenario { bare: false, before: HALF_IMAGE, op: Gc, least: (3, 3), failure_is_old: false };
    recover_after_a_reboot: Scenario { bare: false, before: REBOOTED, op: Recover, least: (20, 20), failure_is_old: false };
    recover_after_crashes: Scenario { bare: false, before: KILLED, op: Recover, least: (10, 10), failure_is_old: false };
    recover_a_commit_that_others_followed: Scenario { bare: false, before: OVERTAKEN, op: Recover, least: (6, 6), failure_is_old: false };
}

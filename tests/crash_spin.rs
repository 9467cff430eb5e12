//! The model of begin, commit, settle and gc (docs/models/commit.pml), searched by Spin: it holds with every process
//! killed anywhere, and each way of breaking the protocol is found.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    unreachable_pub,
    reason = "tests work on the host as it is"
)]

use std::path::Path;
use std::process::Command;

/// How a search ended.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    /// Every state was looked at.
    Nothing,
    /// The assertion that does not hold.
    Violation(String),
}

/// Searches all states of the model with these macros defined.
fn search(defines: &[&str]) -> Found {
    let work = tempfile::tempdir().unwrap();
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/models/commit.pml");
    run(Command::new("spin").args(defines).arg("-a").arg(model).current_dir(work.path()));
    // Its warnings are about the code that Spin writes.
    let flags = ["-O2", "-w", "-DSAFETY", "-DCOLLAPSE", "-DMEMLIM=4000", "-o", "pan", "pan.c"];
    run(Command::new("gcc").args(flags).current_dir(work.path()));
    let told = run(Command::new("./pan").arg("-m100000").current_dir(work.path()));
    let states = told.lines().find_map(|line| line.trim().strip_suffix(" states, stored"));
    let states: u64 = states.expect(&told).trim().parse().unwrap();
    println!("crash-count: spin searches=1 states={states}");
    let violation = told.lines().find_map(|line| line.strip_prefix("pan:1: assertion violated "));
    match violation {
        Some(what) => Found::Violation(what.split(" (at depth").next().unwrap().trim().to_owned()),
        None => {
            // Neither memory nor depth may have run out, else not every state was looked at.
            assert!(told.contains("errors: 0") && !told.contains("Search not completed"), "{told}");
            assert!(!told.contains("max search depth too small"), "{told}");
            Found::Nothing
        }
    }
}

fn run(command: &mut Command) -> String {
    let done = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let told = String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{command:?}: {told}");
    told
}

/// A protocol broken in one way: what is found is that `broken` does not hold.
#[track_caller]
fn is_found(defines: &[&str], broken: &str) {
    assert_eq!(search(defines), Found::Violation(broken.to_owned()));
}

#[test]
fn crash_spin_readers_beside_commits_and_settling_see_what_is_complete_and_current() {
    assert_eq!(search(&["-DGCS=0"]), Found::Nothing);
}

#[test]
fn crash_spin_no_draft_is_taken_from_its_maker_by_gc() {
    assert_eq!(search(&["-DREADERS=0"]), Found::Nothing);
}

#[test]
fn crash_spin_everything_beside_everything() {
    if std::env::var_os("ZCHROOT_TEST_LONG").is_none() {
        println!("only two readers at once without a crash: the whole takes minutes, and is for --long");
        assert_eq!(search(&["-DREADERS=2", "-DCOMMITTERS=1", "-DDEATHS=1"]), Found::Nothing);
        return;
    }
    assert_eq!(search(&[]), Found::Nothing);
    assert_eq!(search(&["-DREADERS=2", "-DGCS=0", "-DDEATHS=0"]), Found::Nothing);
}

#[test]
fn crash_spin_a_commit_that_does_not_compare_loses_an_update() {
    is_found(&["-DGCS=0", "-DNO_COMPARE"], "(base==current)");
}

#[test]
fn crash_spin_a_pointer_that_is_written_before_the_commit_is_found() {
    is_found(&["-DGCS=0", "-DPOINTER_FIRST"], "(tries<=(2+1))");
}

#[test]
fn crash_spin_a_change_that_is_begun_on_what_the_pointer_does_not_say_yet_is_found() {
    is_found(&["-DGCS=0", "-DTRUTH_FIRST"], "(generation[v]>=told)");
}

#[test]
fn crash_spin_a_pointer_that_is_written_from_memory_is_found() {
    is_found(&["-DGCS=0", "-DREMEMBERED"], "(tries<=(2+1))");
}

#[test]
fn crash_spin_a_draft_that_is_made_before_its_record_is_taken_away() {
    is_found(&["-DREADERS=0", "-DRECORD_LATE"], "!(lost[n])");
}

#[test]
fn crash_spin_a_gc_that_reads_records_first_takes_a_draft_away() {
    is_found(&["-DREADERS=0", "-DRECORDS_FIRST"], "!(lost[n])");
}

#[test]
fn crash_spin_a_settle_that_asks_for_the_current_version_first_drops_it() {
    is_found(&["-DGCS=0", "-DKEEP_FIRST"], "complete[current]");
}

#[test]
fn crash_spin_a_version_that_is_destroyed_in_use_is_missed_by_its_session() {
    is_found(&["-DGCS=0", "-DDROP_BUSY"], "complete[v]");
}

//! A session ends, whatever has become of it.

use std::time::{Duration, Instant};

use crate::lab::{Lab, both, folder, mended};

fn after_a_reboot(lab: &Lab) -> String {
    let id = lab.begin(&lab.define_union(""));
    lab.reboot();
    let status = lab.status(&["-e", "-c", &id]);
    format!("end {status}, sessions {}", lab.sessions())
}

#[test]
fn clients_defect_a_session_can_be_ended_after_a_reboot() {
    mended(after_a_reboot, "end 1, sessions 1", "end 0, sessions 0");
}

/// The first end stops when all but a script is done, and then the host goes down.
fn that_failed_half_way(lab: &Lab) -> String {
    let id = lab.begin(&lab.define_union(""));
    let gate = lab.dir("open");
    lab.script("04gate", &format!("[ $1 != setup-stop ] || [ -e {gate} ]"));
    assert_eq!(lab.status(&["-e", "-c", &id]), 1);
    lab.reboot();
    lab.shell("touch open");
    let status = lab.status(&["-e", "-c", &id]);
    format!("end {status}, sessions {}", lab.sessions())
}

#[test]
fn clients_defect_an_end_that_failed_half_way_can_be_repeated() {
    mended(that_failed_half_way, "end 1, sessions 1", "end 0, sessions 0");
}

/// The archive cannot be packed again.
fn by_force(lab: &Lab) -> String {
    folder(lab, "archives");
    lab.shell("tar -C chroot -cf archives/sid.tar .");
    let name =
        lab.define(&format!("type=file\nfile={}\nsource-root-users=root\n", lab.dir("archives/sid.tar")));
    let id = lab.begin(&format!("source:{name}"));
    lab.shell("rm -r archives");
    lab.schroot(&["-e", "-c", &id]);
    assert_eq!(lab.sessions(), 1, "it ends without force");
    lab.schroot(&["-e", "-f", "-c", &id]);
    format!("sessions {}", lab.sessions())
}

#[test]
fn clients_defect_force_ends_what_would_not_end() {
    mended(by_force, "sessions 1", "sessions 0");
}

/// A script of the administrator's never ends well.
fn by_force_over_a_script(lab: &Lab) -> String {
    let id = lab.begin(&lab.define_union(""));
    lab.script("52bad", "[ $1 != setup-stop ]");
    assert_eq!(lab.status(&["-e", "-c", &id]), 1);
    let status = lab.status(&["-e", "-f", "-c", &id]);
    format!("end {status}, sessions {}", lab.sessions())
}

#[test]
fn clients_defect_force_ends_a_session_whose_script_fails() {
    mended(by_force_over_a_script, "end 1, sessions 1", "end 0, sessions 0");
}

/// How long it takes to end a session with so many processes that nobody waits for, after some words of a shell.
fn time_to_end(lab: &Lab, words: &str, count: usize) -> Duration {
    let id = lab.begin(&lab.define_union(""));
    let sleep = lab.sleep();
    lab.run(&id, &format!("{words} for i in $(seq {count}); do {sleep} </dev/null >/dev/null 2>&1 & done"));
    lab.sleeping(count);
    let begun = Instant::now();
    lab.schroot(&["-e", "-c", &id]).ok();
    begun.elapsed()
}

/// Ours takes less than a third; a busy machine makes both slower.
#[track_caller]
fn is_faster(words: &str, count: usize) {
    both(
        |lab| time_to_end(lab, words, count),
        |debian, ours| assert!(ours * 3 < debian, "schroot took {debian:?}, zchroot {ours:?}"),
    );
}

#[test]
fn clients_defect_processes_are_ended_at_once_and_not_one_each_second() {
    is_faster("", 6);
}

#[test]
fn clients_defect_a_process_that_ignores_sigterm_holds_nothing_up() {
    is_faster("trap '' TERM;", 1);
}

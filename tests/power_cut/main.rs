//! Power cuts: the store lies on a pool whose disk is a file on another pool; a snapshot of that one is what a power
//! cut leaves. The copy is imported under another name, the shipped program recovers it and collects its garbage,
//! and everything that was reported before the cut has to be there, nothing half done, nothing left over.
//!
//! The moment is chosen in two ways: after each system call of the program that changes the disk (it is stopped
//! there), and at random beside readers, commits, named sessions and gc. Cuts are counted by the states that they
//! hit ([`state::ALL`]); a test fails if one that it is there for was never hit.
#![cfg(feature = "zfs")]
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    unreachable_pub,
    reason = "tests work on the host as it is"
)]

#[path = "../harness/mod.rs"]
mod harness;
#[path = "../zfs_pool/mod.rs"]
mod zfs_pool;

mod busy;
mod check;
mod ops;
mod rig;
mod state;
mod step;
mod unsynced;
mod work;

use std::time::Instant;

use check::Count;
use ops::{Ops, What};
use rig::{Cut, Rig};
use step::{Go, Steps};
use work::TEMPLATE;

/// Calls the program and cuts the power at every step of it, and once when it is done.
fn cut_through(rig: &Rig, ops: &Ops, whats: &[What], words: &[&str]) -> Vec<Cut> {
    let mut cuts = Vec::new();
    ops.note(whats, || {
        step::through(&rig.host, Steps::Paths, words, |call| {
            cuts.push(rig.cut(&format!("{} {}: {call}", words[0], words[1])));
            Go::On
        })
    });
    cuts.push(rig.cut(&format!("{} {}: done", words[0], words[1])));
    assert!(cuts.len() > 1, "{words:?} changed next to nothing: {cuts:?}");
    cuts
}

/// As [`cut_through`] for an update, which has many words.
fn cut_through_update(rig: &Rig, ops: &Ops, generation: usize) -> Vec<Cut> {
    let words = work::update_words(generation);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    cut_through(rig, ops, &[What::Commit(generation)], &words)
}

fn begins(name: &str) -> [What; 1] {
    [What::Begin(name.to_owned())]
}

fn ends(name: &str) -> [What; 1] {
    [What::End(name.to_owned())]
}

/// A rig with a template that keeps `keep` old versions, at generation 1.
fn rig_with_template(keep: usize) -> (Rig, Ops) {
    let (rig, ops) = (Rig::new(), Ops::default());
    work::define(&rig.host, keep);
    work::create(&rig.host, &ops);
    (rig, ops)
}

#[test]
fn zfs_crash_power_cut_at_every_step_of_a_create() {
    let begun = Instant::now();
    let (rig, ops) = (Rig::new(), Ops::default());
    work::define(&rig.host, 1);
    let from = work::source(&rig.host, 1);
    let words = ["-q", "create", TEMPLATE, "--from", &from, "-m", "generation 1"];
    let cuts = cut_through(&rig, &ops, &[What::Commit(1)], &words);
    rig.put_away();
    let mut count = Count::default();
    count.look(&rig, &ops, &cuts);
    let wanted = [
        "record.temp-file",
        "create.planned",
        "create.draft",
        "create.filled",
        "create.version-file",
        "create.committed-no-pointer",
        "create.committed-record-stays",
        state::AT_REST,
    ];
    count.finish("create", begun, &wanted);
}

#[test]
fn zfs_crash_power_cut_at_every_step_of_an_update() {
    let begun = Instant::now();
    let (rig, ops) = rig_with_template(1);
    let mut cuts = cut_through_update(&rig, &ops, 2);
    // The old version is in use when it is superseded for good.
    ops.note(&begins("stays"), || rig.host.zchroot(["begin", TEMPLATE, "-n", "stays"]).ok().status == 0);
    work::update(&rig.host, &ops, 3);
    cuts.extend(cut_through_update(&rig, &ops, 4));
    rig.put_away();
    let mut count = Count::default();
    count.look(&rig, &ops, &cuts);
    let wanted = [
        "record.temp-file",
        "source.planned",
        "source.draft",
        "source.ready",
        "commit.unmounted",
        "commit.version-file",
        "commit.done-pointer-old",
        "commit.done-record-stays",
        "settle.not-promoted",
        "settle.old-head",
        state::AT_REST,
    ];
    count.finish("update", begun, &wanted);
}

/// Back to a version with the number after that of the one it leaves, as numbers have to rise.
#[test]
fn zfs_crash_power_cut_at_every_step_of_a_rollback() {
    let begun = Instant::now();
    let (rig, ops) = (Rig::new(), Ops::default());
    work::define(&rig.host, 1);
    let from = work::source(&rig.host, 2);
    rig.host.zchroot(["-q", "create", TEMPLATE, "--from", &from, "-m", "generation 2"]).ok();
    work::update(&rig.host, &ops, 1);
    let words = ["-q", "rollback", TEMPLATE, "-m", "generation 2"];
    let cuts = cut_through(&rig, &ops, &[What::Commit(2)], &words);
    rig.put_away();
    let mut count = Count::default();
    count.look(&rig, &ops, &cuts);
    let wanted = ["source.planned", "source.draft", "commit.done-pointer-old", "commit.done-record-stays"];
    count.finish("rollback", begun, &wanted);
}

#[test]
fn zfs_crash_power_cut_at_every_step_of_an_update_with_a_test() {
    let begun = Instant::now();
    let (rig, ops) = rig_with_template(1);
    let words = work::update_words(2);
    let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
    words.splice(3..3, ["--test", "echo spoiled > /etc/stamp-0"]);
    let cuts = cut_through(&rig, &ops, &[What::Commit(2)], &words);
    rig.put_away();
    let mut count = Count::default();
    count.look(&rig, &ops, &cuts);
    // Its test is run in a session of its own.
    let wanted = ["source.ready", "run.clone", "commit.unmounted", "commit.done-pointer-old"];
    count.finish("update-test", begun, &wanted);
}

#[test]
fn zfs_crash_power_cut_at_every_step_of_a_source_session() {
    let begun = Instant::now();
    let (rig, ops) = rig_with_template(1);
    let begin = |name| ["-q", "source", "begin", TEMPLATE, "-n", name];
    let mut cuts = cut_through(&rig, &ops, &begins("source-a"), &begin("source-a"));
    let stamp = ["source", "exec", "source-a", "--", "sh", "-c", work::STAMP, "stamp", "2"];
    rig.host.zchroot(stamp).ok();
    let both = [What::Commit(2), What::End("source-a".to_owned())];
    let commit = ["-q", "source", "commit", "source-a", "-m", "generation 2"];
    cuts.extend(cut_through(&rig, &ops, &both, &commit));
    ops.note(&begins("source-b"), || rig.host.zchroot(begin("source-b")).ok().status == 0);
    cuts.extend(cut_through(&rig, &ops, &ends("source-b"), &["-q", "source", "abort", "source-b"]));
    rig.put_away();
    let mut count = Count::default();
    count.look(&rig, &ops, &cuts);
    let wanted = ["source.planned", "source.draft", "source.ready", "abort.ending", "abort.draft-gone"];
    count.finish("source-session", begun, &wanted);
}

#[test]
fn zfs_crash_power_cut_at_every_step_of_begin_and_end() {
    let begun = Instant::now();
    let (rig, ops) = rig_with_template(1);
    let mut cuts = cut_through(&rig, &ops, &begins("work"), &["-q", "begin", TEMPLATE, "-n", "work"]);
    cuts.extend(cut_through(&rig, &ops, &ends("work"), &["-q", "end", "work"]));
    cuts.extend(cut_through(&rig, &ops, &[], &["-q", "run", TEMPLATE, "-d", "/", "--", "true"]));
    rig.put_away();
    let mut count = Count::default();
    count.look(&rig, &ops, &cuts);
    let wanted = ["begin.planned", "begin.clone", "begin.ready", "end.ending", "end.clone-gone"];
    count.finish("begin-end", begun, &wanted);
}

/// Imported, imported again after a removal of which a part may be left, and removed.
#[test]
fn zfs_crash_power_cut_at_every_step_of_an_image() {
    let begun = Instant::now();
    let (rig, ops) = rig_with_template(1);
    let (archive, digest) = work::archive(&rig.host);
    let (comes, goes) = ([What::Import(digest.clone())], [What::Remove(digest.clone())]);
    let import = ["-q", "image", "import", &archive];
    let remove = ["-q", "image", "remove", &digest];
    let mut cuts = cut_through(&rig, &ops, &comes, &import);
    cuts.extend(cut_through(&rig, &ops, &goes, &remove));
    cuts.extend(cut_through(&rig, &ops, &comes, &import));
    cuts.extend(cut_through(&rig, &ops, &[], &["-q", "run", "--image", &digest, "-d", "/", "--", "true"]));
    rig.put_away();
    let mut count = Count::default();
    count.look(&rig, &ops, &cuts);
    let wanted = ["image.draft", "image.record", "image.complete", "image.record-alone", "run.clone"];
    count.finish("image", begun, &wanted);
}

/// Two commits that nobody settled, a clone and a draft that no record names, a temp file, and an old version that a
/// session still uses: `gc` has something to do at each of its steps.
#[test]
fn zfs_crash_power_cut_at_every_step_of_a_collection() {
    let begun = Instant::now();
    let (rig, ops) = rig_with_template(1);
    rig.host.configure(&rig::config(&rig.inner, "0s"));
    ops.note(&begins("stays"), || rig.host.zchroot(["begin", TEMPLATE, "-n", "stays"]).ok().status == 0);
    for generation in 2..=4 {
        update_and_die_before_settling(&rig, &ops, generation);
    }
    orphan(&rig, &["begin", TEMPLATE, "-n", "lost"], "lost");
    orphan(&rig, &["source", "begin", TEMPLATE, "-n", "source-lost"], "source-lost");
    rig.host.write("/var/lib/zchroot/sessions/.tmp-lost", "half a rec");
    let garbage = rig::look(&rig.inner, &rig.host).garbage(1);
    let mut cuts = vec![rig.cut("gc: before it")];
    cuts.extend(cut_through(&rig, &ops, &[], &["-q", "gc"]));
    // One that was lost a moment ago is not taken: the version that it is a clone of goes after it.
    orphan(&rig, &["begin", TEMPLATE, "--at", "1", "-n", "lost-late"], "lost-late");
    rig.host.configure(&rig::config(&rig.inner, "15m"));
    ops.note(&ends("stays"), || rig.host.zchroot(["end", "stays"]).ok().status == 0);
    cuts.extend(cut_through(&rig, &ops, &[], &["-q", "gc"]));
    for cut in &mut cuts {
        cut.garbage = Some(garbage);
    }
    rig.put_away();
    let mut count = Count::default();
    count.look(&rig, &ops, &cuts);
    let wanted = [
        "settle.not-promoted",
        "settle.old-head",
        "settle.old-version-leaves",
        "gc.orphan-clone",
        "gc.orphan-draft",
        "gc.half-done",
        "record.temp-file",
    ];
    count.finish("gc", begun, &wanted);
}

/// Commits, and is killed when the pointer is new: recover then takes the record and settles nothing.
fn update_and_die_before_settling(rig: &Rig, ops: &Ops, generation: usize) {
    let words = work::update_words(generation);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    ops.note(&[What::Commit(generation)], || {
        let killed = !step::through(&rig.host, Steps::Paths, &words, |call| {
            if call.starts_with("rename") && call.ends_with("/current") { Go::Kill } else { Go::On }
        });
        assert!(killed, "it was to be killed at the pointer");
        // What is current now is what recover makes durable and reports.
        rig.host.zchroot(["recover"]).ok().status == 0
    });
}

/// Begins a session and takes its record away: its tree is nobody's.
fn orphan(rig: &Rig, words: &[&str], name: &str) {
    let host = &rig.host;
    host.zchroot(words.iter().copied()).ok();
    for point in harness::left::mounts(&host.at(&format!("/run/zchroot/mount/{name}"))).iter().rev() {
        nix::mount::umount(point).unwrap();
    }
    std::fs::remove_file(host.at(&format!("/var/lib/zchroot/sessions/{name}.toml"))).unwrap();
}

/// At random moments of what these clients do at once.
fn at_random_beside(clients: &[busy::Client], wanted: &[&str]) {
    let begun = Instant::now();
    let (rig, ops) = rig_with_template(1);
    let cuts = busy::cuts(&rig, &ops, clients);
    rig.put_away();
    let mut count = Count::default();
    count.look(&rig, &ops, &cuts);
    count.finish("random", begun, wanted);
}

#[test]
fn zfs_crash_power_cut_at_random_moments_of_runs_beside_commits() {
    use busy::Client::{Committer, Reader};
    at_random_beside(&[Reader, Reader, Reader, Reader, Committer], &["source.ready", "run.clone"]);
}

#[test]
fn zfs_crash_power_cut_at_random_moments_of_sessions_beside_commits() {
    use busy::Client::{Collector, Committer, Keeper};
    let wanted = ["source.ready", "begin.clone", "begin.ready"];
    at_random_beside(&[Keeper, Keeper, Keeper, Committer, Collector], &wanted);
}

#[test]
fn zfs_crash_power_cut_at_random_moments_of_everything() {
    use busy::Client::{Collector, Committer, Keeper, Reader};
    let wanted = ["source.ready", "begin.ready", "run.clone"];
    let clients = [Reader, Reader, Reader, Reader, Keeper, Keeper, Committer, Collector];
    at_random_beside(&clients, &wanted);
}

//! Power cuts on the dir store: the state of an installation lies in a file system on a loop device, and a copy of the
//! device's file is what a power cut leaves. The file system is mounted in a new installation, which replays its
//! journal; the shipped program recovers it and collects its garbage, and everything that was reported before the cut
//! has to be there, nothing half done, nothing left over.
//!
//! What is in the page cache alone is lost: contents that nobody has flushed, renames that no journal has. The
//! program is stopped after each system call that changes the disk, once with nobody beside it, once with somebody
//! who flushes a file of his own before each cut, and so writes the names and sizes of others, and not their contents.
//!
//! **Not seen**: a disk with a cache of its own that reorders what the file system has written between two of its
//! flushes, or tears a write; a file system's own faults; cuts inside a flush.
#![cfg(target_arch = "x86_64")]
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    unreachable_pub,
    dead_code,
    reason = "tests work on the host as it is, with modules that others use other parts of"
)]

#[path = "../harness/mod.rs"]
mod harness;
#[path = "../power_cut/ops.rs"]
mod ops;
#[path = "../power_cut/state.rs"]
mod state;
#[path = "../power_cut/step.rs"]
mod step;
#[path = "../power_cut/work.rs"]
mod work;

mod check;
mod rig;
mod seen;

use std::time::Instant;

use check::{Count, ROLLED_BACK};
use ops::{Ops, What};
use rig::{Beside, Choice, Cut, FileSystem, Rig};
use step::{Go, Steps};
use work::TEMPLATE;

/// States that are there when something is reported, or nothing is going on.
const WANTED: [&str; 3] = ["source.ready", "begin.ready", state::AT_REST];

/// Each call that makes a name in a tree is a step if somebody flushes: more copies than there is room for at once.
const LONG_ROUNDS: usize = 16;

/// The work that is cut, all of it on one file system.
struct Work {
    rig: Rig,
    ops: Ops,
    cuts: Vec<Cut>,
}

impl Work {
    fn cut(&mut self, place: &str, untouched: bool, reported: bool) {
        self.cuts.extend(self.rig.cut(place, untouched, reported));
    }

    /// Calls the program and cuts the power at every step of it, and once when it is done. Its source session is
    /// untouched while `untouched` says so.
    fn through(&mut self, whats: &[What], words: &[&str], untouched: impl Fn(&Rig) -> bool) {
        let said = words.iter().take(3).copied().collect::<Vec<_>>().join(" ");
        let (rig, cuts) = (&self.rig, &mut self.cuts);
        self.ops.note(whats, || {
            step::through(&rig.host, rig.beside.steps(), words, |call| {
                cuts.extend(rig.cut(&format!("{said}: {call}"), untouched(rig), false));
                Go::On
            })
        });
        self.cut(&format!("{said}: done"), untouched(&self.rig), true);
    }

    fn create(&mut self) {
        let from = work::source(&self.rig.host, 1);
        let words = ["-q", "create", TEMPLATE, "--from", &from, "-m", "generation 1"];
        self.through(&[What::Commit(1)], &words, |_| true);
    }

    fn update(&mut self, generation: usize) {
        let words = work::update_words(generation);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        self.through(&[What::Commit(generation)], &words, |rig| !is_written(rig, generation));
    }

    fn source_session(&mut self) {
        let begin = |name| ["-q", "source", "begin", TEMPLATE, "-n", name];
        self.through(&begins("source-a"), &begin("source-a"), |_| true);
        let stamp = ["source", "exec", "source-a", "--", "sh", "-c", work::STAMP, "stamp", "2"];
        self.rig.host.zchroot(stamp).ok();
        let both = [What::Commit(2), What::End("source-a".to_owned())];
        let commit = ["-q", "source", "commit", "source-a", "-m", "generation 2"];
        self.through(&both, &commit, |_| false);
        self.through(&begins("source-b"), &begin("source-b"), |_| true);
        self.through(&ends("source-b"), &["-q", "source", "abort", "source-b"], |_| true);
    }

    fn sessions(&mut self) {
        self.through(&begins("work"), &["-q", "begin", TEMPLATE, "-n", "work"], |_| true);
        self.through(&ends("work"), &["-q", "end", "work"], |_| true);
        self.through(&[], &["-q", "run", TEMPLATE, "-d", "/", "--", "true"], |_| true);
    }

    fn rollback(&mut self) {
        let message = format!("generation {ROLLED_BACK}");
        let words = ["-q", "rollback", TEMPLATE, "-m", &message];
        self.through(&[What::Commit(ROLLED_BACK)], &words, |_| true);
    }

    /// A commit whose process is killed when the pointer is new and its folder not yet flushed: `recover` finishes it,
    /// `gc` settles it.
    fn recover_and_collect(&mut self, generation: usize) {
        let words = work::update_words(generation);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let host = &self.rig.host;
        self.ops.note(&[What::Commit(generation)], || {
            let killed = !step::through(host, Steps::Paths, &words, |call| {
                if call.starts_with("rename") && call.ends_with("/current") { Go::Kill } else { Go::On }
            });
            assert!(killed, "it was to be killed at the pointer");
            false
        });
        self.cut("update: killed at the pointer", false, true);
        // What is current now is what recover makes durable and reports.
        self.through(&[What::Commit(generation)], &["recover"], |_| false);
        self.through(&[], &["-q", "gc"], |_| true);
    }

    /// All of it, in an order in which settle and gc have something to do.
    fn all(&mut self) {
        work::define(&self.rig.host, 1);
        self.create();
        self.source_session();
        self.sessions();
        // The old version is in use when it is superseded for good.
        self.through(&begins("stays"), &["-q", "begin", TEMPLATE, "-n", "stays"], |_| true);
        self.update(3);
        self.rollback();
        self.recover_and_collect(5);
        self.through(&ends("stays"), &["-q", "end", "stays"], |_| true);
        self.through(&[], &["-q", "gc"], |_| true);
    }
}

fn begins(name: &str) -> [What; 1] {
    [What::Begin(name.to_owned())]
}

fn ends(name: &str) -> [What; 1] {
    [What::End(name.to_owned())]
}

/// Whether the command of an update has begun to write to the draft.
fn is_written(rig: &Rig, generation: usize) -> bool {
    let drafts = std::fs::read_dir(rig.host.at("/var/lib/zchroot/store/drafts").join(TEMPLATE));
    drafts
        .into_iter()
        .flatten()
        .flatten()
        .any(|draft| draft.path().join(format!("srv/moving-{generation}")).exists())
}

/// Cuts the power through all the work, once in each round.
fn cut_through(kind: FileSystem, beside: Beside, rounds: &[Choice]) {
    for choice in rounds {
        let begun = Instant::now();
        let rig = Rig::new(kind, beside, *choice);
        let mut work = Work { rig, ops: Ops::default(), cuts: Vec::new() };
        work.all();
        let (what, disks) = (format!("{kind:?} {beside:?} {choice:?}"), work.rig.disks());
        println!("{what}: {disks} disks after {:.1} s", begun.elapsed().as_secs_f64());
        work.rig.put_away();
        let mut count = Count::default();
        count.look(&work.rig, &work.ops, &work.cuts);
        let wanted: &[&str] = if choice.reports == 1 { &WANTED } else { &["begin.ready"] };
        count.finish(&what, begun, wanted);
    }
}

/// With nobody beside us and with somebody, or with one of the two, by chance, if it may not take long.
fn cut_through_either(kind: FileSystem) {
    let rounds = Choice::rounds(32, 3, 1);
    if Choice::is_long() || rounds[0].round.is_multiple_of(2) {
        cut_through(kind, Beside::Nobody, &rounds);
    }
    let rounds = Choice::rounds(600, 3, LONG_ROUNDS);
    if Choice::is_long() || !rounds[0].round.is_multiple_of(2) {
        cut_through(kind, Beside::AnotherWhoFlushes, &rounds);
    }
}

#[test]
fn dir_crash_power_cut_on_ext4_leaves_what_was_reported() {
    cut_through(FileSystem::Ext4, Beside::Nobody, &Choice::rounds(32, 1, 1));
}

#[test]
fn dir_crash_power_cut_on_ext4_beside_another_who_flushes_leaves_what_was_reported() {
    cut_through(FileSystem::Ext4, Beside::AnotherWhoFlushes, &Choice::rounds(300, 2, LONG_ROUNDS));
}

#[test]
fn dir_crash_power_cut_on_xfs_leaves_what_was_reported() {
    cut_through_either(FileSystem::Xfs);
}

#[test]
fn dir_crash_power_cut_on_btrfs_leaves_what_was_reported() {
    cut_through_either(FileSystem::Btrfs);
}

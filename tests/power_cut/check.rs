//! What must be true of a copy: first what the cut left, then what `recover` and `gc` make of it.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::busy;
use crate::harness::Installation;
use crate::ops::{Fate, Ops};
use crate::rig::{Copy, Cut, Rig};
use crate::state;
use crate::work;

/// One of so many is judged.
const SHARE: u64 = 4;

/// What the copies of one test showed.
#[derive(Debug, Default)]
pub struct Count {
    pub cuts: usize,
    /// Of these, how many were recovered, looked at and worked with.
    pub judged: usize,
    pub states: BTreeMap<&'static str, usize>,
    pub violations: Vec<String>,
}

impl Count {
    /// Looks at all copies, and judges a part of them, or all with ZCHROOT_TEST_LONG: which, the seed says.
    /// A violation does not stop the others from being looked at.
    pub fn look(&mut self, rig: &Rig, ops: &Ops, cuts: &[Cut]) {
        let (share, first) = if busy::is_long() { (1, 0) } else { (SHARE, busy::seed() % SHARE) };
        for (number, cut) in (first..).zip(cuts) {
            let copy = rig.copy(cut);
            copy.mount_state();
            let seen = copy.look();
            self.cuts += 1;
            for state in seen.states() {
                *self.states.entry(state).or_default() += 1;
            }
            let garbage = seen.garbage(work::keep(&copy.host));
            if cut.garbage.is_some_and(|all| garbage > 0 && garbage < all) {
                *self.states.entry("gc.half-done").or_default() += 1;
            }
            if number % share != 0 {
                continue;
            }
            self.judged += 1;
            let verdict = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| judge(&copy, cut, ops)));
            if verdict.is_err() {
                let what = format!("{} at {}: it showed {:?}", cut.name, cut.place, seen.states());
                println!("violation: {what}\n{}", seen.whole());
                self.violations.push(what);
            }
        }
    }

    /// Prints the counts; fails on a violation, and if a state that has to be hit was not.
    pub fn finish(self, what: &str, begun: Instant, wanted: &[&str]) {
        let states: Vec<String> = self.states.iter().map(|(name, count)| format!("{name}={count}")).collect();
        // The first line of a test stands behind its name, and counts stand at the beginning of one.
        println!("{what}: {:.1} s", begun.elapsed().as_secs_f64());
        println!(
            "crash-count: cuts={} judged={} violations={}",
            self.cuts,
            self.judged,
            self.violations.len()
        );
        println!("crash-count: states {}", states.join(" "));
        assert!(self.violations.is_empty(), "{:#?}", self.violations);
        for state in wanted {
            assert!(state::ALL.contains(state), "{state} is not in the list of states");
            assert!(self.states.contains_key(state), "no cut hit the state {state}");
        }
    }
}

/// Repairs the copy with the shipped program and panics if anything is not as promised.
fn judge(copy: &Copy, cut: &Cut, ops: &Ops) {
    let host = &copy.host;
    host.zchroot(["recover"]).ok();
    let once = copy.look();
    let again = host.zchroot(["recover"]).ok();
    let stands = again.text().lines().all(|line| line.ends_with(": stands"));
    assert!(stands, "recover finds more to recover: {again}");
    let twice = copy.look();
    assert_eq!(once.whole(), twice.whole(), "recover twice is not recover once");
    assert_eq!(once.pointers_are_right(), Ok(()));
    one_whole_generation(host, cut, ops);
    sessions_are_as_promised(host, &twice.sessions(), &ops.fates(cut));
    host.zchroot(["gc"]).ok();
    images_are_as_promised(host, &ops.images(cut));
    let after = copy.look();
    assert_eq!(after.is_clean(work::keep(host)), Ok(()));
    assert_eq!(after.pointers_are_right(), Ok(()));
    assert!(host.left_over().is_empty(), "left over: {:#?}", host.left_over());
    work::goes_on(host);
}

/// The template shows one generation in all its files, the one that its history names, and one that can be.
fn one_whole_generation(host: &Installation, cut: &Cut, ops: &Ops) {
    let can_be = ops.generations(cut);
    let Some(said) = work::current(host) else {
        assert_eq!(*can_be.start(), 0, "no version, where {can_be:?} can be");
        return;
    };
    let shown = work::look_in(host);
    assert_eq!(said, shown, "the history says one generation, the tree another");
    assert!(can_be.contains(&shown), "generation {shown}, where {can_be:?} can be");
}

/// Every session that was reported begun stands and shows one generation; none that was reported ended does.
/// Then all are ended.
fn sessions_are_as_promised(
    host: &Installation,
    standing: &[(String, bool)],
    fates: &BTreeMap<String, Fate>,
) {
    for (name, fate) in fates {
        let is_there = standing.iter().any(|(it, _)| it == name);
        let is_right = *fate == Fate::Either || (*fate == Fate::Stands) == is_there;
        assert!(is_right, "session {name} is to be {fate:?}, and is {is_there}");
    }
    for (name, is_source) in standing {
        if *is_source {
            host.zchroot(["source", "exec", name, "--", "true"]).ok();
            host.zchroot(["-q", "source", "abort", name]).ok();
        } else {
            work::one_generation(&host.zchroot(["exec", name, "-d", "/", "--", "sh", "-c", work::LOOK]).ok());
            host.zchroot(["end", name]).ok();
        }
    }
}

/// Every image that was reported imported is there, whole; none that was reported removed is.
fn images_are_as_promised(host: &Installation, fates: &BTreeMap<String, Fate>) {
    let list = host.zchroot(["image", "list", "--json"]).ok().json();
    let there: Vec<String> = list["images"]
        .as_array()
        .unwrap()
        .iter()
        .map(|image| image["digest"].as_str().unwrap().to_owned())
        .collect();
    for (digest, fate) in fates {
        let is_there = there.contains(digest);
        let is_right = *fate == Fate::Either || (*fate == Fate::Stands) == is_there;
        assert!(is_right, "image {digest} is to be {fate:?}, and is {is_there}");
    }
    for digest in &there {
        let words = ["-q", "run", "--image", digest, "-d", "/", "--", "sh", "-c", work::LOOK];
        assert_eq!(work::one_generation(&host.zchroot(words).ok()), work::IMAGE);
    }
}

//! What must be true of a copy: first what the cut left, then what `recover` and `gc` make of it.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Instant;

use crate::harness::Installation;
use crate::ops::{Fate, Ops};
use crate::rig::{Copy, Cut, Rig};
use crate::state;
use crate::work;

/// The rollback of the work makes this generation, with the tree of the second.
pub const ROLLED_BACK: usize = 4;

/// What the copies of one test showed.
#[derive(Debug, Default)]
pub struct Count {
    cuts: usize,
    disks: usize,
    states: BTreeMap<&'static str, usize>,
    violations: Vec<String>,
}

/// What was promised at all of the cuts that left one and the same disk: it has to keep all of it.
#[derive(Debug)]
struct Promise {
    generations: RangeInclusive<usize>,
    fates: BTreeMap<String, Fate>,
    /// Source sessions show one whole generation: nobody has written to them yet.
    untouched: bool,
}

impl Promise {
    /// `None` if one disk cannot keep it: then something was reported and nothing flushed.
    fn of(cuts: &[&Cut], ops: &Ops) -> Option<Self> {
        let mut all = Self { generations: 0..=usize::MAX, fates: BTreeMap::new(), untouched: false };
        for cut in cuts {
            let one = ops.generations(cut);
            let (least, most) =
                (all.generations.start().max(one.start()), all.generations.end().min(one.end()));
            all.generations = *least..=*most;
            all.untouched |= cut.untouched;
            for (name, fate) in ops.fates(cut) {
                let known = all.fates.entry(name).or_insert(fate);
                match (*known, fate) {
                    (Fate::Either, fate) => *known = fate,
                    (_, Fate::Either) => {}
                    (one, other) if one == other => {}
                    _ => return None,
                }
            }
        }
        (!all.generations.is_empty()).then_some(all)
    }
}

impl Count {
    /// Looks at all copies; a violation does not stop the others from being looked at.
    pub fn look(&mut self, rig: &Rig, ops: &Ops, cuts: &[Cut]) {
        self.cuts += cuts.len();
        for (copy, cuts) in rig.copies(cuts) {
            let seen = copy.look();
            self.disks += 1;
            for state in seen.states() {
                *self.states.entry(state).or_default() += 1;
            }
            let verdict = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                let promise =
                    Promise::of(&cuts, ops).expect("what was promised of one disk contradicts itself");
                judge(&copy, &promise);
            }));
            if verdict.is_err() {
                let places: Vec<&str> = cuts.iter().map(|cut| cut.place.as_str()).collect();
                println!("violation: {places:#?} showed {:?}\n{}", seen.states(), seen.whole());
                self.violations.push(places.last().copied().unwrap_or_default().to_owned());
            }
        }
    }

    /// Prints the counts; fails on a violation, and if a state that has to be hit was not.
    pub fn finish(self, what: &str, begun: Instant, wanted: &[&str]) {
        let states: Vec<String> = self.states.iter().map(|(name, count)| format!("{name}={count}")).collect();
        println!("crash-count: cuts={} disks={} violations={}", self.cuts, self.disks, self.violations.len());
        println!("crash-count: states {}", states.join(" "));
        println!("{what}: {:.1} s", begun.elapsed().as_secs_f64());
        assert!(self.violations.is_empty(), "{:#?}", self.violations);
        for state in wanted {
            assert!(state::ALL.contains(state), "{state} is not in the list of states");
            assert!(self.states.contains_key(state), "no cut hit the state {state}");
        }
    }
}

/// Repairs the copy with the shipped program and panics if anything is not as promised.
fn judge(copy: &Copy, promise: &Promise) {
    let host = &copy.host;
    host.zchroot(["recover"]).ok();
    let once = copy.look();
    let again = host.zchroot(["recover"]).ok();
    let stands = again.text().lines().all(|line| line.ends_with(": stands"));
    assert!(stands, "recover finds more to recover: {again}");
    let twice = copy.look();
    assert_eq!(once.whole(), twice.whole(), "recover twice is not recover once");
    one_whole_generation(host, &promise.generations);
    sessions_are_as_promised(host, &twice.sessions(), promise);
    host.zchroot(["gc"]).ok();
    let after = copy.look();
    assert_eq!(after.is_clean(work::keep(host)), Ok(()));
    assert!(host.left_over().is_empty(), "left over: {:#?}", host.left_over());
    work::goes_on(host);
}

/// The template shows one generation in all its files, the one that its history names, and one that can be.
fn one_whole_generation(host: &Installation, can_be: &RangeInclusive<usize>) {
    let Some(said) = work::current(host) else {
        assert_eq!(*can_be.start(), 0, "no version, where {can_be:?} can be");
        return;
    };
    assert!(can_be.contains(&said), "generation {said}, where {can_be:?} can be");
    let shown = work::look_in(host);
    let is_its_tree = if said == ROLLED_BACK { shown == 2 } else { shown == said };
    assert!(is_its_tree, "the history says generation {said}, the tree {shown}");
}

/// Every session that was reported begun stands and shows one generation; none that was reported ended does.
/// Then all are ended.
fn sessions_are_as_promised(host: &Installation, standing: &[(String, bool)], promise: &Promise) {
    for (name, fate) in &promise.fates {
        let is_there = standing.iter().any(|(it, _)| it == name);
        let is_right = *fate == Fate::Either || (*fate == Fate::Stands) == is_there;
        assert!(is_right, "session {name} is to be {fate:?}, and is {is_there}");
    }
    let look = ["sh", "-c", work::LOOK];
    for (name, is_source) in standing {
        if *is_source {
            let done = host.zchroot(["source", "exec", name, "--"].into_iter().chain(look)).ok();
            if promise.untouched {
                work::one_generation(&done);
            }
            host.zchroot(["-q", "source", "abort", name]).ok();
        } else {
            work::one_generation(&host.zchroot(["exec", name, "-d", "/", "--"].into_iter().chain(look)).ok());
            host.zchroot(["end", name]).ok();
        }
    }
}

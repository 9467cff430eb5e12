//! What is struck: a part of all points, by a seed, or all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, Hasher};

use crate::calls;
use crate::tracer::{Blow, Point, Seen};

/// How many blows of each kind an operation gets: all killed, one killed, its parent killed, a call failed.
const KINDS: [usize; 4] = [4, 2, 2, 3];
/// And with ZCHROOT_TEST_LONG=1: no point at which all are killed is left out.
const LONG_KINDS: [usize; 4] = [usize::MAX, 40, 40, 40];
/// A call that an operation makes more often than this copies a tree: it must not crowd the others out.
const MANY: usize = 24;

/// Numbers that are random enough, and the same for the same seed (splitmix64).
pub(crate) struct Random(u64);

impl Random {
    /// By ZCHROOT_TEST_SEED, or else by chance; and by what is tested, so that operations differ.
    pub(crate) fn new(what: &str) -> Self {
        let given =
            std::env::var("ZCHROOT_TEST_SEED").ok().map(|seed| seed.parse().expect("a number as seed"));
        let by_chance = || std::collections::hash_map::RandomState::new().build_hasher().finish() >> 32;
        let seed: u64 = given.unwrap_or_else(by_chance);
        println!("{what}: ZCHROOT_TEST_SEED={seed}");
        Self(what.bytes().fold(seed, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte))))
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % end as u64).unwrap()
    }
}

fn is_long() -> bool {
    std::env::var_os("ZCHROOT_TEST_LONG").is_some()
}

/// What an operation is struck by.
pub(crate) fn blows(seen: &[Seen], random: &mut Random) -> Vec<(Point, Blow)> {
    let alone = |seen: &&Seen| seen.alive > 1;
    let fails = |seen: &&Seen| !calls::errors(seen.point.call).is_empty();
    let kinds = [
        (seen.iter().collect(), Blow::KillAll),
        // With no other process about, to kill one is to kill all.
        (seen.iter().filter(alone).collect::<Vec<_>>(), Blow::KillOne),
        (seen.iter().filter(|seen| seen.point.process > 0).collect(), Blow::KillParent),
        (seen.iter().filter(fails).collect(), Blow::Fail(0)),
    ];
    let mut blows = Vec::new();
    for ((points, blow), count) in kinds.into_iter().zip(if is_long() { LONG_KINDS } else { KINDS }) {
        let chosen = if count >= points.len() { points } else { sample(&points, count, random) };
        for seen in chosen {
            let errors = calls::errors(seen.point.call);
            let blow = match blow {
                Blow::Fail(_) => Blow::Fail(errors[random.below(errors.len())]),
                other => other,
            };
            blows.push((seen.point.clone(), blow));
        }
    }
    blows
}

/// Half of them from everywhere, half without the crowd; spread evenly.
fn sample<'a>(points: &[&'a Seen], count: usize, random: &mut Random) -> Vec<&'a Seen> {
    let mut calls: BTreeMap<&str, usize> = BTreeMap::new();
    points.iter().for_each(|seen| *calls.entry(seen.point.call).or_default() += 1);
    let few: Vec<&Seen> = points.iter().filter(|seen| calls[seen.point.call] <= MANY).copied().collect();
    let mut chosen = BTreeMap::new();
    for (from, count) in [(points, count / 2), (&few[..], count - count / 2)] {
        for part in 0..count.min(from.len()) {
            let (start, end) = (part * from.len() / count, (part + 1) * from.len() / count);
            let at = start + random.below((end - start).max(1));
            if let Some(seen) = from.get(at) {
                chosen.insert(&seen.point, *seen);
            }
        }
    }
    chosen.into_values().collect()
}

/// Points that two runs of the same operation both come by; the rest depends on what else goes on.
pub(crate) fn common(first: Vec<Seen>, second: &[Seen]) -> Vec<Seen> {
    let second: BTreeSet<&Point> = second.iter().map(|seen| &seen.point).collect();
    first.into_iter().filter(|seen| second.contains(&seen.point)).collect()
}

#[test]
fn a_sample_depends_on_the_seed_alone_and_spares_no_call_for_the_crowd() {
    let point = |call, nth| Seen { point: Point { process: 0, call, nth }, alive: 1 };
    let mut all: Vec<Seen> = (1..500).map(|nth| point("write", nth)).collect();
    all.extend((1..4).map(|nth| point("mount", nth)));
    let refs: Vec<&Seen> = all.iter().collect();
    let chosen = |seed| -> Vec<Point> {
        sample(&refs, 7, &mut Random(seed)).into_iter().map(|seen| seen.point.clone()).collect()
    };
    assert_eq!(chosen(1), chosen(1));
    assert_ne!(chosen(1), chosen(2));
    assert!(chosen(1).iter().any(|point| point.call == "mount"), "{:?}", chosen(1));
}

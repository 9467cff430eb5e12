//! What was asked of the program and what it reported, with times: what a copy of a moment has to show.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Mutex;
use std::time::Instant;

use crate::rig::Cut;

/// What a call does to what is promised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// Makes this generation current.
    Commit(usize),
    /// Begins a named or source session.
    Begin(String),
    /// Ends one, by end, abort or commit.
    End(String),
    /// Makes an image.
    Import(String),
    /// Takes one away.
    Remove(String),
}

#[derive(Debug)]
struct Op {
    whats: Vec<What>,
    begun: Instant,
    /// None: it was killed, or failed.
    done: Option<Instant>,
}

/// All calls so far, of all clients.
#[derive(Debug, Default)]
pub struct Ops(Mutex<Vec<Op>>);

/// What is to be seen of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Stands,
    Gone,
    Either,
}

impl Ops {
    /// Notes a call: `call` says whether it reported success.
    pub fn note(&self, whats: &[What], call: impl FnOnce() -> bool) {
        let at = {
            let mut all = self.0.lock().unwrap();
            all.push(Op { whats: whats.to_vec(), begun: Instant::now(), done: None });
            all.len() - 1
        };
        let done = call().then(Instant::now);
        self.0.lock().unwrap()[at].done = done;
    }

    /// The generations that can be current after a cut: every reported commit, none that was not begun.
    pub fn generations(&self, cut: &Cut) -> RangeInclusive<usize> {
        let all = self.0.lock().unwrap();
        let commits = |wanted: &dyn Fn(&Op) -> bool| {
            let chosen = all.iter().filter(|op| wanted(op)).flat_map(|op| &op.whats);
            let generations =
                chosen.filter_map(|what| if let What::Commit(it) = what { Some(*it) } else { None });
            generations.max().unwrap_or(0)
        };
        let least = commits(&|op| op.done.is_some_and(|done| done < cut.begun));
        least..=commits(&|op| op.begun < cut.done)
    }

    /// What is promised of each session that was ever begun.
    pub fn fates(&self, cut: &Cut) -> BTreeMap<String, Fate> {
        self.of(cut, |what| match what {
            What::Begin(name) => Some((name, true)),
            What::End(name) => Some((name, false)),
            _ => None,
        })
    }

    /// What is promised of each image that was ever imported.
    pub fn images(&self, cut: &Cut) -> BTreeMap<String, Fate> {
        self.of(cut, |what| match what {
            What::Import(digest) => Some((digest, true)),
            What::Remove(digest) => Some((digest, false)),
            _ => None,
        })
    }

    /// Of what comes, where `which` says true, and goes.
    fn of(&self, cut: &Cut, which: impl Fn(&What) -> Option<(&String, bool)>) -> BTreeMap<String, Fate> {
        let all = self.0.lock().unwrap();
        let mut fates = BTreeMap::new();
        for op in all.iter() {
            let done = op.done.is_some_and(|done| done < cut.begun);
            let begun = op.begun < cut.done;
            for (name, comes) in op.whats.iter().filter_map(&which) {
                let fate = match (comes, done, begun) {
                    // What earlier calls made of it is so until it comes again.
                    (true, false, false) if fates.contains_key(name) => continue,
                    (true, true, _) => Fate::Stands,
                    (true, false, false) | (false, true, _) => Fate::Gone,
                    (_, false, true) => Fate::Either,
                    // It was not to go yet.
                    (false, false, false) => continue,
                };
                fates.insert(name.clone(), fate);
            }
        }
        fates
    }
}

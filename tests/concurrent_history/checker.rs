//! Whether a history can be that of templates whose versions appear all at once, one after the other.
//!
//! A template is one register that holds a generation: a commit writes the next one, a begin reads. Writes are
//! totally ordered by what they write, so that nothing has to be searched: O(n log n).

use std::collections::{BTreeMap, BTreeSet};

use super::history::{Event, FIRST, History, Look, Op, Outcome, Reason, Stamp};
use super::stamp::FILES;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rule {
    /// A session's tree is one version, whole.
    Atomic,
    /// It stays that.
    Stable,
    /// Who begins after a commit, or after somebody saw it, sees it.
    RealTime,
    /// Nobody sees what nobody has begun to commit.
    NoFuture,
    /// A client never goes back.
    Monotonic,
    /// What was reported as committed is in the history, once, on top of what it was made from; what was
    /// refused is not.
    NoLostUpdate,
    /// A session's own files are seen in no other.
    Isolation,
    /// Everything ends in time, and fails only for reasons that a client has to expect.
    Progress,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) rule: Rule,
    pub(crate) what: String,
}

/// A session, from whichever operations are about it.
struct Session<'a> {
    begin: &'a Event,
    looks: Vec<&'a Look>,
}

/// A commit, from all attempts at it.
struct Commit<'a> {
    session: &'a str,
    invoke: u64,
    complete: u64,
    result: Outcome,
}

/// Every rule that the history breaks; `patience` is how long an operation may take, in nanoseconds.
pub(crate) fn check(history: &History, patience: u64) -> Vec<Violation> {
    let mut found = Vec::new();
    let sessions = sessions(history);
    let commits = commits(history);
    let mut reads: BTreeMap<&str, Vec<(&Session<'_>, u64)>> = BTreeMap::new();
    for session in sessions.values() {
        look_at(session, history, &mut found);
        if let Some(stamp) = session.looks.first().and_then(|look| look.files.keys().next()) {
            reads.entry(&session.begin.template).or_default().push((session, stamp.generation));
        }
    }
    for (template, versions) in &history.finals {
        let reads = reads.remove(template.as_str()).unwrap_or_default();
        in_the_history(template, versions, &commits, &sessions, &mut found);
        in_time(template, versions, &commits, &reads, &mut found);
    }
    progress(history, patience, &mut found);
    found
}

fn violation(rule: Rule, what: String) -> Violation {
    Violation { rule, what }
}

fn sessions(history: &History) -> BTreeMap<&str, Session<'_>> {
    let mut sessions: BTreeMap<&str, Session<'_>> = BTreeMap::new();
    for event in &history.events {
        if matches!(event.op, Op::Run | Op::Begin | Op::Update | Op::SourceBegin) {
            sessions.insert(&event.session, Session { begin: event, looks: event.looks.iter().collect() });
        } else if let Some(session) = sessions.get_mut(event.session.as_str()) {
            session.looks.extend(&event.looks);
        }
    }
    sessions
}

fn commits(history: &History) -> BTreeMap<(&str, &str), Commit<'_>> {
    let mut commits: BTreeMap<(&str, &str), Commit<'_>> = BTreeMap::new();
    for event in &history.events {
        let Some(token) = &event.token else { continue };
        let one = Commit {
            session: &event.session,
            invoke: event.invoke_ns,
            complete: event.complete_ns,
            result: event.result,
        };
        let key = (event.template.as_str(), token.as_str());
        let merged = match commits.remove(&key) {
            // Tried again. One that may have taken place may have taken place, whatever later ones say.
            Some(before) => Commit {
                invoke: before.invoke.min(one.invoke),
                result: match (before.result, one.result) {
                    (Outcome::Ok, _) | (_, Outcome::Ok) => Outcome::Ok,
                    (Outcome::Info, _) | (_, Outcome::Info) => Outcome::Info,
                    _ => one.result,
                },
                ..one
            },
            None => one,
        };
        commits.insert(key, merged);
    }
    commits
}

/// Atomic, stable, isolated: what one session's looks say by themselves.
fn look_at(session: &Session<'_>, history: &History, found: &mut Vec<Violation>) {
    let (name, template) = (&session.begin.session, &session.begin.template);
    let is_source = matches!(session.begin.op, Op::Update | Op::SourceBegin);
    let marks = if is_source { Vec::new() } else { vec![name.clone()] };
    for look in &session.looks {
        let stamp = look.files.keys().next();
        let whole = look.files.len() == 1 && look.files.values().sum::<usize>() == FILES;
        let linked = stamp.is_some_and(|stamp| look.link == format!("moving-{}", stamp.generation));
        let known =
            stamp.is_some_and(|stamp| history.finals.get(template).is_some_and(|v| v.contains(stamp)));
        if !(whole && linked && known) {
            let why = if whole && linked { "which is no version" } else { "which is no one state" };
            found.push(violation(Rule::Atomic, format!("{name} of {template} saw {look:?}, {why}")));
        }
        if look.marks != marks {
            let what = format!("{name} of {template} found the marks {:?}, not {marks:?}", look.marks);
            found.push(violation(Rule::Isolation, what));
        }
    }
    if session.looks.windows(2).any(|pair| pair[0].files != pair[1].files) {
        found.push(violation(Rule::Stable, format!("{name} of {template} saw {:?}", session.looks)));
    }
}

/// No update is lost, none appears twice or though it was refused, and each stands on what it was made from.
fn in_the_history(
    template: &str,
    versions: &[Stamp],
    commits: &BTreeMap<(&str, &str), Commit<'_>>,
    sessions: &BTreeMap<&str, Session<'_>>,
    found: &mut Vec<Violation>,
) {
    let mut wrong = |what: String| found.push(violation(Rule::NoLostUpdate, format!("{template}: {what}")));
    let mut generations: BTreeMap<&str, u64> = BTreeMap::new();
    for (stamp, at) in versions.iter().zip(1..) {
        if stamp.generation != at {
            wrong(format!("its history has {stamp} where generation {at} should be"));
        }
        if generations.insert(&stamp.token, stamp.generation).is_some() {
            wrong(format!("its history has {} twice", stamp.token));
        }
        if stamp.token != FIRST && !commits.contains_key(&(template, stamp.token.as_str())) {
            wrong(format!("its history has {stamp}, which nobody committed"));
        }
    }
    for ((_, token), commit) in commits.iter().filter(|((of, _), _)| *of == template) {
        match (generations.get(token), commit.result) {
            (None, Outcome::Ok) => wrong(format!("{token} was committed and is not in the history")),
            (Some(at), Outcome::Fail(why)) => wrong(format!("{token} was refused ({why:?}) and is {at}")),
            (Some(at), _) => {
                let base = sessions.get(commit.session).and_then(|session| session.looks.first());
                let base = base.and_then(|look| look.files.keys().next()).map(|stamp| stamp.generation);
                if base.is_some_and(|base| base + 1 != *at) {
                    wrong(format!("{token} was made from {base:?} and is generation {at}"));
                }
            }
            (None, _) => {}
        }
    }
}

/// Real time, no future, monotonic.
fn in_time(
    template: &str,
    versions: &[Stamp],
    commits: &BTreeMap<(&str, &str), Commit<'_>>,
    reads: &[(&Session<'_>, u64)],
    found: &mut Vec<Violation>,
) {
    let by_stamp: Vec<(u64, &Commit<'_>)> = versions
        .iter()
        .filter_map(|stamp| Some((stamp.generation, commits.get(&(template, stamp.token.as_str()))?)))
        .collect();
    let committed = by_stamp.iter().filter(|(_, commit)| commit.result == Outcome::Ok);
    let committed = committed.map(|(generation, commit)| (commit.complete, *generation));
    let seen = reads.iter().map(|(session, generation)| (session.begin.complete_ns, *generation));
    let mut known: Vec<(u64, u64)> = committed.chain(seen).collect();
    known.sort_unstable();
    let mut newest = 0;
    for (_, generation) in &mut known {
        newest = newest.max(*generation);
        *generation = newest;
    }
    let begun: BTreeMap<u64, u64> =
        by_stamp.iter().map(|(generation, commit)| (*generation, commit.invoke)).collect();
    let mut in_order: Vec<_> = reads.iter().collect();
    in_order.sort_by_key(|(session, _)| (session.begin.client, session.begin.invoke_ns));
    let mut last = (usize::MAX, 0);
    for (session, generation) in in_order {
        let begin = session.begin;
        let who = format!("{} of {template} saw {generation}", begin.session);
        let before = known.partition_point(|(complete, _)| *complete < begin.invoke_ns);
        let least = before.checked_sub(1).map_or(0, |at| known[at].1);
        if *generation < least {
            found.push(violation(Rule::RealTime, format!("{who} when {least} was known to be there")));
        }
        if begun.get(generation).is_some_and(|invoke| begin.complete_ns < *invoke) {
            found.push(violation(Rule::NoFuture, format!("{who} before anybody began to commit it")));
        }
        if last.0 == begin.client && *generation < last.1 {
            let what = format!("{who}, but client {} had seen {}", begin.client, last.1);
            found.push(violation(Rule::Monotonic, what));
        }
        last = (begin.client, *generation);
    }
}

fn progress(history: &History, patience: u64, found: &mut Vec<Violation>) {
    let pauses = Pauses::new(&history.pauses);
    let mut shaken = BTreeSet::from([""]);
    for event in &history.events {
        let took = event.complete_ns - event.invoke_ns;
        let paused = pauses.until(event.complete_ns) - pauses.until(event.invoke_ns);
        let who = format!("{:?} {} of {}", event.op, event.session, event.template);
        if took - paused > patience {
            let ms = (took - paused) / 1_000_000;
            found.push(violation(Rule::Progress, format!("{who} took {ms} ms")));
        }
        // A session may be gone only if an operation on it was killed, after which recover decides.
        let excused = shaken.contains(event.session.as_str());
        match event.result {
            Outcome::Info => {
                shaken.insert(&event.session);
            }
            Outcome::Fail(reason @ (Reason::Other | Reason::Gone)) if reason == Reason::Other || !excused => {
                found.push(violation(Rule::Progress, format!("{who} failed: {}", event.said)));
            }
            _ => {}
        }
    }
}

/// For how long anybody was stopped, up to some time.
struct Pauses(Vec<(u64, u64, u64)>);

impl Pauses {
    fn new(pauses: &[(u64, u64)]) -> Self {
        let mut sorted = pauses.to_vec();
        sorted.sort_unstable();
        let mut apart: Vec<(u64, u64, u64)> = Vec::new();
        for (from, to) in sorted {
            match apart.last_mut() {
                Some(last) if from <= last.1 => last.1 = last.1.max(to),
                last => {
                    let sum = last.map_or(0, |(from, to, sum)| *sum + (*to - *from));
                    apart.push((from, to, sum));
                }
            }
        }
        Self(apart)
    }

    fn until(&self, time: u64) -> u64 {
        let after = self.0.partition_point(|(from, _, _)| *from <= time);
        let last = after.checked_sub(1).map(|at| self.0[at]);
        last.map_or(0, |(from, to, sum)| sum + time.min(to) - from)
    }
}

//! The checker accepts what can be and rejects what cannot: a history by hand for each rule, and made-up ones.

use proptest::prelude::*;

use super::checker::{Rule, check};
use super::history::{Event, FIRST, History, Look, Op, Outcome, Reason, Stamp};
use super::stamp::FILES;

const PATIENCE: u64 = 1000;
const OURS: &str = "ash";

fn look(generation: u64, token: &str, marks: &[&str]) -> Look {
    Look {
        files: [(Stamp::new(generation, token), FILES)].into(),
        link: format!("moving-{generation}"),
        marks: marks.iter().map(|mark| (*mark).to_owned()).collect(),
    }
}

fn event(client: usize, op: Op, session: &str, time: (u64, u64), looks: Vec<Look>) -> Event {
    let token = matches!(op, Op::Update | Op::SourceCommit).then(|| session.to_owned());
    Event {
        client,
        op,
        template: OURS.to_owned(),
        session: session.to_owned(),
        token,
        invoke_ns: time.0,
        complete_ns: time.1,
        result: Outcome::Ok,
        said: String::new(),
        looks,
        retries: 0,
        again: 0,
    }
}

fn run(client: usize, name: &str, time: (u64, u64), saw: u64, token: &str) -> Event {
    event(client, Op::Run, name, time, vec![look(saw, token, &[name]); 2])
}

fn update(name: &str, time: (u64, u64), base: u64, token: &str) -> Event {
    event(0, Op::Update, name, time, vec![look(base, token, &[])])
}

/// Two commits, readers before, beside and after them, a named session over all of it, a source session that
/// conflicts, an update that was killed and took place, and one that was killed and did not.
fn good() -> History {
    let failed = |mut event: Event, result: Outcome| {
        event.result = result;
        event
    };
    let conflict = Outcome::Fail(Reason::Conflict);
    let events = vec![
        run(1, "r1", (0, 5), 1, FIRST),
        event(2, Op::Begin, "n", (0, 4), Vec::new()),
        event(3, Op::SourceBegin, "s", (6, 8), Vec::new()),
        event(3, Op::SourceExec, "s", (8, 9), vec![look(1, FIRST, &[])]),
        update("u1", (10, 20), 1, FIRST),
        run(1, "r2", (12, 18), 1, FIRST),
        run(4, "r3", (12, 19), 2, "u1"),
        event(2, Op::Exec, "n", (21, 22), vec![look(1, FIRST, &["n"])]),
        failed(event(3, Op::SourceCommit, "s", (25, 26), Vec::new()), conflict),
        run(1, "r4", (30, 35), 2, "u1"),
        failed(update("u2", (40, 50), 2, "u1"), Outcome::Info),
        failed(update("u3", (51, 55), 3, "u2"), Outcome::Info),
        run(1, "r5", (56, 60), 3, "u2"),
        event(2, Op::Exec, "n", (70, 71), vec![look(1, FIRST, &["n"])]),
        event(2, Op::End, "n", (72, 75), Vec::new()),
    ];
    let versions = vec![Stamp::new(1, FIRST), Stamp::new(2, "u1"), Stamp::new(3, "u2")];
    History { events, pauses: Vec::new(), finals: [(OURS.to_owned(), versions)].into() }
}

/// The good history with something wrong in it.
fn broken(session: &str, op: Op, spoil: impl FnOnce(&mut Event)) -> History {
    let mut history = good();
    spoil(history.events.iter_mut().find(|event| event.session == session && event.op == op).unwrap());
    history
}

#[track_caller]
fn rejects(history: &History, rule: Rule) {
    let found = check(history, PATIENCE);
    assert!(found.iter().any(|one| one.rule == rule), "{rule:?} is not among {found:?}");
}

#[test]
fn history_that_can_be_is_accepted() {
    assert_eq!(check(&good(), PATIENCE), []);
}

#[test]
fn history_with_a_mixed_tree_is_rejected() {
    let mixed = |event: &mut Event| {
        event.looks[0].files = [(Stamp::new(1, FIRST), 1), (Stamp::new(2, "u1"), FILES - 1)].into();
    };
    rejects(&broken("r3", Op::Run, mixed), Rule::Atomic);
    let short = |event: &mut Event| event.looks[0].files = [(Stamp::new(2, "u1"), FILES - 1)].into();
    rejects(&broken("r3", Op::Run, short), Rule::Atomic);
    rejects(&broken("r3", Op::Run, |event| event.looks[1].link = "moving-1".to_owned()), Rule::Atomic);
    let two_makers = |event: &mut Event| event.looks = vec![look(2, "s", &["r3"])];
    rejects(&broken("r3", Op::Run, two_makers), Rule::Atomic);
}

#[test]
fn history_of_a_session_that_changes_is_rejected() {
    rejects(&broken("r3", Op::Run, |event| event.looks[1] = look(1, FIRST, &["r3"])), Rule::Stable);
    // Also from one exec to the next.
    rejects(&broken("n", Op::Exec, |event| event.looks[0] = look(2, "u1", &["n"])), Rule::Stable);
}

#[test]
fn history_of_a_reader_behind_a_commit_or_behind_another_reader_is_rejected() {
    let old = |event: &mut Event| event.looks = vec![look(1, FIRST, &["r4"])];
    rejects(&broken("r4", Op::Run, old), Rule::RealTime);
    // Its commit was killed, but r5 has seen it.
    let mut history = good();
    history.events.push(run(6, "r6", (80, 81), 2, "u1"));
    rejects(&history, Rule::RealTime);
}

#[test]
fn history_of_a_reader_ahead_of_a_commit_is_rejected() {
    let new = |event: &mut Event| event.looks = vec![look(2, "u1", &["r1"])];
    rejects(&broken("r1", Op::Run, new), Rule::NoFuture);
}

#[test]
fn history_of_a_client_that_goes_back_is_rejected() {
    // Both beside the commit, so that each alone could be.
    let mut history = good();
    history.events.push(run(4, "r6", (13, 19), 1, FIRST));
    rejects(&history, Rule::Monotonic);
}

#[test]
fn history_with_a_lost_a_doubled_or_an_unwanted_update_is_rejected() {
    let with = |versions: &[(u64, &str)]| {
        let mut history = good();
        let versions = versions.iter().map(|(generation, token)| Stamp::new(*generation, token)).collect();
        history.finals.insert(OURS.to_owned(), versions);
        history
    };
    for versions in [
        &[(1, FIRST), (2, "u2")][..],
        &[(1, FIRST), (2, "u1"), (2, "u2")],
        &[(1, FIRST), (2, "u1"), (4, "u2")],
        &[(1, FIRST), (2, "u1"), (3, "u2"), (4, "u1")],
        &[(1, FIRST), (2, "u1"), (3, "u2"), (4, "s")],
        &[(1, FIRST), (2, "u1"), (3, "u2"), (4, "nobody")],
    ] {
        rejects(&with(versions), Rule::NoLostUpdate);
    }
    // Two from one base, both reported as done.
    rejects(&broken("u2", Op::Update, |event| event.looks = vec![look(1, FIRST, &[])]), Rule::NoLostUpdate);
}

#[test]
fn history_with_a_mark_where_it_does_not_belong_is_rejected() {
    rejects(&broken("r4", Op::Run, |event| event.looks[0].marks.push("r3".to_owned())), Rule::Isolation);
    rejects(&broken("r4", Op::Run, |event| event.looks[1].marks.clear()), Rule::Isolation);
    rejects(&broken("u2", Op::Update, |event| event.looks[0].marks.push("r3".to_owned())), Rule::Isolation);
}

#[test]
fn history_of_what_takes_too_long_is_rejected_unless_somebody_was_stopped() {
    let mut slow = broken("r5", Op::Run, |event| event.complete_ns += PATIENCE);
    rejects(&slow, Rule::Progress);
    slow.pauses = vec![(10, 40), (58, 59), (500, 600), (550, 650)];
    assert_eq!(check(&slow, PATIENCE), []);
}

#[test]
fn history_of_a_failure_without_a_reason_is_rejected() {
    let fail = |reason| move |event: &mut Event| event.result = Outcome::Fail(reason);
    rejects(&broken("r4", Op::Run, fail(Reason::Other)), Rule::Progress);
    rejects(&broken("n", Op::End, fail(Reason::Gone)), Rule::Progress);
    // After a kill recover may have ended it.
    let mut history = broken("n", Op::End, fail(Reason::Gone));
    history.events.iter_mut().find(|event| event.op == Op::Exec).unwrap().result = Outcome::Info;
    assert_eq!(check(&history, PATIENCE), []);
}

/// One step of a made-up run: who, whether a commit, how long before and after its effect, how it ended.
type Step = (usize, bool, u64, u64, u8);

/// A history that can be: effects one after the other, operations around them.
fn made_up(steps: &[Step]) -> History {
    let mut versions = vec![Stamp::new(1, FIRST)];
    let mut events: Vec<Event> = Vec::new();
    let mut busy_until = [0; 4];
    for (turn, (client, is_commit, before, after, end)) in steps.iter().enumerate() {
        let effect = 100 + 10 * turn as u64;
        if effect <= busy_until[*client] + 1 {
            continue;
        }
        let time = ((effect - before).max(busy_until[*client] + 1), effect + after);
        busy_until[*client] = time.1;
        let name = format!("t{turn}");
        let last = versions.last().unwrap().clone();
        let mut event = if *is_commit {
            event(*client, Op::Update, &name, time, vec![look(last.generation, &last.token, &[])])
        } else {
            run(*client, &name, time, last.generation, &last.token)
        };
        event.result = match end {
            0 => Outcome::Info,
            1 if *is_commit => Outcome::Fail(Reason::Conflict),
            _ => Outcome::Ok,
        };
        if *is_commit && (event.result == Outcome::Ok || (event.result == Outcome::Info && after % 2 == 0)) {
            versions.push(Stamp::new(last.generation + 1, &name));
        }
        events.push(event);
    }
    events.sort_by_key(|event| event.complete_ns);
    History { events, pauses: Vec::new(), finals: [(OURS.to_owned(), versions)].into() }
}

/// Makes the history one that cannot be, in the way that `rule` is about, where there is something to spoil.
fn spoil(history: &mut History, rule: Rule, at: prop::sample::Index) -> Option<()> {
    let versions = history.finals[OURS].clone();
    let last = versions.last()?.clone();
    let runs: Vec<usize> = (0..history.events.len()).filter(|at| history.events[*at].op == Op::Run).collect();
    let one = &mut history.events[*runs.get(at.index(runs.len().max(1)))?];
    let newest = versions.len().checked_sub(2)?;
    match rule {
        Rule::Atomic => *one.looks[0].files.values_mut().next()? -= 1,
        Rule::Stable => one.looks.push(look(last.generation + 1, "other", &[&one.session])),
        Rule::Isolation => one.looks[1].marks = vec!["other".to_owned()],
        Rule::Progress => one.complete_ns = one.invoke_ns + PATIENCE + 1,
        Rule::RealTime => {
            let old = &versions[newest];
            history.events.push(run(5, "last", (90_000, 90_001), last.generation, &last.token));
            history.events.push(run(6, "late", (90_002, 90_003), old.generation, &old.token));
        }
        Rule::Monotonic => {
            let old = &versions[newest];
            history.events.push(run(5, "last", (90_000, 90_009), last.generation, &last.token));
            history.events.push(run(5, "back", (90_001, 90_009), old.generation, &old.token));
        }
        Rule::NoFuture => history.events.push(run(5, "early", (0, 1), last.generation, &last.token)),
        Rule::NoLostUpdate => {
            let token = |event: &Event| event.result == Outcome::Ok && event.token.is_some();
            let lost = history.events.iter().find(|event| token(event))?.session.clone();
            let kept: Vec<Stamp> = versions.into_iter().filter(|stamp| stamp.token != lost).collect();
            history.finals.insert(OURS.to_owned(), kept);
        }
    }
    Some(())
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec((0..4_usize, any::<bool>(), 0..60_u64, 0..60_u64, 0..6_u8), 1..80)
}

const RULES: [Rule; 8] = [
    Rule::Atomic,
    Rule::Stable,
    Rule::RealTime,
    Rule::NoFuture,
    Rule::Monotonic,
    Rule::NoLostUpdate,
    Rule::Isolation,
    Rule::Progress,
];

proptest! {
    #[test]
    fn history_made_up_of_effects_one_after_the_other_is_accepted(steps in steps()) {
        prop_assert_eq!(check(&made_up(&steps), PATIENCE), vec![]);
    }

    #[test]
    fn history_made_up_and_spoilt_is_rejected(
        steps in steps(),
        rule in prop::sample::select(&RULES[..]),
        at in any::<prop::sample::Index>(),
    ) {
        let mut history = made_up(&steps);
        prop_assume!(spoil(&mut history, rule, at).is_some());
        let found = check(&history, PATIENCE);
        prop_assert!(found.iter().any(|one| one.rule == rule), "{:?} is not among {:?}", rule, found);
    }
}

use proptest::prelude::*;

use super::*;
use crate::session::record::Owner;

const NOW: i64 = 1_000_000;
const DAY: u64 = 86_400;

fn id(number: u64) -> VersionId {
    format!("v{number:02}").parse().unwrap()
}

fn owner(name: &str) -> Owner {
    Owner { uid: 0, name: name.to_owned() }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

/// Generations 1 to `count`, one a day, the newest made now and current.
fn facts(count: u64) -> Facts {
    let version = |generation: u64| {
        let mut version = Version::new(id(generation), None, owner("root"), None, 0);
        version.generation = generation;
        version.created = at(NOW - (count - generation).cast_signed() * DAY.cast_signed());
        version
    };
    Facts {
        complete: (1..=count).map(id).collect(),
        current: Some(id(count)),
        versions: (1..=count).map(version).collect(),
        ..Facts::default()
    }
}

fn of(facts: &Facts, keep: Keep) -> BTreeMap<VersionId, Fate> {
    fates(facts, keep, at(NOW))
}

fn stay(fates: &BTreeMap<VersionId, Fate>) -> Vec<&str> {
    fates.iter().filter(|(_, fate)| matches!(fate, Fate::Keep(_))).map(|(id, _)| id.as_str()).collect()
}

fn said(fate: &Fate) -> String {
    match fate {
        Fate::Keep(reasons) => reasons.iter().map(Reason::to_string).collect::<Vec<_>>().join(", "),
        Fate::Drop => "drop".to_owned(),
        Fate::Gone => "gone".to_owned(),
    }
}

#[test]
fn each_reason_keeps_and_is_said() {
    let mut facts = facts(9);
    let session = |name: &str| name.parse::<SessionId>().unwrap();
    facts.pins.insert(id(1), Pin::new(id(1), owner("alice"), None));
    facts.pins.insert(id(2), Pin::new(id(2), owner("bob"), Some("release 4".to_owned())));
    facts.sessions.insert(id(3), vec![session("a")]);
    facts.sessions.insert(id(6), vec![session("b"), session("c")]);
    facts.sessions.insert(id(5), Vec::new());
    facts.complete.insert(id(77));
    let keep = Keep { versions: 1, younger: Some(Period::from_secs(3 * DAY)) };
    let fates = of(&facts, keep);
    let rows = [
        (9, "current, within keep-for = 3d"),
        (8, "within keep = 1, within keep-for = 3d"),
        (7, "within keep-for = 3d"),
        (6, "2 sessions"),
        (5, "drop"),
        (4, "drop"),
        (3, "1 session"),
        (2, "pinned by bob (release 4)"),
        (1, "pinned by alice"),
        (77, "its file is missing"),
    ];
    for (number, text) in rows {
        assert_eq!(said(&fates[&id(number)]), text, "{number}");
    }
    assert_eq!(fates.len(), rows.len());
}

#[test]
fn a_number_alone_keeps_so_many_before_the_current_one() {
    assert_eq!(stay(&of(&facts(9), 0.into())), ["v09"]);
    assert_eq!(stay(&of(&facts(9), 2.into())), ["v07", "v08", "v09"]);
    assert_eq!(stay(&of(&facts(9), Keep::ALL)).len(), 9);
}

#[test]
fn what_is_exactly_as_old_as_the_period_goes() {
    let keep = |seconds| Keep { versions: 0, younger: Some(Period::from_secs(seconds)) };
    assert_eq!(stay(&of(&facts(5), keep(2 * DAY))), ["v04", "v05"]);
    assert_eq!(stay(&of(&facts(5), keep(2 * DAY + 1))), ["v03", "v04", "v05"]);
    assert_eq!(stay(&of(&facts(5), keep(0))), ["v05"]);
    assert_eq!(stay(&of(&facts(5), keep(u64::MAX))).len(), 5);
}

#[test]
fn versions_whose_trees_are_gone_do_not_count() {
    let mut facts = facts(9);
    facts.complete.remove(&id(8));
    facts.complete.remove(&id(7));
    assert_eq!(stay(&of(&facts, 2.into())), ["v05", "v06", "v09"]);
}

#[test]
fn a_version_of_the_future_stays() {
    let mut facts = facts(3);
    facts.versions[0].created = at(NOW + 10);
    let keep = Keep { versions: 0, younger: Some(Period::from_secs(1)) };
    assert_eq!(stay(&of(&facts, keep)), ["v01", "v03"]);
}

#[test]
fn what_is_newer_than_the_current_version_is_not_judged() {
    assert!(of(&Facts::default(), 5.into()).is_empty());
    let mut facts = facts(5);
    facts.current = Some(id(3));
    facts.complete.remove(&id(5));
    facts.complete.remove(&id(1));
    let fates = of(&facts, 0.into());
    let said: Vec<String> = fates.values().map(said).collect();
    assert_eq!(said, ["gone", "drop", "current", "just committed", "just committed"]);
    facts.current = None;
    assert_eq!(stay(&of(&facts, 0.into())).len(), 5, "nothing is known to be current: nothing goes");
}

fn latest(facts: &Facts) -> u64 {
    facts.versions.iter().find(|it| Some(&it.id) == facts.current.as_ref()).map_or(0, |it| it.generation)
}

prop_compose! {
    fn any_facts()(
        count in 1_u64..12,
        gone in prop::collection::btree_set(1_u64..12, 0..6),
        pinned in prop::collection::btree_set(1_u64..12, 0..4),
        used in prop::collection::btree_set(1_u64..12, 0..4),
        current in 1_u64..12,
    ) -> Facts {
        let mut facts = facts(count);
        let current = current.min(count);
        facts.complete.retain(|version| *version == id(current) || !gone.iter().any(|it| id(*it) == *version));
        facts.current = Some(id(current));
        facts.pins = pinned.iter().map(|it| (id(*it), Pin::new(id(*it), owner("a"), None))).collect();
        facts.sessions = used.iter().map(|it| (id(*it), vec!["s".parse().unwrap()])).collect();
        facts
    }
}

fn any_keep() -> impl Strategy<Value = Keep> {
    let younger = prop::option::of((0_u64..12).prop_map(|days| Period::from_secs(days * DAY)));
    (0_usize..8, younger).prop_map(|(versions, younger)| Keep { versions, younger })
}

proptest! {
    /// Exactly the complete versions can be dropped, and what must not go does not.
    #[test]
    fn what_must_stay_stays(facts in any_facts(), keep in any_keep()) {
        let fates = of(&facts, keep);
        prop_assert!(facts.complete.iter().all(|version| fates.contains_key(version)));
        prop_assert!(fates.iter().all(|(version, fate)| *fate != Fate::Drop || facts.complete.contains(version)));
        for (version, fate) in &fates {
            let must = facts.current.as_ref() == Some(version)
                || facts.pins.contains_key(version)
                || facts.sessions.contains_key(version);
            prop_assert!(!must || matches!(fate, Fate::Keep(_)));
            prop_assert!(*fate != Fate::Keep(Vec::new()));
        }
        let old_enough = |version: &&Version| keep.younger.is_none_or(|period| {
            at(NOW).duration_since(version.created) >= signed(period)
        });
        let dropped = facts.versions.iter().filter(|version| fates.get(&version.id) == Some(&Fate::Drop));
        prop_assert!(dropped.clone().all(|version| old_enough(&version)));
        let newer = |than: u64| facts.versions.iter().filter(|it| {
            it.generation > than && it.generation <= latest(&facts) && facts.complete.contains(&it.id)
        }).count();
        prop_assert!(dropped.clone().all(|version| newer(version.generation) > keep.versions));
    }

    /// To keep more, to pin, or to begin a session never makes a version go.
    #[test]
    fn keeping_is_monotonic(facts in any_facts(), keep in any_keep(), more in 0_usize..4, pin in 1_u64..12) {
        let before = of(&facts, keep);
        let mut wider = facts.clone();
        wider.pins.insert(id(pin), Pin::new(id(pin), owner("b"), None));
        wider.sessions.entry(id(pin)).or_default().push("t".parse().unwrap());
        let younger = keep.younger.map(|period| Period::from_secs(period.duration().as_secs() + 7));
        let after = of(&wider, Keep { versions: keep.versions + more, younger });
        for kept in stay(&before) {
            prop_assert!(stay(&after).contains(&kept));
        }
    }

    /// What a settle leaves, the next one leaves too: nothing goes twice, and nothing is dropped late.
    #[test]
    fn settling_twice_is_settling_once(facts in any_facts(), keep in any_keep()) {
        let once = of(&facts, keep);
        let mut settled = facts.clone();
        settled.complete.retain(|version| once[version] != Fate::Drop);
        let twice = of(&settled, keep);
        prop_assert!(twice.values().all(|fate| *fate != Fate::Drop));
    }
}

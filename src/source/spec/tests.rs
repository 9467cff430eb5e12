use super::*;
use crate::session::Owner;
use crate::source::{Entry, Version};

/// 2026-11-21 14:30 in a zone an hour east.
fn now() -> Zoned {
    "2026-11-21T14:30:00+01:00[+01:00]".parse().unwrap()
}

fn spec(text: &str) -> VersionSpec {
    VersionSpec::parse(text, &now()).unwrap_or_else(|error| panic!("{error}"))
}

/// Newest first: (generation, name, when, tree).
fn history() -> Vec<Entry> {
    use TreeState::{Current, Gone, Kept};
    let rows = [
        (5, "20261121-080000-000-eeee", "2026-11-21T08:00:00Z", Current),
        (4, "20261120-230500-000-dddd", "2026-11-20T23:05:00Z", Kept),
        (3, "20261120-120000-000-cccc", "2026-11-20T12:00:00Z", Kept),
        (2, "20261118-120000-000-bbbb", "2026-11-18T12:00:00Z", Gone),
        (1, "20261117-120000-000-aaaa", "2026-11-17T12:00:00Z", Kept),
    ];
    let entry = |(generation, id, when, tree): (u64, &str, &str, TreeState)| {
        let owner = Owner { uid: 0, name: "root".to_owned() };
        let mut version = Version::new(id.parse().unwrap(), None, owner, None, 0);
        version.generation = generation;
        version.created = when.parse().unwrap();
        Entry { version, tree, delta: None, sessions: Vec::new() }
    };
    rows.into_iter().map(entry).collect()
}

fn found(text: &str) -> Result<u64, Why> {
    spec(text).find(&history()).map(|entry| entry.version.generation)
}

#[test]
fn each_form_finds_its_version() {
    let rows = [
        ("current", 5),
        ("today", 5),
        ("previous", 4),
        ("3", 3),
        ("g3", 3),
        ("0000003", 3),
        ("20261117-120000-000-aaaa", 1),
        ("20261117", 1),
        ("20261120-12", 3),
        // A day ends at midnight where the caller is: 23:05 UTC is the next day already.
        ("yesterday", 3),
        ("2026-11-20", 3),
        ("2026-11-21", 5),
        ("2026-11-21 00:04", 3),
        ("2026-11-21 00:05", 4),
        ("2026-11-20T23:05:00Z", 4),
        ("2026-11-20T12:00:00Z", 3),
        ("2026-11-17T14:00", 1),
        ("1h", 5),
        ("12h", 4),
        ("1d", 3),
    ];
    for (text, generation) in rows {
        assert_eq!(found(text), Ok(generation), "{text}");
    }
}

#[test]
fn what_is_not_there_is_told_apart() {
    let first: Timestamp = "2026-11-17T12:00:00Z".parse().unwrap();
    let id = |text: &str| text.parse::<VersionId>().unwrap();
    let gone = Why::Gone(id("20261118-120000-000-bbbb"));
    let two = Why::Ambiguous(vec![id("20261120-230500-000-dddd"), id("20261120-120000-000-cccc")]);
    let rows = [
        ("9", Why::Absent),
        ("0", Why::Absent),
        ("sid", Why::Absent),
        ("2", gone.clone()),
        ("20261118", gone.clone()),
        ("20261118-120000-000-bbbb", gone.clone()),
        ("2026-11-19", gone),
        ("20261120", two),
        ("2026-11-17 12:00", Why::Earlier(first)),
        ("30d", Why::Earlier(first)),
    ];
    for (text, why) in rows {
        assert_eq!(found(text), Err(why), "{text}");
    }
}

#[test]
fn a_name_that_is_whole_wins_over_those_that_begin_with_it() {
    let mut history = history();
    history[0].version.id = "20261117".parse().unwrap();
    assert_eq!(spec("20261117").find(&history).unwrap().version.generation, 5);
}

#[test]
fn what_is_no_version_is_refused_with_all_forms() {
    for text in ["", "a b", "-1d", "2026-13-01", "2026-11-20 25:00", "../x", "7.5.", "2026-11-20 14:00 +1"] {
        let refused = VersionSpec::parse(text, &now());
        // What is a name may be one of a version: only the lookup can tell.
        if let Ok(spec) = &refused {
            assert!(check_name(text).is_ok() && spec.find(&history()).is_err(), "{text}");
            continue;
        }
        let text = refused.unwrap_err().to_string();
        assert!(text.contains("is no version: ") && text.contains("yesterday"), "{text}");
    }
    for text in ["2026-11-22", "2026-11-21 14:32", "2027-01-01T00:00:00Z"] {
        let refused = VersionSpec::parse(text, &now()).unwrap_err().to_string();
        assert!(refused.ends_with("that time is still to come"), "{refused}");
    }
}

#[test]
fn the_message_names_what_there_is() {
    let say = |text: &str| {
        let there = vec![5, 4, 3, 1];
        let why = found(text).unwrap_err();
        NoMatch { template: "sid".parse().unwrap(), spec: spec(text), why, there }.to_string()
    };
    assert_eq!(say("9"), "template sid has no generation 9; there is 5 (current), 4, 3, 1");
    assert_eq!(
        say("2"),
        "version 2 of template sid is gone: the tree of 20261118-120000-000-bbbb was reclaimed; there is 5 (current), 4, 3, 1"
    );
    assert_eq!(
        say("20261118-120000-000-bbbb"),
        "template sid has no version 20261118-120000-000-bbbb any more: its tree was reclaimed; there is 5 (current), 4, 3, 1"
    );
    assert_eq!(
        say("20261120"),
        "template sid has several versions 20261120: 20261120-230500-000-dddd, 20261120-120000-000-cccc"
    );
    assert!(say("30d").starts_with("template sid had no version yet at 30d: its first is of 2026-11-17"));
}

#[test]
fn an_empty_history_and_a_first_version_have_nothing_before() {
    for text in ["current", "previous", "1", "2026-11-20", "20261120"] {
        assert_eq!(spec(text).find(&[]), Err(Why::Absent), "{text}");
    }
    let one = &history()[..1];
    assert_eq!(spec("previous").find(one), Err(Why::Absent));
    assert_eq!(VersionSpec::of(&one[0].version.id).find(one).unwrap(), &one[0]);
}

#[test]
fn a_clock_that_went_back_does_not_hide_the_newer_generation() {
    let mut history = history();
    history[0].version.created = "2026-11-20T13:00:00Z".parse().unwrap();
    assert_eq!(spec("2026-11-20 15:00").find(&history).unwrap().version.generation, 5);
}

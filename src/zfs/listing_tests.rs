use super::*;

fn id(text: &str) -> VersionId {
    text.parse().unwrap()
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

/// v3 is current and has v2's snapshot; v1 leaves with its last session; v4 is a draft; v1's head still stands.
const TEMPLATE: &str = "container\ncurrent\tv3\n\
    head\tv1\t10\tp/zchroot/templates/sid/v3@v1\n\
    head\tv3\t30\t-\nsnapshot\tv3@v2\t21\toff\nsnapshot\tv3@v3\t31\toff\nsnapshot\tv3@v1\t11\ton\n\
    head\tv4\t40\tp/zchroot/templates/sid/v3@v3";

#[test]
fn versions_are_listed_wherever_they_live_and_leaving_ones_are_not() {
    let listing = Listing::decode(TEMPLATE).unwrap();
    assert_eq!(listing.current, Some(id("v3")));
    let head = |name, complete, created| Head { id: id(name), complete, created: at(created) };
    assert_eq!(listing.to_heads(), [head("v2", true, 21), head("v3", true, 31), head("v4", false, 40)]);
}

#[test]
fn a_version_is_found_at_the_head_that_has_its_snapshot() {
    let listing = Listing::decode(TEMPLATE).unwrap();
    assert_eq!(listing.place(&id("v2")).unwrap().head, id("v3"));
    assert_eq!(listing.place(&id("v1")), None, "it is leaving");
    assert_eq!(listing.place(&id("v4")), None, "it is a draft");
    assert!(listing.is_taken(&id("v1")));
    assert!(!listing.is_taken(&id("v4")));
}

#[test]
fn the_current_head_is_asked_first() {
    let text = "container\ncurrent\tv2\nsnapshot\tv1@x\t1\toff\nsnapshot\tv2@x\t2\toff";
    assert_eq!(Listing::decode(text).unwrap().place(&id("x")).unwrap().head, id("v2"));
}

#[test]
fn only_versions_neither_current_nor_kept_are_superseded() {
    let listing = Listing::decode(TEMPLATE).unwrap();
    assert_eq!(listing.superseded(&|_| true), ["v3@v2".to_owned()]);
    assert_eq!(listing.superseded(&|version| *version != id("v2")), [] as [String; 0]);
    assert_eq!(listing.versions(), BTreeSet::from(["v1", "v2", "v3"].map(id)));
    assert_eq!(listing.own(&id("v1")).count(), 0);
    assert_eq!(listing.own(&id("v3")).count(), 3);
}

#[test]
fn a_head_that_others_hang_on_goes_last_and_with_its_own_snapshot() {
    // v5 was rolled back to v2: v3 and v4 stayed under v4.
    let with = |rest: &str| {
        let text = format!(
            "container\ncurrent\tv5\nhead\tv5\t50\t-\nsnapshot\tv5@v2\t21\toff\nsnapshot\tv5@v5\t51\toff\n\
             head\tv4\t40\tp/zchroot/templates/sid/v5@v2\nsnapshot\tv4@v4\t41\toff{rest}"
        );
        Listing::decode(&text).unwrap()
    };
    let listing = with("\nsnapshot\tv4@v3\t31\toff");
    assert_eq!(listing.superseded(&|_| true), ["v5@v2", "v4@v3"]);
    assert_eq!(listing.retirable(&|_| true), [] as [VersionId; 0]);
    assert_eq!(with("").superseded(&|_| true), ["v5@v2"]);
    assert_eq!(with("").retirable(&|_| true), [id("v4")]);
    assert_eq!(with("").retirable(&|version| *version != id("v4")), [] as [VersionId; 0]);
    assert_eq!(with("\nsnapshot\tv4@an:admin\t42\toff").retirable(&|_| true), [] as [VersionId; 0]);
}

#[test]
fn a_template_that_is_not_there_has_nothing() {
    assert_eq!(Listing::decode("").unwrap(), Listing::default());
    assert_eq!(Listing::decode("container").unwrap().to_heads(), []);
}

#[test]
fn datasets_that_are_none_of_ours_are_left_out() {
    let text =
        "container\nhead\ta:b\t1\t-\nsnapshot\ta:b@x\t1\toff\nhead\tv1\t1\t-\nsnapshot\tv1@t:1\t1\toff";
    let listing = Listing::decode(text).unwrap();
    assert_eq!(listing.to_heads(), [Head { id: id("v1"), complete: false, created: at(1) }]);
    assert_eq!(listing.superseded(&|_| true), [] as [String; 0]);
    assert_eq!(listing.foreign_of(&id("v1")).unwrap().name, "t:1", "but it keeps its head");
}

#[test]
fn a_snapshot_that_nothing_is_known_of_is_no_version_whatever_it_is_called() {
    let text = "container\ncurrent\tv2\nhead\tv1\t1\t-\nhead\tv2\t2\t-\nsnapshot\tv2@v1\t1\toff
snapshot\tv2@v2\t2\toff\nsnapshot\tv1@daily\t3\toff\nsnapshot\tv2@weekly\t4\toff";
    let mut listing = Listing::decode(text).unwrap();
    listing.set_aside(|name| name == "v1");
    let head = |name, created| Head { id: id(name), complete: true, created: at(created) };
    assert_eq!(listing.to_heads(), [head("v1", 1), head("v2", 2)], "the current one is one in any case");
    assert_eq!(listing.superseded(&|_| true), [] as [String; 0], "v1 has its head yet");
    assert_eq!(listing.place(&id("daily")), None);
    assert_eq!(listing.own(&id("v1")).count(), 0);
    assert_eq!(listing.foreign_of(&id("v1")).unwrap().name, "daily");
    assert_eq!(listing.foreign_of(&id("v9")), None);
}

#[test]
fn lines_that_no_program_writes_are_refused() {
    let lines =
        ["junk", "head\tv1\t1", "head\tv1\tsoon\t-", "snapshot\tv1\t1\toff", "snapshot\tv1@v1\t1\tyes"];
    for line in lines.iter().chain(&["current\t../etc", "snapshot\tv1@v1\tx\ton", "container\textra"]) {
        assert_eq!(Listing::decode(line), Err(Malformed((*line).to_owned())));
    }
}

#[test]
fn children_come_with_their_times() {
    assert_eq!(children(""), Ok(None));
    assert_eq!(children("container"), Ok(Some(vec![])));
    assert_eq!(children("container\na\t5\nb\t6"), Ok(Some(vec![("a", at(5)), ("b", at(6))])));
    for text in ["a\t5", "container\na", "container\na\tx"] {
        assert!(children(text).is_err(), "{text:?}");
    }
}

#[test]
fn room_is_three_numbers() {
    assert_eq!(Room::decode(""), Ok(None));
    assert_eq!(Room::decode("1\t2\t3"), Ok(Some(Room { used: 1, referenced: 2, available: 3 })));
    for text in ["1\t2", "1\t2\t-3", "a\tb\tc"] {
        assert!(Room::decode(text).is_err(), "{text:?}");
    }
}

#[test]
fn a_dataset_tells_how_far_it_is_made() {
    assert_eq!(Laid::decode(""), Ok(None));
    assert_eq!(Laid::decode("children\t2"), Ok(Some(Laid { children: 2, own: None })));
    let disabled = Laid { children: 0, own: Some("disabled".into()) };
    assert_eq!(Laid::decode("children\t0\nown\tdisabled"), Ok(Some(disabled)));
    for text in ["children", "children\tx", "what\t1"] {
        assert!(Laid::decode(text).is_err(), "{text:?}");
    }
}

#[test]
fn the_verdict_on_a_commit_is_what_the_program_returned() {
    let table = [
        ("ok", Verdict::Committed),
        ("gone", Verdict::NoDraft),
        ("conflict ", Verdict::Conflict(None)),
        ("conflict v2", Verdict::Conflict(Some(id("v2")))),
        ("err check.snapshot 28", Verdict::Refused("check.snapshot".into(), 28)),
    ];
    for (text, verdict) in table {
        assert_eq!(Verdict::decode(text), Ok(verdict));
    }
    for text in ["", "OK", "conflict", "conflict a/b", "err x", "err x y"] {
        assert!(Verdict::decode(text).is_err(), "{text:?}");
    }
}

#[test]
fn a_current_version_that_is_no_name_is_refused() {
    assert_eq!(current(""), Ok(None));
    assert_eq!(current("v1"), Ok(Some(id("v1"))));
    assert!(current("../../etc").is_err());
}

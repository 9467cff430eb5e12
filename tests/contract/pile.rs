//! The rules of what many commits, rollbacks and trials leave.

use zchroot::store::{ErrorKind, Outcome, Published, Tree};

use super::{Bench, Lab, kind, session, version, write_stamp};

pub(crate) fn history_does_not_pile_up(lab: &dyn Lab) {
    let bench = Bench::new(lab);
    bench.commit("v00", None);
    let long = bench.clone_session("long", "v00").unwrap();
    for number in 1..12 {
        let (name, base) = (format!("v{number:02}"), format!("v{:02}", number - 1));
        bench.commit(&name, Some(&base));
        bench.settle(&[&base]);
        assert_eq!(bench.stamp(&long), "v00");
        let heads = bench.heads();
        assert!(heads.ends_with(&format!("{base} {name}")) && heads.split(' ').count() <= 3, "{heads}");
    }
    bench.store.session_drop(&session("long")).unwrap();
    bench.settle(&["v10"]);
    assert_eq!(bench.heads(), "v10 v11");
}

/// A rollback leaves a branch: what was committed after the version that was gone back to. It lives as long as
/// something of it is kept or in use, and nothing of it ever looks like a draft.
pub(crate) fn what_a_rollback_went_over_goes_when_nothing_keeps_it(lab: &dyn Lab) {
    let bench = Bench::new(lab);
    bench.commit("v1", None);
    for (name, base) in [("v2", "v1"), ("v3", "v2"), ("v4", "v3")] {
        bench.commit(name, Some(base));
    }
    bench.settle(&["v1", "v2", "v3", "v4"]);
    bench.roll_back("v5", "v1", "v4");
    bench.settle(&["v1", "v2", "v3", "v4"]);
    assert_eq!(bench.heads(), "v1 v2 v3 v4 v5");
    for name in ["v1", "v2", "v3", "v4"] {
        assert_eq!(bench.stamp(&bench.version(name)), name);
    }
    assert_eq!(bench.stamp(&bench.version("v5")), "v1");
    bench.clone_session("s", "v2").unwrap();
    // The newest of the branch may go first: its tree carries the others.
    bench.settle(&["v3"]);
    let complete = |name: &str| bench.heads().split(' ').any(|head| head == name);
    assert!(complete("v3") && !complete("v1") && !bench.heads().contains('+'), "{}", bench.heads());
    assert_eq!(bench.stamp(&bench.version("v3")), "v3");
    bench.settle(&[]);
    assert!(!complete("v3") && !bench.heads().contains('+'), "{}", bench.heads());
    assert_eq!(bench.stamp(&Tree::Session(session("s"))), "v2");
    bench.store.session_drop(&session("s")).unwrap();
    bench.settle(&[]);
    bench.settle(&[]);
    assert_eq!(bench.heads(), "v5");
    bench.commit("v6", Some("v5"));
    assert_eq!(lab.leftovers(), [] as [&str; 0]);
}

/// Back and forth, again and again.
pub(crate) fn rollbacks_do_not_pile_up(lab: &dyn Lab) {
    let bench = Bench::new(lab);
    bench.commit("v00", None);
    bench.commit("v01", Some("v00"));
    for number in 2..=12 {
        let name = |number: usize| format!("v{number:02}");
        bench.roll_back(&name(number), &name(number - 2), &name(number - 1));
        bench.settle(&[&name(number - 1), &name(number - 2)]);
        assert_eq!(bench.stamp(&bench.version(&name(number))), name(number % 2));
        assert!(!bench.heads().contains('+'), "{}", bench.heads());
    }
    assert!(bench.heads().ends_with("v10 v11 v12"), "{}", bench.heads());
    bench.settle(&[]);
    bench.settle(&[]);
    assert_eq!(bench.heads(), "v12");
}

/// A session on a draft sees the draft, writes to itself alone, and leaves nothing that keeps the draft from its end.
pub(crate) fn a_draft_is_tried_out_without_being_touched(lab: &dyn Lab) {
    let bench = Bench::new(lab);
    bench.commit("v1", None);
    bench.prepare("v2", Some("v1"));
    let clone = |name: &str, of: &str| {
        bench
            .store
            .session_clone_draft(&bench.sid, &version(of), &session(name))
            .map(|()| Tree::Session(session(name)))
    };
    assert_eq!(kind(clone("s", "v9")), ErrorKind::Gone);
    assert_eq!(kind(clone("s", "v1")), ErrorKind::Gone, "it is no draft");
    assert_eq!(bench.session_names(), [] as [&str; 0]);
    let tree = clone("s", "v2").unwrap();
    assert_eq!(kind(clone("s", "v2")), ErrorKind::Exists);
    assert_eq!(bench.stamp(&tree), "v2");
    let mounted = bench.mount(&tree).unwrap();
    write_stamp(&mounted.path, "spoiled");
    drop(mounted);
    assert_eq!(bench.heads(), "v1 v2+");
    bench.settle(&[]);
    bench.store.session_drop(&session("s")).unwrap();
    assert_eq!(bench.publish("v2", Some("v1")).unwrap(), Published::Committed);
    assert_eq!(bench.stamp(&bench.version("v2")), "v2");
    bench.settle(&[]);
    assert_eq!(bench.heads(), "v2");
    // One that is not committed goes, too.
    bench.prepare("v3", Some("v2"));
    clone("t", "v3").unwrap();
    bench.store.session_drop(&session("t")).unwrap();
    assert_eq!(bench.store.draft_drop(&bench.sid, &version("v3")).unwrap(), Outcome::Changed);
    assert_eq!(bench.heads(), "v2");
    assert_eq!(lab.leftovers(), [] as [&str; 0]);
}

//! A fault at every effect of every operation: the program stops there, or the effect fails.
//!
//! For each case, each kind of fault and each n: prepare a store, run the operation with the fault at its n-th
//! effect, look at what stands, repeat the operation without a fault, look again. A case is through when n is
//! beyond its last effect.

use std::collections::BTreeMap;

use zchroot::store::{Error, ErrorKind, Published, Silent, Tree};
use zchroot::sys::effect::{self, Mode, Plan};

use super::{Bench, Lab, all_but, chain, session, version};

/// One operation, and what is true before, after a fault, and after a repeat.
struct Case {
    name: &'static str,
    prepare: fn(&Bench<'_>),
    act: fn(&Bench<'_>) -> Result<(), Error>,
    /// A repeat may find that the first try had got through.
    repeat_may_exist: bool,
    /// After the fault. The flag: the operation returned an error, so nothing may have changed.
    between: fn(&Bench<'_>, failed: bool),
    finally: fn(&Bench<'_>),
}

const CASES: [Case; 8] = [
    Case {
        name: "publish the first version",
        prepare: |bench| bench.prepare("v1", None),
        act: |bench| publish(bench, "v1", None),
        repeat_may_exist: false,
        between: |bench, failed| match bench.current().as_deref() {
            None => assert_eq!(bench.heads(), "v1+"),
            Some("v1") if !failed => assert_eq!(bench.heads(), "v1"),
            other => panic!("current is {other:?}"),
        },
        finally: |bench| assert_eq!(bench.heads(), "v1"),
    },
    Case {
        name: "publish",
        prepare: |bench| {
            bench.commit("v1", None);
            bench.clone_session("s", "v1").unwrap();
            bench.prepare("v2", Some("v1"));
        },
        act: |bench| publish(bench, "v2", Some("v1")),
        repeat_may_exist: false,
        between: |bench, failed| {
            match bench.current().as_deref() {
                Some("v1") => assert_eq!(bench.heads(), "v1 v2+"),
                Some("v2") if !failed => assert_eq!(bench.heads(), "v1 v2"),
                other => panic!("current is {other:?}, failed: {failed}"),
            }
            let current = bench.current().unwrap();
            assert_eq!(bench.stamp(&bench.clone_session("t", &current).unwrap()), current);
        },
        finally: |bench| {
            assert_eq!(bench.current().as_deref(), Some("v2"));
            bench.settle(&[]);
            bench.store.session_drop(&session("s")).unwrap();
            bench.store.session_drop(&session("t")).unwrap();
            bench.settle(&[]);
            assert_eq!(bench.heads(), "v2");
        },
    },
    Case {
        name: "clone a session",
        prepare: |bench| {
            bench.commit("v1", None);
            bench.commit("v2", Some("v1"));
        },
        act: |bench| bench.clone_session("s", "v1").map(drop),
        repeat_may_exist: true,
        // A left-over without an owner must not keep others from working.
        between: |bench, _| assert_eq!(bench.stamp(&bench.clone_session("t", "v1").unwrap()), "v1"),
        finally: |bench| {
            assert_eq!(bench.stamp(&Tree::Session(session("s"))), "v1");
            assert_eq!(bench.session_names(), ["s", "t"]);
            bench.store.session_drop(&session("s")).unwrap();
            bench.store.session_drop(&session("t")).unwrap();
            bench.settle(&[]);
            assert_eq!(bench.heads(), "v2");
        },
    },
    Case {
        name: "make a draft",
        prepare: |bench| bench.commit("v1", None),
        act: |bench| bench.store.draft_new(&bench.sid, &version("v2")),
        repeat_may_exist: true,
        between: |bench, _| assert_eq!(bench.current().as_deref(), Some("v1")),
        finally: |bench| {
            assert_eq!(bench.heads(), "v1 v2+");
            let mounted = bench.mount(&bench.draft("v2")).unwrap();
            super::write_stamp(&mounted.path, "v2");
            drop(mounted);
            bench.describe("v2");
            assert_eq!(bench.publish("v2", Some("v1")).unwrap(), Published::Committed);
        },
    },
    Case {
        name: "copy a version to a draft",
        prepare: |bench| bench.commit("v1", None),
        act: |bench| bench.store.draft_clone(&bench.sid, &version("v2"), &version("v1"), &mut Silent),
        repeat_may_exist: true,
        between: |bench, _| assert_eq!(bench.stamp(&bench.version("v1")), "v1"),
        finally: |bench| {
            assert_eq!(bench.heads(), "v1 v2+");
            assert_eq!(bench.stamp(&bench.draft("v2")), "v1");
        },
    },
    Case {
        name: "settle",
        prepare: |bench| {
            bench.commit("v1", None);
            bench.clone_session("s", "v1").unwrap();
            bench.commit("v2", Some("v1"));
            bench.commit("v3", Some("v2"));
            bench.commit("v4", Some("v3"));
        },
        act: |bench| bench.store.settle(&bench.sid, &all_but(&["v3"])).map(drop),
        repeat_may_exist: false,
        between: |bench, _| {
            assert_eq!(bench.current().as_deref(), Some("v4"));
            assert_eq!(bench.stamp(&Tree::Session(session("s"))), "v1");
            for name in ["v3", "v4"] {
                assert_eq!(bench.stamp(&bench.version(name)), name);
            }
        },
        finally: |bench| {
            assert_eq!(bench.stamp(&Tree::Session(session("s"))), "v1");
            bench.store.session_drop(&session("s")).unwrap();
            bench.settle(&["v3"]);
            assert_eq!(bench.heads(), "v3 v4");
        },
    },
    Case {
        name: "drop a draft",
        prepare: |bench| {
            bench.commit("v1", None);
            bench.prepare("v2", Some("v1"));
        },
        act: |bench| bench.store.draft_drop(&bench.sid, &version("v2")).map(drop),
        repeat_may_exist: false,
        between: |bench, _| {
            // Either whole or not there: half of it must not be published.
            if bench.heads() == "v1 v2+" {
                assert_eq!(bench.stamp(&bench.draft("v2")), "v2");
            }
        },
        finally: |bench| {
            assert_eq!(bench.heads(), "v1");
            bench.settle(&[]);
        },
    },
    Case {
        name: "drop a session",
        prepare: |bench| {
            bench.commit("v1", None);
            bench.clone_session("s", "v1").unwrap();
        },
        act: |bench| bench.store.session_drop(&session("s")).map(drop),
        repeat_may_exist: false,
        between: |bench, failed| {
            if bench.session_names() == ["s"] {
                assert_eq!(bench.stamp(&Tree::Session(session("s"))), "v1");
            } else {
                assert!(!failed, "gone, and said that it is not");
            }
        },
        finally: |bench| {
            assert_eq!(bench.session_names(), Vec::<String>::new());
            bench.settle(&[]);
        },
    },
];

fn publish(bench: &Bench<'_>, name: &str, base: Option<&str>) -> Result<(), Error> {
    let base = base.map(version);
    match bench.store.publish(&bench.sid, &version(name), base.as_ref())? {
        Published::Committed => Ok(()),
        conflict @ Published::Conflict { .. } => panic!("{conflict:?} with nobody"),
    }
}

const FAULTS: [Mode; 4] =
    [Mode::Crash, Mode::Fail(libc::EIO), Mode::Fail(libc::ENOSPC), Mode::Fail(libc::EBUSY)];

fn expected_kind(errno: i32) -> ErrorKind {
    match errno {
        libc::ENOSPC => ErrorKind::NoRoom,
        libc::EBUSY => ErrorKind::Busy,
        _ => ErrorKind::Other,
    }
}

/// How a faulty run went.
enum Ran {
    Crashed,
    Failed,
    Survived,
    /// The fault lay beyond the last effect.
    Through,
}

fn run(case: &Case, bench: &Bench<'_>, plan: Plan) -> (Ran, Vec<&'static str>) {
    let (result, seen) = effect::run(plan, || (case.act)(bench));
    let hit = seen.len() >= plan.at;
    let ran = match (result, plan.mode) {
        (Err(_), _) => Ran::Crashed,
        (Ok(Err(error)), Mode::Fail(errno)) if hit => {
            assert_eq!(error.errno(), Some(errno), "{}: {}: {seen:?}", case.name, chain(&error));
            assert_eq!(error.kind(), expected_kind(errno), "{}", chain(&error));
            Ran::Failed
        }
        (Ok(Err(error)), _) => panic!("{}: {}", case.name, chain(&error)),
        (Ok(Ok(())), _) if hit => Ran::Survived,
        (Ok(Ok(())), _) => Ran::Through,
    };
    (ran, seen)
}

pub(crate) fn every_operation_stands_a_fault_at_every_effect(new_lab: &dyn Fn() -> Box<dyn Lab>) {
    let mut summary = BTreeMap::new();
    for case in &CASES {
        let (mut crashed, mut failed, mut survived) = (0, 0, 0);
        for mode in FAULTS {
            for at in 1.. {
                let lab = new_lab();
                let bench = Bench::new(&*lab);
                (case.prepare)(&bench);
                let (ran, seen) = run(case, &bench, Plan { at, mode });
                let context = Context(case.name, mode, at, &seen);
                // As the next process sees it.
                let bench = bench.again();
                (case.between)(&bench, matches!(ran, Ran::Failed));
                match (case.act)(&bench) {
                    Ok(()) => {}
                    Err(error) if case.repeat_may_exist && error.kind() == ErrorKind::Exists => {
                        assert!(!matches!(ran, Ran::Failed), "half made: {}", chain(&error));
                    }
                    Err(error) => panic!("{}", chain(&error)),
                }
                (case.finally)(&bench);
                bench.settle(&["v1", "v2", "v3"]);
                assert_eq!(lab.leftovers(), Vec::<String>::new());
                drop(context);
                match ran {
                    Ran::Crashed => crashed += 1,
                    Ran::Failed => failed += 1,
                    Ran::Survived => survived += 1,
                    Ran::Through => break,
                }
            }
        }
        assert!(crashed > 0 && failed + survived > 0, "{}: no fault was hit", case.name);
        summary.insert(case.name, (crashed, failed, survived));
    }
    for (name, (crashed, failed, survived)) in summary {
        println!("{name}: {crashed} crashes, {failed} failures, {survived} faults that changed nothing");
    }
}

/// On directories the pointer is the commit: a power cut may come right after it, and must find the tree on the disk.
pub(crate) fn a_tree_is_on_the_disk_before_the_pointer_names_it(lab: &dyn Lab) {
    let bench = Bench::new(lab);
    bench.commit("v1", None);
    bench.prepare("v2", Some("v1"));
    let (result, seen) = effect::run(Plan { at: 0, mode: Mode::Crash }, || publish(&bench, "v2", Some("v1")));
    result.unwrap().unwrap();
    let first = |name| seen.iter().position(|effect| *effect == name);
    let (synced, pointed) = (first("syncfs"), first("symlink"));
    assert!(synced.is_some() && synced < pointed, "the pointer names a tree that is not synced: {seen:?}");
    // And the pointer is before the tree is where only what was current for good may stand.
    let moved = seen.iter().rposition(|effect| *effect == "rename");
    assert!(seen[..moved.unwrap()].contains(&"fsync dir"), "the tree is in its place too early: {seen:?}");
}

/// Says on a panic where the fault was.
struct Context<'a>(&'static str, Mode, usize, &'a [&'static str]);

impl Drop for Context<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("in case {:?}, {:?} at effect {}: {:?}", self.0, self.1, self.2, self.3);
        }
    }
}

use std::collections::BTreeSet;

use super::*;
use crate::session::record::{Owner, Records, Setup};
use crate::session::{Kind, Recovered, Sessions};
use crate::store::fake::FakeStore;
use crate::store::{Layout, SessionId, Silent, Store, TemplateName, pointer};
use crate::sys::effect::{self, Mode, Plan};

struct Bench {
    _root: tempfile::TempDir,
    layout: Layout,
    store: FakeStore,
    sid: TemplateName,
}

impl Bench {
    /// Two generations, `v1` and `v2`.
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let store = FakeStore::new(&root.path().join("trees"));
        store.init().unwrap();
        let bench =
            Self { layout: Layout::new(root.path()), store, sid: "sid".parse().unwrap(), _root: root };
        bench.commit("v1", None);
        bench.commit("v2", Some("v1"));
        bench
    }

    fn commit(&self, name: &str, base: Option<&str>) {
        match base {
            None => self.store.draft_new(&self.sid, &id(name)).unwrap(),
            Some(base) => self.store.draft_clone(&self.sid, &id(name), &id(base), &mut Silent).unwrap(),
        }
        let parent = base.and_then(|base| Version::load(&self.layout, &self.sid, &id(base)).unwrap());
        let version = Version::new(id(name), parent.as_ref(), owner(), None, 7);
        version.save(&self.layout, &self.sid).unwrap();
        let published = self.store.publish(&self.sid, &id(name), base.map(id).as_ref()).unwrap();
        assert_eq!(published, Published::Committed);
        pointer::write(&self.layout, &self.sid, &id(name)).unwrap();
    }

    fn sessions(&self) -> Sessions<'_> {
        Sessions::new(&self.layout, &self.store)
    }

    fn rollback(&self, to: &str, progress: &mut dyn Progress) -> Result<Version, Error> {
        let new = NewRecord {
            id: "r".parse().unwrap(),
            kind: Kind::Source,
            template: self.sid.clone(),
            image: None,
            owner: owner(),
            root_allowed: false,
            commit_on_end: None,
            setup: setup(),
        };
        Sources::new(self.sessions())
            .rollback(Rollback { new, base: self.current(), to: id(to), message: None }, progress)
    }

    fn current(&self) -> VersionId {
        let current = self.store.current(&self.sid).unwrap().unwrap();
        assert_eq!(pointer::read(&self.layout, &self.sid).unwrap().as_ref(), Some(&current));
        current
    }

    /// Nothing of the rollback is left but, perhaps, its version.
    fn assert_settled(&self) {
        assert!(Records::new(&self.layout).all().unwrap().records.is_empty());
        assert!(self.store.heads(&self.sid).unwrap().iter().all(|head| head.complete));
        let known: BTreeSet<VersionId> =
            Version::all(&self.layout, &self.sid).unwrap().into_iter().map(|version| version.id).collect();
        let there: BTreeSet<VersionId> =
            self.store.heads(&self.sid).unwrap().into_iter().map(|head| head.id).collect();
        assert_eq!(known, there, "a file without a version, or a version without its file");
    }
}

fn id(text: &str) -> VersionId {
    text.parse().unwrap()
}

fn owner() -> Owner {
    Owner { uid: 0, name: "root".to_owned() }
}

fn setup() -> Setup {
    Setup {
        profile: "minimal".parse().unwrap(),
        shell: None,
        preserve_environment: false,
        setuid: true,
        overlay: crate::template::Overlay::Disk,
        quota: None,
        isolate_net: false,
        isolate_pid: false,
        isolate_ipc: false,
        isolate_uts: false,
    }
}

/// Somebody commits while the draft is cloned.
struct Overtake<'a>(&'a Bench);

impl Progress for Overtake<'_> {
    fn start(&mut self, _what: &str, _total: Option<u64>) {
        self.0.commit("v3", Some("v2"));
    }
    fn advance(&mut self, _bytes: u64) {}
    fn finish(&mut self) {}
}

#[test]
fn sys_root_a_rollback_is_a_new_generation_with_the_older_tree() {
    let bench = Bench::new();
    let version = bench.rollback("v1", &mut Silent).unwrap();
    assert_eq!(bench.current(), version.id);
    assert_eq!((version.generation, version.size), (3, 7));
    assert_eq!((version.parent, version.tree_of), (Some(id("v2")), Some(id("v1"))));
    assert_eq!(version.message.as_deref(), Some("rollback to generation 1"));
    bench.assert_settled();
}

#[test]
fn sys_root_a_rollback_that_was_overtaken_is_a_conflict_and_leaves_nothing() {
    let bench = Bench::new();
    let error = bench.rollback("v1", &mut Overtake(&bench)).unwrap_err();
    assert!(matches!(error, Error::Moved { .. }), "{error}");
    assert_eq!(
        error.to_string(),
        "conflict: version v2 of sid was current when the rollback began, but v3 is by now"
    );
    assert_eq!(bench.current(), id("v3"));
    bench.assert_settled();
}

#[test]
fn sys_root_what_is_current_or_not_there_is_not_gone_back_to() {
    let bench = Bench::new();
    assert!(matches!(bench.rollback("v2", &mut Silent), Err(Error::IsCurrent { .. })));
    let gone = bench.rollback("v9", &mut Silent).unwrap_err();
    assert_eq!(gone.to_string(), "template sid has no version v9");
    bench.assert_settled();
}

#[test]
fn sys_root_a_fault_at_any_step_leaves_the_old_or_the_new_version() {
    for mode in [Mode::Crash, Mode::Fail(libc::EIO), Mode::Fail(libc::ENOSPC)] {
        let (mut old, mut new) = (0, 0);
        for at in 1.. {
            let bench = Bench::new();
            let (result, seen) = effect::run(Plan { at, mode }, || bench.rollback("v1", &mut Silent));
            if matches!(mode, Mode::Crash) && result.is_err() {
                let session: SessionId = "r".parse().unwrap();
                for (recovered, how) in bench.sessions().recover().unwrap().sessions {
                    assert_eq!(recovered, session);
                    assert!(matches!(how, Recovered::Ended | Recovered::Committed), "{how:?} after {seen:?}");
                }
            } else {
                bench.sessions().recover().unwrap();
            }
            match bench.current().as_str() {
                "v2" => old += 1,
                _ => new += 1,
            }
            bench.assert_settled();
            if matches!(&result, Ok(Ok(_))) && seen.len() < at {
                break;
            }
        }
        assert!(old > 5 && new > 1, "{mode:?}: {old} times the old version, {new} times the new one");
    }
}

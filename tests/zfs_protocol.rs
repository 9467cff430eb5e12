//! The commit protocol on ZFS on a real pool: what the contract suite, the same for every store, cannot see.

#![cfg(feature = "zfs")]
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests look at files and run the ZFS programs"
)]

mod zfs_pool;

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rustix::mount::{UnmountFlags, unmount};
use zchroot::store::{ErrorKind, Outcome, Published, Settled, Silent, Store, TemplateName, Tree, VersionId};
use zchroot::sys::{effect, file};
use zfs_pool::{NONE, Pool, cause, complete, drafts, first, keep, next, run, session, template, version};

#[test]
fn zfs_a_commit_leaves_sessions_alone_and_settling_lets_the_old_version_go_with_its_last_session() {
    let pool = Pool::make();
    let store = pool.store();
    first(&store, "v1");
    store.session_clone(&template(), &version("v1"), &session("old")).unwrap();
    let tree = pool.mount_point("old");
    store.mount(&Tree::Session(session("old")), &tree, NONE).unwrap();
    std::fs::write(tree.join("work"), "of the session").unwrap();
    next(&store, "v1", "v2");
    assert_eq!(store.current(&template()).unwrap(), Some(version("v2")));
    assert_eq!(complete(&store), ["v1", "v2"]);

    let settled = store.settle(&template(), &keep(&[])).unwrap();
    assert_eq!(settled.dropped, []);
    assert_eq!(settled.deferred, ["sid v1: something is cloned from it; it goes with the last such"]);
    assert_eq!(complete(&store), ["v2"]);
    assert_eq!(drafts(&store), [] as [&str; 0]);
    let gone = store.session_clone(&template(), &version("v1"), &session("late")).unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::Gone);
    assert_eq!(std::fs::read_to_string(tree.join("work")).unwrap(), "of the session");

    unmount(&tree, UnmountFlags::empty()).unwrap();
    assert_eq!(store.session_drop(&session("old")).unwrap(), Outcome::Changed);
    assert_eq!(store.session_drop(&session("old")).unwrap(), Outcome::Unchanged);
    let snapshots = run("zfs", &["list", "-Hrt", "snapshot", "-o", "name", &pool.dataset("templates")]);
    assert_eq!(snapshots, pool.dataset("templates/sid/v2@v2"), "v1 went by itself");
    assert_eq!(store.settle(&template(), &keep(&[])).unwrap(), Settled::default());
}

#[test]
fn zfs_twenty_commits_leave_one_head_and_no_chain() {
    let pool = Pool::make();
    let store = pool.store();
    first(&store, "v00");
    for number in 1..=20 {
        let (base, name) = (format!("v{:02}", number - 1), format!("v{number:02}"));
        store.session_clone(&template(), &version(&base), &session(&name)).unwrap();
        next(&store, &base, &name);
        store.settle(&template(), &keep(&[&base])).unwrap();
        assert_eq!(pool.origins("templates/sid"), [format!("templates/sid/{name} -")]);
    }
    assert_eq!(complete(&store), ["v19", "v20"]);
    assert_eq!(store.sessions().unwrap().len(), 20);
    for tree in store.sessions().unwrap() {
        assert_eq!(store.session_drop(&tree.id).unwrap(), Outcome::Changed);
    }
    let snapshots = run("zfs", &["list", "-Hrt", "snapshot", "-o", "name", &pool.dataset("templates")]);
    assert_eq!(snapshots.lines().count(), 2, "{snapshots}");
}

#[test]
fn zfs_commits_that_nobody_settled_are_settled_at_once() {
    let pool = Pool::make();
    let store = pool.store();
    first(&store, "v0");
    for number in 1..=5 {
        next(&store, &format!("v{}", number - 1), &format!("v{number}"));
    }
    assert_eq!(pool.origins("templates/sid").len(), 6);
    let settled = store.settle(&template(), &keep(&["v3"])).unwrap();
    assert_eq!(settled.dropped, ["v0", "v1", "v2", "v4"].map(version));
    assert_eq!(settled.deferred, [] as [&str; 0]);
    assert_eq!(pool.origins("templates/sid"), ["templates/sid/v5 -"]);
    assert_eq!(complete(&store), ["v3", "v5"]);
}

#[test]
fn zfs_a_rollback_is_a_commit_from_an_older_version() {
    let pool = Pool::make();
    let store = pool.store();
    first(&store, "v1");
    next(&store, "v1", "v2");
    next(&store, "v2", "v3");
    store.settle(&template(), &keep(&["v1", "v2"])).unwrap();
    store.draft_clone(&template(), &version("v4"), &version("v1"), &mut Silent).unwrap();
    let published = store.publish(&template(), &version("v4"), Some(&version("v3"))).unwrap();
    assert_eq!(published, Published::Committed);
    store.settle(&template(), &keep(&["v2", "v3"])).unwrap();
    // v2 and v3 are newer than what v4 was cloned from: they stay where they were, under v3.
    assert_eq!(complete(&store), ["v2", "v3", "v4"]);
    store.session_clone(&template(), &version("v2"), &session("at-v2")).unwrap();
    next(&store, "v4", "v5");
    store.settle(&template(), &keep(&["v4"])).unwrap();
    store.session_drop(&session("at-v2")).unwrap();
    store.settle(&template(), &keep(&["v4"])).unwrap();
    assert_eq!(complete(&store), ["v4", "v5"]);
    assert_eq!(drafts(&store), [] as [&str; 0], "v3's head went with its last snapshot");
    assert_eq!(pool.origins("templates/sid"), ["templates/sid/v5 -"]);
}

#[test]
fn zfs_the_second_maintainer_gets_a_conflict_and_keeps_the_draft() {
    let pool = Pool::make();
    let store = pool.store();
    first(&store, "v1");
    store.draft_clone(&template(), &version("mine"), &version("v1"), &mut Silent).unwrap();
    next(&store, "v1", "v2");
    store.settle(&template(), &keep(&[])).unwrap();
    let published = store.publish(&template(), &version("mine"), Some(&version("v1"))).unwrap();
    assert_eq!(published, Published::Conflict { current: Some(version("v2")) });
    let published = store.publish(&template(), &version("mine"), None).unwrap();
    assert_eq!(published, Published::Conflict { current: Some(version("v2")) });
    assert_eq!(drafts(&store), ["mine"]);
    assert_eq!(store.publish(&template(), &version("v2"), None).unwrap(), Published::Committed, "it is");
    let absent = store.publish(&template(), &version("none"), Some(&version("v2"))).unwrap_err();
    assert_eq!(absent.kind(), ErrorKind::Gone);
    assert_eq!(store.draft_drop(&template(), &version("mine")).unwrap(), Outcome::Changed);
    assert_eq!(store.draft_drop(&template(), &version("mine")).unwrap(), Outcome::Unchanged);
}

#[test]
fn zfs_a_property_that_the_container_inherits_is_not_its_current_version() {
    let pool = Pool::make();
    let store = pool.store();
    run("zfs", &["set", "zchroot:current=evil", &pool.dataset("templates")]);
    store.draft_new(&template(), &version("v1")).unwrap();
    assert_eq!(store.current(&template()).unwrap(), None);
    assert_eq!(store.publish(&template(), &version("v1"), None).unwrap(), Published::Committed);
    assert_eq!(store.current(&template()).unwrap(), Some(version("v1")));
}

#[test]
fn zfs_of_many_publishers_from_one_base_exactly_one_wins() {
    let pool = Pool::make();
    let store = pool.store();
    first(&store, "v1");
    let names: Vec<VersionId> = (0..8).map(|number| version(&format!("w{number}"))).collect();
    for name in &names {
        store.draft_clone(&template(), name, &version("v1"), &mut Silent).unwrap();
    }
    let gate = Barrier::new(names.len());
    let publish = |name| {
        gate.wait();
        store.publish(&template(), name, Some(&version("v1"))).unwrap()
    };
    let outcomes: Vec<Published> = std::thread::scope(|scope| {
        let publish = &publish;
        let threads: Vec<_> = names.iter().map(|name| scope.spawn(move || publish(name))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let current = store.current(&template()).unwrap();
    let lost = Published::Conflict { current: current.clone() };
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Published::Committed).count(), 1);
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == lost).count(), names.len() - 1);
    let winner = outcomes.iter().position(|outcome| *outcome == Published::Committed).unwrap();
    assert_eq!(current.as_ref(), names.get(winner));
}

#[test]
fn zfs_a_crash_at_any_effect_of_a_commit_leaves_the_old_version_or_the_new_one() {
    let pool = Pool::make();
    let store = pool.store();
    first(&store, "v00");
    let mut base = version("v00");
    for at in 1.. {
        let name = version(&format!("v{at:02}"));
        let (template, kept) = (template(), keep(&[base.as_str()]));
        let commit = || {
            if !store.heads(&template).unwrap().iter().any(|head| head.id == name) {
                store.draft_clone(&template, &name, &base, &mut Silent).unwrap();
            }
            let published = store.publish(&template, &name, Some(&base)).unwrap();
            assert_eq!(published, Published::Committed);
            assert_eq!(store.settle(&template, &kept).unwrap().deferred, [] as [&str; 0]);
        };
        let (result, seen) = effect::run(effect::Plan { at, mode: effect::Mode::Crash }, commit);
        let current = store.current(&template).unwrap().unwrap();
        let committed = seen.iter().take(seen.len() - usize::from(result.is_err()));
        if committed.clone().any(|effect| *effect == "lzc_channel_program") {
            assert_eq!(current, name, "committed but not settled, {seen:?}");
        } else {
            assert_eq!(current, base, "not committed, {seen:?}");
        }
        for wanted in [&base, &current] {
            store.session_clone(&template, wanted, &session("probe")).unwrap();
            store.session_drop(&session("probe")).unwrap();
        }
        commit();
        assert_eq!(complete(&store), [base.to_string(), name.to_string()]);
        assert_eq!(pool.origins("templates/sid"), [format!("templates/sid/{name} -")]);
        base = name;
        if result.is_ok() {
            assert!(at >= 5, "a commit with settling has at least clone, program, promote, two destroys");
            break;
        }
    }
}

/// Follows the pointer as begin does.
fn read_pointer(pool: &Pool, template: &TemplateName) -> VersionId {
    let target = file::read_link_if_there(&pool.layout().pointer(template)).unwrap().unwrap();
    version(target.to_str().unwrap())
}

fn write_pointer(pool: &Pool, name: &str) {
    let pointer = pool.layout().pointer(&template());
    file::make_dirs(pointer.parent().unwrap(), 0o755).unwrap();
    file::replace_symlink(&pointer, std::path::Path::new(name)).unwrap();
}

#[test]
fn zfs_readers_that_follow_the_pointer_never_miss_while_commits_go_on() {
    let pool = Pool::make();
    let store = pool.store();
    first(&store, "v00");
    write_pointer(&pool, "v00");
    let (over, cloned, missed) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let read = |reader: usize| {
        for round in 0.. {
            if over.load(Ordering::Relaxed) {
                return;
            }
            let id = session(&format!("r{reader}-{round}"));
            match store.session_clone(&template(), &read_pointer(&pool, &template()), &id) {
                Ok(()) => {
                    cloned.fetch_add(1, Ordering::Relaxed);
                    store.session_drop(&id).unwrap();
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Gone, "{error}: {}", cause(&error));
                    missed.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    };
    let read = &read;
    std::thread::scope(|scope| {
        (0..4).for_each(|reader| drop(scope.spawn(move || read(reader))));
        for number in 1..=20 {
            let (base, name) = (format!("v{:02}", number - 1), format!("v{number:02}"));
            next(&store, &base, &name);
            write_pointer(&pool, &name);
            store.settle(&template(), &keep(&[&base])).unwrap();
        }
        over.store(true, Ordering::Relaxed);
    });
    assert_eq!(missed.load(Ordering::Relaxed), 0);
    assert!(cloned.load(Ordering::Relaxed) >= 20, "the readers hardly ran");
    assert_eq!(store.sessions().unwrap(), []);
}

/// No signal can stop a program half way that ends before the first look at signals, after 100 instructions.
#[test]
fn zfs_the_commit_program_takes_fewer_than_a_hundred_instructions() {
    use libzetta::libnv::nvpair::NvList;
    use libzetta::zfs::{ZfsEngine, ZfsLzc};
    let pool = Pool::make();
    let store = pool.store();
    store.draft_new(&template(), &version("v1")).unwrap();
    let program = include_str!("../src/zfs/programs/publish.lua");
    let mut args = NvList::default();
    let (container, head) = (pool.dataset("templates/sid"), pool.dataset("templates/sid/v1"));
    for (name, value) in [("t", container.as_str()), ("w", head.as_str()), ("v", "v1"), ("base", "")] {
        args.insert_string(name, value).unwrap();
    }
    // The limit is looked at only every 100 instructions: a longer program would not get past the first look.
    let out = ZfsLzc::new().unwrap().run_channel_program(pool.name.as_str(), program, 1, 1 << 20, true, args);
    assert_eq!(out.unwrap().get_string("return").unwrap(), "ok");
    assert_eq!(store.current(&template()).unwrap(), Some(version("v1")));
}

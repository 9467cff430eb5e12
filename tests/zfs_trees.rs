//! The store on ZFS on a real pool: trees, where they live, busy ones, and a full pool.

#![cfg(feature = "zfs")]
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests look at files and run the ZFS programs"
)]

mod zfs_pool;

use std::time::{Duration, Instant};

use rustix::mount::{UnmountFlags, unmount};
use zchroot::store::{ErrorKind, MountOptions, Outcome, Published, Settled, Silent, Store, Tree};
use zchroot::sys::effect;
use zfs_pool::{NONE, Pool, SlopShift, cause, drafts, first, keep, next, run, session, template, version};

#[test]
fn zfs_a_kept_version_is_found_wherever_promoting_moved_it() {
    let pool = Pool::make();
    let store = pool.store();
    first(&store, "v1");
    next(&store, "v1", "v2");
    next(&store, "v2", "v3");
    store.settle(&template(), &keep(&["v1", "v2"])).unwrap();
    assert_eq!(pool.origins("templates/sid"), ["templates/sid/v3 -"]);
    store.session_clone(&template(), &version("v1"), &session("at-v1")).unwrap();
    assert_eq!(pool.origins("sessions"), ["sessions/at-v1 templates/sid/v3@v1"]);
    assert!(store.used(&Tree::Version(template(), version("v1"))).unwrap() > 0);
    let at = pool.mount_point("v1");
    store.mount(&Tree::Version(template(), version("v1")), &at, NONE).unwrap();
    assert_eq!(std::fs::write(at.join("x"), "").unwrap_err().raw_os_error(), Some(libc::EROFS));
    unmount(&at, UnmountFlags::empty()).unwrap();
    let taken = store.draft_new(&template(), &version("v2")).unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::Exists, "its head is gone, its name is not free");
    let complete = store.draft_drop(&template(), &version("v2")).unwrap_err();
    assert_eq!(complete.kind(), ErrorKind::Exists);
}

#[test]
fn zfs_an_effect_that_fails_is_an_error_of_its_kind_and_changes_nothing() {
    let pool = Pool::make();
    let store = pool.store();
    first(&store, "v1");
    store.draft_clone(&template(), &version("v2"), &version("v1"), &mut Silent).unwrap();
    for (errno, kind) in [(libc::EDQUOT, ErrorKind::NoRoom), (libc::EIO, ErrorKind::Other)] {
        let plan = effect::Plan { at: 1, mode: effect::Mode::Fail(errno) };
        let clone = || store.session_clone(&template(), &version("v1"), &session("s"));
        assert_eq!(effect::run(plan, clone).0.unwrap().unwrap_err().kind(), kind);
        let publish = || store.publish(&template(), &version("v2"), Some(&version("v1")));
        assert_eq!(effect::run(plan, publish).0.unwrap().unwrap_err().kind(), kind);
        let mount = || store.mount(&Tree::Draft(template(), version("v2")), pool.dir.path(), NONE);
        assert_eq!(effect::run(plan, mount).0.unwrap().unwrap_err().kind(), kind);
    }
    assert_eq!(store.current(&template()).unwrap(), Some(version("v1")));
    assert_eq!(store.sessions().unwrap(), []);
}

#[test]
fn zfs_a_session_that_stays_mounted_is_busy_and_one_that_is_let_go_is_dropped() {
    let pool = Pool::make();
    let store = pool.store();
    first(&store, "v1");
    store.session_clone(&template(), &version("v1"), &session("s")).unwrap();
    let at = pool.mount_point("s");
    store.mount(&Tree::Session(session("s")), &at, NONE).unwrap();
    let begin = Instant::now();
    let busy = store.session_drop(&session("s")).unwrap_err();
    let waited = begin.elapsed();
    assert_eq!((busy.kind(), busy.errno()), (ErrorKind::Busy, Some(libc::EBUSY)));
    assert!(waited > Duration::from_secs(8) && waited < Duration::from_secs(12), "{waited:?}");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(300));
            unmount(&at, UnmountFlags::empty()).unwrap();
        });
        assert_eq!(store.session_drop(&session("s")).unwrap(), Outcome::Changed);
    });
}

#[test]
fn zfs_what_is_mounted_waits_for_the_next_settle() {
    let pool = Pool::make();
    let store = pool.store();
    first(&store, "v1");
    let at = pool.mount_point("head");
    store.mount(&Tree::Draft(template(), version("v1")), &at, NONE).unwrap();
    next(&store, "v1", "v2");
    let settled = store.settle(&template(), &keep(&[])).unwrap();
    assert_eq!(settled.dropped, []);
    assert!(settled.deferred.iter().any(|line| line.contains("cannot destroy")), "{settled:?}");
    assert_eq!(drafts(&store), [] as [&str; 0], "a former head is no draft");
    unmount(&at, UnmountFlags::empty()).unwrap();
    assert_eq!(store.settle(&template(), &keep(&[])).unwrap().dropped, [version("v1")]);
    assert_eq!(pool.origins("templates/sid"), ["templates/sid/v2 -"]);

    store.draft_clone(&template(), &version("v3"), &version("v2"), &mut Silent).unwrap();
    store.mount(&Tree::Draft(template(), version("v3")), &at, NONE).unwrap();
    assert_eq!(store.draft_drop(&template(), &version("v3")).unwrap_err().kind(), ErrorKind::Busy);
}

#[test]
fn zfs_in_a_full_pool_nothing_is_cloned_or_committed_and_all_goes_on_when_there_is_room() {
    let pool = Pool::make();
    let store = pool.store();
    first(&store, "v1");
    store.draft_clone(&template(), &version("v2"), &version("v1"), &mut Silent).unwrap();
    let available = store.space().unwrap().available;
    let ballast = format!("{}/ballast", pool.name);
    run("zfs", &["create", "-o", &format!("reservation={}", available - 4096), &ballast]);
    let errors = [
        store.draft_clone(&template(), &version("v3"), &version("v1"), &mut Silent).unwrap_err(),
        store.draft_new(&"other".parse().unwrap(), &version("v1")).unwrap_err(),
        store.session_clone(&template(), &version("v1"), &session("s")).unwrap_err(),
        store.publish(&template(), &version("v2"), Some(&version("v1"))).unwrap_err(),
    ];
    for error in errors {
        assert_eq!((error.kind(), error.errno()), (ErrorKind::NoRoom, Some(libc::ENOSPC)), "{error}");
    }
    assert_eq!(store.current(&template()).unwrap(), Some(version("v1")));
    assert_eq!(drafts(&store), ["v2"]);
    assert_eq!(store.sessions().unwrap(), []);
    // So full that no channel program is even started. A smaller slop stands in for more data: 4 GiB, of which
    // 3.8 are used; a quarter of a slop of 2 GiB is more than what is left.
    let slop = SlopShift::set(1);
    let error = store.publish(&template(), &version("v2"), Some(&version("v1"))).unwrap_err();
    assert_eq!((error.kind(), error.errno()), (ErrorKind::NoRoom, Some(libc::ENOSPC)), "{error}");
    drop(slop);
    assert_eq!(store.current(&template()).unwrap(), Some(version("v1")));

    // The reserve alone is room enough to finish.
    assert_eq!(store.release_reserve().unwrap(), Outcome::Changed);
    store.wait_freed(std::time::Duration::from_secs(60)).unwrap();
    let published = store.publish(&template(), &version("v2"), Some(&version("v1"))).unwrap();
    assert_eq!(published, Published::Committed);
    // Half of a slop of 512 MiB is more than what is left: it does not do for promoting, which can wait.
    let slop = SlopShift::set(3);
    let settled = store.settle(&template(), &keep(&["v1"])).unwrap();
    assert_eq!(settled.deferred.len(), 1);
    assert!(settled.deferred[0].starts_with("cannot promote"), "{settled:?}");
    assert!(settled.deferred[0].contains("No space left"), "{settled:?}");
    drop(slop);
    assert_eq!(store.settle(&template(), &keep(&[])).unwrap().dropped, [version("v1")]);
    run("zfs", &["destroy", &ballast]);
    assert_eq!(store.lay_reserve().unwrap(), Outcome::Changed);
}

#[test]
fn zfs_trees_are_mounted_as_asked() {
    let pool = Pool::make();
    let store = pool.store();
    first(&store, "v1");
    store.session_clone(&template(), &version("v1"), &session("s")).unwrap();
    let at = pool.mount_point("s");
    let options = MountOptions { nosuid: true, nodev: true, volatile: true, memory: None };
    store.mount(&Tree::Session(session("s")), &at, options).unwrap();
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    let line = mounts.lines().find(|line| line.contains(at.to_str().unwrap())).unwrap();
    assert!(line.starts_with(&pool.dataset("sessions/s")), "{line}");
    assert!(line.contains("nosuid") && line.contains("nodev") && line.contains("rw"), "{line}");
    std::fs::write(at.join("data"), vec![7_u8; 1 << 20]).unwrap();
    unmount(&at, UnmountFlags::empty()).unwrap();
    assert!(store.used(&Tree::Session(session("s"))).unwrap() > 4096);

    let nowhere = pool.dir.path().join("nowhere");
    let error = store.mount(&Tree::Session(session("s")), &nowhere, options).unwrap_err();
    assert_eq!((error.kind(), cause(&error).as_str()), (ErrorKind::Other, "there is no such directory"));
    let absent = [
        Tree::Session(session("none")),
        Tree::Draft(template(), version("none")),
        Tree::Version(template(), version("none")),
    ];
    for tree in absent {
        assert_eq!(store.mount(&tree, &at, options).unwrap_err().kind(), ErrorKind::Gone, "{tree:?}");
        assert_eq!(store.used(&tree).unwrap_err().kind(), ErrorKind::Gone, "{tree:?}");
    }
}

#[test]
fn zfs_templates_are_listed_and_unknown_ones_have_nothing() {
    let pool = Pool::make();
    let store = pool.store();
    assert_eq!(store.templates().unwrap(), []);
    first(&store, "v1");
    store.draft_new(&"Bookworm_x".parse().unwrap(), &version("v1")).unwrap();
    let names: Vec<String> = store.templates().unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(names, ["Bookworm_x", "sid"]);
    let unknown = "unknown".parse().unwrap();
    assert_eq!(store.heads(&unknown).unwrap(), []);
    assert_eq!(store.current(&unknown).unwrap(), None);
    assert_eq!(store.settle(&unknown, &keep(&[])).unwrap(), Settled::default());
    assert_eq!(store.publish(&unknown, &version("v1"), None).unwrap_err().kind(), ErrorKind::Gone);
    assert_eq!(store.draft_drop(&unknown, &version("v1")).unwrap(), Outcome::Unchanged);
    let gone = store.draft_clone(&unknown, &version("v2"), &version("v1"), &mut Silent).unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::Gone);
}

/// What a commit writes down of its version before it takes place.
fn describe(pool: &Pool, name: &str) {
    let path = pool.layout().version(&template(), &version(name));
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, "").unwrap();
}

fn snapshots(pool: &Pool) -> Vec<String> {
    let text = run("zfs", &["list", "-Hrt", "snapshot", "-o", "name", &pool.dataset("templates/sid")]);
    text.lines().map(|line| line.replace(&pool.dataset("templates/sid/"), "")).collect()
}

#[test]
fn zfs_a_snapshot_that_somebody_else_took_is_no_version_and_stays() {
    let pool = Pool::make();
    let store = pool.store();
    for name in ["v1", "v2", "v3"] {
        describe(&pool, name);
    }
    let take = |head: &str, name: &str| {
        run("zfs", &["snapshot", &format!("{}@{name}", pool.dataset(&format!("templates/sid/{head}")))]);
    };
    first(&store, "v1");
    next(&store, "v1", "v2");
    // One that parses as a name of ours and one that does not; after the snapshot that the clone hangs off.
    take("v1", "daily");
    take("v1", "auto:hourly");
    take("v2", "before-upgrade");
    assert_eq!(zfs_pool::complete(&store), ["v1", "v2"]);
    next(&store, "v2", "v3");
    let settled = store.settle(&template(), &keep(&["v2"])).unwrap();
    let why = "sid v1: its dataset has the snapshot auto:hourly, which zchroot did not take";
    assert!(settled.deferred.contains(&why.to_owned()), "{settled:?}");
    let stand = snapshots(&pool);
    for name in ["v1@daily", "v1@auto:hourly", "@before-upgrade"] {
        assert!(stand.iter().any(|snapshot| snapshot.ends_with(name)), "{name}: {stand:?}");
    }
    // A version without its own snapshot would be a draft: v1 goes when its dataset can.
    assert_eq!(zfs_pool::complete(&store), ["v1", "v2", "v3"]);
    let gone = store.session_clone(&template(), &version("daily"), &session("s")).unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::Gone);
    for name in ["daily", "auto:hourly"] {
        run("zfs", &["destroy", &pool.dataset(&format!("templates/sid/v1@{name}"))]);
    }
    let settled = store.settle(&template(), &keep(&[])).unwrap();
    assert!(settled.dropped.contains(&version("v1")), "{settled:?}");
    assert_eq!(zfs_pool::complete(&store), ["v2", "v3"]);
    assert!(snapshots(&pool).iter().any(|name| name.ends_with("@before-upgrade")), "{:?}", snapshots(&pool));
    store.draft_clone(&template(), &version("v4"), &version("v3"), &mut Silent).unwrap();
    take("v4", "mine");
    assert_eq!(drafts(&store), ["v4"]);
    let busy = store.draft_drop(&template(), &version("v4")).unwrap_err();
    assert_eq!((busy.kind(), cause(&busy).contains("which zchroot did not take")), (ErrorKind::Busy, true));
    run("zfs", &["destroy", &pool.dataset("templates/sid/v4@mine")]);
    assert_eq!(store.draft_drop(&template(), &version("v4")).unwrap(), Outcome::Changed);
}

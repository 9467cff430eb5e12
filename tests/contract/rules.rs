//! The rules, one at a time.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::StatVfsMountFlags;
use zchroot::store::{ErrorKind, MountOptions, Outcome, Published, Silent, Tree};

use super::{Bench, Lab, all_but, kind, read_stamp, session, version, write_stamp};

pub(crate) fn an_empty_store_has_nothing(lab: &dyn Lab) {
    let bench = Bench::new(lab);
    assert_eq!(bench.store.templates().unwrap(), []);
    assert_eq!(bench.store.sessions().unwrap(), []);
    assert_eq!(bench.heads(), "");
    assert_eq!(bench.current(), None);
    let settled = bench.store.settle(&bench.sid, &all_but(&[])).unwrap();
    assert_eq!((settled.dropped.len(), settled.deferred.len()), (0, 0));
}

pub(crate) fn laying_out_again_changes_nothing(lab: &dyn Lab) {
    let store = lab.store();
    assert_ne!(store.init().unwrap(), Vec::<String>::new());
    assert_eq!(lab.store().init().unwrap(), Vec::<String>::new());
}

pub(crate) fn there_is_room_and_it_is_less_than_all(lab: &dyn Lab) {
    let space = Bench::new(lab).store.space().unwrap();
    assert!(space.available > 0 && space.available <= space.total, "{space:?}");
}

pub(crate) fn a_draft_is_no_version_until_it_is_published(lab: &dyn Lab) {
    let bench = Bench::new(lab);
    bench.prepare("v1", None);
    assert_eq!(bench.store.templates().unwrap(), std::slice::from_ref(&bench.sid));
    assert_eq!((bench.heads().as_str(), bench.current()), ("v1+", None));
    assert_eq!(kind(bench.clone_session("s", "v1")), ErrorKind::Gone);
    assert_eq!(bench.mount(&bench.version("v1")).err().unwrap().kind(), ErrorKind::Gone);
    assert_eq!(bench.session_names(), Vec::<String>::new());
    bench.publish("v1", None).unwrap();
    assert_eq!((bench.heads().as_str(), bench.current().as_deref()), ("v1", Some("v1")));
    assert_eq!(bench.stamp(&bench.version("v1")), "v1");
}

pub(crate) fn a_name_is_taken_once(lab: &dyn Lab) {
    let bench = Bench::new(lab);
    bench.commit("v1", None);
    bench.prepare("v2", Some("v1"));
    for taken in ["v1", "v2"] {
        let new = bench.store.draft_new(&bench.sid, &version(taken));
        assert_eq!(kind(new), ErrorKind::Exists, "{taken}");
        let clone = bench.store.draft_clone(&bench.sid, &version(taken), &version("v1"), &mut Silent);
        assert_eq!(kind(clone), ErrorKind::Exists, "{taken}");
    }
    assert_eq!(bench.heads(), "v1 v2+");
    assert_eq!(bench.stamp(&bench.draft("v2")), "v2");
}

pub(crate) fn templates_do_not_know_each_other(lab: &dyn Lab) {
    let bench = Bench::new(lab);
    let other = Bench { sid: "trixie".parse().unwrap(), ..bench.again() };
    bench.commit("v1", None);
    other.commit("v1", None);
    other.commit("v2", Some("v1"));
    other.settle(&[]);
    assert_eq!((bench.heads().as_str(), other.heads().as_str()), ("v1", "v2"));
    let names: Vec<String> = bench.store.templates().unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(names, ["sid", "trixie"]);
}

pub(crate) fn publishing_again_is_committed_and_changes_nothing(lab: &dyn Lab) {
    let bench = Bench::new(lab);
    bench.commit("v1", None);
    bench.commit("v2", Some("v1"));
    for base in [Some("v1"), Some("v2"), None] {
        assert_eq!(bench.publish("v2", base).unwrap(), Published::Committed, "{base:?}");
    }
    assert_eq!((bench.heads().as_str(), bench.current().as_deref()), ("v1 v2", Some("v2")));
}

pub(crate) fn publishing_on_an_old_base_is_a_conflict_and_changes_nothing(lab: &dyn Lab) {
    let bench = Bench::new(lab);
    bench.commit("v1", None);
    bench.prepare("late", Some("v1"));
    bench.commit("v2", Some("v1"));
    let conflict = Published::Conflict { current: Some(version("v2")) };
    for base in [Some("v1"), None] {
        assert_eq!(bench.publish("late", base).unwrap(), conflict, "{base:?}");
    }
    assert_eq!(bench.heads(), "late+ v1 v2");
    assert_eq!(bench.current().as_deref(), Some("v2"));
    assert_eq!(bench.stamp(&bench.draft("late")), "late");
    assert_eq!(bench.publish("late", Some("v2")).unwrap(), Published::Committed);
    assert_eq!(bench.current().as_deref(), Some("late"));
}

pub(crate) fn publishing_on_a_base_where_there_is_none_is_a_conflict(lab: &dyn Lab) {
    let bench = Bench::new(lab);
    bench.prepare("v2", None);
    assert_eq!(bench.publish("v2", Some("v1")).unwrap(), Published::Conflict { current: None });
    assert_eq!((bench.heads().as_str(), bench.current()), ("v2+", None));
}

pub(crate) fn publishing_what_is_no_draft_is_gone(lab: &dyn Lab) {
    let bench = Bench::new(lab);
    bench.commit("v1", None);
    bench.describe("v9");
    assert_eq!(kind(bench.publish("v9", Some("v1"))), ErrorKind::Gone);
    bench.commit("v2", Some("v1"));
    // An old version is no draft either: history only grows.
    assert!(bench.publish("v1", Some("v2")).is_err());
    assert_eq!((bench.heads().as_str(), bench.current().as_deref()), ("v1 v2", Some("v2")));
}

pub(crate) fn a_clone_is_of_exactly_the_version_asked_for(lab: &dyn Lab) {
    let bench = Bench::new(lab);
    bench.commit("v1", None);
    bench.commit("v2", Some("v1"));
    bench.commit("v3", Some("v2"));
    for name in ["v2", "v1", "v3"] {
        let tree = bench.clone_session(&format!("of-{name}"), name).unwrap();
        assert_eq!(bench.stamp(&tree), name);
    }
    assert_eq!(bench.session_names(), ["of-v1", "of-v2", "of-v3"]);
}

pub(crate) fn a_clone_of_what_is_not_there_is_gone_and_leaves_nothing(lab: &dyn Lab) {
    let bench = Bench::new(lab);
    let unknown = bench.clone_session("s", "v1");
    assert_eq!(kind(unknown), ErrorKind::Gone, "a template that nobody ever made");
    bench.commit("v1", None);
    assert_eq!(kind(bench.clone_session("s", "v2")), ErrorKind::Gone);
    assert_eq!(bench.session_names(), Vec::<String>::new());
    let tree = bench.clone_session("s", "v1").unwrap();
    assert_eq!(bench.stamp(&tree), "v1");
}

pub(crate) fn a_session_is_cloned_once(lab: &dyn Lab) {
    let bench = Bench::new(lab);
    bench.commit("v1", None);
    bench.commit("v2", Some("v1"));
    let tree = bench.clone_session("s", "v1").unwrap();
    assert_eq!(kind(bench.clone_session("s", "v2")), ErrorKind::Exists);
    assert_eq!(bench.stamp(&tree), "v1", "the first one is untouched");
}

pub(crate) fn what_a_session_writes_stays_in_it(lab: &dyn Lab) {
    let bench = Bench::new(lab);
    bench.commit("v1", None);
    let (one, two) = (bench.clone_session("one", "v1").unwrap(), bench.clone_session("two", "v1").unwrap());
    let mounted = bench.mount(&one).unwrap();
    fs::write(mounted.path.join("usr/0/file-0"), "mine").unwrap();
    fs::write(mounted.path.join("new"), "mine").unwrap();
    fs::remove_file(mounted.path.join("usr/1/file-1")).unwrap();
    fs::rename(mounted.path.join("usr/2"), mounted.path.join("usr/renamed")).unwrap();
    fs::remove_dir_all(mounted.path.join("usr/3")).unwrap();
    fs::create_dir(mounted.path.join("usr/3")).unwrap();
    assert_eq!(bench.stamp(&two), "v1");
    assert_eq!(bench.stamp(&bench.version("v1")), "v1");
    drop(mounted);
    // A session keeps its tree while nothing is mounted.
    let mounted = bench.mount(&one).unwrap();
    assert_eq!(fs::read(mounted.path.join("usr/0/file-0")).unwrap(), b"mine");
    assert_eq!(fs::read(mounted.path.join("usr/renamed/file-0")).unwrap(), b"v1");
    assert!(!mounted.path.join("usr/1/file-1").exists() && !mounted.path.join("usr/2").exists());
    assert_eq!(fs::read_dir(mounted.path.join("usr/3")).unwrap().count(), 0);
    drop(mounted);
    bench.store.session_drop(&session("one")).unwrap();
    assert_eq!(bench.stamp(&two), "v1");
    assert_eq!(bench.stamp(&bench.clone_session("one", "v1").unwrap()), "v1", "no trace in the next one");
}

pub(crate) fn a_file_with_two_names_stays_one_file_in_a_session(lab: &dyn Lab) {
    let bench = Bench::new(lab);
    bench.commit("v1", None);
    let mounted = bench.mount(&bench.clone_session("s", "v1").unwrap()).unwrap();
    let (hard, link) = (mounted.path.join("only-v1/hard"), mounted.path.join("only-v1/link"));
    let mut file = fs::OpenOptions::new().append(true).open(&hard).unwrap();
    std::io::Write::write_all(&mut file, b" and more").unwrap();
    assert_eq!(fs::read(&link).unwrap(), b"v1 and more");
    assert_eq!(fs::metadata(&hard).unwrap().ino(), fs::metadata(&link).unwrap().ino());
}

pub(crate) fn the_top_of_a_tree_keeps_its_owner_and_mode(lab: &dyn Lab) {
    let bench = Bench::new(lab);
    bench.prepare("v1", None);
    let mode = |tree: &Tree| fs::metadata(&bench.mount(tree).unwrap().path).unwrap().mode() & 0o7777;
    assert_eq!(mode(&bench.draft("v1")), 0o755, "users can walk in");
    let mounted = bench.mount(&bench.draft("v1")).unwrap();
    fs::set_permissions(&mounted.path, fs::Permissions::from_mode(0o2751)).unwrap();
    drop(mounted);
    bench.publish("v1", None).unwrap();
    assert_eq!(mode(&bench.version("v1")), 0o2751);
    assert_eq!(mode(&bench.clone_session("s", "v1").unwrap()), 0o2751);
    bench.store.draft_clone(&bench.sid, &version("v2"), &version("v1"), &mut Silent).unwrap();
    assert_eq!(mode(&bench.draft("v2")), 0o2751);
}

pub(crate) fn a_commit_touches_no_live_session(lab: &dyn Lab) {
    let bench = Bench::new(lab);
    bench.commit("v1", None);
    let tree = bench.clone_session("s", "v1").unwrap();
    let mounted = bench.mount(&tree).unwrap();
    fs::write(mounted.path.join("mine"), "mine").unwrap();
    for (name, base) in [("v2", "v1"), ("v3", "v2")] {
        bench.commit(name, Some(base));
        bench.settle(&[]);
        assert_eq!(read_stamp(&mounted.path), "v1");
    }
    drop(mounted);
    let mounted = bench.mount(&tree).unwrap();
    assert_eq!(read_stamp(&mounted.path), "v1", "mounted again, after the version was to go");
    assert_eq!(fs::read(mounted.path.join("mine")).unwrap(), b"mine");
    assert_eq!(bench.stamp(&bench.clone_session("new", "v3").unwrap()), "v3");
}

pub(crate) fn settle_drops_what_is_neither_current_nor_kept(lab: &dyn Lab) {
    let bench = Bench::new(lab);
    bench.commit("v1", None);
    bench.commit("v2", Some("v1"));
    bench.commit("v3", Some("v2"));
    bench.commit("v4", Some("v3"));
    bench.prepare("v5", Some("v4"));
    let settled = bench.store.settle(&bench.sid, &all_but(&["v2", "v9"])).unwrap();
    assert_eq!(settled.dropped, [version("v1"), version("v3")]);
    assert_eq!(settled.deferred, Vec::<String>::new());
    assert_eq!(bench.heads(), "v2 v4 v5+");
    for name in ["v2", "v4"] {
        assert_eq!(bench.stamp(&bench.version(name)), name);
        assert_eq!(bench.stamp(&bench.clone_session(name, name).unwrap()), name);
    }
    for name in ["v1", "v3"] {
        assert_eq!(kind(bench.clone_session("s", name)), ErrorKind::Gone);
    }
    let again = bench.store.settle(&bench.sid, &all_but(&["v2"])).unwrap();
    assert_eq!((again.dropped.len(), again.deferred.len()), (0, 0), "{again:?}");
    assert_eq!(bench.publish("v5", Some("v4")).unwrap(), Published::Committed);
    assert_eq!(bench.stamp(&bench.version("v5")), "v5");
    assert_eq!(lab.leftovers(), Vec::<String>::new());
}

pub(crate) fn settle_waits_for_sessions(lab: &dyn Lab) {
    let bench = Bench::new(lab);
    bench.commit("v1", None);
    let trees = ["one", "two"].map(|name| bench.clone_session(name, "v1").unwrap());
    bench.commit("v2", Some("v1"));
    bench.settle(&[]);
    assert_eq!(bench.stamp(&trees[0]), "v1");
    bench.store.session_drop(&session("one")).unwrap();
    bench.settle(&[]);
    assert_eq!(bench.stamp(&trees[1]), "v1");
    bench.store.session_drop(&session("two")).unwrap();
    bench.settle(&[]);
    assert_eq!(bench.heads(), "v2");
    assert_eq!(lab.leftovers(), Vec::<String>::new());
}

pub(crate) fn a_draft_starts_as_a_copy_of_its_base_and_does_not_write_to_it(lab: &dyn Lab) {
    let bench = Bench::new(lab);
    bench.commit("v1", None);
    bench.commit("v2", Some("v1"));
    bench.store.draft_clone(&bench.sid, &version("v3"), &version("v2"), &mut Silent).unwrap();
    assert_eq!(bench.stamp(&bench.draft("v3")), "v2");
    let mounted = bench.mount(&bench.draft("v3")).unwrap();
    write_stamp(&mounted.path, "v3");
    assert_eq!(bench.stamp(&bench.version("v2")), "v2");
    assert_eq!(bench.stamp(&bench.clone_session("s", "v2").unwrap()), "v2");
    drop(mounted);
    assert_eq!(bench.stamp(&bench.draft("v3")), "v3");
}

pub(crate) fn an_old_version_can_be_committed_again_as_a_new_one(lab: &dyn Lab) {
    let bench = Bench::new(lab);
    bench.commit("v1", None);
    bench.commit("v2", Some("v1"));
    bench.store.draft_clone(&bench.sid, &version("v3"), &version("v1"), &mut Silent).unwrap();
    bench.describe("v3");
    assert_eq!(bench.publish("v3", Some("v2")).unwrap(), Published::Committed);
    assert_eq!(bench.stamp(&bench.version("v3")), "v1", "the tree of v1");
    bench.settle(&["v1", "v2"]);
    bench.settle(&[]);
    // What is left of the way back may take one more settle, and goes.
    bench.settle(&[]);
    assert_eq!(bench.heads(), "v3");
    assert_eq!(bench.stamp(&bench.clone_session("s", "v3").unwrap()), "v1");
}

pub(crate) fn a_draft_of_what_is_not_there_is_gone_and_leaves_nothing(lab: &dyn Lab) {
    let bench = Bench::new(lab);
    let clone = |base: &str| bench.store.draft_clone(&bench.sid, &version("v2"), &version(base), &mut Silent);
    assert_eq!(kind(clone("v1")), ErrorKind::Gone, "a template that nobody ever made");
    bench.commit("v1", None);
    bench.prepare("draft", Some("v1"));
    assert_eq!(kind(clone("v9")), ErrorKind::Gone);
    assert_eq!(kind(clone("draft")), ErrorKind::Gone, "a draft is no base");
    assert_eq!(bench.heads(), "draft+ v1");
    clone("v1").unwrap();
}

pub(crate) fn dropping_what_is_not_there_changes_nothing(lab: &dyn Lab) {
    let bench = Bench::new(lab);
    let drop_draft = || bench.store.draft_drop(&bench.sid, &version("v1")).unwrap();
    assert_eq!(drop_draft(), Outcome::Unchanged);
    assert_eq!(bench.store.session_drop(&session("s")).unwrap(), Outcome::Unchanged);
    bench.prepare("v1", None);
    assert_eq!((drop_draft(), drop_draft()), (Outcome::Changed, Outcome::Unchanged));
    assert_eq!(bench.heads(), "");
    bench.commit("v2", None);
    bench.clone_session("s", "v2").unwrap();
    let drop_session = || bench.store.session_drop(&session("s")).unwrap();
    assert_eq!((drop_session(), drop_session()), (Outcome::Changed, Outcome::Unchanged));
    assert_eq!(bench.session_names(), Vec::<String>::new());
    assert_eq!(lab.leftovers(), Vec::<String>::new());
}

pub(crate) fn a_complete_version_is_never_dropped_as_a_draft(lab: &dyn Lab) {
    let bench = Bench::new(lab);
    bench.commit("v1", None);
    bench.commit("v2", Some("v1"));
    for name in ["v1", "v2"] {
        assert_eq!(kind(bench.store.draft_drop(&bench.sid, &version(name))), ErrorKind::Exists);
        assert_eq!(bench.stamp(&bench.version(name)), name);
    }
}

pub(crate) fn a_mounted_draft_is_busy(lab: &dyn Lab) {
    let bench = Bench::new(lab);
    bench.prepare("v1", None);
    let mounted = bench.mount(&bench.draft("v1")).unwrap();
    assert_eq!(kind(bench.store.draft_drop(&bench.sid, &version("v1"))), ErrorKind::Busy);
    assert_eq!(read_stamp(&mounted.path), "v1");
    drop(mounted);
    assert_eq!(bench.store.draft_drop(&bench.sid, &version("v1")).unwrap(), Outcome::Changed);
}

pub(crate) fn a_mounted_session_is_busy(lab: &dyn Lab) {
    let bench = Bench::new(lab);
    bench.commit("v1", None);
    let tree = bench.clone_session("s", "v1").unwrap();
    let mounted = bench.mount(&tree).unwrap();
    fs::write(mounted.path.join("mine"), "mine").unwrap();
    let begun = Instant::now();
    assert_eq!(kind(bench.store.session_drop(&session("s"))), ErrorKind::Busy);
    assert!(begun.elapsed() < Duration::from_secs(20));
    assert_eq!(fs::read(mounted.path.join("mine")).unwrap(), b"mine");
    drop(mounted);
    assert_eq!(bench.store.session_drop(&session("s")).unwrap(), Outcome::Changed);
}

pub(crate) fn mounting_and_measuring_what_is_not_there_is_gone(lab: &dyn Lab) {
    let bench = Bench::new(lab);
    bench.commit("v1", None);
    bench.prepare("v2", Some("v1"));
    let trees =
        [bench.version("v9"), bench.version("v2"), bench.draft("v9"), Tree::Session(session("nobody"))];
    for tree in trees {
        assert_eq!(bench.mount(&tree).err().map(|error| error.kind()), Some(ErrorKind::Gone), "{tree:?}");
        assert_eq!(kind(bench.store.used(&tree)), ErrorKind::Gone, "{tree:?}");
    }
}

pub(crate) fn a_version_is_mounted_read_only(lab: &dyn Lab) {
    let bench = Bench::new(lab);
    bench.commit("v1", None);
    let mounted = bench.mount(&bench.version("v1")).unwrap();
    assert_eq!(read_stamp(&mounted.path), "v1");
    if lab.has_real_mounts() {
        let error = fs::write(mounted.path.join("new"), "x").unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EROFS));
    }
}

pub(crate) fn mounts_have_the_flags_that_were_asked_for(lab: &dyn Lab) {
    let bench = Bench::new(lab);
    bench.commit("v1", None);
    bench.prepare("v2", Some("v1"));
    let session = bench.clone_session("s", "v1").unwrap();
    for tree in [session, bench.draft("v2"), bench.version("v1")] {
        for (nosuid, nodev) in [(false, false), (true, false), (false, true), (true, true)] {
            let options = MountOptions { nosuid, nodev, volatile: false, memory: None };
            let mounted = bench.mount_with(&tree, options).unwrap();
            if lab.has_real_mounts() {
                let flags = rustix::fs::statvfs(&mounted.path).unwrap().f_flag;
                // What the file system below is mounted with stays.
                assert!(flags.contains(StatVfsMountFlags::NOSUID) || !nosuid, "{tree:?}");
                assert!(flags.contains(StatVfsMountFlags::NODEV) || !nodev, "{tree:?}");
            }
        }
    }
}

pub(crate) fn a_session_takes_what_it_writes(lab: &dyn Lab) {
    const BYTES: usize = 8 << 20;
    let bench = Bench::new(lab);
    bench.commit("v1", None);
    let tree = bench.clone_session("s", "v1").unwrap();
    let before = bench.store.used(&tree).unwrap();
    let mounted = bench.mount(&tree).unwrap();
    // Nothing that compresses.
    let mut noise = vec![0; BYTES];
    let mut state = 1_u64;
    for byte in &mut noise {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        *byte = state.to_le_bytes()[3];
    }
    fs::write(mounted.path.join("noise"), noise).unwrap();
    drop(mounted);
    let deadline = Instant::now() + Duration::from_secs(30);
    let grown = loop {
        let grown = bench.store.used(&tree).unwrap().saturating_sub(before);
        if grown >= BYTES as u64 || Instant::now() > deadline {
            break grown;
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    assert!((BYTES as u64..BYTES as u64 * 2).contains(&grown), "{grown}");
    assert!(bench.store.used(&bench.version("v1")).unwrap() < BYTES as u64);
    assert!(bench.store.used(&bench.version("v1")).unwrap() > 0);
}

pub(crate) fn trees_say_when_they_were_made(lab: &dyn Lab) {
    // Pools keep whole seconds.
    let before = SystemTime::now() - Duration::from_secs(2);
    let bench = Bench::new(lab);
    bench.commit("v1", None);
    bench.prepare("v2", Some("v1"));
    bench.clone_session("s", "v1").unwrap();
    let after = SystemTime::now() + Duration::from_secs(2);
    for head in bench.store.heads(&bench.sid).unwrap() {
        assert!((before..after).contains(&head.created), "{head:?}");
    }
    for session in bench.store.sessions().unwrap() {
        assert!((before..after).contains(&session.created), "{session:?}");
    }
}

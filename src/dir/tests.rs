//! What only this store does; the contract has its own suite (`tests/store_contract.rs`).

#![expect(clippy::disallowed_methods, clippy::print_stdout, reason = "tests look at the store from outside")]

mod durable;
mod mounts;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::{IFlags, ioctl_setflags};
use rustix::mount::{UnmountFlags, unmount};

use super::*;
use crate::store::Silent;
use crate::sys::effect::{self, Mode, Plan};
use crate::sys::lock::Lock;

struct Home {
    root: tempfile::TempDir,
    store: DirStore,
    sid: TemplateName,
}

struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = unmount(&self.0, UnmountFlags::DETACH);
    }
}

fn version(text: &str) -> VersionId {
    text.parse().unwrap()
}

fn session(text: &str) -> SessionId {
    text.parse().unwrap()
}

/// Every version may go but these.
fn keep(names: &[&str]) -> impl Fn(&VersionId) -> bool + use<> {
    let kept: BTreeSet<VersionId> = names.iter().map(|name| version(name)).collect();
    move |version| !kept.contains(version)
}

impl Home {
    fn new() -> Self {
        Self::at(tempfile::tempdir().unwrap(), Path::new(""))
    }

    fn at(root: tempfile::TempDir, below: &Path) -> Self {
        let path = root.path().join(below);
        fs::create_dir_all(&path).unwrap();
        let store = DirStore::open(&Layout::new(&path));
        store.init().unwrap();
        Self { root, store, sid: "sid".parse().unwrap() }
    }

    fn describe(&self, name: &str) {
        let about = self.store.layout.version(&self.sid, &version(name));
        fs::create_dir_all(about.parent().unwrap()).unwrap();
        fs::write(about, "").unwrap();
    }

    fn prepare(&self, name: &str) -> PathBuf {
        self.store.draft_new(&self.sid, &version(name)).unwrap();
        self.describe(name);
        let path = self.store.draft(&self.sid, &version(name));
        fs::write(path.join("stamp"), name).unwrap();
        path
    }

    fn publish(&self, name: &str, base: Option<&str>) -> Result<Published> {
        self.store.publish(&self.sid, &version(name), base.map(version).as_ref())
    }

    fn commit(&self, name: &str, base: Option<&str>) {
        self.prepare(name);
        assert_eq!(self.publish(name, base).unwrap(), Published::Committed);
    }

    fn begin(&self, name: &str, of: &str) -> Result<()> {
        self.store.session_clone(&self.sid, &version(of), &session(name))
    }

    fn mount(&self, tree: &Tree, options: MountOptions) -> Result<Mounted> {
        let at = self.root.path().join(format!("at-{}", fs::read_dir(self.root.path()).unwrap().count()));
        fs::create_dir(&at).unwrap();
        self.store.mount(tree, &at, options).map(|()| Mounted(at))
    }

    fn stamp(&self, name: &str) -> String {
        let mounted = self.mount(&Tree::Session(session(name)), MountOptions::default()).unwrap();
        fs::read_to_string(mounted.0.join("stamp")).unwrap()
    }

    fn settle(&self, names: &[&str]) -> Settled {
        self.store.settle(&self.sid, &keep(names)).unwrap()
    }
}

fn why(error: &Error) -> String {
    format!("{error}: {}", std::error::Error::source(error).unwrap())
}

#[test]
fn the_store_needs_no_setup_to_say_how_much_room_there_is() {
    let root = tempfile::tempdir().unwrap();
    let store = DirStore::open(&Layout::new(root.path()));
    assert!(store.space().unwrap().available > 0);
    let odd = DirStore::open(&Layout::new(Path::new("/proc/self/status")));
    assert_eq!(odd.space().unwrap_err().errno(), Some(libc::ENOTDIR));
}

#[test]
fn nobody_but_root_walks_into_the_store() {
    let home = Home::new();
    home.commit("v1", None);
    home.begin("s", "v1").unwrap();
    let store = home.store.layout.dir_store();
    let closed =
        ["", "templates", "templates/sid", "drafts", "drafts/sid", "sessions", "sessions/s", "trash"];
    for folder in closed {
        let mode = fs::metadata(store.join(folder)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "{folder}");
    }
    for tree in ["templates/sid/v1", "sessions/s/upper"] {
        assert_eq!(fs::metadata(store.join(tree)).unwrap().permissions().mode() & 0o777, 0o755, "{tree}");
    }
}

#[test]
fn a_version_that_nothing_is_known_of_is_not_published() {
    let home = Home::new();
    home.store.draft_new(&home.sid, &version("v1")).unwrap();
    let error = home.publish("v1", None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Gone);
    assert!(error.to_string().ends_with("templates/sid/versions/v1.toml"), "{error}");
    assert_eq!(home.store.current(&home.sid).unwrap(), None);
}

#[test]
fn dir_what_needs_the_lock_is_busy_while_somebody_else_has_it() {
    let home = Home::new();
    home.prepare("v1");
    fs::create_dir_all(home.store.layout.locks()).unwrap();
    let _lock = Lock::take(&commit::lock_file(&home.store, &home.sid), Duration::ZERO).unwrap().unwrap();
    let begun = Instant::now();
    assert_eq!(home.publish("v1", None).unwrap_err().kind(), ErrorKind::Busy);
    assert!(begun.elapsed() >= Duration::from_secs(5), "it waits a little");
    assert_eq!(home.store.settle(&home.sid, &keep(&[])).unwrap_err().kind(), ErrorKind::Busy);
    assert_eq!(home.store.draft_drop(&home.sid, &version("v1")).unwrap_err().kind(), ErrorKind::Busy);
}

#[test]
fn dir_a_commit_that_stopped_after_the_flip_is_a_commit() {
    let home = Home::new();
    home.commit("v1", None);
    home.prepare("v2");
    pointer::write(&home.store.layout, &home.sid, &version("v2")).unwrap();
    let heads = home.store.heads(&home.sid).unwrap();
    assert!(heads.iter().all(|head| head.complete) && heads.len() == 2, "{heads:?}");
    home.begin("s", "v2").unwrap();
    assert_eq!(home.stamp("s"), "v2");
    let dropped = home.store.draft_drop(&home.sid, &version("v2"));
    assert_eq!(dropped.unwrap_err().kind(), ErrorKind::Exists);
    // The next commit finishes it first, or it would be a draft again.
    home.commit("v3", Some("v2"));
    let heads = home.store.heads(&home.sid).unwrap();
    assert!(heads.iter().all(|head| head.complete) && heads.len() == 3, "{heads:?}");
    assert_eq!(home.stamp("s"), "v2");
}

#[test]
fn dir_a_draft_whose_top_is_immutable_is_published_and_dropped_all_the_same() {
    let home = Home::new();
    for name in ["v1", "v2"] {
        let path = home.prepare(name);
        ioctl_setflags(File::open(path).unwrap(), IFlags::IMMUTABLE).unwrap();
    }
    assert_eq!(home.publish("v1", None).unwrap(), Published::Committed);
    assert!(home.store.version(&home.sid, &version("v1")).is_dir());
    assert_eq!(home.store.draft_drop(&home.sid, &version("v2")).unwrap(), Outcome::Changed);
    assert_eq!(fs::read_dir(home.store.trash()).unwrap().count(), 0);
}

#[test]
fn dir_a_half_made_session_is_taken_over_unless_somebody_makes_it() {
    let home = Home::new();
    home.commit("v1", None);
    let half = home.store.session(&session("s"));
    fs::create_dir_all(half.join("work")).unwrap();
    symlink("../../templates/sid/v0", half.join("lower")).unwrap();
    let tree = Tree::Session(session("s"));
    assert_eq!(home.mount(&tree, MountOptions::default()).err().unwrap().kind(), ErrorKind::Gone);
    let maker = File::open(&half).unwrap();
    maker.lock().unwrap();
    let error = home.begin("s", "v1").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Exists, "{}", why(&error));
    drop(maker);
    home.begin("s", "v1").unwrap();
    assert_eq!(home.stamp("s"), "v1");
}

#[test]
fn dir_a_half_made_session_keeps_its_version_until_it_is_dropped() {
    let home = Home::new();
    home.commit("v1", None);
    home.commit("v2", Some("v1"));
    let half = home.store.session(&session("s"));
    fs::create_dir(&half).unwrap();
    symlink("../../templates/sid/v1", half.join("lower")).unwrap();
    let settled = home.settle(&[]);
    assert_eq!(settled.deferred, ["sid v1: a session is cloned from it"]);
    assert_eq!(home.store.session_drop(&session("s")).unwrap(), Outcome::Changed);
    assert_eq!(home.settle(&[]).dropped, [version("v1")]);
}

#[test]
fn dir_a_session_that_cannot_be_read_keeps_all_old_versions() {
    let home = Home::new();
    home.commit("v1", None);
    home.commit("v2", Some("v1"));
    let odd = home.store.session(&session("odd"));
    fs::create_dir(&odd).unwrap();
    symlink("/etc/passwd", odd.join("lower")).unwrap();
    let settled = home.settle(&[]);
    assert_eq!(settled.dropped, []);
    assert!(settled.deferred[0].contains("sessions/odd/lower"), "{settled:?}");
    let error = home.mount(&Tree::Session(session("odd")), MountOptions::default()).err().unwrap();
    assert!(why(&error).contains("which is no version"), "{}", why(&error));
}

#[test]
fn dir_a_version_that_was_put_aside_is_found_by_its_sessions_and_brought_back() {
    let home = Home::new();
    home.commit("v1", None);
    home.commit("v2", Some("v1"));
    home.commit("v3", Some("v2"));
    home.begin("s", "v1").unwrap();
    for name in ["v1", "v2"] {
        let aside = home.store.dropped(&home.sid, &version(name));
        fs::rename(home.store.version(&home.sid, &version(name)), aside).unwrap();
    }
    assert_eq!(home.stamp("s"), "v1");
    assert_eq!(home.begin("t", "v1").unwrap_err().kind(), ErrorKind::Gone);
    let settled = home.settle(&[]);
    assert_eq!(settled.dropped, [version("v2")]);
    assert_eq!(settled.deferred.first().map(String::as_str), Some("sid v1: a session is cloned from it"));
    assert_eq!(home.stamp("s"), "v1");
    home.begin("t", "v1").unwrap();
    // Meanwhile somebody decided to keep it.
    let aside = home.store.dropped(&home.sid, &version("v1"));
    fs::rename(home.store.version(&home.sid, &version("v1")), aside).unwrap();
    assert_eq!(home.settle(&["v1"]), Settled::default());
    assert_eq!(home.stamp("t"), "v1");
}

#[test]
fn dir_a_mounted_version_is_not_dropped() {
    let home = Home::new();
    home.commit("v1", None);
    let tree = Tree::Version(home.sid.clone(), version("v1"));
    let mounted = home.mount(&tree, MountOptions::default()).unwrap();
    home.commit("v2", Some("v1"));
    assert_eq!(home.settle(&[]).deferred, ["sid v1: it is mounted"]);
    drop(mounted);
    assert_eq!(home.settle(&[]).dropped, [version("v1")]);
}

#[test]
fn dir_the_trash_is_emptied_but_not_what_somebody_is_removing() {
    let home = Home::new();
    for name in ["left", "held"] {
        fs::create_dir_all(home.store.trash().join(name).join("sub")).unwrap();
    }
    let held = File::open(home.store.trash().join("held")).unwrap();
    held.lock().unwrap();
    assert_eq!(home.store.init().unwrap(), ["emptied the trash: 1 left-over trees"]);
    assert!(home.store.trash().join("held/sub").is_dir());
    drop(held);
    home.settle(&[]);
    assert_eq!(fs::read_dir(home.store.trash()).unwrap().count(), 0);
}

/// Fails unless the lock of the template's trees is free while something lies in the trash.
fn assert_removed_without_the_lock(home: &Home, removing: impl FnOnce() + Send) {
    let trash = || fs::read_dir(home.store.trash()).unwrap().count() > 0;
    std::thread::scope(|scope| {
        let work = scope.spawn(removing);
        let mut was_free = false;
        while !work.is_finished() {
            let lock =
                trash().then(|| Lock::take(&commit::lock_file(&home.store, &home.sid), Duration::ZERO));
            was_free |= lock.is_some_and(|lock| lock.unwrap().is_some()) && trash();
        }
        work.join().unwrap();
        assert!(was_free, "the lock was kept until all was removed");
    });
    assert!(!trash(), "what was put into the trash is removed");
}

fn fill(path: &Path) {
    for at in 0..20_000 {
        File::create(path.join(format!("file{at}"))).unwrap();
    }
}

#[test]
fn dir_a_large_version_is_removed_without_the_lock_that_commits_wait_for() {
    let home = Home::new();
    home.commit("v1", None);
    fill(&home.store.version(&home.sid, &version("v1")));
    home.commit("v2", Some("v1"));
    assert_removed_without_the_lock(&home, || {
        assert_eq!(home.settle(&[]).dropped, [version("v1")]);
    });
}

#[test]
fn dir_a_large_draft_is_removed_without_the_lock_that_commits_wait_for() {
    let home = Home::new();
    fill(&home.prepare("v1"));
    assert_removed_without_the_lock(&home, || {
        let dropped = home.store.draft_drop(&home.sid, &version("v1")).unwrap();
        assert_eq!(dropped, Outcome::Changed);
    });
}

#[test]
fn dir_what_a_crash_left_in_the_trash_is_removed_by_the_next_settle() {
    let act = |home: &Home| home.settle(&[]);
    let ready = || {
        let home = Home::new();
        home.commit("v1", None);
        fs::write(home.store.version(&home.sid, &version("v1")).join("more"), "").unwrap();
        home.commit("v2", Some("v1"));
        home
    };
    let home = ready();
    let (_, seen) = effect::run(Plan { at: 0, mode: Mode::Crash }, || act(&home));
    let mut crashed_in_the_trash = 0;
    for at in 1..=seen.len() {
        let home = ready();
        let (crash, _) = effect::run(Plan { at, mode: Mode::Crash }, || act(&home));
        assert!(crash.is_err());
        crashed_in_the_trash += fs::read_dir(home.store.trash()).unwrap().count();
        act(&home);
        assert_eq!(fs::read_dir(home.store.trash()).unwrap().count(), 0, "{at}: {:?}", seen[at - 1]);
        assert_eq!(home.store.heads(&home.sid).unwrap().len(), 1, "{at}: {:?}", seen[at - 1]);
    }
    assert!(crashed_in_the_trash > 0, "{seen:?}");
}

#[test]
fn dir_an_overlay_whose_directories_are_let_go_in_a_moment_is_mounted_then() {
    let home = Home::new();
    home.commit("v1", None);
    home.begin("s", "v1").unwrap();
    let tree = Tree::Session(session("s"));
    let held = home.mount(&tree, MountOptions::default()).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(200));
            drop(held);
        });
        assert!(home.mount(&tree, MountOptions::default()).is_ok());
    });
    let held = home.mount(&tree, MountOptions::default()).unwrap();
    let start = Instant::now();
    let error = home.mount(&tree, MountOptions::default()).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Busy, "{}", why(&error));
    assert!((1..5).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
    drop(held);
}

#[test]
fn dir_a_half_made_draft_goes_when_it_is_old_and_nobody_makes_it() {
    let home = Home::new();
    let half = |name: &str, age: u64| {
        let path = home.store.making(&home.sid, &version(name));
        fs::create_dir_all(&path).unwrap();
        let dir = File::open(&path).unwrap();
        dir.set_modified(SystemTime::now() - Duration::from_secs(age)).unwrap();
        (path, dir)
    };
    let ((young, _), (old, _), (made, maker)) = (half("young", 5), half("old", 3600), half("made", 3600));
    maker.lock().unwrap();
    home.settle(&[]);
    assert!(young.is_dir() && made.is_dir() && !old.exists());
    assert!(home.store.heads(&home.sid).unwrap().is_empty(), "half-made ones are not seen");
    let drop_made = || home.store.draft_drop(&home.sid, &version("made"));
    assert_eq!(drop_made().unwrap_err().kind(), ErrorKind::Busy);
    let new = home.store.draft_new(&home.sid, &version("made"));
    assert_eq!(new.unwrap_err().kind(), ErrorKind::Exists);
    drop(maker);
    assert_eq!(drop_made().unwrap(), Outcome::Changed);
    home.store.draft_new(&home.sid, &version("young")).unwrap();
    assert!(!young.exists());
}

#[test]
fn dir_a_version_that_goes_under_a_copy_makes_the_copy_gone() {
    struct Thief<'a>(&'a Home);
    impl Progress for Thief<'_> {
        fn start(&mut self, _what: &str, total: Option<u64>) {
            assert!(total.unwrap() > 0);
        }
        fn advance(&mut self, _bytes: u64) {
            self.0.settle(&[]);
        }
        fn finish(&mut self) {}
    }
    let home = Home::new();
    home.commit("v1", None);
    home.commit("v2", Some("v1"));
    let copied = home.store.draft_clone(&home.sid, &version("v3"), &version("v1"), &mut Thief(&home));
    assert_eq!(copied.unwrap_err().kind(), ErrorKind::Gone);
    assert_eq!(fs::read_dir(home.store.drafts(&home.sid)).unwrap().count(), 0);
}

#[test]
fn dir_a_version_that_goes_between_the_write_and_the_look_makes_the_begin_gone() {
    // The begin stops right after it wrote `lower`: what settle does then is between W and L.
    let home = Home::new();
    home.commit("v1", None);
    home.commit("v2", Some("v1"));
    let (_, seen) = effect::run(Plan { at: 0, mode: Mode::Crash }, || home.begin("probe", "v1"));
    home.store.session_drop(&session("probe")).unwrap();
    let written = seen.iter().position(|name| *name == "symlink").unwrap() + 2;
    let (crash, _) = effect::run(Plan { at: written, mode: Mode::Crash }, || home.begin("s", "v1"));
    assert!(crash.is_err());
    assert_eq!(home.settle(&[]).deferred, ["sid v1: a session is cloned from it"]);
    home.begin("s", "v1").unwrap();
    assert_eq!(home.stamp("s"), "v1");
}

#[test]
fn dir_a_copied_draft_tells_its_progress_and_shares_nothing_it_writes() {
    #[derive(Default)]
    struct Count(u64, bool);
    impl Progress for Count {
        fn start(&mut self, what: &str, _total: Option<u64>) {
            assert_eq!(what, "copying sid v1");
        }
        fn advance(&mut self, bytes: u64) {
            self.0 += bytes;
        }
        fn finish(&mut self) {
            self.1 = true;
        }
    }
    let home = Home::new();
    let path = home.prepare("v1");
    fs::write(path.join("big"), vec![7; 20 << 20]).unwrap();
    home.publish("v1", None).unwrap();
    let mut count = Count::default();
    home.store.draft_clone(&home.sid, &version("v2"), &version("v1"), &mut count).unwrap();
    assert!(count.1 && count.0 == (20 << 20) + 2, "{}", count.0);
    let copy = home.store.draft(&home.sid, &version("v2")).join("big");
    File::options().write(true).open(copy).unwrap().write_all_at(b"new", 0).unwrap();
    let old = fs::read(home.store.version(&home.sid, &version("v1")).join("big")).unwrap();
    assert_eq!(&old[..3], &[7; 3]);
    let copied = home.store.draft_clone(&home.sid, &version("v3"), &version("v9"), &mut Silent);
    assert_eq!(copied.unwrap_err().kind(), ErrorKind::Gone);
}

#[test]
fn dir_whoever_holds_the_templates_lock_may_call_everything() {
    let home = Home::new();
    fs::create_dir_all(home.store.layout.locks()).unwrap();
    let path = home.store.layout.template_lock(&home.sid);
    let _lock = Lock::take(&path, Duration::ZERO).unwrap().unwrap();
    home.commit("v1", None);
    home.commit("v2", Some("v1"));
    assert_eq!(home.settle(&[]).dropped, [version("v1")]);
    home.prepare("v3");
    assert_eq!(home.store.draft_drop(&home.sid, &version("v3")).unwrap(), Outcome::Changed);
}

#[test]
fn dir_a_clone_costs_a_few_system_calls() {
    const ROUNDS: u32 = 300;
    // In memory: what counts is what we ask for, not how long a busy disk takes to make a directory.
    let home = Home::at(tempfile::tempdir_in("/dev/shm").unwrap(), Path::new(""));
    home.commit("v1", None);
    let begun = Instant::now();
    for round in 0..ROUNDS {
        home.begin(&format!("s{round}"), "v1").unwrap();
    }
    let each = begun.elapsed() / ROUNDS;
    println!("{each:?} each");
    assert!(each < Duration::from_millis(1), "{each:?}");
    let (_, effects) = effect::run(Plan { at: 0, mode: Mode::Crash }, || home.begin("last", "v1"));
    assert_eq!(effects, ["mkdir", "symlink", "mkdir", "mkdir", "copy attributes", "rename"]);
}

//! Mounted trees.

use rustix::mount::{MountFlags, MountPropagationFlags, mount_bind, mount_change};

use super::*;

#[test]
fn dir_directories_of_the_version_can_be_renamed_in_a_session() {
    let home = Home::new();
    let path = home.prepare("v1");
    fs::create_dir_all(path.join("usr/lib/deep")).unwrap();
    fs::write(path.join("usr/lib/deep/file"), "x").unwrap();
    home.publish("v1", None).unwrap();
    home.begin("s", "v1").unwrap();
    let mounted = home.mount(&Tree::Session(session("s")), MountOptions::default()).unwrap();
    fs::rename(mounted.0.join("usr/lib"), mounted.0.join("lib")).unwrap();
    assert_eq!(fs::read(mounted.0.join("lib/deep/file")).unwrap(), b"x");
}

#[test]
fn dir_a_volatile_session_is_mounted_once() {
    let home = Home::new();
    home.commit("v1", None);
    home.begin("s", "v1").unwrap();
    let tree = Tree::Session(session("s"));
    let options = MountOptions { volatile: true, ..MountOptions::default() };
    let mounted = home.mount(&tree, options).unwrap();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let line = mounts.lines().find(|line| line.contains(mounted.0.to_str().unwrap())).unwrap();
    assert!(line.contains("volatile") && line.contains("index=on"), "{line}");
    fs::write(mounted.0.join("file"), "x").unwrap();
    drop(mounted);
    assert_eq!(home.mount(&tree, options).err().unwrap().errno(), Some(libc::EINVAL));
    assert_eq!(home.store.session_drop(&session("s")).unwrap(), Outcome::Changed);
}

#[test]
fn dir_long_paths_are_mounted_by_the_old_call_and_longer_ones_refused() {
    let deep = Path::new("a-very-long-name-of-a-directory-that-somebody-uses-as-root").join("b".repeat(200));
    let home = Home::at(tempfile::tempdir().unwrap(), &deep);
    home.commit("v1", None);
    home.begin("s", "v1").unwrap();
    for volatile in [false, true] {
        let options = MountOptions { nosuid: true, nodev: true, volatile, memory: None };
        let mounted = home.mount(&Tree::Session(session("s")), options).unwrap();
        assert_eq!(fs::read(mounted.0.join("stamp")).unwrap(), b"v1");
        let busy = home.store.session_drop(&session("s")).unwrap_err();
        assert_eq!(busy.kind(), ErrorKind::Busy);
    }
    let deeper = (0..8).fold(PathBuf::new(), |path, _| path.join("c".repeat(200)));
    let home = Home::at(tempfile::tempdir().unwrap(), &deeper);
    home.commit("v1", None);
    home.begin("s", "v1").unwrap();
    let error = home.mount(&Tree::Session(session("s")), MountOptions::default()).err().unwrap();
    assert_eq!(error.errno(), Some(libc::ENAMETOOLONG));
}

#[test]
fn dir_a_path_that_overlayfs_cannot_be_told_is_refused_with_the_reason() {
    let home = Home::at(tempfile::tempdir().unwrap(), Path::new("with:colon"));
    home.commit("v1", None);
    home.begin("s", "v1").unwrap();
    let error = home.mount(&Tree::Session(session("s")), MountOptions::default()).err().unwrap();
    assert!(why(&error).contains("colon"), "{}", why(&error));
    let home = Home::at(tempfile::tempdir().unwrap(), Path::new("with space=and#"));
    home.commit("v1", None);
    home.begin("s", "v1").unwrap();
    let mounted = home.mount(&Tree::Session(session("s")), MountOptions::default()).unwrap();
    assert_eq!(home.store.session_drop(&session("s")).unwrap_err().kind(), ErrorKind::Busy);
    drop(mounted);
}

#[test]
fn dir_what_is_mounted_in_a_draft_does_not_appear_in_the_store() {
    let home = Home::new();
    let path = home.prepare("v1");
    fs::create_dir(path.join("proc")).unwrap();
    // As on a host whose mounts are shared.
    let state = home.store.layout.state();
    mount_bind(&state, &state).unwrap();
    let _state = Mounted(state.clone());
    mount_change(&state, MountPropagationFlags::SHARED).unwrap();
    let tree = Tree::Draft(home.sid.clone(), version("v1"));
    let mounted = home.mount(&tree, MountOptions::default()).unwrap();
    let other = home.root.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("precious"), "x").unwrap();
    mount_bind(&other, mounted.0.join("proc")).unwrap();
    let _inner = Mounted(mounted.0.join("proc"));
    assert_eq!(fs::read_dir(path.join("proc")).unwrap().count(), 0);
}

#[test]
fn dir_nothing_is_mounted_after_an_error() {
    let home = Home::new();
    home.commit("v1", None);
    home.prepare("v2");
    home.begin("s", "v1").unwrap();
    let trees = [
        Tree::Session(session("s")),
        Tree::Draft(home.sid.clone(), version("v2")),
        Tree::Version(home.sid.clone(), version("v1")),
    ];
    for tree in trees {
        let mount = || home.mount(&tree, MountOptions::default());
        let (result, seen) = effect::run(Plan { at: 1, mode: Mode::Fail(libc::ENOMEM) }, mount);
        assert_eq!(result.unwrap().err().unwrap().errno(), Some(libc::ENOMEM), "{seen:?}");
        let at = home.root.path().join("absent");
        let error = home.store.mount(&tree, &at, MountOptions::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Gone);
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(home.root.path().to_str().unwrap()));
}

/// A file system of so few inodes, unmounted when dropped.
struct Small(tempfile::TempDir);

impl Small {
    fn new(options: &str) -> Self {
        let at = tempfile::tempdir().unwrap();
        let data = std::ffi::CString::new(options).unwrap();
        rustix::mount::mount("none", at.path(), "tmpfs", MountFlags::empty(), data.as_c_str()).unwrap();
        Self(at)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = unmount(self.0.path(), UnmountFlags::DETACH);
    }
}

#[test]
fn dir_a_session_without_room_for_its_overlay_is_not_mounted_read_only() {
    for deep in [PathBuf::from("root"), ["a".repeat(200), "b".repeat(100)].iter().collect()] {
        let small = Small::new("nr_inodes=300");
        let home = Home::at(tempfile::tempdir_in(small.0.path()).unwrap(), &deep);
        home.commit("v1", None);
        home.begin("s", "v1").unwrap();
        let tree = Tree::Session(session("s"));
        let fillers: Vec<PathBuf> = (0..300)
            .map(|number| small.0.path().join(number.to_string()))
            .take_while(|path| fs::write(path, "").is_ok())
            .collect();
        let at = tempfile::tempdir().unwrap();
        let mounted = Mounted(at.path().to_owned());
        let error = home.store.mount(&tree, at.path(), MountOptions::default()).unwrap_err();
        assert_eq!((error.kind(), error.errno()), (ErrorKind::NoRoom, Some(libc::ENOSPC)));
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(at.path().to_str().unwrap()), "nothing is mounted");
        fillers.iter().take(20).for_each(|path| fs::remove_file(path).unwrap());
        home.store.mount(&tree, at.path(), MountOptions::default()).unwrap();
        fs::write(mounted.0.join("file"), "x").unwrap();
    }
}

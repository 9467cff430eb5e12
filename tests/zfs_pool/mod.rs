//! A pool for one test: on a file in a directory of its own, with a random name, destroyed at the end.
//!
//! Nothing here can touch a pool that it did not make: it refuses to run at all outside the test machine, and
//! names, files and directories are its own.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use zchroot::store::{
    Error, Layout, MountOptions, Published, SessionId, Silent, Store, TemplateName, VersionId,
};
use zchroot::zfs::ZfsStore;

const MARK: &str = "/etc/zchroot-test-vm";
pub(crate) const RESERVE: u64 = 16 << 20;

/// A pool and an installation's root directory.
pub(crate) struct Pool {
    pub(crate) name: String,
    pub(crate) dir: tempfile::TempDir,
}

impl Pool {
    pub(crate) fn make() -> Self {
        Self::make_with(&[])
    }

    /// One that is made with more options.
    pub(crate) fn make_with(more: &[&str]) -> Self {
        in_the_machine();
        let dir = tempfile::Builder::new().prefix("zchroot-test-").tempdir_in("/var/tmp").unwrap();
        let name = dir.path().file_name().unwrap().to_str().unwrap().to_owned();
        let pool = Self { name, dir };
        let file = pool.dir.path().join("vdev");
        std::fs::File::create(&file).unwrap().set_len(4 << 30).unwrap();
        let options = ["-O", "mountpoint=none", "-o", "cachefile=none"];
        run("zpool", &[&["create"], &options[..], more, &[&pool.name, file.to_str().unwrap()]].concat());
        pool
    }

    pub(crate) fn layout(&self) -> Layout {
        Layout::new(&self.dir.path().join("root"))
    }

    pub(crate) fn open(&self) -> ZfsStore {
        ZfsStore::open(&self.name, &self.layout(), RESERVE).unwrap()
    }

    /// An opened store that is laid out.
    pub(crate) fn store(&self) -> ZfsStore {
        let store = self.open();
        store.init().unwrap();
        store
    }

    /// A dataset's full name from the one under our root.
    pub(crate) fn dataset(&self, name: &str) -> String {
        format!("{}/zchroot/{name}", self.name)
    }

    /// A directory to mount at.
    pub(crate) fn mount_point(&self, name: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    pub(crate) fn property(&self, dataset: &str, property: &str) -> String {
        run("zfs", &["get", "-Hpo", "value", property, &self.dataset(dataset)])
    }

    /// `NAME ORIGIN` of what is under a dataset.
    pub(crate) fn origins(&self, dataset: &str) -> Vec<String> {
        let text = run("zfs", &["list", "-Hpro", "name,origin", "-d", "1", &self.dataset(dataset)]);
        text.lines().skip(1).map(|line| line.replace(&self.dataset(""), "").replace('\t', " ")).collect()
    }
}

/// Whoever makes a pool looks for this first.
pub(crate) fn in_the_machine() {
    assert!(
        Path::new(MARK).exists(),
        "zfs tests make pools: run them in the test machine ({MARK} is absent)"
    );
}

impl Drop for Pool {
    fn drop(&mut self) {
        let below = self.dir.path().to_str().unwrap().to_owned();
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        for mount in mounts.lines().rev().filter_map(|line| line.split(' ').nth(1)) {
            if mount.starts_with(&below) {
                let _ = rustix::mount::unmount(mount, rustix::mount::UnmountFlags::empty());
            }
        }
        let status = Command::new("/usr/sbin/zpool").args(["destroy", "-f", "--", &self.name]).status();
        if !status.is_ok_and(|status| status.success()) && !std::thread::panicking() {
            panic!("cannot destroy the test's pool; by hand: zpool destroy -f {}", self.name);
        }
    }
}

/// The share of a pool, 2 to the power of minus this, that only some operations may touch; set back at the end.
pub(crate) struct SlopShift(String);

const SLOP_SHIFT: &str = "/sys/module/zfs/parameters/spa_slop_shift";

impl SlopShift {
    pub(crate) fn set(shift: u32) -> Self {
        let before = std::fs::read_to_string(SLOP_SHIFT).unwrap();
        std::fs::write(SLOP_SHIFT, shift.to_string()).unwrap();
        Self(before)
    }
}

impl Drop for SlopShift {
    fn drop(&mut self) {
        std::fs::write(SLOP_SHIFT, &self.0).unwrap();
    }
}

/// Runs one of the ZFS programs; its output without the last newline.
pub(crate) fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(format!("/usr/sbin/{program}")).args(args).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}: {error}");
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

pub(crate) fn template() -> TemplateName {
    "sid".parse().unwrap()
}

pub(crate) fn version(text: &str) -> VersionId {
    text.parse().unwrap()
}

pub(crate) fn session(text: &str) -> SessionId {
    text.parse().unwrap()
}

pub(crate) const NONE: MountOptions =
    MountOptions { nosuid: false, nodev: false, volatile: false, memory: None };

/// Every version may go but these.
pub(crate) fn keep(versions: &[&str]) -> impl Fn(&VersionId) -> bool + use<> {
    let kept: BTreeSet<VersionId> = versions.iter().map(|name| version(name)).collect();
    move |version| !kept.contains(version)
}

pub(crate) fn first(store: &ZfsStore, name: &str) {
    store.draft_new(&template(), &version(name)).unwrap();
    assert_eq!(store.publish(&template(), &version(name), None).unwrap(), Published::Committed);
}

pub(crate) fn next(store: &ZfsStore, base: &str, name: &str) {
    store.draft_clone(&template(), &version(name), &version(base), &mut Silent).unwrap();
    let published = store.publish(&template(), &version(name), Some(&version(base))).unwrap();
    assert_eq!(published, Published::Committed);
}

pub(crate) fn complete(store: &ZfsStore) -> Vec<String> {
    let heads = store.heads(&template()).unwrap();
    heads.iter().filter(|head| head.complete).map(|head| head.id.to_string()).collect()
}

pub(crate) fn drafts(store: &ZfsStore) -> Vec<String> {
    let heads = store.heads(&template()).unwrap();
    heads.iter().filter(|head| !head.complete).map(|head| head.id.to_string()).collect()
}

/// The cause of an error: what stands after the last colon.
pub(crate) fn cause(error: &Error) -> String {
    std::error::Error::source(error).map(ToString::to_string).unwrap_or_default()
}

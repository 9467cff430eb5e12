//! Real archives through `zchroot image import`: a Debian tree with one of everything in it, packed by the programs that
//! people use, and compared entry by entry with what their own unpackers make of it.
//!
//! Hostile archives, odd formats and every compression are tested in process (`src/import/*/tests`); here is the shipped
//! program, with trees of the size that it is for.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "tests work on the host as it is"
)]

mod debian;
mod gnu_tar;
#[path = "../harness/mod.rs"]
mod harness;
mod many;
mod oci;
#[path = "../harness/same.rs"]
#[allow(unreachable_pub, reason = "other crates use it too")]
mod same;
mod squashfs;

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use harness::{Done, Installation};
use same::xattrs;

/// Runs a program of the host; it must succeed.
#[track_caller]
pub(crate) fn run(program: &str, words: &[&str]) {
    let output = Command::new(program).args(words).env("LC_ALL", "C.UTF-8").output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{program} {words:?}: {error}");
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// An empty store, and room for archives.
pub(crate) struct Stage {
    pub(crate) host: Installation,
    dir: tempfile::TempDir,
}

impl Stage {
    pub(crate) fn new() -> Self {
        Self { host: Installation::new(), dir: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// An empty directory.
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir(&path).unwrap();
        path
    }

    /// Imports an archive, of which nothing may be left out; its tree.
    #[track_caller]
    pub(crate) fn import(&self, source: &str) -> PathBuf {
        self.imported(self.host.zchroot(["image", "import", source, "--json"]))
    }

    #[track_caller]
    pub(crate) fn imported(&self, done: Done) -> PathBuf {
        let image = &done.ok().json()["image"];
        assert_eq!((&image["fresh"], &image["notes"]), (&true.into(), &serde_json::json!([])), "{image}");
        let digest = image["digest"].as_str().unwrap();
        self.host.at(&format!("/var/lib/zchroot/store/images/{digest}"))
    }

    /// Compares two trees, and looks whether what is to be compared is there at all.
    #[track_caller]
    pub(crate) fn compare(&self, ours: &Path, theirs: &Path) {
        let entries = same::assert_same_tree(ours, theirs);
        assert!(entries > 2000, "{entries} entries");
        let extras = ours.join("srv/extras");
        let mode = |name: &str| std::fs::symlink_metadata(extras.join(name)).unwrap().mode() & 0o7777;
        assert_eq!((mode("setuid"), mode("sticky"), mode("fifo")), (0o6755, 0o1777, 0o622));
        for (name, attribute) in
            [("capable", "security.capability"), ("labelled", "user.plain"), ("sticky", "user.directory")]
        {
            assert!(xattrs(&extras.join(name)).contains_key(attribute), "{name}");
        }
        self.host.assert_nothing_left();
    }
}

/// Whether the tree has the ACLs.
pub(crate) fn has_acls(tree: &Path) -> bool {
    let of = |name: &str| xattrs(&tree.join("srv/extras").join(name));
    of("acl").contains_key("system.posix_acl_access")
        && of("default-acl").contains_key("system.posix_acl_access")
        && of("default-acl").contains_key("system.posix_acl_default")
}

/// The KiB that the files with holes take on the disk.
pub(crate) fn kib_of_holes(tree: &Path) -> u64 {
    ["sparse", "hole"]
        .iter()
        .map(|name| std::fs::metadata(tree.join("srv/extras").join(name)).unwrap().blocks() / 2)
        .sum()
}

//! A pool for one host, in a machine: a copy of one that has the Debian tree as an image, so that a template costs a clone.

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::harness::Installation;
use crate::harness::once::once;
use crate::host::tested;
use crate::zfs_pool::{Pool, in_the_machine, run};

/// The pool that is copied, by its name in the copies too.
const SEED: &str = "zchroot-test-seed";
const SIZE: u64 = 6 << 30;

/// The tree, packed. There is no network in a machine, so it has an archive of its own.
pub(crate) fn tree() -> PathBuf {
    std::env::var_os("ZCHROOT_TEST_TREE").expect("cargo xtask test --lane clients-zfs carries it in").into()
}

/// What zchroot.toml says of a pool. Digests are made in the background, of clones that nobody here has asked for.
pub(crate) fn config(name: &str) -> String {
    format!("version = 1\ndigests = \"never\"\nstore = \"zfs\"\n[zfs]\npool = \"{name}\"\n")
}

/// A pool with the image.
pub(crate) fn make() -> Pool {
    in_the_machine();
    let seed = once("clients-pool", &[tree().to_str().unwrap()], |dir| plant(&dir.join("vdev")));
    let dir = tempfile::Builder::new().prefix("zchroot-test-").tempdir().unwrap();
    let name = dir.path().file_name().unwrap().to_str().unwrap().to_owned();
    copy(&seed.join("vdev"), &dir.path().join("vdev"));
    // While it has the other's identity it has to be the only one.
    let lock = File::create(seed.join("lock")).unwrap();
    lock.lock().unwrap();
    let folder = dir.path().to_str().unwrap();
    run("zpool", &["import", "-d", folder, "-o", "cachefile=none", SEED, &name]);
    run("zpool", &["reguid", &name]);
    Pool { name, dir }
}

/// Makes the one that is copied, and lets go of it.
fn plant(vdev: &Path) {
    File::create(vdev).unwrap().set_len(SIZE).unwrap();
    let options = ["-O", "mountpoint=none", "-o", "cachefile=none"];
    run("zpool", &[&["create"], &options[..], &[SEED, vdev.to_str().unwrap()]].concat());
    let host = Installation::empty();
    host.configure(&config(SEED));
    for words in [&["init"][..], &["-q", "image", "import", tree().to_str().unwrap()]] {
        let mut zchroot = std::process::Command::new(tested());
        let output = zchroot.arg("--root").arg(host.path()).args(words).output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    drop(host);
    run("zpool", &["export", SEED]);
}

fn copy(from: &Path, to: &Path) {
    let status = std::process::Command::new("cp").arg("--sparse=always").args([from, to]).status();
    assert!(status.unwrap().success(), "the pool was not copied");
}

//! The Debian tree in which packages are built, made by mmdebstrap once and kept below the target directory.
//!
//! `ZCHROOT_TEST_SOURCE` is a line of sources.list that `cargo xtask test` finds out from the host; without it the
//! public mirror is asked.

use std::path::PathBuf;
use std::process::Command;

use crate::harness::once::once;

/// What nobody looks at, and what makes many of the bytes.
const LEFT_OUT: [&str; 3] = ["doc", "locale", "man"];

/// Where packages come from, as a line of sources.list.
pub(crate) fn source() -> String {
    std::env::var("ZCHROOT_TEST_SOURCE")
        .unwrap_or_else(|_| "deb http://deb.debian.org/debian stable main".to_owned())
}

/// The release.
pub(crate) fn suite() -> String {
    source().rsplit(' ').nth(1).unwrap().to_owned()
}

/// The architecture of this machine.
pub(crate) fn architecture() -> String {
    let output = Command::new("dpkg").arg("--print-architecture").output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// The name by which sbuild looks first for a chroot of the release.
pub(crate) fn alias() -> String {
    format!("{}-{}-sbuild", suite(), architecture())
}

/// The mirror.
pub(crate) fn mirror() -> String {
    source().rsplit(' ').nth(2).unwrap().to_owned()
}

/// The tree, to be read only.
pub(crate) fn tree() -> PathBuf {
    let (source, suite) = (source(), suite());
    once("clients", &[&source, include_str!("tree.rs")], |dir| {
        let tree = dir.join("tree");
        let mut mmdebstrap = Command::new("mmdebstrap");
        mmdebstrap.args(["--mode=root", "--variant=buildd", "--quiet"]);
        mmdebstrap.args(["--aptopt=Acquire::Languages \"none\"", "--aptopt=Acquire::Retries \"3\""]);
        // sbuild of some releases wants it beside what is essential for builds.
        mmdebstrap.args(["--include=fakeroot", "--dpkgopt=force-unsafe-io"]);
        mmdebstrap.args(LEFT_OUT.map(|folder| format!("--dpkgopt=path-exclude=/usr/share/{folder}/*")));
        // Packages that ask nothing leave this, once, and piuparts looks.
        mmdebstrap.arg("--customize-hook=mkdir -p \"$1/var/cache/debconf/tmp.ci\"");
        mmdebstrap.arg(&suite).arg(&tree).args([&source, &source.replacen("deb ", "deb-src ", 1)]);
        let output = mmdebstrap.env("LC_ALL", "C.UTF-8").output().unwrap();
        assert!(output.status.success(), "mmdebstrap: {}", String::from_utf8_lossy(&output.stderr));
    })
    .join("tree")
}

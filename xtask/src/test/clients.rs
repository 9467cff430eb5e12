//! What the lanes of clients need beside their tests: Debian's packages (schroot's defects are shown on Debian's), the program as
//! it is released, and our packages with it; in a machine a Debian that has an archive of its own.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::checks::cargo;
use crate::debian::{bootstrap, libzfs};
use crate::demo;
use crate::dist;
use crate::program::{self, step};
use crate::test::select::Kind;
use crate::vm::Machine;
use crate::vm::cache::Layer;
use crate::vm::test::Tree;

/// The clients of schroot, and Debian's schroot to compare with.
pub const PACKAGES: [&str; 11] = [
    "sbuild",
    "autopkgtest",
    "piuparts",
    "schroot",
    "mmdebstrap",
    "dpkg-dev",
    "lintian",
    "busybox-static",
    "strace",
    "procps",
    "util-linux",
];
/// What is in the tree for machines besides what builds always have: what a package of the archive wants, so that no test
/// waits for its installation.
const INCLUDED: &str = "fakeroot,debhelper";
/// What the tree's archive has: what builds install, and the sources of what is built and tested.
const BINARIES: &str = "libncurses-dev";
const SOURCES: &str = "sl gzip";
const ARCHIVE: &str = include_str!("../../vm/archive.sh");
/// What nobody looks at, and what makes many of the bytes.
const LEFT_OUT: [&str; 3] = ["doc", "locale", "man"];
const TREE: &str = "tree.tar.zst";
/// A release but for what makes it a little faster and takes long.
const PROFILE: [&str; 4] = [
    "profile.clients.inherits='release'",
    "profile.clients.lto='off'",
    "profile.clients.codegen-units=16",
    "profile.clients.strip='symbols'",
];

/// Builds the program: what is measured against Debian's schroot is no development build.
///
/// # Errors
/// It does not build.
pub fn program() -> Result<PathBuf> {
    step("building zchroot (a release, but for the link-time optimisation)");
    let target = libzfs::target_dir();
    let mut words = vec!["--quiet", "--package", "zchroot", "--bin", "zchroot", "--profile", "clients"];
    words.extend(PROFILE.iter().flat_map(|setting| ["--config", *setting]));
    let mut command = cargo(&libzfs::program_of(&words));
    command.envs(libzfs::provide_static()?).env("CARGO_TARGET_DIR", &target);
    program::logged(&mut command, &target.join("clients-build.log"))?;
    Ok(target.join("clients/zchroot").canonicalize()?)
}

/// Packs the packages with that program, and gives the folder that they are in.
///
/// # Errors
/// They cannot be packed, or are not the same when packed again.
pub fn packages(program: &Path) -> Result<PathBuf> {
    let folder = libzfs::target_dir().join("clients-packages");
    dist::packages(program, &folder)?;
    Ok(folder.canonicalize()?)
}

/// The tests for a machine, and what they want there.
///
/// # Errors
/// The program does not build, or the tree cannot be made.
pub fn in_machine(machine: Machine) -> Result<Tree> {
    let own = Tree::own(machine);
    let tree = chroot().ensure()?.join(TREE);
    let files = vec![(program()?, "zchroot".into()), (tree, TREE.into())];
    // Nothing setuid works in /tmp there, which is in memory.
    let environment = vec![
        ("TMPDIR", "/scratch".to_owned()),
        ("ZCHROOT_TEST_PROGRAM", "/in/zchroot".to_owned()),
        ("ZCHROOT_TEST_TREE", format!("/in/{TREE}")),
        ("ZCHROOT_TEST_SOURCE", demo::source()?.line()),
    ];
    let (binaries, results) = (vec!["clients".to_owned()], own.results.with_file_name("test-clients"));
    Ok(Tree { binaries, results, files, environment, kind: Kind::Clients, ..own })
}

/// A Debian in which packages are built where there is no network.
fn chroot() -> Layer {
    let recipe = [INCLUDED, BINARIES, SOURCES, ARCHIVE];
    Layer::new("clients", &recipe, |work| {
        let source = demo::source()?;
        step(format!("Debian {} for builds by mmdebstrap (about a minute)", source.suite));
        let script = work.join("archive.sh");
        std::fs::write(&script, ARCHIVE)?;
        let included = format!("--include={INCLUDED}");
        // Before the lists are fetched.
        let sources = source.line().replacen("deb ", "deb-src ", 1);
        let sources = format!("--setup-hook=echo '{sources}' >\"$1/etc/apt/sources.list.d/sources.list\"");
        let archive = format!(
            "--customize-hook=suite={} binaries='{BINARIES}' sources='{SOURCES}' sh {} \"$1\"",
            source.suite,
            script.display()
        );
        let left_out = LEFT_OUT.map(|folder| format!("--dpkgopt=path-exclude=/usr/share/{folder}/*"));
        // Packages that ask nothing leave this, once, and piuparts looks.
        let debconf = "--customize-hook=mkdir -p \"$1/var/cache/debconf/tmp.ci\"";
        let mut args = vec!["--variant=buildd", "--dpkgopt=force-unsafe-io"];
        args.extend([&included, &sources, debconf, &archive]);
        args.extend(left_out.iter().map(String::as_str));
        bootstrap::run(work, &source, &args, TREE)?;
        Ok(std::fs::remove_file(script)?)
    })
}

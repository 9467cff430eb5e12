//! What the lane of clients needs beside its tests: Debian's packages (schroot's defects are shown on Debian's), the program as it is released, and our packages
//! with it.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::checks::cargo;
use crate::debian::libzfs;
use crate::dist;
use crate::program::{self, step};

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

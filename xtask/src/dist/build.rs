//! The program, as it is released.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::debian::libzfs;

/// The release binary, stripped by the linker, with libzfs_core in it.
///
/// # Errors
/// It does not build.
pub fn program(root: &Path, target: &Path, no_zfs: bool) -> Result<PathBuf> {
    let strip = "profile.release.strip = \"symbols\"";
    let words = ["--release", "--locked", "--package", "zchroot", "--bin", "zchroot", "--config", strip];
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    if no_zfs {
        cargo.arg("build").args(words).arg("--no-default-features");
    } else {
        cargo.args(libzfs::program_of(&words)).envs(libzfs::provide_static()?);
    }
    let status = cargo.env("CARGO_TARGET_DIR", target).current_dir(root).status().context("run cargo")?;
    ensure!(status.success(), "cargo ended with {status}");
    Ok(target.join("release/zchroot"))
}

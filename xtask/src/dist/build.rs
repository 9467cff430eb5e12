//! The program, as it is released. Where the crates lie on this host is not in it: with the same toolchain, crates and
//! libraries it is the same wherever it is built.

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
        cargo.args(libzfs::program_without(&[&words[..], &["--no-default-features"]].concat()));
    } else {
        cargo.args(libzfs::program_of(&words)).envs(libzfs::provide_static()?);
    }
    // What an incremental build gives depends on the builds before it.
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags()?).env("CARGO_INCREMENTAL", "0");
    let status = cargo.env("CARGO_TARGET_DIR", target).current_dir(root).status().context("run cargo")?;
    ensure!(status.success(), "cargo ended with {status}");
    Ok(target.join("release/zchroot"))
}

/// The caller's flags for rustc, and ours.
fn flags() -> Result<String> {
    let home = std::env::var("CARGO_HOME")
        .or_else(|_| std::env::var("HOME").map(|home| format!("{home}/.cargo")))
        .context("neither CARGO_HOME nor HOME says where crates lie")?;
    let theirs = std::env::var("RUSTFLAGS").unwrap_or_default();
    Ok(encoded(&theirs, &home))
}

fn encoded(theirs: &str, home: &str) -> String {
    let ours = format!("--remap-path-prefix={home}=/cargo");
    theirs.split_whitespace().chain([ours.as_str()]).collect::<Vec<_>>().join("\u{1f}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_of_the_caller_stand_before_ours() {
        assert_eq!(encoded("", "/h o/.cargo"), "--remap-path-prefix=/h o/.cargo=/cargo");
        assert_eq!(encoded("-C debuginfo=0", "/h"), "-C\u{1f}debuginfo=0\u{1f}--remap-path-prefix=/h=/cargo");
    }
}

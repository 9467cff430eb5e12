//! `cargo xtask dist`: what a release consists of: a tarball, and two packages for Debian and its like.
//!
//! | file | what |
//! |---|---|
//! | [`build`] | the program, as it is released |
//! | [`commit`] | what the last commit gives: the time of all files, the version between two releases |
//! | [`files`] | what is installed where, the same for both |
//! | [`notices`] | whose work is linked, and under what terms |
//! | [`tarball`], [`deb`] | the packing |
//!
//! The same commit, toolchain and directory give the same bytes.

mod build;
mod commit;
mod deb;
mod files;
mod notices;
mod tarball;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};

use crate::debian::libzfs;
use crate::program::{self, step};
use commit::Commit;
use files::Entry;

/// Build what a release consists of: a tarball, and the packages zchroot and zchroot-schroot
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Leave the store on ZFS out: nothing links libzfs_core
    #[arg(long)]
    no_zfs: bool,
    /// Let lintian look at the packages, and fail if it finds an error or has a warning
    #[arg(long)]
    check: bool,
}

/// Builds the program and packs it into `target/dist/`.
///
/// # Errors
/// The program cannot be built, a file cannot be read or written, or the packages are not the same when packed again.
pub fn run(args: &Args) -> Result<()> {
    let release = Release::read(args.no_zfs)?;
    let target = libzfs::target_dir();
    let binary = build::program(&release.root, &target, args.no_zfs)?;
    let entries = release.installed(&binary)?;
    let dist = target.join("dist");
    fs::create_dir_all(&dist).with_context(|| format!("make {}", dist.display()))?;
    for entry in &entries {
        println!("{entry}");
    }
    let packed = tarball::write(&release, &entries, &dist)?;
    summed(&packed)?;
    if program::which("dpkg-deb").is_none() && program::which("apt-get").is_none() {
        step("this host has no dpkg: no packages");
        return Ok(());
    }
    let packages = deb::build(&release, &entries, &dist)?;
    for package in &packages {
        summed(package)?;
    }
    if args.check { deb::check(&packages) } else { Ok(()) }
}

/// The packages of a program that is built already, for tests.
///
/// # Errors
/// As [`run`].
pub fn packages(binary: &Path, dir: &Path) -> Result<Vec<PathBuf>> {
    let release = Release::read(false)?;
    let entries = release.installed(binary)?;
    if dir.exists() {
        fs::remove_dir_all(dir)?;
    }
    fs::create_dir_all(dir).with_context(|| format!("make {}", dir.display()))?;
    deb::build(&release, &entries, dir)
}

/// What is released.
#[derive(Debug)]
struct Release {
    /// The work tree.
    root: PathBuf,
    version: String,
    commit: Commit,
    no_zfs: bool,
}

impl Release {
    fn read(no_zfs: bool) -> Result<Self> {
        let root = libzfs::workspace().canonicalize()?;
        let version = version(&root)?;
        let commit = Commit::read(&root, &version)?;
        Ok(Self { root, version, commit, no_zfs })
    }

    /// Who maintains the packages: who builds them, as Debian's tools have it (`DEBFULLNAME`, `DEBEMAIL`), else the author
    /// of the last commit.
    fn maintainer(&self) -> String {
        match (std::env::var("DEBFULLNAME"), std::env::var("DEBEMAIL")) {
            (Ok(name), Ok(address)) => format!("{name} <{address}>"),
            _ => self.commit.author.clone(),
        }
    }

    fn installed(&self, binary: &Path) -> Result<Vec<Entry>> {
        let notices = notices::text(&self.root, self.no_zfs)?;
        files::installed(&self.root, files::read(binary)?, &notices)
    }
}

fn version(root: &Path) -> Result<String> {
    let manifest: toml::Table = String::from_utf8(files::read(&root.join("Cargo.toml"))?)?.parse()?;
    let version = manifest.get("package").and_then(|package| package.get("version"));
    Ok(version.and_then(|version| version.as_str()).context("Cargo.toml says no version")?.to_owned())
}

/// Writes a file's digest beside it, as sha256sum(1) does.
fn summed(path: &Path) -> Result<()> {
    let content = files::read(path)?;
    let sum: String = Sha256::digest(&content).iter().map(|byte| format!("{byte:02x}")).collect();
    let name = path.file_name().and_then(|name| name.to_str()).context("a packed file has no name")?;
    fs::write(path.with_file_name(format!("{name}.sha256")), format!("{sum}  {name}\n"))?;
    println!("{}\n{} bytes, sha256 {sum}", path.display(), content.len());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_the_package_s() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        assert!(version(&root).unwrap().split('.').count() == 3);
    }
}

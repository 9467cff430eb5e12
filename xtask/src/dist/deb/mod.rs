//! Packages for Debian and its like, packed by dpkg's own tools: `zchroot`, and `zchroot-schroot`, which takes the place
//! of Debian's schroot. What they say of themselves and do when they are installed lies in `xtask/deb/`.
//!
//! Both are packed twice, at different times in different places, and have to be the same.

mod stage;
mod text;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use super::Release;
use super::files::{self, DOC, Entry, gzip, read};
use crate::debian;
use crate::program::{self, step};
use stage::Stage;

/// The names of the packages.
const NAMES: [&str; 2] = ["zchroot", "zchroot-schroot"];
/// What dpkg runs, those that a package has.
const SCRIPTS: [&str; 3] = ["postinst", "prerm", "postrm"];

/// Packs both into `dist`.
///
/// # Errors
/// dpkg's tools cannot be had or fail, or the same files do not give the same packages.
pub fn build(release: &Release, installed: &[Entry], dist: &Path) -> Result<Vec<PathBuf>> {
    debian::ensure_packages(&["dpkg-dev", "binutils"])?;
    step("packing zchroot and zchroot-schroot, twice");
    let contents = [
        [installed.to_vec(), own(release)?].concat(),
        [files::face(&release.root)?, documents(release, "zchroot-schroot")?].concat(),
    ];
    let pack = |name: &str| -> Result<Vec<PathBuf>> {
        let stage = Stage::new(&dist.join(name), release)?;
        for (package, entries) in NAMES.iter().zip(&contents) {
            stage.package(package, entries)?;
        }
        stage.pack()
    };
    let (first, second) = (pack("stage")?, pack("stage-again")?);
    remove_older(dist)?;
    let mut packages = Vec::new();
    for (one, other) in first.iter().zip(&second) {
        ensure!(read(one)? == read(other)?, "packed twice, {} is not the same", one.display());
        let to = dist.join(one.file_name().context("a package has no name")?);
        fs::rename(one, &to).with_context(|| format!("move {}", to.display()))?;
        packages.push(to);
    }
    ensure!(packages.len() == NAMES.len(), "{} packages were packed, not {}", packages.len(), NAMES.len());
    for stage in ["stage", "stage-again"] {
        fs::remove_dir_all(dist.join(stage))?;
    }
    Ok(packages)
}

/// Removes what was packed before: who installs `zchroot_*.deb` means one.
fn remove_older(dist: &Path) -> Result<()> {
    for entry in fs::read_dir(dist)? {
        let path = entry?.path();
        if is_package(&path.file_name().unwrap_or_default().to_string_lossy()) {
            fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))?;
        }
    }
    Ok(())
}

/// Whether a file is a package of ours or the digest of one.
fn is_package(name: &str) -> bool {
    let package = name.strip_suffix(".sha256").unwrap_or(name);
    package.ends_with(".deb") && NAMES.iter().any(|ours| package.starts_with(&format!("{ours}_")))
}

/// What the package `zchroot` has beside what every installation has.
fn own(release: &Release) -> Result<Vec<Entry>> {
    let mut all = documents(release, "zchroot")?;
    all.push(Entry::plain("etc/zchroot/zchroot.toml", read(&release.root.join("etc/zchroot.toml"))?));
    for folder in ["etc/zchroot/templates.d", "etc/zchroot/profiles"] {
        all.push(Entry::dir(folder));
    }
    all.push(Entry::plain(format!("{DOC}/changelog.gz"), gzip(&read(&release.root.join("CHANGELOG.md"))?)?));
    Ok(all)
}

/// What every package has to say.
fn documents(release: &Release, package: &str) -> Result<Vec<Entry>> {
    let folder = release.root.join("xtask/deb");
    let doc = format!("usr/share/doc/{package}");
    let mut all = vec![
        Entry::plain(format!("{doc}/copyright"), read(&folder.join("copyright"))?),
        Entry::plain(format!("{doc}/changelog.Debian.gz"), gzip(text::changelog(release).as_bytes())?),
    ];
    let overrides = folder.join(format!("{package}.lintian-overrides"));
    if overrides.is_file() {
        all.push(Entry::plain(format!("usr/share/lintian/overrides/{package}"), read(&overrides)?));
    }
    Ok(all)
}

/// Lets lintian look at packages.
///
/// # Errors
/// It cannot be had, finds an error or has a warning.
pub fn check(packages: &[PathBuf]) -> Result<()> {
    debian::ensure_packages(&["lintian"])?;
    step("lintian looks at the packages");
    let words = ["--allow-root", "--fail-on", "error,warning", "--"];
    let status = program::shown(program::command("lintian").args(words).args(packages))?;
    ensure!(status.success(), "lintian ended with {status}");
    step("lintian: no error and no warning");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_of_ours_are_told_from_what_else_lies_there() {
        for name in ["zchroot_1-1_amd64.deb", "zchroot-schroot_1-1_all.deb", "zchroot_1-1_amd64.deb.sha256"] {
            assert!(is_package(name), "{name}");
        }
        for name in ["zchroot-1-linux.tar.zst", "zchroot-other_1_all.deb", "schroot_1_amd64.deb", "stage"] {
            assert!(!is_package(name), "{name}");
        }
    }
}

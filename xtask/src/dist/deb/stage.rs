//! A tree as dpkg's tools expect it: `debian/control` and `debian/changelog`, beside them a folder for each package with
//! what it installs and its `DEBIAN/`.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::super::Release;
use super::super::files::{Entry, Kind, read};
use super::{NAMES, SCRIPTS, text};
use crate::program;

/// The tree.
#[derive(Debug)]
pub struct Stage {
    dir: PathBuf,
    /// What packages say of themselves.
    data: PathBuf,
    epoch: String,
}

impl Stage {
    /// A new one, with what is said of all packages.
    ///
    /// # Errors
    /// A file cannot be read or written.
    pub fn new(dir: &Path, release: &Release) -> Result<Self> {
        if dir.exists() {
            fs::remove_dir_all(dir).with_context(|| format!("remove {}", dir.display()))?;
        }
        fs::create_dir_all(dir.join("debian")).with_context(|| format!("make {}", dir.display()))?;
        let data = release.root.join("xtask/deb");
        let control = String::from_utf8(read(&data.join("control"))?)?;
        fs::write(dir.join("debian/control"), text::control(&control, release))?;
        fs::write(dir.join("debian/changelog"), text::changelog(release))?;
        Ok(Self { dir: dir.to_owned(), data, epoch: release.commit.time.to_string() })
    }

    /// Lays a package out.
    ///
    /// # Errors
    /// A file cannot be read or written.
    pub fn package(&self, name: &str, entries: &[Entry]) -> Result<()> {
        let top = self.top(name);
        for entry in entries {
            lay(&top, entry)?;
        }
        let control = top.join("DEBIAN");
        make_dirs(&top, "DEBIAN")?;
        for script in SCRIPTS {
            let from = self.data.join(format!("{name}.{script}"));
            if from.is_file() {
                write(&control.join(script), &read(&from)?, 0o755)?;
            }
        }
        let conffiles = text::conffiles(entries);
        if !conffiles.is_empty() {
            write(&control.join("conffiles"), conffiles.as_bytes(), 0o644)?;
        }
        write(&control.join("md5sums"), self.sums(name, entries)?.as_bytes(), 0o644)
    }

    /// Packs what was laid out, and gives the packages in the order of [`NAMES`].
    ///
    /// # Errors
    /// One of dpkg's tools fails.
    pub fn pack(&self) -> Result<Vec<PathBuf>> {
        let program = "-edebian/zchroot/usr/bin/zchroot";
        program::output(self.tool("dpkg-shlibdeps").args(["-Tdebian/zchroot.substvars", program]))?;
        let out = self.dir.join("out");
        fs::create_dir_all(&out)?;
        let mut packages = Vec::new();
        for name in NAMES {
            let words = [format!("-p{name}"), format!("-Pdebian/{name}")];
            let variables = format!("-Tdebian/{name}.substvars");
            program::output(self.tool("dpkg-gencontrol").args(words).arg(variables))?;
            let top = format!("debian/{name}");
            let words = ["--root-owner-group", "-Zxz", "--build", &top, "out"];
            program::output(self.tool("dpkg-deb").args(words))?;
            packages.push(the_package(&out, name)?);
        }
        Ok(packages)
    }

    fn top(&self, name: &str) -> PathBuf {
        self.dir.join("debian").join(name)
    }

    /// As dh_md5sums: what is no conffile, by path.
    fn sums(&self, name: &str, entries: &[Entry]) -> Result<String> {
        let mut paths: Vec<&str> = entries
            .iter()
            .filter(|entry| matches!(entry.kind, Kind::File { .. }) && !text::is_conffile(entry))
            .map(|entry| entry.path.as_str())
            .collect();
        paths.sort_unstable();
        program::output(program::command("md5sum").arg("--").args(paths).current_dir(self.top(name)))
    }

    fn tool(&self, name: &str) -> Command {
        let mut command = program::command(name);
        command.current_dir(&self.dir).env("SOURCE_DATE_EPOCH", &self.epoch).env("LC_ALL", "C.UTF-8");
        command
    }
}

fn lay(top: &Path, entry: &Entry) -> Result<()> {
    let path = top.join(&entry.path);
    let (folder, _) = entry.path.rsplit_once('/').context("a file right below / is in no package")?;
    make_dirs(top, folder)?;
    match &entry.kind {
        Kind::File { mode, content } => write(&path, content, *mode),
        Kind::Link { to } => {
            std::os::unix::fs::symlink(to, &path).with_context(|| format!("link {}", path.display()))
        }
        Kind::Dir => make_dirs(top, &entry.path),
    }
}

fn write(path: &Path, content: &[u8], mode: u32) -> Result<()> {
    fs::write(path, content).with_context(|| format!("write {}", path.display()))?;
    Ok(fs::set_permissions(path, Permissions::from_mode(mode))?)
}

/// Makes a folder with all above it, whatever the umask.
fn make_dirs(top: &Path, below: &str) -> Result<()> {
    fs::create_dir_all(top.join(below)).with_context(|| format!("make {}", top.join(below).display()))?;
    let mut path = top.to_owned();
    fs::set_permissions(&path, Permissions::from_mode(0o755))?;
    for part in below.split('/') {
        path.push(part);
        fs::set_permissions(&path, Permissions::from_mode(0o755))?;
    }
    Ok(())
}

/// The package of a name in a folder.
fn the_package(folder: &Path, name: &str) -> Result<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if file.starts_with(&format!("{name}_")) {
            found.push(path);
        }
    }
    ensure!(found.len() == 1, "dpkg-deb made {} packages of the name {name}", found.len());
    found.pop().context("no package")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_laid_out_has_its_mode_whatever_the_umask() {
        let dir = std::env::temp_dir().join(format!("xtask-stage-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        fs::set_permissions(&dir, Permissions::from_mode(0o700)).unwrap();
        for entry in [
            Entry::file("usr/bin/p", 0o4755, "elf"),
            Entry::link("usr/bin/q", "p"),
            Entry::dir("etc/p/empty"),
        ] {
            lay(&dir, &entry).unwrap();
        }
        let mode = |path: &str| fs::symlink_metadata(dir.join(path)).unwrap().permissions().mode() & 0o7777;
        let modes = ["", "usr", "usr/bin", "usr/bin/p", "etc/p/empty"].map(mode);
        let to = fs::read_link(dir.join("usr/bin/q")).unwrap();
        fs::remove_dir_all(&dir).unwrap();
        assert_eq!(modes, [0o755, 0o755, 0o755, 0o4755, 0o755]);
        assert_eq!(to, Path::new("p"));
    }

    #[test]
    fn a_name_that_begins_like_another_s_is_another() {
        let dir = std::env::temp_dir().join(format!("xtask-names-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        for name in ["zchroot-schroot_1_all.deb", "zchroot_1_amd64.deb"] {
            fs::write(dir.join(name), "").unwrap();
        }
        let found = NAMES.map(|name| the_package(&dir, name).unwrap());
        let none = the_package(&dir, "schroot").is_err();
        fs::remove_dir_all(&dir).unwrap();
        assert!(found[0].ends_with("zchroot_1_amd64.deb") && found[1].ends_with("zchroot-schroot_1_all.deb"));
        assert!(none);
    }
}

//! An apt of our own: any suite of a mirror, and nothing of the host's own apt is read or changed but its network
//! settings and the keys.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::sources::Source;
use crate::program::{self, step};

/// Package lists of some sources, kept in a directory.
#[derive(Debug)]
pub struct Archive {
    dir: PathBuf,
}

impl Archive {
    /// Fetches the lists of the sources into `dir`.
    ///
    /// # Errors
    /// When the mirror cannot be reached or its signature is not good.
    pub fn open(dir: &Path, sources: &[Source]) -> Result<Self> {
        for sub in ["lists/partial", "archives/partial"] {
            fs::create_dir_all(dir.join(sub)).with_context(|| format!("make {}", dir.join(sub).display()))?;
        }
        // An empty status file: to this apt nothing is installed, so that the newest version is the candidate.
        fs::write(dir.join("status"), "")?;
        let lines: Vec<String> = sources.iter().map(Source::line).collect();
        fs::write(dir.join("sources.list"), lines.join("\n") + "\n")?;
        let archive = Self { dir: dir.to_owned() };
        let suites: Vec<&str> = sources.iter().map(|source| source.suite.as_str()).collect();
        step(format!("reading the package lists of {} at {}", suites.join(", "), sources[0].uri));
        program::output(archive.apt("apt-get").args(["-o", "APT::Update::Error-Mode=any", "update"]))?;
        Ok(archive)
    }

    fn apt(&self, name: &str) -> Command {
        let mut command = program::command(name);
        let dir = self.dir.display();
        for option in [
            format!("Dir::Etc::SourceList={dir}/sources.list"),
            "Dir::Etc::SourceParts=/dev/null".into(),
            "Dir::Etc::Preferences=/dev/null".into(),
            "Dir::Etc::PreferencesParts=/dev/null".into(),
            format!("Dir::State={dir}"),
            format!("Dir::State::Lists={dir}/lists"),
            format!("Dir::State::Status={dir}/status"),
            format!("Dir::Cache={dir}"),
            // Root's apt would otherwise fetch as a user who cannot write here.
            "APT::Sandbox::User=".into(),
            "Acquire::Languages=none".into(),
            "Acquire::Retries=3".into(),
        ] {
            command.arg("-o").arg(option);
        }
        command.env("LC_ALL", "C.UTF-8");
        command
    }

    /// The names of packages that match a regular expression.
    pub fn names(&self, pattern: &str) -> Result<Vec<String>> {
        let text = program::output(self.apt("apt-cache").args(["search", "--names-only", pattern]))?;
        Ok(text.lines().filter_map(|line| Some(line.split_once(" - ")?.0.to_owned())).collect())
    }

    /// The newest version of a package in a suite.
    pub fn newest(&self, package: &str, suite: &str) -> Result<String> {
        let text = program::output(self.apt("apt-cache").args(["madison", package]))?;
        newest_in(&text, suite).with_context(|| format!("{suite} has no package {package}"))
    }

    /// The packages that a package depends on, one for each alternative.
    pub fn depends(&self, package: &str) -> Result<Vec<String>> {
        let text = program::output(self.apt("apt-cache").args(["depends", package]))?;
        Ok(text.lines().filter_map(|line| line.trim().strip_prefix("Depends: ")).map(str::to_owned).collect())
    }

    /// Downloads one version of a package into a directory, unless it is there.
    pub fn download(&self, package: &str, version: &str, into: &Path) -> Result<PathBuf> {
        fs::create_dir_all(into)?;
        // apt writes the colon of an epoch as %3a, as it does in its own cache.
        let stem = format!("{package}_{}_", version.replace(':', "%3a"));
        if let Some(file) = find_deb(into, &stem)? {
            return Ok(file);
        }
        step(format!("downloading {package} {version}"));
        let part = into.join(format!("part-{}", std::process::id()));
        fs::create_dir_all(&part)?;
        let done = program::output(
            self.apt("apt-get").args(["download", &format!("{package}={version}")]).current_dir(&part),
        )
        .and_then(|_| {
            find_deb(&part, &stem)?.with_context(|| format!("apt-get download gave no {stem}*.deb"))
        })
        .and_then(|file| {
            let to = into.join(file.file_name().unwrap_or_default());
            Ok(fs::rename(&file, &to).map(|()| to)?)
        });
        fs::remove_dir_all(&part)?;
        done
    }
}

fn find_deb(dir: &Path, stem: &str) -> Result<Option<PathBuf>> {
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let text = name.to_string_lossy();
        if text.starts_with(stem) && Path::new(&name).extension() == Some(OsStr::new("deb")) {
            return Ok(Some(dir.join(name)));
        }
    }
    Ok(None)
}

/// The newest version in the output of `apt-cache madison`, whose lines read `name | version | uri suite/component ...`.
fn newest_in(text: &str, suite: &str) -> Option<String> {
    text.lines()
        .filter_map(|line| {
            let mut columns = line.split('|').map(str::trim);
            let (version, place) = (columns.nth(1)?, columns.next()?);
            let found = place.split_whitespace().nth(1)?.split('/').next()?;
            // Sorted newest first.
            (found == suite && !place.ends_with("Sources")).then(|| version.to_owned())
        })
        .next()
}

/// Unpacks a package into a directory.
pub fn unpack(deb: &Path, into: &Path) -> Result<()> {
    fs::create_dir_all(into)?;
    program::output(Command::new("dpkg-deb").arg("-x").arg(deb).arg(into))?;
    Ok(())
}

/// Whether Debian's order of versions puts `left` at or before `right`.
pub fn at_most(left: &str, right: &str) -> Result<bool> {
    let status = Command::new("dpkg").args(["--compare-versions", left, "le", right]).status()?;
    match status.code() {
        Some(0) => Ok(true),
        Some(1) => Ok(false),
        _ => bail!("dpkg cannot compare {left} with {right}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_of_a_suite_is_found() {
        let text = " zfs-dkms | 2.4.4-1~bpo13+1 | http://m/debian trixie-backports/contrib amd64 Packages\n \
                    zfs-dkms | 2.3.9-0+deb13u1 | http://m/debian trixie/contrib amd64 Packages\n \
                    zfs-dkms | 2.3.5-2~bpo13+1 | http://m/debian trixie-backports/contrib amd64 Packages\n";
        assert_eq!(newest_in(text, "trixie").unwrap(), "2.3.9-0+deb13u1");
        assert_eq!(newest_in(text, "trixie-backports").unwrap(), "2.4.4-1~bpo13+1");
        assert_eq!(newest_in(text, "sid"), None);
    }

    #[test]
    fn versions_are_compared_as_dpkg_does() {
        assert!(at_most("7.2", "7.2").unwrap() && at_most("6.12", "7.2").unwrap());
        assert!(!at_most("7.3", "7.2").unwrap());
    }
}

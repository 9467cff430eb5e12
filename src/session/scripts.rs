//! Scripts of the administrator in /etc/schroot/setup.d, by schroot's protocol: `NAME STAGE STATUS`, as root, in `/`,
//! with an environment that tells of the session and nothing of the caller.
//!
//! What schroot's own scripts do is done in process; they are known by their names and never run. Those that sort before
//! `10mount` run while nothing is mounted, the others when all is set up. At the end the order is turned round. A script
//! that fails stops what was going on, unless that is an end by force. None runs for sessions of templates.
//!
//! A crash may let one run again for the same stage: the protocol has always had that.

use std::collections::BTreeMap;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags};

use super::record::{Record, State};
use super::{Error, Sessions};
use crate::sys::program::{self, HostProgram, Stream};
use crate::template::ConfigDir;

/// Below the root of the installation.
const FOLDER: &str = "etc/schroot/setup.d";
/// Schroot's own.
const OWN: [&str; 13] = [
    "00check",
    "05btrfs",
    "05file",
    "05lvm",
    "05union",
    "05zfs",
    "10mount",
    "15binfmt",
    "15killprocs",
    "20copyfiles",
    "20nssdatabases",
    "50chrootname",
    "70services",
];
/// A link to `00check`.
const LAST: &str = "99check";
const MOUNTS: &str = "10mount";
const OTHERS_WRITE: u32 = 0o022;

/// What a session is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stage {
    word: &'static str,
    status: &'static str,
}

impl Stage {
    /// Of a session that came to be.
    pub(super) const END: Self = Self { word: "setup-stop", status: "ok" };

    pub(super) fn bringing_up(record: &Record) -> Self {
        let word = if record.state == State::Planned { "setup-start" } else { "setup-recover" };
        Self { word, status: "ok" }
    }

    /// One that never came to be is ended as one that failed.
    pub(super) fn ending(record: &Record) -> Self {
        let status = if record.state == State::Planned { "fail" } else { "ok" };
        Self { word: "setup-stop", status }
    }

    fn is_end(self) -> bool {
        self.word == "setup-stop"
    }
}

/// Which scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    BeforeMounts,
    AfterMounts,
}

impl Part {
    fn has(self, name: &str) -> bool {
        (name < MOUNTS) == (self == Self::BeforeMounts)
    }
}

/// Where nobody else listens.
pub(super) fn log(name: &str, stream: Stream, line: &str) {
    match stream {
        Stream::Out => tracing::info!(script = name, line),
        Stream::Err => tracing::warn!(script = name, line),
    }
}

impl Sessions<'_> {
    /// Runs the scripts of a stage, if the session is one of which scripts are told.
    pub(super) fn run_scripts(&self, record: &Record, stage: Stage, part: Part) -> Result<(), Error> {
        match &record.foreign {
            Some(foreign) if !foreign.told.is_empty() => self.run_told_scripts(&foreign.told, stage, part),
            _ => Ok(()),
        }
    }

    /// Runs the scripts of a stage with what they are told.
    pub(super) fn run_told_scripts(
        &self,
        told: &BTreeMap<String, String>,
        stage: Stage,
        part: Part,
    ) -> Result<(), Error> {
        for name in self.scripts(stage, part)? {
            let path = self.layout().root().join(FOLDER).join(&name);
            let mut script = HostProgram::new(path.display().to_string())
                .name(&name)
                .arg(stage.word)
                .arg(stage.status)
                .env("PID", std::process::id().to_string());
            for (key, value) in told {
                script = script.env(key, value);
            }
            let ran = script.stream(&mut |stream, line| (self.hear)(&name, stream, line));
            match ran.map_err(|error| failed(stage, &name, error)) {
                // It had its turn.
                Err(error) if self.is_forced && stage.is_end() => {
                    (self.hear)(&name, Stream::Err, &crate::sys::chain(&error));
                }
                other => other?,
            }
        }
        Ok(())
    }

    fn scripts(&self, stage: Stage, part: Part) -> Result<Vec<String>, Error> {
        let refused = |error| Error::sys("use", FOLDER, std::io::Error::other(error));
        let root = self.layout().root();
        let Some(folder) = ConfigDir::open_below(root, Path::new(FOLDER), 0).map_err(refused)? else {
            return Ok(Vec::new());
        };
        let mut names = folder.names().map_err(refused)?;
        names.retain(|name| is_script(name) && part.has(name));
        if stage.is_end() {
            names.reverse();
        }
        for name in &names {
            let path = folder.path_of(name);
            judge(&path).map_err(|error| Error::sys("use", path.display(), error))?;
        }
        Ok(names)
    }
}

/// The text says how it ended; what it wrote was heard.
fn failed(stage: Stage, name: &str, error: program::Error) -> Error {
    let source = match error {
        program::Error::Start { source, .. } => source,
        program::Error::Failed { ended, .. } => std::io::Error::other(format!("it failed with {ended}")),
    };
    Error::sys(if stage.is_end() { "stop by script" } else { "set up by script" }, name, source)
}

/// The names that run-parts(8) takes, but for those of schroot's own scripts.
fn is_script(name: &str) -> bool {
    let of = |text: &str, also: &[u8]| {
        !text.is_empty()
            && text
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || also.contains(&byte))
    };
    let lanana = of(name, b"-") && !name.starts_with('-');
    let lsb = name
        .trim_start_matches('_')
        .rsplit_once('-')
        .is_some_and(|(head, last)| of(last, b"") && head.split('-').all(|part| of(part, b"_.")));
    let left = ["dpkg-old", "dpkg-dist", "dpkg-new", "dpkg-tmp"].iter().any(|end| name.ends_with(end));
    (lanana || lsb) && !left && !OWN.contains(&name) && name != LAST
}

/// Only root may say what runs as root.
fn judge(path: &Path) -> std::io::Result<()> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let stat = rustix::fs::fstat(rustix::fs::open(path, flags, Mode::empty())?)?;
    let why = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile if stat.st_uid != 0 => "it does not belong to root",
        FileType::RegularFile if stat.st_mode & OTHERS_WRITE != 0 => "others than root may write it",
        FileType::RegularFile => return Ok(()),
        _ => "it is no regular file",
    };
    Err(std::io::Error::other(why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_run_parts_would_take_is_a_script_and_schroots_own_are_not() {
        for name in ["52aptcache", "09fsck", "04tmpfs", "a", "my-hook", "_org.example-hook"] {
            assert!(is_script(name), "{name}");
        }
        for name in
            ["", "README", "foo~", ".hidden", "x.sh", "-x", "10mount", "99check", "52x.dpkg-old", "a b"]
        {
            assert!(!is_script(name), "{name}");
        }
    }

    #[test]
    fn scripts_are_parted_by_the_mounts() {
        assert!(Part::BeforeMounts.has("04tmpfs") && Part::AfterMounts.has("52aptcache"));
        assert!(!Part::BeforeMounts.has("11x") && !Part::AfterMounts.has("09fsck"));
    }
}

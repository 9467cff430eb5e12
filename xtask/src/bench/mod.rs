//! `cargo xtask bench`: zchroot against Debian's schroot, on ZFS against the bare system calls, and against tar.
//!
//! Four lanes: [`host`] (store `dir`, on this host as root), [`machine`] (store `zfs`, in the uml machine; and imports into it)
//! and [`import`] (`image import` on this host, against what unpacks the same archive; and its memory, [`memory`]). A lane is one bash script made of `xtask/bench/*.sh`; it lays everything out, has hyperfine time every case in rounds, and takes
//! everything away again, also when it fails. What hyperfine wrote is read by [`samples`]; [`table`] compares; [`page`]
//! keeps docs/bench.md.
//!
//! Nothing here passes or fails by time: the verdict is a word in a table.

mod host;
mod import;
mod machine;
mod memory;
mod page;
mod samples;
mod table;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use crate::debian::libzfs;
use crate::program::{self, step};

const LIBRARY: &str = include_str!("../../bench/lib.sh");
const CASES: &str = include_str!("../../bench/cases.sh");
const AGAIN: &str = include_str!("../../bench/again.sh");
/// So many times the cases are gone through: the order spreads whatever else happens on the machine over all of them.
const ROUNDS: u32 = 6;

/// Measure zchroot against schroot and tar, and write docs/bench.md
///
/// Without an option all lanes: the store dir and imports on this host, as root, and the store zfs and imports into it in a
/// virtual machine.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only the store on directories, on this host (needs root)
    #[arg(long)]
    dir: bool,
    /// Only the store on ZFS, in a virtual machine
    #[arg(long, conflicts_with = "dir")]
    zfs: bool,
    /// Only imports: on this host (needs root), and on ZFS in a virtual machine
    #[arg(long, conflicts_with_all = ["dir", "zfs"])]
    import: bool,
    /// How often each case is timed at the least
    #[arg(long, default_value = "30", value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    runs: u32,
    /// A tar archive of the tree, in the place of Debian by mmdebstrap
    #[arg(long, value_name = "TAR")]
    tree: Option<PathBuf>,
}

/// Measures, prints the tables and writes them down.
///
/// # Errors
/// When something cannot be built, laid out or timed. What was measured in a lane before is written down already.
pub fn run(args: &Args) -> Result<()> {
    let tree = match &args.tree {
        Some(tree) => std::path::absolute(tree)?,
        None => crate::demo::tree()?.join("tree.tar"),
    };
    let all = !(args.dir || args.zfs || args.import);
    if all || args.dir {
        let lane = host::measure(&tree, rounds(args.runs))?;
        lane.show_and_keep()?;
    }
    if all || args.zfs {
        let lane = machine::measure(&tree, rounds(args.runs))?;
        lane.show_and_keep()?;
    }
    if all || args.import {
        let lane = import::measure(&tree, args.runs)?;
        lane.show_and_keep()?;
        let lane = machine::measure_imports(&tree, args.runs)?;
        lane.show_and_keep()?;
    }
    Ok(())
}

/// Rounds, and runs in each, for at least this many runs.
fn rounds(runs: u32) -> (u32, u32) {
    let rounds = ROUNDS.min(runs);
    (rounds, runs.div_ceil(rounds))
}

/// What was measured in one lane.
struct Lane {
    /// `dir`, `zfs`, `import` or `import-zfs`.
    name: &'static str,
    /// What the reader must know, as Markdown.
    about: String,
    targets: &'static [table::Target],
    samples: samples::Samples,
    /// What stands below the table.
    more: String,
}

impl Lane {
    fn show_and_keep(&self) -> Result<()> {
        let table = table::markdown(&self.samples, self.targets)?;
        let text = format!("{}\n{table}{}", self.about, self.more);
        println!("\n{text}");
        let path = libzfs::workspace().join("docs/bench.md");
        page::keep(&path, self.name, &text)?;
        step(format!("written to {}", path.display()));
        Ok(())
    }
}

/// The script of a lane.
fn script(variables: &[(&str, &str)], stage: &str) -> Result<String> {
    let mut script = String::new();
    for (name, value) in variables {
        // hyperfine cuts its commands at blanks.
        if value.contains(['\'', '"', '\\', '\n']) || (*name != "PROFILES" && value.contains(' ')) {
            bail!("{value:?}: the benchmark wants paths without blanks and quotes");
        }
        script.push_str(&format!("{name}='{value}'\n"));
    }
    Ok(format!("{script}{LIBRARY}\n{CASES}\n{AGAIN}\n{stage}\nmeasure\n"))
}

/// Builds one target as a release has it; what it made lies in the target directory.
fn build(what: &[&str]) -> Result<()> {
    step(format!("building {} (release)", what.join(" ")));
    let target = libzfs::target_dir();
    let words = [&["--quiet", "--release", "--package", "zchroot"], what].concat();
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(libzfs::program_of(&words)).envs(libzfs::provide_static()?);
    cargo.current_dir(libzfs::workspace()).env("CARGO_TARGET_DIR", &target);
    program::logged(&mut cargo, &work_dir()?.join("build.log"))
}

/// Where a run keeps what is not measured.
fn work_dir() -> Result<PathBuf> {
    let dir = std::path::absolute(libzfs::target_dir())?.join("bench");
    std::fs::create_dir_all(&dir)?;
    Ok(dir)
}

/// An empty directory for the results of a lane.
fn results_dir(lane: &str) -> Result<PathBuf> {
    let dir = work_dir()?.join(lane);
    if dir.exists() {
        std::fs::remove_dir_all(&dir)?;
    }
    std::fs::create_dir_all(&dir)?;
    Ok(dir)
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().ok_or_else(|| anyhow::anyhow!("{} is no UTF-8", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scripts_can_be_read_by_bash() {
        for stage in [host::HOST, host::STAGE, host::MANY, import::STAGE, machine::STAGE, machine::IMPORTS] {
            let script = script(&[("WORK", "/w"), ("PROFILES", "minimal default")], stage).unwrap();
            program::output(Command::new("bash").args(["-n", "-c", &script])).unwrap();
        }
    }

    #[test]
    fn a_path_that_the_scripts_would_cut_is_refused() {
        assert!(script(&[("WORK", "/a b")], "").is_err());
        assert!(script(&[("WORK", "/a'b")], "").is_err());
    }

    #[test]
    fn runs_are_spread_over_rounds_and_never_fewer_than_asked_for() {
        assert_eq!(rounds(30), (6, 5));
        assert_eq!(rounds(31), (6, 6));
        assert_eq!(rounds(2), (2, 1));
    }

    #[test]
    fn a_run_that_fails_takes_away_what_it_made() {
        let dir = std::env::temp_dir().join(format!("xtask-bench-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let made = dir.join("made");
        let stage = format!(
            "CONFIG='{0}'; touch '{1}'; undo+=(\"rm '{1}'\" false); echo x >'{0}/kept'; false",
            dir.display(),
            made.display()
        );
        let script = script(&[("RESULTS", dir.to_str().unwrap())], &stage).unwrap();
        let status = Command::new("bash").args(["-c", &script]).status().unwrap();
        let left = (made.exists(), dir.join("kept").exists());
        std::fs::remove_dir_all(&dir).unwrap();
        assert!(!status.success());
        assert_eq!(left, (false, true), "a failing step does not stop the ones after it");
    }
}

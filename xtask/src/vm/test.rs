//! `cargo xtask vm test`: builds the tests on the host, runs those that need ZFS in a machine.
//!
//! The carrier is `cargo nextest archive`: the guest needs cargo-nextest's binary and nothing else of Rust. The uml
//! machine has one CPU, so that the tests are shared out to as many of them as pay.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::{Job, Machine};
use crate::debian::libzfs;
use crate::program::{self, step};
use crate::test::effort::Effort;
use crate::test::select::Kind;

/// What the guest does; the words between @ are filled in.
const SCRIPT: &str = include_str!("../../vm/test.sh");
/// More machines than these do not pay: the longest tests are what a run waits for.
const MOST: usize = 4;
/// nextest's own status for "no tests to run".
const NO_TESTS: u8 = 4;

/// What is built and tested.
#[derive(Debug)]
pub struct Tree {
    pub root: PathBuf,
    pub target: PathBuf,
    /// The test binaries that are built; all if none is named.
    pub binaries: Vec<String>,
    /// Where the reports go.
    pub results: PathBuf,
    /// How many machines share the tests.
    pub machines: usize,
}

/// What one of the machines said.
#[derive(Debug)]
pub struct Part {
    /// The status of nextest in it.
    pub status: u8,
    /// Its report; not there if it had no test.
    pub junit: PathBuf,
}

impl Tree {
    /// The work tree.
    pub fn own(machine: Machine) -> Self {
        let target = libzfs::target_dir();
        let results = target.join("vm").join(format!("test-{}", machine.name()));
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let machines = if machine == Machine::Uml { cpus.min(MOST) } else { 1 };
        Self { root: libzfs::workspace(), target, binaries: Vec::new(), results, machines }
    }

    /// Where one of the machines leaves what it has.
    fn part(&self, number: usize) -> PathBuf {
        if self.machines == 1 { self.results.clone() } else { self.results.join(number.to_string()) }
    }
}

/// Runs the tests of an expression of nextest's; what each machine said.
///
/// # Errors
/// When they do not build or a machine fails; a failing test is a status.
pub fn run(
    machine: Machine,
    tree: &Tree,
    expression: &str,
    effort: Effort,
    timeout: Duration,
) -> Result<Vec<Part>> {
    let (nextest, results) = (nextest()?, &tree.results);
    if results.exists() {
        fs::remove_dir_all(results)?;
    }
    fs::create_dir_all(results)?;
    let archive = results.join("tests.tar.zst");
    build_archive(tree, &nextest, &archive)?;
    let mut files_in = vec![(archive, "tests.tar.zst".into()), (nextest, "cargo-nextest".into())];
    carry_tree(&tree.root, &mut files_in)?;
    // Built by one, before several want it.
    super::cache::ensure(machine)?;
    let jobs = (1..=tree.machines).map(|number| {
        let mut job = Job::new(script(machine, tree, expression, effort, number)?, tree.part(number));
        (job.timeout, job.files_in, job.quiet) = (timeout, files_in.clone(), number > 1);
        Ok(job)
    });
    let jobs = jobs.collect::<Result<Vec<Job>>>()?;
    match tree.machines {
        1 => step(format!("running the tests in the {} machine", machine.name())),
        many => step(format!("running the tests in {many} {} machines", machine.name())),
    }
    let ended: Vec<_> = std::thread::scope(|scope| {
        let running: Vec<_> = jobs.iter().map(|job| scope.spawn(|| super::run(machine, job))).collect();
        running.into_iter().map(std::thread::ScopedJoinHandle::join).collect()
    });
    let mut parts = Vec::new();
    for (job, status) in jobs.iter().zip(ended) {
        if job.quiet {
            show(&job.results);
        }
        let Ok(status) = status else { bail!("the thread of a machine panicked") };
        let status = status?;
        report(&job.results, status);
        parts.push(Part { status: super::cli::exit_status(status), junit: job.results.join("junit.xml") });
    }
    Ok(parts)
}

/// The status of all parts: the first that is none of success; none of them needs to have had a test.
pub fn status(parts: &[Part]) -> u8 {
    let had_none = |part: &&Part| part.status == NO_TESTS;
    let other = |part: &&Part| part.status != 0 && part.status != NO_TESTS;
    match parts.iter().find(other) {
        Some(part) => part.status,
        None if parts.iter().all(|part| had_none(&part)) => NO_TESTS,
        None => 0,
    }
}

/// What a machine that was quiet while others spoke has said of its tests.
fn show(results: &Path) {
    let log = fs::read(results.join("console.log")).unwrap_or_default();
    let log = String::from_utf8_lossy(&log);
    let from = log.find("Nextest run ID").unwrap_or(log.len());
    eprint!("{}", log.get(from..).unwrap_or_default());
}

/// cargo-nextest's binary, installed if need be.
fn nextest() -> Result<PathBuf> {
    let home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")))
        .context("neither CARGO_HOME nor HOME is set")?;
    let binary = home.join("bin/cargo-nextest");
    if let Some(found) =
        Some(binary.clone()).filter(|file| file.is_file()).or_else(|| program::which("cargo-nextest"))
    {
        return Ok(found);
    }
    step("installing cargo-nextest (a few minutes)");
    let log = libzfs::target_dir().join("nextest-install.log");
    program::logged(Command::new("cargo").args(["install", "--locked", "cargo-nextest"]), &log)?;
    Ok(binary)
}

fn build_archive(tree: &Tree, nextest: &Path, archive: &Path) -> Result<()> {
    step("building the tests");
    let mut cargo = Command::new(nextest);
    cargo.args(["nextest", "archive", "--package", "zchroot", "--archive-file"]).arg(archive);
    cargo.args(tree.binaries.iter().flat_map(|name| ["--test", name]));
    cargo.current_dir(&tree.root).env("CARGO_TARGET_DIR", std::path::absolute(&tree.target)?);
    cargo.envs(libzfs::provide()?);
    let status = program::shown(&mut cargo)?;
    if !status.success() {
        bail!("the tests do not build: {status}");
    }
    Ok(())
}

/// The parts of the work tree that a test may read.
fn carry_tree(root: &Path, files: &mut Vec<(PathBuf, PathBuf)>) -> Result<()> {
    files.push((root.join("Cargo.toml"), "tree/Cargo.toml".into()));
    for entry in fs::read_dir(root)?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let unwanted =
            name.starts_with('.') || name.starts_with("target") || name == "xtask" || name == "Cargo.toml";
        if !unwanted {
            files.push((entry.path(), Path::new("tree").join(name)));
        }
    }
    Ok(())
}

fn script(machine: Machine, tree: &Tree, expression: &str, effort: Effort, number: usize) -> Result<String> {
    let quoted = |path: &Path| -> Result<String> {
        let text =
            std::path::absolute(path)?.to_str().context("the work tree's path is no UTF-8")?.to_owned();
        if text.contains('\'') {
            bail!("{text} has a quote in it");
        }
        Ok(text)
    };
    let environment = effort.environment();
    let profile = effort.profile("vm", "/results/junit.xml", Kind::All, machine.slowness());
    let words: Vec<String> = environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
    Ok(SCRIPT
        .replace("@EXPRESSION@", expression)
        .replace("@PARTITION@", &format!("count:{number}/{}", tree.machines))
        .replace("@ENVIRONMENT@", &words.join(" "))
        .replace("@PROFILE@", &profile)
        .replace("@WORKSPACE@", &quoted(&tree.root)?)
        .replace("@TARGET@", &quoted(&tree.target)?))
}

/// Says how it went and where to look.
fn report(results: &Path, status: i32) {
    let summary = fs::read_to_string(results.join("junit.xml")).ok().and_then(|text| count(&text));
    match (status, summary) {
        (status, _) if status == i32::from(NO_TESTS) => step("no test matches"),
        (_, Some(counts)) => step(format!("{counts} (status {status}; {})", results.display())),
        (_, None) => step(format!("status {status}, no summary (see {})", results.display())),
    }
}

/// The counts in the first element of a junit file.
fn count(junit: &str) -> Option<String> {
    let head = junit.lines().find(|line| line.contains("<testsuites "))?;
    let number = |key: &str| head.split(&format!(" {key}=\"")).nth(1)?.split('"').next()?.parse::<u32>().ok();
    let (tests, failures, errors) = (number("tests")?, number("failures")?, number("errors")?);
    Some(format!(
        "{tests} tests: {} passed, {} failed",
        tests.saturating_sub(failures + errors),
        failures + errors
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counts_of_a_junit_file_are_read() {
        let text = "<?xml version=\"1.0\"?>\n<testsuites name=\"vm\" tests=\"12\" failures=\"2\" errors=\"1\" time=\"1.0\">\n";
        assert_eq!(count(text).unwrap(), "12 tests: 9 passed, 3 failed");
        assert_eq!(count("<testsuites name=\"x\">"), None);
    }

    #[test]
    fn what_the_tests_are_told_goes_into_the_guest() {
        let tree = Tree { machines: 3, ..Tree::own(Machine::Uml) };
        let script = script(Machine::Uml, &tree, "all()", Effort { long: true, seed: Some(7) }, 2).unwrap();
        assert!(script.contains("export ZCHROOT_TEST_LONG=1 ZCHROOT_TEST_SEED=7\n"), "{script}");
        assert!(script.contains("--partition count:2/3"), "{script}");
        assert!(script.contains("-E 'all()'") && script.contains("[profile.vm]"), "{script}");
        assert!(!script.contains('@'), "{script}");
    }

    #[test]
    fn parts_without_tests_do_not_hide_what_the_others_said() {
        let status = |all: &[u8]| {
            let part = |status: &u8| Part { status: *status, junit: PathBuf::new() };
            super::status(&all.iter().map(part).collect::<Vec<_>>())
        };
        assert_eq!([status(&[4, 4]), status(&[4, 0]), status(&[0, 100, 4]), status(&[0])], [4, 0, 100, 0]);
    }
}

//! `cargo xtask mutate`: breaks the protocol on purpose, and demands that tests notice.
//!
//! Each file of `tests/mutations/` is a way of breaking it ([`patch`]), with the tests that have to fail. It is applied to
//! a copy of the work tree ([`copy`]), and the tests are run there, on the host or in the uml machine. That each still
//! fits the sources is an ordinary test, below; that its tests pass without it is the gate's business.

mod copy;
mod patch;

use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::debian::libzfs;
use crate::program::{self, step};
use crate::test::effort::Effort;
use crate::test::select::Kind;
use crate::test::{nextest, tally};
use crate::vm::test::Tree;
use crate::vm::{self, Machine};
use copy::Copy;
use patch::{Fails, Mutation};

/// Break the protocol on purpose, in the ways of tests/mutations, and demand that the named tests fail
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Which ways, by the names of the files [default: all]
    names: Vec<String>,
    /// Leave out the tests that need a machine
    #[arg(long)]
    host: bool,
}

/// What became of a test that has to fail.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// The line that says so.
    Fails(String),
    Passes,
    FailsOtherwise,
    NotRun,
}

/// Runs the mutations and gives 0 if every test failed as it has to.
///
/// # Errors
/// When a mutation is not there, does not fit or does not build.
pub fn run(args: &Args) -> Result<u8> {
    let mutations = all()?;
    let known = |name: &String| mutations.iter().any(|mutation| mutation.name == *name);
    if let Some(name) = args.names.iter().find(|name| !known(name)) {
        let names: Vec<&str> = mutations.iter().map(|mutation| mutation.name.as_str()).collect();
        bail!("there is no mutation {name}, only {}", names.join(", "));
    }
    let copy = Copy::new()?;
    fs::create_dir_all(&copy.root)?;
    let _lock = program::lock(&copy.root.with_file_name("lock"), "mutate")?;
    let mut rows = Vec::new();
    let chosen = |mutation: &&Mutation| args.names.is_empty() || args.names.contains(&mutation.name);
    for mutation in mutations.iter().filter(chosen) {
        step(format!("{}: {}", mutation.name, mutation.what));
        copy.become_mutant(mutation)?;
        for in_machine in [false, true] {
            let here = |fails: &&Fails| fails.needs_machine() == in_machine && !(in_machine && args.host);
            let tests: Vec<&Fails> = mutation.fails.iter().filter(here).collect();
            if !tests.is_empty() {
                let report = run_tests(&copy, &tests, in_machine)?;
                rows.extend(tests.into_iter().map(|test| (mutation, test, judge(test, &report))));
            }
        }
    }
    print(&rows)
}

/// All ways, in the order of their names.
fn all() -> Result<Vec<Mutation>> {
    let dir = libzfs::workspace().join("tests/mutations");
    let mut mutations = Vec::new();
    for entry in fs::read_dir(&dir).with_context(|| format!("read {}", dir.display()))? {
        let path = entry?.path();
        let name = path.file_stem().and_then(|name| name.to_str()).context("a name that is no UTF-8")?;
        let mutation = Mutation::parse(name, &fs::read_to_string(&path)?);
        mutations.push(mutation.with_context(|| path.display().to_string())?);
    }
    mutations.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(mutations)
}

/// Runs these tests of the copy and gives nextest's report.
fn run_tests(copy: &Copy, tests: &[&Fails], in_machine: bool) -> Result<String> {
    let one = |fails: &&Fails| format!("(binary(={}) & test(={}))", fails.binary, fails.test);
    let expression = tests.iter().map(one).collect::<Vec<_>>().join(" | ");
    let mut binaries: Vec<String> = tests.iter().map(|fails| fails.binary.clone()).collect();
    binaries.sort();
    binaries.dedup();
    let effort = Effort::default();
    if in_machine {
        let results = copy.root.with_file_name("results");
        let (root, target) = (copy.root.clone(), copy.target.clone());
        let tree = Tree { root, target, binaries, results, machines: 1 };
        vm::test::run(Machine::Uml, &tree, &expression, effort, effort.machine_limit(1))?;
        return read(&tree.results.join("junit.xml"));
    }
    let (junit, config) = (copy.root.with_file_name("junit.xml"), copy.root.with_file_name("nextest.toml"));
    let _ = fs::remove_file(&junit);
    fs::write(
        &config,
        effort.profile("host", junit.to_str().context("a path that is no UTF-8")?, Kind::All, 1),
    )?;
    let mut command = nextest::command(&["run", "--package", "zchroot", "--profile", "host"], &expression)?;
    command.args(binaries.iter().flat_map(|name| ["--test", name]));
    command.arg("--tool-config-file").arg(format!("xtask:{}", config.display()));
    command.current_dir(&copy.root).env("CARGO_TARGET_DIR", OsString::from(&copy.target));
    nextest::as_root(&mut command)?;
    program::shown(&mut command)?;
    read(&junit)
}

fn read(junit: &Path) -> Result<String> {
    fs::read_to_string(junit).context("nextest left no report: what is broken must build all the same")
}

fn judge(test: &Fails, report: &str) -> Verdict {
    let name = format!("zchroot::{} {}", test.binary, test.test);
    let Some((failed, text)) = tally::case(report, &name) else { return Verdict::NotRun };
    match text.lines().find(|line| line.contains(&test.says)) {
        _ if !failed => Verdict::Passes,
        None => Verdict::FailsOtherwise,
        Some(line) => Verdict::Fails(line.trim().to_owned()),
    }
}

fn print(rows: &[(&Mutation, &Fails, Verdict)]) -> Result<u8> {
    let mut out = std::io::stdout().lock();
    let mut missed = 0;
    for (mutation, test, verdict) in rows {
        let says = match verdict {
            Verdict::Fails(line) => format!("fails: {line}"),
            Verdict::Passes => "PASSES: nobody notices".to_owned(),
            Verdict::FailsOtherwise => format!("FAILS without saying {:?}", test.says),
            Verdict::NotRun => "IS NOT RUN: there is no such test".to_owned(),
        };
        missed += usize::from(!matches!(verdict, Verdict::Fails(_)));
        writeln!(out, "{}\n  {} {}\n    {says}", mutation.name, test.binary, test.test)?;
    }
    writeln!(out, "{} tests have to fail, {} do, {missed} do not", rows.len(), rows.len() - missed)?;
    out.flush()?;
    Ok(u8::from(missed > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sources of a test binary.
    fn sources(binary: &str) -> String {
        let tests = libzfs::workspace().join("tests");
        let (file, mut dir) = (tests.join(format!("{binary}.rs")), vec![tests.join(binary)]);
        if file.is_file() {
            // It may have the rest elsewhere (store_contract: contract/).
            return fs::read_to_string(file).unwrap();
        }
        let mut text = String::new();
        while let Some(next) = dir.pop() {
            for path in fs::read_dir(&next).unwrap().map(|entry| entry.unwrap().path()) {
                if path.is_dir() { dir.push(path) } else { text += &fs::read_to_string(path).unwrap() }
            }
        }
        text
    }

    #[test]
    fn every_mutation_still_fits_the_sources() {
        let mutations = all().unwrap();
        assert!(mutations.len() >= 4);
        for mutation in &mutations {
            for path in mutation.paths() {
                let text = fs::read_to_string(libzfs::workspace().join(path)).unwrap();
                let broken = mutation.applied(path, &text).unwrap_or_else(|error| {
                    panic!("tests/mutations/{}.patch does not fit any more: {error}", mutation.name)
                });
                assert_ne!(broken, text, "{}", mutation.name);
            }
        }
    }

    #[test]
    fn the_tests_that_a_mutation_names_are_there() {
        for mutation in all().unwrap() {
            for Fails { binary, test, .. } in &mutation.fails {
                let name = test.rsplit("::").next().unwrap();
                // Not by its definition: macros make some, and others are listed in one.
                assert!(sources(binary).contains(name), "{}: {binary} has no {test}", mutation.name);
            }
        }
    }

    #[test]
    fn a_test_has_to_fail_and_to_say_why() {
        let report = "<testcase name=\"a::b\" classname=\"zchroot::x\" time=\"1\"><failure type=\"t\">\
            panicked\nbroken: I8 &lt;what&gt;\n</failure></testcase>\
            <testcase name=\"c\" classname=\"zchroot::x\" time=\"1\"></testcase>";
        let verdict = |test: &str, says: &str| {
            let [binary, test, says] = ["x", test, says].map(str::to_owned);
            judge(&Fails { binary, test, says }, report)
        };
        assert_eq!(verdict("a::b", "broken: I8"), Verdict::Fails("broken: I8 <what>".to_owned()));
        assert_eq!(verdict("a::b", "broken: I9"), Verdict::FailsOtherwise);
        assert_eq!(verdict("c", "broken"), Verdict::Passes);
        assert_eq!(verdict("b", "broken"), Verdict::NotRun);
    }
}

//! The tests, by cargo-nextest: on this host, and in the machines.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::checks::{cargo, ensure_cargo_tool};
use super::clients;
use super::effort::Effort;
use super::select::{self, Kind, Place};
use super::tally::{Skip, Tally};
use crate::debian::{self, libzfs};
use crate::demo;
use crate::program;
use crate::vm::{self, Machine};

/// Programs that tests on the host call.
const PROGRAMS: [&str; 19] = [
    "busybox-static",
    "mmdebstrap",
    "strace",
    "spin",
    "gcc",
    "hyperfine",
    "pkg-config",
    "squashfs-tools",
    "umoci",
    "skopeo",
    "e2fsprogs",
    "xfsprogs",
    "btrfs-progs",
    "zstd",
    "bzip2",
    "acl",
    "attr",
    "libcap2-bin",
    "systemd",
];

/// Which tests a run is of, and how.
#[derive(Clone, Copy, Debug)]
pub struct Tests<'a> {
    pub kind: Kind,
    pub filter: Option<&'a str>,
    pub effort: Effort,
}

/// Runs what needs no ZFS, as root.
///
/// # Errors
/// When the tests do not build, or we can be root in no way.
pub fn host(tests: Tests<'_>) -> Result<Tally> {
    ensure_cargo_tool("cargo-nextest")?;
    let expression = select::expression(tests.kind, Place::Host, tests.filter)?;
    let clients = tests.kind == Kind::Clients;
    if clients && tests.filter.is_some() && matching(&list(tests.kind, &expression)?).next().is_none() {
        return Ok(Tally::default());
    }
    debian::ensure_packages(if clients { &clients::PACKAGES } else { &PROGRAMS })?;
    let dir = libzfs::target_dir().join("test-host");
    fs::create_dir_all(&dir).with_context(|| format!("make {}", dir.display()))?;
    let dir = dir.canonicalize()?;
    let (junit, config) = (dir.join("junit.xml"), dir.join("nextest.toml"));
    remove(&junit)?;
    let report = junit.to_str().context("the target directory's path is no UTF-8")?;
    fs::write(&config, tests.effort.profile("host", report, tests.kind, 1))?;
    let mut command = nextest(tests.kind, &["run", "--profile", "host"], &expression)?;
    command.arg("--tool-config-file").arg(format!("xtask:{}", config.display()));
    command.args(["--no-tests", "pass", "--no-input-handler"]).envs(tests.effort.environment());
    // For trees that mmdebstrap makes.
    command.env("ZCHROOT_TEST_SOURCE", demo::source()?.line());
    if tests.kind == Kind::Crash {
        // They wait half of the time: for the kernel, to take mounts and namespaces away.
        command.args(["--test-threads", &(2 * cores()).to_string()]);
    }
    if clients {
        let program = clients::program()?;
        command.env("ZCHROOT_TEST_PACKAGES", clients::packages(&program)?);
        command.env("ZCHROOT_TEST_PROGRAM", program);
    }
    as_root(&mut command)?;
    let status = program::shown(&mut command)?;
    collect("host", &junit, status.code(), || Ok(ignored_in(&list(tests.kind, &expression)?)))
}

/// Runs what needs ZFS in a machine, which is not even started for nothing.
///
/// # Errors
/// When the tests do not build or the machine fails.
pub fn machine(machine: Machine, tests: Tests<'_>) -> Result<Tally> {
    ensure_cargo_tool("cargo-nextest")?;
    let expression = select::expression(tests.kind, Place::Machine, tests.filter)?;
    let list = list(tests.kind, &expression)?;
    if matching(&list).next().is_none() {
        return Ok(Tally::default());
    }
    let tree = vm::test::Tree::own(machine);
    let limit = tests.effort.machine_limit(machine.slowness());
    let parts = vm::test::run(machine, &tree, &expression, tests.effort, limit)?;
    let mut tally = Tally { skipped: ignored_in(&list), ..Tally::default() };
    for part in parts {
        tally.add(collect(machine.name(), &part.junit, Some(i32::from(part.status)), || Ok(Vec::new()))?);
    }
    Ok(tally)
}

/// A nextest command for the tests of an expression.
///
/// # Errors
/// When libzfs_core cannot be had.
pub fn command(args: &[&str], expression: &str) -> Result<Command> {
    let mut command = cargo(&["nextest"]);
    command.args(args).args(["-E", expression]).envs(libzfs::provide()?);
    Ok(command)
}

/// The same for the whole workspace, or of it just what tests of a kind are in.
fn nextest(kind: Kind, args: &[&str], expression: &str) -> Result<Command> {
    let mut command = command(args, expression)?;
    match kind {
        Kind::Clients => command.args(["--package", "zchroot", "--test", "clients"]),
        _ => command.arg("--workspace"),
    };
    Ok(command)
}

/// Lets the test binaries run as root: by themselves if we are it, else each through sudo.
///
/// # Errors
/// When sudo does not let us.
pub fn as_root(command: &mut Command) -> Result<()> {
    if debian::is_root() {
        return Ok(());
    }
    let can = program::which("sudo").is_some()
        && Command::new("sudo").args(["-n", "true"]).status().is_ok_and(|status| status.success());
    if !can {
        bail!("the tests on the host need root: become root, or let sudo do without a password");
    }
    let rustc = program::output(Command::new("rustc").arg("-vV"))?;
    let host =
        rustc.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc -vV names no host")?;
    let variable = format!("CARGO_TARGET_{}_RUNNER", host.to_uppercase().replace('-', "_"));
    // The loader hides LD_LIBRARY_PATH from sudo, a setuid program: it goes as a word.
    let mut runner = "sudo -n --preserve-env env".to_owned();
    let libraries =
        command.get_envs().find_map(|(name, value)| value.filter(|_| name == OsStr::new("LD_LIBRARY_PATH")));
    if let Some(libraries) = libraries {
        runner.push_str(&format!(" LD_LIBRARY_PATH={}", libraries.to_string_lossy()));
    }
    command.env(variable, runner);
    Ok(())
}

/// What a finished run says; one without a report has failed as a whole.
fn collect(
    name: &str,
    junit: &Path,
    status: Option<i32>,
    ignored: impl FnOnce() -> Result<Vec<Skip>>,
) -> Result<Tally> {
    // 4 is nextest's "no tests to run".
    if !junit.exists() && matches!(status, Some(0 | 4)) {
        return Ok(Tally { skipped: ignored()?, ..Tally::default() });
    }
    let text = fs::read_to_string(junit)
        .with_context(|| format!("{name}: nextest ended with {status:?} and no report"))?;
    let mut tally = Tally::of_junit(&text)?;
    if status != Some(0) && tally.failed.is_empty() {
        tally.failed.push(format!("{name}: nextest ended with {status:?}"));
    }
    tally.skipped.extend(ignored()?);
    Ok(tally)
}

/// The tests of an expression, ignored ones too, as nextest lists them.
fn list(kind: Kind, expression: &str) -> Result<Value> {
    let mut command = nextest(kind, &["list"], expression)?;
    command.args(["--run-ignored", "all", "--message-format", "json", "--cargo-quiet"]);
    serde_json::from_str(&program::output(&mut command)?).context("read nextest's list")
}

/// Those of a list that the expression chose: binary, test, what is known of it.
fn matching(list: &Value) -> impl Iterator<Item = (&str, &str, &Value)> {
    let suites = list["rust-suites"].as_object().into_iter().flatten();
    let all = suites.flat_map(|(binary, suite)| {
        let tests = suite["testcases"].as_object().into_iter().flatten();
        tests.map(move |(name, test)| (binary.as_str(), name.as_str(), test))
    });
    all.filter(|(_, _, test)| test["filter-match"]["status"] == "matches")
}

/// The tests of a list that are marked as ignored: nextest says nothing of them in its report.
fn ignored_in(list: &Value) -> Vec<Skip> {
    let ignored = matching(list).filter(|(_, _, test)| test["ignored"] == true);
    ignored
        .map(|(binary, name, _)| Skip {
            name: format!("{binary} {name}"),
            why: "marked #[ignore]".to_owned(),
        })
        .collect()
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn remove(file: &Path) -> Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", file.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ignored_tests_of_the_lane_are_skips() {
        let test = |ignored: bool, status: &str| serde_json::json!({"ignored": ignored, "filter-match": {"status": status}});
        let list = serde_json::json!({"rust-suites": {"zchroot::x": {"testcases": {
            "a": test(true, "matches"), "b": test(false, "matches"), "c": test(true, "mismatch"),
        }}}});
        let names: Vec<String> = ignored_in(&list).into_iter().map(|skip| skip.name).collect();
        assert_eq!(names, ["zchroot::x a"]);
        assert_eq!(matching(&list).count(), 2);
    }

    #[test]
    fn a_run_without_a_report_has_failed() {
        let nowhere = Path::new("/nonexistent/junit.xml");
        assert!(collect("host", nowhere, Some(101), || Ok(Vec::new())).is_err());
        assert!(collect("host", nowhere, None, || Ok(Vec::new())).is_err());
        assert!(collect("host", nowhere, Some(4), || Ok(Vec::new())).unwrap().is_empty());
    }
}

//! The checks that are no tests: formatting, lints, dependencies. Each counts as one.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::tally::{Skip, Tally};
use crate::debian::libzfs;
use crate::man;
use crate::program::{self, step};

/// How a tool is built that we need once: quick to build, since nobody waits for the tool itself.
const QUICK_BUILD: [(&str, &str); 3] = [
    ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1"),
    ("CARGO_PROFILE_RELEASE_LTO", "off"),
    ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16"),
];

/// A cargo command in the work tree.
pub fn cargo(args: &[&str]) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(args).current_dir(libzfs::workspace());
    cargo
}

/// Installs a subcommand of cargo if it is not there.
///
/// # Errors
/// When it does not build.
pub fn ensure_cargo_tool(name: &str) -> Result<()> {
    let home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
    if program::which(name).is_some() || home.is_some_and(|home| home.join("bin").join(name).is_file()) {
        return Ok(());
    }
    step(format!("installing {name}: cargo install --locked {name} (some minutes)"));
    let log = libzfs::target_dir().join(format!("{name}-install.log"));
    let target = libzfs::target_dir().join("tools");
    let mut install = cargo(&["install", "--locked", name]);
    // Not the work tree: its toolchain file and .cargo/config.toml are not the tool's.
    install.current_dir("/").env("CARGO_TARGET_DIR", target).envs(QUICK_BUILD);
    program::logged(&mut install, &log)
}

/// Whether the code is formatted.
pub fn fmt() -> Result<Tally> {
    one("fmt", &mut cargo(&["fmt", "--all", "--check"]))
}

/// The lints, twice: what is compiled without ZFS is compiled by nobody else here.
pub fn clippy() -> Result<Tally> {
    let zfs = libzfs::provide()?;
    let mut tally = Tally::default();
    for (name, features) in [("clippy", None), ("clippy without zfs", Some("--no-default-features"))] {
        let mut command = cargo(&["clippy", "--workspace", "--all-targets"]);
        command.args(features).args(["--", "-D", "warnings"]).envs(zfs.clone());
        tally.add(one(name, &mut command)?);
    }
    Ok(tally)
}

/// The dependencies. The advisories come from a server; where it cannot be reached, an older copy of them does, and
/// where there is none, they are skipped.
pub fn deny() -> Result<Tally> {
    ensure_cargo_tool("cargo-deny")?;
    let mut tally = Tally::default();
    let skipped = match program::output(&mut cargo(&["deny", "fetch", "db"])) {
        Ok(_) => None,
        Err(_) if has_advisories() => {
            step("deny: the advisory database cannot be fetched, using the copy that is here");
            None
        }
        Err(error) => Some(error),
    };
    program::check_interrupt()?;
    // It looks at the crates of all platforms, and a build has fetched those of this one.
    program::output(&mut cargo(&["fetch", "--locked"])).context("fetch the crates of all platforms")?;
    let mut command = cargo(&["deny", "--offline", "check"]);
    match &skipped {
        None => tally.add(one("deny", &mut command)?),
        Some(error) => {
            tally.add(one("deny", command.args(["bans", "licenses", "sources"]))?);
            let why = format!("{error:#}").lines().last().unwrap_or_default().trim().to_owned();
            tally
                .skipped
                .push(Skip { name: "advisories".into(), why: format!("no advisory database: {why}") });
        }
    }
    Ok(tally)
}

/// Whether the manual pages say what the program's own help says.
pub fn man() -> Result<Tally> {
    man::run(&man::Args { check: true })?;
    Ok(Tally::one("man", true))
}

/// Whether cargo-deny has a copy of the advisory database.
fn has_advisories() -> bool {
    let home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
    home.is_some_and(|home| {
        ["advisory-dbs", "advisory-db"].iter().any(|name| {
            std::fs::read_dir(home.join(name))
                .is_ok_and(|mut entries| entries.any(|entry| is_database(entry.ok())))
        })
    })
}

/// An entry that holds advisories, not the lock beside them or an empty directory of a fetch that failed.
fn is_database(entry: Option<std::fs::DirEntry>) -> bool {
    entry.is_some_and(|entry| entry.path().join("crates").is_dir() || entry.file_name() == "crates")
}

/// Runs a check that counts as one.
fn one(name: &str, command: &mut Command) -> Result<Tally> {
    let status = program::shown(command).with_context(|| format!("run {name}"))?;
    // 101 is cargo's own failure (or the lint's), 1 rustfmt's; "no such command" needs a hint.
    if !status.success() && missing_component(command) {
        bail!("cargo has no {name} here: rustup component add rustfmt clippy");
    }
    Ok(Tally::one(name, status.success()))
}

fn missing_component(command: &Command) -> bool {
    let subcommand = command.get_args().next().unwrap_or_default().to_string_lossy().into_owned();
    ["fmt", "clippy"].contains(&subcommand.as_str())
        && program::output(&mut cargo(&[&subcommand, "--version"])).is_err()
}

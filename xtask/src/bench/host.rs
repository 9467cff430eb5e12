//! The store on directories, on this host.

use std::net::ToSocketAddrs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::samples::Samples;
use super::table::{NO_PROFILE, Target};
use super::{Lane, build, results_dir, script, text, work_dir};
use crate::debian::{self, libzfs};
use crate::program::{self, step};

/// What every stage on this host begins with.
pub const HOST: &str = include_str!("../../bench/host.sh");
pub const STAGE: &str = include_str!("../../bench/dir.sh");
/// What follows it: the program in schroot's place, beside a thousand sessions.
pub const MANY: &str = include_str!("../../bench/many.sh");
const PROFILES: &str = "minimal default sbuild";
const TARGETS: [Target; 3] = [
    Target { operation: "run", profile: "default", other: "directory", at_most: 10.0, aim: 20.0 },
    Target { operation: "exec", profile: "default", other: "directory", at_most: 2.0, aim: 4.0 },
    Target { operation: "many-exec", profile: NO_PROFILE, other: "schroot", at_most: 3.0, aim: 4.0 },
];

/// Measures.
///
/// # Errors
/// When we cannot be root, the program does not build, or a case fails.
pub fn measure(tree: &Path, (rounds, runs): (u32, u32)) -> Result<Lane> {
    debian::ensure_packages(&["schroot", "hyperfine"])?;
    warn_of_slow_names();
    build(&["--bin", "zchroot"])?;
    let work = work_dir()?;
    let _lock = program::lock(&work.join("lock"), "bench")?;
    let program = work.join("zchroot");
    std::fs::copy(libzfs::target_dir().join("release/zchroot"), &program)?;
    let results = results_dir("dir")?;
    let trees = work.join("trees");
    let (rounds_word, runs_word) = (rounds.to_string(), runs.to_string());
    let variables = [
        ("WORK", text(&trees)?),
        ("RESULTS", text(&results)?),
        ("ZCHROOT", text(&program)?),
        ("TREE", text(tree)?),
        ("PROFILES", PROFILES),
        ("RUNS", &runs_word),
        ("ROUNDS", &rounds_word),
    ];
    step(format!("{rounds} rounds with {runs} runs of each case, on this host"));
    for (name, stage) in [("dir.sh", STAGE), ("many.sh", MANY)] {
        let file = work.join(name);
        std::fs::write(&file, script(&variables, &format!("{HOST}\n{stage}"))?)?;
        // A namespace of its own: what is mounted for the run is seen by nobody else, and goes with it.
        let status = program::shown(as_root("unshare")?.args(["--mount", "bash"]).arg(&file))?;
        if !status.success() {
            bail!("measuring: {status} (see {})", results.display());
        }
    }
    Ok(Lane {
        name: "dir",
        about: about(rounds * runs)?,
        targets: &TARGETS,
        more: String::new(),
        samples: Samples::read(&results)?,
    })
}

fn about(runs: u32) -> Result<String> {
    let uname = program::output(Command::new("uname").arg("-rm"))?;
    let cpus = std::thread::available_parallelism()?;
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').nth(1).unwrap_or("?").to_owned();
    let schroot = program::output(Command::new("dpkg-query").args(["-W", "-f=${Version}", "schroot"]))?;
    let hyperfine = program::output(program::command("hyperfine").arg("--version"))?;
    let file_system = file_system(&work_dir()?)?;
    let date = program::output(Command::new("date").args(["-u", "+%Y-%m-%d"]))?;
    Ok(format!(
        "## The store `dir`, on a host\n\n{}, Linux {}, {cpus} CPUs, load {load} over the run, {}, \
         schroot {schroot}, {}. {runs} runs of each case.\n\n\
         zchroot (release build) begins overlay sessions of its store `dir`; schroot has the same Debian tree as type \
         directory, alone and with union-type overlay. Both run as root, with profiles of the same names, on one file system. \
         Where 1,000 sessions stand the profile is minimal, and both are called as `schroot` unless the row says otherwise.\n",
        date.trim(),
        uname.trim(),
        file_system,
        hyperfine.trim(),
    ))
}

/// The type of the file system, and what makes removing a file wait for the disk; no other option, some name paths.
pub fn file_system(at: &Path) -> Result<String> {
    let text =
        program::output(program::command("findmnt").args(["-n", "-o", "FSTYPE,OPTIONS", "-T"]).arg(at))?;
    let (kind, options) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
    let discard = options.trim().split(',').any(|option| option == "discard");
    Ok(if discard { format!("{kind} mounted with discard") } else { kind.to_owned() })
}

/// schroot asks for the address of the host's name several times in each call.
fn warn_of_slow_names() {
    let Ok(name) = program::output(Command::new("uname").arg("-n")) else { return };
    let begun = Instant::now();
    let found = (name.trim(), 0).to_socket_addrs().is_ok();
    if !found || begun.elapsed() > Duration::from_millis(50) {
        step(format!(
            "warning: the name of this host, {}, is not in /etc/hosts: schroot will ask the network for it in each call",
            name.trim()
        ));
    }
}

pub fn as_root(name: &str) -> Result<Command> {
    if debian::is_root() {
        return Ok(program::command(name));
    }
    let sudo =
        program::which("sudo").context("the benchmark on this host needs root, and there is no sudo")?;
    let mut command = Command::new(sudo);
    command.arg(program::which(name).with_context(|| format!("there is no {name}"))?);
    Ok(command)
}

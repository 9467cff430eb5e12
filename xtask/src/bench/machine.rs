//! The store on ZFS, in the uml machine: a pool on a file, one CPU, nobody else.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::samples::Samples;
use super::table::Target;
use super::{Lane, build, results_dir, script};
use crate::debian::libzfs;
use crate::program::{self, step};
use crate::vm::{self, Job, Machine};

pub const STAGE: &str = include_str!("../../bench/zfs.sh");
const PROFILES: &str = "minimal default";
const TARGETS: [Target; 2] = [
    Target { operation: "run", profile: "default", other: "snapshot", at_most: 5.0, aim: 10.0 },
    Target { operation: "exec", profile: "default", other: "snapshot", at_most: 2.0, aim: 4.0 },
];
const LIMIT: Duration = Duration::from_secs(3600);
/// What the section says of the machine, told by the machine.
const FACTS: &str = "
{
    uname -rm
    zfs version | head -n 1
    dpkg-query -W -f='schroot ${Version}\\n' schroot
    hyperfine --version
} >/results/facts
";

/// Measures.
///
/// # Errors
/// When the machine or the program cannot be built, or a case fails.
pub fn measure(tree: &Path, (rounds, runs): (u32, u32)) -> Result<Lane> {
    build(&["--bin", "zchroot"])?;
    build(&["--example", "raw_session"])?;
    let results = results_dir("zfs")?;
    let script = script(
        &[
            ("WORK", "/scratch"),
            ("RESULTS", "/results"),
            ("ZCHROOT", "/in/zchroot"),
            ("RAW", "/in/raw_session"),
            ("TREE", "/in/tree.tar"),
            ("PROFILES", PROFILES),
            ("RUNS", &runs.to_string()),
            ("ROUNDS", &rounds.to_string()),
        ],
        STAGE,
    )?;
    let mut job = Job::new(format!("{FACTS}{script}"), &results);
    job.timeout = LIMIT;
    let release = libzfs::target_dir().join("release");
    job.files_in = vec![
        (release.join("zchroot"), PathBuf::from("zchroot")),
        (release.join("examples/raw_session"), PathBuf::from("raw_session")),
        (tree.to_owned(), PathBuf::from("tree.tar")),
    ];
    step(format!("{rounds} rounds with {runs} runs of each case, in the uml machine"));
    let status = vm::run(Machine::Uml, &job)?;
    if status != 0 {
        bail!("measuring in the machine: status {status} (see {})", results.display());
    }
    Ok(Lane {
        name: "zfs",
        about: about(&results, rounds * runs)?,
        targets: &TARGETS,
        more: String::new(),
        samples: Samples::read(&results)?,
    })
}

fn about(results: &Path, runs: u32) -> Result<String> {
    let facts = std::fs::read_to_string(results.join("facts")).context("read what the machine told")?;
    let facts: Vec<&str> = facts.lines().collect();
    let date = program::output(Command::new("date").args(["-u", "+%Y-%m-%d"]))?;
    Ok(format!(
        "## The store `zfs`, in a virtual machine\n\n{}, User-Mode Linux {}, 1 CPU. {runs} runs of each case.\n\n\
         zchroot (release build) and schroot, type zfs-snapshot, have the same Debian tree in the same pool, a file on ext4; \
         both run as root, with profiles of the same names. The bare calls are a small program (examples/raw_session.rs) \
         that clones, mounts, forks, enters with chroot(2), unmounts and destroys, and does nothing else: no record, no \
         lock, no set-up of the tree. They are not a goal but the floor. System calls and new processes are several times \
         as slow in User-Mode Linux as on hardware, so ratios to a program that starts many processes flatter.\n",
        date.trim(),
        facts.join(", "),
    ))
}

//! The store on ZFS, in the uml machine: a pool on a file, one CPU, nobody else.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::import::{MOST_ROUNDS, about_sharing, target};
use super::samples::Samples;
use super::table::Target;
use super::{Lane, build, results_dir, script};
use crate::debian::libzfs;
use crate::program::{self, step};
use crate::vm::{self, Job, Machine};

pub const STAGE: &str = include_str!("../../bench/zfs.sh");
/// Imports into that store.
pub const IMPORTS: &str = include_str!("../../bench/import-zfs.sh");
const IMPORT_TARGETS: [Target; 2] =
    [target("again-zfs-tar", "tar"), target("again-zfs-squashfs", "unsquashfs")];
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
    dpkg-query -W -f='${Package} ${Version}\\n' schroot squashfs-tools tar
    hyperfine --version
} >/results/facts
";

/// Measures.
///
/// # Errors
/// When the machine or the program cannot be built, or a case fails.
pub fn measure(tree: &Path, (rounds, runs): (u32, u32)) -> Result<Lane> {
    build(&["--example", "raw_session"])?;
    let results = results_dir("zfs")?;
    let raw = libzfs::target_dir().join("release/examples/raw_session");
    let more = [("PROFILES", PROFILES), ("RAW", "/in/raw_session")];
    run(tree, STAGE, &results, (rounds, runs), &more, vec![(raw, PathBuf::from("raw_session"))])?;
    Ok(Lane {
        name: "zfs",
        about: about(&results, rounds * runs)?,
        targets: &TARGETS,
        more: String::new(),
        samples: Samples::read(&results)?,
    })
}

/// Measures imports of a second similar image.
///
/// # Errors
/// As [`measure`].
pub fn measure_imports(tree: &Path, runs: u32) -> Result<Lane> {
    let results = results_dir("import-zfs")?;
    let rounds = runs.min(MOST_ROUNDS);
    run(tree, IMPORTS, &results, (rounds, 1), &[], Vec::new())?;
    let about = format!(
        "## Imports into the store `zfs`, in a virtual machine\n\n{}, 1 CPU. {rounds} runs of each case.\n\n\
         A second image that shares most files: the tree some time later, in a store that has the first one, on a pool on a file on \
         ext4; the others unpack it to a dataset of the same pool. {}",
        facts(&results)?,
        about_sharing(&results)?,
    );
    let samples = Samples::read(&results)?;
    Ok(Lane { name: "import-zfs", about, targets: &IMPORT_TARGETS, more: String::new(), samples })
}

/// Runs a stage in the machine.
fn run(
    tree: &Path,
    stage: &str,
    results: &Path,
    (rounds, runs): (u32, u32),
    more: &[(&str, &str)],
    files: Vec<(PathBuf, PathBuf)>,
) -> Result<()> {
    build(&["--bin", "zchroot"])?;
    let (runs, rounds) = (runs.to_string(), rounds.to_string());
    let all = [
        ("WORK", "/scratch"),
        ("RESULTS", "/results"),
        ("ZCHROOT", "/in/zchroot"),
        ("TREE", "/in/tree.tar"),
        ("RUNS", &runs),
        ("ROUNDS", &rounds),
    ];
    let script = script(&[&all, more].concat(), stage)?;
    let mut job = Job::new(format!("{FACTS}{script}"), results);
    job.timeout = LIMIT;
    let program = libzfs::target_dir().join("release/zchroot");
    job.files_in = vec![(program, PathBuf::from("zchroot")), (tree.to_owned(), PathBuf::from("tree.tar"))];
    job.files_in.extend(files);
    step(format!("{rounds} rounds with {runs} runs of each case, in the uml machine"));
    let status = vm::run(Machine::Uml, &job)?;
    if status != 0 {
        bail!("measuring in the machine: status {status} (see {})", results.display());
    }
    Ok(())
}

/// The day, and what the machine told of itself.
fn facts(results: &Path) -> Result<String> {
    let facts = std::fs::read_to_string(results.join("facts")).context("read what the machine told")?;
    let facts: Vec<&str> = facts.lines().collect();
    let date = program::output(Command::new("date").args(["-u", "+%Y-%m-%d"]))?;
    Ok(format!("{}, User-Mode Linux {}", date.trim(), facts.join(", ")))
}

fn about(results: &Path, runs: u32) -> Result<String> {
    Ok(format!(
        "## The store `zfs`, in a virtual machine\n\n{}, 1 CPU. {runs} runs of each case.\n\n\
         zchroot (release build) and schroot, type zfs-snapshot, have the same Debian tree in the same pool, a file on ext4; \
         both run as root, with profiles of the same names. The bare calls are a small program (examples/raw_session.rs) \
         that clones, mounts, forks, enters with chroot(2), unmounts and destroys, and does nothing else: no record, no \
         lock, no set-up of the tree. They are not a goal but the floor. System calls and new processes are several times \
         as slow in User-Mode Linux as on hardware, so ratios to a program that starts many processes flatter.\n",
        facts(results)?,
    ))
}

//! Virtual machines that have ZFS, for whoever develops on a host that has none.
//!
//! Two machines (docs: `cargo xtask vm --help`): **uml** is User-Mode Linux, needs neither root nor KVM and is up in a
//! second; **qemu** is the stock kernel of Debian 13, slow under emulation, the proof that nothing depends on UML.
//! Both are built once into a cache outside the work tree ([`cache`]) and never written again: a run gets a
//! copy-on-write layer and a scratch disk of its own ([`rundir`]).
//!
//! [`run`] is the one way in: a bash script as root in a fresh machine. In the guest: `/in` holds the files that were
//! carried in (read only), `/scratch` is an empty ext4 disk, what is left in `/results` is carried out, and
//! `/etc/zchroot-test-vm` tells a test that it may make pools here. The guest's side of the bargain is `vm/init.sh`.

pub mod cache;
pub mod cli;
mod console;
mod image;
mod qemu;
mod qemu_kernel;
mod rundir;
mod shell;
pub mod test;
mod uml;
mod uml_kernel;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::program;
use console::End;
use rundir::RunDir;

/// The status of a job that wrote a line `@@vm:cut`, or of one with [`Job::cut_after`] whose time came: the machine was
/// killed, there are no results. With [`Job::scratch`] the next run finds the disk as the power cut left it.
pub const CUT: i32 = 128 + 9;

/// Which machine runs the job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Machine {
    /// User-Mode Linux: up in a second, needs neither root nor KVM, one CPU
    Uml,
    /// The stock kernel of Debian 13, two CPUs, slow without KVM
    Qemu,
}

impl Machine {
    pub fn name(self) -> &'static str {
        match self {
            Self::Uml => "uml",
            Self::Qemu => "qemu",
        }
    }

    /// How many times as long as on the host a test may take in it: without KVM each instruction is emulated.
    pub fn slowness(self) -> u32 {
        match self {
            Self::Uml => 1,
            Self::Qemu => 4,
        }
    }
}

/// What to run, with what, and what comes back.
#[derive(Clone, Debug)]
pub struct Job {
    /// Files and directories of the host, and where they are found below `/in` in the guest.
    pub files_in: Vec<(PathBuf, PathBuf)>,
    /// A bash script; root runs it in `/scratch`.
    pub script: String,
    /// Where the content of `/results` goes (made if need be), with `console.log` beside it.
    pub results: PathBuf,
    /// How long the machine may take, boot included.
    pub timeout: Duration,
    /// Shows what the machine itself writes too, not the job's output alone, and how long it took to boot.
    pub console: bool,
    /// A scratch disk that outlives the run (made if it is not there), so that a second run finds what the first one left
    /// when it was cut off. Without it, `/scratch` is new and empty.
    pub scratch: Option<PathBuf>,
    /// Shows nothing of what the machine writes; it is in `console.log`.
    pub quiet: bool,
    /// Kills the machine so long after the job wrote a line `@@vm:armed`.
    pub cut_after: Option<Duration>,
}

impl Job {
    /// A job with no files, ten minutes, and nothing special.
    pub fn new(script: impl Into<String>, results: impl Into<PathBuf>) -> Self {
        Self {
            files_in: Vec::new(),
            script: script.into(),
            results: results.into(),
            timeout: Duration::from_secs(600),
            console: false,
            scratch: None,
            quiet: false,
            cut_after: None,
        }
    }
}

/// Runs a job in a fresh machine (which is built first if need be), its output live on our stdout, and gives its exit
/// status.
///
/// # Errors
/// When the machine cannot be built or started, panics, stops without a status or runs out of time (with the tail of the
/// console), or when we are interrupted. No process, mount or file of the run is left in any of these cases.
pub fn run(machine: Machine, job: &Job) -> Result<i32> {
    let image = cache::ensure(machine)?;
    let dir = RunDir::new()?;
    prepare(&dir, job)?;
    let (mut console, child) = match machine {
        Machine::Uml => uml::start(&image, &dir, job.scratch.is_some())?,
        Machine::Qemu => qemu::start(&image, &dir, job.scratch.is_some())?,
    };
    console.show_machine(job.console);
    console.be_quiet(job.quiet);
    console.cut_after(job.cut_after);
    let end = console.follow(child, job.timeout);
    if let Some(boot) = console.booted().filter(|_| job.console) {
        program::step(format!("the {} machine was up after {:.2} s", machine.name(), boot.as_secs_f64()));
    }
    fs::create_dir_all(&job.results).with_context(|| format!("make {}", job.results.display()))?;
    fs::write(job.results.join("console.log"), console.log())?;
    match end? {
        End::Finished => carry_out(&dir.path().join("out.tar"), &job.results)
            .with_context(|| format!("the {} machine:\n{}", machine.name(), console.tail())),
        End::Cut => Ok(CUT),
        other => bail!("the {} machine {other}; the end of its console:\n{}", machine.name(), console.tail()),
    }
}

/// Lays out the directory of a run: `in/` (with the script as `.job`) and the scratch disk.
fn prepare(dir: &RunDir, job: &Job) -> Result<()> {
    let inside = dir.path().join("in");
    fs::create_dir(&inside)?;
    fs::write(inside.join(".job"), &job.script)?;
    for (from, to) in &job.files_in {
        let to = inside.join(to.strip_prefix("/in").unwrap_or(to));
        if !to.starts_with(&inside) || to.components().any(|part| part == std::path::Component::ParentDir) {
            bail!("{} is not below /in", to.display());
        }
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent)?;
        }
        program::output(program::command("cp").arg("-rL").arg("--reflink=auto").arg("--").arg(from).arg(&to))
            .with_context(|| format!("carry {} in", from.display()))?;
    }
    let scratch = dir.path().join("scratch.img");
    match &job.scratch {
        None => image::make_scratch(&scratch),
        Some(kept) => {
            if !kept.exists() {
                image::make_scratch(kept)?;
            }
            Ok(std::os::unix::fs::symlink(std::path::absolute(kept)?, scratch)?)
        }
    }
}

/// Takes the status and the results out of what the guest wrote.
fn carry_out(archive: &Path, results: &Path) -> Result<i32> {
    let status = program::output(Command::new("tar").arg("-xOf").arg(archive).arg("vm-status"))
        .context("the machine stopped without a status")?;
    program::output(
        Command::new("tar")
            .arg("-xf")
            .arg(archive)
            .args(["--no-same-owner", "--exclude=vm-status", "-C"])
            .arg(results),
    )?;
    status.trim().parse().with_context(|| format!("the machine gave {status:?} as its status"))
}

//! The commands of `cargo xtask vm`.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::{Args, Subcommand};

use super::{Job, Machine, cache, shell, test};
use crate::crash;
use crate::debian::libzfs;
use crate::program::step;
use crate::test::effort::Effort;
use crate::test::select::{self, Kind, Place};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Build a machine, unless it is there, and boot it once
    Build(Which),
    /// Open a shell as root in a machine, with a pool and a fresh zchroot to try
    Shell(Which),
    /// Run the tests that need ZFS (their names have zfs_ in them) in a machine
    Test {
        #[command(flatten)]
        which: Which,
        /// Run only tests with this text in their name
        filter: Option<String>,
        /// End a machine that takes longer (seconds) [default: 1800, with --long 43200; in the qemu machine four times that]
        #[arg(long)]
        timeout: Option<u64>,
        #[command(flatten)]
        effort: Effort,
    },
    /// Kill a machine again and again while clients work in it, and look at what is there afterwards
    ///
    /// The uml machine two minutes long (100 times with --long), the qemu machine ten times.
    Kill {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        effort: Effort,
    },
    /// Run a bash script as root in a machine and exit with its status
    ///
    /// The machine has the files in /in, an empty disk at /scratch, and hands back what is left in /results.
    Run {
        #[command(flatten)]
        which: Which,
        /// End a machine that takes longer (seconds)
        #[arg(long, default_value_t = 600)]
        timeout: u64,
        /// Where the content of /results goes [default: target/vm/run]
        #[arg(long)]
        results: Option<PathBuf>,
        /// Keep the scratch disk in this file and use it again next time
        #[arg(long)]
        scratch: Option<PathBuf>,
        /// Show what the machine itself says too
        #[arg(long)]
        console: bool,
        script: PathBuf,
        /// Files and directories to carry in
        files: Vec<PathBuf>,
    },
}

#[derive(Debug, Args)]
pub struct Which {
    /// Which machine
    #[arg(long, value_enum, default_value = "uml")]
    machine: Machine,
}

pub fn run(command: Command) -> Result<u8> {
    match command {
        Command::Build(which) => build(which.machine),
        Command::Shell(which) => shell::run(which.machine),
        Command::Test { which, filter, timeout, effort } => {
            let expression = select::expression(Kind::All, Place::Machine, filter.as_deref())?;
            let tree = test::Tree::own(which.machine);
            let timeout =
                timeout.map_or_else(|| effort.machine_limit(which.machine.slowness()), Duration::from_secs);
            let parts = test::run(which.machine, &tree, &expression, effort.seeded(), timeout)?;
            Ok(test::status(&parts))
        }
        Command::Kill { which, effort } => {
            Ok(u8::from(!crash::run(which.machine, effort.seeded())?.failed.is_empty()))
        }
        Command::Run { which, timeout, results, scratch, console, script, files } => {
            let text =
                std::fs::read_to_string(&script).with_context(|| format!("read {}", script.display()))?;
            let mut job = Job::new(text, results.unwrap_or_else(|| libzfs::target_dir().join("vm/run")));
            for file in files {
                let name = file.file_name().with_context(|| format!("{} has no name", file.display()))?;
                job.files_in.push((file.clone(), PathBuf::from(name)));
            }
            job.timeout = Duration::from_secs(timeout);
            job.scratch = scratch;
            job.console = console;
            Ok(exit_status(super::run(which.machine, &job)?))
        }
    }
}

/// A status as a process can give it; what does not fit is a failure.
pub fn exit_status(status: i32) -> u8 {
    u8::try_from(status).unwrap_or(1)
}

fn build(machine: Machine) -> Result<u8> {
    let path = cache::ensure(machine)?;
    step(format!("booting {}", path.display()));
    let begun = Instant::now();
    let mut job = Job::new(
        "cut -d' ' -f1 /proc/uptime\nuname -sr\ncat /sys/module/zfs/version\n. /etc/os-release && echo \"$PRETTY_NAME\"\n",
        libzfs::target_dir().join("vm/build"),
    );
    job.console = true;
    let status = super::run(machine, &job)?;
    step(format!(
        "the {} machine works: {:.1} s from start to power-off",
        machine.name(),
        begun.elapsed().as_secs_f64()
    ));
    Ok(exit_status(status))
}

//! `cargo xtask recipe`: what an administrator may meet, made to happen in a machine, each step shown and checked.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;

use crate::debian::libzfs;
use crate::demo;
use crate::program::step;
use crate::vm::{self, Job, Machine};

const ENOSPC: &str = include_str!("../../recipe/enospc.sh");
const LIMIT: Duration = Duration::from_secs(600);
/// The kernel keeps its remarks to itself, unless it panics.
const SET_UP: &str = "echo 1 >/proc/sys/kernel/printk\nZCHROOT=/in/zchroot\n";

/// Make something happen that administrators meet, and show each step
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What
    what: Recipe,
    /// Which machine
    #[arg(long, value_enum, default_value = "uml")]
    machine: Machine,
}

/// What there is a recipe for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Recipe {
    /// A pool without room: sweep and retry, the final failure, quota, reserve, floors
    Enospc,
}

/// Runs it and gives 0 if every step went as the recipe says.
///
/// # Errors
/// When the program or the machine cannot be built.
pub fn run(args: &Args) -> Result<u8> {
    let Recipe::Enospc = args.what;
    enospc(args.machine)
}

/// A pool without room.
pub fn enospc(machine: Machine) -> Result<u8> {
    let program = demo::build(&[], libzfs::provide()?)?;
    let results = libzfs::target_dir().join("vm").join(format!("recipe-{}", machine.name()));
    let mut job = Job::new(format!("{SET_UP}{ENOSPC}"), results);
    job.timeout = LIMIT;
    job.files_in = vec![(program, PathBuf::from("zchroot"))];
    step(format!("a pool without room, in the {} machine", machine.name()));
    Ok(vm::cli::exit_status(vm::run(machine, &job)?))
}

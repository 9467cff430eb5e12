//! `cargo xtask recipe`: what an administrator may meet, made to happen in a machine, each step shown and checked.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;

use crate::debian::libzfs;
use crate::demo;
use crate::program::step;
use crate::vm::{self, Job, Machine};

const ENOSPC: &str = include_str!("../../recipe/enospc.sh");
const DEDUP: &str = include_str!("../../recipe/dedup.sh");
const LIMIT: Duration = Duration::from_secs(900);
/// The kernel keeps its remarks to itself, unless it panics.
const SET_UP: &str =
    "echo 1 >/proc/sys/kernel/printk\nZCHROOT=/in/zchroot\nONE=/in/one.tar\nTWO=/in/two.tar\n";

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
    /// Two Debian images that share most of their files: what the second takes and writes
    Dedup,
}

/// Runs it and gives 0 if every step went as the recipe says.
///
/// # Errors
/// When the program or the machine cannot be built.
pub fn run(args: &Args) -> Result<u8> {
    match args.what {
        Recipe::Enospc => enospc(args.machine),
        Recipe::Dedup => dedup(args.machine),
    }
}

/// A pool without room.
///
/// # Errors
/// When the program or the machine cannot be built.
pub fn enospc(machine: Machine) -> Result<u8> {
    let program = demo::build(&[], libzfs::provide()?)?;
    step(format!("a pool without room, in the {} machine", machine.name()));
    play(machine, "enospc", ENOSPC, vec![(program, PathBuf::from("zchroot"))])
}

/// Two Debian images in one pool.
///
/// # Errors
/// When the program, the images or the machine cannot be built.
pub fn dedup(machine: Machine) -> Result<u8> {
    let program = demo::build(&[], libzfs::provide()?)?;
    let (one, two) = (demo::tree()?.join("tree.tar"), demo::larger_tree()?.join("tree.tar"));
    let files = [(program, "zchroot"), (one, "one.tar"), (two, "two.tar")];
    step(format!("two Debian images in one pool, in the {} machine", machine.name()));
    play(machine, "dedup", DEDUP, files.map(|(from, to)| (from, PathBuf::from(to))).into())
}

fn play(machine: Machine, name: &str, script: &str, files: Vec<(PathBuf, PathBuf)>) -> Result<u8> {
    let results = libzfs::target_dir().join("vm").join(format!("recipe-{name}-{}", machine.name()));
    let mut job = Job::new(format!("{SET_UP}{script}"), results);
    job.timeout = LIMIT;
    job.files_in = files;
    Ok(vm::cli::exit_status(vm::run(machine, &job)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program;

    #[test]
    fn the_recipes_are_scripts_that_bash_can_read() {
        for script in [ENOSPC, DEDUP] {
            program::output(std::process::Command::new("bash").args(["-n", "-c", script])).unwrap();
        }
    }
}

//! `cargo xtask vm shell`: root's prompt in a fresh machine, with a pool to play with.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::rundir::RunDir;
use super::{Job, Machine, cache, prepare, qemu, uml};
use crate::debian::libzfs;
use crate::program::{self, step};

/// What the guest's bash reads first.
const RC: &str = include_str!("../../vm/shell.rc");

/// Opens the shell and gives its status.
///
/// # Errors
/// When the machine cannot be built or started.
pub fn run(machine: Machine) -> Result<u8> {
    let image = cache::ensure(machine)?;
    let mut job = Job::new(RC, PathBuf::new());
    match build_zchroot() {
        Ok(binary) => job.files_in.push((binary, PathBuf::from("zchroot"))),
        Err(error) => step(format!("there will be no zchroot in the machine: {error:#}")),
    }
    let etc = libzfs::workspace().join("etc");
    if etc.is_dir() {
        job.files_in.push((etc, PathBuf::from("etc")));
    }
    let dir = RunDir::new()?;
    prepare(&dir, &job)?;
    let _terminal = Terminal::save();
    let child = command(machine, &image, &dir)?.spawn().context("start the machine")?;
    let status = program::wait(child)?;
    Ok(u8::from(!status.success()))
}

fn command(machine: Machine, image: &Path, dir: &RunDir) -> Result<Command> {
    let size = terminal_size().unwrap_or_else(|| "24x80".to_owned());
    let words = format!(
        "vm_mode=shell vm_size={size} TERM={}",
        std::env::var("TERM").unwrap_or_else(|_| "vt100".into())
    );
    Ok(match machine {
        Machine::Uml => {
            let mut command = uml::machine(image, dir)?;
            command.args(["con=null", "con0=fd:0,fd:1", "quiet"]).args(words.split(' '));
            command
        }
        Machine::Qemu => {
            let mut command = qemu::machine(image, dir, &words)?;
            // Ctrl-C goes to the guest; Ctrl-A X ends the machine.
            command.args(["-serial", "mon:stdio"]);
            command
        }
    })
}

/// Builds the program as it is now.
fn build_zchroot() -> Result<PathBuf> {
    step("building zchroot");
    let target = libzfs::target_dir();
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .args(["build", "--quiet", "--package", "zchroot", "--bin", "zchroot"])
        .current_dir(libzfs::workspace());
    cargo.env("CARGO_TARGET_DIR", &target).envs(libzfs::provide()?);
    fs::create_dir_all(target.join("vm"))?;
    program::logged(&mut cargo, &target.join("vm/shell-build.log"))?;
    Ok(target.join("debug/zchroot"))
}

/// The size of our terminal as `ROWSxCOLUMNS`.
fn terminal_size() -> Option<String> {
    let text = stty(&["size"])?;
    let (rows, columns) = text.trim().split_once(' ')?;
    // A terminal that does not know its size says 0.
    (rows != "0").then_some(())?;
    Some(format!("{rows}x{columns}"))
}

fn stty(args: &[&str]) -> Option<String> {
    let output = Command::new("stty").args(args).stdin(Stdio::inherit()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Puts the terminal back as it was: the machine makes it raw and may die before it undoes that.
struct Terminal(Option<String>);

impl Terminal {
    fn save() -> Self {
        Self(stty(&["-g"]))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Some(saved) = &self.0 {
            stty(&[saved]);
        }
    }
}

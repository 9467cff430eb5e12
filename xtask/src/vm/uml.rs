//! Starts the uml machine: Linux as an ordinary process, its files in the image `linux`, `root.img`.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

use super::cache;
use super::console::Console;
use super::rundir::RunDir;
use crate::program;

const MEMORY: &str = "2G";

/// Starts a job; the directory of the run is laid out.
pub fn start(image: &Path, dir: &RunDir, keep: bool) -> Result<(Console, Child)> {
    let (reader, writer) = std::io::pipe()?;
    let mut command = machine(image, dir)?;
    command.args(["con=null", "con0=null,fd:1", "quiet", "vm_mode=job"]);
    command.arg(if keep { "vm_keep=1" } else { "vm_keep=0" });
    let child = command
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .spawn()
        .context("start the uml machine")?;
    Ok((Console::new(reader), child))
}

/// The command of the machine without its consoles.
pub fn machine(image: &Path, dir: &RunDir) -> Result<Command> {
    let run = dir.path().to_str().context("the directory of the run is no UTF-8")?;
    // Nothing of it may outlive us, however we end; setpriv keeps the wish across its exec.
    let mut command = program::command("setpriv");
    command.args(["--pdeathsig", "KILL", "taskset", "-c"]).arg(pick_cpu(dir)?.to_string());
    command.arg(image.join("linux"));
    command.env("TMPDIR", "/dev/shm");
    command.arg(format!("mem={MEMORY}"));
    command.arg(format!("ubd0={run}/root.cow,{}", image.join("root.img").display()));
    command.arg(format!("ubd1={run}/scratch.img"));
    command.arg(format!("uml_dir={run}/uml/")).arg("umid=vm");
    command.args(["root=/dev/ubda", "rw", "init=/vm-init", "seccomp=auto", "panic=-1", "vm_machine=uml"]);
    command.arg(format!("vm_dir={run}"));
    Ok(command)
}

/// A CPU that no other machine of this user is pinned to, else any: pinned, a system call costs a fifth.
///
/// The lock lives as long as the process, and a process runs one machine at a time.
fn pick_cpu(dir: &RunDir) -> Result<usize> {
    let cpus = allowed_cpus()?;
    for &cpu in cpus.iter().rev() {
        let file = File::create(cache::base()?.join(format!("cpu-{cpu}.lock")))?;
        if file.try_lock().is_ok() {
            dir.hold(file);
            return Ok(cpu);
        }
    }
    cpus.get(std::process::id() as usize % cpus.len().max(1)).copied().context("this process may use no CPU")
}

/// The CPUs that this process may run on.
fn allowed_cpus() -> Result<Vec<usize>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let list = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))
        .context("/proc/self/status has no Cpus_allowed_list")?;
    cpu_list(list.trim())
}

/// Reads a list of CPUs as the kernel writes it, `0-3,8`.
fn cpu_list(text: &str) -> Result<Vec<usize>> {
    let mut cpus = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let range = first.parse::<usize>().and_then(|first| Ok(first..=last.parse::<usize>()?));
        cpus.extend(range.with_context(|| format!("{text:?} is no list of CPUs"))?);
    }
    Ok(cpus)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_cpus_is_read_as_the_kernel_writes_it() {
        assert_eq!(cpu_list("0-2,5").unwrap(), [0, 1, 2, 5]);
        assert!(cpu_list("").is_err() && cpu_list("0-x").is_err());
    }
}

//! Starts the qemu machine, with KVM if a kernel really boots with it, else under emulation.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::cache;
use super::console::{Console, End};
use super::rundir::RunDir;
use crate::debian;
use crate::program::{self, step};

const MEMORY: &str = "2G";
const PROBE: Duration = Duration::from_secs(15);
/// Room for what is carried out; sparse.
const OUT_SIZE: u64 = 4 << 30;

/// Starts a job; the directory of the run is laid out.
pub fn start(image: &Path, dir: &RunDir, keep: bool) -> Result<(Console, Child)> {
    let mut command =
        machine(image, dir, if keep { "vm_mode=job vm_keep=1" } else { "vm_mode=job vm_keep=0" })?;
    spawn(&mut command)
}

fn spawn(command: &mut Command) -> Result<(Console, Child)> {
    let (reader, writer) = std::io::pipe()?;
    let child = command
        .args(["-serial", "stdio"])
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .spawn()
        .context("start qemu")?;
    Ok((Console::new(reader), child))
}

/// The command of the machine without its console; makes the disks that a run needs besides.
pub fn machine(image: &Path, dir: &RunDir, words: &str) -> Result<Command> {
    let run = dir.path();
    // What outlives the machine is written as a disk writes: a guest's flush reaches it, and nothing else has to.
    let scratch = if words.ends_with("vm_keep=1") { "cache=none" } else { "cache=unsafe" };
    let carried = run.join("in.img");
    make_disk(&run.join("in"), &carried)?;
    // The results disk: what the guest writes at its beginning is a tar.
    let out = run.join("out.tar");
    File::create(&out)?.set_len(OUT_SIZE)?;
    let mut command = base(image, accelerator(image)?, words)?;
    command.env("TMPDIR", run);
    for (file, options) in [
        (image.join("root.img"), "snapshot=on"),
        (run.join("scratch.img"), scratch),
        (carried, "readonly=on"),
        (out, "cache=unsafe"),
    ] {
        command.arg("-drive").arg(format!("file={},if=virtio,format=raw,{options}", file.display()));
    }
    Ok(command)
}

/// A disk that holds a directory.
fn make_disk(from: &Path, disk: &Path) -> Result<()> {
    let used = program::output(program::command("du").args(["-sk", "--apparent-size"]).arg(from))?;
    let kib: u64 =
        used.split_whitespace().next().and_then(|word| word.parse().ok()).context("du gave no number")?;
    // Half as much again for the tables of the file system, and never too small for them.
    let size = format!("{}k", kib + kib / 2 + 16 * 1024);
    let mut command = program::command("mke2fs");
    command.args(["-q", "-t", "ext4", "-O", "^has_journal", "-m", "0", "-d"]);
    program::output(command.arg(from).arg(disk).arg(size)).map(|_| ())
}

fn base(image: &Path, accelerator: &[&str], words: &str) -> Result<Command> {
    // Nothing of it may outlive us, however we end; setpriv keeps the wish across its exec.
    let mut command = program::command("setpriv");
    command.args(["--pdeathsig", "KILL"]);
    command.arg(program::which("qemu-system-x86_64").context("qemu-system-x86_64 is not installed")?);
    command.args([
        "-nodefaults",
        "-no-user-config",
        "-display",
        "none",
        "-no-reboot",
        "-smp",
        "2",
        "-m",
        MEMORY,
    ]);
    command.args(accelerator).args(["-device", "virtio-rng-pci"]);
    command.arg("-kernel").arg(image.join("vmlinuz")).arg("-initrd").arg(image.join("initrd.img"));
    command.arg("-append").arg(format!(
        "console=ttyS0 root=/dev/vda rootfstype=ext4 rw init=/vm-init quiet panic=-1 mitigations=off vm_machine=qemu {words}"
    ));
    Ok(command)
}

const KVM: &[&str] = &["-accel", "kvm", "-cpu", "host"];
/// Without cmpxchg16b, which the kernel's allocator uses if it is there: qemu 7.2 emulates it with garbage in the flags now and
/// then, and half of the boots on a busy host ended in an oops behind that instruction; without it, none did.
const EMULATION: &[&str] = &["-accel", "tcg,thread=multi", "-cpu", "max,cx16=off"];

/// KVM, if the machine's own kernel boots with it; some hosts offer a /dev/kvm that cannot do that.
///
/// The answer is kept for as long as the host is up.
fn accelerator(image: &Path) -> Result<&'static [&'static str]> {
    debian::ensure_packages(&["qemu-system-x86"])?;
    if File::options().read(true).write(true).open("/dev/kvm").is_err() {
        return Ok(EMULATION);
    }
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let memo = cache::base()?.join("kvm-works");
    let known = fs::read_to_string(&memo).unwrap_or_default();
    let works = match known.strip_prefix(boot.trim()).map(str::trim) {
        Some("yes") => true,
        Some("no") => false,
        _ => {
            let begun = Instant::now();
            let works = probe_kvm(image)?;
            fs::write(&memo, format!("{} {}\n", boot.trim(), if works { "yes" } else { "no" }))?;
            let took = begun.elapsed().as_secs_f64();
            step(match works {
                true => format!("a kernel boots with this host's KVM ({took:.1} s): using it"),
                false => format!("no kernel boots with this host's KVM ({took:.1} s): emulating"),
            });
            works
        }
    };
    Ok(if works { KVM } else { EMULATION })
}

/// Boots the machine just far enough to see its init speak.
fn probe_kvm(image: &Path) -> Result<bool> {
    let mut command = base(image, KVM, "vm_mode=probe")?;
    let root = image.join("root.img");
    command.env("TMPDIR", cache::base()?.join("run"));
    command.arg("-drive").arg(format!("file={},if=virtio,format=raw,snapshot=on", root.display()));
    let (mut console, child) = spawn(&mut command)?;
    Ok(console.follow(child, PROBE)? == End::Failed("probed".to_owned()))
}

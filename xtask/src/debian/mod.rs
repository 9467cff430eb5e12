//! The host's side of Debian: programs that we need, packages that we only look into, the ZFS library.
//!
//! - [`ensure_packages`] installs what is missing on the host with apt-get (through sudo when we are not root).
//! - [`archive::Archive`] is an apt of our own: it reads any suite of the host's mirror and downloads packages without
//!   touching the host's sources, lists or state.
//! - [`bootstrap::run`] makes trees of Debian by mmdebstrap.
//! - [`libzfs::provide`] makes cargo find libzfs_core, from the host if it is there, else from packages unpacked below
//!   the target directory.

pub mod archive;
pub mod bootstrap;
pub mod libzfs;
pub mod sources;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::program::{self, step};

/// Installs the packages that are not there; says so.
///
/// # Errors
/// When the host has no apt-get, we are neither root nor have sudo, or apt-get fails (with the tail of its output).
pub fn ensure_packages(names: &[&str]) -> Result<()> {
    let missing: Vec<&str> = names.iter().copied().filter(|name| !is_installed(name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    if program::which("apt-get").is_none() {
        bail!("this host has no apt-get: install {} yourself", missing.join(", "));
    }
    step(format!("installing on the host: {}", missing.join(" ")));
    let install = |args: &[&str]| program::output(privileged("apt-get")?.args(args).args(&missing));
    let args = ["install", "-y", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300", "--"];
    // The lists may be missing or too old for the mirror: then, and only then, bring them up to date.
    if install(&args).is_err() {
        program::check_interrupt()?;
        step("the package lists of the host are missing or old: apt-get update");
        program::output(privileged("apt-get")?.arg("update"))?;
        install(&args).with_context(|| format!("install {}", missing.join(" ")))?;
    }
    Ok(())
}

/// Whether dpkg has the package installed.
fn is_installed(name: &str) -> bool {
    program::output(Command::new("dpkg-query").args(["-W", "-f=${db:Status-Status}", "--", name]))
        .is_ok_and(|status| status.lines().any(|line| line == "installed"))
}

/// A command that runs as root and asks nothing.
fn privileged(name: &str) -> Result<Command> {
    let settings = ["DEBIAN_FRONTEND=noninteractive", "NEEDRESTART_MODE=l", "LC_ALL=C.UTF-8"];
    let mut command = if is_root() {
        program::command("env")
    } else {
        let sudo =
            program::which("sudo").with_context(|| format!("{name} needs root, and there is no sudo"))?;
        let mut command = Command::new(sudo);
        command.arg("env");
        command
    };
    command.args(settings).arg(program::which(name).unwrap_or_else(|| PathBuf::from(name)));
    Ok(command)
}

/// Whether this process is root.
pub fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// Debian's own name of this machine's architecture.
pub fn architecture() -> Result<String> {
    Ok(program::output(Command::new("dpkg").arg("--print-architecture"))?.trim().to_owned())
}

/// The keyring that signs Debian's archive, holding the keys of `suite`'s release.
///
/// # Errors
/// When the package debian-archive-keyring cannot be installed.
pub fn keyring(release: &str) -> Result<PathBuf> {
    let dir = Path::new("/usr/share/keyrings");
    let has = |stem: &str| {
        ["gpg", "pgp", "asc"].iter().map(|end| dir.join(format!("{stem}.{end}"))).find(|file| file.is_file())
    };
    // The package ships one file for each release besides the collection: so one can see whether it is new enough.
    if has(&format!("debian-archive-{release}-stable")).is_none() {
        step(format!("installing on the host: debian-archive-keyring with the keys of {release}"));
        program::output(privileged("apt-get")?.arg("update"))?;
        program::output(privileged("apt-get")?.args([
            "install",
            "-y",
            "--no-install-recommends",
            "debian-archive-keyring",
        ]))?;
    }
    has("debian-archive-keyring").context("/usr/share/keyrings has no debian-archive-keyring")
}

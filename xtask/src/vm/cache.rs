//! Where machines are kept: built once, under a hash of their recipe, complete or not there at all.
//!
//! `~/.cache/zchroot/vm/` (or below `$XDG_CACHE_HOME`): `MACHINE-HASH/` the finished machines, `MACHINE-HASH.lock` held
//! while one is built, `MACHINE-HASH.new/` what is being built (with `build.log`; kept after a failure, so that the log can
//! be read, and removed by the next build), `downloads/` packages and archives, `run/` the directories of runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use super::{Machine, qemu, rootfs, uml_build};
use crate::program::{self, step};

/// The directory of everything that has to do with machines, made if need be.
pub fn base() -> Result<PathBuf> {
    let cache = match std::env::var_os("XDG_CACHE_HOME") {
        Some(dir) if Path::new(&dir).is_absolute() => PathBuf::from(dir),
        _ => PathBuf::from(std::env::var_os("HOME").context("HOME is not set")?).join(".cache"),
    };
    let base = cache.join("zchroot/vm");
    fs::create_dir_all(&base).with_context(|| format!("make {}", base.display()))?;
    // The paths go into kernel command lines.
    if base.to_str().is_none_or(|text| text.contains(|c: char| c.is_whitespace() || c == ',')) {
        bail!("{} has a blank or a comma in it: set XDG_CACHE_HOME", base.display());
    }
    Ok(base)
}

/// The directory of a machine, complete or not.
pub fn path(machine: Machine) -> Result<PathBuf> {
    Ok(base()?.join(format!("{}-{}", machine.name(), hash(machine))))
}

/// The directory of a finished machine, which is built first if it is not there.
pub fn ensure(machine: Machine) -> Result<PathBuf> {
    let path = path(machine)?;
    if path.is_dir() {
        return Ok(path);
    }
    let lock = path.with_extension("lock");
    let _lock = program::lock(&lock, &format!("the {} machine", machine.name()))?;
    if path.is_dir() {
        return Ok(path);
    }
    let work = path.with_extension("new");
    if work.exists() {
        fs::remove_dir_all(&work).with_context(|| format!("remove {}", work.display()))?;
    }
    fs::create_dir(&work)?;
    let begun = Instant::now();
    step(format!("building the {} machine (once): log in {}", machine.name(), work.join("build.log").display()));
    match machine {
        Machine::Uml => uml_build::build(&work)?,
        Machine::Qemu => qemu::build(&work)?,
    }
    fs::rename(&work, &path).with_context(|| format!("rename to {}", path.display()))?;
    step(format!("the {} machine is ready after {} s: {}", machine.name(), begun.elapsed().as_secs(), path.display()));
    Ok(path)
}

/// Where downloads are kept from one build to the next.
pub fn downloads() -> Result<PathBuf> {
    let dir = base()?.join("downloads");
    fs::create_dir_all(&dir)?;
    Ok(dir)
}

/// The hash of a machine's recipe: everything in this source that decides what is in it.
fn hash(machine: Machine) -> String {
    let mut hasher = Sha256::new();
    let parts = match machine {
        Machine::Uml => uml_build::recipe(),
        Machine::Qemu => qemu::recipe(),
    };
    for part in parts.iter().chain(&rootfs::recipe()) {
        hasher.update(part.len().to_le_bytes());
        hasher.update(part);
    }
    hasher.finalize()[..6].iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_machines_have_recipes_of_their_own() {
        assert_eq!(hash(Machine::Uml).len(), 12);
        assert_ne!(hash(Machine::Uml), hash(Machine::Qemu));
    }
}

//! Where machines are kept: built once, under a hash of their recipe, complete or not there at all.
//!
//! A machine is made of layers, so that a change of the guest's init costs seconds and not a kernel: the kernel with its
//! zfs modules, Debian's user land, and the image of both. In `~/.cache/zchroot/vm/` (or below `$XDG_CACHE_HOME`):
//! `NAME-HASH/` the finished layers, `NAME-HASH.lock` held while one is built, `NAME-HASH.new/` what is being built (with
//! `build.log`; it stays after a failure, so that the log can be read, until the next build), `downloads/` packages,
//! `apt/` package lists, `run/` the directories of runs. All of it can be removed at any time that no machine runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use super::{Machine, image};
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

/// The directory of a finished machine, which is built first if it is not there.
pub fn ensure(machine: Machine) -> Result<PathBuf> {
    image::layer(machine).ensure()
}

/// Where downloads are kept from one build to the next.
pub fn downloads() -> Result<PathBuf> {
    let dir = base()?.join("downloads");
    fs::create_dir_all(&dir)?;
    Ok(dir)
}

/// Something that is built once: its name, all that decides what is in it, and how to build it into a directory.
pub struct Layer {
    name: String,
    hash: String,
    build: Box<dyn Fn(&Path) -> Result<()>>,
}

impl Layer {
    /// A layer whose recipe is the texts and the hashes of the layers that it is made of.
    pub fn new(name: &str, recipe: &[&str], build: impl Fn(&Path) -> Result<()> + 'static) -> Self {
        let mut hasher = Sha256::new();
        for part in recipe {
            hasher.update(part.len().to_le_bytes());
            hasher.update(part);
        }
        let hash = hasher.finalize()[..6].iter().map(|byte| format!("{byte:02x}")).collect();
        Self { name: name.to_owned(), hash, build: Box::new(build) }
    }

    pub fn hash(&self) -> &str {
        &self.hash
    }

    fn path(&self) -> Result<PathBuf> {
        Ok(base()?.join(format!("{}-{}", self.name, self.hash)))
    }

    /// The directory of the layer, complete; it is built first if it is not there.
    ///
    /// # Errors
    /// When the build fails: nothing but the log and what was built so far is left, under another name.
    pub fn ensure(&self) -> Result<PathBuf> {
        let path = self.path()?;
        if path.is_dir() {
            return Ok(path);
        }
        let _lock = program::lock(&path.with_extension("lock"), &format!("building {}", self.name))?;
        if path.is_dir() {
            return Ok(path);
        }
        let work = path.with_extension("new");
        if work.exists() {
            fs::remove_dir_all(&work).with_context(|| format!("remove {}", work.display()))?;
        }
        fs::create_dir(&work)?;
        let begun = Instant::now();
        step(format!("building {} (once; the log is {})", self.name, work.join("build.log").display()));
        (self.build)(&work).with_context(|| format!("build {}", self.name))?;
        fs::rename(&work, &path).with_context(|| format!("rename to {}", path.display()))?;
        step(format!("{} is ready, it took {} s", self.name, begun.elapsed().as_secs()));
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_changes_its_name_with_any_part_of_its_recipe() {
        let hash = |recipe: &[&str]| Layer::new("x", recipe, |_| Ok(())).hash;
        assert_eq!(hash(&["a", "b"]), hash(&["a", "b"]));
        assert_ne!(hash(&["a", "b"]), hash(&["ab", ""]));
        assert_eq!(hash(&[]).len(), 12);
    }

    #[test]
    fn the_two_machines_are_not_the_same() {
        assert_ne!(image::layer(Machine::Uml).hash(), image::layer(Machine::Qemu).hash());
    }
}

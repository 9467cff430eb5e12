//! Where machines are kept: built once, under a hash of their recipe, complete or not there at all.
//!
//! A machine is made of layers, so that a change of the guest's init costs seconds and not a kernel: the kernel with its
//! zfs modules, Debian's user land, and the image of both. In `~/.cache/zchroot/vm/` (or below `$XDG_CACHE_HOME`):
//! `NAME-HASH/` the finished layers, `NAME-HASH.lock` held while one is built, `NAME-HASH.new/` what is being built (with
//! `build.log`; it stays after a failure, so that the log can be read, until the next build), `downloads/` packages,
//! `apt/` package lists, `run/` the directories of runs. All of it can be removed at any time that no machine runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use super::{Machine, image};
use crate::program::{self, step};

/// After this time without use a layer goes when its successor is built.
const UNUSED: Duration = Duration::from_secs(7 * 86_400);

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

type Build = Box<dyn Fn(&Path) -> Result<()>>;

/// Something that is built once: its name, all that decides what is in it, and how to build it into a directory.
pub struct Layer {
    name: String,
    hash: String,
    build: Build,
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
            // The time tells the next build of this name what is still in use.
            fs::File::open(&path)?.set_modified(SystemTime::now())?;
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
        self.remove_unused(&base()?)?;
        step(format!("{} is ready, it took {} s", self.name, begun.elapsed().as_secs()));
        Ok(path)
    }

    /// Removes layers of this name that an older recipe made and that nobody has used for a while.
    fn remove_unused(&self, base: &Path) -> Result<()> {
        for entry in fs::read_dir(base)?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let hash =
                name.strip_prefix(&self.name).and_then(|rest| rest.strip_prefix('-')).unwrap_or_default();
            let is_layer = hash.len() == self.hash.len() && hash.chars().all(|c| c.is_ascii_hexdigit());
            let age = entry.metadata()?.modified()?.elapsed().unwrap_or_default();
            if is_layer && hash != self.hash && age > UNUSED {
                step(format!("removing {name}: unused for {} days", age.as_secs() / 86_400));
                fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(())
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
    fn only_old_layers_of_the_same_name_are_removed() {
        let base = std::env::temp_dir().join(format!("xtask-cache-{}", std::process::id()));
        let layer = Layer::new("uml", &[], |_| Ok(()));
        let own = format!("uml-{}", layer.hash);
        for name in
            ["uml-0123456789ab", "uml-ba9876543210", "uml-kernel-0123456789ab", "uml-0123456789ab.new", &own]
        {
            fs::create_dir_all(base.join(name)).unwrap();
            if name != "uml-ba9876543210" {
                let old = SystemTime::now() - UNUSED * 2;
                fs::File::open(base.join(name)).unwrap().set_modified(old).unwrap();
            }
        }
        layer.remove_unused(&base).unwrap();
        let mut left: Vec<_> = fs::read_dir(&base)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        fs::remove_dir_all(&base).unwrap();
        let mut kept = vec![
            "uml-0123456789ab.new".to_owned(),
            "uml-ba9876543210".into(),
            own,
            "uml-kernel-0123456789ab".into(),
        ];
        kept.sort();
        assert_eq!(left, kept);
    }

    #[test]
    fn the_two_machines_are_not_the_same() {
        assert_ne!(image::layer(Machine::Uml).hash(), image::layer(Machine::Qemu).hash());
    }
}

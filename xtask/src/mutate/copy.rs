//! A copy of the work tree, with a target directory of its own: no broken program ever lies where a good one is looked
//! for. It stays, so that what a mutation does not touch is built once.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::patch::Mutation;
use crate::debian::libzfs;
use crate::program;

#[derive(Debug)]
pub struct Copy {
    pub root: PathBuf,
    pub target: PathBuf,
}

impl Copy {
    pub fn new() -> Result<Self> {
        let dir = std::path::absolute(libzfs::target_dir())?.join("mutate");
        Ok(Self { root: dir.join("tree"), target: dir.join("target") })
    }

    /// Makes it the work tree as it is now, uncommitted changes too, with one mutation.
    ///
    /// # Errors
    /// When git cannot list the files, one cannot be copied, or the mutation does not fit.
    pub fn become_mutant(&self, mutation: &Mutation) -> Result<()> {
        let work = libzfs::workspace();
        let mut git = program::command("git");
        git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).current_dir(&work);
        let list = program::output(&mut git)?;
        let files: BTreeSet<&Path> =
            list.split_terminator('\0').map(Path::new).filter(|file| work.join(file).is_file()).collect();
        for file in &files {
            let bytes = fs::read(work.join(file)).with_context(|| format!("read {}", file.display()))?;
            let changed = mutation.paths().iter().any(|path| Path::new(path) == *file);
            let bytes = if changed { mutated(mutation, file, bytes)? } else { bytes };
            let to = self.root.join(file);
            // What is the same keeps its time, so that cargo does not build it again.
            if fs::read(&to).ok().as_ref() != Some(&bytes) {
                fs::create_dir_all(to.parent().unwrap_or(&self.root))?;
                fs::write(&to, bytes).with_context(|| format!("write {}", to.display()))?;
                fs::set_permissions(&to, fs::metadata(work.join(file))?.permissions())?;
            }
        }
        self.remove_others(&self.root, &files)
    }

    fn remove_others(&self, dir: &Path, files: &BTreeSet<&Path>) -> Result<()> {
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            if path.is_dir() {
                self.remove_others(&path, files)?;
            } else if !files.contains(path.strip_prefix(&self.root)?) {
                fs::remove_file(&path)?;
            }
        }
        Ok(())
    }
}

fn mutated(mutation: &Mutation, file: &Path, bytes: Vec<u8>) -> Result<Vec<u8>> {
    let path = file.to_str().context("a path that is no UTF-8")?;
    Ok(mutation.applied(path, &String::from_utf8(bytes)?)?.into_bytes())
}

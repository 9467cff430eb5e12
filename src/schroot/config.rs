//! Reads `/etc/schroot/schroot.conf` and `/etc/schroot/chroot.d`.
//!
//! Files are opened through directory fds and judged there, as the files of `/etc/zchroot` are: they and every
//! directory above belong to root and nobody else may write them, and no symlink is followed. Parsing is done
//! with the caller's rights. A broken file or group takes only itself away; what is wrong with it is kept, to be
//! said where it matters. Nothing is written, so there is no lock.

use std::collections::BTreeMap;
use std::path::Path;

use crate::store::Layout;
use crate::template::{self, ConfigDir};

use super::definition::Definition;
use super::fields::Fault;
use super::order::is_name;
use super::say::Line;
use super::{keyfile, keys};

/// Where schroot's configuration lies, below `/`.
pub(super) const DIRECTORY: &str = "etc/schroot";
const FILE: &str = "schroot.conf";
const FOLDER: &str = "chroot.d";
const ROOT: u32 = 0;

/// What could be read.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    /// By name.
    pub(super) definitions: BTreeMap<String, Definition>,
    /// What is odd, as lines of warning.
    pub(super) warnings: Vec<Line>,
    /// What could not be read, as lines of error.
    pub(super) broken: Vec<Line>,
}

/// Reads all there is; no configuration at all is an empty one.
pub(super) fn load(layout: &Layout) -> Loaded {
    load_trusting(layout, ROOT)
}

fn load_trusting(layout: &Layout, owner: u32) -> Loaded {
    let mut loaded = Loaded::default();
    if let Err(error) = loaded.read_all(layout, owner) {
        loaded.cannot(&layout.root().join(DIRECTORY), &error);
    }
    loaded
}

impl Loaded {
    fn read_all(&mut self, layout: &Layout, owner: u32) -> Result<(), template::Error> {
        let Some(top) = ConfigDir::open_below(layout.root(), Path::new(DIRECTORY), owner)? else {
            return Ok(());
        };
        self.read_file(&top, FILE);
        match top.sub(FOLDER) {
            Ok(None) => {}
            Ok(Some(folder)) => {
                for name in folder.names()?.iter().filter(|name| is_name(name)) {
                    self.read_file(&folder, name);
                }
            }
            Err(error) => self.cannot(&top.path_of(FOLDER), &error),
        }
        Ok(())
    }

    fn read_file(&mut self, dir: &ConfigDir, name: &str) {
        let path = dir.path_of(name);
        let source = match dir.read(name) {
            Ok(Some(source)) => source,
            // Gone since the directory was listed.
            Ok(None) => return,
            Err(error) => return self.cannot(&path, &error),
        };
        let groups = match keyfile::parse(&source.text) {
            Ok(groups) => groups,
            Err(error) => return self.broken(&path, source.public, Fault::new(error.to_string())),
        };
        // What the caller could not read himself may have passwords in it (of mounts), and is as not there for him.
        if !source.public {
            return;
        }
        for (name, group) in groups {
            match keys::read(&name, &group, &mut self.warnings) {
                Ok(_) if self.definitions.contains_key(&name) => {
                    let twice = format!("line {}: Duplicate group ‘{name}’", group.line);
                    self.broken(&path, source.public, Fault::new(twice));
                }
                Ok(definition) => {
                    self.definitions.insert(name, definition);
                }
                Err(fault) => self.broken(&path, source.public, fault),
            }
        }
    }

    /// Shows the caller nothing of a file that he could not read himself.
    fn broken(&mut self, path: &Path, public: bool, fault: Fault) {
        let path = path.display();
        if !public {
            self.broken.push(Line::Error(format!("{path}: cannot be used")));
            return;
        }
        self.broken.push(Line::Error(format!("{path}: {}", fault.text)));
        self.broken.extend(fault.reason.map(Line::Info));
    }

    fn cannot(&mut self, path: &Path, error: &template::Error) {
        let text = match error {
            template::Error::Untrusted { path, why } => format!("{}: {why}", path.display()),
            other => format!("{}: {}", path.display(), crate::sys::chain(other)),
        };
        self.broken.push(Line::Error(text));
    }
}

#[cfg(test)]
mod tests;

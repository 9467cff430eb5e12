//! Archives by GNU tar must unpack as GNU tar unpacks them; archives by hand must do no harm.

#![expect(clippy::disallowed_methods, reason = "fixtures are made with the tools and paths that users have")]

mod compare;
mod hostile;
mod room;

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::*;
use crate::import::fixture::{assert_same_tree, describe_tree, fixture, run, text, told, xattrs};
use crate::store::Silent;

/// Unpacks a file into a directory.
fn unpack(archive: &Path, root: &Path) -> Result<Filled> {
    let file = File::open(archive).unwrap();
    let size = file.metadata().unwrap().len();
    fill(&file, size, "the archive", root, None, &mut Silent)
}

/// Unpacks bytes into a new directory inside `dir`.
fn unpack_bytes(bytes: &[u8], dir: &Path) -> (PathBuf, Result<Filled>) {
    let (archive, root) = (dir.join("archive"), dir.join("root"));
    std::fs::write(&archive, bytes).unwrap();
    std::fs::create_dir_all(&root).unwrap();
    let result = unpack(&archive, &root);
    (root, result)
}

//! Archives by GNU tar must unpack as GNU tar unpacks them; archives by hand must do no harm.

#![expect(clippy::disallowed_methods, reason = "fixtures are made with the tools and paths that users have")]

mod compare;
mod hostile;
mod room;

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::*;
use crate::store::Silent;

/// Runs a program of the host; it must succeed.
fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{program} {arguments:?}: {error}");
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Unpacks a file into a directory.
fn unpack(archive: &Path, root: &Path) -> Result<Filled> {
    let file = File::open(archive).unwrap();
    let size = file.metadata().unwrap().len();
    fill(&file, size, "the archive", root, &mut Silent)
}

/// Unpacks bytes into a new directory inside `dir`.
fn unpack_bytes(bytes: &[u8], dir: &Path) -> (PathBuf, Result<Filled>) {
    let (archive, root) = (dir.join("archive"), dir.join("root"));
    std::fs::write(&archive, bytes).unwrap();
    std::fs::create_dir_all(&root).unwrap();
    let result = unpack(&archive, &root);
    (root, result)
}

/// An error with its cause, as it is printed.
fn told(error: &Error) -> String {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    format!("{error}{cause}")
}

/// Everything about everything in a tree.
fn describe_tree(root: &Path) -> BTreeMap<Vec<u8>, String> {
    let mut seen = BTreeMap::new();
    let mut links: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
    let mut pending = vec![root.to_owned()];
    while let Some(path) = pending.pop() {
        let meta = std::fs::symlink_metadata(&path).unwrap();
        let name = path.strip_prefix(root).unwrap().as_os_str().as_bytes().to_vec();
        if meta.is_dir() {
            let mut below: Vec<_> =
                std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()).collect();
            below.sort();
            pending.extend(below.into_iter().rev());
        }
        let first = links.entry(meta.ino()).or_insert_with(|| name.clone()).clone();
        let content = if meta.is_file() {
            format!("{:?}", sum(&std::fs::read(&path).unwrap()))
        } else if meta.is_symlink() {
            format!("{:?}", std::fs::read_link(&path).unwrap())
        } else if meta.file_type().is_char_device() || meta.file_type().is_block_device() {
            format!("{:x}", meta.rdev())
        } else {
            String::new()
        };
        let links = if meta.is_dir() { 0 } else { meta.nlink() };
        seen.insert(
            name,
            format!(
                "{:o} {}:{} {}.{:09} links {links} first {:?} content {content} xattrs {:?}",
                meta.mode(),
                meta.uid(),
                meta.gid(),
                meta.mtime(),
                meta.mtime_nsec(),
                String::from_utf8_lossy(&first),
                xattrs(&path),
            ),
        );
    }
    seen
}

fn sum(bytes: &[u8]) -> (usize, u64) {
    let add = |sum: u64, byte: &u8| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    (bytes.len(), bytes.iter().fold(0xcbf2_9ce4_8422_2325, add))
}

fn xattrs(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut names = vec![0_u8; 4096];
    let length = rustix::fs::llistxattr(path, &mut names[..]).unwrap();
    let names = names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    let value = |name: &[u8]| {
        let mut value = vec![0_u8; 4096];
        let length = rustix::fs::lgetxattr(path, name, &mut value[..]).unwrap();
        value.truncate(length);
        value
    };
    names.map(|name| (String::from_utf8_lossy(name).into_owned(), value(name))).collect()
}

fn assert_same_tree(ours: &Path, theirs: &Path) {
    let (ours, theirs) = (describe_tree(ours), describe_tree(theirs));
    for (name, what) in &theirs {
        assert_eq!(ours.get(name), Some(what), "{:?}", String::from_utf8_lossy(name));
    }
    assert_eq!(ours.len(), theirs.len());
}

//! Everything about everything in a tree, and how two trees are compared.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use sha2::{Digest, Sha256};

/// Of so many differences each is told.
const MOST_TOLD: usize = 20;

/// A line for each path: kind, mode, owner, time, links, content, extended attributes.
pub fn describe_tree(root: &Path) -> BTreeMap<Vec<u8>, String> {
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
        let links = if meta.is_dir() { 0 } else { meta.nlink() };
        seen.insert(
            name,
            format!(
                "{:o} {}:{} {}.{:09} links {links} first {:?} content {} xattrs {:?}",
                meta.mode(),
                meta.uid(),
                meta.gid(),
                meta.mtime(),
                meta.mtime_nsec(),
                String::from_utf8_lossy(&first),
                content(&path, &meta),
                xattrs(&path),
            ),
        );
    }
    seen
}

fn content(path: &Path, meta: &std::fs::Metadata) -> String {
    if meta.is_file() {
        let sum: [u8; 32] = Sha256::digest(std::fs::read(path).unwrap()).into();
        format!("{} {:x}", meta.len(), u64::from_le_bytes(sum[..8].try_into().unwrap()))
    } else if meta.is_symlink() {
        format!("{:?}", std::fs::read_link(path).unwrap())
    } else if meta.file_type().is_char_device() || meta.file_type().is_block_device() {
        format!("{:x}", meta.rdev())
    } else {
        String::new()
    }
}

/// The extended attributes of a file, a symlink not followed.
pub fn xattrs(path: &Path) -> BTreeMap<String, Vec<u8>> {
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

/// How many entries both have.
#[track_caller]
pub fn assert_same_tree(ours: &Path, theirs: &Path) -> usize {
    let (ours, theirs) = (describe_tree(ours), describe_tree(theirs));
    let missing = "is not there";
    let mut told = Vec::new();
    for name in ours.keys().chain(theirs.keys().filter(|name| !ours.contains_key(*name))) {
        let [one, other] = [&ours, &theirs].map(|tree| tree.get(name).map_or(missing, String::as_str));
        if one != other {
            told.push(format!("{:?}\n    ours:   {one}\n    theirs: {other}", String::from_utf8_lossy(name)));
        }
    }
    let count = told.len();
    told.truncate(MOST_TOLD);
    assert!(told.is_empty(), "{count} differences:\n  {}", told.join("\n  "));
    ours.len()
}

//! Copying a directory: mounts stay out, the copy does not copy itself. What is kept of an entry is tested with
//! the copier.

#![expect(clippy::disallowed_methods, reason = "fixtures")]

use std::os::unix::fs::MetadataExt;
use std::process::Command;

use super::*;
use crate::store::{ErrorKind, Silent};

#[derive(Default)]
struct Counted(Vec<String>, u64);

impl Progress for Counted {
    fn start(&mut self, what: &str, _total: Option<u64>) {
        self.0.push(what.to_owned());
    }
    fn advance(&mut self, bytes: u64) {
        self.1 += bytes;
    }
    fn finish(&mut self) {}
}

fn run(program: &str, arguments: &[&str]) {
    assert!(Command::new(program).args(arguments).status().unwrap().success(), "{program} {arguments:?}");
}

fn source() -> (tempfile::TempDir, File) {
    let dir = tempfile::tempdir().unwrap();
    for path in ["usr/bin", "proc", "mnt"] {
        std::fs::create_dir_all(dir.path().join(path)).unwrap();
    }
    std::fs::write(dir.path().join("usr/bin/a"), "abc").unwrap();
    std::fs::hard_link(dir.path().join("usr/bin/a"), dir.path().join("usr/b")).unwrap();
    let file = File::open(dir.path()).unwrap();
    (dir, file)
}

#[test]
fn dir_import_a_directory_is_copied_without_what_is_mounted_in_it() {
    let (dir, from) = source();
    let (mnt, proc) = (dir.path().join("mnt"), dir.path().join("proc"));
    run("mount", &["-t", "tmpfs", "tmpfs", mnt.to_str().unwrap()]);
    run("mount", &["--bind", "/proc", proc.to_str().unwrap()]);
    std::fs::write(mnt.join("mounted"), "x").unwrap();
    let root = tempfile::tempdir().unwrap();
    let mut counted = Counted::default();
    let result = fill(&from, "the source", root.path(), &mut counted);
    run("umount", &[mnt.to_str().unwrap()]);
    run("umount", &[proc.to_str().unwrap()]);
    let mut filled = result.unwrap();
    filled.notes.sort();
    let notes = ["what is mounted at mnt was left out", "what is mounted at proc was left out"];
    assert_eq!(filled, Filled { bytes: 3, files: 6, saved: 0, notes: notes.map(str::to_owned).into() });
    assert_eq!(counted.0, ["measure the source", "copy the source"]);
    assert_eq!(counted.1, 3);
    assert_eq!(std::fs::read_dir(root.path().join("mnt")).unwrap().count(), 0);
    assert_eq!(std::fs::read_dir(root.path().join("proc")).unwrap().count(), 0);
    assert_eq!(std::fs::metadata(root.path().join("usr/b")).unwrap().nlink(), 2);
}

#[test]
fn dir_import_a_copy_that_lies_in_its_own_source_leaves_itself_out() {
    let (dir, from) = source();
    let root = dir.path().join("mnt/draft");
    std::fs::create_dir(&root).unwrap();
    let filled = fill(&from, "the source", &root, &mut Silent).unwrap();
    assert_eq!(filled.notes, ["mnt/draft is the copy itself and was left out"]);
    assert!(!root.join("mnt/draft").exists() && root.join("usr/bin/a").exists());
    let error = fill(&File::open(&root).unwrap(), "draft", &root, &mut Silent).unwrap_err();
    assert!(error.to_string().contains("it is the tree that is to be filled"), "{error}");
}

#[test]
fn dir_import_a_copy_without_room_says_so_and_names_the_file() {
    let (dir, from) = source();
    std::fs::write(dir.path().join("usr/big"), vec![1_u8; 3 << 20]).unwrap();
    let root = tempfile::tempdir().unwrap();
    let path = root.path().to_str().unwrap();
    run("mount", &["-t", "tmpfs", "-o", "size=1M", "tmpfs", path]);
    let error = fill(&from, "the source", root.path(), &mut Silent);
    run("umount", &[path]);
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoRoom);
    assert_eq!(error.to_string(), "cannot copy the source/usr/big");
}

#[test]
fn many_mounts_are_summed_up() {
    let mounts: Vec<_> = (0..20).map(|n| PathBuf::from(format!("m{n}"))).collect();
    let notes = Met { mounts, ..Met::default() }.notes();
    assert_eq!(notes.len(), 17);
    assert_eq!(notes[16], "what is mounted at 4 more places was left out");
}

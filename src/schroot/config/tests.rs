#![allow(clippy::disallowed_methods, reason = "tests write the files that are to be read")]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

struct Etc(tempfile::TempDir);

impl Etc {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("etc/schroot/chroot.d")).unwrap();
        Self(dir)
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join("etc/schroot").join(name)
    }

    fn write(&self, name: &str, text: &str) -> &Self {
        fs::write(self.path(name), text).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o644)).unwrap();
        self
    }

    fn load(&self) -> (Vec<String>, Vec<String>) {
        let owner = rustix::process::geteuid().as_raw();
        let loaded = load_trusting(&Layout::new(self.0.path()), owner);
        let said = loaded.warnings.iter().chain(&loaded.broken).map(Line::text);
        let said = said.map(|text| text.replace(&self.path("").display().to_string(), ""));
        (loaded.definitions.into_keys().collect(), said.collect())
    }
}

const GOOD: &str = "[good]\ndirectory=/x\n";

#[test]
fn no_configuration_is_an_empty_one() {
    let dir = tempfile::tempdir().unwrap();
    let owner = rustix::process::geteuid().as_raw();
    let loaded = load_trusting(&Layout::new(dir.path()), owner);
    assert!(loaded.definitions.is_empty() && loaded.broken.is_empty() && loaded.warnings.is_empty());
}

#[test]
fn the_file_and_the_folder_are_read_and_names_that_are_none_are_left_out() {
    let etc = Etc::new();
    etc.write("schroot.conf", "[a]\ndirectory=/a\n").write("chroot.d/ok.conf", "[b]\ndirectory=/b\n");
    etc.write("chroot.d/sid-amd64-sbuild-Xy12Zq", "[c]\ndirectory=/c\n");
    for name in ["foo~", ".hidden", "#x#", "x.dpkg-old"] {
        etc.write(&format!("chroot.d/{name}"), "broken\n");
    }
    let (names, said) = etc.load();
    assert_eq!(names, ["a", "b", "c"]);
    assert!(said.is_empty(), "{said:?}");
}

#[test]
fn a_broken_file_takes_only_itself_away() {
    let etc = Etc::new();
    etc.write("schroot.conf", GOOD).write("chroot.d/bad", "no group\n");
    etc.write("chroot.d/half", "[whole]\ndirectory=/w\n[half]\ntype=file\n");
    let (names, said) = etc.load();
    assert_eq!(names, ["good", "whole"]);
    assert_eq!(
        said,
        [
            "E: chroot.d/bad: line 0: Invalid line: “no group”",
            "E: chroot.d/half: [half] file: line 3 [half]: Required key ‘file’ is missing",
        ]
    );
}

#[test]
fn the_first_of_two_chroots_of_one_name_counts() {
    let etc = Etc::new();
    etc.write("schroot.conf", GOOD).write("chroot.d/again", GOOD);
    let (names, said) = etc.load();
    assert_eq!(names, ["good"]);
    assert_eq!(said, ["E: chroot.d/again: line 1: Duplicate group ‘good’"]);
}

#[test]
fn what_somebody_else_could_have_written_is_not_read() {
    let etc = Etc::new();
    etc.write("schroot.conf", GOOD).write("chroot.d/open", "[open]\ndirectory=/x\n");
    fs::set_permissions(etc.path("chroot.d/open"), fs::Permissions::from_mode(0o666)).unwrap();
    symlink("/etc/passwd", etc.path("chroot.d/link")).unwrap();
    fs::create_dir(etc.path("chroot.d/folder")).unwrap();
    let (names, said) = etc.load();
    assert_eq!(names, ["good"]);
    assert_eq!(
        said,
        [
            "E: chroot.d/folder: it is no regular file",
            "E: chroot.d/link: it is a symbolic link",
            "E: chroot.d/open: everybody may write it (mode 0666)",
        ]
    );
    let loaded = load_trusting(&Layout::new(etc.0.path()), 4_242_424);
    assert!(loaded.definitions.is_empty() && loaded.broken.len() == 1);
}

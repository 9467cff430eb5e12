#![expect(clippy::disallowed_methods, reason = "tests lay out trees by hand")]

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use super::compare::{Comparing, compare};
use super::*;

fn differences(old: &Path, new: &Path) -> Vec<String> {
    let (old, new) = (File::open(old).unwrap(), File::open(new).unwrap());
    let mut found = Vec::new();
    let mut how = Comparing { same_inodes: false, guide: None, step: &mut |_| Ok(()) };
    compare(old.as_fd(), new.as_fd(), &mut how, &mut |difference| {
        found.push(format!("{:?} {} {:?}", difference.change, difference.path, difference.aspects));
        Ok(())
    })
    .unwrap();
    found
}

fn two() -> (tempfile::TempDir, tempfile::TempDir) {
    let make = || {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path();
        std::fs::set_permissions(top, std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::create_dir_all(top.join("usr/bin")).unwrap();
        for (name, text) in [("usr/bin/a", "one"), ("usr/bin/b", "two"), ("usr/c", "three"), ("usr/d", "")] {
            std::fs::write(top.join(name), text).unwrap();
        }
        std::fs::hard_link(top.join("usr/c"), top.join("usr/e")).unwrap();
        symlink("usr/bin", top.join("bin")).unwrap();
        dir
    };
    (make(), make())
}

#[test]
fn equal_trees_have_no_difference_whenever_they_were_made() {
    let (old, new) = two();
    let long_ago = std::time::SystemTime::UNIX_EPOCH;
    File::open(new.path().join("usr/bin/a")).unwrap().set_modified(long_ago).unwrap();
    assert_eq!(differences(old.path(), new.path()), [] as [&str; 0]);
}

#[test]
fn sys_root_every_kind_of_difference_is_named() {
    let (old, new) = two();
    let at = |name: &str| new.path().join(name);
    std::fs::write(at("usr/bin/a"), "ONE").unwrap();
    std::fs::set_permissions(at("usr/bin/b"), std::fs::Permissions::from_mode(0o4755)).unwrap();
    std::os::unix::fs::chown(at("usr/bin"), Some(7), Some(8)).unwrap();
    std::fs::remove_file(at("usr/e")).unwrap();
    std::fs::write(at("usr/e"), "three").unwrap();
    std::fs::remove_file(at("usr/d")).unwrap();
    std::fs::create_dir(at("usr/d")).unwrap();
    std::fs::write(at("usr/d/new name"), "x").unwrap();
    std::fs::remove_file(at("bin")).unwrap();
    symlink("usr/sbin", at("bin")).unwrap();
    rustix::fs::setxattr(at("usr/c"), "trusted.x", b"1", rustix::fs::XattrFlags::empty()).unwrap();
    std::fs::write(old.path().join("usr/z"), "").unwrap();
    insta::assert_snapshot!(differences(old.path(), new.path()).join("\n"), @r#"
    Changed /bin [Target { old: "usr/bin", new: "usr/sbin" }]
    Changed /usr/bin [Owner { old: "0:0", new: "7:8" }]
    Changed /usr/bin/a [Content]
    Changed /usr/bin/b [Mode { old: "0644", new: "4755" }]
    Changed /usr/c [Xattrs { names: ["trusted.x"] }]
    Changed /usr/d [Type { old: "file", new: "directory" }]
    Added /usr/d/new\x20name []
    Changed /usr/e [Links]
    Removed /usr/z []
    "#);
}

#[test]
fn bytes_are_escaped_so_that_no_name_can_play_with_a_terminal() {
    assert_eq!(escape(b"a b\n\x1b[2J\\\xff/c"), "/a\\x20b\\x0a\\x1b[2J\\x5c\\xff/c");
    assert_eq!(escape(b""), "/");
}

#[test]
fn what_stops_the_work_stops_it() {
    let (old, new) = two();
    let (old, new) = (File::open(old.path()).unwrap(), File::open(new.path()).unwrap());
    let mut how = Comparing { same_inodes: false, guide: None, step: &mut |_| Err(io::Error::other("stop")) };
    let stopped = compare(old.as_fd(), new.as_fd(), &mut how, &mut |_| Ok(()));
    assert_eq!(stopped.unwrap_err().to_string(), "stop");
}

#![expect(clippy::disallowed_methods, reason = "tests lay out trees by hand")]

use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, XattrFlags};

use super::super::{digest_file, same_bytes};
use super::*;

fn paths(top: &Path, guide: Option<&Guide>) -> Vec<String> {
    let top = std::fs::File::open(top).unwrap();
    let mut walk = Walk::new(top.as_fd(), guide).unwrap();
    let mut found = Vec::new();
    while let Some(entry) = walk.next_entry().unwrap() {
        let more = entry.first_link.as_ref().map(|first| format!(" = {}", String::from_utf8_lossy(first)));
        found.push(format!(
            "{} {}{}",
            entry.kind.letter(),
            String::from_utf8_lossy(&entry.path),
            more.unwrap_or_default()
        ));
    }
    found
}

#[test]
fn a_walk_is_in_the_order_of_paths_and_tells_what_everything_is() {
    let dir = tempfile::tempdir().unwrap();
    let top = dir.path();
    for folder in ["b", "b/c", "b.d", "a"] {
        std::fs::create_dir(top.join(folder)).unwrap();
    }
    for file in ["b/c/x", "b-1", "b/z", "b.d/f", "a/one"] {
        std::fs::write(top.join(file), file).unwrap();
    }
    symlink("/etc", top.join("b/link")).unwrap();
    std::fs::hard_link(top.join("a/one"), top.join("b/two")).unwrap();
    std::fs::hard_link(top.join("a/one"), top.join("z")).unwrap();
    let found = paths(top, None);
    assert_eq!(
        found,
        [
            "d ",
            "d a",
            "f a/one",
            "d b",
            "d b/c",
            "f b/c/x",
            "l b/link",
            "f b/two = a/one",
            "f b/z",
            "f b-1",
            "d b.d",
            "f b.d/f",
            "f z = a/one",
        ]
    );
    let sorted: Vec<&[u8]> =
        found.iter().map(|line| line[2..].split(" =").next().unwrap().as_bytes()).collect();
    assert!(sorted.is_sorted_by(|one, other| by_path(one, other) == Ordering::Less));
    let guide: Guide = Box::new(|path| {
        let only = |names: &[&CStr]| Some(names.iter().map(|name| (*name).to_owned()).collect());
        Ok(match path {
            b"" => only(&[c"b", c"none"]),
            b"b" => only(&[c"c", c"link"]),
            _ => None,
        })
    });
    assert_eq!(paths(top, Some(&guide)), ["d ", "d b", "d b/c", "f b/c/x", "l b/link"]);
}

#[test]
fn sys_root_devices_fifos_and_sockets_are_told_and_never_opened() {
    let dir = tempfile::tempdir().unwrap();
    let top = dir.path();
    let make = |name: &str, kind, device| {
        rustix::fs::mknodat(CWD, top.join(name), kind, Mode::from(0o644), device).unwrap();
    };
    make("fifo", FileType::Fifo, 0);
    make("null", FileType::CharacterDevice, rustix::fs::makedev(1, 3));
    make("loop", FileType::BlockDevice, rustix::fs::makedev(7, 200));
    let _socket = std::os::unix::net::UnixListener::bind(top.join("socket")).unwrap();
    let fd = std::fs::File::open(top).unwrap();
    let began = Instant::now();
    assert_eq!(paths(top, None), ["d ", "p fifo", "b loop", "c null", "s socket"]);
    for name in [c"fifo", c"null", c"loop", c"socket", c"none"] {
        assert!(open_beneath(fd.as_fd(), name).unwrap().is_none(), "{name:?}");
    }
    assert!(began.elapsed() < Duration::from_secs(5));
    let mut walk = Walk::new(fd.as_fd(), None).unwrap();
    while let Some(entry) = walk.next_entry().unwrap() {
        let numbers = match entry.path.as_slice() {
            b"null" => Some((1, 3)),
            b"loop" => Some((7, 200)),
            _ => None,
        };
        assert_eq!(entry.device, numbers);
        assert!(walk.open_last().unwrap().is_none());
    }
}

#[test]
fn sys_root_attributes_are_told_but_for_our_own() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    rustix::fs::setxattr(&file, "security.capability", &capability, XattrFlags::empty()).unwrap();
    rustix::fs::setxattr(&file, "trusted.zchroot.made", b"x", XattrFlags::empty()).unwrap();
    rustix::fs::setxattr(&file, "trusted.mine", b"y", XattrFlags::empty()).unwrap();
    let top = std::fs::File::open(dir.path()).unwrap();
    let mut walk = Walk::new(top.as_fd(), None).unwrap();
    walk.next_entry().unwrap();
    let entry = walk.next_entry().unwrap().unwrap();
    let names: Vec<&[u8]> = entry.xattrs.iter().map(|(name, _)| name.as_slice()).collect();
    assert_eq!(names, [&b"security.capability"[..], b"trusted.mine"]);
}

#[test]
fn no_symlink_leads_out_of_a_walk() {
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("secret"), "x").unwrap();
    let dir = tempfile::tempdir().unwrap();
    symlink(outside.path(), dir.path().join("way")).unwrap();
    assert_eq!(paths(dir.path(), None), ["d ", "l way"]);
    let top = std::fs::File::open(dir.path()).unwrap();
    assert!(open_beneath(top.as_fd(), c"way/secret").unwrap().is_none());
    assert!(open_beneath(top.as_fd(), c"../x").unwrap().is_none());
}

#[test]
fn a_directory_that_becomes_a_symlink_or_another_is_not_gone_into() {
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("secret"), "x").unwrap();
    let dir = tempfile::tempdir().unwrap();
    for name in ["a", "b", "c"] {
        std::fs::create_dir(dir.path().join(name)).unwrap();
        std::fs::write(dir.path().join(name).join("in"), "x").unwrap();
    }
    let top = std::fs::File::open(dir.path()).unwrap();
    let mut walk = Walk::new(top.as_fd(), None).unwrap();
    let mut seen = Vec::new();
    while let Some(entry) = walk.next_entry().unwrap() {
        match entry.path.as_slice() {
            b"a" => {
                std::fs::rename(dir.path().join("a"), outside.path().join("a")).unwrap();
                symlink(outside.path(), dir.path().join("a")).unwrap();
            }
            b"b" => {
                std::fs::rename(dir.path().join("b"), outside.path().join("b")).unwrap();
                std::fs::create_dir(dir.path().join("b")).unwrap();
                std::fs::write(dir.path().join("b/other"), "x").unwrap();
            }
            b"c/in" => {
                std::fs::write(dir.path().join("c/new"), "x").unwrap();
                std::fs::rename(dir.path().join("c/new"), dir.path().join("c/in")).unwrap();
                assert!(walk.open_last().unwrap().is_none(), "it is another file by now");
            }
            _ => {}
        }
        seen.push(String::from_utf8(entry.path).unwrap());
    }
    assert_eq!(seen, ["", "a", "b", "c", "c/in"]);
}

#[test]
fn a_deep_tree_is_walked_with_few_descriptors() {
    let dir = tempfile::tempdir().unwrap();
    let mut at = std::os::fd::OwnedFd::from(std::fs::File::open(dir.path()).unwrap());
    for _ in 0..600 {
        rustix::fs::mkdirat(&at, "a-directory", Mode::RWXU).unwrap();
        at = rustix::fs::openat(&at, "a-directory", super::super::DIRECTORY, Mode::empty()).unwrap();
    }
    assert_eq!(paths(dir.path(), None).len(), 601);
}

#[test]
fn holes_read_as_zeros_and_cost_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let make = |name: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, "begin").unwrap();
        let file = std::fs::File::options().read(true).write(true).open(&path).unwrap();
        file.set_len(1 << 40).unwrap();
        file
    };
    let (one, other) = (make("one"), make("other"));
    let mut read = 0;
    assert!(
        same_bytes(&one, &other, &mut |bytes| {
            read += bytes;
            Ok(())
        })
        .unwrap()
    );
    assert!(read < 1 << 21, "{read}");
    std::os::unix::fs::FileExt::write_at(&other, b"x", 1 << 39).unwrap();
    assert!(!same_bytes(&one, &other, &mut |_| Ok(())).unwrap());
    let (holes, plain) = (dir.path().join("holes"), dir.path().join("plain"));
    std::fs::write(&plain, vec![0; 100_000]).unwrap();
    std::fs::File::create(&holes).unwrap().set_len(100_000).unwrap();
    let digest = |path: &Path| digest_file(&std::fs::File::open(path).unwrap(), &mut |_| Ok(())).unwrap();
    assert_eq!(digest(&plain), digest(&holes));
    std::fs::write(&plain, "abc").unwrap();
    let known = [0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea];
    assert_eq!(digest(&plain)[..8], known, "it is what sha256sum(1) says");
    let stop = digest_file(&one, &mut |_| Err(io::Error::other("stop")));
    assert_eq!(stop.unwrap_err().to_string(), "stop");
}

#![expect(clippy::disallowed_methods, reason = "tests build trees by hand")]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use rustix::fs::{FileType, Mode, XattrFlags};

use super::*;
use crate::sys::effect::{self, Plan};

fn dir(path: &Path) -> File {
    File::open(path).unwrap()
}

fn copy(from: &Path, to: &Path, options: &CopyOptions<'_>) -> io::Result<(Copied, u64)> {
    fs::create_dir(to).unwrap();
    let mut told = 0;
    let copied = copy_tree(dir(from).as_fd(), dir(to).as_fd(), options, &mut |bytes| told += bytes)?;
    Ok((copied, told))
}

/// Goes down `depth` levels of directories called `d`, each with a file.
fn deep(top: &Path, depth: usize) {
    let mut here = reopen(dir(top).as_fd()).unwrap();
    for _ in 0..depth {
        rustix::fs::mkdirat(&here, "d", Mode::RWXU).unwrap();
        here = rustix::fs::openat(&here, "d", DIRECTORY, Mode::empty()).unwrap();
        let flags = OFlags::CREATE | OFlags::WRONLY;
        rustix::fs::openat(&here, "file", flags, Mode::RUSR).unwrap();
    }
}

fn open_files() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn a_copy_keeps_modes_times_links_holes_and_attributes() {
    let root = tempfile::tempdir().unwrap();
    let from = root.path().join("from");
    fs::create_dir_all(from.join("sub/empty")).unwrap();
    fs::write(from.join("sub/a"), "hello").unwrap();
    fs::set_permissions(from.join("sub/a"), fs::Permissions::from_mode(0o6751)).unwrap();
    fs::set_permissions(from.join("sub/empty"), fs::Permissions::from_mode(0o1777)).unwrap();
    fs::hard_link(from.join("sub/a"), from.join("b")).unwrap();
    symlink("/etc/passwd", from.join("link")).unwrap();
    symlink("nowhere", from.join("link2")).unwrap();
    fs::hard_link(from.join("link2"), from.join("link3")).unwrap();
    let top = dir(&from);
    rustix::fs::mknodat(&top, "fifo", FileType::Fifo, Mode::RUSR, 0).unwrap();
    let sparse = File::create(from.join("sparse")).unwrap();
    sparse.set_len(64 << 20).unwrap();
    sparse.write_all_at(b"middle", 32 << 20).unwrap();
    let user = rustix::fs::setxattr(from.join("b"), c"user.mark", b"yes", XattrFlags::empty());
    fs::set_permissions(&from, fs::Permissions::from_mode(0o2755)).unwrap();
    let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::new(1_000_000_000, 123_456_789);
    for name in ["b", "sub"] {
        dir(&from.join(name)).set_modified(old).unwrap();
    }

    let to = root.path().join("to");
    let (copied, told) = copy(&from, &to, &CopyOptions::default()).unwrap();
    assert_eq!(copied.files, 9);
    assert_eq!(copied.bytes, (64 << 20) + 5);
    assert!(told <= copied.bytes);
    assert_eq!(fs::read(to.join("b")).unwrap(), b"hello");
    let (a, b) = (fs::metadata(to.join("sub/a")).unwrap(), fs::metadata(to.join("b")).unwrap());
    assert_eq!((a.ino(), a.nlink(), a.mode() & 0o7777), (b.ino(), 2, 0o6751));
    assert_eq!(b.modified().unwrap(), old);
    assert_eq!(fs::metadata(to.join("sub")).unwrap().modified().unwrap(), old);
    assert_eq!(fs::metadata(to.join("sub/empty")).unwrap().mode() & 0o7777, 0o1777);
    assert_eq!(fs::metadata(&to).unwrap().mode() & 0o7777, 0o2755);
    assert_eq!(fs::read_link(to.join("link")).unwrap(), Path::new("/etc/passwd"));
    let (two, three) = (fs::symlink_metadata(to.join("link2")), fs::symlink_metadata(to.join("link3")));
    assert_eq!(two.unwrap().ino(), three.unwrap().ino());
    assert_eq!(fs::symlink_metadata(to.join("fifo")).unwrap().mode() & 0o170_777, libc::S_IFIFO | 0o400);
    let copy = File::open(to.join("sparse")).unwrap();
    assert_eq!(copy.metadata().unwrap().len(), 64 << 20);
    assert!(copy.metadata().unwrap().blocks() < 1024, "the holes stay holes");
    let mut middle = [0; 6];
    copy.read_exact_at(&mut middle, 32 << 20).unwrap();
    assert_eq!(&middle, b"middle");
    if user.is_ok() {
        let mut value = [0; 8];
        assert_eq!(rustix::fs::getxattr(to.join("b"), c"user.mark", &mut value), Ok(3));
    }
}

#[test]
fn sys_root_a_copy_keeps_owners_devices_capabilities_and_drops_what_overlayfs_left() {
    let root = tempfile::tempdir().unwrap();
    let from = root.path().join("from");
    fs::create_dir(&from).unwrap();
    let top = dir(&from);
    let null = rustix::fs::makedev(1, 3);
    rustix::fs::mknodat(&top, "null", FileType::CharacterDevice, Mode::from_raw_mode(0o666), null).unwrap();
    fs::write(from.join("file"), "x").unwrap();
    symlink("target", from.join("link")).unwrap();
    for name in ["file", "link", "null"] {
        std::os::unix::fs::lchown(from.join(name), Some(1234), Some(5678)).unwrap();
    }
    fs::set_permissions(from.join("null"), fs::Permissions::from_mode(0o666)).unwrap();
    // A version 2 capability set: cap_net_raw=ep.
    let mut capability = vec![1, 0, 0, 2, 0, 0x20, 0, 0];
    capability.resize(20, 0);
    let none = XattrFlags::empty();
    rustix::fs::setxattr(from.join("file"), c"security.capability", &capability, none).unwrap();
    rustix::fs::setxattr(from.join("file"), c"trusted.overlay.opaque", b"y", none).unwrap();
    rustix::fs::lsetxattr(from.join("link"), c"trusted.mark", b"l", none).unwrap();

    let to = root.path().join("to");
    copy(&from, &to, &CopyOptions { reflink: Reflink::Never, ..CopyOptions::default() }).unwrap();
    for name in ["file", "link", "null"] {
        let stat = fs::symlink_metadata(to.join(name)).unwrap();
        assert_eq!((stat.uid(), stat.gid()), (1234, 5678), "{name}");
    }
    let stat = fs::symlink_metadata(to.join("null")).unwrap();
    assert_eq!((stat.rdev(), stat.mode()), (null, libc::S_IFCHR | 0o666));
    let mut value = [0; 64];
    let length = rustix::fs::getxattr(to.join("file"), c"security.capability", &mut value).unwrap();
    assert_eq!(&value[..length], &capability[..]);
    assert!(rustix::fs::getxattr(to.join("file"), c"trusted.overlay.opaque", &mut value).is_err());
    assert_eq!(rustix::fs::lgetxattr(to.join("link"), c"trusted.mark", &mut value), Ok(1));
}

#[test]
fn what_is_to_be_left_out_is_left_out() {
    let root = tempfile::tempdir().unwrap();
    let from = root.path().join("from");
    fs::create_dir_all(from.join("var/cache/apt")).unwrap();
    fs::create_dir_all(from.join("cache")).unwrap();
    fs::write(from.join("var/cache/apt/deb"), "x").unwrap();
    let leave_out = |path: &Path| path == Path::new("var/cache/apt");
    let to = root.path().join("to");
    copy(&from, &to, &CopyOptions { leave_out: Some(&leave_out), ..CopyOptions::default() }).unwrap();
    assert!(to.join("var/cache").is_dir() && to.join("cache").is_dir());
    assert!(!to.join("var/cache/apt").exists());
}

#[test]
fn a_copy_into_what_is_not_empty_fails_and_touches_nothing_there() {
    let root = tempfile::tempdir().unwrap();
    let (from, to) = (root.path().join("from"), root.path().join("to"));
    fs::create_dir(&from).unwrap();
    fs::create_dir(&to).unwrap();
    fs::write(from.join("file"), "new").unwrap();
    fs::write(root.path().join("outside"), "precious").unwrap();
    symlink("../outside", to.join("file")).unwrap();
    let result = copy_tree(dir(&from).as_fd(), dir(&to).as_fd(), &CopyOptions::default(), &mut |_| {});
    assert_eq!(result.unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(fs::read(root.path().join("outside")).unwrap(), b"precious");
}

#[test]
fn trees_of_any_depth_are_copied_measured_and_removed_with_few_descriptors() {
    let root = tempfile::tempdir().unwrap();
    let from = root.path().join("from");
    fs::create_dir(&from).unwrap();
    deep(&from, 1500);
    let before = open_files();
    let to = root.path().join("to");
    let (copied, _) = copy(&from, &to, &CopyOptions::default()).unwrap();
    let to = dir(&to);
    assert_eq!(copied.files, 3000);
    assert!(open_files() <= before + 1);
    assert!(tree_size(to.as_fd()).unwrap() > 1500 * 512);
    assert_eq!(tree_size(to.as_fd()).unwrap(), tree_size(dir(&from).as_fd()).unwrap());
    let parent = dir(root.path());
    for name in ["from", "to"] {
        remove_tree(parent.as_fd(), OsStr::new(name)).unwrap();
    }
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
}

#[test]
fn a_deep_walk_keeps_few_directories_open() {
    let root = tempfile::tempdir().unwrap();
    deep(root.path(), 200);
    let mut walk = Descent::new(reopen(dir(root.path()).as_fd()).unwrap()).unwrap();
    for _ in 0..200 {
        let below = open_inside(walk.here(), &c"d".to_owned()).unwrap();
        walk.down(below).unwrap();
    }
    assert!(walk.above.iter().filter(|(fd, _)| fd.is_some()).count() <= OPEN_AT_MOST);
    for _ in 0..200 {
        walk.up().unwrap();
    }
    assert_eq!(id_of(walk.here()).unwrap(), id_of(dir(root.path())).unwrap());
    assert!(walk.up().is_err());
}

#[test]
fn a_directory_that_is_moved_under_a_walk_stops_it() {
    let root = tempfile::tempdir().unwrap();
    let top = root.path().join("top");
    fs::create_dir(&top).unwrap();
    deep(&top, 60);
    let mut walk = Descent::new(reopen(dir(&top).as_fd()).unwrap()).unwrap();
    for _ in 0..60 {
        let below = open_inside(walk.here(), &c"d".to_owned()).unwrap();
        walk.down(below).unwrap();
    }
    fs::rename(top.join("d/d/d"), root.path().join("elsewhere")).unwrap();
    let error = (0..60).find_map(|_| walk.up().err()).unwrap();
    assert_eq!(error.raw_os_error(), Some(libc::ESTALE));
}

#[test]
fn removal_follows_no_symlink_and_accepts_absence() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("outside/dir")).unwrap();
    fs::create_dir(root.path().join("tree")).unwrap();
    symlink("../outside", root.path().join("tree/link")).unwrap();
    symlink("outside", root.path().join("top")).unwrap();
    let parent = dir(root.path());
    for name in ["tree", "top", "absent"] {
        remove_tree(parent.as_fd(), OsStr::new(name)).unwrap();
    }
    assert!(root.path().join("outside/dir").is_dir());
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
}

#[test]
fn sys_root_removal_clears_immutable_and_append_only_marks() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("tree/dir")).unwrap();
    fs::write(root.path().join("tree/dir/file"), "x").unwrap();
    // Added to what is set: to take ext4's own marks away would ask it to convert the file.
    let mark = |path: &str, flag| {
        let file = dir(&root.path().join(path));
        rustix::fs::ioctl_setflags(&file, rustix::fs::ioctl_getflags(&file)? | flag)
    };
    mark("tree/dir/file", rustix::fs::IFlags::APPEND).unwrap();
    mark("tree/dir", rustix::fs::IFlags::IMMUTABLE).unwrap();
    mark("tree", rustix::fs::IFlags::IMMUTABLE).unwrap();
    assert!(fs::remove_dir_all(root.path().join("tree")).is_err());
    remove_tree(dir(root.path()).as_fd(), OsStr::new("tree")).unwrap();
    assert!(!root.path().join("tree").exists());
}

struct Mounted(std::path::PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH);
    }
}

#[test]
fn sys_root_what_is_mounted_inside_is_neither_removed_nor_copied_nor_counted() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("tree/sub/proc")).unwrap();
    fs::create_dir(root.path().join("host")).unwrap();
    // A bind mount has the same device as the tree: only openat2 sees the border.
    let big = File::create(root.path().join("host/precious")).unwrap();
    (&big).write_all(&vec![1; 1 << 20]).unwrap();
    let target = root.path().join("tree/sub/proc");
    rustix::mount::mount_bind(root.path().join("host"), &target).unwrap();
    let _mounted = Mounted(target);
    let parent = dir(root.path());
    let error = remove_tree(parent.as_fd(), OsStr::new("tree")).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EBUSY));
    assert!(root.path().join("host/precious").is_file());
    let tree = root.path().join("tree");
    assert!(tree_size(dir(&tree).as_fd()).unwrap() < 1 << 20);
    copy(&tree, &root.path().join("one"), &CopyOptions::default()).unwrap();
    assert_eq!(fs::read_dir(root.path().join("one/sub/proc")).unwrap().count(), 0);
    copy(&tree, &root.path().join("all"), &CopyOptions { cross_mounts: true, ..CopyOptions::default() })
        .unwrap();
    assert_eq!(fs::read(root.path().join("all/sub/proc/precious")).unwrap().len(), 1 << 20);
}

#[test]
fn a_file_with_two_links_counts_once() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("a"), vec![1; 1 << 20]).unwrap();
    let one = tree_size(dir(root.path()).as_fd()).unwrap();
    fs::hard_link(root.path().join("a"), root.path().join("b")).unwrap();
    assert_eq!(tree_size(dir(root.path()).as_fd()).unwrap(), one);
}

#[test]
fn a_fault_at_any_step_of_a_removal_does_not_hinder_the_next() {
    let mut hits = BTreeMap::new();
    for mode in [effect::Mode::Crash, effect::Mode::Fail(libc::EIO)] {
        for at in 1.. {
            let root = tempfile::tempdir().unwrap();
            fs::create_dir_all(root.path().join("tree/sub")).unwrap();
            fs::write(root.path().join("tree/sub/file"), "x").unwrap();
            let parent = dir(root.path());
            let (result, seen) =
                effect::run(Plan { at, mode }, || remove_tree(parent.as_fd(), OsStr::new("tree")));
            remove_tree(parent.as_fd(), OsStr::new("tree")).unwrap();
            if matches!(result, Ok(Ok(()))) {
                break;
            }
            *hits.entry(seen.last().copied().unwrap_or_default()).or_insert(0) += 1;
        }
    }
    assert_eq!(hits, BTreeMap::from([("remove entry", 6)]));
}

#[test]
fn the_bytes_of_a_file_can_be_copied_by_read_and_write() {
    let root = tempfile::tempdir().unwrap();
    // procfs has no copy_file_range to other file systems and says that its files are empty.
    fs::write(root.path().join("a"), vec![7; 600_000]).unwrap();
    let from = File::open(root.path().join("a")).unwrap();
    let to = File::create(root.path().join("b")).unwrap();
    let mut told = 0;
    data::copy_bytes(from.as_fd(), to.as_fd(), 0, 600_000, &mut |bytes| told += bytes).unwrap();
    assert_eq!(told, 600_000);
    assert_eq!(fs::read(root.path().join("b")).unwrap(), vec![7; 600_000]);
    data::copy_bytes(from.as_fd(), to.as_fd(), 0, 700_000, &mut |_| {}).unwrap();
    assert_eq!(to.metadata().unwrap().len(), 600_000, "ends where the file does");
}

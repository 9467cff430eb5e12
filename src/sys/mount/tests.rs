use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

use rustix::fs::StatVfsMountFlags;

use super::scratch::in_namespace;
use super::*;
use crate::sys::effect::{self, Mode, Plan};

fn handle(path: &Path) -> OwnedFd {
    rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, rustix::fs::Mode::empty()).unwrap()
}

fn tmpfs(path: &Path) -> Attached {
    fs::create_dir_all(path).unwrap();
    Detached::tmpfs(None, 0o755, Access::default()).unwrap().attach(handle(path).as_fd()).unwrap()
}

fn flags(path: &Path) -> StatVfsMountFlags {
    rustix::fs::statvfs(path).unwrap().f_flag
}

/// The optional fields of the mount at `path`: `shared:N`, `master:N`.
fn propagation(path: &Path) -> String {
    let table = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
    let line = table.lines().rfind(|line| line.split(' ').nth(4) == path.to_str()).unwrap();
    line.split(' ').skip(6).take_while(|field| *field != "-").collect()
}

#[test]
fn sys_root_each_kind_of_mount_is_what_it_says() {
    in_namespace(|dir| {
        for name in ["proc", "pts", "small", "bind"] {
            fs::create_dir(dir.join(name)).unwrap();
        }
        let at = |name: &str| handle(&dir.join(name));
        Detached::proc(Access::default()).unwrap().attach(at("proc").as_fd()).unwrap();
        assert!(fs::read_link(dir.join("proc/self")).is_ok());
        assert!(flags(&dir.join("proc")).contains(StatVfsMountFlags::NOEXEC | StatVfsMountFlags::NOSUID));

        Detached::devpts(Access::default()).unwrap().attach(at("pts").as_fd()).unwrap();
        let ptmx = fs::metadata(dir.join("pts/ptmx")).unwrap();
        assert_eq!(ptmx.mode() & 0o777, 0o666);
        assert_eq!(fs::read_dir(dir.join("pts")).unwrap().count(), 1, "no terminal of the host shows");
        assert!(!flags(&dir.join("pts")).contains(StatVfsMountFlags::NODEV));

        let small = Detached::tmpfs(Some(1 << 20), 0o1777, Access::default()).unwrap();
        small.attach(at("small").as_fd()).unwrap();
        assert_eq!(fs::metadata(dir.join("small")).unwrap().mode() & 0o7777, 0o1777);
        assert_eq!(rustix::fs::statvfs(dir.join("small")).unwrap().f_blocks * 4096, 1 << 20);
        assert!(flags(&dir.join("small")).contains(StatVfsMountFlags::NODEV | StatVfsMountFlags::NOSUID));

        fs::write(dir.join("small/file"), "seen").unwrap();
        let access = Access { read_only: true, ..Access::default() };
        Detached::bind(&dir.join("small"), false, access).unwrap().attach(at("bind").as_fd()).unwrap();
        assert_eq!(fs::read_to_string(dir.join("bind/file")).unwrap(), "seen");
        assert_eq!(fs::write(dir.join("bind/file"), "x").unwrap_err().raw_os_error(), Some(libc::EROFS));
        fs::write(dir.join("small/file"), "written").unwrap();
    });
}

#[test]
fn sys_root_a_recursive_bind_is_read_only_all_the_way_down() {
    in_namespace(|dir| {
        tmpfs(&dir.join("from"));
        tmpfs(&dir.join("from/below"));
        for (name, recursive) in [("flat", false), ("deep", true)] {
            fs::create_dir(dir.join(name)).unwrap();
            let access = Access { read_only: true, ..Access::default() };
            let mount = Detached::bind(&dir.join("from"), recursive, access).unwrap();
            mount.attach(handle(&dir.join(name)).as_fd()).unwrap();
            assert_eq!(is_mount_root(&dir.join(name).join("below")).unwrap(), recursive);
            let error = fs::write(dir.join(name).join("below/x"), "").unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EROFS));
        }
    });
}

#[test]
fn sys_root_a_dropped_mount_leaves_nothing_and_a_misfit_is_refused() {
    in_namespace(|dir| {
        fs::write(dir.join("file"), "").unwrap();
        let mount = Detached::tmpfs(None, 0o755, Access::default()).unwrap();
        let error = mount.attach(handle(&dir.join("file")).as_fd()).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOTDIR));
        assert!(mounts_below(dir).unwrap().is_empty());
        let error = Detached::bind(&dir.join("none"), true, Access::default()).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
    });
}

#[test]
fn sys_root_a_mount_is_no_peer_of_what_it_was_made_from() {
    in_namespace(|dir| {
        let shared = dir.join("shared");
        tmpfs(&shared);
        rustix::mount::mount_change(&shared, rustix::mount::MountPropagationFlags::SHARED).unwrap();
        for (place, is_shared) in [("alone", false), ("shared/below", true)] {
            fs::create_dir(dir.join(place)).unwrap();
            let bound = Detached::bind(&shared, true, Access::default()).unwrap();
            bound.attach(handle(&dir.join(place)).as_fd()).unwrap();
            assert_eq!(!propagation(&dir.join(place)).is_empty(), is_shared);
            assert_ne!(propagation(&dir.join(place)), propagation(&shared));
        }
    });
}

#[test]
fn sys_root_what_is_mounted_below_a_shared_parent_comes_and_goes_in_a_copy_of_it() {
    in_namespace(|dir| {
        let (parent, copy) = (dir.join("mount"), dir.join("copy"));
        [&parent, &copy].iter().for_each(|path| fs::create_dir(path).unwrap());
        assert!(shared_parent(&parent).unwrap());
        assert_ne!(propagation(&parent), "");
        rustix::mount::mount_bind(&parent, &copy).unwrap();
        rustix::mount::mount_change(&copy, rustix::mount::MountPropagationFlags::DOWNSTREAM).unwrap();
        tmpfs(&parent.join("session"));
        assert!(is_mount_root(&copy.join("session")).unwrap());
        // A private one, of a version before this, is shared from now on.
        rustix::mount::mount_change(&parent, rustix::mount::MountPropagationFlags::PRIVATE).unwrap();
        assert!(!shared_parent(&parent).unwrap());
        assert_ne!(propagation(&parent), "");
    });
    in_namespace(|dir| {
        let (parent, copy) = (dir.join("mount"), dir.join("copy"));
        [&parent, &copy].iter().for_each(|path| fs::create_dir(path).unwrap());
        assert!(shared_parent(&parent).unwrap());
        tmpfs(&parent.join("session"));
        rustix::mount::mount_bind_recursive(&parent, &copy).unwrap();
        assert!(is_mount_root(&copy.join("session")).unwrap());
        assert!(unmount_all(&parent.join("session"), How::Strict).unwrap());
        assert!(!is_mount_root(&copy.join("session")).unwrap());
    });
}

#[test]
fn sys_root_a_shared_parent_is_made_once_and_keeps_what_is_below() {
    in_namespace(|dir| {
        let parent = dir.join("mount");
        tmpfs(&parent.join("old"));
        assert!(!is_mount_root(&parent).unwrap());
        assert!(shared_parent(&parent).unwrap());
        assert!(is_mount_root(&parent).unwrap());
        assert!(is_mount_root(&parent.join("old")).unwrap());
        assert!(!shared_parent(&parent).unwrap());
        assert_eq!(mounts_below(&parent).unwrap(), [parent.join("old")]);

        let error = shared_parent(&dir.join("none")).unwrap_err();
        assert_eq!(error.errno(), libc::ENOENT);
        assert!(error.to_string().ends_with("/none"), "{error}");
        symlink(&parent, dir.join("link")).unwrap();
        assert!(shared_parent(&dir.join("link")).is_err());
    });
}

#[test]
fn sys_root_strict_unmount_names_the_busy_mount_and_lazy_takes_it() {
    in_namespace(|dir| {
        let root = dir.join("a b\\c\td");
        tmpfs(&root);
        tmpfs(&root.join("one"));
        tmpfs(&root.join("one/two"));
        tmpfs(&root.join("three"));
        let busy = fs::File::create(root.join("one/held")).unwrap();
        let error = unmount_all(&root, How::Strict).unwrap_err();
        assert!(error.is_busy());
        assert_eq!(error.path, root.join("one"));
        assert!(unmount_all(&root, How::Strict).unwrap_err().is_busy());
        assert!(unmount_all(&root, How::Lazy).unwrap());
        assert!(mounts_below(&root).unwrap().is_empty());
        assert!(!is_mount_root(&root).unwrap());
        drop(busy);
        for how in [How::Lazy, How::Strict] {
            assert!(!unmount_all(&root, how).unwrap());
            assert!(!unmount_all(&dir.join("none"), how).unwrap());
            assert!(!unmount_below(&dir.join("none"), how).unwrap());
        }
    });
}

#[test]
fn sys_root_unmount_takes_all_layers_but_nothing_beside() {
    in_namespace(|dir| {
        let root = dir.join("root");
        tmpfs(&dir.join("root2"));
        for how in [How::Lazy, How::Strict] {
            for _ in 0..3 {
                tmpfs(&root);
                tmpfs(&root.join("below"));
                tmpfs(&root.join("below"));
            }
            assert!(unmount_below(&root, how).unwrap());
            assert!(is_mount_root(&root).unwrap());
            tmpfs(&root.join("again"));
            assert!(unmount_all(&root, how).unwrap());
            assert!(!is_mount_root(&root).unwrap());
        }
        assert!(is_mount_root(&dir.join("root2")).unwrap());
    });
}

#[test]
fn sys_root_a_mount_made_before_its_parent_is_unmounted_first() {
    in_namespace(|dir| {
        let root = dir.join("root");
        let early = Detached::tmpfs(None, 0o755, Access::default()).unwrap();
        tmpfs(&root);
        fs::create_dir(root.join("early")).unwrap();
        early.attach(handle(&root.join("early")).as_fd()).unwrap();
        assert!(unmount_all(&root, How::Strict).unwrap());
    });
}

#[test]
fn sys_root_a_failed_step_is_reported_and_can_be_done_again() {
    in_namespace(|dir| {
        let root = dir.join("root");
        tmpfs(&root);
        let fail = Plan { at: 1, mode: Mode::Fail(libc::EPERM) };
        for how in [How::Strict, How::Lazy] {
            let (result, seen) = effect::run(fail, || unmount_all(&root, how));
            assert_eq!(result.unwrap().unwrap_err().errno(), libc::EPERM);
            assert_eq!(seen, ["unmount"]);
        }
        let (result, _) = effect::run(fail, || shared_parent(&dir.join("root2")));
        assert!(result.unwrap().is_err());
        assert!(unmount_all(&root, How::Strict).unwrap());
    });
}

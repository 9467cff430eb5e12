use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use super::*;
use crate::sys::effect::{self, Mode as FaultMode, Plan};
use crate::sys::mount::scratch::in_namespace;
use crate::sys::mount::{Access, Detached};

const FILE: Owner = Owner::root(0o644);

/// A tree at `dir/root`, and `dir/outside` with a marker that must never change.
struct Scene {
    dir: PathBuf,
    root: Root,
}

impl Scene {
    fn new(dir: &Path) -> Self {
        fs::create_dir_all(dir.join("root/etc")).unwrap();
        fs::create_dir_all(dir.join("outside")).unwrap();
        fs::write(dir.join("outside/marker"), "untouched").unwrap();
        Self { dir: dir.to_owned(), root: Root::open(&dir.join("root")).unwrap() }
    }

    fn inside(&self, path: &str) -> PathBuf {
        self.dir.join("root").join(path)
    }

    /// Nothing but the marker is outside, and it is as it was.
    fn check(&self) {
        let names: Vec<_> =
            fs::read_dir(self.dir.join("outside")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["marker"]);
        assert_eq!(fs::read_to_string(self.dir.join("outside/marker")).unwrap(), "untouched");
        let leftovers = fs::read_dir(self.inside("etc")).map(|entries| {
            entries
                .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with(".tmp"))
                .count()
        });
        assert_eq!(leftovers.unwrap_or(0), 0);
    }
}

fn path_of(fd: &OwnedFd) -> PathBuf {
    fs::read_link(format!("/proc/thread-self/fd/{}", fd.as_raw_fd())).unwrap()
}

#[test]
fn sys_root_every_way_out_of_the_tree_ends_inside_it() {
    in_namespace(|dir| {
        let scene = Scene::new(dir);
        let outside = dir.join("outside");
        fs::create_dir_all(scene.inside(outside.strip_prefix("/").unwrap().to_str().unwrap())).unwrap();
        let inner = scene.inside(outside.strip_prefix("/").unwrap().to_str().unwrap());
        symlink(&outside, scene.inside("absolute")).unwrap();
        symlink("../../../../../../../../..", scene.inside("up")).unwrap();
        symlink("../outside", scene.inside("beside")).unwrap();
        symlink("/proc/self/root", scene.inside("magic")).unwrap();
        symlink("loop", scene.inside("loop")).unwrap();
        assert_eq!(path_of(&scene.root.resolve(Path::new("/absolute")).unwrap()), inner);
        assert_eq!(path_of(&scene.root.resolve(Path::new("/up")).unwrap()), dir.join("root"));
        assert_eq!(path_of(&scene.root.resolve(Path::new("/../../etc")).unwrap()), scene.inside("etc"));
        assert!(scene.root.resolve_if_there(Path::new("/beside")).unwrap().is_none());
        assert!(scene.root.resolve_if_there(Path::new("/magic")).unwrap().is_none());
        let error = scene.root.resolve_if_there(Path::new("/loop")).unwrap_err();
        assert_eq!((error.errno(), error.to_string().as_str()), (libc::ELOOP, "cannot resolve /loop"));

        fs::create_dir(scene.inside("proc")).unwrap();
        let proc = Detached::proc(Access::default()).unwrap();
        proc.attach(scene.root.resolve(Path::new("/proc")).unwrap().as_fd()).unwrap();
        assert_eq!(scene.root.resolve(Path::new("/magic")).unwrap_err().errno(), libc::ELOOP);
        scene.check();
    });
}

#[test]
fn sys_root_directories_and_files_are_made_where_dangling_links_lead_inside() {
    in_namespace(|dir| {
        let scene = Scene::new(dir);
        let mut seen = Vec::new();
        let mut notice = |what, path: &Path| {
            seen.push((what, path.to_owned()));
            Ok(())
        };
        symlink("/run/deep/../deep/er", scene.inside("var")).unwrap();
        scene.root.make_dirs(Path::new("/var/lib"), &mut notice).unwrap();
        assert!(scene.inside("run/deep/er/lib").is_dir());
        symlink("../run/stub/resolv.conf", scene.inside("etc/resolv.conf")).unwrap();
        scene.root.make_file(Path::new("/etc/resolv.conf"), &mut notice).unwrap();
        scene.root.make_file(Path::new("/etc/resolv.conf"), &mut notice).unwrap();
        let made = fs::metadata(scene.inside("run/stub/resolv.conf")).unwrap();
        assert_eq!((made.len(), made.mode()), (0, 0o100_644));
        assert_eq!(fs::metadata(scene.inside("run/stub")).unwrap().mode(), 0o40_755);
        assert_eq!(seen.len(), 6, "{seen:?}");
        for (what, path) in seen.iter().rev() {
            assert!(scene.root.unmake(*what, path).unwrap(), "{path:?}");
            assert!(!scene.root.unmake(*what, path).unwrap(), "{path:?}");
        }
        let mut names: Vec<_> =
            fs::read_dir(scene.inside("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["etc", "var"]);
        scene.check();
    });
}

#[test]
fn sys_root_what_cannot_be_made_is_said() {
    in_namespace(|dir| {
        let scene = Scene::new(dir);
        fs::write(scene.inside("file"), "kept").unwrap();
        symlink("ring", scene.inside("ring")).unwrap();
        symlink("nothing/b", scene.inside("nothing")).unwrap();
        let none: &mut Notice<'_> = &mut unnoticed;
        let dirs =
            |path: &str, none: &mut Notice<'_>| scene.root.make_dirs(Path::new(path), none).unwrap_err();
        assert_eq!(dirs("/file/a", none).errno(), libc::ENOTDIR);
        assert_eq!(dirs("/file", none).errno(), libc::ENOTDIR);
        assert_eq!(dirs("/ring/a", none).errno(), libc::ELOOP);
        assert_eq!(dirs(&"/a".repeat(200), none).errno(), libc::ELOOP);
        assert_eq!(dirs("/nothing", none).errno(), libc::ELOOP);
        assert_eq!(scene.root.make_file(Path::new("/none/.."), none).map(|_| ()).ok(), None);
        assert_eq!(scene.root.replace_file(Path::new("/"), b"", FILE).unwrap_err().errno(), libc::EISDIR);
        assert_eq!(scene.root.replace_file(Path::new("/etc"), b"", FILE).unwrap_err().errno(), libc::EISDIR);
        assert_eq!(Root::open(&dir.join("none")).unwrap_err().errno(), libc::ENOENT);
        symlink(dir.join("root"), dir.join("link")).unwrap();
        assert_eq!(Root::open(&dir.join("link")).unwrap_err().errno(), libc::ENOTDIR);
        assert_eq!(fs::read_to_string(scene.inside("file")).unwrap(), "kept");
        scene.check();
    });
}

#[test]
fn sys_root_a_file_is_replaced_whole_and_only_if_it_differs() {
    in_namespace(|dir| {
        let scene = Scene::new(dir);
        let path = Path::new("/etc/new/file");
        let secret = Owner { uid: 0, gid: 42, mode: 0o640 };
        assert!(scene.root.replace_file(path, b"one", secret).unwrap());
        let first = fs::metadata(scene.inside("etc/new/file")).unwrap();
        assert_eq!((first.mode(), first.uid(), first.gid()), (0o100_640, 0, 42));
        assert!(!scene.root.replace_file(path, b"one", secret).unwrap());
        assert!(scene.root.replace_file(path, b"two", secret).unwrap());
        assert!(scene.root.replace_file(path, b"two", FILE).unwrap());
        assert_eq!(fs::read(scene.inside("etc/new/file")).unwrap(), b"two");
        assert_eq!(fs::metadata(scene.inside("etc/new/file")).unwrap().mode(), 0o100_644);
        let temp = scene.inside(&format!("etc/new/.tmp-zchroot-{}", std::process::id()));
        symlink(dir.join("outside/marker"), &temp).unwrap();
        assert!(scene.root.replace_file(path, b"three", FILE).unwrap());
        assert!(fs::symlink_metadata(&temp).is_err());
        scene.check();
    });
}

#[test]
fn sys_root_a_planted_target_is_replaced_and_never_followed() {
    in_namespace(|dir| {
        let scene = Scene::new(dir);
        let marker = dir.join("outside/marker");
        symlink(&marker, scene.inside("etc/passwd")).unwrap();
        symlink("../../outside/marker", scene.inside("etc/group")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, scene.inside("etc/fifo"), Mode::from(0o666)).unwrap();
        fs::hard_link(&marker, scene.inside("etc/hard")).unwrap();
        symlink(dir.join("outside"), scene.inside("conf")).unwrap();
        for name in ["etc/passwd", "etc/group", "etc/fifo", "etc/hard", "conf/marker"] {
            assert!(scene.root.replace_file(&Path::new("/").join(name), b"bytes", FILE).unwrap(), "{name}");
        }
        for name in ["etc/passwd", "etc/group", "etc/fifo", "etc/hard"] {
            assert!(fs::symlink_metadata(scene.inside(name)).unwrap().is_file(), "{name}");
        }
        scene.check();
    });
}

#[test]
fn sys_root_nothing_is_made_on_a_mount_that_shows_the_host() {
    in_namespace(|dir| {
        let scene = Scene::new(dir);
        fs::create_dir(scene.inside("home")).unwrap();
        let point = scene.root.resolve(Path::new("/home")).unwrap();
        Detached::bind(&dir.join("outside"), false, Access::default())
            .unwrap()
            .attach(point.as_fd())
            .unwrap();
        symlink("/home", scene.inside("conf")).unwrap();
        symlink("home/made", scene.inside("dangling")).unwrap();
        let none: &mut Notice<'_> = &mut unnoticed;
        for path in ["/conf/a", "/home/a", "/dangling", "/conf/a/b"] {
            let path = Path::new(path);
            assert_eq!(scene.root.make_dirs(path, none).unwrap_err().errno(), libc::EXDEV);
            assert_eq!(scene.root.make_file(path, none).unwrap_err().errno(), libc::EXDEV);
        }
        for path in ["/conf/a", "/conf/marker", "/home/a/b"] {
            let error = scene.root.replace_file(Path::new(path), b"x", FILE).unwrap_err();
            assert_eq!(error.errno(), libc::EXDEV);
        }
        assert!(!scene.root.make_symlink(Path::new("/home/l"), Path::new("x"), none).unwrap());
        assert!(!scene.root.unmake(Making::File, Path::new("/home/marker")).unwrap());
        scene.check();
    });
}

#[test]
fn sys_root_a_trusted_mount_takes_what_is_made() {
    in_namespace(|dir| {
        let mut scene = Scene::new(dir);
        fs::create_dir(scene.inside("run")).unwrap();
        let mount = Detached::tmpfs(None, 0o755, Access::default()).unwrap();
        let point = scene.root.resolve(Path::new("/run")).unwrap();
        let attached = mount.attach(point.as_fd()).unwrap();
        let path = Path::new("/run/a/file");
        assert_eq!(scene.root.replace_file(path, b"x", FILE).unwrap_err().errno(), libc::EXDEV);
        scene.root.trust(attached.id().unwrap());
        assert!(scene.root.replace_file(path, b"x", FILE).unwrap());
    });
}

#[test]
fn sys_root_only_what_was_made_is_unmade() {
    in_namespace(|dir| {
        let scene = Scene::new(dir);
        fs::write(scene.inside("etc/full"), "x").unwrap();
        fs::write(scene.inside("etc/empty"), "").unwrap();
        symlink("/x", scene.inside("etc/link")).unwrap();
        let unmake = |what, path: &str| scene.root.unmake(what, Path::new(path));
        for (what, path) in [
            (Making::File, "/etc/full"),
            (Making::File, "/etc/link"),
            (Making::Directory, "/etc"),
            (Making::Directory, "/etc/empty"),
            (Making::Symlink, "/etc/empty"),
            (Making::File, "/none/a"),
            (Making::File, "/etc/full/a"),
        ] {
            assert!(!unmake(what, path).unwrap(), "{path}");
        }
        assert!(unmake(Making::Symlink, "/etc/link").unwrap());
        assert!(unmake(Making::File, "/etc/empty").unwrap());
        assert_eq!(unmake(Making::Directory, "/").unwrap_err().errno(), libc::EISDIR);
        fs::create_dir(scene.inside("point")).unwrap();
        let point = scene.root.resolve(Path::new("/point")).unwrap();
        Detached::tmpfs(None, 0o755, Access::default()).unwrap().attach(point.as_fd()).unwrap();
        assert_eq!(unmake(Making::Directory, "/point").unwrap_err().errno(), libc::EBUSY);
    });
}

#[test]
fn sys_root_each_failing_step_leaves_no_temp_file() {
    in_namespace(|dir| {
        let scene = Scene::new(dir);
        fs::write(scene.inside("etc/file"), "old").unwrap();
        fs::set_permissions(scene.inside("etc/file"), fs::Permissions::from_mode(0o644)).unwrap();
        let path = Path::new("/etc/file");
        for at in 1..=2 {
            let plan = Plan { at, mode: FaultMode::Fail(libc::ENOSPC) };
            let (result, _) = effect::run(plan, || scene.root.replace_file(path, b"new", FILE));
            assert_eq!(result.unwrap().unwrap_err().errno(), libc::ENOSPC);
            assert_eq!(fs::read(scene.inside("etc/file")).unwrap(), b"old");
            scene.check();
        }
        let plan = Plan { at: 1, mode: FaultMode::Fail(libc::EROFS) };
        let none: &mut Notice<'_> = &mut unnoticed;
        let (result, _) = effect::run(plan, || scene.root.make_dirs(Path::new("/a"), none));
        assert_eq!(result.unwrap().unwrap_err().errno(), libc::EROFS);
        let (result, _) = effect::run(plan, || scene.root.make_file(Path::new("/a"), none));
        assert_eq!(result.unwrap().unwrap_err().errno(), libc::EROFS);
        let (result, _) =
            effect::run(plan, || scene.root.make_symlink(Path::new("/a"), Path::new("b"), none));
        assert_eq!(result.unwrap().unwrap_err().errno(), libc::EROFS);
        let (result, _) = effect::run(plan, || scene.root.unmake(Making::File, Path::new("/etc/none")));
        assert!(!result.unwrap().unwrap());
        let mut refuse = |_: Making, _: &Path| Err(io::Error::from_raw_os_error(libc::EDQUOT));
        assert_eq!(scene.root.make_dirs(Path::new("/a"), &mut refuse).unwrap_err().errno(), libc::EDQUOT);
        assert!(fs::symlink_metadata(scene.inside("a")).is_err());
    });
}

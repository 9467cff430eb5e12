//! Trees that were made to lead a root process out of them.

use super::*;

#[test]
fn dir_setup_planted_targets_are_replaced_inside() {
    in_namespace(|dir| {
        let scene = Scene::new(dir);
        let marker = dir.join("home/outside/marker");
        fs::remove_file(scene.inside("etc/passwd")).unwrap();
        symlink(&marker, scene.inside("etc/passwd")).unwrap();
        symlink("../../../home/outside/marker", scene.inside("etc/shadow")).unwrap();
        symlink(&marker, scene.inside("etc/resolv.conf")).unwrap();
        fs::hard_link(&marker, scene.inside("etc/group")).unwrap();
        let fifo = scene.inside("etc/debian_chroot");
        rustix::fs::mkfifoat(rustix::fs::CWD, fifo, rustix::fs::Mode::from(0o666)).unwrap();
        scene.apply(&scene.default_profile(), Mode::Session).unwrap();
        for name in ["passwd", "shadow", "resolv.conf", "group", "debian_chroot"] {
            let meta = fs::symlink_metadata(scene.inside("etc").join(name)).unwrap();
            assert!(meta.is_file() && meta.nlink() == 1, "{name}");
        }
        scene.check_host();
    });
}

#[test]
fn dir_setup_a_tree_whose_etc_is_elsewhere_gets_it_inside() {
    in_namespace(|dir| {
        let scene = Scene::new(dir);
        fs::remove_dir_all(scene.inside("etc")).unwrap();
        symlink("/srv/../srv/outside", scene.inside("etc")).unwrap();
        scene.apply(&scene.default_profile(), Mode::Session).unwrap();
        assert!(scene.inside("srv/outside/passwd").is_file());
        scene.check_host();
    });
}

#[test]
fn dir_setup_an_etc_that_leads_into_a_bind_of_the_host_is_refused() {
    in_namespace(|dir| {
        let scene = Scene::new(dir);
        fs::remove_dir_all(scene.inside("etc")).unwrap();
        for link in ["/home/outside", "/home/new", "/proc/../home/outside"] {
            symlink(link, scene.inside("etc")).unwrap();
            let (errno, text) = errno_at(scene.apply(&scene.default_profile(), Mode::Session));
            let said = "cannot write /etc/resolv.conf inside the tree of the session";
            assert_eq!((errno, text.as_str()), (libc::EXDEV, said));
            mount::unmount_below(&scene.root, How::Strict).unwrap();
            fs::remove_file(scene.inside("etc")).unwrap();
            scene.check_host();
        }
    });
}

#[test]
fn dir_setup_a_mount_point_that_leads_into_a_bind_is_not_made_there() {
    in_namespace(|dir| {
        let scene = Scene::new(dir);
        symlink("/home/made", scene.inside("run")).unwrap();
        let mut profile = scene.default_profile();
        profile.mounts.push(mount("/run", MountKind::Tmpfs { size: None, mode: None }));
        let (errno, text) = errno_at(scene.apply(&profile, Mode::Session));
        let said = "cannot make directory /run inside the tree of the session";
        assert_eq!((errno, text.as_str()), (libc::EXDEV, said));
        scene.check_host();
    });
}

#[test]
fn dir_setup_a_tmpfs_that_leads_onto_a_bind_does_not_open_the_host() {
    in_namespace(|dir| {
        let scene = Scene::new(dir);
        // Both names are the same place: the tmpfs comes on top, and what is made is made in it.
        symlink("/home", scene.inside("run")).unwrap();
        fs::remove_dir_all(scene.inside("etc")).unwrap();
        symlink("/home/etc", scene.inside("etc")).unwrap();
        let mut profile = scene.default_profile();
        profile.mounts.push(mount("/run", MountKind::Tmpfs { size: None, mode: None }));
        scene.apply(&profile, Mode::Session).unwrap();
        assert!(scene.inside("run/etc/passwd").is_file() || scene.inside("home/etc/passwd").is_file());
        scene.check_host();
        // The next set-up finds mounts there already and trusts none of them.
        fs::remove_file(scene.inside("home/etc/passwd")).unwrap();
        assert_eq!(errno_at(scene.apply(&profile, Mode::Session)).0, libc::EXDEV);
        scene.check_host();
    });
}

#[test]
fn dir_setup_a_mount_point_that_leads_to_the_root_is_refused() {
    in_namespace(|dir| {
        let scene = Scene::new(dir);
        fs::remove_dir(scene.inside("proc")).unwrap();
        for link in ["../../../..", "/", "/usr/..", "."] {
            symlink(link, scene.inside("proc")).unwrap();
            for mode in [Mode::Session, Mode::Source] {
                let (errno, text) = errno_at(scene.apply(&scene.default_profile(), mode));
                assert_eq!(errno, libc::EINVAL);
                assert!(
                    text.starts_with("cannot mount over the root of the tree, to which leads /proc"),
                    "{text}"
                );
            }
            assert!(mounts_below(&scene.root).unwrap().is_empty());
            fs::remove_file(scene.inside("proc")).unwrap();
        }
        scene.check_host();
    });
}

#[test]
fn dir_setup_mount_points_that_are_symlinks_lead_inside() {
    in_namespace(|dir| {
        let scene = Scene::new(dir);
        for name in ["dev", "sys"] {
            fs::remove_dir(scene.inside(name)).unwrap();
        }
        symlink("../../../srv/dev", scene.inside("dev")).unwrap();
        symlink(dir.join("home/outside"), scene.inside("sys")).unwrap();
        let mut profile = scene.default_profile();
        // The scene itself lies below it.
        profile.mounts.retain(|mount| mount.target != Path::new("/tmp"));
        scene.apply(&profile, Mode::Session).unwrap();
        assert!(is_mount_root(&scene.inside("srv/dev/pts")).unwrap());
        let inner = dir.join("home/outside");
        assert!(is_mount_root(&scene.root.join(inner.strip_prefix("/").unwrap())).unwrap());
        scene.check_host();
    });
}

#[test]
fn dir_setup_a_mount_point_of_the_wrong_kind_is_named() {
    in_namespace(|dir| {
        let scene = Scene::new(dir);
        fs::write(scene.inside("file"), "kept").unwrap();
        fs::create_dir(scene.inside("etc/resolv.conf")).unwrap();
        symlink("loop", scene.inside("loop")).unwrap();
        let file = MountKind::Bind { source: dir.join("resolv.conf"), recursive: false };
        for (target, kind, errno, said) in [
            ("/file", MountKind::Proc, libc::ENOTDIR, "make directory"),
            ("/loop", MountKind::Proc, libc::ELOOP, "make directory"),
            ("/usr", file, libc::EISDIR, "mount"),
        ] {
            let (found, text) = errno_at(scene.apply(&only(vec![mount(target, kind)]), Mode::Session));
            assert_eq!(
                (found, text),
                (errno, format!("cannot {said} {target} inside the tree of the session"))
            );
        }
        assert!(mounts_below(&scene.root).unwrap().is_empty());
        let profile = Profile { files: vec![scene.resolv_conf()], ..Profile::default() };
        let (errno, text) = errno_at(scene.apply(&profile, Mode::Session));
        let said = "cannot write /etc/resolv.conf inside the tree of the session";
        assert_eq!((errno, text.as_str()), (libc::EISDIR, said));
        let lost = apply(&dir.join("none"), &profile, Mode::Session, &WHO);
        assert_eq!(errno_at(lost), (libc::ENOENT, format!("cannot open {}", dir.join("none").display())));
    });
}

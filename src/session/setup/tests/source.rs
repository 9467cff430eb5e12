//! Source sessions: what is in the tree afterwards is the maintainer's and nothing else.

use super::*;

type Variant = (&'static str, fn(&Scene), bool);

/// Trees in which /etc/resolv.conf is something else, and whether the host's can be shown there.
fn variants() -> Vec<Variant> {
    vec![
        ("absent", |_| {}, true),
        ("a file", |scene| fs::write(scene.inside("etc/resolv.conf"), "of the tree").unwrap(), true),
        (
            "dangling",
            |scene| symlink("../run/stub/resolv.conf", scene.inside("etc/resolv.conf")).unwrap(),
            true,
        ),
        (
            "absolute",
            |scene| symlink(scene.dir.join("home/outside/marker"), scene.inside("etc/resolv.conf")).unwrap(),
            true,
        ),
        ("a loop", |scene| symlink("resolv.conf", scene.inside("etc/resolv.conf")).unwrap(), false),
        ("in a file", |scene| symlink("passwd/x", scene.inside("etc/resolv.conf")).unwrap(), false),
        ("a directory", |scene| fs::create_dir(scene.inside("etc/resolv.conf")).unwrap(), false),
        ("without etc", |scene| fs::remove_dir_all(scene.inside("etc")).unwrap(), true),
        ("without dev", |scene| fs::remove_dir(scene.inside("dev")).unwrap(), true),
    ]
}

#[test]
fn dir_setup_a_source_session_leaves_the_tree_as_it_was() {
    for (name, prepare, shown) in variants() {
        in_namespace(|dir| {
            let scene = Scene::new(dir);
            prepare(&scene);
            let before = listing(&scene.root);
            let profile = scene.default_profile();
            for _ in 0..2 {
                scene.apply(&profile, Mode::Source).unwrap();
            }
            let text = Root::open(&scene.root).unwrap().resolve(Path::new("/etc/resolv.conf")).ok();
            let text = text.map(|fd| {
                use std::os::fd::AsRawFd;
                fs::read_to_string(format!("/proc/thread-self/fd/{}", fd.as_raw_fd())).unwrap_or_default()
            });
            assert_eq!(text.as_deref() == Some("nameserver 192.0.2.1\n"), shown, "{name}");
            for point in ["proc", "sys", "dev", "dev/pts", "dev/shm"] {
                assert!(is_mount_root(&scene.inside(point)).unwrap(), "{name}: {point}");
            }
            for point in ["home", "tmp"] {
                assert!(!is_mount_root(&scene.inside(point)).unwrap(), "{name}: {point}");
            }
            assert!(!scene.inside("etc/shadow").exists() && !scene.inside("etc/debian_chroot").exists());
            assert!(undo_source(&scene.root).unwrap());
            assert!(!undo_source(&scene.root).unwrap());
            assert_eq!(listing(&scene.root), before, "{name}");
            scene.check_host();
        });
    }
}

#[test]
fn dir_setup_what_the_maintainer_made_stays() {
    in_namespace(|dir| {
        let scene = Scene::new(dir);
        fs::remove_dir(scene.inside("dev")).unwrap();
        let mounts = vec![
            mount("/srv/deep", MountKind::Tmpfs { size: None, mode: None }),
            mount("/dev/pts", MountKind::Devpts),
        ];
        scene.apply(&only(mounts), Mode::Source).unwrap();
        assert!(scene.inside("dev/ptmx").symlink_metadata().is_ok());
        fs::write(scene.inside("srv/deep/lost"), "in the tmpfs").unwrap();
        fs::write(scene.inside("srv/kept"), "in the tree").unwrap();
        assert!(undo_source(&scene.root).unwrap());
        assert_eq!(fs::read_to_string(scene.inside("srv/kept")).unwrap(), "in the tree");
        assert!(!scene.inside("srv/deep").exists());
        assert!(!scene.inside("dev").exists());
    });
}

#[test]
fn dir_setup_what_a_source_session_shows_cannot_be_written() {
    in_namespace(|dir| {
        let scene = Scene::new(dir);
        let profile = Profile { files: vec![scene.resolv_conf()], ..Profile::default() };
        scene.apply(&profile, Mode::Source).unwrap();
        let error = fs::write(scene.inside("etc/resolv.conf"), "x").unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EROFS));
        assert!(fs::remove_file(scene.inside("etc/resolv.conf")).is_err());
        let names: Vec<_> =
            fs::read_dir(dir.join("mount")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["sid-1"], "the copy has no name");
        fs::write(dir.join("resolv.conf"), "nameserver 192.0.2.2\n").unwrap();
        assert_eq!(fs::read_to_string(scene.inside("etc/resolv.conf")).unwrap(), "nameserver 192.0.2.1\n");
    });
}

#[test]
fn dir_setup_a_busy_source_session_is_not_undone_and_names_the_mount() {
    in_namespace(|dir| {
        let scene = Scene::new(dir);
        scene.apply(&scene.default_profile(), Mode::Source).unwrap();
        let held = fs::File::create(scene.inside("dev/shm/held")).unwrap();
        let error = undo_source(&scene.root).unwrap_err();
        assert_eq!(error.errno(), libc::EBUSY);
        assert_eq!(error.to_string(), format!("cannot unmount {}", scene.inside("dev/shm").display()));
        drop(held);
        assert!(undo_source(&scene.root).unwrap());
        assert!(mounts_below(&scene.root).unwrap().is_empty());
    });
}

#[test]
fn dir_setup_a_source_session_that_crashed_anywhere_can_be_undone() {
    in_namespace(|dir| {
        let scene = Scene::new(dir);
        for name in ["dev", "proc"] {
            fs::remove_dir(scene.inside(name)).unwrap();
        }
        symlink("../run/stub/resolv.conf", scene.inside("etc/resolv.conf")).unwrap();
        let before = listing(&scene.root);
        let profile = scene.default_profile();
        let run = |plan| effect::run(plan, || scene.apply(&profile, Mode::Source));
        let (_, seen) = run(Plan { at: 0, mode: FaultMode::Crash });
        let (_, undoing) = effect::run(Plan { at: 0, mode: FaultMode::Crash }, || undo_source(&scene.root));
        assert!(seen.contains(&"note") && undoing.contains(&"note"), "{seen:?} {undoing:?}");
        for at in 1..=seen.len() {
            let mode = if at % 2 == 0 { FaultMode::Crash } else { FaultMode::Fail(libc::EIO) };
            let (result, _) = run(Plan { at, mode });
            assert!(result.is_err() || result.is_ok_and(|result| result.is_err()), "{at}");
            undo_source(&scene.root).unwrap();
            assert_eq!(listing(&dir.join("mount")).len(), before.len() + 1, "{at}");
            assert_eq!(listing(&scene.root), before, "{at}");
        }
        for at in 1..=undoing.len() {
            scene.apply(&profile, Mode::Source).unwrap();
            let (result, _) =
                effect::run(Plan { at, mode: FaultMode::Fail(libc::EIO) }, || undo_source(&scene.root));
            assert_eq!(result.unwrap().unwrap_err().errno(), libc::EIO, "{at}");
            undo_source(&scene.root).unwrap();
            assert_eq!(listing(&scene.root), before, "{at}");
        }
        scene.check_host();
    });
}

#[test]
fn dir_setup_a_note_that_is_full_or_forged_does_no_harm() {
    in_namespace(|dir| {
        let scene = Scene::new(dir);
        let long = format!("/{}", "long/".repeat(50));
        let mounts =
            (0..40).map(|n| mount(&format!("{long}{n}"), MountKind::Tmpfs { size: None, mode: None }));
        let (errno, text) = errno_at(scene.apply(&only(mounts.collect()), Mode::Source));
        assert_eq!(errno, libc::ENOSPC, "{text}");
        assert!(undo_source(&scene.root).unwrap());
        assert!(!scene.inside("long").exists());

        let note = b"f/etc/passwd\0d/etc\0f../../resolv.conf\0x/etc\0\0f\0d/home/../../home\0";
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::setxattr(&scene.root, "trusted.zchroot.made", note, flags).unwrap();
        let before = listing(&scene.root.join("etc"));
        let _ = undo_source(&scene.root);
        assert_eq!(listing(&scene.root.join("etc")), before);
        scene.check_host();
    });
}

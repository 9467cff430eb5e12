use super::*;

#[test]
fn dir_setup_the_default_profile_is_there_as_a_whole() {
    in_namespace(|dir| {
        let scene = Scene::new(dir);
        scene.apply(&scene.default_profile(), Mode::Session).unwrap();
        for point in ["proc", "sys", "dev", "dev/shm", "dev/pts", "home", "tmp"] {
            assert!(is_mount_root(&scene.inside(point)).unwrap(), "{point}");
        }
        assert!(fs::read_link(scene.inside("proc/self")).is_ok());
        assert!(scene.inside("sys/kernel").is_dir());
        assert_eq!(fs::read_to_string(scene.inside("home/outside/marker")).unwrap(), "untouched");
        assert_eq!(fs::read_to_string(scene.inside("etc/resolv.conf")).unwrap(), "nameserver 192.0.2.1\n");
        assert_eq!(fs::read_to_string(scene.inside("etc/debian_chroot")).unwrap(), "sid\n");
        for name in ["services", "protocols", "networks", "hosts"] {
            let host = fs::read(Path::new("/etc").join(name)).ok();
            assert_eq!(fs::read(scene.inside("etc").join(name)).ok(), host, "{name}");
        }
        assert!(unmount_all(&scene.root, How::Lazy).is_ok());
        unmount_below(&scene);
        scene.check_host();
    });
}

fn unmount_below(scene: &Scene) {
    crate::sys::mount::unmount_below(&scene.root, How::Strict).unwrap();
    assert!(mounts_below(&scene.root).unwrap().is_empty());
}

#[test]
fn dir_setup_dev_has_its_own_nodes_that_work() {
    in_namespace(|dir| {
        let scene = Scene::new(dir);
        symlink(dir.join("home/outside/marker"), scene.inside("dev/null")).unwrap();
        let mounts = vec![mount("/dev", MountKind::Dev), mount("/dev/pts", MountKind::Devpts)];
        scene.apply(&only(mounts), Mode::Session).unwrap();
        for name in ["null", "zero", "full", "random", "urandom", "tty"] {
            let (ours, host) =
                (fs::symlink_metadata(scene.inside("dev").join(name)).unwrap(), Path::new("/dev"));
            assert_eq!(ours.rdev(), fs::metadata(host.join(name)).unwrap().rdev(), "{name}");
            assert_eq!(ours.mode(), 0o20_666, "{name}");
        }
        fs::write(scene.inside("dev/null"), "gone").unwrap();
        let full = fs::write(scene.inside("dev/full"), "x").unwrap_err();
        assert_eq!(full.raw_os_error(), Some(libc::ENOSPC));
        for (name, link) in [("fd", "/proc/self/fd"), ("stdin", "/proc/self/fd/0"), ("ptmx", "pts/ptmx")] {
            assert_eq!(fs::read_link(scene.inside("dev").join(name)).unwrap(), Path::new(link));
        }
        fs::File::open(scene.inside("dev/ptmx")).unwrap();
        assert!(scene.inside("dev/pts/0").symlink_metadata().is_err());
        assert_eq!(fs::metadata(scene.inside("dev/shm")).unwrap().mode(), 0o41_777);
        assert_eq!(fs::metadata(scene.inside("dev")).unwrap().mode(), 0o40_755);
        assert!(!scene.inside("dev/console").exists());
        scene.check_host();
    });
}

#[test]
fn dir_setup_no_hash_of_the_host_is_in_the_tree() {
    in_namespace(|dir| {
        let scene = Scene::new(dir);
        scene.apply(&scene.default_profile(), Mode::Session).unwrap();
        let read = |name: &str| fs::read_to_string(scene.inside("etc").join(name)).unwrap();
        let (passwd, shadow, group, gshadow) =
            (read("passwd"), read("shadow"), read("group"), read("gshadow"));
        assert!(passwd.starts_with("root:x:0:0:"), "{passwd}");
        assert!(group.starts_with("root:x:0:"), "{group}");
        for (text, fields) in [(&passwd, 7), (&group, 4), (&shadow, 9), (&gshadow, 4)] {
            for line in text.lines() {
                let words: Vec<_> = line.split(':').collect();
                assert_eq!(words.len(), fields, "{line}");
                assert!(matches!(words[1], "x" | "*"), "{line}");
            }
        }
        for text in [&shadow, &gshadow] {
            assert!(text.lines().all(|line| line.split(':').nth(1) == Some("*")));
        }
        let owner = fs::metadata("/etc/shadow").unwrap().gid();
        for name in ["shadow", "gshadow"] {
            let meta = fs::metadata(scene.inside("etc").join(name)).unwrap();
            assert_eq!((meta.mode(), meta.uid(), meta.gid()), (0o100_640, 0, owner), "{name}");
        }
        assert_eq!(fs::metadata(scene.inside("etc/passwd")).unwrap().mode(), 0o100_644);
    });
}

#[test]
fn dir_setup_may_be_repeated() {
    in_namespace(|dir| {
        let scene = Scene::new(dir);
        let mut profile = scene.default_profile();
        profile.mounts.push(mount("/run", MountKind::Tmpfs { size: Some(1 << 20), mode: Some(0o755) }));
        profile.mounts.push(mount("/run/deep", MountKind::Tmpfs { size: None, mode: None }));
        scene.apply(&profile, Mode::Session).unwrap();
        let mounts = mounts_below(&scene.root).unwrap();
        let inode = fs::metadata(scene.inside("etc/passwd")).unwrap().ino();
        scene.apply(&profile, Mode::Session).unwrap();
        assert_eq!(mounts_below(&scene.root).unwrap(), mounts);
        assert_eq!(fs::metadata(scene.inside("etc/passwd")).unwrap().ino(), inode);
        assert_eq!(fs::metadata(scene.inside("run")).unwrap().mode() & 0o7777, 0o755);
        assert_eq!(fs::metadata(scene.inside("run/deep")).unwrap().mode() & 0o7777, 0o1777);
    });
}

#[test]
fn dir_setup_binds_take_files_and_leave_out_what_is_optional() {
    in_namespace(|dir| {
        let scene = Scene::new(dir);
        let bind = |source: &Path| MountKind::Bind { source: source.to_owned(), recursive: false };
        let missing = bind(&dir.join("none"));
        let mut file = mount("/opt/deep/file", bind(&dir.join("resolv.conf")));
        file.read_only = true;
        let mut optional = mount("/opt/absent", missing.clone());
        optional.optional = true;
        let twice = mount("/twice", bind(&dir.join("home")));
        scene.apply(&only(vec![file, optional, twice.clone(), twice]), Mode::Session).unwrap();
        assert_eq!(fs::read_to_string(scene.inside("opt/deep/file")).unwrap(), "nameserver 192.0.2.1\n");
        let error = fs::write(scene.inside("opt/deep/file"), "x").unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EROFS));
        assert!(scene.inside("opt/absent").symlink_metadata().is_err());
        assert_eq!(mounts_below(&scene.root).unwrap().len(), 3);
        let (errno, text) = errno_at(scene.apply(&only(vec![mount("/opt/must", missing)]), Mode::Session));
        assert_eq!((errno, text), (libc::ENOENT, format!("cannot bind {}", dir.join("none").display())));
        scene.check_host();
    });
}

#[test]
fn dir_setup_read_only_holds_for_every_kind() {
    in_namespace(|dir| {
        let scene = Scene::new(dir);
        let kinds = [
            ("/proc", MountKind::Proc),
            ("/sys", MountKind::Sys),
            ("/dev", MountKind::Dev),
            ("/run", MountKind::Tmpfs { size: None, mode: None }),
            ("/home", MountKind::Bind { source: dir.join("home"), recursive: true }),
        ];
        let mounts = kinds.map(|(target, kind)| Mount { read_only: true, ..mount(target, kind) });
        scene.apply(&only(mounts.to_vec()), Mode::Session).unwrap();
        for name in ["proc", "sys", "dev", "run", "home"] {
            let flags = rustix::fs::statvfs(scene.inside(name)).unwrap().f_flag;
            assert!(flags.contains(rustix::fs::StatVfsMountFlags::RDONLY), "{name}");
        }
        fs::write(scene.inside("dev/null"), "works").unwrap();
        fs::write(scene.inside("dev/shm/file"), "works").unwrap();
    });
}

#[test]
fn dir_setup_devpts_without_dev_gets_a_ptmx_if_there_is_none() {
    in_namespace(|dir| {
        let scene = Scene::new(dir);
        let profile = only(vec![mount("/dev/pts", MountKind::Devpts)]);
        scene.apply(&profile, Mode::Session).unwrap();
        assert_eq!(fs::read_link(scene.inside("dev/ptmx")).unwrap(), Path::new("pts/ptmx"));
        unmount_below(&scene);
        fs::remove_file(scene.inside("dev/ptmx")).unwrap();
        fs::write(scene.inside("dev/ptmx"), "of the tree").unwrap();
        scene.apply(&profile, Mode::Session).unwrap();
        assert_eq!(fs::read_to_string(scene.inside("dev/ptmx")).unwrap(), "of the tree");
    });
}

#[test]
fn dir_setup_copies_only_regular_files_and_their_modes() {
    in_namespace(|dir| {
        let scene = Scene::new(dir);
        let file = |source: &Path, optional| Profile {
            files: vec![HostFile { source: source.into(), target: "/etc/copy".into(), optional }],
            ..Profile::default()
        };
        symlink("resolv.conf", dir.join("link")).unwrap();
        rustix::fs::chmod(dir.join("resolv.conf"), rustix::fs::Mode::from(0o4640)).unwrap();
        scene.apply(&file(&dir.join("link"), false), Mode::Session).unwrap();
        assert_eq!(fs::symlink_metadata(scene.inside("etc/copy")).unwrap().mode(), 0o100_640);
        scene.apply(&file(&dir.join("none"), true), Mode::Session).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, dir.join("fifo"), rustix::fs::Mode::from(0o666)).unwrap();
        let large = fs::File::create(dir.join("large")).unwrap();
        large.set_len((16 << 20) + 1).unwrap();
        for (name, errno) in [("none", libc::ENOENT), ("fifo", 0), ("home", 0), ("large", libc::EFBIG)] {
            let (found, text) = errno_at(scene.apply(&file(&dir.join(name), name == "fifo"), Mode::Session));
            assert_eq!((found, text), (errno, format!("cannot read {}", dir.join(name).display())));
        }
        assert_eq!(fs::read_to_string(scene.inside("etc/copy")).unwrap(), "nameserver 192.0.2.1\n");
    });
}

#[test]
fn dir_setup_whatever_step_fails_says_so_and_can_be_done_again() {
    in_namespace(|dir| {
        let scene = Scene::new(dir);
        let profile = scene.default_profile();
        let count = |plan| effect::run(plan, || scene.apply(&profile, Mode::Session));
        let (_, seen) = count(Plan { at: 0, mode: FaultMode::Crash });
        unmount_below(&scene);
        assert!(seen.len() > 20, "{seen:?}");
        for at in 1..=seen.len() {
            fs::remove_dir_all(scene.inside("etc")).unwrap();
            let (result, _) = count(Plan { at, mode: FaultMode::Fail(libc::ENOSPC) });
            assert_eq!(errno_at(result.unwrap()).0, libc::ENOSPC, "{at}");
            scene.apply(&profile, Mode::Session).unwrap();
            unmount_below(&scene);
            scene.check_host();
            let leftover = |path: &PathBuf| path.to_string_lossy().contains(".tmp-");
            assert!(!listing(&scene.root).keys().any(leftover), "{at}");
        }
    });
}

#[test]
fn dir_setup_in_place_nothing_is_written_over_what_is_the_hosts_own() {
    in_namespace(|dir| {
        let scene = Scene::new(dir);
        let of = |path: &Path| super::super::Setup {
            path: Path::new("/nowhere"),
            root: crate::sys::inroot::Root::open(path).unwrap(),
            mode: Mode::InPlace,
            made: Vec::new(),
        };
        let (host, tree) = (of(Path::new("/")), of(&scene.root));
        for target in ["/etc/passwd", "/etc/debian_chroot"] {
            assert!(host.is_of_host(Path::new(target)).unwrap(), "{target}");
            assert!(!tree.is_of_host(Path::new(target)).unwrap(), "{target}");
        }
        let before = fs::read("/etc/passwd").unwrap();
        assert!(
            !host.write(Path::new("/etc/passwd"), b"gone", crate::sys::inroot::Owner::root(0o644)).unwrap()
        );
        assert_eq!(fs::read("/etc/passwd").unwrap(), before);
        assert!(!tree.is_of_host(Path::new("/no/such/folder/x")).unwrap());
    });
}

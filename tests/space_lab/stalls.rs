//! What comes no further: a worker that is stopped, a source that says nothing more.

use std::time::{Duration, Instant};

use super::{Lab, MIB, archive, images};
use crate::harness::{Done, Installation, MINIMAL, Order};

/// A worker that stalls, with room enough: it is given up in bounded time, whatever it unpacks, and nothing is evicted
/// for it.
pub fn a_worker_that_stalls_is_given_up(lab: &dyn Lab) {
    let host = lab.host();
    impatient(host);
    let warm = archive::tar(host, "warm", 1);
    host.zchroot(["image", "import", warm.to_str().unwrap()]).ok();
    let kept = images(lab);
    let plain = archive::tar(host, "plain", 40);
    assert!(std::process::Command::new("gzip").args(["-1", "-k"]).arg(&plain).status().unwrap().success());
    let packed = format!("{}.gz", plain.display());
    let layers = format!("oci:{}", archive::oci(host, "layer", 40).display());
    for source in [packed.as_str(), &layers] {
        let running = host.order(["image", "import", source]).start();
        let worker = worker_of(running.pid(), None);
        nix::sys::signal::kill(worker, nix::sys::signal::Signal::SIGSTOP).unwrap();
        let began = Instant::now();
        let failed = running.finish().exits(1);
        assert!(began.elapsed() < Duration::from_secs(20), "{source} took {:?}", began.elapsed());
        let words = format!("zchroot: cannot unpack {source}: it came no further for ");
        assert!(failed.stderr.contains(&words) && !failed.stderr.contains("no room"), "{failed}");
        assert!(!alive(worker), "the worker is gone");
        assert_eq!(images(lab), kept, "nothing is evicted, nothing is left");
        lab.assert_clean();
    }
    host.zchroot(["image", "import", &layers]).ok();
    lab.assert_clean();
}

/// Who says nothing for two seconds is given up.
pub fn impatient(host: &Installation) {
    let config = host.read("/etc/zchroot/zchroot.toml");
    host.configure(&config.replace("version = 1", "version = 1\nstall = \"2s\""));
}

/// The process that unpacks for a call of the program; another one than `last`.
pub fn worker_of(parent: u32, last: Option<nix::unistd::Pid>) -> nix::unistd::Pid {
    let is_child = |pid: &i32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let rest = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
        let is_last = last.is_some_and(|last| last.as_raw() == *pid);
        !is_last && rest.split(' ').nth(1) == Some(parent.to_string().as_str())
    };
    let deadline = Instant::now() + Duration::from_secs(20);
    while Instant::now() < deadline {
        let all = std::fs::read_dir("/proc").unwrap();
        let mut pids = all.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
        if let Some(pid) = pids.find(is_child) {
            return nix::unistd::Pid::from_raw(pid);
        }
    }
    panic!("no worker came");
}

pub fn alive(pid: nix::unistd::Pid) -> bool {
    // One that has ended and that nobody waits for is gone, though it still has its number: not every first process of a
    // namespace waits for orphans.
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

/// A source that falls silent while the store is nearly full is no lack of room: nothing is evicted for it, it is tried
/// once, and nothing is left.
pub fn a_silent_source_evicts_nothing_however_full_the_store_is(lab: &dyn Lab) {
    let host = lab.host();
    impatient(host);
    let (warm, tree) = (archive::tar(host, "warm", 20), archive::tar(host, "tree", 1));
    let (tree, marks) = (tree.display(), host.path().join("marks"));
    lab.leave(60 * MIB);
    host.zchroot(["image", "import", warm.to_str().unwrap()]).ok();
    lab.leave(5 * MIB);
    let kept = images(lab);
    host.define("made", MINIMAL);
    // Nothing of its archive, half of it, and nearly all of it.
    for bytes in [0, 300_000, 1_000_000] {
        let script =
            format!("#!/bin/sh\necho >>{}\nhead -c {bytes} {tree}\nexec sleep 600\n", marks.display());
        stand_in(host, &script);
        let began = Instant::now();
        let order = order_with_stand_in(host, &["create", "made", "--from", "bootstrap:sid"]);
        let failed = order.run().exits(1);
        assert!(began.elapsed() < Duration::from_secs(40), "{:?}: {failed}", began.elapsed());
        let failed = failed
            .says("cannot unpack bootstrap:sid: it came no further for ")
            .says("what it is read from stalls");
        assert!(!failed.stderr.contains("swept") && !failed.stderr.contains("no room"), "{failed}");
        assert_eq!(images(lab), kept, "nothing is evicted");
        assert!(host.sessions().is_empty());
        lab.assert_clean();
    }
    assert_eq!(std::fs::read_to_string(&marks).unwrap().lines().count(), 3, "one attempt each");
}

/// ENOSPC of something else than the store is no lack of room in it: a run-time directory that is full, and a kernel that
/// allows no more mount namespaces (where the caller may have that for himself alone, in a user namespace of his own).
pub fn no_room_elsewhere_evicts_nothing(lab: &dyn Lab, in_user_namespace: bool) {
    let host = lab.host();
    let (warm, new) = (archive::tar(host, "warm", 1), archive::tar(host, "new", 1));
    host.define("demo", MINIMAL);
    host.create("demo");
    host.zchroot(["image", "import", warm.to_str().unwrap()]).ok();
    let kept = images(lab);
    let new = new.to_str().unwrap();
    let evicts_nothing = |failed: Done, why: &str| {
        assert!(failed.status != 0 && failed.stderr.contains(why), "{failed}");
        assert!(!failed.stderr.contains("swept") && !failed.stderr.contains("no room to"), "{failed}");
        assert_eq!(images(lab), kept, "{failed}");
    };
    if in_user_namespace {
        let script = format!(
            "echo 0 >/proc/sys/user/max_mnt_namespaces; exec {} --root {} image import {new}",
            crate::harness::program::binary().display(),
            host.path().display()
        );
        let failed =
            Order::new("unshare").words(["--user", "--map-root-user", "--mount", "sh", "-c", &script]).run();
        evicts_nothing(failed, "the kernel allows no more of them (user.max_mnt_namespaces)");
    }
    // A few names are left, fewer than are needed.
    let run = host.at("/run/zchroot");
    for names in [1, 2, 3] {
        let options = format!("size=1M,mode=755,nr_inodes={names}");
        let run = run.to_str().unwrap();
        Order::new("mount").words(["-t", "tmpfs", "-o", &options, "tmpfs", run]).run().ok();
        let failed = [
            host.zchroot(["image", "import", new]),
            host.zchroot(["begin", "demo"]),
            host.zchroot(["source", "begin", "demo"]),
        ];
        Order::new("umount").words(["-R", run]).run().ok();
        for failed in failed {
            evicts_nothing(failed, "No space left on device");
        }
    }
    host.zchroot(["recover"]).ok();
    lab.assert_clean();
}

/// Writes what is to stand in for mmdebstrap.
pub fn stand_in(host: &Installation, script: &str) {
    use std::os::unix::fs::PermissionsExt;
    let path = host.path().join("stand-in/mmdebstrap");
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// A call of the program in a mount namespace in which the stand-in lies over all of /usr/bin, with what was there below.
pub fn order_with_stand_in(host: &Installation, words: &[&str]) -> Order {
    use nix::mount::{MsFlags, mount};
    let over = format!("lowerdir={}:/usr/bin", host.path().join("stand-in").display());
    host.order(words.iter().copied()).before(move || {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS)?;
        let none = None::<&str>;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
        Ok(mount(Some("overlay"), "/usr/bin", Some("overlay"), MsFlags::empty(), Some(over.as_str()))?)
    })
}

//! What comes no further: a worker that is stopped, a writer that says nothing more.

use std::time::{Duration, Instant};

use super::{Lab, MIB, archive, images};
use crate::harness::MINIMAL;

/// A worker that stalls, with room enough: it is given up in bounded time, whatever it unpacks, and nothing is evicted
/// for it.
pub fn a_worker_that_stalls_is_given_up(lab: &dyn Lab) {
    let host = lab.host();
    let config = host.read("/etc/zchroot/zchroot.toml");
    host.configure(&config.replace("version = 1", "version = 1\nstall = \"2s\""));
    let warm = archive::tar(host, "warm", 1);
    host.zchroot(["image", "import", warm.to_str().unwrap()]).ok();
    let kept = images(lab);
    let plain = archive::tar(host, "plain", 40);
    assert!(std::process::Command::new("gzip").args(["-1", "-k"]).arg(&plain).status().unwrap().success());
    let packed = format!("{}.gz", plain.display());
    let layers = format!("oci:{}", archive::oci(host, "layer", 40).display());
    for source in [packed.as_str(), &layers] {
        let running = host.order(["image", "import", source]).start();
        let worker = worker_of(running.pid());
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

/// The process that unpacks for a call of the program.
fn worker_of(parent: u32) -> nix::unistd::Pid {
    let is_child = |pid: &i32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let rest = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
        rest.split(' ').nth(1) == Some(parent.to_string().as_str())
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

fn alive(pid: nix::unistd::Pid) -> bool {
    nix::sys::signal::kill(pid, None).is_ok()
}

/// A writer that stalls while the store is nearly full is out of room: the watchdog fires, the sweep makes room, the
/// second attempt succeeds. With nothing to evict it fails, in bounded time, and leaves nothing.
pub fn a_writer_that_stalls_in_a_full_store_is_out_of_room(lab: &dyn Lab) {
    let host = lab.host();
    let config = host.read("/etc/zchroot/zchroot.toml");
    host.configure(&config.replace("version = 1", "version = 1\nstall = \"2s\""));
    let warm = archive::tar(host, "warm", 20);
    let tree = archive::tar(host, "tree", 1);
    let (tree, marks) = (tree.display(), host.path().join("marks"));
    let script = |stalls: u32| {
        // Half of its archive, and then nothing; so often, and all of it from then on.
        let marks = marks.display();
        format!(
            "#!/bin/sh\necho >>{marks}\n[ $(wc -l <{marks}) -gt {stalls} ] && exec cat {tree}\nhead -c 300000 {tree}\nexec sleep 600\n"
        )
    };
    let create = |stalls: u32| {
        let _ = std::fs::remove_file(&marks);
        stand_in(host, &script(stalls));
        let began = Instant::now();
        let done = with_stand_in(host, &["create", "made", "--from", "bootstrap:sid"]);
        assert!(began.elapsed() < Duration::from_secs(40), "{:?}: {done}", began.elapsed());
        assert_eq!(std::fs::read_to_string(&marks).unwrap().lines().count(), 2, "two attempts: {done}");
        done
    };
    lab.leave(60 * MIB);
    host.zchroot(["image", "import", warm.to_str().unwrap()]).ok();
    lab.leave(5 * MIB);
    let done = create(1).ok();
    let mut rest = done.stderr.as_str();
    for step in [
        "no room to create made: cannot unpack bootstrap:sid",
        "swept image ",
        "trying once more",
        "template made: version",
    ] {
        let at = rest.find(step).unwrap_or_else(|| panic!("no {step:?} in {rest:?}: {done}"));
        rest = &rest[at..];
    }
    assert_eq!(images(lab), [] as [&str; 0]);
    lab.assert_clean();

    host.zchroot(["end", "--all"]).ok();
    host.define("other", MINIMAL);
    lab.leave(5 * MIB);
    let _ = std::fs::remove_file(&marks);
    stand_in(host, &script(9));
    let began = Instant::now();
    let failed = with_stand_in(host, &["create", "other", "--from", "bootstrap:sid"]).exits(1);
    assert!(began.elapsed() < Duration::from_secs(40), "{:?}: {failed}", began.elapsed());
    let failed = failed.says("zchroot: no room to create other: ").says("a sweep evicted nothing");
    assert_eq!(failed.stderr.matches("No space left on device").count(), 2, "two attempts: {failed}");
    assert!(host.sessions().is_empty());
    lab.assert_clean();
}

/// Writes what is to stand in for mmdebstrap.
fn stand_in(host: &crate::harness::Installation, script: &str) {
    use std::os::unix::fs::PermissionsExt;
    let path = host.path().join("stand-in/mmdebstrap");
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// Calls the program in a mount namespace in which the stand-in lies over all of /usr/bin, with what was there below.
fn with_stand_in(host: &crate::harness::Installation, words: &[&str]) -> crate::harness::Done {
    use nix::mount::{MsFlags, mount};
    let over = format!("lowerdir={}:/usr/bin", host.path().join("stand-in").display());
    host.order(words.iter().copied())
        .before(move || {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS)?;
            let none = None::<&str>;
            mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
            Ok(mount(Some("overlay"), "/usr/bin", Some("overlay"), MsFlags::empty(), Some(over.as_str()))?)
        })
        .run()
}

//! Differences, digests and rebase on a real pool: a look at a version holds nothing up, and sees what is there.

#![cfg(feature = "zfs")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests look at files and run the ZFS programs"
)]

mod harness;
mod zfs_pool;

use std::os::fd::AsFd;

use harness::{Installation, MINIMAL};
use zchroot::store::{ErrorKind, Store};
use zchroot::sys::{effect, tree};
use zfs_pool::{Pool, first, keep, next, run, template, version};

#[test]
fn zfs_a_look_at_a_version_is_in_nobodys_way() {
    let pool = Pool::make();
    let store = pool.store();
    first(&store, "v1");
    let mut looks = 0;
    store
        .look_at(&template(), &version("v1"), &mut |top| {
            looks += 1;
            assert_eq!(store.sessions().unwrap().len(), 1, "it is a clone");
            let made = rustix::fs::openat(
                top,
                "new",
                rustix::fs::OFlags::CREATE | rustix::fs::OFlags::WRONLY,
                rustix::fs::Mode::RUSR,
            );
            assert_eq!(made.unwrap_err(), rustix::io::Errno::ROFS);
            assert!(
                !std::fs::read_to_string("/proc/self/mounts").unwrap().contains("look-"),
                "nobody sees it"
            );
            next(&store, "v1", "v2");
            let settled = store.settle(&template(), &keep(&[])).unwrap();
            assert!(settled.deferred.iter().all(|line| !line.contains("cannot")), "{settled:?}");
            assert_eq!(pool.origins("templates/sid"), ["templates/sid/v2 -"], "promoted, the old head gone");
            let mut walk = tree::Walk::new(top, None).unwrap();
            assert!(walk.next_entry().unwrap().is_some());
            while walk.next_entry().unwrap().is_some() {}
        })
        .unwrap();
    assert_eq!(looks, 1);
    assert_eq!(store.sessions().unwrap(), []);
    assert_eq!(store.settle(&template(), &keep(&[])).unwrap().deferred, [] as [&str; 0]);
    let snapshots = run("zfs", &["list", "-Hrt", "snapshot", "-o", "name", &pool.dataset("templates")]);
    assert_eq!(snapshots, pool.dataset("templates/sid/v2@v2"), "the dropped one went with the look");
    let gone = store.look_at(&template(), &version("v1"), &mut |_| looks += 1).unwrap_err();
    assert_eq!((gone.kind(), looks), (ErrorKind::Gone, 1));
    for at in 1..=3 {
        let plan = effect::Plan { at, mode: effect::Mode::Fail(libc::EIO) };
        let look = || store.look_at(&template(), &version("v2"), &mut |_| {});
        assert_eq!(effect::run(plan, look).0.unwrap().unwrap_err().errno(), Some(libc::EIO), "{at}");
        for left in store.sessions().unwrap() {
            assert_eq!(at, 3, "only if it cannot be destroyed");
            store.session_drop(&left.id).unwrap();
        }
    }
}

/// Waits until `is_so`, at most a minute: what has the least priority may have to wait for all others.
#[track_caller]
fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while !is_so() {
        assert!(std::time::Instant::now() < deadline, "waited a minute in vain: {what}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

fn host(pool: &Pool) -> Installation {
    let host = Installation::empty();
    host.configure(&format!(
        "version = 1\nstore = \"zfs\"\n[zfs]\npool = \"{}\"\nreserve = \"16M\"\n",
        pool.name
    ));
    host.zchroot(["init"]).ok();
    host.define("demo", MINIMAL);
    host.create("demo");
    host
}

fn settled(host: &Installation, pool: &Pool) {
    let json = host.zchroot(["history", "demo", "--json"]).json();
    let all = json["versions"].as_array().unwrap().iter().filter(|version| version["tree"] != "gone");
    for version in all.map(|version| version["id"].as_str().unwrap()) {
        let digest = host.at(&format!("/var/lib/zchroot/templates/demo/digests/{version}.zst"));
        wait_until("its digest is made", || digest.exists());
    }
    wait_until("nothing looks any more", || digesting().is_empty() && pool.origins("sessions").is_empty());
}

/// The processes that make digests; in this machine they are all ours.
fn digesting() -> Vec<i32> {
    let named = |path: &std::path::PathBuf| {
        std::fs::read_to_string(path.join("comm")).is_ok_and(|name| name == "zchroot-digest\n")
    };
    let all = std::fs::read_dir("/proc").unwrap().filter_map(|entry| Some(entry.ok()?.path()));
    all.filter(named).filter_map(|path| path.file_name()?.to_str()?.parse().ok()).collect()
}

/// The state of the store is mounted inside the installation: it goes before the pool does.
fn leave(host: Installation, pool: Pool) {
    settled(&host, &pool);
    host.assert_nothing_left();
    drop(host);
    drop(pool);
}

#[test]
fn zfs_a_diff_says_what_the_walk_of_all_bytes_says() {
    let pool = Pool::make();
    let host = host(&pool);
    let script = "echo 2 > /etc/generation; chmod 600 /etc/passwd; ln /etc/group /srv/link; mkdir /srv/d; \
                  mv /usr/sbin /usr/renamed; rm /usr/bin/wc; mknod /srv/null c 1 3";
    host.zchroot(["update", "demo", "-q", "--", "sh", "-c", script]).ok();
    let expected = "\
M /etc/generation  content
M /etc/passwd  mode 0644 -> 0600
+ /srv/d/
+ /srv/link
+ /srv/null
- /usr/bin/wc
+ /usr/renamed/
- /usr/sbin/";
    host.zchroot(["diff", "demo", "-q"]).ok().prints(expected);
    host.zchroot(["diff", "demo", "-q", "--full"]).ok().prints(expected);
    host.zchroot(["begin", "demo", "-n", "s"]).ok();
    let before = host.zchroot(["diff", "s", "-q"]).ok().text();
    host.zchroot(["exec", "s", "-d", "/", "--", "sh", "-c", "echo 3 > /etc/generation; rm /srv/null"]).ok();
    let after = host.zchroot(["diff", "s", "-q"]).ok().text();
    let new: Vec<&str> = after.lines().filter(|line| !before.lines().any(|old| old == *line)).collect();
    assert_eq!(new, ["M /etc/generation  content", "- /srv/null"], "{after}");
    host.zchroot(["end", "s"]).ok();
    leave(host, pool);
}

#[test]
fn zfs_a_version_that_was_exchanged_behind_the_back_is_named() {
    let pool = Pool::make();
    let host = host(&pool);
    settled(&host, &pool);
    let current = host.current("demo");
    assert!(host.zchroot(["verify", "demo", "-q"]).ok().text().contains(": ok, "));
    let head = pool.dataset(&format!("templates/demo/{current}"));
    let snapshot = format!("{head}@{current}");
    let at = pool.mount_point("head");
    rustix::mount::mount(&head, &at, "zfs", rustix::mount::MountFlags::empty(), None).unwrap();
    let file = at.join("etc/generation");
    let time = std::fs::metadata(&file).unwrap().modified().unwrap();
    std::fs::write(&file, "9\n").unwrap();
    std::fs::File::open(&file).unwrap().set_modified(time).unwrap();
    rustix::mount::unmount(&at, rustix::mount::UnmountFlags::empty()).unwrap();
    run("zfs", &["destroy", &snapshot]);
    run("zfs", &["snapshot", &snapshot]);
    let said = host.zchroot(["verify", "demo", "-q"]).exits(1).text();
    assert!(said.ends_with("DIFFERS, first: M /etc/generation  content"), "{said}");
    leave(host, pool);
}

#[test]
fn zfs_after_a_conflict_a_session_is_begun_anew() {
    let pool = Pool::make();
    let host = host(&pool);
    for name in ["one", "two"] {
        host.zchroot(["source", "begin", "demo", "-n", name]).ok();
        let script = format!("echo {name} > /etc/generation; touch /srv/{name}");
        host.zchroot(["source", "exec", name, "--", "sh", "-c", &script]).ok();
    }
    host.zchroot(["source", "commit", "one"]).ok();
    host.zchroot(["source", "commit", "two"]).exits(3).says("hint: zchroot source rebase two");
    let json = host.zchroot(["source", "rebase", "two", "-n", "three", "--json"]).json();
    let rebase = &json["rebase"];
    let paths = |list: &serde_json::Value| -> Vec<String> {
        list.as_array().unwrap().iter().map(|it| it["path"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(rebase["both"][0]["yours"]["path"], "/etc/generation");
    assert_eq!(paths(&rebase["yours"]), ["/srv/two"]);
    assert_eq!(paths(&rebase["theirs"]), ["/srv/one"]);
    host.zchroot(["source", "commit", "three"]).ok();
    host.zchroot(["source", "abort", "two"]).ok();
    leave(host, pool);
}

#[test]
fn zfs_a_digest_is_made_while_others_commit() {
    let pool = Pool::make();
    let host = host(&pool);
    host.define("demo", "version = 1\nprofile = \"minimal\"\nkeep = 1\n");
    // Half a minute's work: nobody waits for it.
    let script = "dd if=/dev/zero of=/srv/big bs=1 count=0 seek=60000000000";
    host.zchroot(["update", "demo", "-q", "--", "sh", "-c", script]).ok();
    wait_until("it is looked at", || pool.origins("sessions").len() == 1);
    for _ in 0..5 {
        host.zchroot(["update", "demo", "-q", "--", "rm", "-f", "/srv/big"]).ok();
    }
    let heads: Vec<String> =
        pool.origins("templates/demo").into_iter().filter(|line| line.ends_with(" -")).collect();
    assert_eq!(heads.len(), 1, "promoted all the way");
    assert_eq!(pool.origins("templates/demo").len(), 1, "no old head is left");
    for pid in digesting() {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGTERM);
    }
    wait_until("the look is over", || pool.origins("sessions").is_empty());
    host.zchroot(["gc", "-q"]).ok();
    host.zchroot(["verify", "demo", "-q"]).ok();
    let snapshots = run("zfs", &["list", "-Hrt", "snapshot", "-o", "name", &pool.dataset("templates")]);
    assert_eq!(snapshots.lines().count(), 2, "{snapshots}");
    leave(host, pool);
}

#[test]
fn zfs_a_look_is_open_as_a_directory() {
    let pool = Pool::make();
    let store = pool.store();
    first(&store, "v1");
    let mut seen = false;
    store
        .look_at(&template(), &version("v1"), &mut |top| {
            seen = tree::open_beneath(top.as_fd(), c"var/lib/dpkg/status").unwrap().is_none();
        })
        .unwrap();
    assert!(seen);
}

//! Mount namespaces that others make while sessions stand: systemd makes one for each service with PrivateTmp, rootless
//! containers and `unshare` do as well. Each begins with a copy of every mount of the host, those of sessions too.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests look at files and make namespaces"
)]

mod harness;
#[cfg(feature = "zfs")]
mod zfs_pool;

use std::time::{Duration, Instant};

use harness::Installation;
use harness::both::on_both;
use harness::program::{Order, Running};
use nix::mount::{MntFlags, MsFlags, mount, umount2};

/// How long a commit waits for others' namespaces to let go of the tree, and some less.
const NOT_WAITED: Duration = Duration::from_secs(8);

/// An installation with a template; on a pool, the pool goes last.
struct Host {
    installation: Installation,
    #[cfg(feature = "zfs")]
    _pool: Option<zfs_pool::Pool>,
}

impl Host {
    fn on_directories() -> Self {
        Self {
            installation: Installation::with_demo(),
            #[cfg(feature = "zfs")]
            _pool: None,
        }
    }

    #[cfg(feature = "zfs")]
    fn on_a_pool() -> Self {
        let (pool, installation) = (zfs_pool::Pool::make(), Installation::empty());
        installation.configure(&format!(
            "version = 1\ngrace = \"0s\"\ndigests = \"never\"\nstore = \"zfs\"\n[zfs]\npool = \"{}\"\n",
            pool.name
        ));
        installation.zchroot(["init"]).ok();
        let source = installation.at("/source");
        harness::tree::make(&source);
        installation.define("demo", "version = 1\nprofile = \"minimal\"\n");
        installation.zchroot(["create", "demo", "--from", source.to_str().unwrap()]).ok();
        Self { installation, _pool: Some(pool) }
    }
}

/// A process in a mount namespace of its own that sleeps in `/`, with copies of the host's mounts, spread to it as told.
fn bystander(host: &Installation, spread: MsFlags) -> Running {
    let ours = host.path().to_owned();
    let alone = move || {
        harness::left::leave_the_mounts(spread, |at| !at.starts_with(&ours));
        Ok(())
    };
    let mut running =
        Order::new("/bin/sh").words(["-c", "echo begun; exec sleep 1000"]).before(alone).start();
    assert_eq!(running.line(), "begun");
    running
}

/// How many mounts of sessions the process has.
fn copies(process: &Running, host: &Installation) -> usize {
    let folder = host.at("/run/zchroot/mount/");
    let table = std::fs::read_to_string(format!("/proc/{}/mountinfo", process.pid())).unwrap();
    table.lines().filter(|line| line.contains(folder.to_str().unwrap())).count()
}

fn a_service_that_was_started_meanwhile_keeps_nothing(host: &Host) {
    let host = &host.installation;
    host.zchroot(["begin", "demo", "-n", "ordinary"]).ok();
    host.zchroot(["source", "begin", "demo", "-n", "source"]).ok();
    host.zchroot(["source", "exec", "source", "--", "sh", "-c", "echo new > /etc/stamp"]).ok();
    let service = bystander(host, MsFlags::MS_SLAVE);
    assert!(copies(&service, host) >= 2, "it has copies of what stood");
    host.zchroot(["begin", "demo", "-n", "later"]).ok();

    let begun = Instant::now();
    host.zchroot(["source", "commit", "source", "-q"]).ok();
    host.zchroot(["end", "ordinary", "later"]).ok();
    assert!(begun.elapsed() < NOT_WAITED, "it waited for another namespace");
    assert_eq!(copies(&service, host), 0);
    assert_eq!(host.zchroot(["run", "demo", "--", "cat", "/etc/stamp"]).ok().text(), "new");
    harness::wait_until("the digest is made", || host.digesting().is_empty());
    host.zchroot(["gc"]).ok();
    assert_eq!(host.zchroot(["gc", "--dry-run"]).ok().text(), "");
    host.assert_nothing_left();
}

fn a_namespace_that_follows_nobody_is_named_and_the_session_kept(host: &Host) {
    let host = &host.installation;
    host.zchroot(["source", "begin", "demo", "-n", "source"]).ok();
    let hermit = bystander(host, MsFlags::MS_PRIVATE);
    let refused = host.zchroot(["source", "commit", "source", "-q"]).exits(3);
    let says =
        format!("the tree of source is still mounted in the mount namespace of process {}", hermit.pid());
    let _ = refused.says(&says);
    drop(hermit);
    host.zchroot(["source", "commit", "source", "-q"]).ok();
    host.assert_nothing_left();
}

/// The mounts of a session are shared with namespaces that follow; with what they were bound from they are not.
fn what_a_session_unmounts_stays_mounted_on_the_host(host: &Host) {
    let host = &host.installation;
    let (from, below) = (host.at("/from"), host.at("/from/below"));
    std::fs::create_dir_all(&below).unwrap();
    let none = None::<&str>;
    mount(Some(&from), &from, none, MsFlags::MS_BIND, none).unwrap();
    mount(none, &from, none, MsFlags::MS_SHARED, none).unwrap();
    mount(Some("tmpfs"), &below, Some("tmpfs"), MsFlags::empty(), none).unwrap();
    std::fs::write(below.join("file"), "of the host").unwrap();
    let bind =
        format!("[[mount]]\nkind = \"rbind\"\nsource = \"{}\"\ntarget = \"/srv/from\"\n", from.display());
    host.profile("binding", &format!("version = 1\n{bind}"));
    host.define("demo", "version = 1\nprofile = \"binding\"\n");

    let inside = ["run", "demo", "--", "sh", "-c", "cat /srv/from/below/file && mkdir /srv/from/made"];
    assert_eq!(host.zchroot(inside).ok().text(), "of the host");
    host.zchroot(["begin", "demo", "-n", "s"]).ok();
    mount(Some("tmpfs"), &from.join("made"), Some("tmpfs"), MsFlags::empty(), none).unwrap();
    std::fs::write(from.join("made/file"), "later").unwrap();
    host.zchroot(["exec", "s", "--", "sh", "-c", "! test -e /srv/from/made/file"]).ok();
    host.zchroot(["end", "s"]).ok();
    assert_eq!(std::fs::read_to_string(below.join("file")).unwrap(), "of the host");
    assert_eq!(std::fs::read_to_string(from.join("made/file")).unwrap(), "later");
    for at in [from.join("made"), below, from] {
        umount2(&at, MntFlags::MNT_DETACH).unwrap();
    }
    host.assert_nothing_left();
}

on_both! { Host:
    dir_a_service_that_was_started_meanwhile_keeps_no_mount_of_a_session
        zfs_a_service_that_was_started_meanwhile_keeps_no_mount_of_a_session
        a_service_that_was_started_meanwhile_keeps_nothing;
    dir_a_namespace_that_follows_nobody_is_named_and_the_session_kept
        zfs_a_namespace_that_follows_nobody_is_named_and_the_session_kept
        a_namespace_that_follows_nobody_is_named_and_the_session_kept;
    dir_what_a_session_unmounts_stays_mounted_on_the_host
        zfs_what_a_session_unmounts_stays_mounted_on_the_host
        what_a_session_unmounts_stays_mounted_on_the_host;
}

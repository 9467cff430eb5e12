//! Digests of versions: made after a commit without anybody waiting, and compared with the trees.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::harness::{Installation, MINIMAL};

/// Waits until `is_so`, at most a minute: what has the least priority may have to wait for all others.
#[track_caller]
fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < deadline, "waited a minute in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn digest(host: &Installation, version: &str) -> PathBuf {
    host.at(&format!("/var/lib/zchroot/templates/demo/digests/{version}.zst"))
}

fn tree(host: &Installation, version: &str) -> PathBuf {
    host.at(&format!("/var/lib/zchroot/store/templates/demo/{version}"))
}

fn settled(host: &Installation) {
    for version in host.versions("demo") {
        wait_until("its digest is made", || digest(host, &version).exists());
    }
}

#[test]
fn dir_a_version_gets_a_digest_after_its_commit_and_is_verified_against_it() {
    let host = Installation::with_demo();
    host.zchroot(["update", "demo", "-q", "--", "sh", "-c", "ln /etc/group /srv/link; mknod /srv/p p"]).ok();
    settled(&host);
    let text = host.zchroot(["verify", "demo", "-q"]).ok().text();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert!(lines[0].starts_with(&format!("demo {} (generation 2): ok, ", host.current("demo"))), "{text}");
    assert!(lines[0].contains("sha256 "), "{text}");
    let json = host.zchroot(["verify", "demo@1", "--json", "-q"]).json();
    let row = &json["verify"][0];
    assert_eq!((row["result"].as_str(), row["generation"].as_u64()), (Some("same"), Some(1)));
    assert_eq!(row["root"]["sha256"].as_str().unwrap().len(), 64);
    host.zchroot(["verify", "demo@9"]).exits(4).says("has no generation 9; there is 2 (current), 1");
    host.zchroot(["verify", "none"]).exits(4);
    host.zchroot(["verify", "demo@1@2"]).exits(2);
    host.zchroot(["verify", "a/b"]).exits(2);
    let packed = std::fs::File::open(digest(&host, &host.current("demo"))).unwrap();
    let plain = String::from_utf8(zstd::decode_all(packed).unwrap()).unwrap();
    assert!(
        plain.starts_with(&format!("zchroot-digest 1 demo {}\nd 0755 0 0 0 ", host.current("demo"))),
        "{plain}"
    );
    assert!(
        plain.contains(" =/etc/group /srv/link\n") && plain.contains(" >busybox /usr/bin/sh\n"),
        "{plain}"
    );
    host.assert_nothing_left();
}

#[test]
fn dir_what_was_changed_behind_the_back_is_named() {
    let host = Installation::with_demo();
    settled(&host);
    let version = host.current("demo");
    let top = tree(&host, &version);
    let file = top.join("etc/generation");
    let time = std::fs::metadata(&file).unwrap().modified().unwrap();
    let reset = |path: &PathBuf| std::fs::File::open(path).unwrap().set_modified(time).unwrap();
    let differs = |expected: &str| {
        let done = host.zchroot(["verify", "demo", "-q"]).exits(1).text();
        assert_eq!(done, format!("demo {version} (generation 1): DIFFERS, first: {expected}"));
    };
    std::fs::write(&file, "2\n").unwrap();
    reset(&file);
    differs("M /etc/generation  content");
    let json = host.zchroot(["verify", "demo", "--json", "-q"]).exits(1);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["verify"][0]["first"]["path"], "/etc/generation");
    std::fs::write(&file, "1\n").unwrap();
    differs("M /etc/generation  time");
    reset(&file);
    host.zchroot(["verify", "demo", "-q"]).ok();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o4644)).unwrap();
    differs("M /etc/generation  mode 0644 -> 4644");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    std::os::unix::fs::chown(&file, Some(5), None).unwrap();
    differs("M /etc/generation  owner 0:0 -> 5:0");
    std::os::unix::fs::chown(&file, Some(0), None).unwrap();
    rustix::fs::setxattr(&file, "trusted.x", b"1", rustix::fs::XattrFlags::empty()).unwrap();
    differs("M /etc/generation  xattrs");
    rustix::fs::removexattr(&file, "trusted.x").unwrap();
    let etc = top.join("etc");
    let folder = std::fs::metadata(&etc).unwrap().modified().unwrap();
    let restore = || std::fs::File::open(&etc).unwrap().set_modified(folder).unwrap();
    std::fs::write(etc.join("a"), "").unwrap();
    restore();
    differs("+ /etc/a");
    std::fs::remove_file(etc.join("a")).unwrap();
    std::fs::rename(&file, host.path().join("aside")).unwrap();
    restore();
    differs("- /etc/generation");
    symlink("x", &file).unwrap();
    restore();
    differs("M /etc/generation  file -> symlink");
    std::fs::remove_file(&file).unwrap();
    std::fs::rename(host.path().join("aside"), &file).unwrap();
    restore();
    host.zchroot(["verify", "demo", "-q"]).ok();
}

#[test]
fn dir_a_digest_that_is_missing_is_made_and_one_that_is_damaged_is_an_error() {
    let host = Installation::new();
    host.configure("version = 1\ndigests = \"never\"\n");
    host.define("demo", MINIMAL);
    host.create("demo");
    let version = host.current("demo");
    host.zchroot(["gc"]).ok();
    assert!(!digest(&host, &version).exists());
    let text = host.zchroot(["verify", "demo", "-q"]).ok().text();
    assert!(text.contains("had no digest, it has now"), "{text}");
    assert!(host.zchroot(["verify", "demo", "-q"]).ok().text().contains(": ok, "));
    let path = digest(&host, &version);
    let good = std::fs::read(&path).unwrap();
    let plain = String::from_utf8(zstd::decode_all(&good[..]).unwrap()).unwrap();
    let pack = |text: &str| zstd::encode_all(text.as_bytes(), 1).unwrap();
    let cut = plain.lines().take(5).map(|line| format!("{line}\n")).collect::<String>();
    for bad in [
        good[..good.len() / 2].to_vec(),
        b"rubbish".to_vec(),
        Vec::new(),
        pack(""),
        pack(&cut),
        pack(&plain.replacen(" 0755 ", " 0777 ", 1)),
        pack(&plain.replacen("/etc/passwd", "/etc/passwx", 1)),
        pack(&plain.replacen("demo", "other", 1)),
        pack(&plain.replacen("\nd ", "\nx ", 1)),
    ] {
        std::fs::write(&path, bad).unwrap();
        let done = host.zchroot(["verify", "demo", "-q"]).exits(1).text();
        assert!(done.contains("CANNOT BE VERIFIED: cannot read the digest of demo"), "{done}");
    }
    host.assert_nothing_left();
}

#[test]
fn dir_gc_makes_the_digests_that_are_missing_and_those_of_gone_versions_go() {
    let host = Installation::new();
    host.configure("version = 1\ndigests = \"gc\"\n");
    host.define("demo", "version = 1\nprofile = \"minimal\"\nkeep = 1\n");
    host.create("demo");
    let first = host.current("demo");
    host.zchroot(["gc", "-n"]).ok();
    assert!(!digest(&host, &first).exists());
    host.zchroot(["gc"]).ok().says("has a digest now");
    assert!(digest(&host, &first).exists());
    for _ in 0..3 {
        host.zchroot(["update", "demo", "-q", "--", "true"]).ok();
    }
    assert!(!digest(&host, &first).exists(), "its version is gone");
    host.zchroot(["gc", "-q"]).ok();
    let folder = host.at("/var/lib/zchroot/templates/demo/digests");
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), 2);
    host.assert_nothing_left();
}

#[test]
fn dir_a_digest_does_not_keep_the_mounts_of_its_callers_namespace() {
    let host = Installation::with_demo();
    settled(&host);
    host.zchroot(["source", "begin", "demo", "-n", "s"]).ok();
    let other = host.path().join("source");
    host.define("other", MINIMAL);
    host.zchroot(["create", "other", "--from", other.to_str().unwrap()]).ok();
    let script = "dd if=/dev/zero of=/srv/big bs=1 count=0 seek=200000000000";
    let alone = || {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS)?;
        rustix::mount::mount_change(
            "/",
            rustix::mount::MountPropagationFlags::PRIVATE | rustix::mount::MountPropagationFlags::REC,
        )?;
        Ok(())
    };
    host.order(["update", "other", "-q", "--", "sh", "-c", script]).before(alone).run().ok();
    wait_until("the digest is being made", || host.digesting().len() == 1);
    let pid = host.digesting()[0];
    let began = Instant::now();
    host.zchroot(["source", "commit", "s", "-q"]).ok();
    assert!(began.elapsed() < Duration::from_secs(9), "it waited for a namespace to go");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGTERM).unwrap();
    wait_until("all have ended", || host.digesting().is_empty());
    host.assert_nothing_left();
}

#[test]
fn dir_nobody_waits_for_a_digest_and_it_is_in_nobodys_way() {
    let host = Installation::with_demo();
    settled(&host);
    let began = Instant::now();
    // Far more than can be read before the test is over.
    host.zchroot([
        "update",
        "demo",
        "-q",
        "--",
        "sh",
        "-c",
        "dd if=/dev/zero of=/srv/big bs=1 count=0 seek=200000000000",
    ])
    .ok();
    assert!(began.elapsed() < Duration::from_secs(20));
    wait_until("the digest is being made", || host.digesting().len() == 1);
    let pid = host.digesting()[0];
    host.define("demo", "version = 1\nprofile = \"minimal\"\nkeep = 1\n");
    host.run_in_demo("true").ok();
    for _ in 0..2 {
        host.zchroot(["update", "demo", "-q", "--", "rm", "-f", "/srv/big"]).ok();
    }
    assert_eq!(host.digesting(), [pid], "it still works, and nobody else began the same");
    let trees = std::fs::read_dir(host.at("/var/lib/zchroot/store/templates/demo")).unwrap().count();
    assert_eq!(trees, 2, "the version that is looked at was dropped");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGTERM).unwrap();
    wait_until("it has ended", || host.digesting().is_empty());
    host.zchroot(["gc", "-q"]).ok();
    host.zchroot(["verify", "demo", "-q"]).ok();
    let folder = host.at("/var/lib/zchroot/templates/demo/digests");
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), 2, "no temporary file is left");
    host.assert_nothing_left();
}

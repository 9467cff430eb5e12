//! A tree with one of everything, and how two trees are compared: for tests of all kinds of archives.

#![expect(clippy::disallowed_methods, reason = "fixtures are made with the tools and paths that users have")]

#[path = "../../tests/harness/same.rs"]
#[allow(unreachable_pub, reason = "the integration tests use it too")]
mod same;

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, chown, lchown, symlink};
use std::path::Path;
use std::process::Command;

use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags};

pub(super) use same::{assert_same_tree, describe_tree, xattrs};

use super::Error;
use crate::store::Digest;

/// Runs a program of the host; it must succeed.
pub(super) fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{program} {arguments:?}: {error}");
}

pub(super) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// An error with its cause, as it is printed.
pub(super) fn told(error: &Error) -> String {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    format!("{error}{cause}")
}

/// A tree with one of everything.
pub(super) fn fixture(root: &Path) {
    for dir in ["usr/bin", "etc", "deep/a/b/c", "sticky", "closed", "setgid"] {
        std::fs::create_dir_all(root.join(dir)).unwrap();
    }
    let file = |name: &str, content: &[u8], mode: u32| {
        let path = root.join(name);
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    };
    file("etc/passwd", b"root:x:0:0\n", 0o644);
    file("empty", b"", 0o600);
    file("read-only", b"x", 0o444);
    file("none", b"x", 0o000);
    file("big", &(0..1_500_000_u32).flat_map(|n| (n / 7).to_le_bytes()).collect::<Vec<_>>(), 0o640);
    let owned = file("owned", b"mine", 0o644);
    chown(&owned, Some(1234), Some(3_000_000)).unwrap();
    let su = file("usr/bin/su", b"#!", 0o755);
    chown(&su, Some(0), Some(42)).unwrap();
    std::fs::set_permissions(&su, std::fs::Permissions::from_mode(0o6755)).unwrap();
    let ping = file("usr/bin/ping", b"#!", 0o755);
    run("setcap", &["cap_net_raw+ep", text(&ping)]);
    let labelled = file("labelled", b"x", 0o644);
    for (name, value) in
        [("user.plain", &b"value"[..]), ("user.wild", b"\n12 path=/x\n\0=\xff"), ("user.none", b"")]
    {
        rustix::fs::setxattr(&labelled, name, value, XattrFlags::empty()).unwrap();
    }
    rustix::fs::setxattr(root.join("etc"), "user.dir", b"d", XattrFlags::empty()).unwrap();
    std::fs::hard_link(root.join("etc/passwd"), root.join("usr/passwd-link")).unwrap();
    symlink("usr/bin", root.join("bin")).unwrap();
    symlink("/etc/passwd", root.join("absolute")).unwrap();
    lchown(root.join("absolute"), Some(7), Some(8)).unwrap();
    symlink("nowhere", root.join("dangling")).unwrap();
    std::fs::hard_link(root.join("dangling"), root.join("dangling-too")).unwrap();
    names(root);
    nodes(root);
    sparse(root);
    times(root);
}

fn names(root: &Path) {
    std::fs::write(root.join(format!("deep/{}", "n".repeat(200))), "long").unwrap();
    let deep = root.join(format!("deep/{0}/{0}", "d".repeat(120)));
    std::fs::create_dir_all(&deep).unwrap();
    std::fs::write(deep.join("file"), "deep").unwrap();
    symlink("t".repeat(150), root.join("long-link")).unwrap();
    std::fs::hard_link(deep.join("file"), root.join("deep-link")).unwrap();
    std::fs::write(root.join(OsStr::from_bytes(b"not-utf8-\xff\n")), "x").unwrap();
}

fn nodes(root: &Path) {
    let node = |name: &str, kind, device, mode| {
        rustix::fs::mknodat(CWD, root.join(name), kind, Mode::empty(), device).unwrap();
        std::fs::set_permissions(root.join(name), std::fs::Permissions::from_mode(mode)).unwrap();
    };
    node("null", FileType::CharacterDevice, rustix::fs::makedev(1, 3), 0o666);
    node("disk", FileType::BlockDevice, rustix::fs::makedev(259, 70_000), 0o660);
    node("fifo", FileType::Fifo, 0, 0o622);
    chown(root.join("disk"), Some(0), Some(6)).unwrap();
}

fn sparse(root: &Path) {
    let file = File::create(root.join("sparse")).unwrap();
    file.set_len(40 << 20).unwrap();
    for piece in 0..30 {
        file.write_all_at(b"piece", piece * (1 << 20) + 4096).unwrap();
    }
    File::create(root.join("hole")).unwrap().set_len(5 << 20).unwrap();
}

fn times(root: &Path) {
    let stamp = |name: &str, seconds, nanos| {
        let time = Timespec { tv_sec: seconds, tv_nsec: nanos };
        let times = Timestamps { last_access: time, last_modification: time };
        rustix::fs::utimensat(CWD, root.join(name), &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    };
    stamp("read-only", 1_000_000_000, 123_456_789);
    stamp("dangling", 1_100_000_000, 0);
    stamp("fifo", 1_200_000_000, 5);
    stamp("empty", -86_400, 0);
    for (name, mode) in [("sticky", 0o1777), ("closed", 0o000), ("setgid", 0o2755), ("etc", 0o555)] {
        std::fs::set_permissions(root.join(name), std::fs::Permissions::from_mode(mode)).unwrap();
        stamp(name, 1_300_000_000, 7);
    }
    stamp("", 1_400_000_000, 0);
}

/// An OCI layout of one image of one layer, in which one file is; the digests of the image and of the layer.
pub(super) fn oci_layout(dir: &Path, file: &str) -> (Digest, Digest) {
    let mut tar = ::tar::Builder::new(Vec::new());
    let mut header = ::tar::Header::new_gnu();
    header.set_size(1);
    header.set_mode(0o644);
    tar.append_data(&mut header, file, &b"x"[..]).unwrap();
    oci_layout_of(dir, &tar.into_inner().unwrap())
}

/// An OCI layout of one image of one layer, a tar archive.
pub(super) fn oci_layout_of(dir: &Path, bytes: &[u8]) -> (Digest, Digest) {
    let blobs = dir.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).unwrap();
    let blob = |bytes: &[u8]| {
        let digest = super::hash::of(bytes);
        std::fs::write(blobs.join(digest.as_str()), bytes).unwrap();
        digest
    };
    let layer = blob(bytes);
    let config = format!(
        r#"{{"architecture": "amd64", "rootfs": {{"type": "layers", "diff_ids": ["sha256:{layer}"]}}}}"#
    );
    let config_digest = blob(config.as_bytes());
    let manifest = format!(
        r#"{{"config": {{"digest": "sha256:{config_digest}", "size": {}}}, "layers": [{{"digest": "sha256:{layer}", "size": {}}}]}}"#,
        config.len(),
        bytes.len()
    );
    let manifest_digest = blob(manifest.as_bytes());
    let index = format!(
        r#"{{"schemaVersion": 2, "manifests": [{{"digest": "sha256:{manifest_digest}", "size": {}}}]}}"#,
        manifest.len()
    );
    std::fs::write(dir.join("index.json"), index).unwrap();
    (config_digest, layer)
}

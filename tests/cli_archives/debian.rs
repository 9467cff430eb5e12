//! A Debian tree with one of everything, made by mmdebstrap once and kept below the target directory.
//!
//! `ZCHROOT_TEST_SOURCE` is a line of sources.list that `cargo xtask test` finds out from the host; without it the
//! public mirror is asked.

use std::path::{Path, PathBuf};

use super::harness::once::once;
use super::{run, text};

const EXTRAS: &str = include_str!("extras.sh");
/// What nobody looks at, and what makes most of the bytes.
const LEFT_OUT: [&str; 4] = ["doc", "locale", "man", "zoneinfo"];

/// What mmdebstrap packed.
pub(crate) fn archive() -> PathBuf {
    made("debian", debian).join("tree.tar")
}

/// The tree, to be read only.
pub(crate) fn tree() -> PathBuf {
    made("debian", debian).join("tree")
}

/// An OCI layout of three layers, by umoci: the tree, what changed of it, and a directory that is hidden as a whole.
pub(crate) fn layout() -> PathBuf {
    let tree = tree();
    made("debian-oci", move |dir| layers(&tree, dir)).join("layout")
}

fn source() -> String {
    std::env::var("ZCHROOT_TEST_SOURCE")
        .unwrap_or_else(|_| "deb http://deb.debian.org/debian stable main".to_owned())
}

/// The directory of something that is made once, by what stands here.
fn made(name: &str, make: impl FnOnce(&Path)) -> PathBuf {
    once(name, &[EXTRAS, &source(), &LEFT_OUT.concat(), include_str!("debian.rs")], make)
}

fn debian(dir: &Path) {
    let [archive, tree, extras] = ["tree.tar", "tree", "extras.sh"].map(|name| dir.join(name));
    std::fs::write(&extras, EXTRAS).unwrap();
    let mut words = vec![
        "--mode=root".to_owned(),
        "--variant=minbase".to_owned(),
        "--quiet".to_owned(),
        "--aptopt=Acquire::Languages \"none\"".to_owned(),
        "--aptopt=Acquire::Retries \"3\"".to_owned(),
        format!("--customize-hook=sh '{}' \"$1\"", text(&extras)),
    ];
    words.extend(LEFT_OUT.map(|folder| format!("--dpkgopt=path-exclude=/usr/share/{folder}/*")));
    let source = source();
    let suite = source.rsplit(' ').nth(1).unwrap();
    let words: Vec<&str> = words.iter().map(String::as_str).chain([suite, text(&archive), &source]).collect();
    run("mmdebstrap", &words);
    std::fs::create_dir(&tree).unwrap();
    run(
        "tar",
        &["-C", text(&tree), "--numeric-owner", "--xattrs", "--xattrs-include=*", "-xpf", text(&archive)],
    );
    // The archive does not have all that the tree is to have.
    run("sh", &[text(&extras), text(&tree)]);
}

fn layers(tree: &Path, dir: &Path) {
    let [layout, bundle, top, opaque] = ["layout", "bundle", "top", "opaque.tar"].map(|name| dir.join(name));
    let image = format!("{}:latest", text(&layout));
    let repack = || run("umoci", &["repack", "--refresh-bundle", "--image", &image, text(&bundle)]);
    run("umoci", &["init", "--layout", text(&layout)]);
    run("umoci", &["new", "--image", &image]);
    run("umoci", &["unpack", "--image", &image, text(&bundle)]);
    let root = bundle.join("rootfs");
    run("cp", &["-a", &format!("{}/.", text(tree)), text(&root)]);
    repack();
    // Whiteouts of a file, of a directory with all in it and of a hard link; a file for a directory; new attributes.
    let change = "
        rm -r etc/hostname usr/share/perl5 srv/extras/linked/two srv/extras/setgid
        echo now a file >srv/extras/setgid
        echo more >>etc/passwd
        chmod 4711 usr/bin/env
        setfattr -n user.plain -v other srv/extras/labelled
        setcap cap_chown+ep srv/extras/capable
        mkdir -p opt/new/folder && mkfifo opt/new/fifo && mknod opt/new/zero c 1 5";
    run("sh", &["-ec", &format!("cd '{}'; {change}", text(&root))]);
    repack();
    // umoci writes no opaque directories, but it reads them.
    std::fs::create_dir_all(top.join("etc/apt/fresh")).unwrap();
    std::fs::write(top.join("etc/apt/.wh..wh..opq"), "").unwrap();
    std::fs::write(top.join("etc/apt/fresh/file"), "of the top layer").unwrap();
    std::fs::write(top.join("etc/.wh.issue"), "").unwrap();
    run("tar", &["-C", text(&top), "--numeric-owner", "-cf", text(&opaque), "etc"]);
    run("umoci", &["raw", "add-layer", "--image", &image, text(&opaque)]);
    run("umoci", &["gc", "--layout", text(&layout)]);
    run("rm", &["-rf", "--one-file-system", text(&bundle), text(&top), text(&opaque)]);
}

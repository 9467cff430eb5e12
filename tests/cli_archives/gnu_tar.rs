//! tar archives, against GNU tar.

use std::path::PathBuf;

use super::{Stage, debian, has_acls, kib_of_holes, run, text};

const PACK: [&str; 5] = ["--numeric-owner", "--xattrs", "--xattrs-include=*", "--acls", "--sparse"];
const UNPACK: [&str; 4] = ["--numeric-owner", "--xattrs", "--xattrs-include=*", "--same-owner"];

/// Packs the tree and compares.
fn compare(options: &[&str]) {
    let (stage, tree) = (Stage::new(), debian::tree());
    // A name that says nothing.
    let archive = stage.path("archive");
    run("tar", &[&["-C", text(&tree), "-cf", text(&archive)], &PACK[..], options, &["."]].concat());
    let ours = unpack(&stage, text(&archive), "--acls");
    assert!(has_acls(&ours) && kib_of_holes(&ours) <= 64, "{} KiB", kib_of_holes(&ours));
}

/// `acls`: GNU tar takes ACLs from text or from attributes, and passes over the others.
fn unpack(stage: &Stage, archive: &str, acls: &str) -> PathBuf {
    let ours = stage.import(archive);
    let theirs = stage.folder("theirs");
    run("tar", &[&["-C", text(&theirs), "-xpf", archive, acls], &UNPACK[..]].concat());
    stage.compare(&ours, &theirs);
    ours
}

#[test]
fn dir_archive_of_mmdebstrap_is_imported_as_gnu_tar_unpacks_it() {
    let stage = Stage::new();
    let ours = unpack(&stage, text(&debian::archive()), "--no-acls");
    assert!(has_acls(&ours));
}

#[test]
fn dir_archive_of_gnu_tar_is_imported_as_gnu_tar_unpacks_it() {
    compare(&["--format=posix"]);
}

#[test]
fn dir_archive_tar_gz_is_imported_as_gnu_tar_unpacks_it() {
    compare(&["--format=posix", "-I", "gzip -1"]);
}

#[test]
fn dir_archive_tar_xz_is_imported_as_gnu_tar_unpacks_it() {
    compare(&["--format=posix", "-I", "xz -0 -T2"]);
}

#[test]
fn dir_archive_tar_zst_is_imported_as_gnu_tar_unpacks_it() {
    compare(&["--format=posix", "-I", "zstd -q"]);
}

#[test]
fn dir_archive_tar_bz2_is_imported_as_gnu_tar_unpacks_it() {
    compare(&["--format=posix", "-I", "bzip2 -1"]);
}

/// ACLs as text, which is all that GNU tar writes of them unless all attributes are asked for.
#[test]
fn dir_archive_with_acls_as_text_is_imported_as_gnu_tar_unpacks_it() {
    compare(&["--format=posix", "--xattrs-exclude=system.*"]);
}

//! Images of mksquashfs, against unsquashfs.

use super::{Stage, debian, kib_of_holes, run, text};

fn compare(packing: &str) {
    let (stage, tree) = (Stage::new(), debian::tree());
    let [image, theirs] = ["image", "theirs"].map(|name| stage.path(name));
    let options = ["-noappend", "-quiet", "-no-progress", "-xattrs", "-comp", packing];
    run("mksquashfs", &[&[text(&tree), text(&image)][..], &options].concat());
    let ours = stage.import(text(&image));
    run("unsquashfs", &["-quiet", "-no-progress", "-xattrs", "-dest", text(&theirs), text(&image)]);
    stage.compare(&ours, &theirs);
    // A hole is as large as a block of the image.
    assert!(kib_of_holes(&ours) <= 5 * 128, "{} KiB", kib_of_holes(&ours));
}

#[test]
fn dir_archive_squashfs_gzip_is_imported_as_unsquashfs_unpacks_it() {
    compare("gzip");
}

#[test]
fn dir_archive_squashfs_xz_is_imported_as_unsquashfs_unpacks_it() {
    compare("xz");
}

#[test]
fn dir_archive_squashfs_zstd_is_imported_as_unsquashfs_unpacks_it() {
    compare("zstd");
}

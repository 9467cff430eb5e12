//! Images that were tampered with: every one ends with an error that names the entry, and nothing leaves the tree.

use super::*;
use crate::store::ErrorKind;

/// An image whose tables are not packed, so that names and numbers can be found in it and changed.
fn open_image(stage: &Stage) -> Vec<u8> {
    std::fs::read(stage.image("open", &["-noI", "-noD", "-noF", "-noX", "-no-duplicates"])).unwrap()
}

/// Replaces all places where `from` stands, of which there is at least one.
fn patch(image: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut patched = image.to_vec();
    let mut any = false;
    for at in 0..=image.len() - from.len() {
        if image[at..].starts_with(from) {
            patched[at..at + to.len()].copy_from_slice(to);
            any = true;
        }
    }
    assert!(any, "nothing to patch");
    patched
}

fn try_it(stage: &Stage, image: &[u8], name: &str) -> (PathBuf, Result<Filled>) {
    let (file, root) = (stage.path(&format!("{name}.image")), stage.path(&format!("{name}.root")));
    std::fs::write(&file, image).unwrap();
    let result = unpack_to(&file, &root);
    (root, result)
}

fn refused(stage: &Stage, image: &[u8], name: &str) -> String {
    told(&try_it(stage, image, name).1.expect_err(name))
}

/// The eight bytes before a name in a directory: place of the inode, its number, kind, length of the name.
fn entry_of(image: &[u8], name: &[u8]) -> usize {
    image.windows(name.len()).position(|window| window == name).unwrap() - 8
}

#[test]
fn dir_import_names_in_an_image_that_would_lead_out_are_refused() {
    let stage = Stage::new();
    std::fs::create_dir(stage.source.join("qq")).unwrap();
    std::fs::write(stage.source.join("qq/marker"), "x").unwrap();
    std::fs::write(stage.source.join("zz-z"), "x").unwrap();
    let image = open_image(&stage);
    std::fs::write(stage.path("marker"), "untouched").unwrap();
    for (name, from, to) in
        [("dots", &b"qq"[..], &b".."[..]), ("slash", b"zz-z", b"../z"), ("nul", b"zz-z", b"z\0-z")]
    {
        let error = refused(&stage, &patch(&image, from, to), name);
        assert!(error.contains("no name") || error.contains("NUL"), "{name}: {error}");
    }
    assert_eq!(std::fs::read(stage.path("marker")).unwrap(), b"untouched");
}

#[test]
fn dir_import_a_symlink_and_then_a_directory_of_its_name_are_not_followed() {
    let stage = Stage::new();
    let outside = stage.path("outside");
    std::fs::create_dir(&outside).unwrap();
    std::os::unix::fs::symlink(&outside, stage.source.join("lin1")).unwrap();
    std::fs::create_dir(stage.source.join("lin2")).unwrap();
    std::fs::write(stage.source.join("lin2/evil"), "x").unwrap();
    let error = refused(&stage, &patch(&open_image(&stage), b"lin2", b"lin1"), "twice");
    assert!(error.contains("not in order"), "{error}");
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
}

#[test]
fn dir_import_a_directory_inside_itself_is_an_error_and_no_endless_walk() {
    let stage = Stage::new();
    std::fs::create_dir_all(stage.source.join("outer-dir/inner-dir")).unwrap();
    let mut image = open_image(&stage);
    let (outer, inner) = (entry_of(&image, b"outer-dir"), entry_of(&image, b"inner-dir"));
    image.copy_within(outer..outer + 2, inner);
    let error = refused(&stage, &image, "loop");
    assert!(error.contains("outer-dir/inner-dir") && error.contains("two places"), "{error}");
}

#[test]
fn dir_import_a_file_of_eight_eib_is_an_error() {
    let stage = Stage::new();
    File::create(stage.source.join("huge")).unwrap().set_len(0x1_2345_6789).unwrap();
    let image = open_image(&stage);
    let patched = patch(&image, &0x1_2345_6789_u64.to_le_bytes(), &(i64::MAX as u64).to_le_bytes());
    let error = refused(&stage, &patched, "huge");
    assert!(error.contains("huge"), "{error}");
}

#[test]
fn dir_import_an_image_that_is_cut_off_or_damaged_anywhere_fails_cleanly() {
    let stage = Stage::new();
    std::fs::create_dir(stage.source.join("dir")).unwrap();
    for n in 0..20 {
        std::fs::write(stage.source.join(format!("dir/{n}")), vec![n; 3000 * usize::from(n)]).unwrap();
    }
    let labelled = stage.source.join("dir/1");
    rustix::fs::setxattr(&labelled, "user.label", b"v", rustix::fs::XattrFlags::empty()).unwrap();
    let image = std::fs::read(stage.image("whole", &["-b", "4K", "-nopad"])).unwrap();
    for length in [0, 1, 95, 96, 200, image.len() / 2, image.len() - 1] {
        let error = refused(&stage, &image[..length], &format!("cut-{length}"));
        assert!(error.contains("too early"), "{length}: {error}");
    }
    let step = (image.len() / 250).max(1);
    for at in (0..image.len()).step_by(step) {
        let mut damaged = image.clone();
        damaged[at] ^= 0x55;
        let (root, result) = try_it(&stage, &damaged, "damaged");
        if let Err(error) = result {
            let error = told(&error);
            assert!(!error.contains("signal") && !error.contains("status"), "byte {at}: {error}");
        }
        std::fs::remove_dir_all(&root).unwrap();
    }
}

#[test]
fn dir_import_a_squashfs_without_room_is_out_of_room() {
    let stage = Stage::new();
    std::fs::write(stage.source.join("big"), vec![1_u8; 4 << 20]).unwrap();
    let (image, root) = (stage.image("image", &[]), stage.path("small"));
    std::fs::create_dir(&root).unwrap();
    run("mount", &["-t", "tmpfs", "-o", "size=1M", "tmpfs", text(&root)]);
    let error = unpack_to(&image, &root).unwrap_err();
    run("umount", &[text(&root)]);
    assert_eq!(error.kind(), ErrorKind::NoRoom);
    assert!(told(&error).contains("\"big\""), "{}", told(&error));
}

//! Who may clone what, what a worker cannot get at, and images that are removed meanwhile.

use std::os::fd::AsFd;

use super::*;
use crate::import::dedup::lender::{Lender, Source};
use crate::import::dedup::wire::Answer;
use crate::sys::reflink::Way;

#[test]
fn dir_dedup_only_images_that_the_importer_may_use_are_cloned_from() {
    let lab = Lab::xfs();
    let import = |name, importer, sharing| {
        let asked = Asked { importer, sharing, ..Asked::default() };
        lab.import_as(&lab.archive(name, 1), &asked).unwrap()
    };
    // What nobody imported by name is root's to clone from, and nobody else's.
    import("made-for-a-template", None, Some(0));
    assert_eq!(import("of-seven", Some(7), Some(7)).saved, 0);
    assert_eq!(import("of-eight", Some(8), Some(8)).saved, 0);
    assert_eq!(import("of-seven-again", Some(7), Some(7)).saved, all());
    assert_eq!(import("of-root", Some(0), Some(0)).saved, all(), "root may use all of them");
    assert_eq!(import("of-nine", Some(9), Some(9)).saved, all(), "what root imported is for all");
    let saved = |name: &str| {
        let images = lab.images().list(0).unwrap().into_iter().filter_map(|image| image.record);
        let mut of_name = images.filter(|record| record.origin.ends_with(&format!("/{name}.tar")));
        of_name.next().unwrap().saved
    };
    assert_eq!((saved("of-seven"), saved("of-nine")), (0, all()));
}

/// A source whose tree one can lay out by hand.
fn lender<'a>(lab: &'a Lab, image: &Digest, reader: u32) -> Lender<'a> {
    let index = std::fs::File::open(lab.layout.image_index(image)).unwrap();
    let source = Source::new(image.clone(), index);
    Lender::new(&lab.store, vec![source], reader, Way::Clone, tempfile::tempfile().unwrap())
}

#[test]
fn dir_dedup_a_worker_gets_nothing_but_regular_files_of_the_image() {
    let lab = Lab::xfs();
    let image = lab.import(&lab.archive("first", 1)).unwrap().digest;
    let secret = lab.root.path().join("var/lib/zchroot/secret");
    std::fs::write(&secret, noise(5000, 9)).unwrap();
    let tree = lab.tree(&image);
    std::os::unix::fs::symlink(&secret, tree.join("usr/absolute")).unwrap();
    std::os::unix::fs::symlink("../../../../../secret", tree.join("usr/relative")).unwrap();
    std::os::unix::fs::symlink("../../../../..", tree.join("usr/out")).unwrap();
    std::os::unix::fs::symlink("share", tree.join("usr/inside")).unwrap();
    run("mkfifo", &[text(&tree.join("usr/fifo"))]);
    run("mknod", &["-m", "0666", text(&tree.join("usr/device")), "c", "1", "7"]);
    let mut lender = lender(&lab, &image, 0);
    let mut ask = |source: u8, path: &str| {
        let to = std::fs::File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(lab.layout.state().join("to"))
            .unwrap();
        let answer = lender.answer(source, path.as_bytes(), to.as_fd());
        (answer, to.metadata().unwrap().len())
    };
    for path in [
        "../../../../secret",
        "../../../secret",
        "/../../../../secret",
        text(&secret),
        "usr/absolute",
        "usr/relative",
        "usr/out/secret",
        "usr/fifo",
        "usr/device",
        "usr/share",
        "",
        "usr/share/4096/x",
        "/proc/self/fd/0",
        &"x/".repeat(2047),
    ] {
        assert_eq!(ask(0, path), (Answer::Nothing, 0), "{path}");
    }
    assert_eq!(ask(1, "usr/share/4096"), (Answer::Nothing, 0), "there is no such source");
    for path in ["usr/share/4096", "usr/inside/4096", "/usr/share/../share/4096"] {
        assert_eq!(ask(0, path), (Answer::Shared, 4096), "{path}");
    }
    let to_nothing = std::fs::File::open("/dev/null").unwrap();
    assert!(matches!(
        lender.answer(0, b"usr/share/4096", to_nothing.as_fd()),
        Answer::Never | Answer::Failed(_)
    ));
}

#[test]
fn dir_dedup_of_an_image_a_user_gets_only_what_he_could_read_in_it() {
    use std::os::unix::fs::PermissionsExt;
    let lab = Lab::xfs();
    let image = lab.import(&lab.archive("first", 1)).unwrap().digest;
    let share = lab.tree(&image).join("usr/share");
    let mode = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(&share.join("4096"), 0o640);
    let ask = |reader: u32| {
        let to = tempfile::tempfile_in(lab.layout.state()).unwrap();
        let mut lender = lender(&lab, &image, reader);
        ["usr/share/4096", "usr/share/10000"].map(|path| lender.answer(0, path.as_bytes(), to.as_fd()))
    };
    assert_eq!(ask(0), [Answer::Shared, Answer::Shared]);
    assert_eq!(ask(1234), [Answer::Nothing, Answer::Shared]);
    mode(&share, 0o700);
    assert_eq!((ask(0), ask(1234)), ([Answer::Shared; 2], [Answer::Nothing; 2]));
}

#[test]
fn dir_dedup_a_removed_source_is_let_go_of() {
    let lab = Lab::xfs();
    let image = lab.import(&lab.archive("first", 1)).unwrap().digest;
    let mut lender = lender(&lab, &image, 0);
    let to = tempfile::tempfile_in(lab.layout.state()).unwrap();
    assert_eq!(lender.answer(0, b"usr/share/4096", to.as_fd()), Answer::Shared);
    assert_eq!(lender.open_sources(), 1);
    lab.images().remove(image.as_str()).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(120));
    crate::import::unpack::Aside::tick(&mut lender);
    assert_eq!(lender.open_sources(), 0);
    assert_eq!(lender.answer(0, b"usr/share/4096", to.as_fd()), Answer::SourceGone);
}

#[test]
fn dir_dedup_an_image_that_something_is_cloned_from_keeps_its_index() {
    let lab = Lab::xfs();
    let image = lab.import(&lab.archive("first", 1)).unwrap().digest;
    let session = "one-20261121-094124-123-abcd".parse().unwrap();
    crate::store::Images::session_from_image(&lab.store, &image, &session).unwrap();
    lab.images().remove(image.as_str()).unwrap_err();
    assert!(lab.layout.image_index(&image).exists());
    crate::store::Store::session_drop(&lab.store, &session).unwrap();
    lab.images().remove(image.as_str()).unwrap();
    assert_eq!(lab.left(), [] as [&str; 0]);
}

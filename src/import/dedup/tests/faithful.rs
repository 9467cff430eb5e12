//! Whatever is cloned, the tree is the archive's.

use super::*;
use crate::import::fixture::{assert_same_tree, fixture};
use crate::sys::effect::{Mode, Plan, run as with_plan};
use crate::sys::worker::Worker;

/// Imports the tree once with and once without cloning and compares the two, bit by bit.
fn same_both_ways(lab: &Lab, archive: &str, saved: impl Fn(u64) -> bool) {
    let never = Asked { importer: Some(0), ..Asked::default() };
    let plain = lab.import_from(archive, &never).unwrap();
    assert_eq!(plain.saved, 0);
    let kept = lab.root.path().join("kept");
    run("cp", &["-a", "--sparse=always", text(&lab.tree(&plain.digest)), text(&kept)]);
    lab.remove(plain);
    let cloned = lab.import_from(archive, &Asked { sharing: Some(0), ..never }).unwrap();
    assert!(saved(cloned.saved), "{} of {}", cloned.saved, cloned.bytes);
    assert_same_tree(&lab.tree(&cloned.digest), &kept);
    lab.remove(cloned);
    run("rm", &["-r", text(&kept)]);
}

#[test]
fn dir_dedup_on_xfs_and_btrfs_shared_files_are_cloned_from_a_tar_a_squashfs_and_a_layer() {
    for kind in ["xfs", "btrfs"] {
        let lab = Lab::on(kind);
        lab.import(&lab.archive("first", 1)).unwrap();
        let tree = lab.source("second", 1);
        fixture(&tree);
        let archive = lab.pack(&tree);
        let some = |saved| saved >= all();
        same_both_ways(&lab, text(&archive), some);
        for (number, packer) in ["gzip", "zstd"].iter().enumerate() {
            let image = lab.root.path().join(format!("{packer}.sqsh"));
            let block = ["128K", "16K"][number];
            run("mksquashfs", &[text(&tree), text(&image), "-quiet", "-comp", packer, "-b", block]);
            same_both_ways(&lab, text(&image), some);
        }
        let layout = lab.root.path().join("layout");
        crate::import::fixture::oci_layout_of(&layout, &std::fs::read(&archive).unwrap());
        same_both_ways(&lab, &format!("oci:{}", text(&layout)), some);
    }
}

#[test]
fn dir_dedup_what_no_other_image_has_is_written_and_what_one_has_twice_is_cloned_twice() {
    let lab = Lab::xfs();
    lab.import(&lab.archive("first", 1)).unwrap();
    let other = lab.import(&lab.archive("other", 2)).unwrap();
    assert_eq!((other.saved, other.bytes > all()), (0, true));
    let tree = lab.source("both", 1);
    for size in SIZES {
        std::fs::write(tree.join(format!("usr/again-{size}")), noise(size, 2)).unwrap();
        std::fs::write(tree.join(format!("usr/more-{size}")), noise(size, 2)).unwrap();
        std::fs::write(tree.join(format!("usr/new-{size}")), noise(size, 3)).unwrap();
    }
    let both = lab.import(&lab.pack(&tree)).unwrap();
    assert_eq!(both.saved, 3 * all());
    for size in SIZES {
        for (name, seed) in [("share/", 1), ("again-", 2), ("more-", 2), ("new-", 3)] {
            let path = lab.tree(&both.digest).join(format!("usr/{name}{size}"));
            assert!(std::fs::read(path).unwrap() == noise(size, seed), "{name}{size}");
        }
    }
}

#[test]
fn dir_dedup_a_source_that_was_changed_since_is_rejected_by_the_comparison_and_the_content_is_right() {
    let lab = Lab::xfs();
    let first = lab.import(&lab.archive("first", 1)).unwrap();
    // In the first byte, where the digest has it, behind what is digested, and in the last byte.
    let changed = [(4096, 0), (65_536, 65_535), (65_537, 65_536), (300_000, 100_000), (3_000_000, 2_999_999)];
    for (size, offset) in changed {
        change(&lab.tree(&first.digest).join(format!("usr/share/{size}")), offset);
    }
    let second = lab.import(&lab.archive("second", 1)).unwrap();
    assert_eq!(second.saved, 10_000);
    for size in SIZES {
        let path = lab.tree(&second.digest).join(format!("usr/share/{size}"));
        assert!(std::fs::read(path).unwrap() == noise(size, 1), "{size}");
    }
}

#[test]
fn dir_dedup_a_source_that_became_shorter_longer_something_else_or_went_is_not_used() {
    let lab = Lab::xfs();
    let first = lab.import(&lab.archive("first", 1)).unwrap();
    let share = lab.tree(&first.digest).join("usr/share");
    let resize = |name: &str, size| {
        std::fs::File::options().write(true).open(share.join(name)).unwrap().set_len(size).unwrap();
    };
    resize("4096", 4095);
    resize("10000", 10_001);
    resize("65536", 0);
    for name in ["65537", "300000", "3000000"] {
        std::fs::remove_file(share.join(name)).unwrap();
    }
    std::fs::create_dir(share.join("65537")).unwrap();
    std::os::unix::fs::symlink("1", share.join("300000")).unwrap();
    let second = lab.import(&lab.archive("second", 1)).unwrap();
    assert_eq!(second.saved, 0);
    for size in SIZES {
        let path = lab.tree(&second.digest).join(format!("usr/share/{size}"));
        assert!(std::fs::read(path).unwrap() == noise(size, 1), "{size}");
    }
}

#[test]
fn dir_dedup_on_ext4_nothing_is_tried_and_no_index_is_kept() {
    let lab = Lab::on("ext4");
    let (first, second) = (lab.archive("first", 1), lab.archive("second", 1));
    lab.import(&first).unwrap();
    let count = |sharing| {
        let asked = Asked { importer: Some(0), sharing, ..Asked::default() };
        let (ready, seen) = with_plan(Plan { at: 0, mode: Mode::Crash }, || lab.import_as(&second, &asked));
        let ready = ready.unwrap().unwrap();
        assert_eq!(ready.saved, 0);
        assert!(lab.left().iter().all(|name| !name.ends_with(".files")), "{:?}", lab.left());
        lab.remove(ready);
        seen
    };
    let (without, mut with) = (count(None), count(Some(0)));
    let probe = with.iter().position(|name| *name == "make temp file").unwrap();
    with.remove(probe);
    assert_eq!(with, without);
}

#[test]
fn dir_dedup_many_files_need_few_descriptors() {
    let lab = Lab::xfs();
    let tree = lab.root.path().join("many");
    for number in 0..5000_u64 {
        let folder = tree.join(format!("usr/{}", number % 50));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(number.to_string()), noise(5000, number)).unwrap();
    }
    let first = lab.import(&lab.pack(&tree)).unwrap();
    std::fs::write(tree.join("usr/one-more"), "x").unwrap();
    let archive = lab.pack(&tree);
    // The limit is the whole process's, so it is set in one of our own.
    let worker = Worker::fork(&[], || {
        let limit = rustix::process::Rlimit { current: Some(48), maximum: Some(48) };
        rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
        u8::from(!lab.import(&archive).is_ok_and(|ready| ready.saved == 5000 * 5000))
    });
    assert_eq!(worker.unwrap().wait().unwrap().exit_status(), Some(0));
    drop(first);
    assert_eq!(lab.images().list(0).unwrap().len(), 2);
}

/// More than is held at once, small and large in turns; every third one is not what it was.
#[test]
fn dir_dedup_of_many_files_each_that_was_changed_is_found_and_the_others_are_shared() {
    for kind in ["xfs", "btrfs"] {
        let lab = Lab::on(kind);
        let size = |number: u64| [5000, 90_000, 300_000, 4096, 1_200_000, 16_385][number as usize % 6];
        let tree = lab.root.path().join("many");
        std::fs::create_dir_all(tree.join("usr")).unwrap();
        for number in 0..240 {
            std::fs::write(tree.join(format!("usr/{number}")), noise(size(number), number)).unwrap();
        }
        let first = lab.import(&lab.pack(&tree)).unwrap();
        std::fs::write(tree.join("usr/one-more"), "x").unwrap();
        let archive = lab.pack(&tree);
        let mut shared = 0;
        for number in 0..240 {
            let offset = [0, size(number) as u64 / 2, size(number) as u64 - 1][number as usize / 3 % 3];
            match number % 3 {
                0 => change(&lab.tree(&first.digest).join(format!("usr/{number}")), offset),
                _ => shared += size(number) as u64,
            }
        }
        let second = lab.import(&archive).unwrap();
        assert_eq!(second.saved, shared, "{kind}");
        for number in 0..240 {
            let path = lab.tree(&second.digest).join(format!("usr/{number}"));
            assert!(std::fs::read(path).unwrap() == noise(size(number), number), "{kind} {number}");
        }
    }
}

/// A member that comes again, a link to one that is held, and one in whose place something else comes.
#[test]
fn dir_dedup_what_is_held_may_be_linked_to_and_replaced() {
    use std::os::unix::fs::MetadataExt;
    let lab = Lab::xfs();
    lab.import(&lab.archive("first", 1)).unwrap();
    let tree = lab.source("second", 1);
    std::fs::hard_link(tree.join("usr/share/65536"), tree.join("usr/share/linked")).unwrap();
    let archive = lab.pack(&tree);
    std::fs::write(tree.join("usr/share/65537"), noise(20_000, 3)).unwrap();
    std::fs::remove_file(tree.join("usr/share/4096")).unwrap();
    std::os::unix::fs::symlink("1", tree.join("usr/share/4096")).unwrap();
    let more = ["./usr/share", "./usr/share/65537", "./usr/share/4096", "./usr/share/10000"];
    run("tar", &[&["-C", text(&tree), "--no-recursion", "-rf", text(&archive)], &more[..]].concat());
    let second = lab.import(&archive).unwrap();
    assert_same_tree(&lab.tree(&second.digest), &tree);
    let links = std::fs::metadata(lab.tree(&second.digest).join("usr/share/linked")).unwrap().nlink();
    assert_eq!(links, 2);
}

/// Files that others of the same user sent and nobody took count for the limit of those that may be sent.
#[test]
fn dir_dedup_a_file_that_cannot_be_sent_is_written() {
    let lab = Lab::xfs();
    lab.import(&lab.archive("first", 1)).unwrap();
    let archive = lab.archive("second", 1);
    let (one, _other) = std::os::unix::net::UnixDatagram::pair().unwrap();
    for _ in 0..9 {
        send_many(&one);
    }
    let worker = Worker::fork(&[], || {
        let limit = rustix::process::Rlimit { current: Some(256), maximum: Some(256) };
        rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
        u8::from(!lab.import(&archive).is_ok_and(|ready| ready.saved == 0))
    });
    assert_eq!(worker.unwrap().wait().unwrap().exit_status(), Some(0));
    let digest = lab.images().list(0).unwrap().into_iter().map(|image| image.tree.digest);
    for digest in digest {
        for size in SIZES {
            let path = lab.tree(&digest).join(format!("usr/share/{size}"));
            assert!(std::fs::read(path).unwrap() == noise(size, 1), "{size}");
        }
    }
}

/// Sends a hundred descriptors that stay under way.
fn send_many(socket: &std::os::unix::net::UnixDatagram) {
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
    use std::os::fd::AsFd as _;
    let file = tempfile::tempfile().unwrap();
    let files = [file.as_fd(); 100];
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(100))];
    let mut along = SendAncillaryBuffer::new(&mut space);
    assert!(along.push(SendAncillaryMessage::ScmRights(&files)));
    rustix::net::sendmsg(socket, &[std::io::IoSlice::new(b"x")], &mut along, SendFlags::empty()).unwrap();
}

//! Files that another image has already are cloned: on XFS, on btrfs and on a pool, measured by what the file system
//! says is used, and while the other image is removed.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "tests work on the host as it is and say what they measured"
)]

#[path = "../cli_archives/debian.rs"]
#[allow(dead_code, reason = "a part of it is used")]
mod debian;
#[path = "../harness/mod.rs"]
mod harness;
mod lab;
#[cfg(feature = "zfs")]
#[path = "../zfs_pool/mod.rs"]
mod zfs_pool;

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lab::{Disk, Lab, MIB};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A test for each place.
macro_rules! everywhere {
    ($($xfs:ident $btrfs:ident $zfs:ident $body:path;)*) => {$(
        #[test]
        fn $xfs() {
            $body(&Disk::make("xfs"));
        }

        #[test]
        fn $btrfs() {
            $body(&Disk::make("btrfs"));
        }

        #[test]
        #[cfg(feature = "zfs")]
        fn $zfs() {
            $body(&lab::OnPool::make());
        }
    )*};
}

everywhere! {
    dir_dedup_xfs_a_second_image_takes_a_fifth_of_the_room dir_dedup_btrfs_a_second_image_takes_a_fifth_of_the_room
        zfs_dedup_a_second_image_takes_a_fifth_of_the_room room;
    dir_dedup_xfs_a_source_is_removed_while_it_is_cloned_from dir_dedup_btrfs_a_source_is_removed_while_it_is_cloned_from
        zfs_dedup_a_source_is_removed_while_it_is_cloned_from removed_meanwhile;
    dir_dedup_xfs_an_import_that_is_killed_leaves_nothing dir_dedup_btrfs_an_import_that_is_killed_leaves_nothing
        zfs_dedup_an_import_that_is_killed_leaves_nothing killed;
}

/// Files of every image; their content is the same in all of them.
const FILES: u64 = 72;

fn size(number: u64) -> u64 {
    [4096, 9000, 40_000, 131_072, 200_000, 700_001][usize::try_from(number % 6).unwrap()]
}

fn shared_bytes() -> u64 {
    (0..FILES).map(size).sum()
}

fn noise(size: u64, seed: u64) -> Vec<u8> {
    let mut state = (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(next).flatten().take(usize::try_from(size).unwrap()).collect()
}

/// An archive of a root file system with the shared files and one of its own.
fn archive(lab: &dyn Lab, name: &str) -> PathBuf {
    let tree = lab.host().path().join("tree");
    if !tree.exists() {
        harness::tree::make(&tree);
        for number in 0..FILES {
            let folder = tree.join(format!("usr/share/{}", number % 7));
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join(number.to_string()), noise(size(number), number)).unwrap();
        }
    }
    std::fs::write(tree.join("srv/own"), [name.as_bytes(), &noise(300_000, 9999)].concat()).unwrap();
    let archive = lab.host().path().join(format!("{name}.tar"));
    harness::tree::pack(&tree, &archive);
    archive
}

fn import(lab: &dyn Lab, archive: &Path) -> (String, u64) {
    let done = lab.host().zchroot(["image", "import", "--json", archive.to_str().unwrap()]).ok();
    let json = done.json();
    assert_eq!(json["image"]["fresh"], true, "{json}");
    (json["image"]["digest"].as_str().unwrap().to_owned(), json["image"]["saved"].as_u64().unwrap())
}

fn remove(lab: &dyn Lab, digest: &str) {
    lab.host().zchroot(["-q", "image", "remove", digest]).ok();
}

/// Runs a program of the host; it must succeed.
#[track_caller]
fn run(program: &str, words: &[&str]) {
    let output = std::process::Command::new(program).args(words).env("LC_ALL", "C.UTF-8").output().unwrap();
    assert!(output.status.success(), "{program} {words:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Two real ones: a Debian tree as mmdebstrap packs it, and a container image of what became of it later.
#[test]
fn dir_dedup_xfs_a_second_debian_image_takes_a_fifth_of_the_room() {
    let lab = Disk::make("xfs");
    let empty = lab.used();
    let (_, saved) = import(&lab, &debian::archive());
    assert_eq!(saved, 0);
    let after_one = lab.used();
    let (second, saved) = import(&lab, Path::new(&format!("oci:{}:latest", text(&debian::layout()))));
    // A hole in the tree, and 64 MiB of zeros in a container image, which has no holes.
    let zeros = format!("/var/lib/zchroot/store/images/{second}/srv/extras/sparse");
    let zeros = 512 * std::fs::metadata(lab.host().at(&zeros)).unwrap().blocks();
    let (took_one, took_two) = (after_one - empty, lab.used() - after_one - zeros);
    println!("the first took {took_one} bytes, the second {took_two}, {saved} were shared");
    assert!(took_one > 50 * MIB && took_two < took_one / 5, "{took_one} {took_two}");
}

/// The content of every file of an image is what was packed.
#[track_caller]
fn assert_right(lab: &dyn Lab, digest: &str) {
    let sum = |with: &str| format!("cat $(find usr/share -type f | sort) srv/own | {with}");
    let inside = sum("busybox sha256sum");
    let seen = lab
        .host()
        .zchroot(["-q", "run", "--image", digest, "-d", "/", "--", "sh", "-c", &inside])
        .ok()
        .text();
    let tree = lab.host().path().join("tree");
    let packed = harness::Order::new("/bin/sh").words(["-c", &sum("sha256sum")]).current_dir(tree);
    let packed = packed.env("LC_ALL", "C").run().ok();
    assert_eq!(seen, packed.text());
}

/// What is kept of images, sorted.
fn kept(lab: &dyn Lab) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(lab.host().at("/var/lib/zchroot/images"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn room(lab: &dyn Lab) {
    let (one, two, three) = (archive(lab, "one"), archive(lab, "two"), archive(lab, "three"));
    let empty = lab.used();
    let (first, saved) = import(lab, &one);
    assert_eq!(saved, 0);
    let after_one = lab.used();
    let done = lab.host().zchroot(["image", "import", two.to_str().unwrap()]).ok();
    let second = done.text();
    done.says("shared with other images");
    let after_two = lab.used();
    let (took_one, took_two) = (after_one - empty, after_two.saturating_sub(after_one));
    println!("the first took {took_one} bytes, the second {took_two}");
    assert!(took_one > shared_bytes() && took_two < took_one / 5, "{took_one} {took_two}");
    let list = lab.host().zchroot(["image", "list", "--json"]).ok().json();
    let saved = |digest: &str| {
        let mut images = list["images"].as_array().unwrap().iter();
        images.find(|image| image["digest"] == digest).unwrap()["saved"].as_u64().unwrap()
    };
    assert_eq!(saved(&first), 0);
    assert!(saved(&second) >= shared_bytes(), "{list}");
    // What is shared stays when the one that had it first goes.
    remove(lab, &first);
    archive(lab, "two");
    assert_right(lab, &second);
    assert_eq!(kept(lab), [format!("{second}.files"), format!("{second}.toml")]);

    // Not when it is not wanted.
    let config = lab.host().read("/etc/zchroot/zchroot.toml");
    lab.host().configure(&format!("{config}[images]\ndedup = false\n"));
    let before = lab.used();
    let (third, saved) = import(lab, &three);
    assert_eq!(saved, 0);
    assert!(lab.used() - before > shared_bytes());
    remove(lab, &second);
    assert_eq!(kept(lab), [format!("{third}.toml")]);
    remove(lab, &third);
    lab.host().assert_nothing_left();
}

/// How a source goes in a round.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Moment {
    /// When so many files are in the draft: the worker stands meanwhile.
    AfterFiles(usize),
    /// So long after the import began, in which nothing stands.
    After(Duration),
}

fn removed_meanwhile(lab: &dyn Lab) {
    const ROUNDS: u32 = 10;
    let one = archive(lab, "one");
    let other = archive(lab, "other");
    let (first, _) = import(lab, &one);
    let start = Instant::now();
    let (second, saved) = import(lab, &other);
    let took = start.elapsed();
    assert!(saved >= shared_bytes());
    remove(lab, &first);
    remove(lab, &second);
    let (mut none, mut some, mut all) = (0, 0, 0);
    let (mut bytes, mut longest) = (0, Duration::ZERO);
    let timed = (0..ROUNDS).map(|round| Moment::After(took * round / ROUNDS));
    // What was asked for is cloned, though the worker stands: that is some twenty files more.
    let counted = (1..=ROUNDS).map(|round| Moment::AfterFiles(usize::try_from(round * 3).unwrap()));
    for moment in timed.chain(counted) {
        let (source, _) = import(lab, &one);
        let running = lab.host().order(["image", "import", "--json", other.to_str().unwrap()]).start();
        let stopped = match moment {
            Moment::After(time) => {
                std::thread::sleep(time);
                None
            }
            Moment::AfterFiles(count) => Some(stop_after(lab, &running, &second, count)),
        };
        let start = Instant::now();
        remove(lab, &source);
        longest = longest.max(start.elapsed());
        if let Some(worker) = stopped {
            kill(worker, Signal::SIGCONT).unwrap();
        }
        let json = running.finish().ok().json();
        let saved = json["image"]["saved"].as_u64().unwrap();
        match saved {
            0 => none += 1,
            saved if saved < shared_bytes() => some += 1,
            _ => all += 1,
        }
        bytes += saved;
        if let Moment::AfterFiles(count) = moment {
            assert!(saved > 0 && saved < shared_bytes(), "{saved} of {} after {count} files", shared_bytes());
        }
        assert_eq!(json["image"]["digest"], second.as_str());
        assert_right(lab, &second);
        remove(lab, &second);
        assert_eq!(kept(lab), [] as [&str; 0]);
    }
    println!(
        "{} rounds, each tree right: cloned nothing in {none}, a part in {some}, all in {all}, {bytes} bytes in all; a \
         removal took {longest:?} at most",
        2 * ROUNDS
    );
    assert!(some >= ROUNDS, "{none} {some} {all}");
    lab.host().assert_nothing_left();
}

/// Lets the worker of an import go on in small steps until there are so many files in the draft, and then no further.
fn stop_after(lab: &dyn Lab, running: &harness::program::Running, digest: &str, count: usize) -> Pid {
    let draft = lab.host().at(&format!("/run/zchroot/mount/.image-{digest}/usr/share"));
    let files = || {
        let folders = std::fs::read_dir(&draft).into_iter().flatten().flatten();
        folders.flat_map(|folder| std::fs::read_dir(folder.path()).into_iter().flatten()).count()
    };
    let deadline = Instant::now() + Duration::from_secs(30);
    let worker = loop {
        if let Some(worker) = child_of(running.pid()) {
            break worker;
        }
        assert!(Instant::now() < deadline, "no worker came");
    };
    loop {
        kill(worker, Signal::SIGSTOP).unwrap();
        if files() >= count {
            return worker;
        }
        assert!(Instant::now() < deadline, "{} files", files());
        kill(worker, Signal::SIGCONT).unwrap();
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// The child of a process, if it has one.
fn child_of(parent: u32) -> Option<Pid> {
    let is_child = |pid: &i32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let rest = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
        rest.split(' ').nth(1) == Some(parent.to_string().as_str())
    };
    let all = std::fs::read_dir("/proc").unwrap();
    let mut pids = all.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    pids.find(is_child).map(Pid::from_raw)
}

fn killed(lab: &dyn Lab) {
    const ROUNDS: u32 = 5;
    let (one, other) = (archive(lab, "one"), archive(lab, "other"));
    let (first, _) = import(lab, &one);
    let start = Instant::now();
    let (second, _) = import(lab, &other);
    let took = start.elapsed();
    remove(lab, &second);
    for round in 1..=ROUNDS {
        let running = lab.host().order(["image", "import", other.to_str().unwrap()]).start();
        std::thread::sleep(took * round / (ROUNDS + 1));
        running.kill();
        lab.host().zchroot(["recover"]).ok();
        lab.host().zchroot(["gc"]).ok();
        // It may have been done already, in all but the report.
        if lab.host().zchroot(["image", "list", "--json"]).ok().json()["images"].as_array().unwrap().len() > 1
        {
            remove(lab, &second);
        }
        assert_eq!(kept(lab), [format!("{first}.files"), format!("{first}.toml")], "{round}");
        lab.assert_no_drafts();
        lab.host().assert_nothing_left();
    }
    let (again, saved) = import(lab, &other);
    assert!(again == second && saved >= shared_bytes());
    assert_right(lab, &again);
}

#[test]
fn dir_dedup_ext4_nothing_is_shared_and_nothing_is_kept_for_it() {
    let lab = Disk::make("ext4");
    let (one, two) = (archive(&lab, "one"), archive(&lab, "two"));
    let (first, _) = import(&lab, &one);
    let (second, saved) = import(&lab, &two);
    assert_eq!((saved, kept(&lab).iter().any(|name| name.ends_with(".files"))), (0, false));
    assert_right(&lab, &second);
    assert!(lab.used() > 2 * MIB);
    remove(&lab, &first);
    remove(&lab, &second);
}

/// What was cloned cannot be read, for its blocks are damaged: btrfs has checksums. A file that is held whole, and one that is
/// compared as it comes.
#[test]
fn dir_dedup_btrfs_an_image_that_is_damaged_is_named_and_its_files_are_unpacked() {
    use std::os::unix::fs::FileExt;
    let lab = Disk::make("btrfs");
    let tree = lab.host().path().join("tree");
    harness::tree::make(&tree);
    std::fs::create_dir_all(tree.join("usr/share")).unwrap();
    let sizes = [200_000, 3_000_000, 300_000];
    for (seed, size) in sizes.into_iter().enumerate() {
        std::fs::write(tree.join(format!("usr/share/{seed}")), noise(size, seed as u64)).unwrap();
    }
    let (one, two) = (archive(&lab, "one"), archive(&lab, "two"));
    let (first, _) = import(&lab, &one);
    lab.used();
    let (whole, large) = (noise(200_000, 0), noise(3_000_000, 1));
    let disk = std::fs::File::options().read(true).write(true).open(lab.host().path().join("disk")).unwrap();
    for block in [&whole[100 * 1024 - 2048..][..4096], &large[2_097_152..][..4096]] {
        let mut found = 0;
        let mut mib = vec![0; usize::try_from(MIB).unwrap()];
        for at in (0..512 * MIB).step_by(mib.len()) {
            disk.read_exact_at(&mut mib, at).unwrap();
            for offset in
                (0..mib.len()).step_by(512).filter(|offset| mib[*offset..].starts_with(&block[..512]))
            {
                disk.write_all_at(b"damaged", at + offset as u64).unwrap();
                found += 1;
            }
        }
        assert_eq!(found, 1);
    }
    let done = lab.host().zchroot(["image", "import", two.to_str().unwrap()]).ok();
    let done = done.says(&format!("image {} is damaged", &first[..12]));
    assert_eq!(done.stderr.matches("is damaged").count(), 1);
    let second = done.text();
    archive(&lab, "two");
    assert_right(&lab, &second);
    let list = lab.host().zchroot(["image", "list", "--json"]).ok().json();
    let mut images = list["images"].as_array().unwrap().iter();
    let saved = images.find(|image| image["digest"] == second.as_str()).unwrap()["saved"].as_u64().unwrap();
    assert!((300_000..3_000_000).contains(&saved), "{saved}");
}

/// Two encrypted datasets have no key in common: copy_file_range copies and does not say so. That is seen, and is
/// nothing saved.
#[test]
#[cfg(feature = "zfs")]
fn zfs_dedup_between_encrypted_images_nothing_is_saved_and_all_is_right() {
    let lab = lab::OnPool::encrypted();
    let (one, two) = (archive(&lab, "one"), archive(&lab, "two"));
    let (first, _) = import(&lab, &one);
    let before = lab.used();
    let (second, saved) = import(&lab, &two);
    assert_eq!(saved, 0);
    assert!(lab.used() - before > shared_bytes());
    assert_right(&lab, &second);
    remove(&lab, &second);
    remove(&lab, &first);
}

/// A pool that knows no cloning is not asked for it.
#[test]
#[cfg(feature = "zfs")]
fn zfs_dedup_where_the_pool_shares_no_blocks_nothing_is_tried_and_nothing_is_kept_for_it() {
    let lab = lab::OnPool::that_shares_nothing();
    let (one, two) = (archive(&lab, "one"), archive(&lab, "two"));
    let (first, _) = import(&lab, &one);
    let (second, saved) = import(&lab, &two);
    assert_eq!((saved, kept(&lab).iter().any(|name| name.ends_with(".files"))), (0, false));
    assert_right(&lab, &second);
    remove(&lab, &first);
    remove(&lab, &second);
}

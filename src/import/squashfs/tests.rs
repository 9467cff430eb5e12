//! Images by mksquashfs must unpack as unsquashfs unpacks them; images that were tampered with must do no harm.

#![expect(clippy::disallowed_methods, reason = "fixtures are made with the tools and paths that users have")]

mod hostile;

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;

use super::*;
use crate::import::fixture::{assert_same_tree, fixture, run, text, told};
use crate::store::Silent;
use crate::sys::worker::Worker;

/// Unpacks an image into a directory, which is made.
fn unpack_to(image: &Path, root: &Path) -> Result<Filled> {
    std::fs::create_dir_all(root).unwrap();
    let file = File::open(image).unwrap();
    let size = file.metadata().unwrap().len();
    fill(&file, size, "the image", root, None, &mut Silent)
}

struct Stage {
    dir: tempfile::TempDir,
    source: PathBuf,
}

impl Stage {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("source");
        std::fs::create_dir(&source).unwrap();
        Self { dir, source }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn image(&self, name: &str, options: &[&str]) -> PathBuf {
        let image = self.path(name);
        let fixed = [text(&self.source), text(&image), "-noappend", "-quiet", "-no-progress"];
        run("mksquashfs", &[&fixed[..], options].concat());
        image
    }

    /// Compares what is ours with what unsquashfs makes of the image.
    fn compare(&self, image: &Path, ours: &Path) {
        let theirs = self.path(&format!("{}.theirs", ours.display().to_string().replace('/', "-")));
        run("unsquashfs", &["-quiet", "-no-progress", "-dest", text(&theirs), text(image)]);
        assert_same_tree(ours, &theirs);
    }
}

#[test]
fn dir_import_every_packing_of_squashfs_unpacks_as_unsquashfs_does() {
    let stage = Stage::new();
    fixture(&stage.source);
    // squashfs has whole seconds from 1970 on.
    std::os::unix::net::UnixListener::bind(stage.source.join("socket")).unwrap();
    let sets: [(&str, &[&str]); 10] = [
        ("gzip", &[]),
        ("lzo", &["-comp", "lzo"]),
        ("xz", &["-comp", "xz", "-Xbcj", "x86"]),
        ("lz4", &["-comp", "lz4"]),
        ("zstd", &["-comp", "zstd"]),
        ("stored", &["-noI", "-noD", "-noF", "-noX"]),
        ("small blocks", &["-b", "4K"]),
        ("large blocks", &["-b", "1M", "-comp", "zstd"]),
        ("no fragments", &["-no-fragments"]),
        ("no export table", &["-no-exports", "-no-duplicates", "-always-use-fragments"]),
    ];
    for (name, options) in sets {
        let image = stage.image(name, options);
        let ours = stage.path(&format!("{name}.ours"));
        let filled = unpack_to(&image, &ours).unwrap_or_else(|error| panic!("{name}: {}", told(&error)));
        stage.compare(&image, &ours);
        assert_eq!(filled.notes, Vec::<String>::new(), "{name}");
        let blocks = |file: &str| std::fs::metadata(ours.join(file)).unwrap().blocks();
        // A hole is as large as a block, or it is none.
        assert!(name == "large blocks" || blocks("sparse") < 2 * 30 * 260, "{name}: holes stay holes");
        assert_eq!(blocks("hole"), 0, "{name}");
    }
}

#[test]
fn dir_import_squashfs_keeps_large_directories_and_shares_contents_that_are_equal() {
    let stage = Stage::new();
    let many = stage.source.join("many");
    std::fs::create_dir(&many).unwrap();
    for n in 0..3000 {
        std::fs::write(many.join(format!("a-rather-long-name-of-a-file-{n}")), format!("{}", n % 7)).unwrap();
    }
    let block: Vec<u8> = (0..400_000_u32).flat_map(u32::to_le_bytes).collect();
    for name in ["one", "two"] {
        std::fs::write(stage.source.join(name), &block).unwrap();
    }
    let image = stage.image("image", &[]);
    let root = stage.path("root");
    assert_eq!(unpack_to(&image, &root).unwrap().files, 3004);
    stage.compare(&image, &root);
}

#[test]
fn dir_import_an_image_of_twenty_thousand_files_needs_few_fds() {
    let stage = Stage::new();
    for folder in 0..20 {
        let folder = stage.source.join(format!("{folder}"));
        std::fs::create_dir(&folder).unwrap();
        for file in 0..1000 {
            std::fs::write(folder.join(format!("{file}")), "x").unwrap();
        }
    }
    let (image, root) = (stage.image("image", &[]), stage.path("root"));
    let worker = Worker::fork(&[], || {
        let limit = rustix::process::Rlimit { current: Some(32), maximum: Some(32) };
        rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
        u8::from(!unpack_to(&image, &root).is_ok_and(|filled| filled.files == 20_021))
    });
    assert_eq!(worker.unwrap().wait().unwrap().exit_status(), Some(0));
    assert_eq!(std::fs::read(root.join("19/999")).unwrap(), b"x");
}

#[test]
fn dir_import_an_image_whose_root_is_closed_unpacks_and_ends_closed() {
    let stage = Stage::new();
    std::fs::create_dir(stage.source.join("inner")).unwrap();
    std::fs::write(stage.source.join("inner/file"), "x").unwrap();
    for closed in ["inner", ""] {
        let path = stage.source.join(closed);
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o500)).unwrap();
    }
    let root = stage.path("root");
    let image = stage.image("image", &[]);
    unpack_to(&image, &root).unwrap();
    assert_eq!(std::fs::metadata(&root).unwrap().mode() & 0o7777, 0o500);
    stage.compare(&image, &root);
}

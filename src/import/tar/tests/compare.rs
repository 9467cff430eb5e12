//! Archives of GNU tar, entry by entry against GNU tar.

use std::io::Write;
use std::os::unix::fs::symlink;

use super::*;

struct Trees {
    dir: tempfile::TempDir,
    source: PathBuf,
}

impl Trees {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("source");
        std::fs::create_dir(&source).unwrap();
        fixture(&source);
        Self { dir, source }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn archive(&self, name: &str, options: &[&str]) -> PathBuf {
        let archive = self.path(name);
        let fixed = ["-C", text(&self.source), "-cf", text(&archive), "--numeric-owner"];
        run("tar", &[&fixed[..], options, &["."]].concat());
        archive
    }

    /// Unpacks with ours and with GNU tar and compares.
    fn compare(&self, archive: &Path, name: &str) -> Filled {
        let (ours, theirs) = (self.path(&format!("{name}.ours")), self.path(&format!("{name}.theirs")));
        std::fs::create_dir(&ours).unwrap();
        std::fs::create_dir(&theirs).unwrap();
        let filled = unpack(archive, &ours).unwrap_or_else(|error| panic!("{name}: {}", told(&error)));
        let options = ["--numeric-owner", "--xattrs", "--xattrs-include=*", "-p", "--same-owner"];
        run("tar", &[&["-C", text(&theirs), "-xf", text(archive)], &options[..]].concat());
        assert_same_tree(&ours, &theirs);
        filled
    }
}

const PAX: [&str; 3] = ["--format=posix", "--xattrs", "--xattrs-include=*"];

#[test]
fn dir_import_every_compression_and_format_unpacks_as_gnu_tar_does() {
    let trees = Trees::new();
    let sets: [(&str, &[&str]); 10] = [
        ("posix", &[]),
        ("gz", &["-z"]),
        ("bz2", &["-j"]),
        ("xz", &["-J"]),
        ("zst", &["--zstd"]),
        ("sparse-1.0", &["--sparse"]),
        ("sparse-0.1", &["--sparse", "--sparse-version=0.1"]),
        ("sparse-0.0", &["--sparse", "--sparse-version=0.0"]),
        ("gnu", &["--format=gnu", "--no-xattrs"]),
        ("gnu-sparse", &["--format=gnu", "--no-xattrs", "--sparse"]),
    ];
    for (name, options) in sets {
        // A suffix that says nothing: the bytes decide.
        let archive = trees.archive(&format!("{name}.archive"), &[&PAX[..], options].concat());
        let filled = trees.compare(&archive, name);
        assert_eq!(filled.notes, Vec::<String>::new(), "{name}");
        if name == "posix" {
            assert_same_tree(&trees.path("posix.ours"), &trees.source);
            let everything = describe_tree(&trees.source).len() as u64;
            assert_eq!(filled.files, everything);
        }
    }
    let blocks = |name: &str| std::fs::metadata(trees.path(name)).unwrap().blocks();
    for name in ["sparse-1.0", "sparse-0.1", "sparse-0.0", "gnu-sparse"] {
        assert!(blocks(&format!("{name}.ours/sparse")) < 2 * 30 * 8, "{name}: holes stay holes");
        assert_eq!(blocks(&format!("{name}.ours/hole")), 0);
    }
}

#[test]
fn dir_import_the_oldest_formats_unpack_too() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    std::fs::create_dir_all(source.join("usr/bin")).unwrap();
    std::fs::write(source.join("usr/bin/a"), "a").unwrap();
    symlink("a", source.join("usr/bin/b")).unwrap();
    let trees = Trees { dir, source };
    for format in ["v7", "ustar", "oldgnu"] {
        let archive = trees.archive(format, &[&format!("--format={format}")]);
        trees.compare(&archive, format);
    }
}

#[test]
fn dir_import_names_with_a_dot_or_a_slash_in_front_are_relative_to_the_tree() {
    let dir = tempfile::tempdir().unwrap();
    let mut builder = ::tar::Builder::new(Vec::new());
    for name in ["./a", "/b", "//c//d", "./././e", "./old-directory/"] {
        let mut header = ::tar::Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_mode(0o644);
        header.set_size(1);
        header.set_cksum();
        builder.append(&header, &b"x"[..]).unwrap();
    }
    let (root, result) = unpack_bytes(&builder.into_inner().unwrap(), dir.path());
    assert_eq!(result.unwrap().files, 5);
    assert!(root.join("old-directory").is_dir());
    for name in ["a", "b", "c/d", "e"] {
        assert_eq!(std::fs::read(root.join(name)).unwrap(), b"x", "{name}");
    }
}

#[test]
fn dir_import_streams_one_after_the_other_are_one_archive() {
    let trees = Trees::new();
    let plain = std::fs::read(trees.archive("plain", &PAX)).unwrap();
    for (program, tail) in
        [("gzip", &[0_u8; 700][..]), ("bzip2", &[0; 700]), ("xz", &[0; 700 & !3]), ("zstd", &[])]
    {
        let archive = trees.path(&format!("{program}.multi"));
        let mut joined = File::create(&archive).unwrap();
        for part in plain.chunks(plain.len() / 3 + 1) {
            let piece = trees.path("piece");
            std::fs::write(&piece, part).unwrap();
            let output = Command::new(program).arg("-c").arg(&piece).output().unwrap();
            joined.write_all(&output.stdout).unwrap();
        }
        joined.write_all(tail).unwrap();
        let root = trees.path(&format!("{program}.ours"));
        std::fs::create_dir(&root).unwrap();
        unpack(&archive, &root).unwrap_or_else(|error| panic!("{program}: {}", told(&error)));
        assert_same_tree(&root, &trees.source);
    }
}

#[test]
fn dir_import_what_belongs_to_another_host_is_left_out_and_said() {
    let trees = Trees::new();
    let archive = trees.path("archive");
    let fixed = ["-C", text(&trees.source), "-cf", text(&archive), "--format=posix", "--acls"];
    // tar writes the name that the number has on this host.
    run("setfacl", &["-m", "u:daemon:r", text(&trees.source.join("labelled"))]);
    let selinux =
        "--pax-option=SCHILY.xattr.security.selinux:=system_u,SCHILY.xattr.trusted.overlay.opaque:=y";
    run("tar", &[&fixed[..], &[selinux, "."]].concat());
    let root = trees.path("root");
    std::fs::create_dir(&root).unwrap();
    let notes = unpack(&archive, &root).unwrap().notes;
    assert_eq!(notes.len(), 3, "{notes:?}");
    for what in ["security.selinux", "trusted.overlay.opaque", "ACLs that name users or groups"] {
        assert!(notes.iter().any(|note| note.contains(what)), "{what}: {notes:?}");
    }
    assert!(xattrs(&root.join("empty")).is_empty());
}

#[test]
fn dir_import_acls_that_are_stored_as_text_are_kept() {
    let trees = Trees::new();
    run("setfacl", &["-m", "u:70001:rw,g:70002:r", text(&trees.source.join("labelled"))]);
    run("setfacl", &["-d", "-m", "u:70001:rwx", text(&trees.source.join("usr"))]);
    let archive = trees.archive("a", &["--format=posix", "--acls"]);
    let (ours, theirs) = (trees.path("ours"), trees.path("theirs"));
    std::fs::create_dir(&ours).unwrap();
    std::fs::create_dir(&theirs).unwrap();
    assert_eq!(unpack(&archive, &ours).unwrap().notes, Vec::<String>::new());
    run("tar", &["-C", text(&theirs), "--numeric-owner", "--acls", "-xpf", text(&archive)]);
    assert_same_tree(&ours, &theirs);
    for (name, acl) in [("labelled", "system.posix_acl_access"), ("usr", "system.posix_acl_default")] {
        assert_eq!(xattrs(&ours.join(name)).get(acl), xattrs(&trees.source.join(name)).get(acl), "{name}");
    }
}

#[test]
fn dir_import_acls_that_are_stored_as_attributes_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    std::fs::create_dir_all(source.join("usr")).unwrap();
    std::fs::write(source.join("usr/file"), "x").unwrap();
    run("setfacl", &["-m", "u:7:rw,g:9:r", text(&source.join("usr/file"))]);
    run("setfacl", &["-d", "-m", "u:7:rwx", text(&source.join("usr"))]);
    let acls = [("usr/file", "system.posix_acl_access"), ("usr", "system.posix_acl_default")];
    let mut builder = ::tar::Builder::new(Vec::new());
    for (name, acl) in acls.iter().rev() {
        let value = xattrs(&source.join(name))[*acl].clone();
        builder.append_pax_extensions([(format!("SCHILY.xattr.{acl}").as_str(), &value[..])]).unwrap();
        builder.append_path_with_name(source.join(name), name).unwrap();
    }
    let (root, result) = unpack_bytes(&builder.into_inner().unwrap(), dir.path());
    result.unwrap();
    for (name, acl) in acls {
        assert_eq!(xattrs(&root.join(name)).get(acl), xattrs(&source.join(name)).get(acl), "{name}");
    }
}

#[test]
fn dir_import_progress_counts_the_bytes_of_the_archive() {
    #[derive(Default)]
    struct Counted(Vec<String>, u64, bool);
    impl Progress for Counted {
        fn start(&mut self, what: &str, total: Option<u64>) {
            self.0.push(format!("{what} {total:?}"));
        }
        fn advance(&mut self, bytes: u64) {
            self.1 += bytes;
        }
        fn finish(&mut self) {
            self.2 = true;
        }
    }
    let trees = Trees::new();
    let archive = trees.archive("a", &["-z"]);
    let file = File::open(&archive).unwrap();
    let size = file.metadata().unwrap().len();
    let root = trees.path("root");
    std::fs::create_dir(&root).unwrap();
    let mut counted = Counted::default();
    fill(&file, size, "a.tar.gz", &root, None, &mut counted).unwrap();
    assert_eq!(counted.0, [format!("unpack a.tar.gz Some({size})")]);
    assert_eq!((counted.1, counted.2), (size, true));
}

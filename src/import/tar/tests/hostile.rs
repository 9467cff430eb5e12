//! Archives that mean harm: nothing outside the tree changes, and the error names the entry.

use std::os::unix::fs::symlink;

use ::tar::{EntryType, Header};

use super::*;

/// A raw header: nothing is checked or cleaned.
fn header(kind: EntryType, name: &str, link: &str, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(0o755);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1);
    header.set_size(size);
    header.set_cksum();
    header
}

fn block(header: &Header, data: &[u8]) -> Vec<u8> {
    let filler = (512 - data.len() % 512) % 512;
    [header.as_bytes().as_slice(), data, &vec![0; filler]].concat()
}

fn file(name: &str, data: &str) -> Vec<u8> {
    block(&header(EntryType::Regular, name, "", data.len() as u64), data.as_bytes())
}

fn dir(name: &str) -> Vec<u8> {
    block(&header(EntryType::Directory, name, "", 0), b"")
}

fn soft(name: &str, target: &str) -> Vec<u8> {
    block(&header(EntryType::Symlink, name, target, 0), b"")
}

fn hard(name: &str, target: &str) -> Vec<u8> {
    block(&header(EntryType::Link, name, target, 0), b"")
}

/// An extended header with one record, its length counted.
fn pax(kind: EntryType, key: &str, value: &str) -> Vec<u8> {
    let body = key.len() + value.len() + 3;
    let length = (1..6).map(|digits| body + digits).find(|all| all.to_string().len() + body == *all).unwrap();
    let record = format!("{length} {key}={value}\n");
    block(&header(kind, "pax", "", record.len() as u64), record.as_bytes())
}

fn local(key: &str, value: &str) -> Vec<u8> {
    pax(EntryType::XHeader, key, value)
}

fn archive(parts: &[Vec<u8>]) -> Vec<u8> {
    [parts.concat(), vec![0; 1024]].concat()
}

#[test]
fn dir_import_what_would_leave_the_tree_is_an_error_that_names_it_and_touches_nothing() {
    let leaves = "leads out of the tree";
    let cases: [(&str, Vec<Vec<u8>>, &str, &str); 16] = [
        ("dots", vec![file("../marker", "x")], "\"../marker\"", leaves),
        ("dots inside", vec![dir("a"), file("a/../../marker", "x")], "a/../../marker", leaves),
        ("pax dots", vec![local("path", "../marker"), file("fine", "x")], "\"../marker\"", leaves),
        ("link up", vec![soft("l", ".."), file("l/marker", "x")], "\"l/marker\"", leaves),
        ("link far up", vec![soft("l", "../../../.."), dir("l/marker")], "\"l/marker\"", leaves),
        ("link absolute", vec![soft("l", "OUTSIDE"), file("l/marker", "x")], "\"l/marker\"", leaves),
        (
            "two links",
            vec![dir("d"), soft("d/a", ".."), soft("b", "d/a/.."), file("b/marker", "x")],
            "\"b/marker\"",
            leaves,
        ),
        (
            "link, then made of it",
            vec![dir("l"), soft("l", "OUTSIDE"), file("l/marker", "x")],
            "\"l/marker\"",
            leaves,
        ),
        ("hard link dots", vec![hard("h", "../marker")], "\"h\"", leaves),
        ("hard link pax", vec![local("linkpath", "../marker"), hard("h", "fine")], "\"h\"", leaves),
        ("hard link through", vec![soft("l", ".."), hard("h", "l/marker")], "\"h\"", leaves),
        ("hard link absolute", vec![hard("h", "OUTSIDE/marker")], "\"h\"", "which is not there"),
        ("the root a file", vec![file("./.", "x")], "\"./.\"", "in the place of the tree itself"),
        ("the root a link", vec![soft("/", "OUTSIDE")], "\"/\"", "in the place of the tree itself"),
        ("sparse name", vec![local("GNU.sparse.name", "../marker"), file("fine", "x")], "../marker", leaves),
        ("through a file", vec![file("f", "x"), file("f/marker", "x")], "\"f/marker\"", "Not a directory"),
    ];
    for (case, parts, entry, why) in cases {
        let outside = tempfile::tempdir().unwrap();
        let marker = outside.path().join("marker");
        std::fs::write(&marker, "untouched").unwrap();
        let inside = outside.path().join("inside");
        std::fs::create_dir(&inside).unwrap();
        let parts: Vec<_> = parts.iter().map(|part| replace_outside(part, outside.path())).collect();
        let before = describe_tree(outside.path()).len();
        let (root, result) = unpack_bytes(&archive(&parts), &inside);
        let error = told(&result.unwrap_err());
        assert!(error.contains(entry) && error.contains(why), "{case}: {error}");
        assert_eq!(std::fs::read(&marker).unwrap(), b"untouched", "{case}");
        let made = describe_tree(&root).len() + 1; // and the archive
        assert_eq!(describe_tree(outside.path()).len(), before + made, "{case}: something new outside");
    }
}

/// Puts a real path outside in the place of a word, where a link's target stands.
fn replace_outside(part: &[u8], outside: &Path) -> Vec<u8> {
    let old = Header::from_byte_slice(&part[..512]);
    let target = String::from_utf8_lossy(&old.link_name_bytes().unwrap_or_default()).into_owned();
    if !target.contains("OUTSIDE") {
        return part.to_vec();
    }
    let name = String::from_utf8_lossy(&old.path_bytes()).into_owned();
    let target = target.replace("OUTSIDE", text(outside));
    block(&header(old.entry_type(), &name, &target, 0), b"")
}

#[test]
fn dir_import_links_that_stay_inside_are_followed_and_their_targets_kept_as_they_are() {
    let parts = [
        dir("usr/bin"),
        soft("bin", "usr/bin"),
        file("bin/sh", "sh"),
        soft("usr/up", "../usr/bin"),
        file("usr/up/ls", "ls"),
        soft("evil", "/etc/../../../etc/passwd"),
        hard("bin/hard", "/usr/bin/sh"),
    ];
    let dir = tempfile::tempdir().unwrap();
    let (root, result) = unpack_bytes(&archive(&parts), dir.path());
    result.unwrap();
    for (name, content) in [("usr/bin/sh", "sh"), ("usr/bin/ls", "ls"), ("usr/bin/hard", "sh")] {
        assert_eq!(std::fs::read_to_string(root.join(name)).unwrap(), content);
    }
    assert_eq!(std::fs::read_link(root.join("evil")).unwrap(), Path::new("/etc/../../../etc/passwd"));
}

#[test]
fn dir_import_the_last_member_of_a_name_wins_and_never_writes_through_a_link() {
    let parts = [
        file("target", "kept"),
        soft("a", "target"),
        file("a", "new"),
        file("b", "old"),
        hard("c", "b"),
        file("b", "new"),
        hard("c", "c"),
        file("d", "x"),
        dir("d"),
        file("d/e", "e"),
        soft("f", "d"),
        dir("f"),
        dir("g"),
        file("g", "was a directory"),
    ];
    let dir = tempfile::tempdir().unwrap();
    let (root, result) = unpack_bytes(&archive(&parts), dir.path());
    result.unwrap();
    let contents = [
        ("target", "kept"),
        ("a", "new"),
        ("b", "new"),
        ("c", "old"),
        ("d/e", "e"),
        ("g", "was a directory"),
    ];
    for (name, content) in contents {
        assert_eq!(std::fs::read_to_string(root.join(name)).unwrap(), content, "{name}");
    }
    assert!(std::fs::symlink_metadata(root.join("f")).unwrap().is_dir());
}

#[test]
fn dir_import_archives_that_are_wrong_in_themselves_are_errors() {
    let sparse = |map: &str, size: &str| {
        let records = [("GNU.sparse.realsize", size), ("GNU.sparse.map", map)];
        let text: String = records
            .iter()
            .map(|(key, value)| String::from_utf8(local(key, value)[512..].to_vec()).unwrap())
            .map(|text| text.trim_end_matches('\0').to_owned())
            .collect();
        let size = text.len() as u64;
        vec![block(&header(EntryType::XHeader, "p", "", size), text.as_bytes()), file("sparse", "abcd")]
    };
    let nul = block(&header(EntryType::GNULongName, "n", "", 4), b"a\0b\0");
    let long = block(&header(EntryType::GNULongName, "n", "", 2), b"n\0");
    let cases: [(&str, Vec<Vec<u8>>, &str); 19] = [
        ("no tar", vec![b"hello world ".repeat(100)], "not a tar archive"),
        ("damaged later", vec![file("a", "a"), vec![7; 512]], "checksum does not fit"),
        (
            "unknown kind",
            vec![block(&header(EntryType::new(b'Z'), "z", "", 0), b"")],
            "kind that is not known",
        ),
        ("not there", vec![hard("h", "missing")], "hard link to missing, which is not there"),
        ("NUL", vec![nul, file("x", "x")], "NUL"),
        ("two long names", vec![long.clone(), long.clone(), file("x", "x")], "two extension headers"),
        ("huge name", vec![block(&header(EntryType::GNULongName, "n", "", 1 << 40), b"")], "more than 4 MiB"),
        (
            "bad record",
            vec![block(&header(EntryType::XHeader, "p", "", 6), b"9 a=b\n"), file("x", "x")],
            "damaged extended",
        ),
        (
            "global path",
            vec![pax(EntryType::XGlobalHeader, "path", "x"), file("x", "x")],
            "global header that names",
        ),
        ("size", vec![local("size", "99999999999999999"), file("x", "x")], "cut off"),
        ("size not a number", vec![local("size", "-1"), file("x", "x")], "a number in an extended header"),
        ("owner", vec![local("uid", "4294967295"), file("x", "x")], "no user id"),
        ("group", vec![local("gid", "9999999999"), dir("x")], "no user id"),
        ("sparse overlap", sparse("0,2,1,2", "9"), "overlap"),
        ("sparse outside", sparse("0,2,8,2", "9"), "overlap or lie outside"),
        ("sparse sum", sparse("0,2", "9"), "does not fit the data"),
        ("sparse odd", sparse("0,2,3", "9"), "odd count"),
        ("sparse overflow", sparse("18446744073709551615,4", "9"), "overlap or lie outside"),
        ("cut off", vec![file("a", "a")[..700].to_vec()], "cut off"),
    ];
    for (case, parts, why) in cases {
        let dir = tempfile::tempdir().unwrap();
        let end = if case == "cut off" { Vec::new() } else { vec![0; 1024] };
        let (_, result) = unpack_bytes(&[parts.concat(), end].concat(), dir.path());
        let error = told(&result.expect_err(case));
        assert!(error.contains(why), "{case}: {error}");
    }
}

#[test]
fn dir_import_a_record_hidden_in_an_attribute_is_no_name_and_global_times_count() {
    let hidden = local("SCHILY.xattr.user.x", "\n16 path=../../x");
    let global = pax(EntryType::XGlobalHeader, "mtime", "77.5");
    let dir = tempfile::tempdir().unwrap();
    let (root, result) = unpack_bytes(&archive(&[global, hidden, file("fine", "x")]), dir.path());
    result.unwrap();
    assert_eq!(xattrs(&root.join("fine"))["user.x"], b"\n16 path=../../x");
    let meta = std::fs::metadata(root.join("fine")).unwrap();
    assert_eq!((meta.mtime(), meta.mtime_nsec()), (77, 500_000_000));
}

#[test]
fn dir_import_an_archive_that_is_cut_off_or_damaged_is_an_error_in_every_compression() {
    let dir = tempfile::tempdir().unwrap();
    let noise: String = (0..60_000_u32)
        .map(|n| char::from(b'a' + (n.wrapping_mul(2_654_435_761) >> 27) as u8 % 26))
        .collect();
    let plain = archive(&[file("a", &noise), file("b", &noise)]);
    let source = dir.path().join("plain");
    std::fs::write(&source, &plain).unwrap();
    for program in ["cat", "gzip -c", "bzip2 -c", "xz -c", "zstd -c"] {
        let words: Vec<&str> = program.split(' ').collect();
        let packed = Command::new(words[0]).args(&words[1..]).arg(&source).output().unwrap().stdout;
        unpack_bytes(&packed, dir.path()).1.unwrap();
        let end = if program == "cat" { packed.len() - 1024 } else { packed.len() - 1 };
        for length in [0, 1, 5, 30, packed.len() / 2, end] {
            let error = unpack_bytes(&packed[..length], dir.path()).1.expect_err(program);
            assert_eq!(error.kind(), crate::store::ErrorKind::Other, "{program} {length}");
        }
        let mut damaged = packed.clone();
        let middle = if program == "cat" { 100 } else { packed.len() / 2 };
        damaged[middle] ^= 0x55;
        assert!(unpack_bytes(&damaged, dir.path()).1.is_err(), "{program} damaged");
        if program != "cat" {
            let trailed = [&packed[..], b"something else"].concat();
            assert!(unpack_bytes(&trailed, dir.path()).1.is_err(), "{program} with a tail");
        }
    }
    let none = unpack_bytes(b"", dir.path()).1.unwrap_err();
    assert!(none.is_truncated() && told(&none).contains("it is empty"));
}

#[test]
fn dir_import_a_tree_that_is_not_there_or_no_directory_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("archive");
    std::fs::write(&path, archive(&[file("a", "a")])).unwrap();
    assert_eq!(unpack(&path, &dir.path().join("missing")).unwrap_err().errno(), Some(libc::ENOENT));
    symlink(dir.path(), dir.path().join("link")).unwrap();
    assert_eq!(unpack(&path, &dir.path().join("link")).unwrap_err().errno(), Some(libc::ENOTDIR));
}

#![expect(clippy::disallowed_methods, reason = "tests lay out trees by hand")]

use std::fs::File;
use std::os::fd::AsFd;

use super::*;

fn ids() -> (TemplateName, VersionId) {
    ("sid".parse().unwrap(), "v1".parse().unwrap())
}

fn text_of(top: &std::path::Path) -> (Root, String) {
    let (template, version) = ids();
    let mut out = Vec::new();
    let mut writer = Writer::new(&mut out, &template, &version).unwrap();
    let mut tree = Lines::new(File::open(top).unwrap().as_fd()).unwrap();
    while let Some(line) = tree.next(&mut |_| Ok(())).unwrap() {
        writer.line(&line).unwrap();
    }
    let (root, _) = writer.finish().unwrap();
    (root, String::from_utf8(out).unwrap())
}

#[test]
fn a_digest_says_what_every_entry_is_and_is_read_as_it_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let top = dir.path();
    let write = |name: &str, text: &str| {
        let file = rustix::fs::openat(
            rustix::fs::CWD,
            top.join(name),
            rustix::fs::OFlags::CREATE | rustix::fs::OFlags::WRONLY,
            rustix::fs::Mode::from(0o640),
        );
        rustix::io::write(file.unwrap(), text.as_bytes()).unwrap();
    };
    write("a b", "abc");
    write("empty", "");
    rustix::fs::link(top.join("a b"), top.join("link")).unwrap();
    rustix::fs::symlink("to where\n", top.join("way")).unwrap();
    let (root, text) = text_of(top);
    let without_times: Vec<String> = text
        .lines()
        .map(|line| {
            line.split(' ')
                .enumerate()
                .filter(|(at, _)| *at != 5)
                .map(|(_, word)| word)
                .collect::<Vec<_>>()
                .join(" ")
        })
        .collect();
    let owner = format!("{} {}", rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(without_times[0], "zchroot-digest 1 sid v1");
    assert_eq!(
        without_times[2..6],
        [
            format!("f 0640 {owner} 3 - {abc} /a\\x20b"),
            format!("f 0640 {owner} 0 - {nothing} /empty"),
            format!("f 0640 {owner} 3 - =/a\\x20b /link"),
            format!("l 0777 {owner} 0 - >to\\x20where\\x0a /way"),
        ]
    );
    assert_eq!((root.entries, root.bytes), (5, 3));
    let (template, version) = ids();
    let mut reader = Reader::new(text.as_bytes(), &template, &version).unwrap();
    let mut lines = 0;
    loop {
        match reader.next().unwrap() {
            Next::Line(_) => lines += 1,
            Next::Root(read) => {
                assert_eq!((lines, read), (5, root));
                break;
            }
        }
    }
    assert!(reader.next().is_err(), "nothing follows the root");
}

#[test]
fn no_damage_to_a_digest_goes_unseen() {
    let dir = tempfile::tempdir().unwrap();
    let (_, text) = text_of(dir.path());
    let (template, version) = ids();
    for at in 0..text.len() {
        let mut bytes = text.clone().into_bytes();
        bytes[at] ^= 1;
        let read = Reader::new(&bytes[..], &template, &version).and_then(|mut reader| {
            while let Next::Line(_) = reader.next()? {}
            Ok(())
        });
        assert!(read.is_err(), "byte {at}: {}", String::from_utf8_lossy(&bytes));
    }
}

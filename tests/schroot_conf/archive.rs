//! Type `file`: unpacked for each session, and packed again at the end of a source session.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;

use crate::harness::tree;
use crate::lab::{Lab, gives};
use crate::world::{ALICE, CAROL};

const INSIDE: &str = "/var/lib/trees/sid.tar";

fn lab(keys: &str) -> Lab {
    let lab = Lab::new(&format!("type=file\nfile={INSIDE}\nprofile=shared\n{keys}"));
    tree::pack(&lab.tree(), &archive(&lab));
    lab
}

fn archive(lab: &Lab) -> PathBuf {
    lab.world.lib("trees/sid.tar")
}

#[test]
fn dir_schroot_conf_an_archive_is_unpacked_for_each_session_and_goes_with_it() {
    let lab = lab("");
    let before = std::fs::read(archive(&lab)).unwrap();
    gives(lab.around(CAROL, "root", "echo x > /etc/what; cat /etc/generation; id -u"), "1\n0");
    let id = lab.begin(CAROL, &lab.name);
    gives(
        lab.run(
            CAROL,
            &id,
            "ls /etc/what 2>/dev/null; echo one > /etc/what; grep -c ' /build ' /proc/mounts",
        ),
        "1",
    );
    gives(lab.run(CAROL, &id, "cat /etc/what"), "one");
    lab.shell("ls /var/lib/schroot/unpack").prints(&id);
    let named = format!("session:{id}");
    gives(lab.schroot(CAROL, &["--location", "-c", &named]), &format!("/run/zchroot/mount/{id}"));
    assert!(lab.schroot(CAROL, &["-i", "-c", &named]).ok().text().contains("Session Purged        "));
    lab.shell("umount -R -l /run/zchroot/mount && rm -r /run/zchroot");
    gives(lab.schroot(0, &["--recover-session", "-c", &id]), "");
    gives(lab.run(CAROL, &id, "cat /etc/what"), "one");
    gives(lab.schroot(CAROL, &["-e", "-c", &id]), "");
    assert_eq!(std::fs::read(archive(&lab)).unwrap(), before);
    lab.nothing_left();
}

#[test]
fn dir_schroot_conf_a_tree_that_lies_deeper_in_an_archive_is_found_and_never_outside() {
    let lab = Lab::new(&format!("type=file\nfile={INSIDE}\nlocation=/srv/sid\nprofile=shared\n"));
    let top = lab.world.lib("top");
    std::fs::create_dir_all(top.join("srv")).unwrap();
    tree::make(&top.join("real"));
    std::os::unix::fs::symlink("/real", top.join("srv/sid")).unwrap();
    tree::pack(&top, &archive(&lab));
    gives(lab.around(CAROL, "root", "cat /etc/generation"), "1");
    // A symlink out of the archive leads nowhere.
    std::fs::remove_dir_all(top.join("real")).unwrap();
    std::fs::remove_file(top.join("srv/sid")).unwrap();
    std::os::unix::fs::symlink("../../../../../etc", top.join("srv/sid")).unwrap();
    tree::pack(&top, &archive(&lab));
    lab.around(CAROL, "root", "true").exits(1).says("cannot resolve /srv/sid: No such file or directory");
    lab.nothing_left();
}

#[test]
fn dir_schroot_conf_the_end_of_a_source_session_packs_the_archive_again() {
    let lab = lab("");
    let archive = archive(&lab);
    std::fs::set_permissions(&archive, std::fs::Permissions::from_mode(0o640)).unwrap();
    let inode = std::fs::metadata(&archive).unwrap().ino();
    gives(
        lab.around_source(
            CAROL,
            "echo new > /etc/what; ln /etc/what /etc/again; chown 64001 /etc/what; ls -d /build",
        ),
        "/build",
    );
    let after = std::fs::metadata(&archive).unwrap();
    assert!(after.ino() != inode && after.mode() & 0o7777 == 0o640);
    gives(
        lab.around(CAROL, "root", "cat /etc/again; stat -c '%u %h' /etc/what; ls -d /build /shared"),
        "new\n64001 2\n/build\n/shared",
    );
    let listing = lab.shell(&format!("tar -tf {INSIDE}")).text();
    assert!(!listing.contains("./build") && !listing.contains("debian_chroot"), "{listing}");
    // In pieces; and a command that fails does not matter, as with schroot.
    let id = lab.begin(CAROL, &format!("source:{}", lab.name));
    lab.run(CAROL, &id, "echo two > /etc/what; exit 3").exits(3);
    gives(lab.around(CAROL, "root", "cat /etc/what"), "new");
    gives(lab.schroot(CAROL, &["-e", "-c", &id]), "");
    gives(lab.around(CAROL, "root", "cat /etc/what"), "two");
    // zchroot ends it in the same way.
    let id = lab.begin(CAROL, &format!("source:{}", lab.name));
    gives(lab.run(CAROL, &id, "echo three > /etc/what"), "");
    gives(lab.world.user(CAROL, &["end", &id]), "");
    gives(lab.around(CAROL, "root", "cat /etc/what"), "three");
    lab.schroot(ALICE, &["-c", &format!("source:{}", lab.name), "-u", "root", "--", "true"]).exits(1);
    lab.nothing_left();
}

#[test]
fn dir_schroot_conf_whoever_ends_a_second_source_session_of_an_archive_is_refused_and_keeps_it() {
    let lab = lab("");
    let source = format!("source:{}", lab.name);
    let (one, other) = (lab.begin(CAROL, &source), lab.begin(CAROL, &source));
    gives(lab.run(CAROL, &one, "echo one > /etc/what"), "");
    gives(lab.run(CAROL, &other, "echo other > /etc/what"), "");
    gives(lab.schroot(CAROL, &["-e", "-c", &one]), "");
    let done = lab.schroot(CAROL, &["-e", "-c", &other]).exits(1);
    done.says(&format!("E: {other}: Chroot setup failed: stage=setup-stop: cannot replace {INSIDE}: somebody else has changed it"));
    gives(lab.run(CAROL, &other, "cat /etc/what; grep -c ' /build ' /proc/mounts"), "other\n1");
    gives(lab.around(CAROL, "root", "cat /etc/what"), "one");
    // As it was, it is given back: then there is nothing against it.
    lab.world.root(&["recover"]).ok();
    gives(lab.run(CAROL, &other, "cat /etc/what"), "other");
    // One around a command stays to be looked at.
    let words =
        ["-c", &source, "-d", "/", "-u", "root", "--", "sh", "-c", "echo in; read x; echo late > /etc/what"];
    let mut late = lab.order(CAROL, &words).start();
    assert_eq!(late.line(), "in");
    lab.shell(&format!("touch {INSIDE}"));
    late.finish().exits(1).says("somebody else has changed it");
    let sessions = lab.schroot(CAROL, &["-l", "--all-sessions"]).ok().text();
    assert_eq!(sessions.lines().count(), 2, "{sessions}");
    // It takes a word to throw work away.
    for id in sessions.lines().map(|line| line.trim_start_matches("session:")) {
        let refused = lab.schroot(CAROL, &["-e", "-c", id]).exits(1);
        refused.says(&format!("I: ‘schroot -f -e -c {id}’ ends it, and what it changed goes"));
        gives(lab.schroot(CAROL, &["-f", "-e", "-c", id]), "");
    }
    gives(lab.around(CAROL, "root", "cat /etc/what"), "one");
    lab.nothing_left();
}

#[test]
fn dir_schroot_conf_a_source_session_that_was_killed_leaves_the_archive_as_it_was() {
    let lab = lab("");
    let before = std::fs::read(archive(&lab)).unwrap();
    let source = format!("source:{}", lab.name);
    let words =
        ["-c", &source, "-d", "/", "-u", "root", "--", "sh", "-c", "echo x > /etc/what; echo in; sleep 933"];
    let mut running = lab.order(CAROL, &words).start();
    assert_eq!(running.line(), "in");
    running.kill();
    lab.world.root(&["recover"]).ok();
    assert_eq!(std::fs::read(archive(&lab)).unwrap(), before);
    lab.nothing_left();
}

#[test]
fn dir_schroot_conf_what_an_archive_is_packed_with_is_told_by_its_name() {
    for (end, flag) in [("tar.gz", "-z"), ("tgz", "-z"), ("tar.xz", "-J"), ("tar.bz2", "-j")] {
        let file = format!("/var/lib/trees/sid.{end}");
        let lab = Lab::new(&format!("type=file\nfile={file}\nprofile=shared\n"));
        tree::pack(&lab.tree(), &lab.world.lib(&format!("trees/sid.{end}")));
        gives(lab.around_source(CAROL, "echo new > /etc/what"), "");
        lab.shell(&format!("tar {flag} -tf {file} | grep -c etc/what")).prints("1");
        gives(lab.around(CAROL, "root", "cat /etc/what"), "new");
        lab.nothing_left();
    }
}

#[test]
fn dir_schroot_conf_an_archive_that_is_not_to_be_used_is_refused_and_nothing_is_left() {
    let lab = lab("");
    let set = |mode| std::fs::set_permissions(archive(&lab), std::fs::Permissions::from_mode(mode)).unwrap();
    let refused = |why: &str| {
        let done = lab.schroot(CAROL, &["-b", "-c", &lab.name]).exits(1);
        assert_eq!(done.text(), "", "{done}");
        done.says(&format!("stage=setup-start: {why}"));
        lab.nothing_left();
    };
    set(0o666);
    refused(&format!("cannot use {INSIDE}: everybody may write it"));
    set(0o644);
    std::os::unix::fs::chown(archive(&lab), Some(ALICE), None).unwrap();
    refused(&format!("cannot use {INSIDE}: it does not belong to root"));
    std::fs::write(archive(&lab), "no archive at all").unwrap();
    std::os::unix::fs::chown(archive(&lab), Some(0), None).unwrap();
    refused("cannot fill ");
    std::fs::remove_file(archive(&lab)).unwrap();
    refused(&format!("cannot open {INSIDE}: No such file"));
    std::fs::create_dir(archive(&lab)).unwrap();
    refused(&format!("cannot use {INSIDE}: it is no file"));
    lab.define("type=file\nfile=/var/lib/trees/sid.odd\nprofile=shared\n");
    tree::pack(&lab.tree(), &lab.world.lib("trees/sid.odd"));
    gives(lab.around(CAROL, "root", "echo read"), "read");
    lab.around_source(CAROL, "true").exits(1).says("it could not be packed again: its name does not say how");
    lab.nothing_left();
}

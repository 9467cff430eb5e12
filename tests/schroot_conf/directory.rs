//! Type `directory` without a union: the tree is changed in place.

use crate::lab::{Lab, NO, gives, refuses};
use crate::world::{ALICE, BOB, CAROL};

const KEYS: &str = "type=directory\ndirectory=TREE\nprofile=shared\n";

#[test]
fn dir_schroot_conf_a_directory_is_worked_in_where_it_lies() {
    let lab = Lab::new(KEYS);
    gives(
        lab.around(
            CAROL,
            "root",
            "echo one > /etc/what; id -u; grep -q ' /build ' /proc/mounts && echo set up",
        ),
        "0\nset up",
    );
    let what = || std::fs::read_to_string(lab.tree().join("etc/what")).unwrap();
    assert_eq!(what(), "one\n");
    let id = lab.begin(CAROL, &lab.name);
    let named = format!("session:{id}");
    gives(lab.schroot(CAROL, &["--location", "-c", &named]), &format!("/run/zchroot/mount/{id}"));
    let info = lab.schroot(CAROL, &["--info", "-c", &named]).ok().text();
    for (key, value) in [("Type", "directory"), ("Session Purged", "false"), ("Root Users", "carol")] {
        let line = info.lines().find(|line| line.trim_start().starts_with(key)).unwrap();
        assert_eq!(line.split_whitespace().last(), Some(value), "{info}");
    }
    gives(lab.run(CAROL, &id, "echo two >> /etc/what; echo $SCHROOT_CHROOT_NAME"), &lab.name);
    lab.shell(&format!("cat /run/zchroot/mount/{id}/etc/what")).prints("one\ntwo");
    gives(lab.schroot(CAROL, &["-e", "-c", &id]), "");
    refuses(lab.schroot(CAROL, &["-e", "-c", &id]), &format!("E: {id}: Chroot not found\n"));
    assert_eq!(what(), "one\ntwo\n");
    lab.nothing_left();
}

#[test]
fn dir_schroot_conf_who_may_is_what_its_lists_say() {
    let lab = Lab::new(KEYS);
    refuses(lab.around(BOB, "bob", "true"), NO);
    refuses(lab.around(ALICE, "root", "true"), NO);
    refuses(lab.schroot(BOB, &["-b", "-c", &lab.name]), NO);
    gives(lab.around(ALICE, "alice", "id -u"), "64001");
    let id = lab.begin(ALICE, &lab.name);
    for uid in [BOB, CAROL] {
        refuses(lab.schroot(uid, &["-r", "-c", &id, "-d", "/", "--", "true"]), NO);
        refuses(lab.schroot(uid, &["-e", "-c", &id]), NO);
    }
    refuses(lab.run(ALICE, &id, "true"), NO);
    // There is no source of what is changed in place.
    refuses(lab.around_source(CAROL, "true"), &format!("E: source:{}: Chroot not found\n", lab.name));
    gives(lab.schroot(ALICE, &["-e", "--all-sessions"]), "");
    lab.nothing_left();
}

#[test]
fn dir_schroot_conf_the_end_of_one_session_does_not_reach_into_another_of_the_same_tree() {
    let lab = Lab::new(KEYS);
    let (one, other) = (lab.begin(CAROL, &lab.name), lab.begin(CAROL, &lab.name));
    let words = ["-r", "-c", &other, "-d", "/", "-u", "root", "--", "sh", "-c", "echo in; read x; echo out"];
    let mut standing = lab.order(CAROL, &words).start();
    assert_eq!(standing.line(), "in");
    // And somebody of the host stands in the tree itself.
    let path = format!("cd /var/lib/trees/{} && echo there; read x; echo stays", lab.name);
    let mut host = lab.world.inside(std::path::Path::new("/bin/sh")).words(["-c", &path]).start();
    assert_eq!(host.line(), "there");
    // Other tests have sleepers of their own.
    let long = format!("sleep 7{}", std::process::id());
    gives(lab.run(CAROL, &one, &format!("{long} > /dev/null 2>&1 & echo left")), "left");
    gives(lab.schroot(CAROL, &["-e", "-c", &one]), "");
    standing.finish().ok().prints("out");
    host.finish().ok().prints("stays");
    gives(lab.schroot(CAROL, &["-e", "-c", &other]), "");
    lab.shell(&format!("ps -eo args | grep -x '{long}' || true")).prints("");
    lab.nothing_left();
}

#[test]
fn dir_schroot_conf_a_tree_that_is_not_there_is_an_error_and_leaves_nothing() {
    let lab = Lab::new("type=directory\ndirectory=/var/lib/trees/none\nprofile=shared\n");
    for words in [&["-c", &lab.name, "--", "true"][..], &["-b", "-c", &lab.name]] {
        let done = lab.schroot(CAROL, words).exits(1);
        assert!(done.stderr.contains("stage=setup-start: cannot open /var/lib/trees/none: "), "{done}");
        assert_eq!(done.text(), "", "no name is printed: {done}");
    }
    lab.nothing_left();
}

//! `zchroot adopt`: chroots of schroot.conf become templates, and are given back.

use std::path::PathBuf;

use crate::harness::{Installation, tree};

/// A host with a chroot `sid` in a directory, another in an archive, and one that cannot be adopted.
fn host() -> (Installation, PathBuf) {
    let host = Installation::new();
    let source = host.path().join("srv/sid");
    tree::make(&source);
    let archive = host.path().join("srv/sid.tar");
    tree::pack(&source, &archive);
    host.write(
        "/etc/schroot/schroot.conf",
        &format!(
            "[sid]\ntype=directory\ndirectory={}\ndescription=Debian sid\naliases=unstable\nprofile=minimal\n\
             users=nobody\nroot-groups=root\ncommand-prefix=eatmydata\n",
            source.display()
        ),
    );
    let file =
        format!("[packed]\ntype=file\nfile={}\nprofile=minimal\nsource-root-groups=adm\n", archive.display());
    host.write("/etc/schroot/chroot.d/packed", &file);
    host.write("/etc/schroot/chroot.d/odd", "[odd]\ntype=loopback\nfile=/srv/odd.img\n");
    (host, source)
}

fn templates(host: &Installation) -> Vec<String> {
    let json = host.zchroot(["list", "--templates", "--json"]).json();
    let rows = json["list"]["templates"].as_array().unwrap();
    rows.iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn dir_adopt_makes_a_template_of_a_directory_and_leaves_the_directory() {
    let (host, source) = host();
    host.zchroot(["adopt", "sid"])
        .ok()
        .says("it is as schroot.conf has it")
        .says("what sessions change goes with them")
        .says("they are left out: command-prefix")
        .says("template sid: version");
    host.zchroot(["run", "unstable", "-d", "/", "--", "sh", "-c", "cat /etc/generation; echo > /srv/mine"])
        .ok()
        .prints("1");
    assert!(!source.join("srv/mine").exists());
    host.zchroot(["update", "sid", "--", "sh", "-c", "echo 2 > /etc/generation"]).ok();
    assert_eq!(std::fs::read_to_string(source.join("etc/generation")).unwrap(), "1\n");
    let info = host.zchroot(["info", "sid", "--json"]).json();
    let definition = &info["template"]["definition"];
    assert_eq!(definition["description"], "Debian sid");
    assert_eq!(definition["users"][0], "nobody");
    assert_eq!(definition["source"]["root-groups"][0], "root");
    assert!(host.zchroot(["history", "sid"]).ok().text().contains("adopted from"));
    host.zchroot(["check"]).ok();
    host.assert_nothing_left();
}

#[test]
fn dir_adopt_unpacks_an_archive() {
    let (host, _) = host();
    host.zchroot(["adopt", "packed"]).ok();
    host.zchroot(["run", "packed", "-d", "/", "--", "cat", "/etc/generation"]).ok().prints("1");
    let info = host.zchroot(["info", "packed", "--json"]).json();
    assert_eq!(info["template"]["definition"]["source"]["root-groups"][0], "adm");
    host.assert_nothing_left();
}

#[test]
fn dir_adopt_says_first_what_it_would_do() {
    let (host, source) = host();
    let plan = host.zchroot(["adopt", "sid", "--dry-run"]).ok();
    let first = format!("template sid: its first version from {} (directory)\n", source.display());
    assert!(plan.text().starts_with(&first), "{plan}");
    assert!(plan.text().contains("    users = [\"nobody\"]\n"), "{plan}");
    let json = host.zchroot(["adopt", "sid", "-n", "--json"]).json();
    assert_eq!(json["plan"]["from"]["path"], source.to_str().unwrap());
    assert_eq!(templates(&host), [] as [&str; 0]);
    host.assert_nothing_left();
}

#[test]
fn dir_adopt_can_be_undone_and_done_again() {
    let (host, source) = host();
    host.zchroot(["adopt", "--undo", "sid"]).exits(4).says("there is no template sid");
    host.zchroot(["adopt", "sid"]).ok();
    host.zchroot(["update", "sid", "--", "sh", "-c", "echo 2 > /etc/generation"]).ok();
    host.zchroot(["begin", "sid", "-n", "one"]).ok();
    host.zchroot(["adopt", "--undo", "sid"])
        .says("template sid has sessions: one")
        .says("zchroot end one")
        .exits(3);
    host.zchroot(["end", "one"]).ok();
    host.zchroot(["adopt", "--undo", "sid"]).ok().says("chroot sid is schroot.conf's again");
    host.zchroot(["run", "sid", "-d", "/", "--", "true"]).exits(125).says("no template sid");
    assert_eq!(templates(&host), ["sid"], "its versions are in the store");
    assert!(host.read("/etc/zchroot/templates.d/sid.toml.undone").contains("users = [\"nobody\"]"));
    assert_eq!(std::fs::read_to_string(source.join("etc/generation")).unwrap(), "1\n");
    host.zchroot(["check"]).ok();
    host.zchroot(["adopt", "sid"]).ok().says("has its versions still");
    // What is there stays, and is what is shown.
    host.define(
        "sid",
        &host.read("/etc/zchroot/templates.d/sid.toml").replace("[\"nobody\"]", "[\"daemon\"]"),
    );
    let plan = host.zchroot(["adopt", "sid", "-n"]).ok();
    assert!(plan.text().contains("users = [\"daemon\"]") && plan.text().contains("stays as it is"), "{plan}");
    host.zchroot(["source", "begin", "sid", "-n", "two"]).ok();
    host.zchroot(["adopt", "--undo", "sid"]).exits(3).says("hint: zchroot source abort two");
    host.zchroot(["source", "abort", "two"]).ok();
    host.zchroot(["adopt", "--undo", "sid"]).ok().says("sid.toml.undone-2");
    assert!(host.read("/etc/zchroot/templates.d/sid.toml.undone").contains("users = [\"nobody\"]"));
    host.zchroot(["adopt", "sid"]).ok();
    host.zchroot(["run", "sid", "-d", "/", "--", "cat", "/etc/generation"]).ok().prints("2");
    host.assert_nothing_left();
}

#[test]
fn dir_adopt_refuses_what_it_cannot_do() {
    let (host, source) = host();
    host.zchroot(["adopt", "nosuch"]).exits(4).says("schroot.conf and chroot.d define no chroot nosuch");
    host.zchroot(["adopt", "unstable"]).exits(4).says("hint: zchroot adopt sid");
    host.zchroot(["adopt", "odd"]).exits(1).says("chroots of type loopback cannot be adopted");
    host.define("packed", "version = 1\nprofile = \"minimal\"\n");
    host.zchroot(["adopt", "packed"]).exits(1).says("template packed is defined already");
    host.zchroot(["adopt", "--undo", "packed"]).exits(1).says("template packed was not adopted");
    host.define("other", "version = 1\nprofile = \"minimal\"\naliases = [\"sid\"]\n");
    host.zchroot(["adopt", "sid"]).exits(1).says("a template has this name as its alias");
    std::fs::remove_file(host.at("/etc/zchroot/templates.d/other.toml")).unwrap();
    // What cannot be read leaves no half template behind.
    std::fs::remove_dir_all(source).unwrap();
    host.zchroot(["adopt", "sid"]).exits(1);
    assert_eq!(templates(&host), ["packed"]);
    host.assert_nothing_left();
}

//! The end of a source session.

use crate::lab::{Lab, gives, refuses};
use crate::world::{ALICE, BOB, CAROL};

const NO: &str = "E: Access not authorised\nI: You do not have permission to access the schroot service.\n\
I: This failure will be reported.\n";

pub(crate) fn automatic(lab: &Lab) {
    let before = lab.generation();
    gives(lab.around(CAROL, "echo new > /etc/what; id -u"), "0");
    assert_eq!((lab.what().as_str(), lab.generation()), ("new", before + 1));
    // An alias, and the name that sbuild knows a source by.
    for (word, text) in [("source:unstable", "one"), ("unstable-source", "two")] {
        let script = format!("echo {text} > /etc/what; echo $SCHROOT_ALIAS_NAME");
        let words = ["-c", word, "-d", "/", "-u", "root", "--", "sh", "-c", &script];
        gives(lab.schroot(CAROL, &words), word.trim_start_matches("source:"));
        assert_eq!(lab.what(), text);
    }
    // As mk-sbuild calls it: by root, the command without `--`.
    gives(lab.schroot(0, &["-c", &lab.source, "-u", "root", "/usr/bin/pwd"]), "/");
    let verbose = ["-v", "-c", &lab.source, "-d", "/", "-u", "root", "--", "true"];
    lab.schroot(CAROL, &verbose)
        .ok()
        .says("Committed as version ")
        .says(&format!("generation {}", before + 5));
    lab.nothing_left();
}

/// As sbuild-update does it.
pub(crate) fn in_pieces(lab: &Lab) {
    let (before, id) = (lab.generation(), lab.begin(CAROL));
    let named = format!("session:{id}");
    let info = lab.schroot(CAROL, &["--info", "--chroot", &named]).ok().text();
    for line in [
        "  ─── Session ───".to_owned(),
        "  Session Purged        false".to_owned(),
        "  Root Users            carol".to_owned(),
        format!("  Path                  /run/zchroot/mount/{id}"),
    ] {
        let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(info.lines().any(|found| squeezed(found) == squeezed(&line)), "{line:?} is not in\n{info}");
    }
    gives(lab.schroot(CAROL, &["-l", "--all-sessions"]), &named);
    gives(lab.schroot(CAROL, &["--location", "-c", &named]), &format!("/run/zchroot/mount/{id}"));
    gives(lab.run(CAROL, &id, "echo one > /etc/what"), "");
    gives(lab.run(CAROL, &named, "cat /etc/what; echo two >> /etc/what"), "one");
    gives(
        lab.schroot(CAROL, &["-d", "/", "-c", &id, "--run-session", "-q", "-u", "root", "-p", "--", "true"]),
        "",
    );
    assert_eq!((lab.what().as_str(), lab.generation()), ("none", before), "nobody sees it yet");
    gives(lab.schroot(CAROL, &["-c", &id, "--end-session"]), "");
    assert_eq!((lab.what().as_str(), lab.generation()), ("one\ntwo", before + 1));
    refuses(lab.schroot(CAROL, &["-e", "-c", &id]), &format!("E: {id}: Chroot not found\n"));
    // With a name, and without a network.
    let name = format!("{}-up", lab.name);
    gives(lab.schroot(CAROL, &["-b", "-c", &lab.source, "-n", &name, "--isolate-network"]), &name);
    gives(lab.run(CAROL, &name, "cat /proc/self/net/dev | wc -l"), "3");
    let again = lab.schroot(CAROL, &["-b", "-c", &lab.source, "-n", &name]).exits(1);
    assert!(again.stderr.starts_with(&format!("E: {name}: Failed to lock chroot: ")), "{again}");
    gives(lab.schroot(CAROL, &["-f", "-e", "-c", &name]), "");
    lab.nothing_left();
}

pub(crate) fn who_may(lab: &Lab) {
    let before = lab.generation();
    let as_root = ["-c", &lab.source, "-d", "/", "-u", "root", "--", "true"];
    for uid in [ALICE, BOB] {
        refuses(lab.schroot(uid, &as_root), NO);
    }
    refuses(lab.schroot(BOB, &["-c", &lab.source, "-d", "/", "--", "true"]), NO);
    refuses(lab.schroot(BOB, &["-b", "-c", &lab.source]), NO);
    // Who is in `users` of the source changes what he can as himself.
    gives(lab.schroot(ALICE, &["-c", &lab.source, "-d", "/", "--", "id", "-u"]), "64001");
    assert_eq!(lab.generation(), before + 1);
    let id = lab.begin(ALICE);
    refuses(lab.run(ALICE, &id, "true"), NO);
    for uid in [BOB, CAROL] {
        refuses(lab.run(uid, &id, "true"), NO);
        refuses(lab.schroot(uid, &["-e", "-c", &id]), NO);
    }
    // Who was taken off the lists since then may not publish.
    lab.world
        .write_etc(&format!("zchroot/templates.d/{}.toml", lab.name), "version = 1\nprofile = \"shared\"\n");
    refuses(lab.schroot(ALICE, &["-e", "-c", &id]), NO);
    assert_eq!(lab.generation(), before + 1);
    lab.world.user(ALICE, &["source", "abort", &id]).ok();
    lab.nothing_left();
}

pub(crate) fn conflict(lab: &Lab) {
    let id = lab.begin(CAROL);
    let base = lab.sessions()[0]["base"].as_str().unwrap().to_owned();
    gives(lab.run(CAROL, &id, "echo late > /etc/what"), "");
    gives(lab.around(CAROL, "echo first > /etc/what"), "");
    let current = lab.world.root(&["history", &lab.name, "--json"]).json();
    let current = current["current"].as_str().map(str::to_owned);
    let done = lab.schroot(CAROL, &["-e", "-c", &id]).exits(1);
    assert!(
        done.stderr.starts_with(&format!("E: {id}: Chroot setup failed: stage=setup-stop: conflict: ")),
        "{done}"
    );
    assert!(
        done.stderr.contains(&base) && done.stderr.contains(&format!("zchroot source rebase {id}")),
        "{done}"
    );
    assert!(current.is_none_or(|current| done.stderr.contains(&current)), "{done}");
    assert_eq!(lab.what(), "first");
    gives(lab.run(CAROL, &id, "cat /etc/what"), "late");
    gives(lab.schroot(CAROL, &["-l", "--all-sessions"]), &format!("session:{id}"));
    lab.world.user(CAROL, &["source", "abort", &id]).ok();
    // One around a command: the command did well, its session is there to look at.
    let mut slow = lab
        .order(
            CAROL,
            &["-c", &lab.source, "-d", "/", "-u", "root", "--", "sh", "-c", "echo in; read x; true"],
        )
        .start();
    assert_eq!(slow.line(), "in");
    gives(lab.around(CAROL, "echo second > /etc/what"), "");
    let done = slow.finish().exits(1);
    assert!(done.stderr.contains("conflict: "), "{done}");
    let left = lab.sessions()[0]["id"].as_str().unwrap().to_owned();
    lab.world.user(CAROL, &["source", "abort", &left]).ok();
    lab.nothing_left();
}

pub(crate) fn always(lab: &Lab) {
    lab.define("commit-on-end = \"always\"\n");
    let before = lab.generation();
    lab.around(CAROL, "echo failed > /etc/what; exit 7").exits(7);
    assert_eq!((lab.what().as_str(), lab.generation()), ("failed", before + 1));
    let id = lab.begin(CAROL);
    // What was said at the beginning counts.
    lab.define("");
    lab.run(CAROL, &id, "echo killed > /etc/what; kill -9 $$").exits(1);
    gives(lab.schroot(CAROL, &["-e", "-c", &id]), "");
    assert_eq!((lab.what().as_str(), lab.generation()), ("killed", before + 2));
    lab.nothing_left();
}

pub(crate) fn of_zchroot(lab: &Lab) {
    let id = format!("{}-own", lab.name);
    lab.world.user(CAROL, &["source", "begin", &lab.name, "-n", &id]).ok().prints(&id);
    gives(lab.run(CAROL, &id, "echo own > /etc/what; false || true"), "");
    let done = lab.schroot(CAROL, &["-e", "-c", &id]).exits(1);
    assert!(done.stderr.contains("was begun by `zchroot source`"), "{done}");
    gives(lab.schroot(0, &["-e", "--all-sessions"]), "");
    assert_eq!((lab.what().as_str(), lab.sessions().len()), ("none", 1));
    // Whatever its commands gave: its maintainer says when it is to be committed.
    lab.run(CAROL, &id, "exit 1").exits(1);
    lab.world.user(CAROL, &["source", "commit", &id]).ok();
    assert_eq!(lab.what(), "own");
    lab.nothing_left();
}

pub(crate) fn all(lab: &Lab) {
    let (carols, alices) = (lab.begin(CAROL), lab.begin(ALICE));
    refuses(lab.schroot(CAROL, &["-e", "--all-sessions"]), NO);
    refuses(lab.schroot(CAROL, &["-e", "-c", &carols, "-c", &alices]), NO);
    assert_eq!(lab.sessions().len(), 2, "none or all");
    gives(lab.schroot(ALICE, &["-e", "-c", &alices]), "");
    // The other one is based on what is current no more, and does not keep a named one.
    let named = format!("{}-aa", lab.name);
    gives(lab.schroot(ALICE, &["-b", "-c", &lab.name, "-n", &named]), &named);
    let done = lab.schroot(0, &["-e", "--all-sessions"]).exits(1);
    assert!(done.stderr.contains("conflict: "), "{done}");
    assert_eq!(lab.sessions().len(), 1, "{:?}", lab.sessions());
    lab.world.user(CAROL, &["source", "abort", &carols]).ok();
    // One that is about to end by itself is left to do so.
    let mut running =
        lab.order(ALICE, &["-c", &lab.name, "-d", "/", "--", "sh", "-c", "echo in; read x; true"]).start();
    assert_eq!(running.line(), "in");
    gives(lab.schroot(0, &["-e", "--all-sessions"]), "");
    running.finish().ok();
    lab.nothing_left();
}

pub(crate) fn recovered(lab: &Lab) {
    let id = lab.begin(CAROL);
    gives(lab.run(CAROL, &id, "echo saved > /etc/what"), "");
    gives(lab.schroot(CAROL, &["--recover-session", "-c", &id]), "");
    // As after a reboot.
    lab.shell(&format!("umount -R /run/zchroot/mount/{id}"));
    lab.schroot(CAROL, &["-r", "-c", &id, "-d", "/", "-u", "root", "--", "true"]).exits(1);
    refuses(lab.schroot(CAROL, &["--recover-session", "-c", &id]), NO);
    gives(lab.schroot(0, &["--recover-session", "-c", &id]), "");
    gives(lab.run(CAROL, &id, "cat /etc/what"), "saved");
    gives(lab.schroot(CAROL, &["-e", "-c", &id]), "");
    assert_eq!(lab.what(), "saved");
    lab.nothing_left();
}

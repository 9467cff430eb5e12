//! Going back: rollback, and sessions of older versions.

use crate::harness::Installation;

/// Three generations, with the number in `/etc/generation`.
fn three_generations() -> Installation {
    let host = Installation::with_demo();
    for generation in 2..=3 {
        let script = format!("echo {generation} > /etc/generation");
        host.zchroot(["update", "demo", "-q", "--", "sh", "-c", &script]).ok();
    }
    host
}

#[test]
fn dir_a_rollback_makes_the_version_before_current_again_as_a_new_version() {
    let host = three_generations();
    host.zchroot(["begin", "demo", "-n", "before"]).ok();
    let done = host.zchroot(["rollback", "demo"]).ok().says("generation 4) is current, its tree is that of");
    let version = done.text();
    assert_eq!(host.current("demo"), version);
    host.run_in_demo("cat /etc/generation").ok().prints("2");
    host.zchroot(["exec", "before", "-d", "/", "--", "cat", "/etc/generation"]).ok().prints("3");
    let versions = host.zchroot(["history", "demo", "--json"]).json();
    let newest = &versions["versions"][0];
    assert_eq!(newest["tree-of"], versions["versions"][2]["id"]);
    assert_eq!(newest["parent"], versions["versions"][1]["id"]);
    assert_eq!(newest["message"], "rollback to generation 2");
    assert_eq!(newest["size"], versions["versions"][2]["size"]);
    // Back to where it was: a rollback is rolled back.
    host.zchroot(["rollback", "demo", "-q", "-m", "no, it was good"]).ok();
    host.run_in_demo("cat /etc/generation").ok().prints("3");
    host.zchroot(["end", "before"]).ok();
    host.assert_nothing_left();
}

#[test]
fn dir_a_rollback_goes_to_the_version_that_is_named() {
    let host = three_generations();
    let first = host.versions("demo").remove(0);
    let json = host.zchroot(["rollback", "demo", "1", "-m", "old is gold", "--json"]).json();
    assert_eq!(json["version"]["generation"], 4);
    assert_eq!(json["version"]["tree-of"], first);
    assert_eq!(json["version"]["message"], "old is gold");
    host.run_in_demo("cat /etc/generation").ok().prints("1");
    host.zchroot(["update", "demo", "-q", "--", "sh", "-c", "echo 5 >> /etc/generation"]).ok();
    host.run_in_demo("cat /etc/generation").ok().prints("1\n5");
    host.zchroot(["rollback", "demo", &first, "-q"]).ok();
    host.run_in_demo("cat /etc/generation").ok().prints("1");
    host.assert_nothing_left();
}

#[test]
fn dir_a_rollback_that_cannot_be_says_why_and_changes_nothing() {
    let host = Installation::with_demo();
    let current = host.current("demo");
    host.zchroot(["rollback", "demo"])
        .exits(4)
        .says("template demo has no version before the current one")
        .says("hint: zchroot history demo");
    host.zchroot(["rollback", "demo", "1"]).exits(1).says("is the current one already");
    host.zchroot(["rollback", "demo", "7"]).exits(4).says("has no generation 7; there is 1 (current)");
    host.zchroot(["rollback", "demo", "a b"]).exits(2).says("is no version: write a generation (7)");
    host.zchroot(["rollback", "nosuch"]).exits(4).says("there is no template nosuch");
    host.define("demo", "version = 1\nprofile = \"minimal\"\nkeep = 1\n");
    for _ in 0..2 {
        host.zchroot(["update", "demo", "-q", "--", "true"]).ok();
    }
    host.zchroot(["rollback", "demo", &current]).exits(4).says("any more: its tree was reclaimed");
    host.zchroot(["rollback", "demo", "1"]).exits(4).says("version 1 of template demo is gone");
    assert_eq!(host.versions("demo").len(), 3);
    host.assert_nothing_left();
}

#[test]
fn dir_a_source_session_that_a_rollback_overtook_gets_a_conflict() {
    let host = three_generations();
    host.zchroot(["source", "begin", "demo", "-n", "work"]).ok();
    host.zchroot(["rollback", "demo", "-q"]).ok();
    host.zchroot(["source", "commit", "work"]).exits(3).says("conflict");
    host.zchroot(["source", "abort", "work"]).ok();
    host.assert_nothing_left();
}

#[test]
fn dir_a_session_begins_at_any_kept_version() {
    let host = three_generations();
    let first = host.versions("demo").remove(0);
    let prefix = &first[..first.len() - 1];
    for at in ["1", "g1", &first, prefix] {
        let words = ["run", "demo", "--at", at, "-d", "/", "--", "cat", "/etc/generation"];
        host.zchroot(words).ok().prints("1");
    }
    for (at, is) in [("previous", "2"), ("current", "3"), ("today", "3"), ("0s", "3")] {
        let words = ["run", "demo", "--at", at, "-d", "/", "--", "cat", "/etc/generation"];
        host.zchroot(words).ok().prints(is);
    }
    host.zchroot(["begin", "demo", "-n", "old", "--at", "2"]).ok();
    host.zchroot(["exec", "old", "-d", "/", "--", "cat", "/etc/generation"]).ok().prints("2");
    host.zchroot(["end", "old"]).ok();
    host.assert_nothing_left();
}

#[test]
fn dir_a_version_that_is_not_there_is_refused_with_what_there_is() {
    let host = three_generations();
    let begin = |at: &str| host.zchroot(["begin", "demo", "--at", at]);
    begin("9").exits(4).says("template demo has no generation 9; there is 3 (current), 2, 1");
    begin("2020-01-01").exits(4).says("had no version yet at 2020-01-01").says("hint: zchroot history demo");
    begin("20").exits(4).says("no generation 20");
    let day = &host.current("demo")[..8];
    begin(day).exits(4).says("several versions");
    begin("9999-01-01").exits(2).says("that time is still to come");
    host.zchroot(["run", "demo", "--at", "9", "--", "true"]).exits(125).says("no generation 9");
    host.assert_nothing_left();
}

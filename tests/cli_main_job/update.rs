//! Changing a template: update, and source sessions in steps.

use crate::harness::{Installation, wait_until};

const CAT: [&str; 4] = ["-d", "/", "--", "cat"];

#[test]
fn dir_an_update_is_seen_by_new_sessions_and_not_by_old_ones() {
    let host = Installation::with_demo();
    host.zchroot(["begin", "demo", "-n", "old"]).ok();
    host.zchroot(["update", "demo", "-m", "second", "--", "sh", "-c", "echo 2 > /etc/generation; echo done"])
        .ok()
        .prints("done")
        .says("generation 2) is current");
    host.run_in_demo("cat /etc/generation").ok().prints("2");
    let old = [&["exec", "old"][..], &CAT, &["/etc/generation"]].concat();
    host.zchroot(old).ok().prints("1");
    host.zchroot(["end", "old"]).ok();
    host.assert_nothing_left();
}

#[test]
fn dir_an_update_whose_command_fails_changes_nothing() {
    let host = Installation::with_demo();
    let before = host.current("demo");
    for (script, status) in [("echo 2 > /etc/generation; exit 5", 5), ("kill -9 $$", 137), ("nosuch", 127)] {
        let done = host.zchroot(["update", "demo", "--", "sh", "-c", script]);
        done.exits(status).says("not committed: template demo is as it was");
        host.assert_nothing_left();
    }
    host.zchroot(["update", "demo", "--", "nosuch"]).exits(127).says("cannot find program");
    host.zchroot(["update", "demo", "--", "/etc/passwd"]).exits(126);
    assert_eq!(host.current("demo"), before);
    assert_eq!(host.versions("demo"), [before]);
    host.run_in_demo("cat /etc/generation").ok().prints("1");
    host.assert_nothing_left();
}

#[test]
fn dir_a_failed_update_can_be_kept_repaired_and_committed() {
    let host = Installation::with_demo();
    host.zchroot(["update", "demo", "--keep", "--", "sh", "-c", "echo half > /srv/work; exit 1"])
        .exits(1)
        .says("is kept");
    let sessions = host.sessions();
    let [kept] = &sessions[..] else { panic!("{sessions:?}") };
    host.zchroot(["source", "exec", kept, "--", "sh", "-c", "echo whole >> /srv/work"]).ok();
    host.zchroot(["source", "commit", kept, "-m", "repaired"]).ok();
    host.run_in_demo("cat /srv/work").ok().prints("half\nwhole");
    host.assert_nothing_left();
}

#[test]
fn dir_a_source_session_is_committed_in_steps() {
    let host = Installation::with_demo();
    host.zchroot(["source", "begin", "demo", "-n", "s"]).ok().prints("s");
    host.zchroot(["source", "exec", "s", "--", "sh", "-c", "id -u; pwd; echo 2 > /etc/generation"])
        .ok()
        .prints("0\n/");
    host.run_in_demo("cat /etc/generation").ok().prints("1");
    host.zchroot(["source", "exec", "s", "--", "sh", "-c", "exit 3"]).exits(3);
    let version = host.zchroot(["source", "commit", "s", "-m", "in steps"]).ok().text();
    assert_eq!(host.current("demo"), version);
    host.run_in_demo("cat /etc/generation").ok().prints("2");
    host.zchroot(["source", "commit", "s"]).exits(4).says("there is no session s");
    host.assert_nothing_left();
}

#[test]
fn dir_an_aborted_source_session_changes_nothing() {
    let host = Installation::with_demo();
    let before = host.current("demo");
    host.zchroot(["source", "begin", "demo", "-n", "s"]).ok();
    host.zchroot(["source", "exec", "s", "--", "rm", "-r", "/srv"]).ok();
    host.zchroot(["source", "abort", "s"]).ok();
    assert_eq!(host.current("demo"), before);
    host.run_in_demo("ls -d /srv").ok();
    host.assert_nothing_left();
}

#[test]
fn dir_nothing_of_the_host_is_committed() {
    let host = Installation::with_demo();
    host.zchroot([
        "update",
        "demo",
        "-q",
        "--",
        "sh",
        "-c",
        "ls /proc/self >/dev/null && echo x > /dev/null",
    ])
    .ok();
    let tree = host.at(&format!("/var/lib/zchroot/store/templates/demo/{}", host.current("demo")));
    let list = |folder: &str| std::fs::read_dir(tree.join(folder)).unwrap().count();
    assert_eq!((list("dev"), list("proc"), list("sys")), (0, 0, 0));
    assert_eq!(std::fs::read_to_string(tree.join("etc/passwd")).unwrap(), "root:x:0:0:root:/root:/bin/sh\n");
    assert!(!tree.join("etc/resolv.conf").exists() && !tree.join("etc/debian_chroot").exists());
}

#[test]
fn dir_the_second_of_two_maintainers_gets_a_conflict_and_keeps_the_session() {
    let host = Installation::with_demo();
    let base = host.current("demo");
    for name in ["one", "two"] {
        host.zchroot(["source", "begin", "demo", "-n", name]).ok();
        host.zchroot(["source", "exec", name, "--", "sh", "-c", &format!("echo {name} > /srv/who")]).ok();
    }
    let first = host.zchroot(["source", "commit", "one"]).ok().text();
    let conflict =
        host.zchroot(["source", "commit", "two"]).exits(3).says("conflict").says(&base).says(&first);
    conflict.says("hint: zchroot source rebase two").says("hint: zchroot source abort two");
    host.run_in_demo("cat /srv/who").ok().prints("one");
    // The work is not lost: it can be entered, looked at, and still not be committed.
    host.zchroot(["source", "exec", "two", "--", "cat", "/srv/who"]).ok().prints("two");
    host.zchroot(["source", "commit", "two"]).exits(3);
    host.zchroot(["source", "abort", "two"]).ok();
    assert_eq!(host.versions("demo"), [base, first]);
    host.assert_nothing_left();
}

#[test]
fn dir_an_update_that_meets_a_conflict_keeps_its_session() {
    let host = Installation::with_demo();
    let script = "echo late > /srv/who; echo ready; cat > /dev/null";
    let update = host.order(["update", "demo", "--", "sh", "-c", script]).start();
    crate::harness::wait_until("the update runs", || {
        host.sessions()
            .first()
            .is_some_and(|id| host.zchroot(["source", "exec", id, "--", "cat", "/srv/who"]).status == 0)
    });
    host.zchroot(["source", "begin", "demo", "-n", "quick"]).ok();
    host.zchroot(["source", "commit", "quick"]).ok();
    let late = update.finish();
    assert!(late.status == 3 || late.status == 125, "{late}");
    let late = late.says("conflict").says("is kept");
    let kept = host.sessions();
    assert_eq!(kept.len(), 1, "{late}");
    host.zchroot(["source", "exec", &kept[0], "--", "cat", "/srv/who"]).ok().prints("late");
    host.zchroot(["source", "abort", &kept[0]]).ok();
    host.assert_nothing_left();
}

#[test]
fn dir_only_source_sessions_are_committed_or_aborted() {
    let host = Installation::with_demo();
    host.zchroot(["begin", "demo", "-n", "work"]).ok();
    for step in ["commit", "abort"] {
        host.zchroot(["source", step, "work"]).exits(1).says("zchroot: work is not a source session\n");
    }
    host.zchroot(["source", "exec", "work", "--", "true"]).exits(125).says("work is not a source session");
    host.zchroot(["exec", "work", "-d", "/", "--", "true"]).ok();
    host.zchroot(["end", "work"]).ok();
    host.assert_nothing_left();
}

#[test]
fn dir_versions_beyond_those_to_be_kept_go_unless_a_session_is_based_on_them() {
    let host = Installation::with_demo();
    host.define("demo", "version = 1\nprofile = \"minimal\"\nkeep = 2\n");
    let first = host.current("demo");
    host.zchroot(["begin", "demo", "-n", "old"]).ok();
    for generation in 2..=5 {
        let script = format!("echo {generation} > /etc/generation");
        host.zchroot(["update", "demo", "-q", "--", "sh", "-c", &script]).ok();
    }
    let trees = || std::fs::read_dir(host.at("/var/lib/zchroot/store/templates/demo")).unwrap().count();
    assert_eq!(trees(), 4, "the current one, two before it, one in use");
    host.zchroot(["exec", "old", "-d", "/", "--", "cat", "/etc/generation"]).ok().prints("1");
    host.zchroot(["end", "old"]).ok();
    host.zchroot(["gc"]).ok();
    assert_eq!(trees(), 3);
    host.zchroot(["begin", "demo", "--at", &first]).exits(4).says(&format!("has no version {first}"));
    assert_eq!(host.versions("demo").len(), 5, "the history stays");
    host.assert_nothing_left();
}

#[test]
fn dir_an_update_that_is_not_due_does_nothing_and_says_so() {
    let host = Installation::with_demo();
    let first = host.current("demo");
    let update =
        |age: &str| host.zchroot(["update", "demo", "--if-older", age, "--", "sh", "-c", "echo run"]);
    for age in ["7d", "1h"] {
        update(age).ok().prints("").says(&format!("version {first} (generation 1)")).says("nothing is done");
    }
    assert_eq!(host.versions("demo").len(), 1);
    update("0s").ok().prints("run").says("generation 2) is current");
    update("soon").exits(2).says("is not a period");
    let path = format!("/var/lib/zchroot/templates/demo/versions/{}.toml", host.current("demo"));
    let about = host.read(&path);
    let made = about.lines().find(|line| line.starts_with("created")).unwrap();
    host.write(&path, &about.replace(made, "created = \"2020-01-01T00:00:00Z\""));
    update("7d").ok().prints("run").says("generation 3) is current");
    host.assert_nothing_left();
}

#[test]
fn dir_who_begins_to_change_a_template_is_told_who_else_does() {
    let host = Installation::with_demo();
    let alone = host.zchroot(["source", "begin", "demo", "-n", "one"]).ok();
    assert!(!alone.stderr.contains("open on demo"), "{alone}");
    host.zchroot(["source", "begin", "demo", "-n", "two"])
        .ok()
        .says("root has source session one open on demo since 20")
        .says("whoever commits second gets a conflict");
    host.zchroot(["update", "demo", "--", "false"])
        .exits(1)
        .says("session one open")
        .says("session two open");
    let quiet = host.zchroot(["-q", "source", "begin", "demo", "-n", "three"]).ok();
    assert_eq!(quiet.stderr, "");
    ["one", "two", "three"].iter().for_each(|name| drop(host.zchroot(["source", "abort", name]).ok()));
    host.assert_nothing_left();
}

#[test]
fn dir_a_test_sees_what_would_be_committed_and_changes_nothing_of_it() {
    let host = Installation::with_demo();
    let update = |test: &str, script: &str| {
        host.zchroot(["-q", "update", "demo", "--test", test, "--", "sh", "-c", script])
    };
    let test = "cat /etc/generation; id -u; pwd; echo spoiled > /etc/generation; touch /srv/of-the-test";
    update(test, "echo 2 > /etc/generation").ok().prints("2\n0\n/");
    host.run_in_demo("cat /etc/generation; ls /srv").ok().prints("2");
    assert_eq!(host.versions("demo").len(), 2);
    let before = host.current("demo");
    update("exit 7", "echo 3 > /etc/generation").exits(7);
    update("kill -9 $$", "echo 3 > /etc/generation").exits(137);
    // A test is not asked about what failed before.
    update("echo tested", "exit 5").exits(5).prints("");
    assert_eq!(host.current("demo"), before);
    host.assert_nothing_left();
    host.zchroot(["gc"]).ok();
    host.run_in_demo("cat /etc/generation").ok().prints("2");
}

#[test]
fn dir_a_session_whose_test_failed_can_be_kept_repaired_and_committed() {
    let host = Installation::with_demo();
    host.zchroot(["update", "demo", "--keep", "--test", "test -e /srv/whole", "--", "touch", "/srv/half"])
        .exits(1)
        .says("the test failed with status 1")
        .says("is kept");
    let sessions = host.sessions();
    let [kept] = &sessions[..] else { panic!("{sessions:?}") };
    host.zchroot(["source", "exec", kept, "--", "sh", "-c", "ls /srv; touch /srv/whole"]).ok().prints("half");
    host.zchroot(["-q", "source", "commit", kept]).ok();
    host.run_in_demo("ls /srv").ok().prints("half\nwhole");
    host.assert_nothing_left();
}

#[test]
fn dir_a_conflict_after_a_test_keeps_a_session_that_stands() {
    let host = Installation::with_demo();
    std::thread::scope(|scope| {
        let late = scope.spawn(|| {
            host.zchroot([
                "update",
                "demo",
                "--test",
                "while ! test -e /srv/go; do sleep 0.05; done",
                "--",
                "true",
            ])
        });
        let trial =
            || host.sessions().iter().any(|id| host.at(&format!("/run/zchroot/mount/{id}/srv")).exists());
        wait_until("the test runs", || host.sessions().len() == 2 && trial());
        host.zchroot(["-q", "update", "demo", "--", "touch", "/srv/of-another"]).ok();
        for id in host.sessions() {
            let _ = std::fs::write(host.at(&format!("/run/zchroot/mount/{id}/srv/go")), "");
        }
        late.join().unwrap().exits(3).says("conflict").says("is kept");
    });
    let sessions = host.sessions();
    let [kept] = &sessions[..] else { panic!("{sessions:?}") };
    host.zchroot(["source", "rebase", kept, "-n", "again"]).ok();
    host.zchroot(["-q", "source", "abort", kept]).ok();
    host.zchroot(["-q", "source", "commit", "again"]).ok();
    host.assert_nothing_left();
}

//! Crashes of the shipped program: it is killed at a system call that changes something, then `recover` and `gc`
//! have to find whatever was left, and the template has to have its old version or its new one, whole.
//!
//! A first call under strace(1) lists the calls of the program's own process; the same call is then repeated
//! once per sampled point and killed when it comes there (strace kills before the call takes effect). With
//! ZCHROOT_TEST_LONG=1 no point is left out.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "tests work on the host as it is"
)]

mod harness;

use std::collections::BTreeMap;

use harness::{Done, Installation, Order, program};

const POINTS: usize = 12;
/// Stands for the directory that a template is created from.
const SOURCE: &str = "SOURCE";
const KILLED: i32 = 1000 + libc::SIGKILL;
const CALLS: &str = "mkdir,mkdirat,rmdir,unlink,unlinkat,rename,renameat,renameat2,symlink,symlinkat,linkat,mount,\
umount2,fsmount,move_mount,mount_setattr,fsync,fdatasync,syncfs,flock,write,pwrite64,copy_file_range,sendfile,\
clone,clone3,fchmod,fchmodat,fchown,fchownat,utimensat,openat2,waitid,wait4,kill,pidfd_send_signal";
/// Two files far from each other get the generation $1.
const STAMP: &str = "echo $1 > /etc/generation; rm -f /usr/lib/generation-*; mkdir -p /usr/lib; echo $1 > /usr/lib/generation-$1";
const LOOK: &str = "cat /etc/generation /usr/lib/generation-* | sort -u";

/// A place to be killed at: the n-th call of this name.
#[derive(Debug, Clone)]
struct Point {
    call: String,
    nth: usize,
}

/// What is done, and what must be true after a crash in it and the clearing up.
struct Case<'a> {
    words: &'a dyn Fn(usize) -> Vec<String>,
    before: &'a dyn Fn(&Installation),
    after: &'a dyn Fn(&Installation),
}

fn strace(host: &Installation, rule: &str, log: &str, words: &[String]) -> Done {
    let log = host.at(log);
    let order = Order::new("strace").words(["-qq", "-o", log.to_str().unwrap(), "-e", rule, "--"]);
    let source = host.at("/source").display().to_string();
    let words = words.iter().map(|word| if word == SOURCE { source.as_str() } else { word.as_str() });
    order.word(program::binary()).word("--root").word(host.path()).words(words).run()
}

/// Every call of the program's own process that changes something, in order.
fn points(host: &Installation, words: &[String]) -> Vec<Point> {
    strace(host, &format!("trace={CALLS}"), "/calls", words).ok();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let log = host.read("/calls");
    let names = log.lines().filter_map(|line| Some(line.split_once('(')?.0));
    let names = names.filter(|name| CALLS.split(',').any(|call| call == *name));
    let point = |name: &str| {
        let nth = counts.entry(name.to_owned()).and_modify(|count| *count += 1).or_insert(1);
        Point { call: name.to_owned(), nth: *nth }
    };
    let all: Vec<Point> = names.map(point).collect();
    assert!(all.len() > POINTS, "strace saw next to nothing:\n{log}");
    all
}

/// Evenly spread, the last one among them.
fn sample(all: &[Point]) -> Vec<Point> {
    if std::env::var_os("ZCHROOT_TEST_LONG").is_some() {
        return all.to_vec();
    }
    (1..=POINTS).map(|i| all[i * all.len() / POINTS - 1].clone()).collect()
}

/// Kills the case at its points, clears up after each, and looks.
fn crash(what: &str, case: &Case<'_>) {
    let host = Installation::with_demo();
    host.configure("version = 1\ngrace = \"0s\"\n");
    host.zchroot(["-q", "update", "demo", "--", "sh", "-c", STAMP, "stamp", "1"]).ok();
    (case.before)(&host);
    let all = points(&host, &(case.words)(0));
    (case.after)(&host);
    host.zchroot(["gc"]).ok();
    host.assert_nothing_left();
    let sampled = sample(&all);
    let mut killed = 0;
    for (turn, point) in sampled.iter().enumerate() {
        (case.before)(&host);
        let rule = format!("inject={}:signal=KILL:when={}", point.call, point.nth);
        let done = strace(&host, &rule, "/log", &(case.words)(turn + 1));
        // How often it waits differs from call to call: then it may end before it comes there.
        killed += usize::from(done.status == KILLED);
        assert!(done.status == KILLED || done.status == 0, "{point:?}: {done}");
        clear_up(&host, point);
        (case.after)(&host);
        assert!(host.left_over().is_empty(), "{what} killed at {point:?} leaves {:#?}", host.left_over());
    }
    println!("crash-count: {what} points={} sampled={} killed={killed}", all.len(), sampled.len());
    assert!(killed * 2 > sampled.len(), "most points were not reached");
}

/// Twice, since recover itself must leave nothing to be recovered.
fn clear_up(host: &Installation, point: &Point) {
    let first = host.zchroot(["recover"]);
    assert_eq!(first.status, 0, "after {point:?}: {first}");
    let again = host.zchroot(["recover"]).ok();
    let stands = again.text().lines().all(|line| line.ends_with(": stands"));
    assert!(stands, "after {point:?} recover finds more to recover: {again}");
    host.zchroot(["gc"]).ok();
}

#[test]
fn dir_crash_create_killed_anywhere_leaves_a_whole_template_or_none() {
    let create = |turn: usize| {
        let name = format!("new-{turn}");
        words(&["-q", "create", &name, "--from", SOURCE])
    };
    let none_or_whole = |host: &Installation| {
        let templates = host.zchroot(["list", "--templates", "--json"]).json();
        for template in templates["list"]["templates"].as_array().unwrap() {
            let name = template["name"].as_str().unwrap();
            if !template["current"].is_null() {
                host.zchroot(["run", name, "-d", "/", "--", "cat", "/etc/generation"]).ok();
            }
        }
        template_is_whole(host);
    };
    crash("create", &Case { words: &create, before: &nothing, after: &none_or_whole });
}

fn words(text: &[&str]) -> Vec<String> {
    text.iter().map(|word| (*word).to_owned()).collect()
}

fn nothing(_: &Installation) {}

/// One whole generation, and a template that can be used and changed.
fn template_is_whole(host: &Installation) {
    let look = host.run_in_demo(LOOK).ok();
    assert_eq!(look.text().lines().count(), 1, "neither the old nor the new version: {look}");
    assert_eq!(
        host.versions("demo").last(),
        Some(&host.current("demo")),
        "the pointer is not the newest version"
    );
}

fn end_what_stands(host: &Installation) {
    for session in host.sessions() {
        host.zchroot(["exec", &session, "-d", "/", "--", "true"]).ok();
        host.zchroot(["end", &session]).ok();
    }
    template_is_whole(host);
}

#[test]
fn dir_crash_run_killed_anywhere_leaves_nothing() {
    let run = |_| words(&["run", "demo", "-d", "/", "--", "true"]);
    crash("run", &Case { words: &run, before: &nothing, after: &template_is_whole });
}

#[test]
fn dir_crash_begin_killed_anywhere_leaves_nothing_or_a_session() {
    let begin = |_| words(&["begin", "demo", "-n", "work"]);
    crash("begin", &Case { words: &begin, before: &nothing, after: &end_what_stands });
}

#[test]
fn dir_crash_end_killed_anywhere_is_ended_by_recover() {
    let begin = |host: &Installation| {
        host.zchroot(["begin", "demo", "-n", "work"]).ok();
        host.zchroot(["exec", "work", "-d", "/", "--", "sh", "-c", "echo mine > /srv/mine"]).ok();
    };
    let end = |_| words(&["end", "work"]);
    crash("end", &Case { words: &end, before: &begin, after: &end_what_stands });
}

/// A source session that stands again has its work; it is aborted here.
fn abort_what_stands(host: &Installation) {
    for session in host.sessions() {
        host.zchroot(["source", "exec", &session, "--", "true"]).ok();
        host.zchroot(["source", "abort", &session]).ok();
    }
    host.zchroot(["gc"]).ok();
    template_is_whole(host);
}

#[test]
fn dir_crash_update_killed_anywhere_leaves_the_old_or_the_new_version() {
    let update = |turn: usize| {
        let generation = (turn + 2).to_string();
        words(&["-q", "update", "demo", "--", "sh", "-c", STAMP, "stamp", &generation])
    };
    crash("update", &Case { words: &update, before: &nothing, after: &abort_what_stands });
}

#[test]
fn dir_crash_source_commit_killed_anywhere_leaves_the_old_or_the_new_version() {
    let generation = std::cell::Cell::new(1);
    let begin = |host: &Installation| {
        generation.set(generation.get() + 1);
        host.zchroot(["-q", "source", "begin", "demo", "-n", "work"]).ok();
        let text = generation.get().to_string();
        host.zchroot(["source", "exec", "work", "--", "sh", "-c", STAMP, "stamp", &text]).ok();
    };
    let old_or_new = |host: &Installation| {
        let sessions = host.sessions();
        let seen = host.run_in_demo(LOOK).ok().text();
        if sessions.is_empty() {
            assert_eq!(seen, generation.get().to_string(), "the session is gone, so it was committed");
        } else {
            // Not committed: the work is there, and can be committed now.
            assert_ne!(seen, generation.get().to_string(), "committed, but the session stands");
            host.zchroot(["-q", "source", "commit", "work"]).ok();
            assert_eq!(host.run_in_demo(LOOK).ok().text(), generation.get().to_string());
        }
        template_is_whole(host);
    };
    let commit = |_| words(&["-q", "source", "commit", "work"]);
    crash("commit", &Case { words: &commit, before: &begin, after: &old_or_new });
}

#[test]
fn dir_crash_rollback_killed_anywhere_leaves_the_old_or_the_new_version() {
    let rollback = |_| words(&["-q", "rollback", "demo"]);
    crash("rollback", &Case { words: &rollback, before: &nothing, after: &abort_what_stands });
}

#[test]
fn dir_crash_update_with_a_test_killed_anywhere_leaves_the_old_or_the_new_version() {
    let update = |turn: usize| {
        let generation = (turn + 2).to_string();
        words(&["-q", "update", "demo", "--test", LOOK, "--", "sh", "-c", STAMP, "stamp", &generation])
    };
    crash("update --test", &Case { words: &update, before: &nothing, after: &abort_what_stands });
}

#[test]
fn dir_crash_recover_killed_anywhere_can_be_repeated() {
    let lost = |host: &Installation| {
        host.zchroot(["begin", "demo", "-n", "work"]).ok();
        host.zchroot(["exec", "work", "-d", "/", "--", "sh", "-c", "echo mine > /srv/mine"]).ok();
        for point in harness::left::mounts(&host.at("/run/zchroot/mount/work")).iter().rev() {
            nix::mount::umount(point).unwrap();
        }
    };
    let stands = |host: &Installation| {
        host.zchroot(["exec", "work", "-d", "/", "--", "cat", "/srv/mine"]).ok().prints("mine");
        // Everything of the profile is there, not only the tree.
        host.zchroot(["exec", "work", "-d", "/", "--", "sh", "-c", "test -e /proc/self && echo > /dev/null"])
            .ok();
        host.zchroot(["end", "work"]).ok();
        template_is_whole(host);
    };
    let recover = |_| words(&["recover"]);
    crash("recover", &Case { words: &recover, before: &lost, after: &stands });
}

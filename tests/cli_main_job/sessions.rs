//! Named sessions: begin, exec, end.

use crate::harness::{Installation, Order, program::binary, wait_until};

#[test]
fn dir_a_named_session_is_entered_any_number_of_times_until_it_is_ended() {
    let host = Installation::with_demo();
    host.zchroot(["begin", "demo", "-n", "work"]).ok().prints("work");
    let exec = |script: &str| host.zchroot(["exec", "work", "-d", "/", "--", "sh", "-c", script]);
    exec("echo mine > /srv/file").ok();
    exec("cat /srv/file").ok().prints("mine");
    exec("exit 9").exits(9);
    exec("kill -9 $$").exits(137);
    assert_eq!(host.sessions(), ["work"]);
    host.run_in_demo("cat /srv/file").exits(1);
    host.zchroot(["end", "work"]).ok().prints("");
    exec("true").exits(125).says("there is no session work");
    host.zchroot(["end", "work"]).exits(4).says("zchroot: there is no session work\nhint: zchroot list\n");
    host.assert_nothing_left();
}

#[test]
fn dir_a_session_without_a_name_gets_one_and_prints_it() {
    let host = Installation::with_demo();
    let name = host.zchroot(["begin", "demo"]).ok().text();
    assert!(name.starts_with("demo-2"), "{name}");
    host.zchroot(["exec", &name, "-d", "/", "--", "true"]).ok();
    host.zchroot(["end", &name]).ok();
    host.assert_nothing_left();
}

#[test]
fn dir_a_name_that_is_taken_is_refused_and_the_session_stays() {
    let host = Installation::with_demo();
    host.zchroot(["begin", "demo", "-n", "work"]).ok();
    host.zchroot(["exec", "work", "-d", "/", "--", "touch", "/srv/mine"]).ok();
    host.zchroot(["begin", "demo", "-n", "work"]).exits(3).says("zchroot: there is a session work already\n");
    host.zchroot(["source", "begin", "demo", "-n", "work"]).exits(3).says("there is a session work already");
    host.zchroot(["exec", "work", "-d", "/", "--", "ls", "/srv/mine"]).ok();
    host.zchroot(["end", "work"]).ok();
    host.assert_nothing_left();
}

#[test]
fn dir_end_ends_all_that_are_named_and_says_which_would_not() {
    let host = Installation::with_demo();
    for name in ["one", "two", "three"] {
        host.zchroot(["begin", "demo", "-n", name]).ok();
    }
    host.zchroot(["end", "one", "none", "two"]).exits(4).says("there is no session none");
    assert_eq!(host.sessions(), ["three"]);
    host.zchroot(["source", "begin", "demo", "-n", "source"]).ok();
    host.zchroot(["end", "--all"]).ok();
    assert_eq!(host.sessions(), ["source"], "a source session carries work and stays");
    host.zchroot(["end", "source"])
        .exits(1)
        .says("commit or abort")
        .says("hint: zchroot source abort source");
    host.zchroot(["source", "abort", "source"]).ok();
    host.assert_nothing_left();
}

#[test]
fn dir_ending_a_session_ends_what_runs_in_it() {
    let host = Installation::with_demo();
    host.zchroot(["begin", "demo", "-n", "work"]).ok();
    let running = host.order(["exec", "work", "-d", "/", "--", "sh", "-c", "echo up; sleep 1000"]).start();
    crate::harness::wait_until("the command runs", || {
        !crate::harness::left::processes(host.path()).is_empty()
    });
    host.zchroot(["end", "work"]).ok();
    running.finish().exits(137);
    host.assert_nothing_left();
}

#[test]
fn dir_a_session_can_be_begun_from_an_older_version() {
    let host = Installation::with_demo();
    let first = host.current("demo");
    host.zchroot(["update", "demo", "-q", "--", "sh", "-c", "echo 2 > /etc/generation"]).ok();
    let at = ["run", "demo", "--at", &first, "-d", "/", "--", "cat", "/etc/generation"];
    host.zchroot(at).ok().prints("1");
    host.zchroot(["begin", "demo", "-n", "old", "--at", &first]).ok();
    host.zchroot(["exec", "old", "-d", "/", "--", "cat", "/etc/generation"]).ok().prints("1");
    host.run_in_demo("cat /etc/generation").ok().prints("2");
    host.zchroot(["end", "old"]).ok();
    host.assert_nothing_left();
}

#[test]
fn dir_an_alias_names_the_template() {
    let host = Installation::with_demo();
    host.define("demo", "version = 1\nprofile = \"minimal\"\naliases = [\"stable\"]\n");
    host.zchroot(["run", "stable", "-d", "/", "--", "cat", "/etc/generation"]).ok().prints("1");
    let name = host.zchroot(["begin", "stable"]).ok().text();
    let info = host.zchroot(["info", &name, "--json"]).json();
    assert_eq!(info["session"]["record"]["template"], "demo");
    host.zchroot(["update", "stable", "-q", "--", "true"]).ok();
    assert_eq!(host.versions("demo").len(), 2);
    host.zchroot(["end", &name]).ok();
    host.assert_nothing_left();
}

#[test]
fn dir_end_and_commit_called_from_inside_the_tree_do_not_hold_it_themselves() {
    let host = Installation::with_demo();
    host.zchroot(["begin", "demo", "-n", "work"]).ok();
    let end = host.order(["end", "work"]).current_dir(host.at("/run/zchroot/mount/work"));
    let done = end.run().ok();
    assert_eq!(done.stderr, "", "{done}");
    host.zchroot(["source", "begin", "demo", "-n", "source"]).ok();
    let inside = host.at("/run/zchroot/mount/source/srv");
    let done = host.order(["source", "commit", "source"]).current_dir(inside).run().ok();
    assert_eq!(done.stderr.lines().count(), 1, "{done}");
    host.assert_nothing_left();
}

#[test]
fn dir_a_shell_that_stands_in_the_tree_is_named_and_the_session_stays_recorded_until_it_has_left() {
    let host = Installation::with_demo();
    host.zchroot(["begin", "demo", "-n", "work"]).ok();
    let script = "cd \"$0\" && \"$@\"; echo $?; cd / && \"$@\"; echo $?";
    let shell = Order::new("/bin/sh").words(["-c", script]).word(host.at("/run/zchroot/mount/work"));
    let shell = shell.word(binary()).word("--root").word(host.path()).words(["end", "work"]);
    let mut running = shell.start();
    let pid = running.pid();
    assert_eq!(running.line(), "3");
    let done = running.finish().ok().prints("0");
    let named =
        format!("process {pid} (sh), from which zchroot was called, is in the tree of work: leave it first");
    done.says(&format!("zchroot: {named}\nhint: cd /"));
    host.assert_nothing_left();
}

#[test]
fn dir_a_session_that_could_not_be_ended_is_recorded_as_ending_and_its_tree_is_there() {
    let host = Installation::with_demo();
    host.zchroot(["begin", "demo", "-n", "work"]).ok();
    let script = "cd \"$0\" && \"$@\"; cat etc/generation";
    let shell = Order::new("/bin/sh").words(["-c", script]).word(host.at("/run/zchroot/mount/work"));
    let shell = shell.word(binary()).word("--root").word(host.path()).words(["end", "work"]);
    shell.run().ok().prints("1");
    let json = host.zchroot(["info", "work", "--json"]).json();
    assert_eq!(json["session"]["record"]["state"], "ending", "{json}");
    host.zchroot(["exec", "work", "-d", "/", "--", "true"]).exits(125).says("it is ending");
    host.zchroot(["recover"]).ok().prints("work: ended");
    host.assert_nothing_left();
}

/// The cgroups of an installation's sessions.
fn cgroups(host: &Installation) -> Vec<String> {
    host.left_over().into_iter().filter(|line| line.starts_with("cgroup ")).collect()
}

#[test]
fn dir_who_enters_a_session_does_not_make_its_cgroup_anew() {
    let host = Installation::with_demo();
    host.zchroot(["begin", "demo", "-n", "work"]).ok();
    let [group] = &cgroups(&host)[..] else { panic!("a session has a cgroup from its begin on") };
    std::fs::remove_dir(group.trim_start_matches("cgroup ")).unwrap();
    host.zchroot(["exec", "work", "-d", "/", "--", "true"]).ok();
    assert_eq!(cgroups(&host), [] as [String; 0], "as after an end that was faster");
    let mut inside = host.order(["exec", "work", "-d", "/", "--", "sh", "-c", "echo in; sleep 1000"]).start();
    assert_eq!(inside.line(), "in");
    host.zchroot(["end", "work"]).ok();
    inside.finish().exits(143);
    host.assert_nothing_left();
}

/// Its name was given to another one while somebody who was to end it waited for its lock.
#[test]
fn dir_a_session_that_got_the_name_of_one_that_was_to_be_ended_stays() {
    let host = Installation::with_demo();
    host.zchroot(["begin", "demo", "-n", "work"]).ok();
    let lock = std::fs::File::open(host.at("/run/zchroot/lock/session-work")).unwrap();
    lock.lock().unwrap();
    let end = host.order(["end", "work"]).start();
    let record = "/var/lib/zchroot/sessions/work.toml";
    wait_until("that it waits", || {
        let call = std::fs::read_to_string(format!("/proc/{}/syscall", end.pid())).unwrap_or_default();
        let sleeps = [libc::SYS_clock_nanosleep, libc::SYS_nanosleep].map(|number| number.to_string());
        call.split(' ').next().is_some_and(|number| sleeps.iter().any(|sleep| sleep == number))
    });
    let created = host.read(record).lines().find(|line| line.starts_with("created = ")).unwrap().to_owned();
    host.write(record, &host.read(record).replace(&created, "created = \"2020-01-01T00:00:00Z\""));
    drop(lock);
    end.finish().exits(4).says("there is no session work");
    assert_eq!(host.sessions(), ["work"]);
    host.zchroot(["exec", "work", "-d", "/", "--", "true"]).ok();
    host.zchroot(["end", "work"]).ok();
    host.assert_nothing_left();
}

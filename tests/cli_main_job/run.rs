//! `zchroot run`: what a command sees, and what its caller gets back.

use std::path::Path;

use crate::harness::{Installation, left, wait_until};
use nix::sys::signal::Signal;

#[test]
fn dir_the_exit_status_is_the_commands() {
    let host = Installation::with_demo();
    host.write("/source/nothing", "");
    for (command, status) in [
        (&["true"][..], 0),
        (&["sh", "-c", "exit 7"], 7),
        (&["sh", "-c", "exit 255"], 255),
        (&["sh", "-c", "kill -9 $$"], 128 + 9),
        (&["sh", "-c", "kill -TERM $$"], 128 + 15),
        (&["no-such-command"], 127),
        (&["/no/such/command"], 127),
        (&["/etc/passwd"], 126),
        (&["/etc"], 126),
    ] {
        let done = host.zchroot([&["run", "demo", "-d", "/", "--"], command].concat()).exits(status);
        let lines = usize::from(status == 126 || status == 127);
        assert_eq!(done.stderr.lines().count(), lines, "{done}");
        host.assert_nothing_left();
    }
}

#[test]
fn dir_what_fails_before_the_command_is_125() {
    let host = Installation::with_demo();
    for (words, said) in [
        (&["run", "nothing", "--", "true"][..], "zchroot: there is no template nothing\n"),
        (&["run", "demo", "-d", "/no/such", "--", "true"], "‘/no/such’: No such file or directory"),
        (&["run", "demo", "-u", "no-such-user", "-d", "/", "--", "true"], "user ‘no-such-user’ not found"),
        (&["run", "demo", "--at", "19700101-000000-000-0000", "--", "true"], "no version 19700101"),
    ] {
        host.zchroot(words.iter().copied()).exits(125).says(said);
        host.assert_nothing_left();
    }
}

#[test]
fn dir_a_command_is_the_user_in_the_directory_that_was_asked_for() {
    let host = Installation::with_demo();
    let run = |words: &[&str], script: &str| {
        host.zchroot([&["run", "demo"], words, &["--", "sh", "-c", script]].concat()).ok().text()
    };
    assert_eq!(run(&["-d", "/etc"], "pwd; id -u"), "/etc\n0");
    assert_eq!(
        run(&["-u", "nobody", "-d", "/tmp"], "pwd; id -u; id -g; id -un"),
        "/tmp\n65534\n65534\nnobody"
    );
    assert_eq!(run(&[], "pwd"), "/", "the caller is in /");
    assert_eq!(run(&["-u", "nobody", "-d", "/tmp"], "touch a; stat -c %U a"), "nobody");
    host.assert_nothing_left();
}

#[test]
fn dir_the_environment_is_a_new_one_unless_it_is_to_be_kept() {
    let host = Installation::with_demo();
    let run = |words: &[&str]| {
        let order = host.order([&["run", "demo", "-d", "/"], words, &["--", "env"]].concat());
        order.env("COLOUR", "blue").env("LD_PRELOAD", "/tmp/evil.so").run().ok().text()
    };
    let (new, kept) = (run(&[]), run(&["-p"]));
    let has = |text: &str, variable: &str| text.lines().any(|line| line.starts_with(variable));
    assert!(!has(&new, "COLOUR="), "{new}");
    assert!(has(&kept, "COLOUR=blue"), "{kept}");
    for text in [&new, &kept] {
        assert!(!has(text, "LD_PRELOAD"), "{text}");
        assert!(has(text, "SCHROOT_CHROOT_NAME=demo"), "{text}");
        assert!(has(text, "SCHROOT_SESSION_ID=demo-"), "{text}");
    }
    assert!(has(&new, "HOME=/root") && has(&new, "USER=root"), "{new}");
}

#[test]
fn dir_a_login_shell_is_started_if_no_command_is_given() {
    let host = Installation::with_demo();
    let done = host.order(["run", "demo"]).input("echo $0; pwd; exit 3\n").run().exits(3);
    assert!(done.text().starts_with('-'), "not a login shell: {done}");
    host.assert_nothing_left();
}

#[test]
fn dir_without_a_network_there_is_only_lo() {
    let host = Installation::with_demo();
    let count = "ls /sys/class/net; ip -o link show | wc -l";
    host.zchroot([
        "run",
        "demo",
        "-d",
        "/",
        "--net",
        "none",
        "--",
        "sh",
        "-c",
        "ip -o link show | cut -d: -f2",
    ])
    .ok()
    .prints(" lo");
    let defined = "version = 1\nprofile = \"minimal\"\nnet = \"none\"\n";
    host.define("demo", defined);
    host.run_in_demo("ip -o link show | wc -l").ok().prints("1");
    // An option never takes back what the definition says.
    let done =
        host.zchroot(["run", "demo", "-d", "/", "--net", "host", "--", "sh", "-c", "ip -o link | wc -l"]);
    done.ok().prints("1");
    assert!(host.run_in_demo(count).ok().text().contains("lo"));
}

#[test]
fn dir_own_namespaces_hide_the_hosts_processes_and_host_name() {
    let host = Installation::with_demo();
    let run = |words: &[&str], script: &str| {
        host.zchroot([&["run", "demo", "-d", "/"], words, &["--", "sh", "-c", script]].concat()).ok().text()
    };
    let pids: u32 = run(&["--pid"], "ls /proc | grep -c '^[0-9]'").parse().unwrap();
    assert!(pids < 6, "{pids} processes are to be seen");
    assert_eq!(run(&["--uts"], "hostname"), "demo");
    let ours = std::fs::read_link("/proc/self/ns/ipc").unwrap().display().to_string();
    assert_eq!(run(&[], "readlink /proc/self/ns/ipc"), ours);
    assert_ne!(run(&["--ipc"], "readlink /proc/self/ns/ipc"), ours);
    host.assert_nothing_left();
}

#[test]
fn dir_input_and_output_pass_through_unchanged() {
    let host = Installation::with_demo();
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let done = host.order(["run", "demo", "-d", "/", "--", "cat"]).input(bytes.clone()).run().ok();
    assert!(done.stdout == bytes, "{} bytes came back of {}", done.stdout.len(), bytes.len());
    let done = host.run_in_demo("echo out; echo err >&2").ok();
    assert_eq!((done.text().as_str(), done.stderr.as_str()), ("out", "err\n"));
}

#[test]
fn dir_what_a_session_writes_is_gone_with_it() {
    let host = Installation::with_demo();
    host.run_in_demo("echo 2 > /etc/generation; rm -r /srv; touch /new").ok();
    host.run_in_demo("cat /etc/generation; ls -d /srv /new 2>/dev/null").exits(1).prints("1\n/srv");
    host.assert_nothing_left();
}

#[test]
fn dir_processes_that_a_command_leaves_behind_are_gone_with_its_session() {
    let host = Installation::with_demo();
    host.run_in_demo(
        "setsid sleep 1000 >/dev/null 2>&1 </dev/null & cd /tmp; setsid sleep 1001 >/dev/null 2>&1 &",
    )
    .ok();
    host.assert_nothing_left();
}

#[test]
fn dir_a_signal_reaches_the_command_and_the_session_ends() {
    let host = Installation::with_demo();
    for (signal, status) in
        [(Signal::SIGTERM, 128 + 15), (Signal::SIGINT, 128 + 2), (Signal::SIGHUP, 128 + 1)]
    {
        let running = host.order(["run", "demo", "-d", "/", "--", "sleep", "1000"]).start();
        wait_until("the command runs", || !sleeping(host.path()).is_empty());
        running.signal(signal);
        running.finish().exits(status);
        host.assert_nothing_left();
    }
}

#[test]
fn dir_a_command_may_answer_a_signal_in_its_own_way() {
    let host = Installation::with_demo();
    let script = "trap 'exit 42' TERM; sleep 1000 & wait";
    let running = host.order(["run", "demo", "-d", "/", "--", "sh", "-c", script]).start();
    wait_until("the command runs", || !sleeping(host.path()).is_empty());
    running.signal(Signal::SIGTERM);
    running.finish().exits(42);
    host.assert_nothing_left();
}

/// The `sleep`s that run inside.
fn sleeping(root: &Path) -> Vec<u32> {
    let name = |pid: &u32| std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    left::processes(root).into_iter().filter(|pid| name(pid) == "sleep\n").collect()
}

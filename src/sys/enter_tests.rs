//! Real entries into a real tree: root, this host's kernel.

use std::os::fd::AsRawFd;
use std::path::PathBuf;

use super::enter::{Directory, Ended, EnterError, Namespaces, Note, Program, enter_with};
use super::testing::{TestTree, Visit, fork, in_child};

const PID: Namespaces = Namespaces { pid: true, ipc: false, uts: false, net_none: false };

#[test]
fn sys_root_the_exit_status_is_the_commands() {
    let tree = TestTree::new();
    for namespaces in [Namespaces::default(), PID] {
        for status in [0, 1, 7, 125, 255] {
            let visit = Visit::script(&format!("exit {status}")).namespaces(namespaces);
            assert_eq!(visit.at(&tree.root()).unwrap(), Ended::Exited(status));
        }
    }
}

#[test]
fn sys_root_the_signal_that_ended_a_command_is_told() {
    let tree = TestTree::new();
    for namespaces in [Namespaces::default(), PID] {
        for (name, signal) in [("TERM", libc::SIGTERM), ("KILL", libc::SIGKILL), ("PIPE", libc::SIGPIPE)] {
            let visit = Visit::script(&format!("kill -{name} $$")).namespaces(namespaces);
            assert_eq!(visit.at(&tree.root()).unwrap(), Ended::Signaled(signal), "{name}");
        }
    }
}

#[test]
fn sys_root_a_program_that_is_not_there_is_127() {
    let tree = TestTree::new();
    for (namespaces, words) in [
        (Namespaces::default(), &["no-such-command"][..]),
        (PID, &["no-such-command"]),
        (PID, &["/no/such/command"]),
        (PID, &["/etc/x/y"]),
        (PID, &[""]),
        (PID, &[]),
    ] {
        let error = Visit::argv(words).namespaces(namespaces).at(&tree.root()).unwrap_err();
        assert!(matches!(error, EnterError::NotFound { .. }), "{words:?}: {error:?}");
        assert_eq!(error.exit_code(), 127);
    }
    let error = Visit::argv(&["no-such-command"]).at(&tree.root()).unwrap_err();
    assert_eq!(error.to_string(), "cannot find program \"no-such-command\"");
}

#[test]
fn sys_root_a_program_that_cannot_be_executed_is_126() {
    let tree = TestTree::new();
    let plain = tree.file("tmp/plain", "#!/bin/sh\n", 0o644);
    let garbage = tree.file("tmp/garbage", "\u{1}\u{2}", 0o755);
    for path in [plain.as_str(), garbage.as_str(), "/tmp"] {
        let error = Visit::argv(&[path]).at(&tree.root()).unwrap_err();
        assert!(matches!(error, EnterError::NotExecutable { .. }), "{path}: {error:?}");
        assert_eq!(error.exit_code(), 126);
    }
}

#[test]
fn sys_root_the_search_goes_on_after_a_file_that_may_not_be_executed() {
    let tree = TestTree::new();
    tree.file("srv/true", "not for you", 0o644);
    let mut visit = Visit::argv(&["true"]);
    visit.extra = vec![("PATH", "relative:/srv:/usr/bin".to_owned())];
    assert_eq!(visit.at(&tree.root()).unwrap(), Ended::Exited(0));
    let mut visit = Visit::argv(&["true"]);
    visit.extra = vec![("PATH", "/srv:/nowhere".to_owned())];
    assert_eq!(visit.at(&tree.root()).unwrap_err().exit_code(), 126);
}

#[test]
fn sys_root_a_directory_that_is_not_there_is_an_error_of_its_own() {
    let tree = TestTree::new();
    let visit = Visit::argv(&["true"]).directory(Directory::Caller("/no/such/place".into()));
    let error = visit.at(&tree.root()).unwrap_err();
    assert_eq!(error.to_string(), "cannot change to directory ‘/no/such/place’");
    assert_eq!(error.exit_code(), 125);
}

#[test]
fn sys_root_the_user_is_switched_with_all_ids_and_no_capability() {
    let tree = TestTree::new();
    let visit = Visit::script("cat /proc/self/status > /tmp/status").user("nobody");
    assert_eq!(visit.at(&tree.root()).unwrap(), Ended::Exited(0));
    let status = tree.read("tmp/status");
    let line = |key: &str| status.lines().find(|line| line.starts_with(key)).unwrap().to_owned();
    assert_eq!(line("Uid:"), "Uid:\t65534\t65534\t65534\t65534");
    assert_eq!(line("Gid:"), "Gid:\t65534\t65534\t65534\t65534");
    assert_eq!(line("Groups:").split_whitespace().collect::<Vec<_>>(), ["Groups:", "65534"]);
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
        assert_eq!(line(set), format!("{set}\t0000000000000000"));
    }
    assert_ne!(line("CapBnd:"), "CapBnd:\t0000000000000000");
    assert_eq!(line("NoNewPrivs:"), "NoNewPrivs:\t0");
    assert_eq!(line("SigBlk:"), "SigBlk:\t0000000000000000");
    // The two lowest real-time signals are the C library's own business.
    assert_eq!(line("SigIgn:").trim_end_matches(['0', '8']), "SigIgn:\t");
    assert_eq!(line("Umask:"), "Umask:\t0022");
}

#[test]
fn sys_root_without_new_privileges_the_bounding_set_is_empty_too() {
    let tree = TestTree::new();
    let mut visit = Visit::script("cat /proc/self/status > /tmp/status").user("nobody");
    visit.no_new_privs = true;
    assert_eq!(visit.at(&tree.root()).unwrap(), Ended::Exited(0));
    let status = tree.read("tmp/status");
    assert!(status.contains("NoNewPrivs:\t1\n"), "{status}");
    assert!(status.contains("CapBnd:\t0000000000000000\n"), "{status}");
}

#[test]
fn sys_root_root_keeps_its_capabilities_and_has_roots_groups() {
    let tree = TestTree::new();
    assert_eq!(
        Visit::script("cat /proc/self/status > /tmp/status").at(&tree.root()).unwrap(),
        Ended::Exited(0)
    );
    let status = tree.read("tmp/status");
    assert!(status.contains("Uid:\t0\t0\t0\t0\n"), "{status}");
    assert!(!status.contains("CapEff:\t0000000000000000"), "{status}");
}

#[test]
fn sys_root_nothing_of_the_host_is_mounted_any_more() {
    let tree = TestTree::new();
    let visit = Visit::script("cat /proc/self/mountinfo > /tmp/mounts; ls / > /tmp/ls");
    assert_eq!(visit.at(&tree.root()).unwrap(), Ended::Exited(0));
    let mounts = tree.read("tmp/mounts");
    let points: Vec<_> = mounts.lines().map(|line| line.split(' ').nth(4).unwrap()).collect();
    assert_eq!(points, ["/", "/usr", "/dev", "/proc"]);
    assert!(mounts.lines().all(|line| !line.contains("shared:") && !line.contains("master:")), "{mounts}");
}

#[test]
fn sys_root_a_root_that_is_no_mount_point_is_refused() {
    let tree = TestTree::new();
    let error = Visit::argv(&["true"]).at(&tree.root().join("tmp")).unwrap_err();
    assert_eq!(error.to_string(), "cannot look at the mounted tree");
    let error = Visit::argv(&["true"]).at(&PathBuf::from("/no/such/tree")).unwrap_err();
    assert!(matches!(error, EnterError::Setup { .. }));
    assert_eq!(error.exit_code(), 125);
}

#[test]
fn sys_root_an_argument_with_a_nul_byte_is_refused() {
    let tree = TestTree::new();
    let error = Visit::argv(&["true", "a\0b"]).at(&tree.root()).unwrap_err();
    assert_eq!(error.to_string(), "cannot prepare the program");
}

#[test]
fn sys_root_a_pid_namespace_shows_only_its_own_processes_and_leaves_none() {
    let tree = TestTree::new();
    let script = "ls /proc > /tmp/proc; echo $$ > /tmp/pid; cat /proc/1/comm > /tmp/init; \
                  ls /proc/1/fd > /tmp/initfd 2>&1; (sleep 1000 & echo $! > /tmp/left) ";
    assert_eq!(Visit::script(script).namespaces(PID).at(&tree.root()).unwrap(), Ended::Exited(0));
    let pids: Vec<_> = tree.read("tmp/proc").lines().filter_map(|name| name.parse::<u32>().ok()).collect();
    assert_eq!(pids, [1, 2, 3]);
    assert_eq!(tree.read("tmp/pid"), "2\n");
    assert_eq!(tree.read("tmp/init"), "zchroot-init\n");
    let mounted = super::mountinfo::own().unwrap();
    assert!(mounted.iter().any(|mount| mount.point == tree.root().join("proc")), "the host's mount stays");
}

#[test]
fn sys_root_a_command_that_outlives_its_parent_is_reaped_in_a_pid_namespace() {
    let tree = TestTree::new();
    // The orphan becomes the init's, ends, and must not be taken for the command.
    let script = "(sleep 0.05 & ) ; sleep 0.2; ls /proc > /tmp/proc; exit 9";
    assert_eq!(Visit::script(script).namespaces(PID).at(&tree.root()).unwrap(), Ended::Exited(9));
    let numbers = tree.read("tmp/proc").lines().filter(|name| name.parse::<u32>().is_ok()).count();
    assert_eq!(numbers, 3, "init, the shell and ls: no zombie");
}

#[test]
fn sys_root_a_tree_without_proc_gets_none_in_a_pid_namespace() {
    let tree = TestTree::new();
    nix::mount::umount(&tree.root().join("proc")).unwrap();
    let visit = Visit::script("echo /proc/* > /tmp/proc").namespaces(PID);
    assert_eq!(visit.at(&tree.root()).unwrap(), Ended::Exited(0));
    assert_eq!(tree.read("tmp/proc"), "/proc/*\n");
}

#[test]
fn sys_root_with_no_net_there_is_only_a_loopback_that_is_up() {
    let tree = TestTree::new();
    let namespaces = Namespaces { net_none: true, ..Namespaces::default() };
    let script = "cat /proc/self/net/dev > /tmp/dev; cat /proc/self/net/fib_trie > /tmp/routes";
    assert_eq!(Visit::script(script).namespaces(namespaces).at(&tree.root()).unwrap(), Ended::Exited(0));
    let devices = tree.read("tmp/dev");
    let names: Vec<_> = devices.lines().skip(2).map(|line| line.split(':').next().unwrap().trim()).collect();
    assert_eq!(names, ["lo"], "{devices}");
    assert!(tree.read("tmp/routes").contains("127.0.0.1"), "loopback is up");
}

#[test]
fn sys_root_ipc_and_host_name_are_of_its_own_if_asked() {
    let tree = TestTree::new();
    let namespaces = Namespaces { ipc: true, uts: true, ..PID };
    let mut visit = Visit::script(
        "cat /proc/sys/kernel/hostname > /tmp/name; readlink /proc/self/ns/ipc /proc/self/ns/uts > /tmp/ns",
    )
    .namespaces(namespaces);
    visit.hostname = Some("inside".to_owned());
    assert_eq!(visit.at(&tree.root()).unwrap(), Ended::Exited(0));
    assert_eq!(tree.read("tmp/name"), "inside\n");
    for (line, kind) in tree.read("tmp/ns").lines().zip(["ipc", "uts"]) {
        let ours = nix::fcntl::readlink(format!("/proc/self/ns/{kind}").as_str()).unwrap();
        assert_ne!(ours.to_str().unwrap(), line);
    }
}

#[test]
fn sys_root_an_open_file_of_the_caller_is_not_seen_inside() {
    let tree = TestTree::new();
    let leak = rustix::fs::open("/etc", rustix::fs::OFlags::DIRECTORY, rustix::fs::Mode::empty()).unwrap();
    assert!(rustix::io::fcntl_getfd(&leak).unwrap().is_empty(), "it would be inherited");
    for namespaces in [Namespaces::default(), PID] {
        let script =
            "for fd in /proc/self/fd/*; do echo ${fd##*/}; done > /tmp/fds; exec cat /tmp/fds > /dev/null";
        assert_eq!(Visit::script(script).namespaces(namespaces).at(&tree.root()).unwrap(), Ended::Exited(0));
        let fds = tree.read("tmp/fds");
        // 10 is the shell's own directory or saved descriptor while it expands or redirects.
        let strange: Vec<_> = fds.lines().filter(|fd| !["0", "1", "2", "3", "10"].contains(fd)).collect();
        assert!(strange.is_empty(), "{strange:?}");
        assert!(leak.as_raw_fd() > 2);
    }
}

#[test]
fn sys_root_a_directory_that_leads_outside_is_refused() {
    let tree = TestTree::new();
    // The host's root through a process that is not inside: only root may follow this link at all.
    tree.symlink("/proc/1/root/etc", "srv/out");
    let visit = Visit::argv(&["true"]).directory(Directory::Caller("/srv/out".into()));
    let error = visit.at(&tree.root()).unwrap_err();
    assert!(matches!(error, EnterError::NoDirectory { .. }), "{error:?}");
    // A descriptor that was open to the host (CVE-2024-21626).
    let _open = rustix::fs::open("/etc", rustix::fs::OFlags::DIRECTORY, rustix::fs::Mode::empty()).unwrap();
    for fd in 3..40 {
        let directory = Directory::Given(format!("/proc/self/fd/{fd}").into());
        let error = Visit::argv(&["true"]).directory(directory).at(&tree.root()).unwrap_err();
        assert!(matches!(error, EnterError::NoDirectory { .. }), "{fd}: {error:?}");
    }
    // A symlink that stays inside is fine, though it looks as if it left.
    tree.symlink("../../../../../etc", "srv/in");
    let visit = Visit::script("pwd -P > /tmp/pwd").directory(Directory::Given("/srv/in".into()));
    assert_eq!(visit.at(&tree.root()).unwrap(), Ended::Exited(0));
    assert_eq!(tree.read("tmp/pwd"), "/etc\n");
}

#[test]
fn sys_root_shells_and_directories_fall_back_and_say_so() {
    let tree = TestTree::new();
    tree.file("srv/fakesh", "#!/bin/sh\necho $0 > /tmp/shell; pwd > /tmp/pwd\n", 0o755);
    let candidates: Vec<PathBuf> = ["/bin/no-zsh", "/etc", "/srv/fakesh"].map(PathBuf::from).to_vec();
    let places = ["/nowhere", "/root", "/"].map(PathBuf::from).to_vec();
    let visit =
        Visit::program(Program::Shell { candidates, login: true }).directory(Directory::Login(places));
    let mut notes = Vec::new();
    let ended = visit.at_with(&tree.root(), |entry| {
        enter_with(entry, &mut |note| {
            notes.push(match note {
                Note::DirectoryFallback { wanted, instead, .. } => (wanted, instead),
                Note::ShellFallback { wanted, instead, .. } => (wanted, instead),
            });
        })
    });
    assert_eq!(ended.unwrap(), Ended::Exited(0));
    let noted: Vec<_> = notes.iter().map(|(a, b)| (a.to_str().unwrap(), b.to_str().unwrap())).collect();
    assert_eq!(noted, [("/nowhere", "/root"), ("/bin/no-zsh", "/etc"), ("/etc", "/srv/fakesh")]);
    assert_eq!(tree.read("tmp/pwd"), "/root\n");
}

#[test]
fn sys_root_a_login_shell_is_told_by_its_name() {
    let tree = TestTree::new();
    let input = tree.root().join("tmp/input");
    tree.file("tmp/input", "echo $0 > /tmp/name\n", 0o644);
    for (login, expected) in [(true, "-dash\n"), (false, "/usr/bin/dash\n")] {
        let status = in_child(|| {
            let file =
                rustix::fs::open(&input, rustix::fs::OFlags::RDONLY, rustix::fs::Mode::empty()).unwrap();
            rustix::stdio::dup2_stdin(file).unwrap();
            let shell = Program::Shell { candidates: vec!["/usr/bin/dash".into()], login };
            match Visit::program(shell).at(&tree.root()).unwrap() {
                Ended::Exited(status) => i32::from(status),
                Ended::Signaled(_) => 99,
            }
        });
        assert_eq!(status, 0);
        assert_eq!(tree.read("tmp/name"), expected);
    }
}

#[test]
fn sys_root_the_last_shell_that_fails_is_the_error() {
    let tree = TestTree::new();
    let candidates = vec![PathBuf::from("/bin/no-zsh"), PathBuf::from("/etc")];
    let error = Visit::program(Program::Shell { candidates, login: false }).at(&tree.root()).unwrap_err();
    assert_eq!(error.to_string(), "cannot execute program \"/etc\"");
    assert_eq!(error.exit_code(), 126);
}

#[test]
fn sys_root_a_request_to_end_is_passed_on_to_the_command() {
    use nix::sys::signal::Signal;
    for (namespaces, signal) in
        [(Namespaces::default(), Signal::SIGTERM), (PID, Signal::SIGTERM), (PID, Signal::SIGINT)]
    {
        let tree = TestTree::new();
        let root = tree.root();
        let visitor = fork(|| {
            let script = "trap 'exit 42' TERM INT; echo > /tmp/ready; while :; do sleep 0.01; done";
            match Visit::script(script).namespaces(namespaces).at(&root) {
                Ok(Ended::Exited(status)) => i32::from(status),
                _ => 99,
            }
        });
        wait_until(|| root.join("tmp/ready").try_exists().unwrap());
        nix::sys::signal::kill(visitor.0, signal).unwrap();
        assert_eq!(visitor.wait(), Ended::Exited(42), "{namespaces:?}");
    }
}

#[test]
fn sys_root_a_command_that_stops_stops_us_and_goes_on_with_us() {
    use nix::sys::signal::{Signal, kill};
    use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
    for namespaces in [Namespaces::default(), PID] {
        let tree = TestTree::new();
        let root = tree.root();
        let visitor = fork(|| {
            nix::unistd::setpgid(nix::unistd::Pid::from_raw(0), nix::unistd::Pid::from_raw(0)).unwrap();
            match Visit::script("kill -STOP $$; exit 7").namespaces(namespaces).at(&root) {
                Ok(Ended::Exited(status)) => i32::from(status),
                _ => 99,
            }
        });
        let stopped = waitpid(visitor.0, Some(WaitPidFlag::WUNTRACED)).unwrap();
        assert_eq!(stopped, WaitStatus::Stopped(visitor.0, Signal::SIGTSTP), "{namespaces:?}");
        kill(visitor.0, Signal::SIGCONT).unwrap();
        assert_eq!(visitor.wait(), Ended::Exited(7), "{namespaces:?}");
    }
}

#[test]
fn sys_root_killing_us_ends_a_pid_namespace() {
    let tree = TestTree::new();
    let root = tree.root();
    let visitor = fork(|| {
        let _ = Visit::script("echo > /tmp/ready; exec sleep 4321").namespaces(PID).at(&root);
        0
    });
    wait_until(|| root.join("tmp/ready").try_exists().unwrap());
    nix::sys::signal::kill(visitor.0, nix::sys::signal::Signal::SIGKILL).unwrap();
    assert_eq!(visitor.wait(), Ended::Signaled(libc::SIGKILL));
    let source = super::reap::source_of(&root).unwrap().unwrap();
    // Only this thread's own namespace still has the tree.
    wait_until(|| super::reap::namespaces_holding(&source).unwrap().is_empty());
}

#[test]
fn sys_root_an_entry_can_fail_at_its_effect() {
    use super::effect::{Mode, Plan, run};
    let tree = TestTree::new();
    let (result, seen) = run(Plan { at: 1, mode: Mode::Fail(libc::EAGAIN) }, || {
        Visit::argv(&["true"]).at(&tree.root()).unwrap_err()
    });
    assert_eq!(seen, ["enter"]);
    assert_eq!(result.unwrap().to_string(), "cannot start the command");
}

pub(super) fn wait_until(mut condition: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if condition() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("waited ten seconds in vain");
}

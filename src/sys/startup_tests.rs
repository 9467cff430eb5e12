//! Start-up as a setuid program, in processes of their own: real user nobody, effective and saved user root.

use std::path::Path;

use nix::unistd::{Gid, Uid, getegid, geteuid, getresuid, setresgid, setresuid};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::enter::{Directory, Ended, Entry, Namespaces, Program, enter};
use super::env::Filter;
use super::identity::Account;
use super::privilege::raised;
use super::startup::{Error, Process, harden};
use super::testing::{TestTree, in_child};

const NOBODY: u32 = 65534;

/// What the kernel makes of a process that executes a setuid root program.
fn setuid() {
    let (user, group) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
    setresgid(group, group, group).unwrap();
    setresuid(user, Uid::from_raw(0), Uid::from_raw(0)).unwrap();
}

fn as_setuid(body: impl FnOnce(Process) -> i32) {
    let status = in_child(|| {
        setuid();
        body(harden().unwrap())
    });
    assert_eq!(status, 0);
}

fn status_line(key: &str) -> String {
    let text = super::file::read_text(Path::new("/proc/thread-self/status"), 1 << 16).unwrap();
    text.lines().find(|line| line.starts_with(key)).unwrap().to_owned()
}

#[test]
fn sys_root_a_setuid_program_runs_with_its_callers_ids_and_raises_them_in_scopes_only() {
    as_setuid(|process| {
        let ids = getresuid().unwrap();
        assert_eq!([ids.real, ids.effective, ids.saved].map(Uid::as_raw), [NOBODY, NOBODY, 0]);
        assert_eq!(getegid().as_raw(), NOBODY);
        assert_eq!(process.caller().name(), "nobody");
        let inner = raised(|| {
            let inner = raised(|| (geteuid().as_raw(), getegid().as_raw()));
            assert_eq!(geteuid().as_raw(), 0, "the inner scope left the outer one as it was");
            inner
        });
        assert_eq!(inner, (0, 0));
        assert_eq!((geteuid().as_raw(), getegid().as_raw()), (NOBODY, NOBODY));
        0
    });
}

#[test]
fn sys_root_privileges_go_also_when_a_scope_is_left_by_a_panic() {
    as_setuid(|_| {
        std::panic::catch_unwind(|| raised(|| std::panic::resume_unwind(Box::new(())))).unwrap_err();
        i32::from(geteuid().as_raw() != NOBODY)
    });
}

#[test]
fn sys_root_start_up_makes_the_process_ours() {
    // Removed by this process: nobody could not.
    let dir = tempfile::tempdir().unwrap();
    let status = in_child(|| {
        rustix::process::chdir(dir.path()).unwrap();
        setrlimit(Resource::Fsize, Rlimit { current: Some(4096), maximum: None }).unwrap();
        setrlimit(Resource::Nofile, Rlimit { current: Some(64), ..getrlimit(Resource::Nofile) }).unwrap();
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o027));
        // SAFETY: this process has one thread and no handler.
        unsafe {
            libc::setenv(c"EVIL".as_ptr(), c"1".as_ptr(), 1);
            libc::signal(libc::SIGHUP, libc::SIG_IGN);
            libc::alarm(1000);
        }
        let leak =
            rustix::fs::open("/etc", rustix::fs::OFlags::DIRECTORY, rustix::fs::Mode::empty()).unwrap();
        setuid();
        let process = harden().unwrap();

        assert_eq!(process.cwd_path(), Some(dir.path()));
        let kept = rustix::fs::fstat(process.cwd()).unwrap();
        assert_eq!(kept.st_ino, rustix::fs::stat(dir.path()).unwrap().st_ino);
        assert_eq!(nix::unistd::getcwd().unwrap(), Path::new("/"));
        assert_eq!(process.environment().caller_value("EVIL").unwrap(), "1");
        // SAFETY: reads the environment of this process, which has one thread.
        assert!(unsafe {
            libc::getenv(c"EVIL".as_ptr()).is_null() && libc::getenv(c"PATH".as_ptr()).is_null()
        });
        assert!(rustix::io::fcntl_getfd(&leak).unwrap().contains(rustix::io::FdFlags::CLOEXEC));
        assert_eq!(getrlimit(Resource::Fsize), Rlimit { current: None, maximum: None });
        assert_eq!(getrlimit(Resource::Nofile).current, Some(4096));
        assert_eq!(getrlimit(Resource::Core).current, Some(0));
        assert_eq!(status_line("Umask:"), "Umask:\t0077");
        assert_eq!(
            rustix::process::dumpable_behavior().unwrap(),
            rustix::process::DumpableBehavior::NotDumpable
        );
        // SAFETY: cancels nothing that anybody waits for.
        assert_eq!(unsafe { libc::alarm(0) }, 0, "the caller's alarm is off");
        0
    });
    assert_eq!(status, 0);
}

#[test]
fn sys_root_a_command_gets_back_what_the_caller_had() {
    let tree = TestTree::new();
    let root = tree.root();
    let status = in_child(|| {
        setrlimit(Resource::Fsize, Rlimit { current: Some(1 << 20), maximum: None }).unwrap();
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o027));
        // SAFETY: installs no handler.
        unsafe { libc::signal(libc::SIGHUP, libc::SIG_IGN) };
        setuid();
        let process = harden().unwrap();
        for (user, out) in [("nobody", "user"), ("root", "root")] {
            let target = Account::by_name(user).unwrap();
            let script = format!(
                "cat /proc/self/status > /tmp/{out}.status; cat /proc/self/limits > /tmp/{out}.limits; env > /tmp/{out}.env"
            );
            let ended = enter(&Entry {
                root: &root,
                target: &target,
                program: Program::Argv(["sh", "-c", &script].map(Into::into).to_vec()),
                directory: Directory::Given("/".into()),
                environment: process.environment().for_command(&target, false, &Filter::default(), &[]),
                namespaces: Namespaces { pid: true, ipc: true, uts: true, net_none: true },
                hostname: None,
                cgroup: None,
                process: &process,
                no_new_privs: false,
                inert: super::mount::Inert::default(),
                confirm: super::enter::Confirm(&|| Ok(())),
            });
            assert_eq!(ended.unwrap(), Ended::Exited(0));
            assert_eq!(geteuid().as_raw(), NOBODY);
        }
        0
    });
    assert_eq!(status, 0);
    for (out, id) in [("user", NOBODY), ("root", 0)] {
        let status = tree.read(&format!("tmp/{out}.status"));
        assert!(status.contains(&format!("Uid:\t{id}\t{id}\t{id}\t{id}\n")), "{status}");
        assert!(status.contains("Umask:\t0027\n"), "{status}");
        let ignored = status.lines().find(|line| line.starts_with("SigIgn:")).unwrap();
        assert!(ignored.ends_with('1'), "SIGHUP is the first signal: {ignored}");
        let limits = tree.read(&format!("tmp/{out}.limits"));
        let size: Vec<_> = limits
            .lines()
            .find(|line| line.starts_with("Max file size"))
            .unwrap()
            .split_whitespace()
            .collect();
        assert_eq!(size[3..5], ["1048576", "unlimited"]);
        assert!(!tree.read(&format!("tmp/{out}.env")).contains("CARGO"));
    }
}

#[test]
fn sys_root_without_the_setuid_bit_the_reason_is_given() {
    let status = in_child(|| {
        setuid();
        let nobody = Uid::from_raw(NOBODY);
        setresuid(nobody, nobody, nobody).unwrap();
        let error = harden().unwrap_err();
        assert!(matches!(error, Error::NotRoot(_)));
        let wanted = "cannot run without root privileges: the program is not installed setuid root";
        assert_eq!(error.to_string(), wanted);
        rustix::thread::set_no_new_privs(true).unwrap();
        assert!(harden().unwrap_err().to_string().contains("no new privileges"));
        0
    });
    assert_eq!(status, 0);
}

#[test]
fn sys_root_a_closed_standard_descriptor_or_an_unknown_caller_stops_the_start() {
    let status = in_child(|| {
        rustix::stdio::dup2_stdin(std::io::stderr()).unwrap();
        // SAFETY: nobody in this process reads it any more.
        unsafe { libc::close(0) };
        assert_eq!(harden().unwrap_err().to_string(), "cannot find standard input open");
        0
    });
    assert_eq!(status, 0);
    let status = in_child(|| {
        setresuid(Uid::from_raw(4_000_000_123), Uid::from_raw(0), Uid::from_raw(0)).unwrap();
        assert_eq!(harden().unwrap_err().to_string(), "cannot find out who runs the program");
        0
    });
    assert_eq!(status, 0);
}

#[test]
fn sys_root_a_limit_that_cannot_be_lifted_stops_the_start() {
    use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
    let status = in_child(|| {
        setrlimit(Resource::Fsize, Rlimit { current: Some(4096), maximum: Some(4096) }).unwrap();
        let mut sets = capabilities(None).unwrap();
        sets.effective.remove(CapabilitySet::SYS_RESOURCE);
        sets.permitted.remove(CapabilitySet::SYS_RESOURCE);
        set_capabilities(None, sets).unwrap();
        assert_eq!(harden().unwrap_err().to_string(), "cannot set resource limits");
        0
    });
    assert_eq!(status, 0);
}

#[test]
fn sys_root_under_real_root_start_up_keeps_root() {
    let status = in_child(|| {
        let process = harden().unwrap();
        assert!(process.caller().is_root());
        i32::from(geteuid().as_raw() != 0 || raised(geteuid).as_raw() != 0)
    });
    assert_eq!(status, 0);
}

#[test]
fn sys_root_a_working_directory_that_is_gone_has_no_path_and_can_be_released() {
    let status = in_child(|| {
        let dir = tempfile::tempdir().unwrap();
        rustix::process::chdir(dir.path()).unwrap();
        dir.close().unwrap();
        let mut process = harden().unwrap();
        assert_eq!(process.cwd_path(), None);
        process.release_cwd().unwrap();
        let root = rustix::fs::stat("/").unwrap();
        i32::from(rustix::fs::fstat(process.cwd()).unwrap().st_ino != root.st_ino)
    });
    assert_eq!(status, 0);
}

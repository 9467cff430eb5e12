//! A command on a terminal of its own.

use std::os::fd::{AsRawFd, OwnedFd};

use nix::pty::openpty;

use super::enter::{Ended, Program};
use super::enter_tests::wait_until;
use super::term;
use super::testing::{Forked, TestTree, Visit, fork};

/// Runs `body` as the leader of a session whose terminal is the other side of what is returned.
fn on_terminal(body: impl FnOnce() -> i32) -> (Forked, OwnedFd) {
    let pty = openpty(None, None).unwrap();
    let forked = fork(|| {
        nix::unistd::setsid().unwrap();
        // SAFETY: the terminal is open and becomes that of this new session.
        assert_eq!(unsafe { libc::ioctl(pty.slave.as_raw_fd(), libc::TIOCSCTTY, 0) }, 0);
        rustix::stdio::dup2_stdin(&pty.slave).unwrap();
        body()
    });
    (forked, pty.master)
}

#[test]
fn sys_root_a_shell_that_changes_the_terminal_leaves_it_as_it_was() {
    let tree = TestTree::new();
    tree.file("srv/shell", "#!/bin/sh\nstty raw -echo\nstty -a > /tmp/stty\nexit 5\n", 0o755);
    let root = tree.root();
    let (shell, _master) = on_terminal(|| {
        assert!(term::is_interactive());
        assert!(term::name().unwrap().starts_with("/dev/pts/"));
        let before = rustix::termios::tcgetattr(rustix::stdio::stdin()).unwrap();
        let program = Program::Shell { candidates: vec!["/srv/shell".into()], login: true };
        assert_eq!(Visit::program(program).at(&root).unwrap(), Ended::Exited(5));
        let after = rustix::termios::tcgetattr(rustix::stdio::stdin()).unwrap();
        i32::from(before.local_modes != after.local_modes || before.input_modes != after.input_modes)
    });
    assert_eq!(shell.wait(), Ended::Exited(0));
    assert!(tree.read("tmp/stty").contains("-echo "));
}

#[test]
fn sys_root_a_typed_interrupt_ends_the_command_and_not_us() {
    let tree = TestTree::new();
    let root = tree.root();
    let (visitor, master) = on_terminal(|| {
        let ended = Visit::script("echo > /tmp/ready; exec sleep 1234").at(&root).unwrap();
        i32::from(ended != Ended::Signaled(libc::SIGINT))
    });
    wait_until(|| root.join("tmp/ready").try_exists().unwrap());
    rustix::io::write(&master, b"\x03").unwrap();
    assert_eq!(visitor.wait(), Ended::Exited(0));
}

#[test]
fn what_is_no_terminal_has_no_name_and_no_attributes_to_keep() {
    let status = super::testing::in_child(|| {
        let null =
            rustix::fs::open("/dev/null", rustix::fs::OFlags::RDWR, rustix::fs::Mode::empty()).unwrap();
        rustix::stdio::dup2_stdin(&null).unwrap();
        rustix::stdio::dup2_stdout(&null).unwrap();
        let nothing = !term::is_interactive()
            && term::name().is_none()
            && term::width().is_none()
            && term::Terminal::remember().is_none();
        i32::from(!nothing)
    });
    assert_eq!(status, 0);
}

#[test]
fn sys_root_a_terminal_whose_foreground_is_outside_of_the_namespace_is_not_ours() {
    let (outer, _master) = on_terminal(|| {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWPID).unwrap();
        let inner = fork(|| i32::from(term::Terminal::remember().is_some()));
        i32::from(inner.wait() != Ended::Exited(0))
    });
    assert_eq!(outer.wait(), Ended::Exited(0));
}

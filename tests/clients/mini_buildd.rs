//! The calls of mini-buildd: a session in pieces, with the path of the program written in it.

use crate::harness::both::on_both;
use crate::host::Host;

on_both! { Host:
    clients_the_calls_of_mini_buildd_give_it_what_it_reads
        zfs_clients_the_calls_of_mini_buildd_give_it_what_it_reads
        calls_of_mini_buildd;
}

fn calls_of_mini_buildd(host: &Host) {
    let name = format!("chroot:{}", host.template);
    let call = |words: &[&str]| host.builder(&[&["/usr/bin/schroot"], words].concat());
    let session = call(&["--begin-session", "--chroot", &name]).quiet();
    let session = format!("session:{}", session.stdout.trim());
    let run = |command: &[&str]| {
        call(&[&["--run-session", "--chroot", &session, "--user", "root", "--"], command].concat())
    };
    // It is called from where it stands: that directory is not inside, and root's command is refused there.
    run(&["true"]).exits(1).says("E: Failed to change to directory ‘");
    let run = |command: &[&str]| {
        let words = ["--run-session", "--chroot", &session, "--user", "root", "--directory", "/", "--"];
        call(&[&words[..], command].concat())
    };
    assert_eq!(run(&["cp", "/etc/passwd", "/srv/kept"]).quiet().stdout, "");
    assert_eq!(run(&["stat", "--printf=%U", "/srv/kept"]).quiet().stdout, "root");
    run(&["sh", "-c", "exit 3"]).exits(3);
    let info = call(&["--info", "--chroot", &session]).quiet();
    assert!(info.text().lines().any(|line| line.starts_with("  Mount Location ")), "{info}");
    let listed = host.builder(&["sh", "-c", "schroot --all-sessions --list | grep t"]).quiet();
    assert_eq!(listed.text(), session);
    call(&["--verbose", &format!("--chroot={session}"), "--end-session"]).ok();
    call(&["--end-session", "--chroot", &session]).exits(1).says("Chroot not found");
    assert_eq!(host.builder(&["schroot", "--all-sessions", "--list"]).ok().text(), "");
    host.assert_nothing_left();
}

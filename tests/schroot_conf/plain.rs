//! Type `plain`: its own session, and nothing is set up.

use crate::lab::{Lab, NO, gives, refuses};
use crate::world::{ALICE, BOB, CAROL};

#[test]
fn dir_schroot_conf_a_plain_chroot_is_its_own_session_and_nothing_is_set_up_in_it() {
    let lab = Lab::new("type=plain\ndirectory=TREE\n");
    let before = lab.listing();
    let name = lab.name.as_str();
    // As it was recorded of Debian's schroot.
    gives(lab.schroot(CAROL, &["-b", "-c", &format!("chroot:{name}")]), name);
    gives(
        lab.schroot(CAROL, &["--location", "-c", &format!("session:{name}")]),
        &format!("/var/lib/trees/{name}"),
    );
    gives(
        lab.schroot(CAROL, &["-d", "/", "-c", name, "--run-session", "-q", "-u", "root", "-p", "--", "pwd"]),
        "/",
    );
    gives(
        lab.run(CAROL, name, "ls -A /proc /dev /etc"),
        "/dev:\n\n/etc:\ngeneration\ngroup\npasswd\n\n/proc:",
    );
    let done = lab.order(CAROL, &["--run-session", "-c", name, "-d", "/"]).input("id -u\n").run();
    gives(done, "64003");
    gives(lab.schroot(CAROL, &["-c", name, "--end-session"]), "");
    gives(lab.schroot(CAROL, &["-c", name, "--recover-session"]), "");
    gives(
        lab.around(CAROL, "root", "echo $SCHROOT_CHROOT_NAME $SCHROOT_SESSION_ID"),
        &format!("{name} {name}"),
    );
    assert_eq!(lab.listing(), before);
    gives(lab.around(CAROL, "root", "echo x > /etc/what"), "");
    assert!(lab.tree().join("etc/what").exists());
    lab.schroot(CAROL, &["-r", "-c", name, "-d", "/", "--", "sh", "-c", "exit 7"]).exits(7);
    lab.nothing_left();
}

#[test]
fn dir_schroot_conf_what_a_command_leaves_running_in_a_plain_chroot_goes_on() {
    let lab = Lab::new("type=plain\ndirectory=TREE\n");
    // The shell wants one for what it puts into the background.
    std::fs::write(lab.tree().join("dev/null"), "").unwrap();
    gives(lab.run(CAROL, &lab.name, "sleep 977 < /etc/group > /tmp/out 2>&1 & echo left"), "left");
    let pid = "pid=$(ps -eo pid,args | grep '[s]leep 977' | sed 's/^ *//' | cut -d ' ' -f 1)";
    lab.shell(&format!("{pid} && test -n \"$pid\" && kill $pid")).prints("");
    lab.nothing_left();
}

#[test]
fn dir_schroot_conf_who_may_use_a_plain_chroot_is_what_its_lists_say() {
    let lab = Lab::new("type=plain\ndirectory=TREE\n");
    let name = lab.name.as_str();
    for words in [&["-b", "-c", name][..], &["-r", "-c", name, "-d", "/", "--", "true"], &["-e", "-c", name]]
    {
        refuses(lab.schroot(BOB, words), NO);
    }
    refuses(lab.run(ALICE, name, "true"), NO);
    lab.nothing_left();
}

//! Keys that are about commands, and types that cannot be had.

use crate::harness::Done;
use crate::lab::{Lab, gives, refuses};
use crate::world::{ALICE, CAROL};

const KEYS: &str = "type=directory\ndirectory=TREE\nprofile=shared\nunion-type=overlay\n";

#[test]
fn dir_schroot_conf_a_prefix_stands_before_every_command_and_is_told_to_none() {
    let lab = Lab::new(&format!("{KEYS}command-prefix=env,PREFIXED=yes\n"));
    gives(
        lab.around(CAROL, "root", "echo $PREFIXED; echo $SCHROOT_COMMAND"),
        "yes\nsh -c echo $PREFIXED; echo $SCHROOT_COMMAND",
    );
    let shell = lab.order(CAROL, &["-c", &lab.name, "-d", "/"]).input("echo $PREFIXED\n").run();
    gives(shell, "yes");
}

#[test]
fn dir_schroot_conf_the_personality_is_that_of_the_commands() {
    let lab = Lab::new(&format!("{KEYS}personality=linux32\n"));
    gives(lab.around(ALICE, "alice", "cat /proc/self/personality"), "00000008");
    lab.define(&format!("{KEYS}personality=linux\n"));
    gives(lab.around(ALICE, "alice", "cat /proc/self/personality"), "00000000");
    lab.define(&format!("{KEYS}personality=solaris\n"));
    refuses(
        lab.around(CAROL, "root", "true"),
        &format!("E: {}: Personality ‘solaris’ is not supported\n", lab.name),
    );
}

#[test]
fn dir_schroot_conf_as_much_is_said_as_the_chroot_or_the_call_or_the_begin_of_the_session_wants() {
    let lab = Lab::new(&format!("{KEYS}message-verbosity=verbose\n"));
    let running = |done: Done| done.ok().stderr.matches("Running command: “true”").count();
    let around = |options: &[&str]| {
        lab.schroot(CAROL, &[options, &["-c", &lab.name, "-d", "/", "--", "true"]].concat())
    };
    assert_eq!((running(around(&[])), running(around(&["-q"]))), (1, 0));
    lab.define(KEYS);
    assert_eq!((running(around(&[])), running(around(&["-v"]))), (0, 1));
    let id = lab.schroot(CAROL, &["-v", "-b", "-c", &lab.name]).ok().text().trim().to_owned();
    let within = |options: &[&str]| {
        lab.schroot(CAROL, &[options, &["-r", "-c", &id, "-d", "/", "--", "true"]].concat())
    };
    assert_eq!((running(within(&[])), running(within(&["-q"]))), (1, 0));
    let shown = lab.schroot(CAROL, &["--config", "-c", &format!("session:{id}")]).ok().text();
    assert!(shown.lines().any(|line| line == "message-verbosity=verbose"), "{shown}");
    gives(lab.schroot(CAROL, &["-e", "-c", &id]), "");
    lab.nothing_left();
}

#[test]
fn dir_schroot_conf_its_filter_keeps_variables_back_besides_the_usual_ones() {
    let lab = Lab::new(&format!("{KEYS}environment-filter=^(SECRET.*|TOKEN)$\n"));
    let words = ["-p", "-c", &lab.name, "-d", "/", "--", "env"];
    let order =
        lab.order(CAROL, &words).env("SECRET_A", "1").env("TOKEN", "2").env("CDPATH", "3").env("KEPT", "4");
    let done = order.run().ok().text();
    assert!(
        done.contains("KEPT=4") && !["SECRET", "TOKEN", "CDPATH"].iter().any(|it| done.contains(it)),
        "{done}"
    );
    lab.define(&format!("{KEYS}environment-filter=^[A-Z]$\n"));
    lab.around(CAROL, "root", "true").exits(1).says("environment-filter ‘^[A-Z]$’ is not supported");
}

#[test]
fn dir_schroot_conf_a_shell_and_the_environment_are_as_the_chroot_says() {
    let lab = Lab::new(&format!("{KEYS}preserve-environment=true\nshell=/bin/sh\n"));
    let done =
        lab.order(CAROL, &["-c", &lab.name, "-d", "/"]).env("KEPT", "4").input("echo $KEPT $0\n").run();
    gives(done, "4 /bin/sh");
}

#[test]
fn dir_schroot_conf_types_that_cannot_be_had_are_loaded_and_refused_on_use() {
    let lab = Lab::new("type=lvm-snapshot\ndevice=/dev/vg/x\nlvm-snapshot-options=--size 1G\n");
    for (keys, word) in [
        ("type=lvm-snapshot\ndevice=/dev/vg/x\nlvm-snapshot-options=--size 1G\n", "lvm-snapshot"),
        ("type=custom\ncustom-source-cloneable=true\n", "custom"),
    ] {
        lab.define(keys);
        let name = &lab.name;
        gives(lab.schroot(CAROL, &["-l"]), &format!("chroot:{name}\nsource:{name}"));
        lab.schroot(CAROL, &["-i", "-c", name]).ok();
        let refused = format!("E: {name}: Sessions of chroots of type ‘{word}’ are not supported\n");
        refuses(lab.around(CAROL, "root", "true"), &refused);
        refuses(lab.schroot(CAROL, &["-b", "-c", name]), &refused);
    }
    lab.nothing_left();
}

#[test]
fn dir_schroot_conf_the_source_of_a_subvolume_is_a_directory_like_others() {
    let keys =
        "type=btrfs-snapshot\nbtrfs-source-subvolume=TREE\nbtrfs-snapshot-directory=/srv/s\nprofile=shared\n";
    let lab = Lab::new(keys);
    gives(lab.around_source(CAROL, "cat /etc/generation"), "1");
    lab.nothing_left();
}

/// The module is not loaded, or there is no such pool; with the feature off it is said, too.
#[test]
fn dir_schroot_conf_a_dataset_of_a_pool_that_is_not_there_is_refused_and_nothing_is_left() {
    let lab = Lab::new("type=zfs-snapshot\nzfs-dataset=nowhere/sid\nprofile=shared\n");
    let begin = || lab.schroot(CAROL, &["-b", "-c", &lab.name]).exits(1).prints("");
    begin().says("Chroot setup failed: stage=setup-start: cannot ");
    lab.define("type=zfs-snapshot\nzfs-dataset=nowhere/sid\nprofile=shared\nzfs-snapshot-options=-r\n");
    begin().says("zfs-snapshot-options ‘-r’ is not supported");
    lab.nothing_left();
}

#[test]
fn dir_schroot_conf_a_profile_that_is_nowhere_is_an_error() {
    let lab = Lab::new("type=directory\ndirectory=TREE\nprofile=nowhere\n");
    lab.around(CAROL, "root", "true").exits(1).says(&format!("E: {}: profile nowhere: ", lab.name));
    lab.define("type=directory\ndirectory=TREE\nscript-config=x/config\n");
    lab.around(CAROL, "root", "true").exits(1).says("script-config is not supported");
    lab.nothing_left();
}

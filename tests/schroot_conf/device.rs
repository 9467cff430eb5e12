//! Types `loopback` and `block-device`: a file system, mounted for each session.

use std::os::unix::fs::PermissionsExt;

use crate::lab::{Lab, gives};
use crate::restricted;
use crate::world::{ALICE, CAROL};

const IMAGE: &str = "/var/lib/trees/sid.img";

fn lab(keys: &str) -> Lab {
    let lab = Lab::new(&keys.replace("IMAGE", IMAGE));
    let tree = format!("/var/lib/trees/{}", lab.name);
    lab.shell(&format!(
        "mkdir -p /var/lib/top && cp -a {tree} /var/lib/top/sid && cp -a {tree}/. /var/lib/top/ && \
         truncate -s 48M {IMAGE} && mkfs.ext4 -q -O ^has_journal -d /var/lib/top {IMAGE}"
    ));
    lab
}

/// What is on the image.
fn content(lab: &Lab, path: &str) -> String {
    lab.shell(&format!("debugfs -R 'cat {path}' {IMAGE} 2>/dev/null")).text()
}

fn no_loop_is_left(lab: &Lab) {
    // The kernel lets go of a loop device a moment after the last mount of it.
    let script =
        "for i in $(seq 100); do losetup -a | grep -q \"$0\" || exit 0; sleep 0.2; done; losetup -a; exit 1";
    lab.world
        .inside(std::path::Path::new("/bin/sh"))
        .words(["-c", script, &lab.world.lib("trees").display().to_string()])
        .run()
        .ok();
    lab.nothing_left();
}

#[test]
fn dir_schroot_conf_an_image_is_mounted_for_a_session_and_changed_in_place() {
    let lab = lab("type=loopback\nfile=IMAGE\nprofile=shared\nmount-options=-o noatime\n");
    gives(
        lab.around(CAROL, "root", "echo one > /etc/what; grep -c ' / ext4 .*noatime' /proc/mounts; id -u"),
        "1\n0",
    );
    // Two at a time see one file system.
    let (id, other) = (lab.begin(CAROL, &lab.name), lab.begin(CAROL, &lab.name));
    gives(lab.run(CAROL, &id, "echo two >> /etc/what"), "");
    gives(lab.run(CAROL, &other, "cat /etc/what"), "one\ntwo");
    gives(lab.schroot(CAROL, &["-e", "-c", &id]), "");
    gives(lab.run(CAROL, &other, "cat /etc/what; grep -c ' /build ' /proc/mounts"), "one\ntwo\n1");
    lab.shell("umount -R -l /run/zchroot/mount && rm -r /run/zchroot");
    gives(lab.schroot(0, &["--recover-session", "-c", &other]), "");
    gives(lab.run(CAROL, &other, "cat /etc/what"), "one\ntwo");
    gives(lab.schroot(CAROL, &["-e", "-c", &other]), "");
    no_loop_is_left(&lab);
    assert_eq!(content(&lab, "/etc/what"), "one\ntwo");
}

#[test]
fn dir_schroot_conf_a_union_over_an_image_leaves_it_as_it_is_and_its_source_does_not() {
    let lab = lab("type=loopback\nfile=IMAGE\nlocation=/sid\nprofile=shared\nunion-type=overlay\n");
    gives(lab.around(CAROL, "root", "echo x > /etc/what; ls -d /sid 2>/dev/null; cat /etc/what"), "x");
    let id = lab.begin(CAROL, &lab.name);
    gives(lab.run(CAROL, &id, "ls /etc/what 2>/dev/null; echo y > /etc/what; cat /etc/what"), "y");
    gives(
        lab.schroot(CAROL, &["--location", "-c", &format!("session:{id}")]),
        &format!("/run/zchroot/mount/{id}"),
    );
    gives(lab.schroot(CAROL, &["-e", "-c", &id]), "");
    no_loop_is_left(&lab);
    assert_eq!(content(&lab, "/sid/etc/what"), "");
    gives(lab.around_source(CAROL, "echo new > /etc/what"), "");
    no_loop_is_left(&lab);
    assert_eq!(content(&lab, "/sid/etc/what"), "new");
    let words = ["-c", &lab.name, "-d", "/", "-u", "root", "--", "sh", "-c", "echo in; sleep 922"];
    let mut running = lab.order(CAROL, &words).start();
    assert_eq!(running.line(), "in");
    running.kill();
    lab.world.root(&["recover"]).ok();
    no_loop_is_left(&lab);
}

#[test]
fn dir_schroot_conf_a_block_device_is_mounted_for_a_session() {
    let lab = lab("type=block-device\ndevice=/dev/none\nprofile=shared\n");
    lab.around(CAROL, "root", "true").exits(1).says("cannot open /dev/none: No such file");
    lab.define(&format!("type=block-device\ndevice={IMAGE}\nprofile=shared\n"));
    lab.around(CAROL, "root", "true").exits(1).says("it is no block device");
    let device = lab.shell(&format!("losetup -f --show {IMAGE}")).text();
    lab.define(&format!("type=block-device\ndevice={device}\nprofile=shared\nunion-type=overlay\n"));
    let done = lab.around(CAROL, "root", "echo x > /etc/what; id -u");
    let source = lab.around_source(CAROL, "ls /etc/what 2>/dev/null; echo new > /etc/what");
    lab.shell(&format!("losetup -d {device}"));
    gives(done, "0");
    gives(source, "");
    no_loop_is_left(&lab);
    assert_eq!(content(&lab, "/etc/what"), "new");
}

#[test]
fn dir_schroot_conf_an_image_that_cannot_be_mounted_is_said_and_nothing_is_left() {
    let lab = lab("type=loopback\nfile=IMAGE\nprofile=shared\nmount-options=-o nosuchoption=1\n");
    let begin = || lab.schroot(CAROL, &["-b", "-c", &lab.name]).exits(1).prints("");
    begin().says(&format!("stage=setup-start: cannot mount {IMAGE}: /bin/mount failed with status "));
    no_loop_is_left(&lab);
    let image = lab.world.lib("trees/sid.img");
    std::fs::set_permissions(&image, std::fs::Permissions::from_mode(0o666)).unwrap();
    begin().says(&format!("cannot use {IMAGE}: everybody may write it"));
    std::fs::set_permissions(&image, std::fs::Permissions::from_mode(0o644)).unwrap();
    std::os::unix::fs::chown(&image, Some(ALICE), None).unwrap();
    begin().says(&format!("cannot use {IMAGE}: it does not belong to root"));
    lab.define("type=loopback\nfile=/var/lib/trees\nprofile=shared\n");
    begin().says("cannot use /var/lib/trees: it is no file");
    lab.define(&format!("type=loopback\nfile={IMAGE}\nlocation=/none\nprofile=shared\n"));
    std::os::unix::fs::chown(&image, Some(0), None).unwrap();
    begin().says("cannot resolve /none: No such file or directory");
    no_loop_is_left(&lab);
}

#[test]
fn dir_schroot_conf_an_image_that_is_mounted_without_setuid_and_devices_gets_neither() {
    for (options, left) in [
        ("", &[][..]),
        ("mount-options=-o nosuid\n", &["nosuid"]),
        ("mount-options=-o users,exec\n", &["nosuid", "nodev"]),
    ] {
        let lab = lab(&format!("type=loopback\nfile=IMAGE\nprofile=shared\n{options}"));
        let done = lab.around(CAROL, "root", restricted::ROOT).ok();
        assert_eq!(restricted::words(&done.text()), left, "{done}");
        no_loop_is_left(&lab);
    }
}

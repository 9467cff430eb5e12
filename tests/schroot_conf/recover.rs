//! A session is killed, or the host goes down: recover brings it to ready or ends it, and the tree is as it was.

use crate::lab::{Lab, gives};
use crate::world::CAROL;

const DIRECTORY: &str = "type=directory\ndirectory=TREE\nprofile=shared\n";
const UNION: &str = "type=directory\ndirectory=TREE\nprofile=shared\nunion-type=overlay\n";

#[test]
fn dir_schroot_conf_a_session_that_was_killed_is_ended_by_recover_and_the_tree_stays() {
    for (keys, source) in [(DIRECTORY, ""), (UNION, ""), (UNION, "source:")] {
        let lab = Lab::new(keys);
        // What a session in place has once made for its mounts stays, as with schroot.
        gives(lab.around(CAROL, "root", "true"), "");
        let before = lab.listing();
        let chroot = format!("{source}{}", lab.name);
        let words = ["-c", &chroot, "-d", "/", "-u", "root", "--", "sh", "-c", "echo in; sleep 955"];
        let mut running = lab.order(CAROL, &words).start();
        assert_eq!(running.line(), "in");
        running.kill();
        lab.world.root(&["recover"]).ok();
        assert_eq!(lab.listing(), before, "{chroot}");
        lab.shell("ps -eo args | grep '[s]leep 955' || true").prints("");
        lab.nothing_left();
    }
}

#[test]
fn dir_schroot_conf_a_named_session_stands_again_after_a_reboot() {
    for (keys, source) in [(DIRECTORY, ""), (UNION, ""), (UNION, "source:")] {
        let lab = Lab::new(keys);
        gives(lab.around(CAROL, "root", "true"), "");
        let before = lab.listing();
        let id = lab.begin(CAROL, &format!("{source}{}", lab.name));
        gives(lab.run(CAROL, &id, "echo kept > /root/what"), "");
        // Mounts go with a reboot, and so does /run.
        lab.shell("umount -R -l /run/zchroot/mount && rm -r /run/zchroot");
        lab.schroot(CAROL, &["-r", "-c", &id, "-d", "/", "--", "true"]).exits(1).says("is not ready");
        gives(lab.schroot(0, &["--recover-session", "-c", &id]), "");
        gives(
            lab.run(CAROL, &id, "cat /root/what; grep -q ' /build ' /proc/mounts && echo set up"),
            "kept\nset up",
        );
        gives(lab.schroot(0, &["--recover-session", "--all-sessions"]), "");
        // The other way: it is ended as it is found.
        lab.shell("umount -R -l /run/zchroot/mount && rm -r /run/zchroot");
        gives(lab.schroot(CAROL, &["-e", "-c", &id]), "");
        let _ = std::fs::remove_file(lab.tree().join("root/what"));
        assert_eq!(lab.listing(), before, "{source}");
        lab.nothing_left();
    }
}

#[test]
fn dir_schroot_conf_a_session_goes_on_as_it_was_begun_whatever_becomes_of_its_definition() {
    let lab = Lab::new(UNION);
    let id = lab.begin(CAROL, &lab.name);
    lab.world.write_etc("schroot/chroot.d/one", "");
    gives(lab.run(CAROL, &id, "echo here"), "here");
    gives(lab.schroot(CAROL, &["-l", "--all-sessions"]), &format!("session:{id}"));
    assert!(lab.schroot(CAROL, &["-i", "-c", &format!("session:{id}")]).ok().text().contains(&lab.name));
    // zchroot knows it too.
    let list = lab.world.root(&["list", "--sessions", "--json"]).json();
    assert_eq!(list["list"]["sessions"][0]["id"], id.as_str());
    lab.world.root(&["info", &id]).ok();
    lab.world.root(&["-q", "gc"]).ok();
    gives(lab.run(CAROL, &id, "echo still"), "still");
    gives(lab.world.user(CAROL, &["end", &id]), "");
    lab.nothing_left();
}

#[test]
fn dir_schroot_conf_a_session_that_stands_can_be_used_and_ended_where_all_that_is_defined_is_broken() {
    let lab = Lab::new(UNION);
    let (id, other) = (lab.begin(CAROL, &lab.name), lab.begin(CAROL, &lab.name));
    lab.world.write_etc("schroot/chroot.d/one", "what\n");
    lab.schroot(CAROL, &["-c", &lab.name, "--", "true"]).exits(1).says("chroot.d/one");
    gives(lab.run(CAROL, &id, "echo here"), "here");
    // Of several words none does anything if one means nothing.
    lab.schroot(CAROL, &["-e", "-c", &id, "-c", "none"]).exits(1).says("chroot.d/one");
    gives(lab.schroot(CAROL, &["-e", "-c", &id, "-c", &other]), "");
    lab.nothing_left();
}

#[test]
fn dir_schroot_conf_wherever_a_begin_or_an_end_is_killed_recover_leaves_the_tree_as_it_was() {
    let archive = "type=file\nfile=/var/lib/trees/sid.tar\nprofile=shared\n";
    for (keys, source) in [(UNION, ""), (UNION, "source:"), (archive, ""), (archive, "source:")] {
        let lab = Lab::new(keys);
        let before = lab.listing();
        let file = lab.world.lib("trees/sid.tar");
        crate::harness::tree::pack(&lab.tree(), &file);
        let chroot = format!("{source}{}", lab.name);
        kill_at_every_step(&lab, &chroot, std::time::Duration::from_micros(1500), || {
            assert_eq!(lab.listing(), before, "{chroot}");
            let temps = lab.shell("ls -A /var/lib/trees | grep tmp || true").text();
            assert_eq!(temps, "", "{chroot}");
        });
        // Whatever was killed, the archive is whole.
        if keys == archive {
            gives(lab.around(CAROL, "root", "cat /etc/generation"), "1");
        }
    }
}

/// Kills a begin of a session, and where that came to stand its end, after more and more time; then there is nothing of
/// either, and `check` says that all else is as it was.
pub(crate) fn kill_at_every_step(lab: &Lab, chroot: &str, pause: std::time::Duration, check: impl Fn()) {
    // The steps of a begin and of an end are a few milliseconds each, of this and of slower machines.
    for step in 0..16 {
        let begin = lab.order(CAROL, &["-b", "-c", chroot]).start();
        std::thread::sleep(pause * step);
        begin.kill();
        lab.world.root(&["recover"]).ok();
        // One that had been begun stands: its end is killed, and made again.
        let standing = lab.schroot(0, &["-l", "--all-sessions"]).ok().text();
        for id in standing.lines().map(|line| line.trim_start_matches("session:")) {
            let end = lab.order(CAROL, &["-e", "-c", id]).start();
            std::thread::sleep(pause * step);
            end.kill();
            lab.world.root(&["recover"]).ok();
        }
        lab.schroot(0, &["-e", "--all-sessions"]).ok();
        // A record that was about to be renamed into place is gc's.
        lab.shell("rm -f /var/lib/zchroot/sessions/.tmp-*");
        lab.nothing_left();
        check();
    }
}

//! Type `btrfs-snapshot`: a snapshot of the subvolume for each session, the subvolume itself for its source.

use std::time::Duration;

use crate::lab::{Lab, gives};
use crate::recover::kill_at_every_step;
use crate::world::{CAROL, World};

const KEYS: &str = "type=btrfs-snapshot\nbtrfs-source-subvolume=/var/lib/btr/sid\n\
    btrfs-snapshot-directory=/var/lib/btr/snapshots\nprofile=shared\n";

fn lab() -> Lab {
    let lab = Lab::on(World::empty(), KEYS);
    lab.shell(
        "cd /var/lib && mkdir btr && truncate -s 256M btr.img && mkfs.btrfs -q btr.img && mount -o loop btr.img btr && \
         btrfs subvolume create btr/sid && mkdir btr/snapshots && cp -a trees/*/. btr/sid",
    );
    lab
}

fn nothing_left(lab: &Lab) {
    lab.nothing_left();
    lab.shell(
        "ls -A /var/lib/btr/snapshots; btrfs subvolume list /var/lib/btr | grep -v 'path sid$' || true",
    )
    .prints("");
}

/// The loop device goes with the last mount of it.
fn unmount(lab: &Lab) {
    lab.shell("umount /var/lib/btr");
}

#[test]
fn dir_schroot_conf_a_subvolume_is_snapshotted_for_each_session_and_stays_as_it_is() {
    let lab = lab();
    gives(lab.around(CAROL, "root", "echo x > /etc/what; cat /etc/generation; id -u"), "1\n0");
    nothing_left(&lab);
    let id = lab.begin(CAROL, &lab.name);
    gives(
        lab.run(
            CAROL,
            &id,
            "ls /etc/what 2>/dev/null; echo one > /etc/what; grep -c ' /build ' /proc/mounts",
        ),
        "1",
    );
    let info = lab.schroot(CAROL, &["-i", "-c", &format!("session:{id}")]).ok().text();
    for (key, value) in [
        ("Btrfs Snapshot Name", format!("/var/lib/btr/snapshots/{id}")),
        ("Session Purged", "true".to_owned()),
        ("Type", "btrfs-snapshot".to_owned()),
    ] {
        assert!(
            info.lines().any(|line| line.trim_start().strip_prefix(key).is_some_and(|it| it.trim() == value)),
            "{info}"
        );
    }
    lab.shell("umount -R -l /run/zchroot/mount && rm -r /run/zchroot");
    gives(lab.schroot(0, &["--recover-session", "-c", &id]), "");
    gives(lab.run(CAROL, &id, "cat /etc/what"), "one");
    // Whoever is root in it may make subvolumes of his own.
    lab.shell(&format!("btrfs subvolume create /var/lib/btr/snapshots/{id}/inner && echo x > /var/lib/btr/snapshots/{id}/inner/x"));
    gives(lab.schroot(CAROL, &["-e", "-c", &id]), "");
    nothing_left(&lab);
    gives(lab.around_source(CAROL, "echo new > /etc/what"), "");
    gives(lab.around(CAROL, "root", "cat /etc/what"), "new");
    nothing_left(&lab);
    unmount(&lab);
}

#[test]
fn dir_schroot_conf_what_is_no_subvolume_is_refused_and_what_lies_in_the_way_is_left() {
    let lab = lab();
    let refused = |name: &str, why: &str| {
        lab.schroot(CAROL, &["-b", "-c", &lab.name, "-n", name]).exits(1).prints("").says(why);
    };
    let mine = format!("{}-mine", lab.name);
    lab.shell(&format!("mkdir /var/lib/btr/snapshots/{mine}"));
    refused(&mine, "it is there already, and not this session's");
    lab.shell(&format!("rmdir /var/lib/btr/snapshots/{mine}; chmod 777 /var/lib/btr/snapshots"));
    refused(&mine, "cannot use /var/lib/btr/snapshots: everybody may write it");
    lab.shell("chmod 755 /var/lib/btr/snapshots");
    lab.define(&KEYS.replace("btr/sid", "btr/snapshots"));
    refused(&mine, "cannot snapshot /var/lib/btr/snapshots: Invalid argument");
    lab.define(&KEYS.replace("btr/sid", "btr/none"));
    refused(&mine, "cannot open /var/lib/btr/none: No such file or directory");
    lab.define(&KEYS.replace("btr/snapshots", "elsewhere"));
    refused(&mine, "cannot open /var/lib/elsewhere: No such file or directory");
    lab.shell("mkdir /var/lib/elsewhere");
    refused(&mine, "cannot snapshot /var/lib/btr/sid: ");
    nothing_left(&lab);
    unmount(&lab);
}

#[test]
fn dir_schroot_conf_wherever_a_begin_or_an_end_of_a_snapshot_is_killed_recover_leaves_the_subvolume_alone() {
    let lab = lab();
    kill_at_every_step(&lab, &lab.name, Duration::from_micros(1500), || nothing_left(&lab));
    gives(lab.around(CAROL, "root", "cat /etc/generation"), "1");
    unmount(&lab);
}

//! The profile's files below /etc/schroot, as administrators and clients have written them.

use crate::lab::{Lab, gives};
use crate::world::CAROL;

fn lab(keys: &str) -> Lab {
    let lab = Lab::new(&format!("type=directory\ndirectory=TREE\nunion-type=overlay\nprofile=own\n{keys}"));
    std::fs::create_dir(lab.world.etc("schroot/own")).unwrap();
    lab.world
        .write_etc("schroot/own/fstab", "/proc /proc none rw,bind 0 0\ntmpfs /build tmpfs size=1m 0 0\n");
    lab.world.write_etc("schroot/own/copyfiles", "# files\n/etc/hosts\n/etc/hosts /etc/copy/of\n");
    lab.world.write_etc("schroot/own/nssdatabases", "passwd\nservices\n");
    lab.world.write_etc("hosts", "127.0.0.1 here\n");
    lab.world.write_etc("services", "echo 7/tcp\n");
    lab
}

#[test]
fn dir_schroot_conf_the_files_of_a_profile_are_honoured() {
    let lab = lab("");
    let script = "cat /etc/hosts /etc/copy/of /etc/services; grep -c carol /etc/passwd; grep -c ' /build tmpfs ' /proc/mounts; ls /dev";
    let gone = "127.0.0.1 here\n127.0.0.1 here\necho 7/tcp\n1\n1";
    gives(lab.around(CAROL, "root", script), gone);
    // What is written into them later is for the next session.
    let id = lab.begin(CAROL, &lab.name);
    lab.world.write_etc("schroot/own/fstab", "/var/lib/shared /build none ro,bind 0 0\n");
    gives(lab.run(CAROL, &id, "grep -c ' /build tmpfs ' /proc/mounts"), "1");
    gives(lab.schroot(CAROL, &["-e", "-c", &id]), "");
    std::fs::write(lab.world.lib("shared/mark"), "").unwrap();
    let done = lab.around(CAROL, "root", "ls /build; touch /build/x").exits(1);
    assert_eq!(done.text(), "mark", "{done}");
    lab.nothing_left();
}

#[test]
fn dir_schroot_conf_keys_name_other_files_or_none() {
    let lab = lab("setup.fstab=other/mounts\nsetup.copyfiles=\n");
    std::fs::create_dir(lab.world.etc("schroot/other")).unwrap();
    lab.world.write_etc("schroot/other/mounts", "none /elsewhere tmpfs rw\nproc /proc proc rw\n");
    gives(lab.around(CAROL, "root", "grep -c ' /elsewhere ' /proc/mounts; ls /build /etc/hosts 2>/dev/null; grep -c carol /etc/passwd"), "1\n1");
    lab.nothing_left();
}

#[test]
fn dir_schroot_conf_a_symlink_in_the_tree_leads_no_mount_and_no_file_out_of_it() {
    let lab = lab("");
    let outside = lab.world.lib("outside");
    std::fs::create_dir(&outside).unwrap();
    std::os::unix::fs::symlink("/var/lib/outside", lab.tree().join("build")).unwrap();
    std::os::unix::fs::symlink("/var/lib/outside", lab.tree().join("etc/copy")).unwrap();
    std::os::unix::fs::symlink("/var/lib/outside/evil", lab.tree().join("etc/debian_chroot")).unwrap();
    let script = "grep -c ' /var/lib/outside tmpfs ' /proc/mounts; cat /etc/copy/of; cat /etc/debian_chroot";
    let shown = format!("1\n127.0.0.1 here\n{}", lab.name);
    gives(lab.around(CAROL, "root", script), &shown);
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
    lab.nothing_left();
}

#[test]
fn dir_schroot_conf_what_is_wrong_with_a_profile_is_said_before_anything_is_made() {
    let lab = lab("");
    let refused = |why: &str| {
        let done = lab.schroot(CAROL, &["-b", "-c", &lab.name]).exits(1).prints("");
        done.says(&format!("E: {}: {why}", lab.name));
        lab.nothing_left();
    };
    lab.world.write_etc("schroot/own/fstab", "\nserver:/x /mnt nfs rw 0 0\n");
    refused("/etc/schroot/own/fstab: line 2: mounts of type nfs are not supported");
    std::fs::remove_file(lab.world.etc("schroot/own/fstab")).unwrap();
    refused("/etc/schroot/own/fstab: there is no such file");
    lab.world.write_etc("schroot/own/fstab", "");
    std::os::unix::fs::chown(lab.world.etc("schroot/own/fstab"), Some(CAROL), None).unwrap();
    refused("/etc/schroot/own/fstab");
    std::os::unix::fs::chown(lab.world.etc("schroot/own/fstab"), Some(0), None).unwrap();
    lab.world.write_etc("schroot/own/copyfiles", "/etc/nowhere\n");
    let done = lab.schroot(CAROL, &["-b", "-c", &lab.name]).exits(1).prints("");
    done.says("stage=setup-start: cannot read /etc/nowhere: No such file");
    lab.nothing_left();
    let keys = "type=directory\ndirectory=TREE\nprofile=own\nsetup.nssdatabases=../passwd\n";
    lab.define(keys);
    refused("/etc/schroot/../passwd: it has to lie there");
}

/// What Debian ships, where it is installed with the files that it names.
#[test]
fn dir_schroot_conf_a_profile_without_a_folder_is_that_of_zchroot() {
    let lab = lab("");
    lab.world.write_etc("shadow", "root:*:1::::::\n");
    for profile in ["minimal", "buildd", "sbuild"] {
        lab.define(&format!("type=directory\ndirectory=TREE\nunion-type=overlay\nprofile={profile}\n"));
        gives(lab.around(CAROL, "root", "grep -c ' /proc ' /proc/mounts"), "1");
    }
    lab.nothing_left();
}

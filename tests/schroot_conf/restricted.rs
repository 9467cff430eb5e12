//! What the administrator took away by the way in which he mounted something stays away.

use std::os::unix::fs::PermissionsExt;

use crate::lab::{Lab, gives};
use crate::world::{ALICE, CAROL};

pub(crate) const ROOT: &str = "awk '$2 == \"/\" { print $4 }' /proc/self/mounts";

/// `nosuid` and `nodev`, as far as the tree is mounted so.
pub(crate) fn words(options: &str) -> Vec<&str> {
    options.split(',').filter(|word| ["nosuid", "nodev"].contains(word)).collect()
}

#[test]
fn dir_schroot_conf_a_tree_on_a_mount_without_setuid_and_devices_gets_neither() {
    for keys in ["type=directory\ndirectory=TREE\nprofile=shared\n", "type=plain\ndirectory=TREE\n"] {
        let lab = Lab::new(keys);
        let tree = format!("/var/lib/trees/{}", lab.name);
        let host =
            format!("mkdir -p {tree}/proc && mount --bind {tree} {tree} && mount -t proc proc {tree}/proc");
        lab.shell(&host);
        let done = lab.around(CAROL, "root", ROOT).ok();
        assert_eq!(words(&done.text()), Vec::<&str>::new(), "{done}");
        lab.shell(&format!("mount -o remount,bind,nosuid,nodev {tree}"));
        let done = lab.around(CAROL, "root", ROOT).ok();
        assert_eq!(words(&done.text()), ["nosuid", "nodev"], "{done}");
        lab.shell(&format!("mount -o remount,bind,suid,nodev {tree}"));
        let done = lab.around(CAROL, "root", ROOT).ok();
        assert_eq!(words(&done.text()), ["nodev"], "{done}");
        lab.shell(&format!("umount -R {tree}"));
        lab.nothing_left();
    }
}

#[test]
fn dir_schroot_conf_a_plain_chroot_has_what_is_mounted_below_it_and_a_directory_has_not() {
    for (keys, has) in [
        ("type=plain\ndirectory=TREE\n", "inside"),
        ("type=directory\ndirectory=TREE\nprofile=shared\n", "under"),
    ] {
        let lab = Lab::new(keys);
        let data = format!("/var/lib/trees/{}/srv/data", lab.name);
        lab.shell(&format!(
            "mkdir -p {data} && echo under > {data}/file && mount -t tmpfs none {data} && echo inside > {data}/file"
        ));
        gives(lab.around(CAROL, "root", "cat /srv/data/file; echo new > /srv/data/new"), has);
        let seen = if has == "inside" { "new" } else { "" };
        lab.shell(&format!("cat {data}/new 2>/dev/null || true")).prints(seen);
        lab.shell(&format!("mountpoint -q {data} && umount {data}"));
        lab.nothing_left();
    }
}

#[test]
fn dir_schroot_conf_the_host_s_root_as_a_plain_chroot_keeps_no_session_mounted() {
    let lab = Lab::new("type=directory\ndirectory=TREE\nprofile=shared\nunion-type=overlay\n");
    let id = lab.begin(CAROL, &lab.name);
    let text = std::fs::read_to_string(lab.world.etc("schroot/chroot.d/one")).unwrap();
    lab.world.write_etc(
        "schroot/chroot.d/one",
        &format!("{text}[all]\ntype=plain\ndirectory=/\nusers=alice\nroot-users=carol\n"),
    );
    let words = ["-c", "all", "-d", "/", "-u", "root", "--", "/bin/sh", "-c"];
    let script =
        format!("grep -c '/run/zchroot/mount/{id}' /proc/self/mountinfo; ls /run/zchroot/mount/{id}");
    let done = lab.schroot(CAROL, &[&words[..], &[script.as_str()]].concat());
    assert!(done.text().starts_with('0'), "{done}");
    gives(lab.schroot(CAROL, &["-e", "-c", &id]), "");
    lab.nothing_left();
}

#[test]
fn dir_schroot_conf_the_record_of_a_session_is_for_root_alone_and_its_owner_sees_it_all_the_same() {
    let lab =
        Lab::new("type=directory\ndirectory=TREE\nprofile=shared\nunion-type=overlay\nmysite.secret=word\n");
    let id = lab.begin(ALICE, &lab.name);
    let folder = lab.world.lib("zchroot/sessions");
    let modes = std::fs::read_dir(folder).unwrap().map(|entry| {
        let entry = entry.unwrap();
        (entry.file_name(), entry.metadata().unwrap().permissions().mode() & 0o777)
    });
    let modes: Vec<_> = modes.filter(|(name, _)| name.to_string_lossy().ends_with(".toml")).collect();
    assert!(!modes.is_empty() && modes.iter().all(|(_, mode)| *mode == 0o600), "{modes:?}");
    gives(lab.schroot(ALICE, &["-l", "--all-sessions"]), &format!("session:{id}"));
    lab.schroot(ALICE, &["-i", "-c", &format!("session:{id}")]).ok();
    gives(lab.schroot(ALICE, &["-e", "-c", &id]), "");
    lab.nothing_left();
}

#[test]
fn dir_schroot_conf_an_option_of_fstab_that_restricts_and_is_not_supported_is_refused() {
    let lab = Lab::new("type=directory\ndirectory=TREE\nprofile=own\n");
    std::fs::create_dir_all(lab.world.etc("schroot/own")).unwrap();
    for file in ["copyfiles", "nssdatabases"] {
        lab.world.write_etc(&format!("schroot/own/{file}"), "");
    }
    for option in ["noexec", "hidepid=2", "gid=7"] {
        lab.world.write_etc("schroot/own/fstab", &format!("none /build tmpfs rw,{option} 0 0\n"));
        let done = lab.around(CAROL, "root", "true").exits(1);
        assert!(done.stderr.contains(&format!("line 1: the option {option} is not supported")), "{done}");
    }
    lab.nothing_left();
}

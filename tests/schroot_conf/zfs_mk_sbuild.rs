//! What mk-sbuild (ubuntu-dev-tools) makes with `--type=zfs-snapshot`: its file as it writes it, and its calls.

use crate::lab::gives;
use crate::world::CAROL;
use crate::zfs::Datasets;

const SBUILD: &[u32] = &[64200];
const FINISH: &str = "#!/bin/sh\nset -e\npwd\nid -u\necho 2 > /etc/generation\nrm /finish.sh\n";

/// The file, with its comments, and without the group `admin`, which Debian has not.
fn file(name: &str, dataset: &str) -> String {
    format!(
        "[{name}]\ndescription={name}\ngroups=sbuild,root\nroot-groups=sbuild,root\n\
         # Uncomment these lines to allow members of these groups to access\n\
         # the -source chroots directly (useful for automated updates, etc).\n\
         #source-root-users=sbuild,root\n#source-root-groups=sbuild,root\ntype=zfs-snapshot\nprofile=sbuild\n\
         zfs-dataset={dataset}\n"
    )
}

#[test]
fn zfs_schroot_conf_what_mk_sbuild_makes_works_without_a_warning_before_and_after_it_is_adopted() {
    let it = Datasets::new(true, "");
    let lab = &it.lab;
    let name = &lab.name;
    let group = std::fs::read_to_string(lab.world.etc("group")).unwrap();
    lab.world.write_etc("group", &format!("{group}sbuild:x:64200:carol\n"));
    lab.world.write_etc("shadow", "root:*:19000:0:99999:7:::\n");
    lab.world.write_etc("gshadow", "root:*::\n");
    std::fs::create_dir_all(lab.world.lib("sbuild/build")).unwrap();
    lab.world.write_etc("schroot/chroot.d/one", "");
    lab.world.write_etc(&format!("schroot/chroot.d/sbuild-{name}"), &file(name, &it.sid()));
    let at = it.mounted();
    std::fs::write(at.join("finish.sh"), FINISH).unwrap();
    std::fs::set_permissions(at.join("finish.sh"), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .unwrap();
    it.unmount(&at);
    let builder = |words: &[&str]| {
        lab.world.program("schroot").user(CAROL, SBUILD).words(words.iter().copied()).current_dir("/").run()
    };
    // mk-sbuild's own last step, from wherever it is called.
    let finish = ["-c", &format!("source:{name}"), "-u", "root", "/finish.sh"];
    gives(lab.order(0, &finish).current_dir("/").run(), "/\n0");
    for is_adopted in [false, true] {
        if is_adopted {
            lab.world.root(&["-q", "adopt", name]).ok();
        }
        let generation = if is_adopted { "3" } else { "2" };
        gives(builder(&["-l"]), &format!("chroot:{name}\nsource:{name}"));
        let config = builder(&["--config", "--chroot", name]).ok();
        assert!(config.stderr.is_empty(), "{config}");
        assert!(config.text().lines().any(|line| line == "type=zfs-snapshot"), "{config}");
        let source = format!("source:{name}");
        gives(
            builder(&["-c", name, "-u", "root", "--", "sh", "-c", "id -u; cat /etc/generation"]),
            &format!("0\n{generation}"),
        );
        // As sbuild does it.
        let done = builder(&["-c", &format!("chroot:{name}"), "--begin-session"]).ok();
        assert!(done.stderr.is_empty(), "{done}");
        let id = done.text();
        let info = builder(&["--info", "--chroot", &format!("session:{id}")]).ok();
        assert!(info.text().contains("Session Purged        ") && info.text().contains("true"), "{info}");
        let script = "echo built > /build/what; rm /build/what; grep -c ' /build ' /proc/mounts";
        gives(
            builder(&[
                "-d",
                "/",
                "-c",
                &id,
                "--run-session",
                "-q",
                "-u",
                "root",
                "-p",
                "--",
                "sh",
                "-c",
                script,
            ]),
            "1",
        );
        gives(builder(&["-c", &id, "--end-session"]), "");
        // As sbuild-update does it, by root.
        let done = lab.schroot(0, &["-c", &source, "--begin-session"]).ok();
        assert!(done.stderr.is_empty(), "{done}");
        let id = done.text();
        let next = if is_adopted { "4" } else { "3" };
        gives(lab.run(0, &id, &format!("echo {next} > /etc/generation")), "");
        gives(lab.schroot(0, &["-c", &id, "--end-session"]), "");
        gives(builder(&["-c", name, "-u", "root", "--", "cat", "/etc/generation"]), next);
        lab.schroot(0, &["-l", "--all-sessions"]).prints("");
    }
    lab.world.assert_nothing_left();
}

//! Scripts of the administrator in /etc/schroot/setup.d.

use std::os::unix::fs::PermissionsExt;

use crate::harness::tree;
use crate::lab::{Lab, gives, refuses};
use crate::world::CAROL;

const KEYS: &str = "type=directory\ndirectory=TREE\nunion-type=overlay\nprofile=shared\nmy.own-key=value\n";
const NOTE: &str = "#!/bin/sh\nmount=no; grep -q \" $CHROOT_PATH \" /proc/self/mounts && mount=yes\n\
echo \"${0##*/} $1 $2 $mount\" >> /var/lib/log\n";

fn lab(keys: &str) -> Lab {
    let lab = Lab::new(keys);
    std::fs::create_dir(lab.world.etc("schroot/setup.d")).unwrap();
    script(&lab, "04early", NOTE);
    script(&lab, "52late", NOTE);
    // Schroot's own, and what is none.
    for name in ["10mount", "99check", "README", "60old.dpkg-old"] {
        script(&lab, name, "#!/bin/sh\necho must not run >> /var/lib/log\n");
    }
    lab
}

fn script(lab: &Lab, name: &str, text: &str) {
    lab.world.write_etc(&format!("schroot/setup.d/{name}"), text);
    let path = lab.world.etc(&format!("schroot/setup.d/{name}"));
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[track_caller]
fn logged(lab: &Lab, lines: &[&str]) {
    let text = lab.shell("cat /var/lib/log 2>/dev/null; rm -f /var/lib/log").text();
    assert_eq!(text.lines().collect::<Vec<_>>(), lines);
}

const START: [&str; 2] = ["04early setup-start ok no", "52late setup-start ok yes"];
const STOP: [&str; 2] = ["52late setup-stop ok yes", "04early setup-stop ok no"];

#[test]
fn dir_schroot_conf_scripts_run_around_the_mounts_and_backwards_at_the_end() {
    let lab = lab(KEYS);
    gives(lab.around(CAROL, "root", "id -u"), "0");
    logged(&lab, &[START, STOP].concat());
    let id = lab.begin(CAROL, &lab.name);
    logged(&lab, &START);
    lab.shell("umount -R -l /run/zchroot/mount && rm -r /run/zchroot");
    gives(lab.schroot(0, &["--recover-session", "-c", &id]), "");
    logged(&lab, &["04early setup-recover ok no", "52late setup-recover ok yes"]);
    gives(lab.schroot(CAROL, &["-e", "-c", &id]), "");
    logged(&lab, &STOP);
    lab.define("type=plain\ndirectory=TREE\n");
    gives(lab.around(CAROL, "root", "id -u"), "0");
    logged(&lab, &[]);
    lab.define(&format!("type=file\nfile=/var/lib/trees/{}.tar\nprofile=shared\n", lab.name));
    tree::pack(&lab.tree(), &lab.world.lib(&format!("trees/{}.tar", lab.name)));
    gives(lab.around_source(CAROL, "id -u"), "0");
    logged(&lab, &[START, STOP].concat());
    lab.nothing_left();
}

#[test]
fn dir_schroot_conf_scripts_are_told_of_the_session_and_nothing_of_the_callers_environment() {
    let lab = lab(KEYS);
    script(&lab, "52late", "#!/bin/sh\nenv | sort > /var/lib/env; id -u; umask; pwd; echo bad >&2\n");
    let words = ["-p", "-c", &lab.name, "-d", "/", "--", "true"];
    let done = lab.order(CAROL, &words).env("SECRET", "1").run().ok();
    let said = "I: 52late: 0\nI: 52late: 0022\nI: 52late: /\nE: 52late: bad\n";
    assert_eq!((done.text().as_str(), done.stderr.matches("I: 52late: 0022").count()), ("", 2), "{done}");
    let mut lines: Vec<&str> = done.stderr.lines().collect();
    lines.sort_unstable();
    lines.dedup();
    let mut expected: Vec<&str> = said.lines().collect();
    expected.sort_unstable();
    assert_eq!(lines, expected, "{done}");
    let env = lab.shell("cat /var/lib/env").text();
    assert!(!env.contains("SECRET") && !env.contains("LC_ALL"), "{env}");
    for line in [
        "AUTH_RUSER=carol",
        "AUTH_UID=64003",
        &format!("CHROOT_DIRECTORY=/var/lib/trees/{}", lab.name),
        &format!("CHROOT_NAME={}", lab.name),
        "CHROOT_PROFILE=shared",
        "CHROOT_SESSION_PURGE=true",
        "CHROOT_SESSION_SOURCE=false",
        "CHROOT_TYPE=directory",
        "CHROOT_UNION_TYPE=overlay",
        "MY_OWN_KEY=value",
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "SETUP_FSTAB=shared/fstab",
        "SYSCONF_DIR=/etc/schroot",
        "VERBOSE=normal",
    ] {
        assert!(env.lines().any(|it| it == line), "{line}: {env}");
    }
    lab.nothing_left();
}

#[test]
fn dir_schroot_conf_a_script_that_fails_stops_the_beginning_and_nothing_is_left() {
    let lab = lab(KEYS);
    script(&lab, "53bad", "#!/bin/sh\nif [ $1 = setup-start ]; then echo why >&2; exit 3; fi\n");
    script(&lab, "54never", NOTE);
    let done = lab.schroot(CAROL, &["-b", "-c", &lab.name]).exits(1).prints("");
    assert!(done.stderr.starts_with("E: 53bad: why\nE: "), "{done}");
    done.says(
        "Chroot setup failed: stage=setup-start: cannot set up by script 53bad: it failed with status 3",
    );
    let stop = ["54never setup-stop fail yes", "52late setup-stop fail yes", "04early setup-stop fail no"];
    logged(&lab, &[&START[..], &stop].concat());
    lab.nothing_left();
    // So it is if nobody was there to end it.
    script(&lab, "53bad", "#!/bin/sh\nif [ $1 = setup-start ]; then kill -KILL $PPID; fi\n");
    lab.schroot(CAROL, &["-b", "-c", &lab.name]).exits(1000 + libc::SIGKILL);
    lab.world.root(&["recover"]).ok();
    logged(&lab, &[&START[..], &stop].concat());
    lab.nothing_left();
    // At the end it keeps the session, which can be ended again.
    script(&lab, "53bad", "#!/bin/sh\n[ $1 != setup-stop ] || test -e /var/lib/may-end\n");
    let id = lab.begin(CAROL, &lab.name);
    lab.schroot(CAROL, &["-e", "-c", &id])
        .exits(1)
        .says("stage=setup-stop: cannot stop by script 53bad: it failed");
    lab.shell("touch /var/lib/may-end");
    gives(lab.schroot(CAROL, &["-e", "-c", &id]), "");
    lab.nothing_left();
}

#[test]
fn dir_schroot_conf_a_script_that_somebody_else_could_write_does_not_run() {
    let lab = lab(KEYS);
    let path = lab.world.etc("schroot/setup.d/52late");
    let refused = |why: &str| {
        let done = lab.schroot(CAROL, &["-b", "-c", &lab.name]).exits(1).prints("");
        done.says(&format!("cannot use /etc/schroot/setup.d/52late: {why}"));
    };
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o775)).unwrap();
    refused("others than root may write it");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::os::unix::fs::chown(&path, Some(CAROL), None).unwrap();
    refused("it does not belong to root");
    std::fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("04early", &path).unwrap();
    refused("it is no regular file");
    std::fs::remove_file(&path).unwrap();
    script(&lab, "52late", NOTE);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let done = lab.schroot(CAROL, &["-b", "-c", &lab.name]).exits(1).prints("");
    done.says("cannot set up by script 52late: Permission denied");
    // What keeps a session from ending as well as from beginning is mended by whoever has the rights.
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    lab.world.root(&["recover"]).ok();
    lab.nothing_left();
}

#[test]
fn dir_schroot_conf_keys_that_are_allowed_may_be_set_for_a_session_and_scripts_are_told() {
    let lab = lab(&format!(
        "{KEYS}my.root-key=\nuser-modifiable-keys=my.own-key\nroot-modifiable-keys=my.root-key\n"
    ));
    script(&lab, "52late", "#!/bin/sh\n[ $1 = setup-stop ] || env | grep '^MY_' | sort > /var/lib/keys\n");
    let told = || lab.shell("cat /var/lib/keys").text();
    let around = |user, options: &[&str]| {
        lab.schroot(user, &[options, &["-c", &lab.name, "-d", "/", "--", "true"]].concat())
    };
    gives(around(CAROL, &[]), "");
    assert_eq!(told().trim_end(), "MY_OWN_KEY=value");
    // The first of several counts.
    gives(around(CAROL, &["-o", "my.own-key=mine", "-o", "my.own-key=other"]), "");
    assert_eq!(told().trim_end(), "MY_OWN_KEY=mine");
    gives(around(0, &["-o", "my.root-key=a=b", "-o", "my.own-key="]), "");
    assert_eq!(told().trim_end(), "MY_ROOT_KEY=a=b");
    for (user, key, lists) in [
        (CAROL, "my.root-key", "user-modifiable-keys"),
        (0, "type", "user-modifiable-keys or root-modifiable-keys"),
    ] {
        let says = format!(
            "E: Configuration key ‘{key}’ is not permitted to be modified.\n\
             I: The key is not present in {lists}\n"
        );
        refuses(around(user, &["-o", &format!("{key}=x")]), &says);
    }
    // A session keeps what it was begun with.
    let id =
        lab.schroot(CAROL, &["-o", "my.own-key=kept", "-b", "-c", &lab.name]).ok().text().trim().to_owned();
    let shown = lab.schroot(CAROL, &["--config", "-c", &format!("session:{id}")]).ok().text();
    assert!(shown.lines().any(|line| line == "my.own-key=kept"), "{shown}");
    gives(lab.schroot(CAROL, &["-e", "-c", &id]), "");
    lab.nothing_left();
}

use super::super::keyfile;
use super::super::order::Verbosity;
use super::*;

fn read_all(text: &str) -> (Result<Definition, Fault>, Vec<String>) {
    let groups = keyfile::parse(text).unwrap();
    let (name, group) = groups.first_key_value().unwrap();
    let mut warnings = Vec::new();
    let read = read(name, group, &mut warnings);
    (read, warnings.iter().map(Line::text).collect())
}

#[track_caller]
fn good(text: &str) -> Definition {
    let (read, warnings) = read_all(text);
    assert_eq!(warnings, Vec::<String>::new());
    read.unwrap()
}

fn bad(text: &str) -> String {
    read_all(text).0.unwrap_err().to_string()
}

#[test]
fn what_sbuild_createchroot_writes_is_read_without_a_remark() {
    let made = good(
        "[unstable-amd64-sbuild]\ndescription=Debian unstable/amd64 autobuilder\ngroups=root,sbuild\n\
         root-groups=root,sbuild\nprofile=sbuild\ntype=file\nfile=/srv/chroot/unstable.tar.gz\naliases=sid-amd64-sbuild\n\
         command-prefix=eatmydata\npersonality=linux32\n",
    );
    assert_eq!(made.lists.root_groups, ["root", "sbuild"]);
    assert_eq!(made.kind, Kind::File { file: "/srv/chroot/unstable.tar.gz".into(), location: String::new() });
    assert_eq!(made.user_data["setup.fstab"], "sbuild/fstab");
    assert!(made.source.is_some());
}

#[test]
fn what_mk_sbuild_writes_for_zfs_is_read_without_a_remark() {
    let made = good(
        "[sid-amd64]\ndescription=sid-amd64\ngroups=sbuild,root\nroot-groups=sbuild,root\n\
         source-root-users=root,sbuild,admin\nsource-root-groups=root,sbuild,admin\ntype=zfs-snapshot\n\
         zfs-dataset=tank/sbuild/sid-amd64\nprofile=sbuild\n",
    );
    let mount = Mountable::default();
    let kind = Kind::ZfsSnapshot { dataset: "tank/sbuild/sid-amd64".into(), options: String::new(), mount };
    assert_eq!(made.kind, kind);
    assert_eq!(made.source.unwrap().lists.root_users, ["root", "sbuild", "admin"]);
}

#[test]
fn what_our_config_prints_for_zfs_can_be_read_again() {
    let made = good("[z]\ntype=zfs-snapshot\nzfs-dataset-name=tank/z\nlocation=\nmount-options=\n");
    assert!(matches!(made.kind, Kind::ZfsSnapshot { dataset, .. } if dataset == "tank/z"));
}

#[test]
fn every_type_is_read_and_has_the_source_it_has() {
    for (text, word, has_source) in [
        ("directory=/x", "plain", false),
        ("type=directory\ndirectory=/x", "directory", false),
        ("type=directory\ndirectory=/x\nunion-type=overlay", "directory", true),
        ("type=file\nfile=/x.tar", "file", true),
        ("type=loopback\nfile=/x.img", "loopback", false),
        ("type=block-device\ndevice=/dev/x\nunion-type=aufs", "block-device", true),
        ("type=lvm-snapshot\ndevice=/dev/x\nlvm-snapshot-options=--size 2G", "lvm-snapshot", true),
        (
            "type=btrfs-snapshot\nbtrfs-source-subvolume=/a\nbtrfs-snapshot-directory=/b",
            "btrfs-snapshot",
            true,
        ),
        ("type=zfs-snapshot\nzfs-dataset=a/b", "zfs-snapshot", true),
        ("type=custom", "custom", false),
        ("type=custom\ncustom-source-cloneable=1\ncustom-session-cloneable=true", "custom", true),
    ] {
        let made = good(&format!("[x]\n{text}\n"));
        assert_eq!((made.kind.word(), made.source.is_some()), (word, has_source), "{text}");
    }
}

#[test]
fn keys_of_the_administrators_own_are_kept_and_others_remarked() {
    let made = good("[x]\ndirectory=/x\nmy.own-key=1\nsetup.fstab=\ndescription[de]=egal\n");
    assert_eq!(made.user_data["my.own-key"], "1");
    assert_eq!(made.user_data["setup.fstab"], "");
    for key in ["bogus", "chroot.x", "setup.data.dir", "Ab.c", "a..b", ".a", "a.", "a.1", "session.x"] {
        let (_, warnings) = read_all(&format!("[x]\ndirectory=/x\n{key}=1\n"));
        let text = format!("W: line 3 [x] {key}: Configuration key name ‘{key}’ is not a permitted name.");
        assert_eq!(warnings, [text]);
    }
}

#[test]
fn values_are_checked() {
    for (text, said) in [
        ("", "[x]: Required key ‘directory’ is missing"),
        ("type=what", "Unknown chroot type ‘what’"),
        ("directory=x", "line 2 [x] directory: x: Directory must have an absolute path"),
        (
            "directory=/x\nmessage-verbosity=loud",
            "line 3 [x] message-verbosity: loud: Message verbosity is invalid",
        ),
        ("directory=/x\nlocation=/y", "line 3 [x] location: line 3 [x]: Disallowed key ‘location’ used"),
        ("directory=/x\nname=y", "line 3 [x] name: line 3 [x]: Disallowed key ‘name’ used"),
        ("directory=/x\naliases=a b", "line 3 [x] aliases: a b: Invalid name"),
        ("type=zfs-snapshot", "[x] zfs-dataset: line 1 [x]: Required key ‘zfs-dataset’ is missing"),
        (
            "type=zfs-snapshot\nzfs-dataset=a\nlocation=b",
            "line 4 [x] location: b: Location must have an absolute path",
        ),
        (
            "type=directory\ndirectory=/x\nunion-type=no",
            "line 4 [x] union-type: Unknown filesystem union type ‘no’",
        ),
    ] {
        assert_eq!(bad(&format!("[x]\n{text}\n")), said);
    }
    assert_eq!(bad("[a b]\ndirectory=/x\n"), "a b: Invalid name");
    let reason = read_all("[x]\ndirectory=/x\npersonality=what\n").0.unwrap_err().reason.unwrap();
    assert!(reason.starts_with("Valid personalities: bsd, ") && reason.ends_with(", xenix"), "{reason}");
    assert_eq!(good("[x]\ndirectory=/x\nmessage-verbosity=quiet\n").verbosity, Verbosity::Quiet);
}

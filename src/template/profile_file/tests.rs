use super::super::fixture::{faults, shipped};
use super::super::profile::{BUILT_IN, built_in};
use super::*;

fn parse(text: &str) -> Result<Profile, Fault> {
    Profile::parse(&"p".parse().unwrap(), text)
}

fn shown(name: &str) -> (Vec<String>, Vec<String>, usize) {
    let name: ProfileName = name.parse().unwrap();
    let profile = Profile::parse(&name, built_in(&name).unwrap()).unwrap();
    let mounts = profile.mounts.iter().map(|mount| {
        let kind = match &mount.kind {
            MountKind::Bind { source, .. } if *source != mount.target => source.display().to_string(),
            MountKind::Bind { .. } => "bind".to_owned(),
            kind => format!("{kind:?}").to_lowercase(),
        };
        let optional = if mount.optional { "?" } else { "" };
        format!("{}={kind}{optional}", mount.target.display())
    });
    let files = profile.files.iter().map(|file| file.source.display().to_string());
    (mounts.collect(), files.collect(), profile.nss.len())
}

#[test]
fn the_shipped_profiles_mean_what_those_of_schroot_mean() {
    let all = ["default", "desktop", "minimal", "sbuild", "buildd"].map(shown);
    insta::assert_debug_snapshot!(all, @r##"
    [
        (
            [
                "/proc=proc",
                "/sys=sys",
                "/dev=dev",
                "/dev/pts=devpts",
                "/home=bind",
                "/tmp=bind",
            ],
            [
                "/etc/resolv.conf",
            ],
            8,
        ),
        (
            [
                "/proc=proc",
                "/sys=sys",
                "/dev=dev",
                "/dev/pts=devpts",
                "/home=bind",
                "/tmp=bind",
                "/var/lib/dbus=bind?",
                "/run/dbus=bind?",
            ],
            [
                "/etc/resolv.conf",
            ],
            8,
        ),
        (
            [
                "/proc=proc",
                "/sys=sys",
                "/dev=dev",
            ],
            [
                "/etc/resolv.conf",
            ],
            4,
        ),
        (
            [
                "/proc=proc",
                "/sys=sys",
                "/dev=dev",
                "/dev/pts=devpts",
                "/dev/shm=tmpfs { size: none, mode: none }",
                "/build=/var/lib/sbuild/build?",
            ],
            [
                "/etc/resolv.conf",
            ],
            4,
        ),
        (
            [
                "/proc=proc",
                "/sys=sys",
                "/dev=dev",
                "/dev/pts=devpts",
                "/dev/shm=tmpfs { size: none, mode: none }",
                "/build=/var/lib/sbuild/build?",
            ],
            [
                "/etc/resolv.conf",
                "/etc/hosts",
                "/etc/networks",
            ],
            4,
        ),
    ]
    "##);
}

#[test]
fn every_shipped_profile_is_built_in_and_has_a_description() {
    let files = shipped("profiles");
    let built_in: Vec<_> =
        BUILT_IN.iter().map(|(name, text)| (format!("{name}.toml"), (*text).to_owned())).collect();
    assert_eq!(files, built_in);
    for (name, text) in files {
        assert!(!parse(&text).unwrap().description.is_empty(), "{name}");
    }
}

#[test]
fn every_key_of_a_profile_is_read() {
    let profile = parse(
        r#"
        version = 1
        description = "all"
        nss = ["passwd", "shadow", "group", "gshadow", "services", "protocols", "networks", "hosts"]
        [[mount]]
        kind = "proc"
        [[mount]]
        kind = "sys"
        target = "/host-sys"
        read-only = true
        [[mount]]
        kind = "tmpfs"
        target = "/tmp/"
        size = "1M"
        mode = "0755"
        [[mount]]
        kind = "bind"
        source = "/home"
        optional = true
        [[mount]]
        kind = "rbind"
        source = "/srv"
        target = "/mnt"
        [[file]]
        source = "/etc/hosts"
        [[file]]
        source = "/etc/a"
        target = "/etc/b"
        optional = true
        "#,
    )
    .unwrap();
    insta::assert_debug_snapshot!(profile, @r##"
    Profile {
        name: "p",
        description: "all",
        mounts: [
            Mount {
                kind: Proc,
                target: "/proc",
                read_only: false,
                optional: false,
            },
            Mount {
                kind: Sys,
                target: "/host-sys",
                read_only: true,
                optional: false,
            },
            Mount {
                kind: Tmpfs {
                    size: Some(
                        1048576,
                    ),
                    mode: Some(
                        493,
                    ),
                },
                target: "/tmp",
                read_only: false,
                optional: false,
            },
            Mount {
                kind: Bind {
                    source: "/home",
                    recursive: false,
                },
                target: "/home",
                read_only: false,
                optional: true,
            },
            Mount {
                kind: Bind {
                    source: "/srv",
                    recursive: true,
                },
                target: "/mnt",
                read_only: false,
                optional: false,
            },
        ],
        files: [
            HostFile {
                source: "/etc/hosts",
                target: "/etc/hosts",
                optional: false,
            },
            HostFile {
                source: "/etc/a",
                target: "/etc/b",
                optional: true,
            },
        ],
        nss: [
            Passwd,
            Shadow,
            Group,
            Gshadow,
            Services,
            Protocols,
            Networks,
            Hosts,
        ],
    }
    "##);
}

#[test]
fn what_is_wrong_with_a_profile_is_shown_where_it_is_wrong() {
    let said = faults(
        parse,
        &[
            "[[mounts]]",
            "[mount]\nkind = \"proc\"",
            "[[mount]]\ntarget = \"/proc\"",
            "[[mount]]\nkind = \"proc\"\n\n[[mount]]\nkind = \"overlay\"",
            "[[mount]]\nkind = \"bind\"",
            "[[mount]]\nkind = \"tmpfs\"",
            "[[mount]]\nkind = \"bind\"\nsource = \"home\"",
            "[[mount]]\nkind = \"bind\"\nsource = \"/home\"\ntarget = \"/a/../../b\"",
            "[[mount]]\nkind = \"bind\"\nsource = \"/\"",
            "[[mount]]\nkind = \"tmpfs\"\ntarget = \"//./\"",
            "[[mount]]\nkind = \"proc\"\nsource = \"/proc\"",
            "[[mount]]\nkind = \"proc\"\noptional = false",
            "[[mount]]\nkind = \"dev\"\nsize = \"1M\"",
            "[[mount]]\nkind = \"bind\"\nsource = \"/home\"\nmode = \"755\"",
            "[[mount]]\nkind = \"tmpfs\"\ntarget = \"/tmp\"\nmode = 1777",
            "[[mount]]\nkind = \"tmpfs\"\ntarget = \"/tmp\"\nmode = \"9\"",
            "[[mount]]\nkind = \"tmpfs\"\ntarget = \"/tmp\"\nmode = \"17777\"",
            "[[mount]]\nkind = \"proc\"\nread_only = true",
            "[[file]]\ntarget = \"/etc/hosts\"",
            "[[file]]\nsource = \"/etc/\\u0007\"",
            "nss = [\"passwd\", \"aliases\"]",
        ],
    );
    insta::assert_snapshot!(said, @r##"
    f.toml:2:3: unknown field `mounts`, expected one of `version`, `description`, `mount`, `file`, `nss`
        [[mounts]]
          ^^^^^^
    f.toml:2:1: mount: invalid type: map, expected a sequence
        [mount]
        ^^^^^^^
    f.toml:2:1: mount: missing field `kind`
        [[mount]]
        ^^^^^^^^^
    f.toml:6:8: mount.kind: unknown variant `overlay`, expected one of `proc`, `sys`, `dev`, `devpts`, `tmpfs`, `bind`, `rbind`
        kind = "overlay"
               ^^^^^^^^^
    f.toml:2:1: mount.source: a bind needs the path on the host
        [[mount]]
        ^^^^^^^^^
    f.toml:2:1: mount.target: a tmpfs needs the path inside the tree
        [[mount]]
        ^^^^^^^^^
    f.toml:4:10: mount.source: "home" is no path to use here: it is not absolute
        source = "home"
                 ^^^^^^
    f.toml:5:10: mount.target: "/a/../../b" is no path to use here: `..` may not stand in it
        target = "/a/../../b"
                 ^^^^^^^^^^^^
    f.toml:2:1: mount.target: nothing is mounted over the whole tree
        [[mount]]
        ^^^^^^^^^
    f.toml:4:10: mount.target: nothing is mounted over the whole tree
        target = "//./"
                 ^^^^^^
    f.toml:4:10: mount.source: only bind and rbind have a source
        source = "/proc"
                 ^^^^^^^
    f.toml:4:12: mount.optional: only a bind or rbind can be left out for want of its source
        optional = false
                   ^^^^^
    f.toml:4:8: mount.size: only a tmpfs has a size
        size = "1M"
               ^^^^
    f.toml:5:8: mount.mode: only a tmpfs has a mode
        mode = "755"
               ^^^^^
    f.toml:5:8: mount.mode: invalid type: integer `1777`, expected a string
        mode = 1777
               ^^^^
    f.toml:5:8: mount.mode: it is a string of octal digits up to "7777"
        mode = "9"
               ^^^
    f.toml:5:8: mount.mode: it is a string of octal digits up to "7777"
        mode = "17777"
               ^^^^^^^
    f.toml:4:1: unknown field `read_only`, expected one of `kind`, `source`, `target`, `read-only`, `optional`, `size`, `mode`
        read_only = true
        ^^^^^^^^^
    f.toml:2:1: file: missing field `source`
        [[file]]
        ^^^^^^^^
    f.toml:3:10: file.source: "/etc/\u{7}" is no path to use here: control characters may not stand in it
        source = "/etc/\u0007"
                 ^^^^^^^^^^^^^
    f.toml:2:18: nss: unknown variant `aliases`, expected one of `passwd`, `shadow`, `group`, `gshadow`, `services`, `protocols`, `networks`, `hosts`
        nss = ["passwd", "aliases"]
                         ^^^^^^^^^
    "##);
}

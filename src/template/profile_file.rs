//! The file of a profile: its keys, and what may stand together.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::Deserialize;
use serde::de::IgnoredAny;
use toml::Spanned;

use super::amount::Size;
use super::diagnostic::Fault;
use super::document::{self, Absolute, Line, Word};
use super::profile::{HostFile, Mount, MountKind, NssDatabase, Profile, ProfileName};

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct File {
    #[serde(rename = "version")]
    _version: IgnoredAny,
    description: Option<Word<Line>>,
    #[serde(default)]
    mount: Vec<Spanned<MountTable>>,
    #[serde(default)]
    file: Vec<FileTable>,
    #[serde(default)]
    nss: Vec<NssDatabase>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct MountTable {
    kind: Kind,
    source: Option<Spanned<Word<Absolute>>>,
    target: Option<Spanned<Word<Absolute>>>,
    #[serde(default)]
    read_only: bool,
    optional: Option<Spanned<bool>>,
    size: Option<Spanned<Word<Size>>>,
    mode: Option<Spanned<Word<Mode>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct FileTable {
    source: Word<Absolute>,
    target: Option<Word<Absolute>>,
    #[serde(default)]
    optional: bool,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Proc,
    Sys,
    Dev,
    Devpts,
    Tmpfs,
    Bind,
    Rbind,
}

/// Permission bits, written as octal digits in a string: a bare 1777 would be decimal in TOML.
struct Mode(u32);

#[derive(Debug, thiserror::Error)]
#[error("it is a string of octal digits up to \"7777\"")]
struct ModeError;

impl FromStr for Mode {
    type Err = ModeError;

    fn from_str(text: &str) -> Result<Self, ModeError> {
        let octal = !text.is_empty() && text.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
        match u32::from_str_radix(text, 8) {
            Ok(mode) if octal && mode <= 0o7777 => Ok(Self(mode)),
            _ => Err(ModeError),
        }
    }
}

impl Profile {
    /// Parses the profile `name`.
    pub(super) fn parse(name: &ProfileName, text: &str) -> Result<Self, Fault> {
        let file: File = document::parse(text)?;
        Ok(Self {
            name: name.to_string(),
            description: file.description.map(|word| word.0.0).unwrap_or_default(),
            mounts: file.mount.into_iter().map(mount).collect::<Result<_, _>>()?,
            files: file.file.into_iter().map(host_file).collect(),
            nss: file.nss,
        })
    }
}

fn host_file(table: FileTable) -> HostFile {
    let source = table.source.0.0;
    let target = table.target.map_or_else(|| source.clone(), |target| target.0.0);
    HostFile { source, target, optional: table.optional }
}

fn mount(table: Spanned<MountTable>) -> Result<Mount, Fault> {
    let head = table.span();
    let table = table.into_inner();
    refuse_what_does_not_belong(&table)?;
    let source = table.source.map(|source| source.into_inner().0.0);
    let fallback = match table.kind {
        Kind::Proc => Some(PathBuf::from("/proc")),
        Kind::Sys => Some(PathBuf::from("/sys")),
        Kind::Dev => Some(PathBuf::from("/dev")),
        Kind::Devpts => Some(PathBuf::from("/dev/pts")),
        Kind::Tmpfs => None,
        Kind::Bind | Kind::Rbind => source.clone(),
    };
    let target_span = table.target.as_ref().map(Spanned::span);
    let target = table.target.map(|target| target.into_inner().0.0).or(fallback);
    let kind = match (table.kind, source) {
        (Kind::Proc, _) => MountKind::Proc,
        (Kind::Sys, _) => MountKind::Sys,
        (Kind::Dev, _) => MountKind::Dev,
        (Kind::Devpts, _) => MountKind::Devpts,
        (Kind::Tmpfs, _) => MountKind::Tmpfs {
            size: table.size.map(|size| size.into_inner().0.bytes()),
            mode: table.mode.map(|mode| mode.into_inner().0.0),
        },
        (kind @ (Kind::Bind | Kind::Rbind), Some(source)) => {
            MountKind::Bind { source, recursive: kind == Kind::Rbind }
        }
        (Kind::Bind | Kind::Rbind, None) => {
            return Err(Fault::at(head, "mount.source: a bind needs the path on the host"));
        }
    };
    let Some(target) = target else {
        return Err(Fault::at(head, "mount.target: a tmpfs needs the path inside the tree"));
    };
    if target == Path::new("/") {
        return Err(Fault::at(
            target_span.unwrap_or(head),
            "mount.target: nothing is mounted over the whole tree",
        ));
    }
    let optional = table.optional.is_some_and(Spanned::into_inner);
    Ok(Mount { kind, target, read_only: table.read_only, optional })
}

/// A key that would have no effect is a mistake, and a silent one if it were let pass.
fn refuse_what_does_not_belong(table: &MountTable) -> Result<(), Fault> {
    let bind = matches!(table.kind, Kind::Bind | Kind::Rbind);
    let tmpfs = table.kind == Kind::Tmpfs;
    let wrong = [
        (bind, table.source.as_ref().map(Spanned::span), "mount.source: only bind and rbind have a source"),
        (
            bind,
            table.optional.as_ref().map(Spanned::span),
            "mount.optional: only a bind or rbind can be left out for want of its source",
        ),
        (tmpfs, table.size.as_ref().map(Spanned::span), "mount.size: only a tmpfs has a size"),
        (tmpfs, table.mode.as_ref().map(Spanned::span), "mount.mode: only a tmpfs has a mode"),
    ];
    match wrong.into_iter().find_map(|(belongs, span, why)| span.filter(|_| !belongs).zip(Some(why))) {
        Some((span, why)) => Err(Fault::at(span, why)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
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
        f.toml:2:3: mounts: unknown field `mounts`, expected one of `version`, `description`, `mount`, `file`, `nss`
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
}

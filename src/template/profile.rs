//! Profiles: how a session's tree is set up. `etc/zchroot/profiles/NAME.toml`.
//!
//! The five that are shipped are built in as well, so that a first try needs no set-up; a file of the same
//! name wins.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use toml::Spanned;

use crate::store::{NameError, check_name};

use super::amount::Size;
use super::diagnostic::Fault;
use super::document::{self, Absolute, Line, Word};

/// The name of a profile: the stem of its file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct ProfileName(String);

impl ProfileName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for ProfileName {
    fn default() -> Self {
        Self("default".to_owned())
    }
}

impl FromStr for ProfileName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        check_name(text).map(|()| Self(text.to_owned()))
    }
}

impl fmt::Display for ProfileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is mounted over and copied into a session's tree.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Profile {
    /// The stem of its file.
    pub name: String,
    /// One line for people.
    pub description: String,
    /// Mounts, in the order in which they are made.
    pub mounts: Vec<Mount>,
    /// Files copied from the host.
    pub files: Vec<HostFile>,
    /// NSS databases of the host written into the tree.
    pub nss: Vec<NssDatabase>,
}

/// One mount; `target` is absolute and resolved inside the tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Mount {
    /// What is mounted.
    #[serde(flatten)]
    pub kind: MountKind,
    /// Where, seen from inside.
    pub target: PathBuf,
    /// Nothing can be written through it.
    pub read_only: bool,
    /// Left out when a bind's source is not on the host.
    pub optional: bool,
}

/// What a mount shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum MountKind {
    /// A fresh procfs.
    Proc,
    /// The host's /sys.
    Sys,
    /// A small tmpfs with the fixed device nodes (null zero full random urandom tty, fd links, shm, mqueue-less).
    Dev,
    /// A new instance of devpts (ptmxmode 666, mode 620, gid 5).
    Devpts,
    /// A tmpfs.
    Tmpfs {
        /// Its limit in bytes, else the kernel's default.
        size: Option<u64>,
        /// The mode of its root, 0o1777 if not given.
        mode: Option<u32>,
    },
    /// A directory or file of the host; with `recursive` what is mounted below it too.
    Bind {
        /// The absolute path on the host.
        source: PathBuf,
        /// rbind.
        recursive: bool,
    },
}

/// A file copied from the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HostFile {
    /// The absolute path on the host.
    pub source: PathBuf,
    /// The absolute path inside the tree.
    pub target: PathBuf,
    /// Left out when the host has none.
    pub optional: bool,
}

/// A database of nsswitch.conf.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NssDatabase {
    /// Users.
    Passwd,
    /// Users' ageing; password hashes never leave the host, `*` stands in their place.
    Shadow,
    /// Groups.
    Group,
    /// Groups' administrators, hashes as in `Shadow`.
    Gshadow,
    /// Services.
    Services,
    /// Protocols.
    Protocols,
    /// Networks.
    Networks,
    /// Hosts.
    Hosts,
}

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

/// The text of a profile that is built in.
pub(super) fn built_in(name: &ProfileName) -> Option<&'static str> {
    BUILT_IN.iter().find(|(built_in, _)| *built_in == name.as_str()).map(|(_, text)| *text)
}

/// The profiles that are built in.
pub(super) const BUILT_IN: [(&str, &str); 5] = [
    ("buildd", include_str!("../../etc/profiles/buildd.toml")),
    ("default", include_str!("../../etc/profiles/default.toml")),
    ("desktop", include_str!("../../etc/profiles/desktop.toml")),
    ("minimal", include_str!("../../etc/profiles/minimal.toml")),
    ("sbuild", include_str!("../../etc/profiles/sbuild.toml")),
];

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

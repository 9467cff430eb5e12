//! Profiles: how a session's tree is set up. `etc/zchroot/profiles/NAME.toml`.
//!
//! The five that are shipped are built in as well, so that a first try needs no set-up; a file of the same
//! name wins.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::store::{NameError, check_name};

/// The name of a profile: the stem of its file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ProfileName(String);

impl TryFrom<String> for ProfileName {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<ProfileName> for String {
    fn from(name: ProfileName) -> String {
        name.0
    }
}

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
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_name_follows_the_rule_of_names() {
        assert_eq!("sbuild".parse::<ProfileName>().unwrap().to_string(), "sbuild");
        assert_eq!(ProfileName::default().as_str(), "default");
        for bad in ["", "../default", "a/b", ".hidden", "x.dpkg-old"] {
            assert!(bad.parse::<ProfileName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_is_not_built_in_is_not_found() {
        assert!(built_in(&"default".parse().unwrap()).is_some());
        assert_eq!(built_in(&"Default".parse().unwrap()), None);
    }
}

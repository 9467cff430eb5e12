//! Profiles: how a session's tree is set up. `etc/zchroot/profiles/NAME.toml`.

use std::path::PathBuf;

/// What is mounted over and copied into a session's tree.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// What is mounted.
    pub kind: MountKind,
    /// Where, seen from inside.
    pub target: PathBuf,
    /// Nothing can be written through it.
    pub read_only: bool,
    /// Left out when a bind's source is not on the host.
    pub optional: bool,
}

/// What a mount shows.
#[derive(Debug, Clone, PartialEq, Eq)]
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostFile {
    /// The absolute path on the host.
    pub source: PathBuf,
    /// The absolute path inside the tree.
    pub target: PathBuf,
    /// Left out when the host has none.
    pub optional: bool,
}

/// A database of nsswitch.conf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

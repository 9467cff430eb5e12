//! A chroot as it is defined: what schroot.conf says of it, or what is shown in its place for a template.

use std::collections::BTreeMap;

use super::order::Verbosity;

/// The variables that schroot keeps from commands unless told otherwise.
pub(super) const ENVIRONMENT_FILTER: &str = "^(BASH_ENV|CDPATH|ENV|HOSTALIASES|IFS|KRB5_CONFIG|KRBCONFDIR|\
KRBTKFILE|KRB_CONF|LD_.*|LOCALDOMAIN|NLSPATH|PATH_LOCALE|RES_OPTIONS|TERMINFO|TERMINFO_DIRS|TERMPATH)$";

/// Who may use a chroot, as the file says it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Lists {
    pub(super) users: Vec<String>,
    pub(super) groups: Vec<String>,
    pub(super) root_users: Vec<String>,
    pub(super) root_groups: Vec<String>,
}

/// A file system that is mounted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Mountable {
    pub(super) options: String,
    /// Where in it the tree lies.
    pub(super) location: String,
}

/// A union over a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Union {
    pub(super) kind: String,
    pub(super) mount_options: String,
    pub(super) overlay: String,
    pub(super) underlay: String,
}

/// Where a chroot's tree comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Plain { directory: String },
    Directory { directory: String, union: Option<Union> },
    File { file: String, location: String },
    Loopback { file: String, mount: Mountable, union: Option<Union> },
    BlockDevice { device: String, mount: Mountable, union: Option<Union> },
    LvmSnapshot { device: String, options: String, mount: Mountable },
    BtrfsSnapshot { source: String, snapshots: String },
    ZfsSnapshot { dataset: String, options: String, mount: Mountable },
    Custom { purgeable: bool },
}

impl Kind {
    /// The word of the key `type`.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Plain { .. } => "plain",
            Self::Directory { .. } => "directory",
            Self::File { .. } => "file",
            Self::Loopback { .. } => "loopback",
            Self::BlockDevice { .. } => "block-device",
            Self::LvmSnapshot { .. } => "lvm-snapshot",
            Self::BtrfsSnapshot { .. } => "btrfs-snapshot",
            Self::ZfsSnapshot { .. } => "zfs-snapshot",
            Self::Custom { .. } => "custom",
        }
    }

    /// The union; `None` where there can be one and is none, as where there can be none.
    pub(super) fn union(&self) -> Option<&Union> {
        match self {
            Self::Directory { union, .. }
            | Self::Loopback { union, .. }
            | Self::BlockDevice { union, .. } => union.as_ref(),
            _ => None,
        }
    }

    pub(super) fn can_have_union(&self) -> bool {
        matches!(self, Self::Directory { .. } | Self::Loopback { .. } | Self::BlockDevice { .. })
    }

    pub(super) fn mount(&self) -> Option<&Mountable> {
        match self {
            Self::Loopback { mount, .. }
            | Self::BlockDevice { mount, .. }
            | Self::LvmSnapshot { mount, .. }
            | Self::ZfsSnapshot { mount, .. } => Some(mount),
            _ => None,
        }
    }

    /// Where in what is mounted or unpacked the tree lies.
    pub(super) fn location(&self) -> &str {
        match self {
            Self::File { location, .. } => location,
            _ => self.mount().map_or("", |mount| &mount.location),
        }
    }

    /// The same tree with nothing between it and who works in it.
    pub(super) fn of_source(&self) -> Self {
        match self.clone() {
            Self::LvmSnapshot { device, mount, .. } => Self::BlockDevice { device, mount, union: None },
            Self::BtrfsSnapshot { source, .. } => Self::Directory { directory: source, union: None },
            Self::Directory { directory, .. } => Self::Directory { directory, union: None },
            Self::Loopback { file, mount, .. } => Self::Loopback { file, mount, union: None },
            Self::BlockDevice { device, mount, .. } => Self::BlockDevice { device, mount, union: None },
            other => other,
        }
    }
}

/// A chroot as it is defined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Definition {
    pub(super) name: String,
    pub(super) description: String,
    pub(super) aliases: Vec<String>,
    /// Where the aliases are given, for remarks.
    pub(super) aliases_line: usize,
    pub(super) lists: Lists,
    pub(super) profile: String,
    pub(super) script_config: String,
    pub(super) verbosity: Verbosity,
    pub(super) preserve_environment: bool,
    pub(super) shell: String,
    pub(super) environment_filter: String,
    pub(super) command_prefix: Vec<String>,
    pub(super) personality: Option<String>,
    pub(super) user_keys: Vec<String>,
    pub(super) root_keys: Vec<String>,
    /// `setup.*` and what the administrator made up.
    pub(super) user_data: BTreeMap<String, String>,
    pub(super) kind: Kind,
    /// Who may change the tree itself, where what is entered is a copy of it.
    pub(super) source: Option<Source>,
}

/// The source of a chroot whose sessions are copies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Source {
    /// It is shown as `source:NAME`.
    pub(super) offered: bool,
    pub(super) lists: Lists,
}

impl Definition {
    /// One that says no more than its name and where its tree comes from.
    pub(super) fn new(name: &str, kind: Kind) -> Self {
        Self {
            name: name.to_owned(),
            description: String::new(),
            aliases: Vec::new(),
            aliases_line: 0,
            lists: Lists::default(),
            profile: "default".to_owned(),
            script_config: String::new(),
            verbosity: Verbosity::Normal,
            preserve_environment: false,
            shell: String::new(),
            environment_filter: ENVIRONMENT_FILTER.to_owned(),
            command_prefix: Vec::new(),
            personality: None,
            user_keys: Vec::new(),
            root_keys: Vec::new(),
            user_data: BTreeMap::new(),
            kind,
            source: None,
        }
    }
}

//! What setup.d's scripts are told of a session: schroot's variables, with its names. Empty ones are left out.

use std::collections::BTreeMap;

use crate::outside::Outside;
use crate::schroot::act::Act;
use crate::schroot::catalogue::Selected;
use crate::schroot::chroot::{Role, described};
use crate::schroot::definition::{Definition, Kind};
use crate::schroot::order::Verbosity;
use crate::store::SessionId;
use crate::sys::identity;

/// What a session is to scripts.
pub(super) struct Told<'a> {
    pub(super) definition: &'a Definition,
    /// The chroot's name, and the one by which it was chosen.
    pub(super) name: &'a str,
    pub(super) alias: &'a str,
    /// With what it is added.
    pub(super) description: String,
    pub(super) id: &'a str,
    pub(super) at: String,
    pub(super) is_source: bool,
}

/// The variables of a session that is about to be begun.
pub(super) fn told(
    act: &Act<'_>,
    one: &Selected<'_>,
    tree: &Outside,
    id: &SessionId,
) -> BTreeMap<String, String> {
    let definition = &one.chroot.definition;
    let told = Told {
        definition,
        name: &definition.name,
        alias: one.word.split_once(':').map_or(one.word, |(_, name)| name),
        description: described(&definition.description, "(session chroot)"),
        id: id.as_str(),
        at: act.context.layout.mount(id).display().to_string(),
        is_source: one.chroot.role == Role::Source,
    };
    let mut all = variables(act, &told);
    add(&mut all, of_snapshot(&definition.kind, tree, id));
    all
}

/// Adds what is not empty.
pub(super) fn add(all: &mut BTreeMap<String, String>, more: Vec<(&str, String)>) {
    all.extend(
        more.into_iter().filter(|(_, value)| !value.is_empty()).map(|(key, value)| (key.to_owned(), value)),
    );
}

/// What all sessions of a definition are.
pub(super) fn variables(act: &Act<'_>, told: &Told<'_>) -> BTreeMap<String, String> {
    let Told { definition, id, at, is_source, .. } = told;
    let (caller, target) = (act.context.process.caller(), &act.target);
    let group = identity::group_name(caller.gid()).unwrap_or_else(|| caller.gid().to_string());
    let verbose = match definition.verbosity {
        Verbosity::Quiet => "quiet",
        Verbosity::Normal => "normal",
        Verbosity::Verbose => "verbose",
    };
    let purge = is_purged(&definition.kind);
    let mut all: Vec<(String, String)> = [
        ("AUTH_USER", target.name().to_owned()),
        ("AUTH_UID", target.uid().to_string()),
        ("AUTH_GID", target.gid().to_string()),
        ("AUTH_HOME", target.home().display().to_string()),
        ("AUTH_SHELL", target.shell().display().to_string()),
        ("AUTH_RUSER", caller.name().to_owned()),
        ("AUTH_RGROUP", group),
        ("AUTH_RUID", caller.uid().to_string()),
        ("AUTH_RGID", caller.gid().to_string()),
        ("CHROOT_TYPE", definition.kind.word().to_owned()),
        ("CHROOT_NAME", told.name.to_owned()),
        ("CHROOT_ALIAS", told.alias.to_owned()),
        ("CHROOT_DESCRIPTION", told.description.clone()),
        ("CHROOT_MOUNT_LOCATION", at.clone()),
        ("CHROOT_PATH", at.clone()),
        ("CHROOT_PROFILE", definition.profile.clone()),
        ("CHROOT_PROFILE_DIR", format!("/etc/schroot/{}", definition.profile)),
        ("CHROOT_SESSION_CREATE", "false".to_owned()),
        ("CHROOT_SESSION_CLONE", "false".to_owned()),
        ("CHROOT_SESSION_PURGE", purge.to_string()),
        ("CHROOT_SESSION_SOURCE", is_source.to_string()),
        ("SESSION_ID", (*id).to_owned()),
        ("DATA_DIR", "/usr/share/schroot".to_owned()),
        ("SETUP_DATA_DIR", "/usr/share/schroot/setup".to_owned()),
        ("LIBEXEC_DIR", "/usr/lib/schroot".to_owned()),
        ("MOUNT_DIR", act.context.layout.mounts().display().to_string()),
        ("SYSCONF_DIR", "/etc/schroot".to_owned()),
        ("PLATFORM", "linux".to_owned()),
        ("VERBOSE", verbose.to_owned()),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into();
    let own = definition.user_data.iter();
    all.extend(own.map(|(key, value)| (key.to_ascii_uppercase().replace(['.', '-'], "_"), value.clone())));
    let of_kind = of_kind(&definition.kind, *is_source, id);
    all.extend(of_kind.into_iter().map(|(key, value)| (key.to_owned(), value)));
    all.retain(|(_, value)| !value.is_empty());
    all.into_iter().collect()
}

/// Whether what is written goes with the session, as schroot has it.
pub(super) fn is_purged(kind: &Kind) -> bool {
    kind.union().is_some()
        || matches!(kind, Kind::File { .. } | Kind::ZfsSnapshot { .. } | Kind::BtrfsSnapshot { .. })
}

fn of_kind(kind: &Kind, is_source: bool, id: &str) -> Vec<(&'static str, String)> {
    let mut all = match kind {
        Kind::Plain { directory } | Kind::Directory { directory, .. } => {
            vec![("CHROOT_DIRECTORY", directory.clone())]
        }
        Kind::File { file, location } => vec![
            ("CHROOT_FILE", file.clone()),
            ("CHROOT_LOCATION", location.clone()),
            ("CHROOT_FILE_REPACK", is_source.to_string()),
            ("CHROOT_FILE_UNPACK_DIR", super::tree::UNPACKED.to_owned()),
        ],
        Kind::Loopback { file, .. } => {
            vec![("CHROOT_FILE", file.clone()), ("CHROOT_MOUNT_DEVICE", file.clone())]
        }
        Kind::BlockDevice { device, .. } => {
            vec![("CHROOT_DEVICE", device.clone()), ("CHROOT_MOUNT_DEVICE", device.clone())]
        }
        _ => Vec::new(),
    };
    if let Some(mount) = kind.mount() {
        all.push(("CHROOT_MOUNT_OPTIONS", mount.options.clone()));
        all.push(("CHROOT_LOCATION", mount.location.clone()));
    }
    if kind.can_have_union() {
        all.push(("CHROOT_UNION_TYPE", kind.union().map_or("none", |union| union.kind.as_str()).to_owned()));
    }
    if let Some(union) = kind.union() {
        all.push(("CHROOT_UNION_OVERLAY_DIRECTORY", format!("{}/{id}", union.overlay)));
        all.push(("CHROOT_UNION_UNDERLAY_DIRECTORY", format!("{}/{id}", union.underlay)));
    }
    all
}

fn of_snapshot(kind: &Kind, tree: &Outside, id: &SessionId) -> Vec<(&'static str, String)> {
    match (kind, tree.names(id)) {
        (Kind::ZfsSnapshot { dataset, .. }, None) => {
            vec![("CHROOT_ZFS_DATASET", dataset.clone()), ("CHROOT_MOUNT_DEVICE", dataset.clone())]
        }
        (Kind::ZfsSnapshot { dataset, options, .. }, Some(names)) => vec![
            ("CHROOT_ZFS_DATASET", dataset.clone()),
            ("CHROOT_MOUNT_DEVICE", names.clone.clone()),
            ("CHROOT_ZFS_CLONE_NAME", names.clone),
            ("CHROOT_ZFS_SNAPSHOT_NAME", names.snapshot),
            ("CHROOT_ZFS_SNAPSHOT_OPTIONS", options.clone()),
        ],
        (Kind::BtrfsSnapshot { source, snapshots }, _) => vec![
            ("CHROOT_BTRFS_SOURCE_SUBVOLUME", source.clone()),
            ("CHROOT_BTRFS_SNAPSHOT_DIRECTORY", snapshots.clone()),
            ("CHROOT_BTRFS_SNAPSHOT_NAME", format!("{snapshots}/{id}")),
        ],
        _ => Vec::new(),
    }
}

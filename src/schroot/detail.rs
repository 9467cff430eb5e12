//! What `--info` and `--config` say of a chroot, in the order and form that clients parse.

use std::collections::BTreeMap;

use super::chroot::{Chroot, Role, SessionFacts};
use super::definition::{Kind, Lists, Mountable, Union};
use super::order::Verbosity;

/// The shortest column of keys.
const WIDTH: usize = 20;

type Field = (String, String);

/// The lines of `--info` about one chroot.
pub(super) fn info(chroot: &Chroot) -> Vec<String> {
    let fields = fields(chroot);
    let width = fields.iter().map(|(key, _)| key.chars().count()).max().unwrap_or(0).max(WIDTH) + 2;
    let title = match chroot.role {
        Role::Chroot => "Chroot",
        Role::Source => "Source",
        Role::Session(_) => "Session",
    };
    let mut lines = vec![format!("  ─── {title} ───")];
    // An empty value keeps the blanks before it: a client looks for white space after the key.
    lines.extend(fields.into_iter().map(|(key, value)| format!("  {key:<width$}{value}")));
    lines
}

fn fields(chroot: &Chroot) -> Vec<Field> {
    let mut all = common(chroot);
    all.extend(of_kind(chroot));
    all.extend(user_data(chroot));
    all.extend(facets(chroot));
    all
}

fn field(key: &str, value: impl Into<String>) -> Field {
    (key.to_owned(), value.into())
}

/// Fields that are left out when they are empty.
fn some<const N: usize>(fields: [(&str, &str); N]) -> Vec<Field> {
    fields.into_iter().filter(|(_, value)| !value.is_empty()).map(|(key, value)| field(key, value)).collect()
}

fn truth(value: bool) -> String {
    value.to_string()
}

fn verbosity(verbosity: Verbosity) -> &'static str {
    match verbosity {
        Verbosity::Quiet => "quiet",
        Verbosity::Normal => "normal",
        Verbosity::Verbose => "verbose",
    }
}

fn common(chroot: &Chroot) -> Vec<Field> {
    let d = &chroot.definition;
    let [managed, cloned, purged] = chroot.flags();
    let mut fields = vec![
        field("Name", &d.name),
        field("Description", &d.description),
        field("Type", d.kind.word()),
        field("Message Verbosity", verbosity(d.verbosity)),
        field("Users", d.lists.users.join(" ")),
        field("Groups", d.lists.groups.join(" ")),
        field("Root Users", d.lists.root_users.join(" ")),
        field("Root Groups", d.lists.root_groups.join(" ")),
        field("Aliases", d.aliases.join(" ")),
        field("Preserve Environment", truth(d.preserve_environment)),
        field("Default Shell", &d.shell),
        field("Environment Filter", &d.environment_filter),
        field("Run Setup Scripts", truth(!chroot.is_plain())),
        field("Configuration Profile", &d.profile),
        field("Script Configuration", &d.script_config),
        field("Session Managed", truth(managed)),
        field("Session Cloned", truth(cloned)),
        field("Session Purged", truth(purged)),
    ];
    let location = session_facts(chroot).map_or("", |facts| &facts.mount_location);
    let prefix = d.command_prefix.join(" ");
    fields.extend(some([
        ("Command Prefix", prefix.as_str()),
        ("Mount Location", location),
        ("Path", &chroot.path()),
    ]));
    fields
}

fn session_facts(chroot: &Chroot) -> Option<&SessionFacts> {
    match &chroot.role {
        Role::Session(facts) => Some(facts),
        Role::Chroot | Role::Source => None,
    }
}

fn of_kind(chroot: &Chroot) -> Vec<Field> {
    match &chroot.definition.kind {
        Kind::Plain { directory } | Kind::Directory { directory, .. } => vec![field("Directory", directory)],
        Kind::File { file, location } => {
            let repack = matches!(chroot.role, Role::Source);
            let mut fields = vec![field("File", file), field("File Repack", truth(repack))];
            fields.extend(some([("Location", location)]));
            fields
        }
        Kind::Loopback { file, .. } => vec![field("File", file)],
        Kind::BlockDevice { device, .. } => vec![field("Device", device)],
        Kind::LvmSnapshot { device, options, .. } => {
            let mut fields = vec![field("Device", device)];
            fields.extend(some([("LVM Snapshot Options", options)]));
            fields
        }
        Kind::BtrfsSnapshot { source, snapshots } => match session_facts(chroot) {
            None => some([("Btrfs Source Subvolume", source), ("Btrfs Snapshot Directory", snapshots)]),
            Some(facts) => some([("Btrfs Snapshot Name", &facts.snapshot)]),
        },
        Kind::ZfsSnapshot { dataset, options, .. } => zfs(chroot, dataset, options),
        Kind::Custom { .. } => Vec::new(),
    }
}

fn zfs(chroot: &Chroot, dataset: &str, options: &str) -> Vec<Field> {
    match session_facts(chroot) {
        None => some([("ZFS Source Dataset", dataset), ("ZFS Snapshot Options", options)]),
        Some(facts) => some([("ZFS Snapshot Name", &facts.snapshot), ("ZFS Clone Dataset", &facts.clone)]),
    }
}

fn user_data(chroot: &Chroot) -> Vec<Field> {
    let d = &chroot.definition;
    let mut fields = vec![
        field("Personality", d.personality.as_deref().unwrap_or("undefined")),
        field("User Modifiable Keys", d.user_keys.join(" ")),
        field("Root Modifiable Keys", d.root_keys.join(" ")),
        field("User Data", ""),
    ];
    fields.extend(d.user_data.iter().map(|(key, value)| field(&format!("  {key}"), value)));
    fields
}

/// What was added to the chroot, in the order in which the real program adds it.
fn facets(chroot: &Chroot) -> Vec<Field> {
    let d = &chroot.definition;
    let mount = d.kind.mount().map(|mount| mounted(mount, session_facts(chroot))).unwrap_or_default();
    let union = match (&chroot.role, d.kind.can_have_union()) {
        (Role::Source, _) | (_, false) => Vec::new(),
        (_, true) => united(d.kind.union()),
    };
    let session = session_facts(chroot).map(|facts| begun(&d.name, facts)).unwrap_or_default();
    let source = d.source.as_ref().map(|source| listed(&source.lists)).unwrap_or_default();
    let order = match (d.kind.can_have_union(), &d.kind) {
        (true, _) => [mount, union, session, source],
        (false, Kind::ZfsSnapshot { .. }) => [source, mount, union, session],
        (false, _) => [mount, union, session, source],
    };
    order.concat()
}

fn mounted(mount: &Mountable, session: Option<&SessionFacts>) -> Vec<Field> {
    let device = session.map_or("", |facts| &facts.device);
    some([("Mount Device", device), ("Mount Options", &mount.options), ("Location", &mount.location)])
}

fn united(union: Option<&Union>) -> Vec<Field> {
    let Some(union) = union else { return vec![field("Filesystem Union Type", "none")] };
    let mut fields = vec![field("Filesystem Union Type", &union.kind)];
    fields.extend(some([
        ("Filesystem Union Mount Options", union.mount_options.as_str()),
        ("Filesystem Union Overlay Directory", &union.overlay),
        ("Filesystem Union Underlay Directory", &union.underlay),
    ]));
    fields
}

fn begun(id: &str, facts: &SessionFacts) -> Vec<Field> {
    vec![
        field("Original Chroot Name", &facts.original),
        field("Selected Chroot Name", &facts.selected),
        field("Session ID", id),
    ]
}

fn listed(lists: &Lists) -> Vec<Field> {
    vec![
        field("Source Users", lists.users.join(" ")),
        field("Source Groups", lists.groups.join(" ")),
        field("Source Root Users", lists.root_users.join(" ")),
        field("Source Root Groups", lists.root_groups.join(" ")),
    ]
}

/// The group that `--config` prints for a chroot; none for a source.
pub(super) fn config(chroot: &Chroot) -> Option<BTreeMap<String, String>> {
    if matches!(chroot.role, Role::Source) {
        return None;
    }
    let d = &chroot.definition;
    let mut keys: Vec<(&str, String)> = vec![
        ("type", d.kind.word().to_owned()),
        ("aliases", d.aliases.join(",")),
        ("command-prefix", d.command_prefix.join(",")),
        ("description", d.description.clone()),
        ("environment-filter", d.environment_filter.clone()),
        ("groups", d.lists.groups.join(",")),
        ("message-verbosity", verbosity(d.verbosity).to_owned()),
        ("preserve-environment", truth(d.preserve_environment)),
        ("profile", d.profile.clone()),
        ("root-groups", d.lists.root_groups.join(",")),
        ("root-modifiable-keys", d.root_keys.join(",")),
        ("root-users", d.lists.root_users.join(",")),
        ("shell", d.shell.clone()),
        ("user-modifiable-keys", d.user_keys.join(",")),
        ("users", d.lists.users.join(",")),
    ];
    keys.extend(d.personality.iter().map(|personality| ("personality", personality.clone())));
    if !d.script_config.is_empty() {
        keys.push(("script-config", d.script_config.clone()));
    }
    keys.extend(kind_keys(chroot));
    keys.extend(session_facts(chroot).map(|facts| session_keys(d.name.clone(), facts)).unwrap_or_default());
    keys.extend(source_keys(chroot));
    keys.extend(d.user_data.iter().map(|(key, value)| (key.as_str(), value.clone())));
    Some(keys.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

fn kind_keys(chroot: &Chroot) -> Vec<(&'static str, String)> {
    let d = &chroot.definition;
    let mut keys = match &d.kind {
        Kind::Plain { directory } | Kind::Directory { directory, .. } => {
            vec![("directory", directory.clone())]
        }
        Kind::File { file, location } => vec![("file", file.clone()), ("location", location.clone())],
        Kind::Loopback { file, .. } => vec![("file", file.clone())],
        Kind::BlockDevice { device, .. } => vec![("device", device.clone())],
        Kind::LvmSnapshot { device, options, .. } => {
            vec![("device", device.clone()), ("lvm-snapshot-options", options.clone())]
        }
        Kind::BtrfsSnapshot { source, snapshots } => match session_facts(chroot) {
            None => vec![
                ("btrfs-source-subvolume", source.clone()),
                ("btrfs-snapshot-directory", snapshots.clone()),
            ],
            Some(facts) => vec![("btrfs-snapshot-name", facts.snapshot.clone())],
        },
        Kind::ZfsSnapshot { dataset, options, .. } => zfs_keys(chroot, dataset, options),
        Kind::Custom { purgeable } => vec![("custom-session-purgeable", truth(*purgeable))],
    };
    if let Some(mount) = d.kind.mount() {
        keys.extend([("mount-options", mount.options.clone()), ("location", mount.location.clone())]);
    }
    if let Some(facts) = session_facts(chroot).filter(|facts| !facts.device.is_empty()) {
        keys.push(("mount-device", facts.device.clone()));
    }
    if d.kind.can_have_union() {
        match d.kind.union() {
            None => keys.push(("union-type", "none".to_owned())),
            Some(union) => keys.extend([
                ("union-type", union.kind.clone()),
                ("union-mount-options", union.mount_options.clone()),
                ("union-overlay-directory", union.overlay.clone()),
                ("union-underlay-directory", union.underlay.clone()),
            ]),
        }
    }
    keys
}

/// `zfs-dataset-name` is not what the file says, but it is what is printed.
fn zfs_keys(chroot: &Chroot, dataset: &str, options: &str) -> Vec<(&'static str, String)> {
    match session_facts(chroot) {
        None => vec![("zfs-dataset-name", dataset.to_owned()), ("zfs-snapshot-options", options.to_owned())],
        Some(facts) => {
            vec![("zfs-snapshot-name", facts.snapshot.clone()), ("zfs-clone-name", facts.clone.clone())]
        }
    }
}

fn session_keys(name: String, facts: &SessionFacts) -> Vec<(&'static str, String)> {
    vec![
        ("name", name),
        ("mount-location", facts.mount_location.clone()),
        ("original-name", facts.original.clone()),
        ("selected-name", facts.selected.clone()),
    ]
}

fn source_keys(chroot: &Chroot) -> Vec<(&'static str, String)> {
    if !matches!(chroot.role, Role::Chroot) {
        return Vec::new();
    }
    let Some(source) = &chroot.definition.source else { return Vec::new() };
    vec![
        ("source-clone", truth(source.offered)),
        ("source-users", source.lists.users.join(",")),
        ("source-groups", source.lists.groups.join(",")),
        ("source-root-users", source.lists.root_users.join(",")),
        ("source-root-groups", source.lists.root_groups.join(",")),
    ]
}

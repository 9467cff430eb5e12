//! Sessions that schroot itself began and left, since zchroot took its place: its files in `/var/lib/schroot/session`.
//!
//! Each holds what `--config` printed of the session, with some keys that no definition has. It is judged as the files of
//! the configuration are, since what it says is done as root. They can be seen and ended; a name that a session of zchroot
//! has is that one's.

use std::collections::BTreeMap;
use std::path::Path;

use super::told::{self, Told};
use crate::cli::context::Context;
use crate::cli::exit::Status;
use crate::outside::Made;
use crate::schroot::act::{Act, hold_signals, not_authorised, setup_failed};
use crate::schroot::catalogue::Selected;
use crate::schroot::chroot::{Chroot, Origin, Role, SessionFacts};
use crate::schroot::definition::{Definition, Kind, Union};
use crate::schroot::fields::Fault;
use crate::schroot::keyfile::{self, Group, Value};
use crate::schroot::keys;
use crate::schroot::order::{Action, is_name};
use crate::schroot::say::{Line, Trouble};
use crate::session::LeftSession;
use crate::sys::privilege::raised;
use crate::template::{self, ConfigDir};

/// Below `/`.
const FOLDER: &str = "var/lib/schroot/session";

/// What stands in the file of a session and in no definition.
#[derive(Debug, Clone, Default)]
struct Own {
    at: String,
    original: String,
    selected: String,
    device: String,
    snapshot: String,
    clone: String,
    is_repacked: bool,
}

/// Adds those that have these names, or all, to the sessions of zchroot; what cannot be read.
pub(in crate::schroot) fn add(
    context: &Context,
    asked: Option<Vec<String>>,
    only_names: bool,
    sessions: &mut Vec<Chroot>,
) -> Vec<Line> {
    let mut troubles = Vec::new();
    let mut left = asked.unwrap_or_else(|| {
        names(context).unwrap_or_else(|why| {
            troubles.push(Line::Warning(format!("/{FOLDER}: {why}")));
            Vec::new()
        })
    });
    left.retain(|name| !sessions.iter().any(|session| session.name() == name));
    for name in left {
        if only_names {
            let kind = Kind::Directory { directory: String::new(), union: None };
            sessions.push(chroot(Definition::new(&name, kind), Own::default()));
            continue;
        }
        match read(context, &name) {
            Ok(found) => sessions.extend(found.map(|(definition, own)| chroot(definition, own))),
            Err(why) => troubles.push(Line::Warning(format!("/{FOLDER}/{name}: {why}"))),
        }
    }
    troubles
}

/// The names of all that lie there.
fn names(context: &Context) -> Result<Vec<String>, String> {
    let Some(folder) = folder(context)? else { return Ok(Vec::new()) };
    let names = folder.names().map_err(|error| text(&error))?;
    Ok(names.into_iter().filter(|name| is_name(name)).collect())
}

/// Whether somebody may end it: root and whoever began it, whose name schroot kept.
pub(in crate::schroot) fn is_ones_own(context: &Context, chroot: &Chroot) -> bool {
    let caller = context.process.caller();
    let lists = &chroot.definition.lists;
    caller.is_root() || lists.users.iter().chain(&lists.root_users).any(|name| name == caller.name())
}

/// Carries an action out on one.
///
/// # Errors
/// It cannot be had, is not the caller's, or something of it would not go.
pub(in crate::schroot) fn on(act: &Act<'_>, one: &Selected<'_>) -> Result<Status, Trouble> {
    let name = one.chroot.name();
    if !is_ones_own(act.context, one.chroot) {
        return Err(not_authorised());
    }
    if act.order.action == Action::End {
        return end(act, name);
    }
    let can = format!("‘schroot -e -c session:{name}’ ends it");
    match act.order.action {
        // At boot all are recovered: those that cannot be are no news.
        Action::Recover if act.order.chroots.is_empty() => Ok(Status::Ok),
        _ => Err(Trouble::error(format!("{name}: Schroot itself began this session: it can only be ended"))
            .and_info(can)),
    }
}

/// Ends one.
///
/// # Errors
/// It cannot be ended, or something of it would not go.
pub(in crate::schroot) fn end(act: &Act<'_>, name: &str) -> Result<Status, Trouble> {
    let _held = hold_signals()?;
    let failed =
        |why: String| Trouble::hushable(format!("{name}: Chroot setup failed: stage=setup-stop: {why}"));
    let found = read(act.context, name).map_err(&failed)?;
    let Some((definition, own)) = found else {
        return Err(Trouble::error(format!("{name}: Chroot not found")));
    };
    if own.is_repacked && !act.order.force {
        let Kind::File { file, .. } = &definition.kind else { return Err(failed(String::new())) };
        let why = format!("what was changed in it was to be packed into {file}, which only schroot does");
        return Err(failed(why).and_info(format!(
            "It lies in {}/{name}; ‘schroot -f -e -c session:{name}’ ends it, and what it changed goes",
            super::tree::UNPACKED
        )));
    }
    let made = made(&definition, &own).map_err(&failed)?;
    let session = LeftSession {
        name: name.to_owned(),
        file: act.context.layout.root().join(FOLDER).join(name),
        at: own.at.clone().into(),
        made,
        told: told_of(act, &definition, &own),
    };
    let sessions = act.sessions()?;
    raised(|| sessions.end_left(&session))
        .map_err(|error| setup_failed(name, "setup-stop", &error.into()))?;
    Ok(Status::Ok)
}

/// What it is about is said by whoever says this.
fn text(error: &template::Error) -> String {
    match error {
        template::Error::Untrusted { why, .. } => why.clone(),
        other => crate::sys::chain(other),
    }
}

fn folder(context: &Context) -> Result<Option<ConfigDir>, String> {
    ConfigDir::open_below(context.layout.root(), Path::new(FOLDER), 0).map_err(|error| text(&error))
}

/// What the file of a session says; `None` if there is none.
fn read(context: &Context, name: &str) -> Result<Option<(Definition, Own)>, String> {
    if !is_name(name) {
        return Ok(None);
    }
    let Some(folder) = folder(context)? else { return Ok(None) };
    let Some(source) = folder.read(name).map_err(|error| text(&error))? else { return Ok(None) };
    let mut groups = keyfile::parse(&source.text).map_err(|error| error.to_string())?;
    let group = groups.remove(name).ok_or_else(|| "it is of no session of this name".to_owned())?;
    parsed(name, group).map(Some).map_err(|fault| fault.text)
}

fn parsed(name: &str, mut group: Group) -> Result<(Definition, Own), Fault> {
    let kind = group.values.get("type").map(|value| value.text.clone()).unwrap_or_default();
    let mut take = |key: &str| group.values.remove(key).map(|value| value.text).unwrap_or_default();
    let told_name = take("name");
    let [zfs, btrfs, lvm] =
        ["zfs-snapshot-name", "btrfs-snapshot-name", "lvm-snapshot-device"].map(&mut take);
    let own = Own {
        at: take("mount-location"),
        original: take("original-name"),
        selected: take("selected-name"),
        device: take("mount-device"),
        clone: take("zfs-clone-name"),
        is_repacked: take("file-repack") == "true",
        snapshot: [zfs.clone(), btrfs.clone()].into_iter().find(|text| !text.is_empty()).unwrap_or_default(),
    };
    let at = Path::new(&own.at);
    if told_name != name || !at.is_absolute() || at.file_name().is_none_or(|last| last != name) {
        return Err(Fault::new(format!("‘{}’ is not where session {name} would be mounted", own.at)));
    }
    // What a definition has to have and schroot does not keep.
    let dataset = zfs.split_once('@').map_or("", |(dataset, _)| dataset);
    let btrfs_folder = btrfs.rsplit_once('/').map_or("/", |(folder, _)| folder);
    let mut lacking = |key: &str, text: &str| {
        let value = Value { text: text.to_owned(), line: 0 };
        group.values.entry(key.to_owned()).or_insert(value);
    };
    match kind.as_str() {
        "zfs-snapshot" => lacking("zfs-dataset", dataset),
        "btrfs-snapshot" => {
            lacking("btrfs-source-subvolume", &btrfs);
            lacking("btrfs-snapshot-directory", btrfs_folder);
        }
        "lvm-snapshot" => {
            lacking("device", &lvm);
            lacking("lvm-snapshot-options", "");
        }
        _ => {}
    }
    Ok((keys::read(name, &group, &mut Vec::new())?, own))
}

fn chroot(definition: Definition, own: Own) -> Chroot {
    let facts = SessionFacts {
        mount_location: own.at,
        original: own.original,
        selected: own.selected,
        purged: told::is_purged(&definition.kind) || matches!(definition.kind, Kind::LvmSnapshot { .. }),
        device: own.device,
        snapshot: own.snapshot,
        clone: own.clone,
    };
    // As schroot shows them: there is a source where there is a union, and none of what was unpacked or cloned.
    let source = definition.source.clone().filter(|_| definition.kind.union().is_some());
    let definition = Definition { source, ..definition };
    Chroot { definition, role: Role::Session(facts), origin: Origin::Left }
}

/// What schroot made for it.
fn made(definition: &Definition, own: &Own) -> Result<Made, String> {
    let name = &definition.name;
    let by_hand = |what: &str| {
        let kind = definition.kind.word();
        let first = format!("a session of type ‘{kind}’ is not supported: unmount what is at {}", own.at);
        Err(format!("{first}, {what}, then remove /{FOLDER}/{name}"))
    };
    Ok(match &definition.kind {
        Kind::Directory { union: Some(union), .. }
        | Kind::Loopback { union: Some(union), .. }
        | Kind::BlockDevice { union: Some(union), .. } => {
            Made::Union { overlay: union.overlay.clone().into(), underlay: union.underlay.clone().into() }
        }
        Kind::Plain { .. } | Kind::Directory { .. } | Kind::Loopback { .. } | Kind::BlockDevice { .. } => {
            Made::Nothing
        }
        Kind::File { .. } => Made::Unpacked(Path::new(super::tree::UNPACKED).join(name)),
        Kind::BtrfsSnapshot { .. } => Made::Subvolume(own.snapshot.clone().into()),
        // A source session has the dataset itself mounted, though its file names a clone.
        Kind::ZfsSnapshot { .. } if own.device != own.clone => Made::Nothing,
        Kind::ZfsSnapshot { .. } => {
            Made::Dataset { snapshot: own.snapshot.clone(), clone: own.clone.clone() }
        }
        Kind::LvmSnapshot { device, .. } => return by_hand(&format!("remove {device} with lvremove(8)")),
        Kind::Custom { .. } => return by_hand("undo what its own scripts made"),
    })
}

fn told_of(act: &Act<'_>, definition: &Definition, own: &Own) -> BTreeMap<String, String> {
    let mut told = told::variables(
        act,
        &Told {
            definition,
            name: &own.original,
            alias: &own.selected,
            description: definition.description.clone(),
            id: &definition.name,
            at: own.at.clone(),
            is_source: false,
        },
    );
    told::add(&mut told, vec![("CHROOT_MOUNT_DEVICE", own.device.clone())]);
    if let Some(Union { overlay, underlay, .. }) = definition.kind.union() {
        told::add(
            &mut told,
            vec![
                ("CHROOT_UNION_OVERLAY_DIRECTORY", overlay.clone()),
                ("CHROOT_UNION_UNDERLAY_DIRECTORY", underlay.clone()),
            ],
        );
    }
    let snapshot = match definition.kind {
        Kind::BtrfsSnapshot { .. } => "CHROOT_BTRFS_SNAPSHOT_NAME",
        _ => "CHROOT_ZFS_SNAPSHOT_NAME",
    };
    told::add(
        &mut told,
        vec![(snapshot, own.snapshot.clone()), ("CHROOT_ZFS_CLONE_NAME", own.clone.clone())],
    );
    told
}

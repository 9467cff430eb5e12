//! The keys of a chroot's definition: which there are, for which type, and what they must be.

use super::definition::{Definition, ENVIRONMENT_FILTER, Kind, Lists, Mountable, Source, Union};
use super::fields::{Fault, Fields, naming_rule};
use super::keyfile::Group;
use super::order::is_name;
use super::say::Line;

const PERSONALITIES: [&str; 20] = [
    "bsd",
    "hpux",
    "irix32",
    "irix64",
    "irixn32",
    "iscr4",
    "linux",
    "linux32",
    "linux_32bit",
    "osf4",
    "osr5",
    "riscos",
    "scorvr3",
    "solaris",
    "sunos",
    "svr4",
    "undefined",
    "uw7",
    "wysev386",
    "xenix",
];
const UNIONS: [&str; 5] = ["none", "overlay", "overlayfs", "aufs", "unionfs"];
/// Files of a profile, each named by a key of its own.
const PROFILE_FILES: [&str; 4] = ["setup.config", "setup.copyfiles", "setup.fstab", "setup.nssdatabases"];

/// Reads the definition in one group; remarks are added to `warnings`.
///
/// # Errors
/// A key is missing, may not be there or has a wrong value.
pub(super) fn read(name: &str, group: &Group, warnings: &mut Vec<Line>) -> Result<Definition, Fault> {
    let mut fields = Fields::new(name, group);
    let read = definition(name, &mut fields);
    warnings.append(&mut fields.warnings);
    read
}

fn definition(name: &str, fields: &mut Fields<'_>) -> Result<Definition, Fault> {
    let word = fields.text("type").unwrap_or_else(|| "plain".to_owned());
    if !is_name(name) {
        return Err(Fault::because(format!("{name}: Invalid name"), naming_rule(name)));
    }
    let kind_of = kind_reader(&word).ok_or_else(|| Fault::new(format!("Unknown chroot type ‘{word}’")))?;
    fields.obsolete(&["active", "run-setup-scripts", "run-session-scripts", "run-exec-scripts"]);
    let profile = fields.text("profile").unwrap_or_else(|| "default".to_owned());
    fields.deprecated("script-config");
    let script_config = fields.text_or_none("script-config");
    // Written by many, with numbers; it never had an effect.
    fields.text("priority");
    let (aliases, aliases_line) = (fields.names("aliases")?, fields.line("aliases"));
    let environment_filter =
        fields.text("environment-filter").unwrap_or_else(|| ENVIRONMENT_FILTER.to_owned());
    let description = fields.text_or_none("description");
    let lists = lists(fields, ["users", "groups", "root-users", "root-groups"]);
    fields.refuse(&["mount-location", "name", "original-name", "selected-name"])?;
    let command_prefix = fields.list("command-prefix");
    let verbosity = fields.verbosity()?;
    let preserve_environment = fields.truth("preserve-environment").unwrap_or(false);
    let shell = fields.text_or_none("shell");
    let (kind, source) = kind_of(name, fields)?;
    let personality = personality(fields)?;
    let mut made = Definition {
        description,
        aliases,
        aliases_line,
        lists,
        profile,
        script_config,
        verbosity,
        preserve_environment,
        shell,
        environment_filter,
        command_prefix,
        personality,
        user_keys: sorted(fields.list("user-modifiable-keys")),
        root_keys: sorted(fields.list("root-modifiable-keys")),
        source,
        ..Definition::new(name, kind)
    };
    user_data(&mut made, fields);
    Ok(made)
}

fn lists(fields: &mut Fields<'_>, keys: [&'static str; 4]) -> Lists {
    let [users, groups, root_users, root_groups] = keys.map(|key| fields.list(key));
    Lists { users, groups, root_users, root_groups }
}

fn sorted(mut keys: Vec<String>) -> Vec<String> {
    keys.sort();
    keys.dedup();
    keys
}

fn personality(fields: &mut Fields<'_>) -> Result<Option<String>, Fault> {
    let Some(word) = fields.text("personality") else { return Ok(None) };
    if PERSONALITIES.contains(&word.as_str()) {
        return Ok(Some(word).filter(|word| word != "undefined"));
    }
    let fault = fields.fault("personality", &format!("Personality ‘{word}’ is unknown"));
    Err(Fault::because(fault.text, &format!("Valid personalities: {}", PERSONALITIES.join(", "))))
}

type Made = (Kind, Option<Source>);
type KindReader = fn(&str, &mut Fields<'_>) -> Result<Made, Fault>;

fn kind_reader(word: &str) -> Option<KindReader> {
    Some(match word {
        "plain" => plain,
        "directory" => directory,
        "file" => file,
        "loopback" => loopback,
        "block-device" => block_device,
        "lvm-snapshot" => lvm_snapshot,
        "btrfs-snapshot" => btrfs_snapshot,
        "zfs-snapshot" => zfs_snapshot,
        "custom" => custom,
        _ => return None,
    })
}

/// `directory`, once called `location`.
fn tree(name: &str, fields: &mut Fields<'_>) -> Result<String, Fault> {
    if fields.has("directory") {
        fields.refuse(&["location"])?;
    } else {
        let location = fields.path("location", "Directory")?;
        fields.obsolete(&["location"]);
        return location.ok_or_else(|| Fault::new(format!("[{name}]: Required key ‘directory’ is missing")));
    }
    fields.required_path("directory", "Directory")
}

fn plain(name: &str, fields: &mut Fields<'_>) -> Result<Made, Fault> {
    Ok((Kind::Plain { directory: tree(name, fields)? }, None))
}

fn directory(name: &str, fields: &mut Fields<'_>) -> Result<Made, Fault> {
    let directory = tree(name, fields)?;
    let union = union(fields)?;
    let source = source_of_union(union.as_ref(), fields);
    Ok((Kind::Directory { directory, union }, source))
}

fn file(_: &str, fields: &mut Fields<'_>) -> Result<Made, Fault> {
    let file = fields.required_path("file", "File")?;
    let location = fields.path_if_any("location", "Location")?;
    fields.refuse(&["file-repack"])?;
    Ok((Kind::File { file, location }, Some(source(fields))))
}

fn loopback(_: &str, fields: &mut Fields<'_>) -> Result<Made, Fault> {
    let file = fields.required_path("file", "File")?;
    let (mount, union) = (mountable(fields)?, union(fields)?);
    let source = source_of_union(union.as_ref(), fields);
    Ok((Kind::Loopback { file, mount, union }, source))
}

fn block_device(_: &str, fields: &mut Fields<'_>) -> Result<Made, Fault> {
    let device = fields.required_path("device", "Device")?;
    let (mount, union) = (mountable(fields)?, union(fields)?);
    let source = source_of_union(union.as_ref(), fields);
    Ok((Kind::BlockDevice { device, mount, union }, source))
}

fn lvm_snapshot(_: &str, fields: &mut Fields<'_>) -> Result<Made, Fault> {
    let device = fields.required_path("device", "Device")?;
    fields.refuse(&["lvm-snapshot-device"])?;
    let options = fields.required("lvm-snapshot-options")?;
    let mount = mountable(fields)?;
    Ok((Kind::LvmSnapshot { device, options, mount }, Some(source(fields))))
}

fn btrfs_snapshot(_: &str, fields: &mut Fields<'_>) -> Result<Made, Fault> {
    let from = fields.required_path("btrfs-source-subvolume", "Directory")?;
    let snapshots = fields.required_path("btrfs-snapshot-directory", "Directory")?;
    fields.refuse(&["btrfs-snapshot-name"])?;
    Ok((Kind::BtrfsSnapshot { source: from, snapshots }, Some(source(fields))))
}

fn zfs_snapshot(_: &str, fields: &mut Fields<'_>) -> Result<Made, Fault> {
    // `zfs-dataset-name` is what the real program's own --config prints, and then does not read.
    let dataset = match fields.text("zfs-dataset") {
        Some(dataset) => dataset,
        None => match fields.text("zfs-dataset-name") {
            Some(dataset) => dataset,
            None => fields.required("zfs-dataset")?,
        },
    };
    fields.refuse(&["zfs-snapshot-name", "zfs-clone-name"])?;
    let options = fields.text_or_none("zfs-snapshot-options");
    let source = source(fields);
    let mount = mountable(fields)?;
    Ok((Kind::ZfsSnapshot { dataset, options, mount }, Some(source)))
}

fn custom(_: &str, fields: &mut Fields<'_>) -> Result<Made, Fault> {
    let cloneable = fields.truth("custom-session-cloneable");
    let purgeable = fields.truth("custom-session-purgeable").unwrap_or(false);
    let has_source = fields.truth("custom-source-cloneable").unwrap_or(false);
    // Whatever it says: sessions of this type cannot be had here.
    let _ = cloneable;
    let source = has_source.then(|| source(fields));
    Ok((Kind::Custom { purgeable }, source))
}

fn mountable(fields: &mut Fields<'_>) -> Result<Mountable, Fault> {
    fields.refuse(&["mount-device"])?;
    Ok(Mountable {
        options: fields.text_or_none("mount-options"),
        location: fields.path_if_any("location", "Location")?,
    })
}

fn union(fields: &mut Fields<'_>) -> Result<Option<Union>, Fault> {
    let kind = fields.text("union-type").unwrap_or_else(|| "none".to_owned());
    if !UNIONS.contains(&kind.as_str()) {
        return Err(fields.fault("union-type", &format!("Unknown filesystem union type ‘{kind}’")));
    }
    let mount_options = fields.text_or_none("union-mount-options");
    let overlay = fields.path("union-overlay-directory", "Union overlay")?;
    let underlay = fields.path("union-underlay-directory", "Union underlay")?;
    let default = |name| format!("/var/lib/schroot/union/{name}");
    Ok((kind != "none").then(|| Union {
        kind,
        mount_options,
        overlay: overlay.unwrap_or_else(|| default("overlay")),
        underlay: underlay.unwrap_or_else(|| default("underlay")),
    }))
}

fn source(fields: &mut Fields<'_>) -> Source {
    let offered = fields.truth("source-clone").unwrap_or(true);
    let keys = ["source-users", "source-groups", "source-root-users", "source-root-groups"];
    Source { offered, lists: lists(fields, keys) }
}

fn source_of_union(union: Option<&Union>, fields: &mut Fields<'_>) -> Option<Source> {
    union.is_some().then(|| source(fields))
}

/// The profile's files, and the administrator's own keys; others are remarked.
fn user_data(made: &mut Definition, fields: &mut Fields<'_>) {
    if made.script_config.is_empty() {
        for key in PROFILE_FILES {
            let file = key.trim_start_matches("setup.");
            made.user_data.insert(key.to_owned(), format!("{}/{file}", made.profile));
        }
    } else {
        made.profile.clear();
    }
    for (key, value) in fields.others() {
        if is_own_key(key) {
            if !is_ambiguous(made, key, value.line, fields) {
                made.user_data.insert(key.to_owned(), value.text.clone());
            }
        } else if !key.starts_with("description[") {
            let (line, name) = (value.line, &made.name);
            let text = format!(
                "line {line} [{name}] {key}: Configuration key name ‘{key}’ is not a permitted name."
            );
            fields.warn(text, None);
        }
    }
}

/// Two keys would be one variable of the environment of scripts: the first has it.
fn is_ambiguous(made: &Definition, key: &str, line: usize, fields: &mut Fields<'_>) -> bool {
    let variable = |key: &str| key.to_ascii_uppercase().replace(['.', '-'], "_");
    let ambiguous = made.user_data.keys().any(|other| other != key && variable(other) == variable(key));
    if ambiguous {
        let name = &made.name;
        let text = format!("line {line} [{name}] {key}: Configuration key ‘{key}’ is ambiguous");
        let info =
            format!("More than one configuration key would set the ‘{}’ environment variable", variable(key));
        fields.warn(text, Some(&info));
    }
    ambiguous
}

/// `^([a-z][a-z0-9]*\.)+[a-z][a-z0-9-]*$`, but for what schroot itself passes to scripts.
fn is_own_key(key: &str) -> bool {
    const RESERVED: [&str; 8] =
        ["auth.", "chroot.", "host.", "libexec.", "mount.", "session.", "status.", "sysconf."];
    let Some((head, last)) = key.rsplit_once('.') else { return false };
    let word = |word: &str, also: &[u8]| {
        word.bytes().next().is_some_and(|first| first.is_ascii_lowercase())
            && word
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || also.contains(&byte))
    };
    head.split('.').all(|part| word(part, b""))
        && word(last, b"-")
        && !RESERVED.iter().any(|reserved| key.starts_with(reserved))
        && key != "setup.data.dir"
}

#[cfg(test)]
mod tests;

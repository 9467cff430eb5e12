//! What becomes of a chroot's definition when it is adopted: a source, and the text of a template. Pure.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;
use toml::Value;

use crate::schroot::definition::{Definition, ENVIRONMENT_FILTER, Kind, Lists};
use crate::schroot::order::Verbosity;
use crate::store::TemplateName;
use crate::template::{AccountName, ProfileName, Template};

/// How a definition begins that was made here: what may be taken away again.
pub(super) const MARK: &str = "# Adopted from schroot's chroot of this name.";

/// What is to be done.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Plan {
    pub(super) template: TemplateName,
    /// Of which type the chroot is.
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) from: From,
    /// The text of the template's definition.
    pub(super) definition: String,
    /// What is different from then on.
    pub(super) notes: Vec<String>,
}

/// What has the tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum From {
    /// A directory or an archive.
    Path(PathBuf),
    /// A dataset of ZFS.
    Dataset(String),
}

impl fmt::Display for From {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.display().fmt(f),
            Self::Dataset(name) => name.fmt(f),
        }
    }
}

/// What is there already.
pub(super) struct World<'a> {
    /// Whether a profile of this name can be used.
    pub(super) has_profile: &'a dyn Fn(&ProfileName) -> bool,
    /// Whether another template has this name or alias.
    pub(super) is_taken: &'a dyn Fn(&TemplateName) -> bool,
}

/// Plans it.
///
/// # Errors
/// Why this chroot cannot be adopted.
pub(super) fn plan(chroot: &Definition, world: &World<'_>) -> Result<Plan, String> {
    let template = chroot.name.parse::<TemplateName>().map_err(|error| error.to_string())?;
    let from = source(&chroot.kind)?;
    if (world.is_taken)(&template) {
        return Err("a template has this name as its alias".to_owned());
    }
    let mut notes = Vec::new();
    let definition = definition(chroot, world, &mut notes);
    // Not all that schroot.conf takes is right here: a description with control characters, a shell without its path.
    Template::from_text(template.clone(), &definition, Path::new(&format!("{template}.toml")))
        .map_err(|fault| format!("its definition would be refused: {fault}"))?;
    if matches!(chroot.kind, Kind::Plain { .. } | Kind::Directory { union: None, .. }) {
        let change = format!("to change it: zchroot update {template}, or schroot -c source:{template}");
        notes.push(format!("what sessions change goes with them, and does not stay in {}; {change}", from));
    }
    left_out(chroot, &mut notes);
    Ok(Plan { template, kind: chroot.kind.word(), from, definition, notes })
}

fn source(kind: &Kind) -> Result<From, String> {
    let refuse =
        |location: &str, what: &str| Err(format!("its tree lies at {location} in {what}, not at its top"));
    match kind {
        Kind::Plain { directory } | Kind::Directory { directory, .. } => Ok(From::Path(directory.into())),
        Kind::BtrfsSnapshot { source, .. } => Ok(From::Path(source.into())),
        Kind::File { file, location } if location.is_empty() => Ok(From::Path(file.into())),
        Kind::File { location, .. } => refuse(location, "the archive"),
        Kind::ZfsSnapshot { dataset, mount, .. } if mount.location.is_empty() => {
            Ok(From::Dataset(dataset.clone()))
        }
        Kind::ZfsSnapshot { mount, .. } => refuse(&mount.location, "the dataset"),
        other => Err(format!("chroots of type {} cannot be adopted", other.word())),
    }
}

fn definition(chroot: &Definition, world: &World<'_>, notes: &mut Vec<String>) -> String {
    let mut lines = vec![
        MARK.to_owned(),
        "# zchroot adopt --undo takes this file away; see zchroot-templates(5) for all keys.".to_owned(),
        "version = 1".to_owned(),
    ];
    if !chroot.description.is_empty() {
        lines.push(format!("description = {}", text(&chroot.description)));
    }
    lines.push(format!("aliases = {}", list(&aliases(chroot, world, notes))));
    lines.push(format!("profile = {}", text(&profile(chroot, world, notes))));
    if !chroot.shell.is_empty() {
        lines.push(format!("shell = {}", text(&chroot.shell)));
    }
    if chroot.preserve_environment {
        lines.push("preserve-environment = true".to_owned());
    }
    lines.extend(["".to_owned(), "# Who may use it.".to_owned()]);
    lines.extend(accounts("", &chroot.lists, notes));
    lines.extend(["".to_owned(), "# Who may change it.".to_owned(), "[source]".to_owned()]);
    lines.extend(accounts("source-", &changers(chroot, notes), notes));
    lines.join("\n") + "\n"
}

/// Who may change the template. What has no source of its own was changed by who could enter it, but a version is
/// everybody's: only who was root in it makes one.
fn changers(chroot: &Definition, notes: &mut Vec<String>) -> Lists {
    match &chroot.source {
        None => Lists { users: Vec::new(), groups: Vec::new(), ..chroot.lists.clone() },
        Some(source) if source.offered => source.lists.clone(),
        Some(_) => {
            notes.push("source-clone = false: only root may change the template".to_owned());
            Lists::default()
        }
    }
}

fn aliases(chroot: &Definition, world: &World<'_>, notes: &mut Vec<String>) -> Vec<String> {
    let free = |alias: &&String| alias.parse().is_ok_and(|name| !(world.is_taken)(&name));
    let (kept, lost): (Vec<&String>, Vec<&String>) = chroot.aliases.iter().partition(free);
    notes
        .extend(lost.iter().map(|alias| {
            format!("alias {alias} is left out: a template has it, or no template may have it")
        }));
    kept.into_iter().cloned().collect()
}

fn profile(chroot: &Definition, world: &World<'_>, notes: &mut Vec<String>) -> String {
    let wanted = &chroot.profile;
    if wanted.parse().is_ok_and(|name| (world.has_profile)(&name)) {
        return wanted.clone();
    }
    notes.push(format!("profile default takes the place of {wanted}, which is not in /etc/zchroot/profiles"));
    "default".to_owned()
}

fn accounts(prefix: &str, lists: &Lists, notes: &mut Vec<String>) -> Vec<String> {
    let all = [
        ("users", &lists.users),
        ("groups", &lists.groups),
        ("root-users", &lists.root_users),
        ("root-groups", &lists.root_groups),
    ];
    let line = |(key, names): (&str, &Vec<String>)| {
        let (kept, lost): (Vec<&String>, Vec<&String>) =
            names.iter().partition(|name| name.parse::<AccountName>().is_ok());
        notes.extend(
            lost.iter().map(|name| format!("{prefix}{key}: {name} is left out: nobody has such a name")),
        );
        format!("{key} = {}", list(&kept.into_iter().cloned().collect::<Vec<_>>()))
    };
    all.map(line).into()
}

/// What schroot.conf can say and a definition of ours cannot.
fn left_out(chroot: &Definition, notes: &mut Vec<String>) {
    let keys = [
        ("command-prefix", !chroot.command_prefix.is_empty()),
        ("personality", chroot.personality.is_some()),
        ("environment-filter", chroot.environment_filter != ENVIRONMENT_FILTER),
        ("message-verbosity", chroot.verbosity != Verbosity::Normal),
        ("script-config", !chroot.script_config.is_empty()),
        ("user-modifiable-keys", !chroot.user_keys.is_empty()),
        ("root-modifiable-keys", !chroot.root_keys.is_empty()),
    ];
    let given = keys.into_iter().filter(|(_, given)| *given).map(|(key, _)| key.to_owned());
    let own = chroot.user_data.iter().filter(|(key, value)| !is_of_profile(chroot, key, value));
    let all: Vec<String> = given.chain(own.map(|(key, _)| key.clone())).collect();
    if !all.is_empty() {
        notes.push(format!("no template has these keys, they are left out: {}", all.join(", ")));
    }
}

/// Whether it says no more than the profile does.
fn is_of_profile(chroot: &Definition, key: &str, value: &str) -> bool {
    let file = key.strip_prefix("setup.");
    file.is_some_and(|file| value == format!("{}/{file}", chroot.profile))
}

fn text(text: &str) -> String {
    Value::from(text).to_string()
}

fn list(items: &[String]) -> String {
    Value::from(items.to_vec()).to_string()
}

#[cfg(test)]
mod tests;

//! Templates: who may use one, and how its sessions are. `etc/zchroot/templates.d/NAME.toml`.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use toml::Spanned;

use crate::store::TemplateName;

use super::account::AccountName;
use super::amount::{Period, Size};
use super::diagnostic::{Diagnostic, Fault};
use super::document::{self, Absolute, Line, Word, plain};
use super::profile::ProfileName;

const KEEP: NonZeroU32 = NonZeroU32::new(5).unwrap();

/// A template as it is defined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Template {
    /// The stem of its file.
    pub name: TemplateName,
    /// One line for people.
    pub description: String,
    /// Other names under which it is found.
    pub aliases: Vec<TemplateName>,
    /// How its sessions' trees are set up.
    pub profile: ProfileName,
    /// Who may use sessions of it.
    #[serde(flatten)]
    pub access: Access,
    /// Who may change it.
    pub source: SourceAccess,
    /// The shell started when no command is given, if not the user's own.
    pub shell: Option<PathBuf>,
    /// The caller's environment (filtered) goes in and does not start anew.
    pub preserve_environment: bool,
    /// The network that sessions see.
    pub net: Net,
    /// A pid namespace of its own for each command.
    pub pid: bool,
    /// An ipc namespace of its own.
    pub ipc: bool,
    /// A host name of its own.
    pub uts: bool,
    /// Where the `dir` store keeps what a session writes.
    pub overlay: Overlay,
    /// How much a session may write.
    pub quota: Option<Size>,
    /// How many versions before the current one are kept, besides those that sessions are based on.
    pub keep: NonZeroU32,
    /// How long versions are kept at least.
    pub keep_for: Option<Period>,
    /// Setuid bits work in sessions.
    pub setuid: bool,
}

/// Who may do something, schroot's four lists.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Access {
    /// Users who may work as themselves.
    pub users: Vec<AccountName>,
    /// Groups whose members may work as themselves.
    pub groups: Vec<AccountName>,
    /// Users who may work as themselves and as root.
    pub root_users: Vec<AccountName>,
    /// Groups whose members may work as themselves and as root.
    pub root_groups: Vec<AccountName>,
}

/// Who may change a template, and how.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct SourceAccess {
    /// Who may begin, commit and abort source sessions.
    #[serde(flatten)]
    pub access: Access,
    /// Users who, without being maintainers, may roll back, pin and unpin.
    pub rollback_users: Vec<AccountName>,
    /// Groups whose members may.
    pub rollback_groups: Vec<AccountName>,
    /// When the end of a source session that was begun in schroot's words commits it.
    pub commit_on_end: CommitOnEnd,
}

/// When the end of a source session commits it. Who changes a template in schroot's words says no more than that he
/// ends the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CommitOnEnd {
    /// If every command that was run in it exited with 0; else the draft is kept for a while.
    #[default]
    Success,
    /// Whatever its commands did.
    Always,
}

impl CommitOnEnd {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Always => "always",
        }
    }
}

impl Access {
    /// Whether nobody but root is let in.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
            && self.groups.is_empty()
            && self.root_users.is_empty()
            && self.root_groups.is_empty()
    }
}

/// The network that sessions see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Net {
    /// The host's.
    #[default]
    Host,
    /// None but a loopback interface.
    None,
}

/// Where the `dir` store keeps what a session writes; a clone on ZFS needs no such place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Overlay {
    /// In the store.
    #[default]
    Disk,
    /// In memory: fast, and gone with a reboot.
    Tmpfs {
        /// How much, else the kernel's default of half the memory.
        size: Option<Size>,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct File {
    #[serde(rename = "version")]
    _version: IgnoredAny,
    description: Option<Word<Line>>,
    profile: Option<Word<ProfileName>>,
    #[serde(default)]
    users: Vec<Word<AccountName>>,
    #[serde(default)]
    groups: Vec<Word<AccountName>>,
    #[serde(default)]
    root_users: Vec<Word<AccountName>>,
    #[serde(default)]
    root_groups: Vec<Word<AccountName>>,
    #[serde(default)]
    aliases: Vec<Word<TemplateName>>,
    shell: Option<Word<Absolute>>,
    #[serde(default)]
    preserve_environment: bool,
    #[serde(default)]
    net: Net,
    #[serde(default)]
    pid: bool,
    #[serde(default)]
    ipc: bool,
    #[serde(default)]
    uts: bool,
    #[serde(default)]
    overlay: Place,
    overlay_size: Option<Spanned<Word<Size>>>,
    quota: Option<Spanned<Word<Size>>>,
    #[serde(default = "keep")]
    keep: NonZeroU32,
    keep_for: Option<Word<Period>>,
    #[serde(default = "yes")]
    setuid: bool,
    #[serde(default)]
    source: SourceTable,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
struct SourceTable {
    users: Vec<Word<AccountName>>,
    groups: Vec<Word<AccountName>>,
    root_users: Vec<Word<AccountName>>,
    root_groups: Vec<Word<AccountName>>,
    rollback_users: Vec<Word<AccountName>>,
    rollback_groups: Vec<Word<AccountName>>,
    commit_on_end: CommitOnEnd,
}

#[derive(Deserialize, Default, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Place {
    #[default]
    Disk,
    Tmpfs,
}

fn keep() -> NonZeroU32 {
    KEEP
}

fn yes() -> bool {
    true
}

impl Template {
    /// The template `name` from the text of its definition; `file` is only what an error says it is from.
    ///
    /// # Errors
    /// The text says something wrong.
    pub fn from_text(name: TemplateName, text: &str, file: &Path) -> Result<Self, Diagnostic> {
        Self::parse(name, text).map_err(|fault| fault.in_file(file, text))
    }

    pub(super) fn parse(name: TemplateName, text: &str) -> Result<Self, Fault> {
        let file: File = document::parse(text)?;
        let source = file.source;
        Ok(Self {
            name,
            description: file.description.map(|word| word.0.0).unwrap_or_default(),
            aliases: plain(file.aliases),
            profile: file.profile.map(|word| word.0).unwrap_or_default(),
            access: access(file.users, file.groups, file.root_users, file.root_groups),
            source: SourceAccess {
                access: access(source.users, source.groups, source.root_users, source.root_groups),
                rollback_users: plain(source.rollback_users),
                rollback_groups: plain(source.rollback_groups),
                commit_on_end: source.commit_on_end,
            },
            shell: file.shell.map(|word| word.0.0),
            preserve_environment: file.preserve_environment,
            net: file.net,
            pid: file.pid,
            ipc: file.ipc,
            uts: file.uts,
            overlay: overlay(&file.overlay, file.overlay_size)?,
            quota: file.quota.map(quota).transpose()?,
            keep: file.keep,
            keep_for: file.keep_for.map(|word| word.0),
            setuid: file.setuid,
        })
    }
}

pub(super) fn access(
    users: Vec<Word<AccountName>>,
    groups: Vec<Word<AccountName>>,
    root_users: Vec<Word<AccountName>>,
    root_groups: Vec<Word<AccountName>>,
) -> Access {
    Access {
        users: plain(users),
        groups: plain(groups),
        root_users: plain(root_users),
        root_groups: plain(root_groups),
    }
}

fn overlay(place: &Place, size: Option<Spanned<Word<Size>>>) -> Result<Overlay, Fault> {
    match (place, size) {
        (Place::Disk, None) => Ok(Overlay::Disk),
        (Place::Disk, Some(size)) => {
            Err(Fault::at(size.span(), "overlay-size: only with overlay = \"tmpfs\" is there a size to set"))
        }
        (Place::Tmpfs, size) => Ok(Overlay::Tmpfs { size: size.map(|size| size.into_inner().0) }),
    }
}

/// Below this a session could not even start a shell.
const LEAST_QUOTA: Size = Size::new(1 << 20);

fn quota(size: Spanned<Word<Size>>) -> Result<Size, Fault> {
    match size.get_ref().0 {
        quota if quota >= LEAST_QUOTA => Ok(quota),
        _ => Err(Fault::at(size.span(), "quota: less than 1M is not enough for anything")),
    }
}

#[cfg(test)]
mod tests;

//! The file of a profile: its keys, and what may stand together.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::Deserialize;
use serde::de::IgnoredAny;
use toml::Spanned;

use super::amount::Size;
use super::diagnostic::{Diagnostic, Fault};
use super::document::{self, Absolute, Line, Word};
use super::profile::{HostFile, Mount, MountKind, NssDatabase, Profile, ProfileName};

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
    /// The profile `name` from the text of its file; `file` is only what an error says it is from.
    ///
    /// # Errors
    /// The text says something wrong.
    pub fn from_text(name: &ProfileName, text: &str, file: &Path) -> Result<Self, Diagnostic> {
        Self::parse(name, text).map_err(|fault| fault.in_file(file, text))
    }

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

#[cfg(test)]
mod tests;

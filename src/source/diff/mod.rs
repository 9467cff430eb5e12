//! What differs between two trees: two versions, or a session and what it was cloned from.
//!
//! Both trees are walked in one order and merged ([`Walk`]), so that memory does not grow with the number of
//! files. Two files of one size are read and compared, unless one is known to be the other: on a store whose
//! versions descend from each other block by block ([`Store::keeps_inodes`](crate::store::Store::keeps_inodes)) an
//! inode whose change time is the same in both was not touched, since nobody can set that time. What a session on
//! an overlay did not write is not looked at ([`Store::written`](crate::store::Store::written)).
//!
//! Times are no difference: installing the same package twice would list all of it.

mod order;
mod packages;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::io;
use std::os::fd::BorrowedFd;

use serde::Serialize;

pub use order::compare as compare_deb_versions;
pub use packages::{Package, PackageChange, read as read_packages, summary as package_summary};

use super::{Error, Sources};
use crate::session::record::{Record, State};
use crate::session::setup;
use crate::store::{TemplateName, VersionId};
use crate::sys::mount::{Access, Detached};
use crate::sys::tree::{Entry, Guide, Step, Type, Walk, by_path, same_bytes};
use crate::template::Overlay;

/// What became of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// Only the second tree has it.
    Added,
    /// Only the first tree has it.
    Removed,
    /// Both have it, and it differs.
    Changed,
}

/// In what an entry differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "what")]
pub enum Aspect {
    /// It is something else now.
    Type {
        /// What it was.
        old: &'static str,
        /// What it is.
        new: &'static str,
    },
    /// The bytes of a file.
    Content,
    /// Where a symlink points to.
    Target {
        /// Before, escaped.
        old: String,
        /// Now, escaped.
        new: String,
    },
    /// The numbers of a device.
    Device {
        /// Before.
        old: String,
        /// Now.
        new: String,
    },
    /// Permissions.
    Mode {
        /// Before, in octal.
        old: String,
        /// Now, in octal.
        new: String,
    },
    /// User and group, as numbers.
    Owner {
        /// Before.
        old: String,
        /// Now.
        new: String,
    },
    /// Extended attributes.
    Xattrs {
        /// Which, escaped.
        names: Vec<String>,
    },
    /// Which other entry is the same file.
    Links,
    /// The time of the last change of its contents; only [`Scope::times`] looks at it.
    Time,
}

/// One entry that is not the same in both trees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Its path from the top, escaped: see [`escape`].
    pub path: String,
    /// What became of it.
    pub change: Change,
    /// What it is; for what was removed, what it was.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// In what it differs, if both trees have it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub aspects: Vec<Aspect>,
}

/// How many entries differ.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Only the second tree has them.
    pub added: u64,
    /// Only the first tree has them.
    pub removed: u64,
    /// They differ.
    pub changed: u64,
}

impl Counts {
    /// Counts one more.
    pub fn add(&mut self, change: Change) {
        let count = match change {
            Change::Added => &mut self.added,
            Change::Removed => &mut self.removed,
            Change::Changed => &mut self.changed,
        };
        *count = count.saturating_add(1);
    }
}

/// A path as it is printed: a slash in front, and `\xNN` for each byte that is no printable ASCII, for a blank and
/// for the backslash.
#[must_use]
pub fn escape(path: &[u8]) -> String {
    format!("/{}", escape_bytes(path))
}

/// Bytes as [`escape`] prints them.
#[must_use]
pub fn escape_bytes(bytes: &[u8]) -> String {
    use std::fmt::Write;
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes {
        if byte.is_ascii_graphic() && *byte != b'\\' {
            text.push(char::from(*byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// What two entries of one path are compared by.
#[derive(Debug, Clone, Copy, Default)]
pub struct Scope {
    /// Which links belong together; a walk that leaves names out cannot tell.
    pub links: bool,
    /// The times of last change.
    pub times: bool,
}

/// In what two entries of one path differ, but for the bytes of files.
#[must_use]
pub fn aspects(old: &Entry, new: &Entry, scope: Scope) -> Vec<Aspect> {
    if old.kind != new.kind {
        return vec![Aspect::Type { old: old.kind.name(), new: new.kind.name() }];
    }
    let mut found = Vec::new();
    if old.target != new.target {
        let text = |entry: &Entry| escape_bytes(entry.target.as_deref().unwrap_or_default());
        found.push(Aspect::Target { old: text(old), new: text(new) });
    }
    if old.device != new.device {
        let text = |entry: &Entry| entry.device.map_or(String::new(), |(a, b)| format!("{a}:{b}"));
        found.push(Aspect::Device { old: text(old), new: text(new) });
    }
    if old.mode != new.mode {
        let text = |entry: &Entry| format!("{:04o}", entry.mode);
        found.push(Aspect::Mode { old: text(old), new: text(new) });
    }
    if (old.uid, old.gid) != (new.uid, new.gid) {
        let text = |entry: &Entry| format!("{}:{}", entry.uid, entry.gid);
        found.push(Aspect::Owner { old: text(old), new: text(new) });
    }
    if old.xattrs != new.xattrs {
        found.push(Aspect::Xattrs { names: xattr_names(old, new) });
    }
    if scope.links && old.first_link != new.first_link {
        found.push(Aspect::Links);
    }
    if scope.times && old.mtime != new.mtime {
        found.push(Aspect::Time);
    }
    found
}

fn xattr_names(old: &Entry, new: &Entry) -> Vec<String> {
    let only = |one: &Entry, other: &Entry| {
        let differing = one.xattrs.iter().filter(|xattr| !other.xattrs.contains(xattr));
        differing.map(|(name, _)| escape_bytes(name)).collect::<Vec<_>>()
    };
    let mut names = only(old, new);
    names.extend(only(new, old));
    names.sort();
    names.dedup();
    names
}

/// What a comparison needs to know, beside the trees.
pub(super) struct Comparing<'a> {
    /// An untouched inode is the same in both trees.
    pub(super) same_inodes: bool,
    /// Leaves out what is known to be equal.
    pub(super) guide: Option<&'a Guide>,
    pub(super) step: &'a mut Step<'a>,
}

/// Merges two trees and tells of each entry that differs, in the order of paths.
pub(super) fn compare(
    old: BorrowedFd<'_>,
    new: BorrowedFd<'_>,
    how: &mut Comparing<'_>,
    tell: &mut dyn FnMut(Difference) -> io::Result<()>,
) -> io::Result<()> {
    let (mut before, mut after) = (Walk::new(old, how.guide)?, Walk::new(new, how.guide)?);
    let (mut left, mut right) = (before.next_entry()?, after.next_entry()?);
    loop {
        let order = match (&left, &right) {
            (None, None) => return Ok(()),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(one), Some(other)) => by_path(&one.path, &other.path),
        };
        (how.step)(0)?;
        match (order, &left, &right) {
            (Ordering::Less, Some(entry), _) => tell(lone(entry, Change::Removed))?,
            (Ordering::Greater, _, Some(entry)) => tell(lone(entry, Change::Added))?,
            (_, Some(one), Some(other)) => {
                let mut found = aspects(one, other, Scope { links: how.guide.is_none(), times: false });
                if one.kind == Type::File
                    && other.kind == Type::File
                    && !how.is_same((one, &before), (other, &after))?
                {
                    found.insert(0, Aspect::Content);
                }
                if !found.is_empty() {
                    let path = escape(&other.path);
                    let kind = other.kind.name();
                    tell(Difference { path, change: Change::Changed, kind, aspects: found })?;
                }
            }
            _ => {}
        }
        if order != Ordering::Greater {
            left = before.next_entry()?;
        }
        if order != Ordering::Less {
            right = after.next_entry()?;
        }
    }
}

impl Comparing<'_> {
    /// Whether two files have the same bytes. What vanished under us is not the same.
    fn is_same(
        &mut self,
        (one, before): (&Entry, &Walk<'_>),
        (other, after): (&Entry, &Walk<'_>),
    ) -> io::Result<bool> {
        if one.size != other.size {
            return Ok(false);
        }
        let untouched = (one.inode, one.ctime, one.mtime) == (other.inode, other.ctime, other.mtime);
        if one.size == 0 || (self.same_inodes && untouched) {
            return Ok(true);
        }
        if one.first_link.is_some() && one.first_link == other.first_link {
            // Said of the first link.
            return Ok(true);
        }
        match (before.open_last()?, after.open_last()?) {
            (Some(old), Some(new)) => same_bytes(&old, &new, self.step),
            _ => Ok(false),
        }
    }
}

fn lone(entry: &Entry, change: Change) -> Difference {
    Difference { path: escape(&entry.path), change, kind: entry.kind.name(), aspects: Vec::new() }
}

/// What is wanted of a comparison; each difference is told while the trees are walked.
pub struct Wanted<'a> {
    /// The files; else only the packages are looked at.
    pub files: bool,
    /// Compares all bytes, also where an inode says that it was not touched.
    pub full: bool,
    /// Hears of each difference.
    pub tell: &'a mut dyn FnMut(Difference) -> io::Result<()>,
    /// Hears of bytes that were read; an error from it ends the work.
    pub step: &'a mut Step<'a>,
}

impl std::fmt::Debug for Wanted<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wanted").field("files", &self.files).field("full", &self.full).finish_non_exhaustive()
    }
}

/// What a comparison found, beside the differences that were told.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Compared {
    /// How many entries differ; none if files were not asked for.
    pub counts: Option<Counts>,
    /// Packages that differ; none if one of the trees has no dpkg status.
    pub packages: Option<Vec<PackageChange>>,
}

impl Sources<'_> {
    /// Compares two complete versions of a template.
    ///
    /// # Errors
    /// One of them is not there, or cannot be read.
    pub fn diff(
        &self,
        template: &TemplateName,
        old: &VersionId,
        new: &VersionId,
        wanted: Wanted<'_>,
    ) -> Result<Compared, Error> {
        self.look_at(template, old, |before| {
            self.look_at(template, new, |after| {
                let object = || format!("versions {old} and {new} of {template}");
                let same_inodes = self.store().keeps_inodes() && !wanted.full;
                run(before, after, &Given { same_inodes, ..Given::default() }, wanted)
                    .map_err(|source| Error::Tree { op: "compare", object: object(), source })
            })
        })
    }

    /// Compares a session with what it was cloned from. The session must stand, and nobody may end it meanwhile:
    /// the caller holds its lock.
    ///
    /// # Errors
    /// It does not stand, has no base, or a tree cannot be read.
    pub fn diff_session(&self, record: &Record, wanted: Wanted<'_>) -> Result<Compared, Error> {
        let Some(base) = &record.base else { return Err(Error::NoBase(record.id.clone())) };
        self.look_at(&record.template, base, |before| self.diff_with(record, before, wanted))
    }

    /// Compares a session with a tree that it was cloned from.
    pub(super) fn diff_with(
        &self,
        record: &Record,
        before: BorrowedFd<'_>,
        wanted: Wanted<'_>,
    ) -> Result<Compared, Error> {
        if record.state != State::Ready || !self.sessions.is_mounted(record)? {
            return Err(Error::NotStanding(record.id.clone()));
        }
        let failed = |source| Error::Tree { op: "look at", object: format!("session {}", record.id), source };
        let at = self.layout().mount(&record.id);
        // The tree alone, without what is mounted in it.
        let access = Access { read_only: true, no_exec: true, ..Access::default() };
        let tree = Detached::bind(&at, false, access).map_err(failed)?;
        let on_disk = record.draft.is_none() && record.setup.overlay == Overlay::Disk;
        let guide = if on_disk && !wanted.full { self.store().written(&record.id)? } else { None };
        let same_inodes = self.store().keeps_inodes() && !wanted.full;
        // What a set-up made in a source session's tree goes before a commit.
        let made = setup::made_in(tree.root()).map_err(failed)?;
        let made: Vec<String> =
            made.iter().map(|path| escape(path.strip_prefix(b"/").unwrap_or(path))).collect();
        let given = Given { same_inodes, guide: guide.as_ref(), made };
        run(before, tree.root(), &given, wanted).map_err(failed)
    }

    /// Shows `look` the top of a complete version.
    pub(super) fn look_at<T>(
        &self,
        template: &TemplateName,
        version: &VersionId,
        look: impl FnOnce(BorrowedFd<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let (mut look, mut result) = (Some(look), None);
        self.store().look_at(template, version, &mut |top| {
            if let Some(look) = look.take() {
                result = Some(look(top));
            }
        })?;
        result.unwrap_or_else(|| {
            Err(Error::NoSuchVersion { template: template.clone(), version: version.to_string() })
        })
    }
}

/// What is known of two trees beforehand.
#[derive(Default)]
struct Given<'a> {
    same_inodes: bool,
    guide: Option<&'a Guide>,
    /// What is only there as long as the session stands.
    made: Vec<String>,
}

fn run(
    before: BorrowedFd<'_>,
    after: BorrowedFd<'_>,
    given: &Given<'_>,
    wanted: Wanted<'_>,
) -> io::Result<Compared> {
    let mut compared = Compared::default();
    if wanted.files {
        let mut counts = Counts::default();
        let mut how = Comparing { same_inodes: given.same_inodes, guide: given.guide, step: wanted.step };
        compare(before, after, &mut how, &mut |difference| {
            if difference.change == Change::Added && given.made.contains(&difference.path) {
                return Ok(());
            }
            counts.add(difference.change);
            (wanted.tell)(difference)
        })?;
        compared.counts = Some(counts);
    }
    if let (Some(old), Some(new)) = (read_packages(before)?, read_packages(after)?) {
        compared.packages = Some(package_summary(&old, &new));
    }
    Ok(compared)
}

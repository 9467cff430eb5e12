//! What differs between two trees: two versions, or a session and what it was cloned from.
//!
//! Both trees are walked in one order and merged ([`Walk`]), so that memory does not grow with the number of
//! files. Two files of one size are read and compared, unless one is known to be the other: on a store whose
//! versions descend from each other block by block ([`Store::keeps_inodes`](crate::store::Store::keeps_inodes)) an
//! inode whose change time is the same in both was not touched, since nobody can set that time. What a session on
//! an overlay did not write is not looked at ([`Store::written`](crate::store::Store::written)).
//!
//! Times are no difference: installing the same package twice would list all of it.

mod compare;
mod order;
mod packages;
#[cfg(test)]
mod tests;
mod versions;

use serde::Serialize;

pub use order::compare as compare_deb_versions;
pub use packages::{Package, PackageChange, read as read_packages, summary as package_summary};
pub use versions::{Compared, Wanted};

use crate::sys::tree::Entry;

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

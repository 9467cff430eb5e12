//! Two walks, merged.

use std::cmp::Ordering;
use std::io;
use std::os::fd::BorrowedFd;

use super::{Aspect, Change, Difference, Scope, aspects, escape};
use crate::sys::tree::{Entry, Guide, Step, Type, Walk, by_path, same_bytes};

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

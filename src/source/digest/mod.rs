//! Digests: what the tree of a version was when it was committed, and whether it still is.
//!
//! `templates/NAME/digests/VERSION.zst`, in the form of [`manifest`]. It is made once, after the commit and without
//! anybody waiting for it, and goes when its version does. A version without one gets it by the next commit or gc.
//!
//! Locks: `digest-NAME` while digests of a template are made, so that the work is done once; nothing else waits for
//! it. Digests of versions that are gone are removed by settle, under the template's lock.
//!
//! Crash rule: a digest is written beside its place, fsynced and renamed; it is there whole or not at all, and never
//! replaced.

mod manifest;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufReader, BufWriter};
use std::os::fd::BorrowedFd;
use std::time::Duration;

use serde::Serialize;

use super::diff::{Change, Difference, escape};
use super::{Error, Sources, Version};
use crate::store::{TemplateName, VersionId};
use crate::sys::file;
use crate::sys::lock::{self, Lock};
use crate::sys::tree::{Step, Walk, by_path, digest_file};

pub use manifest::Root;
use manifest::{Line, Next, Reader, Writer};

/// A tree has lines that are much alike; a higher level gains little more.
const LEVEL: i32 = 6;
const SUFFIX: &str = ".zst";

/// How the look at a version ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "result")]
pub enum Verdict {
    /// The tree is what it was.
    Same {
        /// What the digest says of it.
        root: Root,
    },
    /// It is not.
    Differs {
        /// Where, at first.
        first: Difference,
    },
    /// There was no digest: now there is.
    New {
        /// What it says.
        root: Root,
    },
    /// The version was reclaimed meanwhile.
    Gone,
}

impl Sources<'_> {
    /// What the digest of a version says, `None` if there is none. All of it is read, nothing of the tree.
    ///
    /// # Errors
    /// It cannot be read or is damaged.
    pub fn digest(&self, template: &TemplateName, version: &VersionId) -> Result<Option<Root>, Error> {
        let Some(mut reader) = self.open_digest(template, version)? else { return Ok(None) };
        loop {
            match reader.next().map_err(|source| damaged(template, version, source))? {
                Next::Line(_) => {}
                Next::Root(root) => return Ok(Some(root)),
            }
        }
    }

    /// Looks whether a version's tree still is what its digest says; makes the digest if there is none.
    ///
    /// # Errors
    /// There is no such version, its digest is damaged, or its tree cannot be read.
    pub fn verify(
        &self,
        template: &TemplateName,
        version: &VersionId,
        step: &mut Step<'_>,
    ) -> Result<Verdict, Error> {
        let verdict = match self.open_digest(template, version)? {
            None => self.make_digest(template, version, step).map(|root| Verdict::New { root }),
            Some(reader) => self.look_at(template, version, |top| {
                compare(top, reader, step).map_err(|source| unreadable(template, version, source))
            }),
        };
        match verdict {
            Ok(Verdict::Same { .. }) => verdict,
            // Settle may have taken it away under our eyes.
            _ if !self.complete(template)?.contains(version) => Ok(Verdict::Gone),
            other => other,
        }
    }

    /// Makes the digests that are missing, newest version first; those that it made. None if somebody else is
    /// making them.
    ///
    /// # Errors
    /// The first failure; a version that was reclaimed meanwhile is none.
    pub fn make_digests(
        &self,
        template: &TemplateName,
        step: &mut Step<'_>,
    ) -> Result<Vec<VersionId>, Error> {
        lock::make_folder(&self.layout().locks())?;
        let Some(_lock) = Lock::take(&self.layout().digest_lock(template), Duration::ZERO)? else {
            return Ok(Vec::new());
        };
        let mut made = Vec::new();
        let mut gone = BTreeSet::new();
        loop {
            // Looked at anew each time: others commit meanwhile.
            let versions = self.complete(template)?;
            let mut missing = Vec::new();
            for version in versions.into_iter().rev() {
                // Of what nothing is known nothing is written: the state of the store may not be mounted.
                let known = Version::load(self.layout(), template, &version)?.is_some();
                if known
                    && !gone.contains(&version)
                    && file::stat(&self.layout().digest(template, &version))?.is_none()
                {
                    missing.push(version);
                }
            }
            let Some(version) = missing.into_iter().next() else { return Ok(made) };
            match self.make_digest(template, &version, step) {
                Ok(_) => made.push(version),
                Err(_) if !self.complete(template)?.contains(&version) => {
                    gone.insert(version);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Removes the digests of versions that are gone. The caller holds the lock under which versions are dropped.
    pub(super) fn prune_digests(&self, template: &TemplateName) -> Result<(), Error> {
        let names = file::list(&self.layout().digests(template))?;
        if names.is_empty() {
            return Ok(());
        }
        let there = self.complete(template)?;
        for version in names.iter().filter_map(|name| name.strip_suffix(SUFFIX)?.parse().ok()) {
            if !there.contains(&version) {
                file::remove(&self.layout().digest(template, &version))?;
            }
        }
        Ok(())
    }

    fn make_digest(
        &self,
        template: &TemplateName,
        version: &VersionId,
        step: &mut Step<'_>,
    ) -> Result<Root, Error> {
        let path = self.layout().digest(template, version);
        let root = self.look_at(template, version, |top| {
            file::make_dirs(&self.layout().digests(template), 0o700)?;
            let written = file::replace_by(&path, |out| write(top, out, template, version, step));
            written.map_err(|error| match error.op {
                "write" => unreadable(template, version, error.source),
                _ => error.into(),
            })
        })?;
        tracing::info!(%template, %version, sha256 = root.sha256, "digest made");
        Ok(root)
    }

    fn open_digest(
        &self,
        template: &TemplateName,
        version: &VersionId,
    ) -> Result<Option<Reader<Text>>, Error> {
        let Some(file) = file::open_if_there(&self.layout().digest(template, version))? else {
            return Ok(None);
        };
        zstd::stream::read::Decoder::new(file)
            .and_then(|text| Reader::new(BufReader::new(text), template, version))
            .map(Some)
            .map_err(|source| damaged(template, version, source))
    }
}

type Text = BufReader<zstd::stream::read::Decoder<'static, BufReader<File>>>;

fn damaged(template: &TemplateName, version: &VersionId, source: io::Error) -> Error {
    Error::Tree { op: "read", object: format!("the digest of {template} {version}"), source }
}

fn unreadable(template: &TemplateName, version: &VersionId, source: io::Error) -> Error {
    Error::Tree { op: "digest", object: format!("version {version} of {template}"), source }
}

fn write(
    top: BorrowedFd<'_>,
    out: &mut File,
    template: &TemplateName,
    version: &VersionId,
    step: &mut Step<'_>,
) -> io::Result<Root> {
    let packed = zstd::stream::write::Encoder::new(out, LEVEL)?;
    let mut writer = Writer::new(BufWriter::new(packed), template, version)?;
    let mut tree = Lines::new(top)?;
    while let Some(line) = tree.next(step)? {
        writer.line(&line)?;
    }
    let (root, packed) = writer.finish()?;
    packed.into_inner().map_err(io::IntoInnerError::into_error)?.finish()?;
    Ok(root)
}

/// The lines of a tree as it is.
struct Lines {
    walk: Walk<'static>,
}

impl Lines {
    fn new(top: BorrowedFd<'_>) -> io::Result<Self> {
        Ok(Self { walk: Walk::new(top, None)? })
    }

    fn next(&mut self, step: &mut Step<'_>) -> io::Result<Option<Line>> {
        step(0)?;
        let Some(entry) = self.walk.next_entry()? else { return Ok(None) };
        let line = Line::of(&entry, || match self.walk.open_last()? {
            Some(file) => digest_file(&file, step),
            None => Err(io::Error::other(format!("{} changed while it was read", escape(&entry.path)))),
        })?;
        Ok(Some(line))
    }
}

/// Reads a tree along its digest, up to the first difference.
fn compare(top: BorrowedFd<'_>, mut digest: Reader<Text>, step: &mut Step<'_>) -> io::Result<Verdict> {
    let mut tree = Lines::new(top)?;
    loop {
        let (was, is) = (digest.next()?, tree.next(step)?);
        let first = match (was, is) {
            (Next::Root(root), None) => return Ok(Verdict::Same { root }),
            (Next::Root(_), Some(is)) => lone(&is, Change::Added),
            (Next::Line(was), None) => lone(&was, Change::Removed),
            (Next::Line(was), Some(is)) => match by_path(&was.path, &is.path) {
                Ordering::Less => lone(&was, Change::Removed),
                Ordering::Greater => lone(&is, Change::Added),
                Ordering::Equal if was == is => continue,
                Ordering::Equal => Difference { aspects: was.differs(&is), ..lone(&is, Change::Changed) },
            },
        };
        return Ok(Verdict::Differs { first });
    }
}

fn lone(line: &Line, change: Change) -> Difference {
    Difference { path: escape(&line.path), change, kind: line.kind.name(), aspects: Vec::new() }
}

//! Where each tree lies, and how it is found while others move it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::session::Base;
use super::{DirStore, gone, image};
use crate::store::{Result, SessionId, TemplateName, Tree, VersionId, pointer};
use crate::sys::{file, tree};

const MAKING: &str = ".making-";
const DROPPED: &str = ".dropped-";

impl DirStore {
    pub(super) fn versions(&self, template: &TemplateName) -> PathBuf {
        self.layout.dir_store().join("templates").join(template.as_str())
    }

    pub(super) fn version(&self, template: &TemplateName, version: &VersionId) -> PathBuf {
        self.versions(template).join(version.as_str())
    }

    /// Where settle puts a version aside.
    pub(super) fn dropped(&self, template: &TemplateName, version: &VersionId) -> PathBuf {
        self.versions(template).join(format!("{DROPPED}{version}"))
    }

    pub(super) fn drafts(&self, template: &TemplateName) -> PathBuf {
        self.layout.dir_store().join("drafts").join(template.as_str())
    }

    pub(super) fn draft(&self, template: &TemplateName, draft: &VersionId) -> PathBuf {
        self.drafts(template).join(draft.as_str())
    }

    /// Where a draft is made.
    pub(super) fn making(&self, template: &TemplateName, draft: &VersionId) -> PathBuf {
        self.drafts(template).join(format!("{MAKING}{draft}"))
    }

    pub(super) fn sessions_folder(&self) -> PathBuf {
        self.layout.dir_store().join("sessions")
    }

    pub(super) fn session(&self, session: &SessionId) -> PathBuf {
        self.sessions_folder().join(session.as_str())
    }

    pub(super) fn trash(&self) -> PathBuf {
        self.layout.dir_store().join("trash")
    }
}

/// The names in a folder that are names of ours, sorted; the others are none.
pub(super) fn names<T: FromStr>(folder: &Path) -> file::Result<Vec<T>> {
    Ok(file::list(folder)?.iter().filter_map(|name| name.parse().ok()).collect())
}

/// The versions that a crashed settle had put aside.
pub(super) fn dropped(folder: &Path) -> file::Result<Vec<VersionId>> {
    marked(folder, DROPPED)
}

/// The drafts that are being made, or were when somebody crashed.
pub(super) fn making(folder: &Path) -> file::Result<Vec<VersionId>> {
    marked(folder, MAKING)
}

fn marked(folder: &Path, mark: &str) -> file::Result<Vec<VersionId>> {
    Ok(file::list(folder)?.iter().filter_map(|name| name.strip_prefix(mark)?.parse().ok()).collect())
}

/// A directory, `None` if there is none.
pub(super) fn open(path: &Path) -> Result<Option<File>> {
    match file::open_dir(path) {
        Ok(dir) => Ok(Some(dir)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Finds a complete version, without a lock.
///
/// It is looked for in `templates/` once more at the end: between the first look and the pointer's it may have
/// been moved there.
pub(super) fn complete(
    store: &DirStore,
    template: &TemplateName,
    version: &VersionId,
) -> Result<Option<(PathBuf, File)>> {
    let settled = store.version(template, version);
    if let Some(dir) = open(&settled)? {
        return Ok(Some((settled, dir)));
    }
    if pointer::read(&store.layout, template)?.as_ref() == Some(version) {
        let draft = store.draft(template, version);
        if let Some(dir) = open(&draft)? {
            return Ok(Some((draft, dir)));
        }
    }
    Ok(open(&settled)?.map(|dir| (settled, dir)))
}

/// Finds what a session is a clone of: also where settle has put it aside, since settle brings it back when it
/// sees the session (or did not get as far, if it crashed).
pub(super) fn lower(store: &DirStore, base: &Base) -> Result<Option<PathBuf>> {
    match base {
        Base::Version(template, version) => lower_version(store, template, version),
        Base::Image(image) => image::place_of(store, image).map(Some),
    }
}

fn lower_version(store: &DirStore, template: &TemplateName, version: &VersionId) -> Result<Option<PathBuf>> {
    if let Some((path, _)) = complete(store, template, version)? {
        return Ok(Some(path));
    }
    let aside = store.dropped(template, version);
    if open(&aside)?.is_some() {
        return Ok(Some(aside));
    }
    // A session that tries a draft out.
    let draft = store.draft(template, version);
    if open(&draft)?.is_some() {
        return Ok(Some(draft));
    }
    Ok(complete(store, template, version)?.map(|(path, _)| path))
}

/// The directory that a tree's own bytes are in.
pub(super) fn tree(store: &DirStore, tree: &Tree) -> Result<PathBuf> {
    match tree {
        Tree::Session(session) => Ok(store.session(session).join("upper")),
        Tree::Draft(template, draft) => Ok(store.draft(template, draft)),
        Tree::Image(image) => image::place_of(store, image),
        Tree::Version(template, version) => match complete(store, template, version)? {
            Some((path, _)) => Ok(path),
            None => Err(gone("find", &store.version(template, version))),
        },
    }
}

/// Renames a tree, also one whose top somebody has marked immutable.
pub(super) fn rename(from: &Path, to: &Path) -> Result<()> {
    match file::rename(from, to) {
        Err(error) if error.errno() == libc::EPERM => {
            let top = file::open_dir(from)?;
            tree::clear_immutable(std::os::fd::AsFd::as_fd(&top)).map_err(super::failed("unlock", from))?;
            Ok(file::rename(from, to)?)
        }
        other => Ok(other?),
    }
}

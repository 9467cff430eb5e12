//! Sessions: clones of versions.
//!
//! **No session loses its version**, though a begin takes no lock. A begin first writes down which version it
//! clones (`lower`, a symlink: there whole or not at all) and *then* looks whether that version stands in its
//! place; only if it does the clone is completed. Settle first renames the version aside, *then* reads every
//! session's `lower`, and deletes only if none names the version; else it renames it back. Let W be the write
//! and L the look of the begin, R the rename and S the reading of settle; W < L and R < S. If S does not see
//! the write, then S < W, so R < S < W < L: the look comes after the rename, finds nothing, and the begin gives
//! up with [`ErrorKind::Gone`]. If S sees it, nothing is deleted. Hence never both.
//!
//! - Sessions are never renamed while they are made, so that S (a readdir) cannot miss one: what stood in a
//!   directory before a readdir began, and stays, is listed.
//! - A begin that crashed leaves a `lower`, which only keeps its version until somebody drops the left-over.
//! - A settle that crashed leaves the version aside, where a session's mount still finds it; the next settle
//!   reads the sessions again and renames it back or deletes it.
//! - A begin whose look falls between R and the rename back gets Gone though the version will be there again.
//!   That can only hit one that is neither current nor kept: who asked for the current version reads the
//!   pointer again and finds a newer one.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{Mode, OFlags};

use super::claim::{self, Hold, Made};
use super::{DirStore, commit, failed, gone, image, memory, mount, place, trash};
use crate::store::{
    Digest, Error, ErrorKind, Outcome, Result, SessionId, SessionTree, TemplateName, VersionId,
};
use crate::sys::{effect, file, tree};

/// How long a drop waits for somebody who makes or drops the same session.
const PATIENCE: Duration = Duration::from_secs(10);
const LOWER: &str = "lower";
const UPPER: &str = "upper";
const UNREADY: &str = "upper.new";
const WORK: &str = "work";
const VERSIONS: &str = "../../templates/";
const IMAGES: &str = "../../images/";

/// What a session is a clone of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Base {
    Version(TemplateName, VersionId),
    Image(Digest),
}

impl Base {
    /// What `lower` points to.
    fn target(&self) -> String {
        match self {
            Self::Version(template, version) => format!("{VERSIONS}{template}/{version}"),
            Self::Image(image) => format!("{IMAGES}{image}"),
        }
    }

    fn parse(target: &str) -> Option<Self> {
        if let Some(image) = target.strip_prefix(IMAGES) {
            return image.parse().ok().map(Self::Image);
        }
        let (template, version) = target.strip_prefix(VERSIONS)?.split_once('/')?;
        Some(Self::Version(template.parse().ok()?, version.parse().ok()?))
    }

    /// Its tree, if it is complete and stands in its place.
    fn complete(&self, store: &DirStore) -> Result<Option<(PathBuf, File)>> {
        match self {
            Self::Version(template, version) => place::complete(store, template, version),
            Self::Image(image) => image::complete(store, image),
        }
    }

    /// Where it stands, or would stand.
    pub(super) fn place(&self, store: &DirStore) -> PathBuf {
        match self {
            Self::Version(template, version) => store.version(template, version),
            Self::Image(image) => store.image(image),
        }
    }
}

pub(super) fn clone(store: &DirStore, base: &Base, session: &SessionId) -> Result<()> {
    make(store, base, session, || Ok(base.complete(store)?.map(|(_, tree)| tree)))
}

/// As [`clone`], of a draft. Whoever drops the draft looks for the session under the lock of the template's trees,
/// which is held here.
pub(super) fn clone_draft(
    store: &DirStore,
    template: &TemplateName,
    draft: &VersionId,
    session: &SessionId,
) -> Result<()> {
    let _lock = commit::lock(store, template)?;
    let base = Base::Version(template.clone(), draft.clone());
    make(store, &base, session, || match place::complete(store, template, draft)? {
        Some(_) => Ok(None),
        None => place::open(&store.draft(template, draft)),
    })
}

fn make(
    store: &DirStore,
    base: &Base,
    session: &SessionId,
    look: impl FnOnce() -> Result<Option<File>>,
) -> Result<()> {
    let path = store.session(session);
    let exists = |why| Err(Error::new(ErrorKind::Exists, "clone", path.display().to_string(), why));
    let dir = match claim::make(&path)? {
        Made::New(dir) => dir,
        Made::LeftOver(_) if file::stat(&path.join(UPPER))?.is_some() => {
            return exists("the session is there");
        }
        Made::LeftOver(dir) => {
            clear(&dir).map_err(failed("clear", &path))?;
            dir
        }
        Made::Taken => return exists("somebody makes or drops it just now"),
    };
    fill(store, base, &path, &dir, look).inspect_err(|_| undo(store, session))
}

fn fill(
    store: &DirStore,
    base: &Base,
    path: &Path,
    dir: &File,
    look: impl FnOnce() -> Result<Option<File>>,
) -> Result<()> {
    let lower = path.join(LOWER);
    step("symlink", || rustix::fs::symlinkat(base.target(), dir, LOWER))
        .map_err(failed("make symlink", &lower))?;
    let Some(base) = look()? else {
        return Err(gone("clone", &base.place(store)));
    };
    let upper = path.join(UPPER);
    step("mkdir", || rustix::fs::mkdirat(dir, WORK, Mode::RWXU))
        .map_err(failed("make directory", &path.join(WORK)))?;
    step("mkdir", || rustix::fs::mkdirat(dir, UNREADY, Mode::RWXU))
        .map_err(failed("make directory", &upper))?;
    // The top of an overlay is its upper directory: owner, mode and ACL have to be the version's.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let top = rustix::fs::openat(dir, UNREADY, flags, Mode::empty())
        .map_err(|error| failed("open", &upper)(error.into()))?;
    effect::point("copy attributes")
        .and_then(|()| tree::copy_attributes(base.as_fd(), top.as_fd()))
        .map_err(failed("set the attributes of", &upper))?;
    step("rename", || rustix::fs::renameat(dir, UNREADY, dir, UPPER)).map_err(failed("rename", &upper))
}

fn step(name: &'static str, call: impl FnOnce() -> rustix::io::Result<()>) -> std::io::Result<()> {
    effect::point(name)?;
    Ok(call()?)
}

/// Empties the left-over of a begin that crashed.
fn clear(dir: &File) -> std::io::Result<()> {
    [UNREADY, WORK, LOWER].iter().try_for_each(|name| tree::remove_tree(dir.as_fd(), OsStr::new(name)))
}

/// Takes a failed clone away; what stays is a left-over that the next clone takes over and a drop removes.
fn undo(store: &DirStore, session: &SessionId) {
    let removed = file::open_dir(&store.sessions_folder()).map_err(Error::from).and_then(|folder| {
        tree::remove_tree(folder.as_fd(), OsStr::new(session.as_str()))
            .map_err(failed("remove", &store.session(session)))
    });
    if let Err(error) = removed {
        tracing::warn!(%session, "a half-made session stays: {error}");
    }
}

pub(super) fn drop(store: &DirStore, session: &SessionId) -> Result<Outcome> {
    let path = store.session(session);
    let busy = |why| Err(Error::new(ErrorKind::Busy, "drop", path.display().to_string(), why));
    match claim::hold_patiently(&path, PATIENCE)? {
        Hold::Absent => Ok(Outcome::Unchanged),
        Hold::Taken => busy("somebody makes or drops it just now"),
        Hold::Held(_) if mount::is_upper(&[&path.join(UPPER), &memory::upper_of(&path)])? => {
            busy("it is mounted")
        }
        Hold::Held(dir) => {
            memory::clear(&path)?;
            trash::discard(store, &path, dir).map(|()| Outcome::Changed)
        }
    }
}

pub(super) fn list(store: &DirStore) -> Result<Vec<SessionTree>> {
    let mut sessions = Vec::new();
    for id in place::names::<SessionId>(&store.sessions_folder())? {
        // Gone meanwhile.
        let Some(stat) = file::stat(&store.session(&id))? else { continue };
        let created = stat.created().or_else(|_| stat.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
        sessions.push(SessionTree { id, created });
    }
    Ok(sessions)
}

/// Lets a session be found again after a power cut: it does not survive because its record, in another directory, is
/// flushed (on btrfs, or where the store is a file system of its own).
pub(super) fn sync(path: &Path) -> Result<()> {
    file::sync_dir(&path.join(UPPER))?;
    file::sync_dir(path)?;
    Ok(file::sync_parent(path)?)
}

/// What a session is a clone of; `None` if there is no such session, or it is not ready.
pub(super) fn ready_base(store: &DirStore, session: &SessionId) -> Result<Option<Base>> {
    let path = store.session(session);
    match base(&path)? {
        Some(base) if file::stat(&path.join(UPPER))?.is_some() => Ok(Some(base)),
        _ => Ok(None),
    }
}

fn base(path: &Path) -> Result<Option<Base>> {
    let link = path.join(LOWER);
    let Some(target) = file::read_link_if_there(&link)? else { return Ok(None) };
    target.to_str().and_then(Base::parse).map(Some).ok_or_else(|| {
        let why = format!("it points to {}, which is no version", target.display());
        Error::new(ErrorKind::Other, "read", link.display().to_string(), why)
    })
}

/// What all sessions are clones of, ready or not.
pub(super) fn bases(store: &DirStore) -> Result<Vec<Base>> {
    let folder = store.sessions_folder();
    let bases = file::list(&folder)?.into_iter().map(|name| base(&folder.join(name)));
    bases.filter_map(Result::transpose).collect()
}

/// The sessions that are clones of an image, ready or not.
pub(super) fn of_image(store: &DirStore, image: &Digest) -> Result<Vec<SessionId>> {
    let mut found = Vec::new();
    for id in place::names::<SessionId>(&store.sessions_folder())? {
        if matches!(base(&store.session(&id))?, Some(Base::Image(of)) if of == *image) {
            found.push(id);
        }
    }
    Ok(found)
}

/// The versions of a template, each with a session that is a clone of it.
pub(super) fn holds(store: &DirStore, template: &TemplateName) -> Result<Vec<(VersionId, SessionId)>> {
    let mut found = Vec::new();
    for id in place::names::<SessionId>(&store.sessions_folder())? {
        match base(&store.session(&id))? {
            Some(Base::Version(of, version)) if of == *template => found.push((version, id)),
            _ => {}
        }
    }
    Ok(found)
}

/// Which versions of a template sessions refer to, ready or not.
pub(super) fn references(store: &DirStore, template: &TemplateName) -> Result<BTreeSet<VersionId>> {
    let of_template = |base| match base {
        Base::Version(of, version) if of == *template => Some(version),
        Base::Version(..) | Base::Image(_) => None,
    };
    Ok(bases(store)?.into_iter().filter_map(of_template).collect())
}

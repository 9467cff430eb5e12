//! The store on directories: versions are directories, sessions are overlays on them.
//!
//! ```text
//! STORE = /var/lib/zchroot/store, all folders 0700: a tree is reached through its mount only
//! STORE/drafts/NAME/VID             a version that is being made
//! STORE/drafts/NAME/.making-VID     ... whose copy is not whole yet; flock(2) by whoever makes it
//! STORE/templates/NAME/VID          a complete version, never written again
//! STORE/templates/NAME/.dropped-VID ... that settle is about to drop
//! STORE/sessions/ID/lower           symlink ../../templates/NAME/VID: what the session is a clone of
//! STORE/sessions/ID/{upper,work}    the overlay's; the session's tree is there once `upper` is
//! STORE/images/SHA256               an unpacked archive; image.rs has the rest
//! STORE/trash/                      what is being deleted
//! STORE/reserve                     room to clear up in when the file system is full
//! ```
//!
//! **What is complete.** The pointer ([`pointer`](crate::store::pointer)) is the truth. A version is complete
//! if its tree stands under `templates/`, or if the pointer names it. Nothing enters `templates/` before the
//! pointer that names it is on the disk, so whatever stands there was current once.
//!
//! **Commit**, under the lock of the template's trees:
//!
//! | # | step | crash after it |
//! |---|---|---|
//! | 1 | the tree of the base, should it still lie in `drafts/`, is renamed to `templates/` | nothing changed |
//! | 2 | compare the pointer with the base; syncfs of the draft | nothing changed |
//! | 3 | **COMMIT**: the pointer is renamed over, its directory fsynced | committed; the tree lies in `drafts/` and is found there, because the pointer names it |
//! | 4 | rename `drafts/NAME/VID` to `templates/NAME/VID`, fsync both folders | done |
//!
//! Step 4 is finished by whoever takes the lock next: a repeated publish, the next one (its step 1), settle.
//! If the pointer were flipped last instead, a crash before it would leave a tree in `templates/` of which
//! nobody could say whether it had been current.
//!
//! **Locks.** [`publish`](crate::store::Store::publish), [`settle`](crate::store::Store::settle) and
//! [`draft_drop`](crate::store::Store::draft_drop) take a lock of this store's own (`trees-NAME`, after any
//! lock that their caller holds). The path of begin takes none but an flock on the session's own directory,
//! which keeps a left-over of a crash apart from a clone that is being made. Whatever is removed is flocked,
//! renamed into `trash/` under the lock, and removed there once the lock is let go; init and settle empty what a
//! crash left, but not what is flocked.
//!
//! **Why no session loses its version** without a lock: see `session.rs`.
//!
//! **Durability.** Versions, the pointer, copies that drafts are made of and images survive a power cut; a session does,
//! with what the file system kept of its writes, unless it was mounted as one that may be lost.

mod claim;
mod commit;
mod draft;
mod image;
mod memory;
mod mount;
pub(crate) mod overlay;
mod place;
mod reserve;
mod session;
mod settle;
mod trash;
mod written;

use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::store::{
    Error, ErrorKind, Head, Kind, Layout, MountOptions, Outcome, Progress, Published, Reserve, Result,
    SessionId, SessionTree, Settled, Space, Store, TemplateName, Tree, VersionId, pointer,
};
use crate::sys::{effect, file, tree};
pub(crate) use mount::{bind, is_upper};
use session::Base;

/// The store on directories.
#[derive(Debug, Clone)]
pub struct DirStore {
    layout: Layout,
    reserve: u64,
}

impl DirStore {
    /// The store of an installation. Nothing is touched before the first call.
    #[must_use]
    pub fn open(layout: &Layout) -> Self {
        Self { layout: layout.clone(), reserve: 0 }
    }

    /// The store of an installation with so many bytes of reserve.
    #[must_use]
    pub fn with_reserve(layout: &Layout, bytes: u64) -> Self {
        Self { layout: layout.clone(), reserve: bytes }
    }
}

impl Store for DirStore {
    fn kind(&self) -> Kind {
        Kind::Dir
    }

    fn name(&self) -> String {
        self.layout.dir_store().display().to_string()
    }

    fn init(&self) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        let store = self.layout.dir_store();
        let closed =
            ["", "images", "templates", "drafts", "sessions", "trash"].map(|name| (store.join(name), 0o700));
        let all = [(self.layout.state(), 0o755), (self.layout.templates(), 0o755)];
        for (path, mode) in all.into_iter().chain(closed) {
            if file::make_dirs(&path, mode)? {
                lines.push(format!("made directory {}", path.display()));
            }
        }
        let left = trash::empty(self)?;
        if left > 0 {
            lines.push(format!("emptied the trash: {left} left-over trees"));
        }
        Ok(lines)
    }

    fn space(&self) -> Result<Space> {
        let store = self.layout.dir_store();
        // Before the first use the store is not there, but the file system is.
        for path in store.ancestors() {
            match fs2::statvfs(path) {
                Ok(stat) => {
                    return Ok(Space { available: stat.available_space(), total: stat.total_space() });
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(Error::io("read the free space of", self.name(), error)),
            }
        }
        Err(Error::new(ErrorKind::Gone, "read the free space of", self.name(), "there is no such path"))
    }

    fn wait_freed(&self, _patience: Duration) -> Result<()> {
        // Some file systems give back what was deleted with their next commit only.
        let store = self.layout.dir_store();
        let folder = file::open_dir(&store)?;
        effect::point("syncfs")
            .and_then(|()| Ok(rustix::fs::syncfs(&folder)?))
            .map_err(failed("sync", &store))
    }

    fn reserve(&self) -> Result<Reserve> {
        self.reserve_state()
    }

    fn release_reserve(&self) -> Result<Outcome> {
        self.drop_reserve()
    }

    fn lay_reserve(&self) -> Result<Outcome> {
        self.allocate_reserve()
    }

    fn templates(&self) -> Result<Vec<TemplateName>> {
        Ok(place::names(&self.layout.dir_store().join("templates"))?)
    }

    fn heads(&self, template: &TemplateName) -> Result<Vec<Head>> {
        draft::heads(self, template)
    }

    fn current(&self, template: &TemplateName) -> Result<Option<VersionId>> {
        pointer::read(&self.layout, template)
    }

    fn current_is_pointer(&self) -> bool {
        true
    }

    fn draft_new(&self, template: &TemplateName, draft: &VersionId) -> Result<()> {
        draft::make(self, template, draft, |_| Ok(()))
    }

    fn draft_clone(
        &self,
        template: &TemplateName,
        draft: &VersionId,
        base: &VersionId,
        progress: &mut dyn Progress,
    ) -> Result<()> {
        draft::make_copy(self, template, draft, base, progress)
    }

    fn draft_drop(&self, template: &TemplateName, draft: &VersionId) -> Result<Outcome> {
        draft::drop(self, template, draft)
    }

    fn publish(
        &self,
        template: &TemplateName,
        draft: &VersionId,
        base: Option<&VersionId>,
    ) -> Result<Published> {
        commit::publish(self, template, draft, base)
    }

    fn settle(&self, template: &TemplateName, may_go: &dyn Fn(&VersionId) -> bool) -> Result<Settled> {
        settle::settle(self, template, may_go)
    }

    fn session_clone(&self, template: &TemplateName, version: &VersionId, session: &SessionId) -> Result<()> {
        session::clone(self, &Base::Version(template.clone(), version.clone()), session)
    }

    fn session_clone_draft(
        &self,
        template: &TemplateName,
        draft: &VersionId,
        session: &SessionId,
    ) -> Result<()> {
        session::clone_draft(self, template, draft, session)
    }

    fn session_drop(&self, session: &SessionId) -> Result<Outcome> {
        session::drop(self, session)
    }

    fn holds(&self, template: &TemplateName) -> Result<Vec<(VersionId, SessionId)>> {
        session::holds(self, template)
    }

    fn sessions(&self) -> Result<Vec<SessionTree>> {
        session::list(self)
    }

    fn mount(&self, tree: &Tree, at: &Path, options: MountOptions) -> Result<()> {
        mount::mount(self, tree, at, options)
    }

    fn look_at(
        &self,
        template: &TemplateName,
        version: &VersionId,
        look: &mut dyn FnMut(BorrowedFd<'_>),
    ) -> Result<()> {
        let found = place::complete(self, template, version)?;
        let (_, dir) = found.ok_or_else(|| gone("look at", &self.version(template, version)))?;
        look(dir.as_fd());
        Ok(())
    }

    fn written(&self, session: &SessionId) -> Result<Option<tree::Guide>> {
        written::guide(self, session)
    }

    fn used(&self, tree: &Tree) -> Result<u64> {
        let path = place::tree(self, tree)?;
        let top = file::open_dir(&path)?;
        tree::tree_size(top.as_fd()).map_err(|error| Error::io("measure", path.display().to_string(), error))
    }
}

/// A tree that is not there.
fn gone(op: &'static str, path: &Path) -> Error {
    Error::io(op, path.display().to_string(), rustix::io::Errno::NOENT.into())
}

fn failed(op: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let object: PathBuf = path.to_owned();
    move |source| Error::io(op, object.display().to_string(), source)
}

#[cfg(test)]
mod tests;

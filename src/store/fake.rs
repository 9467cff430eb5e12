//! A store for tests: ZFS as a model in memory, trees as plain directories.
//!
//! It needs no root and no pool, goes the steps of the store on ZFS (flip, then promote, then destroy with
//! defer), and can fail or crash at every effect ([`effect`](crate::sys::effect)). The model outlives an
//! injected crash as a pool would: handles are clones that share it.
//!
//! Without root, [`FakeStore::mount`] puts a symlink to the tree in the place of the empty directory, and the tree
//! is busy until [`FakeStore::unmount`]; there are no read-only and `nosuid` mounts then. A store made by
//! [`FakeStore::with_mounts`] mounts as the kernel does (by bind), so that sessions can stand on it.

#![expect(clippy::disallowed_methods, reason = "stands in for mount(2); tests only")]

mod image;
mod pool;

use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{Mode, OFlags};

use super::{
    Error, ErrorKind, Head, Kind, MountOptions, Outcome, Progress, Published, Reserve, Result, SessionId,
    SessionTree, Settled, Space, Store, TemplateName, Tree, VersionId,
};
use crate::sys::mount::{Access, Detached};
use crate::sys::{effect, tree};
use pool::{Pool, SnapshotName};

const TEMPLATES: &str = "templates";
const SESSIONS: &str = "sessions";

/// A store in memory; its clones are handles of the same store.
#[derive(Debug, Clone)]
pub struct FakeStore {
    pool: Arc<Mutex<Pool>>,
    space: Arc<Mutex<Space>>,
    reserve: Arc<Mutex<Reserve>>,
    laid_before_the_next_look: Arc<AtomicBool>,
    folder: PathBuf,
}

fn container(template: &TemplateName) -> String {
    format!("{TEMPLATES}/{template}")
}

fn head_name(template: &TemplateName, version: &VersionId) -> String {
    format!("{TEMPLATES}/{template}/{version}")
}

fn session_name(session: &SessionId) -> String {
    format!("{SESSIONS}/{session}")
}

fn failed(op: &'static str, object: &str) -> impl FnOnce(io::Error) -> Error {
    let object = object.to_owned();
    move |source| Error::io(op, object, source)
}

fn refused(kind: ErrorKind, op: &'static str, object: &str, why: &str) -> Error {
    Error::new(kind, op, object, why)
}

fn access(read_only: bool, options: MountOptions) -> Access {
    Access { read_only, no_exec: false, allow_suid: !options.nosuid, allow_dev: !options.nodev }
}

fn bind(path: &Path, at: &Path, access: Access) -> io::Result<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let point = rustix::fs::open(at, flags, Mode::empty())?;
    Detached::bind(path, false, access)?.attach(point.as_fd())?;
    Ok(())
}

impl FakeStore {
    /// An empty store whose trees lie in `folder`.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        let space = Space { available: 100 << 30, total: 200 << 30 };
        Self {
            pool: Arc::new(Mutex::new(Pool::new(folder))),
            space: Arc::new(Mutex::new(space)),
            reserve: Arc::default(),
            laid_before_the_next_look: Arc::default(),
            folder: folder.to_owned(),
        }
    }

    /// As [`FakeStore::new`] with mounts of the kernel's, which take root: whoever unmounts them, unmounts them.
    #[must_use]
    pub fn with_mounts(folder: &Path) -> Self {
        let store = Self::new(folder);
        store.pool().real_mounts = true;
        store
    }

    /// The names of all datasets and snapshots, sorted: for tests of what is left.
    #[must_use]
    pub fn datasets(&self) -> Vec<String> {
        let pool = self.pool();
        let mut names: Vec<String> = pool.datasets.keys().cloned().collect();
        for (name, dataset) in &pool.datasets {
            names.extend(dataset.snapshots.iter().map(|snapshot| format!("{name}@{}", snapshot.name)));
        }
        names.sort();
        names
    }

    /// Sets how much [`Store::reserve`] should be.
    pub fn set_reserve(&self, size: u64) {
        self.reserve.lock().unwrap_or_else(PoisonError::into_inner).size = size;
    }

    /// Sets what [`Store::space`] says.
    pub fn set_space(&self, space: Space) {
        *self.space.lock().unwrap_or_else(PoisonError::into_inner) = space;
    }

    /// Has somebody else lay the reserve right before [`Store::space`] answers the next time.
    pub fn lay_before_the_next_look(&self) {
        self.laid_before_the_next_look.store(true, Ordering::Relaxed);
    }

    fn lay_bytes(&self, bytes: u64) -> Result<Outcome> {
        let mut reserve = self.reserve.lock().unwrap_or_else(PoisonError::into_inner);
        if reserve.laid == bytes {
            return Ok(Outcome::Unchanged);
        }
        reserve.laid = bytes;
        Ok(Outcome::Changed)
    }

    /// Where the bytes of a tree lie, `None` if there is no such tree.
    #[must_use]
    pub fn path(&self, tree: &Tree) -> Option<PathBuf> {
        let pool = self.pool();
        let head = |name: &str| pool.datasets.get(name)?.bytes.clone();
        match tree {
            Tree::Session(session) => head(&session_name(session)),
            Tree::Draft(template, draft) => head(&head_name(template, draft)),
            Tree::Image(image) => match pool.snapshot(&image::snapshot(image)) {
                Ok(pristine) => Some(pristine.bytes.clone()),
                Err(_) => head(&image::dataset(image)),
            },
            Tree::Version(template, version) => {
                let snapshot = pool.find(&container(template), version.as_str())?;
                Some(pool.snapshot(&snapshot).ok()?.bytes.clone())
            }
        }
    }

    /// Undoes [`Store::mount`]: the symlink becomes an empty directory again.
    ///
    /// # Errors
    /// `EINVAL` if nothing is mounted there.
    pub fn unmount(&self, at: &Path) -> io::Result<()> {
        let mut pool = self.pool();
        if pool.mounts.remove(at).is_none() {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        std::fs::remove_file(at)?;
        std::fs::create_dir(at)
    }

    /// What is cloned from what, one line a clone: for tests of what promote moves.
    #[must_use]
    pub fn origins(&self) -> Vec<String> {
        let pool = self.pool();
        let line = |(name, dataset): (&String, &pool::Dataset)| {
            let origin = dataset.origin.as_ref()?;
            Some(format!("{name} <- {}@{}", origin.dataset, origin.snapshot))
        };
        pool.datasets.iter().filter_map(line).collect()
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        // An injected crash unwinds through the lock; the model is whole all the same.
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn make_draft(
        &self,
        template: &TemplateName,
        draft: &VersionId,
        make: impl FnOnce(&mut Pool, &str) -> io::Result<()>,
    ) -> Result<()> {
        let name = head_name(template, draft);
        let mut pool = self.pool();
        if pool.find(&container(template), draft.as_str()).is_some() {
            return Err(refused(ErrorKind::Exists, "make draft", &name, "it is a complete version"));
        }
        pool.create_container(&container(template)).map_err(failed("make", &container(template)))?;
        make(&mut pool, &name).map_err(failed("make draft", &name))
    }

    fn find(&self, template: &TemplateName, version: &VersionId) -> Result<SnapshotName> {
        let gone = || refused(ErrorKind::Gone, "find", &head_name(template, version), "no such snapshot");
        self.pool().find(&container(template), version.as_str()).ok_or_else(gone)
    }

    /// Promotes the current version until no head of the template is its origin.
    fn flatten(pool: &mut Pool, template: &TemplateName, settled: &mut Settled) {
        let container = container(template);
        let Some(current) = pool.datasets.get(&container).and_then(|it| it.current.clone()) else { return };
        let head = format!("{container}/{current}");
        let below = format!("{container}/");
        for _ in 0..pool.datasets.len() {
            let inside = |origin: &SnapshotName| origin.dataset.starts_with(&below);
            if !pool.datasets.get(&head).and_then(|it| it.origin.as_ref()).is_some_and(inside) {
                break;
            }
            if let Err(error) = pool.promote(&head) {
                settled.deferred.push(format!("promote {head}: {error}"));
                return;
            }
        }
    }

    /// Destroys the heads of former versions that no snapshot is in any more; a draft never was a version.
    fn drop_former_heads(
        pool: &mut Pool,
        template: &TemplateName,
        former: &[(VersionId, SnapshotName)],
        settled: &mut Settled,
    ) {
        let current = pool.datasets.get(&container(template)).and_then(|it| it.current.clone());
        for (version, _) in former.iter().filter(|(version, _)| current.as_deref() != Some(version.as_str()))
        {
            let name = head_name(template, version);
            if pool.datasets.get(&name).is_some_and(|it| it.snapshots.is_empty())
                && let Err(error) = pool.destroy(&name)
            {
                settled.deferred.push(format!("destroy {name}: {error}"));
            }
        }
    }

    fn versions(pool: &Pool, template: &TemplateName) -> Vec<(VersionId, SnapshotName)> {
        let below = format!("{}/", container(template));
        let heads = pool.datasets.iter().filter(|(name, _)| name.starts_with(&below));
        let snapshots = heads.flat_map(|(name, dataset)| {
            dataset.snapshots.iter().filter_map(|snapshot| {
                let full = SnapshotName { dataset: name.clone(), snapshot: snapshot.name.clone() };
                Some((snapshot.name.parse().ok()?, full))
            })
        });
        snapshots.collect()
    }
}

impl Store for FakeStore {
    fn kind(&self) -> Kind {
        Kind::Zfs
    }

    fn name(&self) -> String {
        format!("fake:{}", self.folder.display())
    }

    fn init(&self) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        if self.pool().create_container(TEMPLATES).map_err(failed("make", TEMPLATES))? {
            lines.push(format!("made dataset {TEMPLATES}"));
        }
        // Whose property is `sync=disabled`.
        if self.pool().create_with_properties(SESSIONS).map_err(failed("make", SESSIONS))? {
            lines.push(format!("made dataset {SESSIONS}"));
        }
        Ok(lines)
    }

    fn space(&self) -> Result<Space> {
        let mut space = self.space.lock().unwrap_or_else(PoisonError::into_inner);
        if self.laid_before_the_next_look.swap(false, Ordering::Relaxed) {
            self.lay_reserve()?;
            space.available -= self.reserve()?.laid;
        }
        Ok(*space)
    }

    fn reserve(&self) -> Result<Reserve> {
        Ok(*self.reserve.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn release_reserve(&self) -> Result<Outcome> {
        self.lay_bytes(0)
    }

    fn lay_reserve(&self) -> Result<Outcome> {
        self.lay_bytes(self.reserve()?.size)
    }

    fn templates(&self) -> Result<Vec<TemplateName>> {
        let pool = self.pool();
        let names = pool.datasets.keys().filter_map(|name| name.strip_prefix("templates/"));
        Ok(names.filter_map(|name| name.parse().ok()).collect())
    }

    fn heads(&self, template: &TemplateName) -> Result<Vec<Head>> {
        let pool = self.pool();
        let mut heads = Vec::new();
        for (id, snapshot) in Self::versions(&pool, template) {
            let found = pool.snapshot(&snapshot).map_err(failed("list", &snapshot.dataset))?;
            // One that leaves with its last clone is no version that can be asked for.
            if !found.deferred {
                heads.push(Head { id, complete: true, created: found.created });
            }
        }
        let below = format!("{}/", container(template));
        for (name, dataset) in &pool.datasets {
            let Some(Ok(id)) = name.strip_prefix(&below).map(str::parse::<VersionId>) else { continue };
            if heads.iter().all(|head| head.id != id) {
                heads.push(Head { id, complete: false, created: dataset.created });
            }
        }
        heads.sort_by(|one, other| one.id.cmp(&other.id));
        Ok(heads)
    }

    fn current(&self, template: &TemplateName) -> Result<Option<VersionId>> {
        let pool = self.pool();
        let current = pool.datasets.get(&container(template)).and_then(|it| it.current.clone());
        Ok(current.and_then(|current| current.parse().ok()))
    }

    fn draft_new(&self, template: &TemplateName, draft: &VersionId) -> Result<()> {
        self.make_draft(template, draft, Pool::create)
    }

    fn draft_clone(
        &self,
        template: &TemplateName,
        draft: &VersionId,
        base: &VersionId,
        progress: &mut dyn Progress,
    ) -> Result<()> {
        let origin = self.find(template, base)?;
        progress.start(&format!("cloning {template} {base}"), None);
        let made = self.make_draft(template, draft, |pool, name| {
            pool.clone_snapshot(&origin, name, &mut |bytes| progress.advance(bytes))
        });
        progress.finish();
        made
    }

    fn draft_drop(&self, template: &TemplateName, draft: &VersionId) -> Result<Outcome> {
        let name = head_name(template, draft);
        let mut pool = self.pool();
        if pool.find(&container(template), draft.as_str()).is_some() {
            return Err(refused(ErrorKind::Exists, "drop draft", &name, "it is a complete version"));
        }
        if !pool.datasets.contains_key(&name) {
            return Ok(Outcome::Unchanged);
        }
        pool.destroy(&name).map_err(failed("drop draft", &name)).map(|()| Outcome::Changed)
    }

    fn publish(
        &self,
        template: &TemplateName,
        draft: &VersionId,
        base: Option<&VersionId>,
    ) -> Result<Published> {
        if self.current(template)?.as_ref() == Some(draft) {
            return Ok(Published::Committed);
        }
        let name = head_name(template, draft);
        if self.pool().find(&container(template), draft.as_str()).is_some() {
            return Err(refused(ErrorKind::Gone, "publish", &name, "it is no draft any more"));
        }
        let committed =
            self.pool().commit(&container(template), draft.as_str(), base.map(super::VersionId::as_str));
        if committed.map_err(failed("publish", &name))? {
            return Ok(Published::Committed);
        }
        Ok(Published::Conflict { current: self.current(template)? })
    }

    fn settle(&self, template: &TemplateName, may_go: &dyn Fn(&VersionId) -> bool) -> Result<Settled> {
        let mut settled = Settled::default();
        let current = self.current(template)?;
        let mut pool = self.pool();
        let former = Self::versions(&pool, template);
        Self::flatten(&mut pool, template, &mut settled);
        Self::drop_former_heads(&mut pool, template, &former, &mut settled);
        for (version, name) in Self::versions(&pool, template) {
            if !may_go(&version) || current.as_ref() == Some(&version) {
                continue;
            }
            // A head without its snapshot is what a draft looks like: it goes with it, and last.
            if pool.datasets.contains_key(&head_name(template, &version)) {
                continue;
            }
            match pool.destroy_deferred(&name) {
                Ok(true) => settled.dropped.push(version),
                Ok(false) => settled.deferred.push(format!("{template} {version}: it has clones")),
                Err(error) => settled.deferred.push(format!("{template} {version}: {error}")),
            }
        }
        for (version, _) in former {
            let name = head_name(template, &version);
            if !may_go(&version) || current.as_ref() == Some(&version) || !pool.datasets.contains_key(&name) {
                continue;
            }
            match pool.retire(&name, version.as_str()) {
                Ok(true) => settled.dropped.push(version),
                Ok(false) => {}
                Err(error) => settled.deferred.push(format!("{template} {version}: {error}")),
            }
        }
        Ok(settled)
    }

    fn session_clone(&self, template: &TemplateName, version: &VersionId, session: &SessionId) -> Result<()> {
        let name = session_name(session);
        let origin = self.find(template, version)?;
        self.pool().clone_snapshot(&origin, &name, &mut |_| {}).map_err(failed("clone", &name))
    }

    fn session_clone_draft(
        &self,
        template: &TemplateName,
        draft: &VersionId,
        session: &SessionId,
    ) -> Result<()> {
        let (head, name) = (head_name(template, draft), session_name(session));
        let mut pool = self.pool();
        if pool.find(&container(template), draft.as_str()).is_some() {
            return Err(refused(ErrorKind::Gone, "clone", &head, "it is no draft any more"));
        }
        pool.copy(&head, &name).map_err(failed("clone", &name))
    }

    fn session_drop(&self, session: &SessionId) -> Result<Outcome> {
        let name = session_name(session);
        let mut pool = self.pool();
        if !pool.datasets.contains_key(&name) {
            return Ok(Outcome::Unchanged);
        }
        pool.destroy(&name).map_err(failed("drop", &name)).map(|()| Outcome::Changed)
    }

    fn sessions(&self) -> Result<Vec<SessionTree>> {
        let pool = self.pool();
        let tree = |(name, dataset): (&String, &pool::Dataset)| {
            let id = name.strip_prefix("sessions/")?.parse().ok()?;
            Some(SessionTree { id, created: dataset.created })
        };
        Ok(pool.datasets.iter().filter_map(tree).collect())
    }

    fn mount(&self, tree: &Tree, at: &Path, options: MountOptions) -> Result<()> {
        let object = at.display().to_string();
        let gone = || refused(ErrorKind::Gone, "mount", &format!("{tree:?}"), "there is no such tree");
        let path = self.path(tree).ok_or_else(gone)?;
        if self.pool().real_mounts {
            let read_only = match tree {
                Tree::Version(..) => true,
                Tree::Image(image) => self.pool().snapshot(&image::snapshot(image)).is_ok(),
                Tree::Session(_) | Tree::Draft(..) => false,
            };
            return bind(&path, at, access(read_only, options)).map_err(failed("mount at", &object));
        }
        effect::point("mount").map_err(failed("mount at", &object))?;
        std::fs::remove_dir(at)
            .and_then(|()| std::os::unix::fs::symlink(&path, at))
            .map_err(failed("mount at", &object))?;
        self.pool().mounts.insert(at.to_owned(), path);
        Ok(())
    }

    fn look_at(
        &self,
        template: &TemplateName,
        version: &VersionId,
        look: &mut dyn FnMut(std::os::fd::BorrowedFd<'_>),
    ) -> Result<()> {
        let tree = Tree::Version(template.clone(), version.clone());
        let gone = || refused(ErrorKind::Gone, "look at", &format!("{tree:?}"), "there is no such tree");
        let top = crate::sys::file::open_dir(&self.path(&tree).ok_or_else(gone)?)?;
        look(std::os::fd::AsFd::as_fd(&top));
        Ok(())
    }

    fn used(&self, tree: &Tree) -> Result<u64> {
        let object = format!("{tree:?}");
        let gone = || refused(ErrorKind::Gone, "measure", &object, "there is no such tree");
        let path = self.path(tree).ok_or_else(gone)?;
        let top = crate::sys::file::open_dir(&path)?;
        tree::tree_size(std::os::fd::AsFd::as_fd(&top)).map_err(failed("measure", &object))
    }
}

#[cfg(test)]
mod tests;

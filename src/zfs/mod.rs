//! The store on ZFS.
//!
//! Layout, all inherited, nothing set per clone (a property on a clone is a second transaction, not atomic):
//!
//! ```text
//! BASE/zchroot                     mountpoint=none atime=off; nothing ever mounts by itself
//! BASE/zchroot/state               mounted at /var/lib/zchroot: records and pointers move with the pool
//! BASE/zchroot/images/SHA256       an unpacked archive; complete iff its snapshot @pristine exists
//! BASE/zchroot/templates/NAME      container, never mounted; user property zchroot:current = VID, the truth
//! BASE/zchroot/templates/NAME/VID  a head; complete iff the snapshot @VID exists, here or on a later head
//! BASE/zchroot/sessions            sync=disabled
//! BASE/zchroot/sessions/ID         a clone of a version
//! BASE/zchroot/reserve             refreservation: room to recover in when the pool is full
//! ```
//!
//! Locking: none here. The pool orders all changes; [`Store::publish`] compares and swaps in one transaction
//! group. Reading is done by channel programs that see the pool at one instant.
//!
//! Crash rule: each call is one transaction group at a time, in an order in which every prefix is a state
//! that the same call, repeated, completes. Heads without a snapshot are drafts and belong to whoever's
//! record names them. A successor is promoted only by [`Store::settle`], after everybody was pointed to it:
//! promoting moves the old snapshot, and a reader on its way to it would miss.

mod adopt;
mod engine;
mod ffi;
mod image;
mod listing;
mod look;
mod names;
pub(crate) mod outside;
mod settle;
mod setup;
mod trial;

use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

use crate::store::{
    Error, ErrorKind, Head, Kind, Layout, MountOptions, Outcome, Progress, Published, Reserve, Result,
    SessionId, SessionTree, Settled, Space, Store, TemplateName, Tree, VersionId,
};
use crate::sys::file;
use engine::Engine;
use listing::{Listing, Malformed, Room, Verdict};
use names::Names;

const PUBLISH: &str = include_str!("programs/publish.lua");
const HEADS: &str = include_str!("programs/heads.lua");
const CURRENT: &str = include_str!("programs/current.lua");
const CHILDREN: &str = include_str!("programs/children.lua");
const RETIRE: &str = include_str!("programs/retire.lua");
const ROOM: &str = include_str!("programs/room.lua");

/// How often a version is looked up anew when a commit moves it away under the caller's hands.
const LOOKUPS: u32 = 8;
/// So many looks in a row at which nothing more has become free; between two of them lie three transaction groups.
const STILL: u32 = 2;
/// How long a tree may stay busy after its last mount is gone: the kernel lets go when it has written what was dirty,
/// which takes seconds on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

/// A store on one pool.
#[derive(Debug)]
pub struct ZfsStore {
    engine: Engine,
    names: Names,
    layout: Layout,
    reserve: u64,
}

impl ZfsStore {
    /// Opens the store `BASE/zchroot`, where `base` is a pool or a dataset of one; `reserve` is the size of the
    /// reserve in bytes, 0 for none. If the store is laid out, its state is mounted.
    ///
    /// # Errors
    /// The zfs module is not loaded ([`ErrorKind::Unsupported`]), `base` is no usable name, or the state cannot
    /// be mounted. That the pool is absent shows at the first use.
    pub fn open(base: &str, layout: &Layout, reserve: u64) -> Result<Self> {
        let names = Names::under(base)?;
        let engine = Engine::open(names.pool())?;
        let store = Self { engine, names, layout: layout.clone(), reserve };
        if store.engine.exists(&store.names.state()) {
            store.ensure_state_mounted()?;
        }
        Ok(store)
    }

    fn listing(&self, template: &TemplateName) -> Result<Listing> {
        let container = self.names.container(template);
        let text = self.engine.read(&container, HEADS, &[("t", &container)])?;
        let mut listing = decoded(&container, Listing::decode(&text))?;
        // Where nothing is known of any version its state is lost, and no name tells more than another.
        let known = file::list(&self.layout.versions(template))?;
        if !known.is_empty() {
            listing.set_aside(|name| known.binary_search(&format!("{name}.toml")).is_ok());
        }
        Ok(listing)
    }

    fn room(&self, dataset: &str) -> Result<Option<Room>> {
        let text = self.engine.read(dataset, ROOM, &[("d", dataset)])?;
        decoded(dataset, Room::decode(&text))
    }

    /// The names right under a dataset of the layout that parse as `T`; other names are none of ours.
    fn children<T: std::str::FromStr>(&self, dataset: &str) -> Result<Vec<(T, SystemTime)>> {
        let text = self.engine.read(dataset, CHILDREN, &[("d", dataset)])?;
        let Some(children) = decoded(dataset, listing::children(&text))? else {
            return Err(self.not_laid_out("read", dataset));
        };
        Ok(children.into_iter().filter_map(|(name, made)| Some((name.parse().ok()?, made))).collect())
    }

    fn not_laid_out(&self, op: &'static str, dataset: &str) -> Error {
        let why = if self.engine.exists(self.names.pool()) {
            "the store is not laid out".to_owned()
        } else {
            engine::no_pool(self.names.pool())
        };
        Error::new(ErrorKind::Other, op, dataset, why)
    }

    /// Tries something on the snapshot of a version. A settle may move that meanwhile, never away from the
    /// template: on ENOENT it is looked up and tried again.
    fn at_version<T>(
        &self,
        op: &'static str,
        template: &TemplateName,
        version: &VersionId,
        mut attempt: impl FnMut(&str) -> io::Result<T>,
    ) -> Result<T> {
        let first = self.names.snapshot(template, version);
        let mut snapshot = first.clone();
        for round in 0..LOOKUPS {
            match attempt(&snapshot) {
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
                other => return other.map_err(|error| Error::io(op, snapshot, error)),
            }
            let listing = self.listing(template)?;
            let Some(place) = listing.place(version) else {
                return Err(Error::new(ErrorKind::Gone, op, first, "there is no such version"));
            };
            snapshot = format!("{}@{version}", self.names.head(template, &place.head));
            tracing::debug!(%template, %version, %snapshot, "the version moved to another head, trying again");
            // The first lookup is for a version that an earlier commit moved: nothing to wait for.
            sleep(Duration::from_millis(u64::from(round) * 5));
        }
        Err(self.not_laid_out(op, &snapshot))
    }

    /// The container of a template's heads, made for the first of them.
    fn ensure_container(&self, template: &TemplateName) -> Result<()> {
        let container = self.names.container(template);
        if !self.engine.exists(&container) {
            match self.engine.create(&container) {
                Ok(()) => {}
                Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {}
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {
                    return Err(self.not_laid_out("create", &container));
                }
                Err(error) => return Err(Error::io("create", container, error)),
            }
        }
        Ok(())
    }

    /// Refuses a name that a draft or version has or had.
    fn refuse_taken(&self, op: &'static str, template: &TemplateName, draft: &VersionId) -> Result<()> {
        let listing = self.listing(template)?;
        if listing.is_taken(draft) || listing.head(draft).is_some() {
            let object = self.names.head(template, draft);
            return Err(Error::io(op, object, io::Error::from_raw_os_error(libc::EEXIST)));
        }
        Ok(())
    }

    /// Whether users can write nothing more to the store.
    fn is_full(&self) -> bool {
        matches!(self.room(self.names.root()), Ok(Some(Room { available: 0, .. })))
    }
}

fn decoded<T>(object: &str, result: std::result::Result<T, Malformed>) -> Result<T> {
    result.map_err(|error| Error::new(ErrorKind::Other, "read", object, error.to_string()))
}

impl Store for ZfsStore {
    fn kind(&self) -> Kind {
        Kind::Zfs
    }

    fn name(&self) -> String {
        self.names.root().to_owned()
    }

    fn init(&self) -> Result<Vec<String>> {
        self.lay_out()
    }

    fn space(&self) -> Result<Space> {
        let root = self.names.root();
        let room = self.room(root)?.ok_or_else(|| self.not_laid_out("read", root))?;
        Ok(Space { available: room.available, total: room.available.saturating_add(room.used) })
    }

    fn wait_freed(&self, patience: Duration) -> Result<()> {
        // Each transaction group frees something as long as something is left to free. lzc_wait(3) would know
        // when that is, but it knows no deadline.
        let deadline = Instant::now() + patience;
        let (mut seen, mut still) = (self.space()?.available, 0);
        while still < STILL && Instant::now() < deadline {
            let synced = self.engine.sync();
            synced.map_err(|error| Error::io("wait for the pool", self.names.pool(), error))?;
            let now = self.space()?.available;
            still = if now > seen { 0 } else { still + 1 };
            seen = now;
        }
        Ok(())
    }

    fn reserve(&self) -> Result<Reserve> {
        let laid = self.laid(&self.names.reserve(), "refreservation")?;
        let laid = laid.and_then(|laid| laid.own?.parse().ok()).unwrap_or(0);
        Ok(Reserve { size: self.reserve, laid })
    }

    fn release_reserve(&self) -> Result<Outcome> {
        let dataset = self.names.reserve();
        let _alone = self.alone_with(&dataset)?;
        if !self.engine.exists(&dataset) {
            return Ok(Outcome::Unchanged);
        }
        self.unmake(&dataset).map(|()| Outcome::Changed)
    }

    fn lay_reserve(&self) -> Result<Outcome> {
        Ok(if self.ensure_reserve()?.is_some() { Outcome::Changed } else { Outcome::Unchanged })
    }

    fn templates(&self) -> Result<Vec<TemplateName>> {
        let children = self.children::<TemplateName>(&self.names.templates())?;
        let mut names: Vec<TemplateName> = children.into_iter().map(|(name, _)| name).collect();
        names.sort();
        Ok(names)
    }

    fn heads(&self, template: &TemplateName) -> Result<Vec<Head>> {
        Ok(self.listing(template)?.to_heads())
    }

    fn current(&self, template: &TemplateName) -> Result<Option<VersionId>> {
        let container = self.names.container(template);
        let text = self.engine.read(&container, CURRENT, &[("t", &container)])?;
        decoded(&container, listing::current(&text))
    }

    fn draft_new(&self, template: &TemplateName, draft: &VersionId) -> Result<()> {
        self.refuse_taken("create", template, draft)?;
        self.ensure_container(template)?;
        let head = self.names.head(template, draft);
        self.engine.create(&head).map_err(|error| Error::io("create", head, error))
    }

    fn draft_clone(
        &self,
        template: &TemplateName,
        draft: &VersionId,
        base: &VersionId,
        _progress: &mut dyn Progress,
    ) -> Result<()> {
        self.refuse_taken("clone", template, draft)?;
        // Straight to its last name: same parent, so promoting it later moves no space and renames nothing.
        let head = self.names.head(template, draft);
        self.at_version("clone", template, base, |snapshot| self.engine.clone_from(snapshot, &head))
    }

    fn draft_from_dataset(&self, template: &TemplateName, draft: &VersionId, dataset: &str) -> Result<()> {
        self.adopt(template, draft, dataset)
    }

    fn draft_drop(&self, template: &TemplateName, draft: &VersionId) -> Result<Outcome> {
        let head = self.names.head(template, draft);
        let listing = self.listing(template)?;
        if listing.is_taken(draft) {
            return Err(Error::new(ErrorKind::Exists, "destroy", head, "it is a complete version"));
        }
        if let Some(session) = self.forget_trials(template, draft)? {
            let why = format!("session {session} tries it out");
            return Err(Error::new(ErrorKind::Busy, "destroy", head, why));
        }
        if let Some(snap) = self.listing(template)?.foreign_of(draft) {
            let why = format!("it has the snapshot {}, which zchroot did not take", snap.name);
            return Err(Error::new(ErrorKind::Busy, "destroy", head, why));
        }
        // Were it published this very moment, its own snapshot would keep it: EBUSY.
        self.engine.destroy_patiently(&head, PATIENCE)
    }

    fn publish(
        &self,
        template: &TemplateName,
        draft: &VersionId,
        base: Option<&VersionId>,
    ) -> Result<Published> {
        let (container, head) = (self.names.container(template), self.names.head(template, draft));
        self.forget_trials(template, draft)?;
        let base = base.map_or("", VersionId::as_str);
        let args = [("t", container.as_str()), ("w", &head), ("v", draft.as_str()), ("base", base)];
        // COMMIT: after this call the draft is the current version, or nothing changed.
        let text = match self.engine.commit(&head, PUBLISH, &args) {
            // Below a quarter of the pool's slop no program is even started; the pool then says so itself.
            Err(error) if error.errno().is_none() && self.is_full() => {
                return Err(Error::io("commit", head, io::Error::from_raw_os_error(libc::ENOSPC)));
            }
            other => other?,
        };
        match decoded(&head, Verdict::decode(&text))? {
            Verdict::Committed => Ok(Published::Committed),
            Verdict::Conflict(current) => Ok(Published::Conflict { current }),
            Verdict::NoDraft => Err(Error::new(ErrorKind::Gone, "commit", head, "there is no such draft")),
            Verdict::Refused(step, errno) => {
                let object = format!("{head} ({step})");
                Err(Error::io("commit", object, io::Error::from_raw_os_error(errno)))
            }
        }
    }

    fn settle(&self, template: &TemplateName, may_go: &dyn Fn(&VersionId) -> bool) -> Result<Settled> {
        self.tidy(template, may_go)
    }

    fn session_clone(&self, template: &TemplateName, version: &VersionId, session: &SessionId) -> Result<()> {
        self.session_clone_limited(template, version, session, None)
    }

    fn session_clone_limited(
        &self,
        template: &TemplateName,
        version: &VersionId,
        session: &SessionId,
        limit: Option<u64>,
    ) -> Result<()> {
        let tree = self.names.session(session);
        self.at_version("clone", template, version, |snapshot| {
            self.engine.clone_limited(snapshot, &tree, limit)
        })
    }

    fn session_clone_draft(
        &self,
        template: &TemplateName,
        draft: &VersionId,
        session: &SessionId,
    ) -> Result<()> {
        self.clone_draft(template, draft, session)
    }

    fn session_drop(&self, session: &SessionId) -> Result<Outcome> {
        self.engine.destroy_patiently(&self.names.session(session), PATIENCE)
    }

    fn sessions(&self) -> Result<Vec<SessionTree>> {
        let children = self.children(&self.names.sessions())?;
        let mut trees: Vec<SessionTree> =
            children.into_iter().map(|(id, created)| SessionTree { id, created }).collect();
        trees.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(trees)
    }

    fn mount(&self, tree: &Tree, at: &Path, options: MountOptions) -> Result<()> {
        self.mount_tree(tree, at, options)
    }

    fn look_at(
        &self,
        template: &TemplateName,
        version: &VersionId,
        look: &mut dyn FnMut(BorrowedFd<'_>),
    ) -> Result<()> {
        self.show_clone(template, version, look)
    }

    fn keeps_inodes(&self) -> bool {
        true
    }

    fn used(&self, tree: &Tree) -> Result<u64> {
        let gone = |name: &str| Error::new(ErrorKind::Gone, "measure", name, "there is no such tree");
        match tree {
            Tree::Session(id) => {
                let name = self.names.session(id);
                self.room(&name)?.map(|room| room.used).ok_or_else(|| gone(&name))
            }
            Tree::Draft(template, draft) => {
                let name = self.names.head(template, draft);
                self.room(&name)?.map(|room| room.referenced).ok_or_else(|| gone(&name))
            }
            Tree::Image(image) => self.used_by_image(image),
            Tree::Version(template, version) => {
                let room = self.at_version("measure", template, version, |snapshot| {
                    let room = self.room(snapshot).map_err(io::Error::other)?;
                    room.ok_or_else(|| io::Error::from_raw_os_error(libc::ENOENT))
                })?;
                Ok(room.referenced)
            }
        }
    }
}

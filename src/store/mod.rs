//! Where trees live: the trait that every store fulfils, and the types that cross it.
//!
//! A store keeps, for each template, **heads** (a tree under a [`VersionId`]; *complete* once published,
//! a *draft* before) and, for each session, a private writable **clone** of a complete version. It knows
//! nothing of records, users or profiles.
//!
//! Rules that every store keeps, and that the contract suite (`tests/store_contract.rs`) checks:
//! - [`Store::publish`] is the commit: after it [`Store::current`] says the new version and every clone made
//!   from then on is of it; before it nothing changed. Whoever crashes inside it leaves one or the other.
//! - [`Store::session_clone`] takes no lock. It yields a clone of exactly the version that was asked for,
//!   or [`ErrorKind::Gone`].
//! - Every call may be repeated after a crash: what is already so is left so.
//! - `*_drop` of what is not there is [`Outcome::Unchanged`], not an error.

pub mod digest;
mod error;
#[cfg(any(test, feature = "fake"))]
pub mod fake;
mod image;
mod layout;
mod name;
pub mod pointer;

use std::fmt;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::sys::tree::Guide;

pub use digest::Digest;
pub use error::{Error, ErrorKind, Result};
pub use image::{ImageTree, Images};
pub use layout::Layout;
pub use name::{NameError, SessionId, TemplateName, VersionId, check as check_name};

/// Which store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Directories and overlayfs.
    Dir,
    /// Datasets and clones of a ZFS pool.
    Zfs,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dir => "dir",
            Self::Zfs => "zfs",
        })
    }
}

/// Whether an operation changed anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was already so.
    Unchanged,
    /// It is so now.
    Changed,
}

/// How a [`Store::publish`] ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Published {
    /// The draft is the current version.
    Committed,
    /// Somebody else committed since the base: nothing changed.
    Conflict {
        /// The version that is current now.
        current: Option<VersionId>,
    },
}

/// One version of a template, as the store sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Its name.
    pub id: VersionId,
    /// Published, or still a draft.
    pub complete: bool,
    /// When its tree was made.
    pub created: SystemTime,
}

/// A session's clone, as the store sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionTree {
    /// Whose it is.
    pub id: SessionId,
    /// When it was cloned.
    pub created: SystemTime,
}

/// A tree that can be mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tree {
    /// A session's clone, writable.
    Session(SessionId),
    /// A version that is being made, writable.
    Draft(TemplateName, VersionId),
    /// A complete version, read-only.
    Version(TemplateName, VersionId),
    /// An image: writable while it is a draft, read-only once it is complete.
    Image(Digest),
}

/// How a tree is mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MountOptions {
    /// Setuid bits are ignored.
    pub nosuid: bool,
    /// Device nodes are inert.
    pub nodev: bool,
    /// The tree need not survive a power cut: no write-back at unmount where the store can leave it out.
    pub volatile: bool,
    /// What is written to the tree stays in memory and goes with the mount; a store whose sessions are clones
    /// on disk has no use for it.
    pub memory: Option<Memory>,
}

/// Memory for what a session writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// At most so many bytes, else half of what the host has.
    pub limit: Option<u64>,
}

/// Room in the store, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Space {
    /// What can still be written.
    pub available: u64,
    /// What there is in all.
    pub total: u64,
}

/// Room that is kept for recovery, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Reserve {
    /// How much it should be.
    pub size: u64,
    /// How much it is now.
    pub laid: u64,
}

/// What [`Store::settle`] did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settled {
    /// Versions that went.
    pub dropped: Vec<VersionId>,
    /// What has to wait for the next settle, and why.
    pub deferred: Vec<String>,
}

/// Long work tells here how far it is.
pub trait Progress {
    /// Begins a part of the work; `total` is in bytes, if it is known.
    fn start(&mut self, what: &str, total: Option<u64>);
    /// That many bytes more are done.
    fn advance(&mut self, bytes: u64);
    /// The part is done.
    fn finish(&mut self);
    /// How long the work may come no further; whoever waits for something that stalls gives it up then.
    fn patience(&self) -> Duration {
        STALL
    }
}

/// How long work may come no further where nobody says how long.
pub const STALL: Duration = Duration::from_secs(1800);

/// Progress that nobody looks at.
#[derive(Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn start(&mut self, _what: &str, _total: Option<u64>) {}
    fn advance(&mut self, _bytes: u64) {}
    fn finish(&mut self) {}
}

/// A place where trees live. All calls block; all need root.
pub trait Store: Images + fmt::Debug {
    /// Which store this is.
    fn kind(&self) -> Kind;

    /// What it is called in messages: the dataset or the directory.
    fn name(&self) -> String;

    /// Lays the store out; idempotent. One line for each thing that it changed.
    ///
    /// # Errors
    /// The pool or file system refused.
    fn init(&self) -> Result<Vec<String>>;

    /// Room in the store.
    ///
    /// # Errors
    /// It cannot be read.
    fn space(&self) -> Result<Space>;

    /// Waits until what was destroyed is free for new data, where that takes its time; no longer than `patience`.
    ///
    /// # Errors
    /// The store cannot be waited for.
    fn wait_freed(&self, _patience: Duration) -> Result<()> {
        Ok(())
    }

    /// The room that is reserved for recovery.
    ///
    /// # Errors
    /// It cannot be read.
    fn reserve(&self) -> Result<Reserve> {
        Ok(Reserve::default())
    }

    /// Gives up the room that is reserved for recovery, if the store has such a thing.
    ///
    /// # Errors
    /// The store refused.
    fn release_reserve(&self) -> Result<Outcome> {
        Ok(Outcome::Unchanged)
    }

    /// Reserves room for recovery again.
    ///
    /// # Errors
    /// [`ErrorKind::NoRoom`], [`ErrorKind::Unsupported`] where room cannot be promised, or the store refused.
    fn lay_reserve(&self) -> Result<Outcome> {
        Ok(Outcome::Unchanged)
    }

    /// The templates that have at least a container, sorted.
    ///
    /// # Errors
    /// The store cannot be read.
    fn templates(&self) -> Result<Vec<TemplateName>>;

    /// The heads of a template, sorted by name (which is by time); none if the template is unknown.
    ///
    /// # Errors
    /// The store cannot be read.
    fn heads(&self, template: &TemplateName) -> Result<Vec<Head>>;

    /// The current version: the truth, not the cache.
    ///
    /// # Errors
    /// The store cannot be read.
    fn current(&self, template: &TemplateName) -> Result<Option<VersionId>>;

    /// Whether [`Store::current`] *is* the pointer, which then moves inside [`Store::publish`] and nowhere else.
    /// Otherwise the pointer follows, by [`pointer::follow`].
    fn current_is_pointer(&self) -> bool {
        false
    }

    /// Makes an empty draft, and the template's container if it is the first.
    ///
    /// # Errors
    /// [`ErrorKind::Exists`] if the name is taken.
    fn draft_new(&self, template: &TemplateName, draft: &VersionId) -> Result<()>;

    /// Makes a draft that starts as a copy of the complete version `base`.
    ///
    /// # Errors
    /// [`ErrorKind::Gone`] if `base` is not there, [`ErrorKind::Exists`] if the name is taken.
    fn draft_clone(
        &self,
        template: &TemplateName,
        draft: &VersionId,
        base: &VersionId,
        progress: &mut dyn Progress,
    ) -> Result<()>;

    /// Makes a draft that starts as a clone of a dataset that is not the store's, as it is at this instant, and the
    /// template's container if it is the first. The dataset stays, and cannot go before what was cloned from it.
    ///
    /// # Errors
    /// [`ErrorKind::Gone`] if there is no such dataset, [`ErrorKind::Unsupported`] if the store cannot clone it,
    /// [`ErrorKind::Exists`] if the name is taken.
    fn draft_from_dataset(&self, _template: &TemplateName, _draft: &VersionId, dataset: &str) -> Result<()> {
        let why = "the store is not on ZFS, so it can clone no dataset";
        Err(Error::new(ErrorKind::Unsupported, "clone", dataset, why))
    }

    /// Destroys a draft. A complete version is never destroyed here.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] if it is mounted; [`ErrorKind::Exists`] if it is complete.
    fn draft_drop(&self, template: &TemplateName, draft: &VersionId) -> Result<Outcome>;

    /// **The commit.** If `base` is still current, the draft becomes complete and current, at once.
    /// Publishing what is already current is [`Published::Committed`]. The draft is unmounted and synced.
    ///
    /// # Errors
    /// [`ErrorKind::Gone`] if there is no such draft. After an error nothing changed.
    fn publish(
        &self,
        template: &TemplateName,
        draft: &VersionId,
        base: Option<&VersionId>,
    ) -> Result<Published>;

    /// Tidies after commits, idempotent: complete versions that are not current and of which `may_go` says so
    /// go as soon as no session is cloned from them. Commits may go on meanwhile, so `may_go` is asked of
    /// versions that its maker has never seen, and says no.
    ///
    /// # Errors
    /// The store cannot be read. What merely has to wait is in [`Settled::deferred`].
    fn settle(&self, template: &TemplateName, may_go: &dyn Fn(&VersionId) -> bool) -> Result<Settled>;

    /// Clones a complete version for a session.
    ///
    /// # Errors
    /// [`ErrorKind::Gone`] if the version is not there, [`ErrorKind::Exists`] if the session's tree is.
    fn session_clone(&self, template: &TemplateName, version: &VersionId, session: &SessionId) -> Result<()>;

    /// As [`Store::session_clone`]; what the session writes over the version takes at most `limit` bytes.
    ///
    /// # Errors
    /// As [`Store::session_clone`], and [`ErrorKind::Unsupported`] if the store cannot limit it.
    fn session_clone_limited(
        &self,
        template: &TemplateName,
        version: &VersionId,
        session: &SessionId,
        limit: Option<u64>,
    ) -> Result<()> {
        match limit {
            None => self.session_clone(template, version, session),
            Some(_) => Err(Error::no_limit(session)),
        }
    }

    /// Clones a draft, which nobody has mounted, for a session that tries it out. Nothing that the session does
    /// reaches the draft, and the draft is not dropped before the session is.
    ///
    /// # Errors
    /// [`ErrorKind::Gone`] if there is no such draft, [`ErrorKind::Exists`] if the session's tree is there,
    /// [`ErrorKind::Unsupported`] if the store cannot do it.
    fn session_clone_draft(
        &self,
        template: &TemplateName,
        draft: &VersionId,
        session: &SessionId,
    ) -> Result<()> {
        let object = format!("draft {template}/{draft} for {session}");
        Err(Error::new(ErrorKind::Unsupported, "clone", object, "this store cannot try a draft out"))
    }

    /// Destroys a session's clone.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] if it stayed in use for 10 s.
    fn session_drop(&self, session: &SessionId) -> Result<Outcome>;

    /// All session clones that the store has, sorted.
    ///
    /// # Errors
    /// The store cannot be read.
    fn sessions(&self) -> Result<Vec<SessionTree>>;

    /// The versions of a template that [`Store::settle`] does not let go while these trees of sessions are there. Where what
    /// is dropped lives on for its clones alone there are none.
    ///
    /// # Errors
    /// The store cannot be read.
    fn holds(&self, _template: &TemplateName) -> Result<Vec<(VersionId, SessionId)>> {
        Ok(Vec::new())
    }

    /// Mounts a tree at an empty directory `at`, in the mount namespace of the caller.
    ///
    /// # Errors
    /// [`ErrorKind::Gone`] if there is no such tree.
    fn mount(&self, tree: &Tree, at: &Path, options: MountOptions) -> Result<()>;

    /// Shows `look` the top of a complete version, to be read. Nothing of it is in anybody's way: a commit, a settle
    /// or the end of a session meanwhile is not held up. A version that settle drops meanwhile may lose its files
    /// while they are read.
    ///
    /// # Errors
    /// [`ErrorKind::Gone`] if the version is not there.
    fn look_at(
        &self,
        template: &TemplateName,
        version: &VersionId,
        look: &mut dyn FnMut(BorrowedFd<'_>),
    ) -> Result<()>;

    /// Whether a file keeps its inode number from version to version: then one whose number and change time are
    /// the same in two of them was not touched between them.
    fn keeps_inodes(&self) -> bool {
        false
    }

    /// What a session wrote over its version, as a guide to a walk through either, where the store can tell without
    /// looking at all. Not for a session whose [`Memory`] it writes to.
    ///
    /// # Errors
    /// The store cannot be read.
    fn written(&self, _session: &SessionId) -> Result<Option<Guide>> {
        Ok(None)
    }

    /// Bytes that a tree takes: of a session what it alone takes, of a version or draft what it holds.
    ///
    /// # Errors
    /// [`ErrorKind::Gone`] if there is no such tree.
    fn used(&self, tree: &Tree) -> Result<u64>;
}

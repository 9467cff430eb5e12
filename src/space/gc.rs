//! gc: reclaims what nothing refers to.
//!
//! A thing goes only when no record refers to it **and** it is older than the grace time: records are written
//! before anything else, so no lock is needed on the path of begin. If a record cannot be read, what it refers
//! to is unknown, and nothing goes (fail closed).

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::kept;
use super::retry::is_no_room;
use super::versions::superseded;
use crate::session::{self, Record, Sessions};
use crate::source::{Error, Keep, Sources};
use crate::store::{Digest, ErrorKind, Layout, SessionId, TemplateName, VersionId};
use crate::sys::cgroup::Cgroup;
use crate::sys::lock::{self, Lock};
use crate::sys::mount::{self, How};
use crate::sys::{chain, file};
use crate::template::Warm;

/// What gc looks at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Object {
    /// A source session that has ended without a commit.
    KeptSession {
        /// Which.
        session: SessionId,
    },
    /// What is noted of the commands of a session that is no more.
    Runs {
        /// Whose.
        session: SessionId,
    },
    /// A clone in the store.
    SessionTree {
        /// Whose.
        session: SessionId,
    },
    /// An uncommitted version.
    Draft {
        /// Of which template.
        template: TemplateName,
        /// Its name.
        draft: VersionId,
    },
    /// An image that has not been used for long.
    Image {
        /// What it is called by.
        image: Digest,
    },
    /// An image that was not unpacked to its end.
    ImageDraft {
        /// What it is called by.
        image: Digest,
    },
    /// What is known of an image that is no more.
    ImageRecord {
        /// What it was called by.
        image: Digest,
    },
    /// A lock file of an image that is no more.
    ImageLock {
        /// What it was called by.
        image: Digest,
    },
    /// Where an image was mounted while it was unpacked.
    ImageMount {
        /// What it is called by.
        image: Digest,
    },
    /// A lock file of a session that is no more.
    Lock {
        /// Whose.
        session: SessionId,
    },
    /// A file that was about to be renamed into place, or to lose its name.
    TempFile {
        /// Where it lies.
        path: PathBuf,
    },
    /// A version that nothing keeps.
    Version {
        /// Of which template.
        template: TemplateName,
        /// Its name.
        version: VersionId,
    },
    /// A control group of a session that is no more.
    Cgroup {
        /// Whose.
        session: SessionId,
    },
    /// A mount point under `/run/zchroot/mount`.
    Mount {
        /// Whose.
        session: SessionId,
    },
}

impl std::fmt::Display for Object {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::KeptSession { session } => write!(f, "session {session}"),
            Self::Runs { session } => write!(f, "commands of {session}"),
            Self::SessionTree { session } => write!(f, "session tree {session}"),
            Self::TempFile { path } => write!(f, "temp file {}", path.display()),
            Self::Draft { template, draft } => write!(f, "draft {template}/{draft}"),
            Self::Image { image } => write!(f, "image {}", image.short()),
            Self::ImageDraft { image } => write!(f, "draft of image {}", image.short()),
            Self::ImageRecord { image } => write!(f, "record of image {}", image.short()),
            Self::ImageLock { image } => write!(f, "lock of image {}", image.short()),
            Self::ImageMount { image } => write!(f, "mount of image {}", image.short()),
            Self::Version { template, version } => write!(f, "version {template}/{version}"),
            Self::Mount { session } => write!(f, "mount {session}"),
            Self::Cgroup { session } => write!(f, "cgroup {session}"),
            Self::Lock { session } => write!(f, "lock {session}"),
        }
    }
}

impl Object {
    /// The session that it is of, if it is of one.
    pub(super) fn session(&self) -> Option<&SessionId> {
        match self {
            Self::SessionTree { session }
            | Self::Lock { session }
            | Self::KeptSession { session }
            | Self::Runs { session }
            | Self::Cgroup { session }
            | Self::Mount { session } => Some(session),
            _ => None,
        }
    }
}

/// What happens to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It goes.
    Remove,
    /// It stays.
    Keep,
}

/// One line of gc.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Item {
    /// What.
    #[serde(flatten)]
    pub object: Object,
    /// Goes or stays.
    pub action: Action,
    /// Because of what.
    pub reason: String,
    /// What goes with it, of what goes, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

/// What a run of gc did.
#[derive(Debug, Default)]
pub struct Collected {
    /// All that it looked at, and what became of it.
    pub items: Vec<Item>,
    /// What should have gone and would not.
    pub troubles: Vec<String>,
    /// What goes by itself or with a later run: somebody still reads it or works on it.
    pub waiting: Vec<String>,
    /// Something would not go for lack of room to work in.
    pub stuck: bool,
}

/// A garbage collection.
#[derive(Debug)]
pub struct Gc<'a> {
    pub(super) sessions: Sessions<'a>,
    pub(super) grace: Duration,
    pub(super) warm: Warm,
    weighs: bool,
}

/// What records refer to.
struct Referred {
    sessions: BTreeSet<SessionId>,
    drafts: BTreeSet<(TemplateName, VersionId)>,
    kept: Vec<Record>,
}

impl<'a> Gc<'a> {
    /// A collection of what is older than `grace`, and of images that were not used for the time of `warm`.
    #[must_use]
    pub fn new(sessions: Sessions<'a>, grace: Duration, warm: Warm) -> Self {
        Self { sessions, grace, warm, weighs: false }
    }

    /// The same, which says how much goes with what goes.
    #[must_use]
    pub fn weighing(self) -> Self {
        Self { weighs: true, ..self }
    }

    /// What there is and what is to become of it; changes nothing.
    ///
    /// # Errors
    /// A record or the store cannot be read.
    pub fn plan(&self) -> Result<Vec<Item>, Error> {
        // The trees first, the records after: a session begun between the two is not taken for an orphan.
        let trees = self.sessions.store().sessions()?;
        let mut drafts = self.drafts()?;
        let mounts = self.mounts()?;
        let locks = self.locks()?;
        let cgroups = self.cgroups()?;
        let referred = self.referred()?;
        // One that was committed between the two looks has no record any more, but is no draft either. What has
        // no record and still is one cannot be committed.
        let still: BTreeSet<_> =
            self.drafts()?.into_iter().map(|(template, draft, _)| (template, draft)).collect();
        drafts.retain(|(template, draft, _)| still.contains(&(template.clone(), draft.clone())));
        let mut items = kept::items(&referred.kept);
        // Their drafts go with them.
        drafts.retain(|(template, draft, _)| !kept::goes_with(&items, &referred.kept, template, draft));
        for (session, made) in mounts {
            let known = referred.sessions.contains(&session);
            items.push(self.unless_used(self.judge(Object::Mount { session }, known, made))?);
        }
        for tree in trees {
            let known = referred.sessions.contains(&tree.id);
            let object = Object::SessionTree { session: tree.id };
            items.push(self.unless_used(self.judge(object, known, tree.created))?);
        }
        let cgroups = cgroups.into_iter().map(|(session, made)| (Object::Cgroup { session }, made));
        let locks = locks.into_iter().map(|(session, made)| (Object::Lock { session }, made));
        let runs = self.runs()?.into_iter().map(|(session, made)| (Object::Runs { session }, made));
        for (object, made) in cgroups.chain(locks).chain(runs) {
            // Those of living sessions say nothing that the session's own line does not.
            if !object.session().is_some_and(|session| referred.sessions.contains(session)) {
                let item = self.judge(object, false, made);
                items.push(self.unless_populated(item)?);
            }
        }
        for (path, made) in self.temp_files()? {
            items.push(self.judge(Object::TempFile { path }, false, made));
        }
        items.extend(self.image_items(&items)?);
        for (template, draft, made) in drafts {
            let known = referred.drafts.contains(&(template.clone(), draft.clone()));
            items.push(self.judge(Object::Draft { template, draft }, known, made));
        }
        if self.weighs {
            self.weigh(&mut items);
        }
        Ok(items)
    }

    /// Removes what the plan says, and settles every template.
    ///
    /// # Errors
    /// A record or the store cannot be read: then nothing goes.
    pub fn run<K: Into<Keep>>(&self, keep: impl Fn(&TemplateName) -> K) -> Result<Collected, Error> {
        self.mend_images()?;
        let mut items = self.plan()?;
        let (mut troubles, mut waiting, mut stuck) = (Vec::new(), Vec::new(), false);
        for item in items.iter_mut().filter(|item| item.action == Action::Remove) {
            match self.remove(&item.object) {
                Ok(true) => {}
                Ok(false) => {
                    let reason = "somebody has used it since, or works on it just now".to_owned();
                    (item.action, item.reason) = (Action::Keep, reason);
                }
                Err(error) => {
                    let why = chain(&error);
                    stuck |= is_no_room(&error);
                    troubles.push(format!("{}: {why}", item.object));
                    (item.action, item.reason) = (Action::Keep, format!("it would not go: {why}"));
                }
            }
        }
        let sources = Sources::new(self.sessions);
        for template in self.sessions.store().templates()? {
            match sources.settle(&template, keep(&template)) {
                Ok(settled) => {
                    items.extend(settled.dropped.into_iter().map(|version| superseded(&template, version)));
                    waiting.extend(settled.deferred);
                }
                Err(error) => troubles.push(format!("template {template}: {error}")),
            }
        }
        Ok(Collected { items, troubles, waiting, stuck })
    }

    pub(super) fn judge(&self, object: Object, known: bool, made: SystemTime) -> Item {
        // A clock that went backwards makes things look new: they stay.
        let age = SystemTime::now().duration_since(made).unwrap_or(Duration::ZERO);
        let (action, reason) = if known {
            (Action::Keep, "a record refers to it".to_owned())
        } else if age < self.grace {
            (Action::Keep, format!("no record, but only {} s old", age.as_secs()))
        } else {
            (Action::Remove, format!("no record refers to it, {} s old", age.as_secs()))
        };
        Item { object, action, reason, bytes: None }
    }

    /// `false` if it stays, since it is in use by now.
    fn remove(&self, object: &Object) -> Result<bool, Error> {
        match object {
            Object::SessionTree { session } => {
                let mut busy = false;
                self.unless_begun(session, || match self.sessions.store().session_drop(session) {
                    // A digest or a diff that takes long reads it.
                    Err(error) if error.kind() == ErrorKind::Busy => {
                        busy = true;
                        Ok(())
                    }
                    other => Ok(other.map(drop)?),
                })?;
                return Ok(!busy);
            }
            Object::KeptSession { session } => return self.remove_kept(session),
            Object::Runs { session } => {
                self.unless_begun(session, || Ok(self.sessions.remove_runs(session)?))?;
            }
            Object::Draft { template, draft } => {
                file::remove(&self.layout().version(template, draft))?;
                self.sessions.store().draft_drop(template, draft)?;
            }
            Object::Image { .. }
            | Object::ImageDraft { .. }
            | Object::ImageRecord { .. }
            | Object::ImageLock { .. }
            | Object::ImageMount { .. } => return self.remove_of_image(object),
            // Settling drops it, under the template's lock.
            Object::Version { .. } => {}
            Object::TempFile { path } => match file::stat(path)? {
                Some(meta) if meta.is_dir() => file::remove_dir(path)?,
                _ => file::remove(path)?,
            },
            Object::Mount { session } => self.unless_begun(session, || {
                let at = self.layout().mount(session);
                mount::unmount_all(&at, How::Lazy)?;
                file::remove_dir(&at)?;
                Ok(())
            })?,
            Object::Cgroup { session } => self.unless_begun(session, || self.remove_cgroup(session))?,
            Object::Lock { session } => {
                // Held: somebody begins a session of that name just now.
                if let Some(lock) = Lock::take(&self.layout().session_lock(session), Duration::ZERO)? {
                    lock.remove()?;
                }
            }
        }
        Ok(true)
    }

    /// Nobody is killed by gc: what runs in a session that nothing is known of is somebody's work.
    fn unless_populated(&self, mut item: Item) -> Result<Item, Error> {
        let Object::Cgroup { session } = &item.object else { return Ok(item) };
        // One that goes while we look has nobody in it.
        let populated = self.cgroup(session)?.is_some_and(|cgroup| cgroup.is_populated().unwrap_or(false));
        if populated {
            let reason = "no record refers to it, but there are processes in it".to_owned();
            (item.action, item.reason) = (Action::Keep, reason);
        }
        Ok(item)
    }

    /// The kernel refuses as long as there is a process in it.
    fn remove_cgroup(&self, session: &SessionId) -> Result<(), Error> {
        let Some(cgroup) = self.cgroup(session)? else { return Ok(()) };
        Ok(cgroup.remove().map_err(|error| session::Error::sys("remove the cgroup of", session, error))?)
    }

    fn cgroup(&self, session: &SessionId) -> Result<Option<Cgroup>, Error> {
        let name = format!("{session}{}", self.sessions.cgroup_suffix()?);
        Ok(Cgroup::open(&name).map_err(|error| session::Error::sys("open the cgroup of", session, error))?)
    }

    /// Removes something of a session that is no more. Names come again: a session of this name may have been
    /// begun since the plan was made, and its tree and mount are not ours.
    fn unless_begun(
        &self,
        session: &SessionId,
        remove: impl FnOnce() -> Result<(), Error>,
    ) -> Result<(), Error> {
        let in_use = || session::Error::InUse(session.clone());
        lock::make_folder(&self.layout().locks())?;
        let lock = Lock::take(&self.layout().session_lock(session), Duration::ZERO)?.ok_or_else(in_use)?;
        if self.sessions.records().stands(session)? {
            return Err(in_use().into());
        }
        remove()?;
        Ok(lock.remove()?)
    }

    pub(super) fn layout(&self) -> &'a Layout {
        self.sessions.layout()
    }

    fn referred(&self) -> Result<Referred, Error> {
        let all = self.sessions.records().all()?;
        if let Some((_, error)) = all.damaged.into_iter().next() {
            return Err(error.into());
        }
        let drafts = all
            .records
            .iter()
            .filter_map(|record| Some((record.template.clone(), record.draft.clone()?)))
            .collect();
        let kept = all.records.iter().filter(|record| record.is_kept()).cloned().collect();
        Ok(Referred { sessions: all.records.into_iter().map(|record| record.id).collect(), drafts, kept })
    }
}

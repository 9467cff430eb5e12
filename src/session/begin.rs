//! Begin: record, clone, mount, set-up.

use std::time::Duration;

use super::record::{Kind, NewRecord, Record, State};
use super::{Error, Sessions};
use crate::store::{Digest, ErrorKind, TemplateName, VersionId, pointer};
use crate::sys::lock::Lock;
use crate::template::{Profile, Size};

/// How often a reader follows a version that moves away under it.
const TRIES: u32 = 8;

/// What is to be begun.
#[derive(Debug)]
pub struct Request<'a> {
    /// What the record will say.
    pub new: NewRecord,
    /// How the tree is set up.
    pub profile: &'a Profile,
    /// Which version; the current one if none is named.
    pub at: Option<VersionId>,
}

/// A session whose lock we hold.
#[derive(Debug)]
pub struct Begun {
    /// What is known of it.
    pub record: Record,
    /// Held until dropped.
    pub lock: Lock,
}

impl Sessions<'_> {
    /// Begins a session: afterwards it is ready. On failure nothing of it is left.
    ///
    /// # Errors
    /// The name is taken, there is no such version, the store or the system refused.
    pub fn begin(&self, request: Request<'_>) -> Result<Begun, Error> {
        let id = request.new.id.clone();
        let lock = self.take_lock(&id, Duration::ZERO)?.ok_or_else(|| Error::Exists(id.clone()))?;
        if self.records().stands(&id)? {
            return Err(Error::Exists(id));
        }
        let begun = self
            .clone_version(&request)
            .and_then(|record| self.make_stand(record, request.profile, State::Ready));
        match begun {
            Ok(record) => Ok(Begun { record, lock }),
            Err(error) => {
                lock.remove()?;
                Err(error)
            }
        }
    }

    /// Begins a session on a draft of a template: the record, what makes the draft, mount, set-up.
    /// On failure nothing of it is left. It `becomes` ready, or stays planned: then a crash ends it.
    ///
    /// # Errors
    /// As [`Sessions::begin`].
    pub fn begin_draft(
        &self,
        record: Record,
        profile: &Profile,
        becomes: State,
        make_draft: impl FnOnce() -> Result<(), Error>,
    ) -> Result<Begun, Error> {
        let Begun { record, lock } = self.begin_unmounted(record, make_draft)?;
        match self.make_stand(record, profile, becomes) {
            Ok(record) => Ok(Begun { record, lock }),
            Err(error) => {
                lock.remove()?;
                Err(error)
            }
        }
    }

    /// Begins a session on a clone of a draft, which nobody has mounted: what it does is not committed.
    ///
    /// # Errors
    /// As [`Sessions::begin`].
    pub fn begin_trial(&self, record: Record, draft: &VersionId, profile: &Profile) -> Result<Begun, Error> {
        let (template, id) = (record.template.clone(), record.id.clone());
        let clone = || Ok(self.store().session_clone_draft(&template, draft, &id)?);
        self.begin_draft(record, profile, State::Ready, clone)
    }

    /// The first half of [`Sessions::begin_draft`]: the record, and what makes the draft. It stays planned: a
    /// crash ends it.
    ///
    /// # Errors
    /// As [`Sessions::begin`].
    pub fn begin_unmounted(
        &self,
        record: Record,
        make_draft: impl FnOnce() -> Result<(), Error>,
    ) -> Result<Begun, Error> {
        let id = record.id.clone();
        let lock = self.take_lock(&id, Duration::ZERO)?.ok_or_else(|| Error::Exists(id.clone()))?;
        if self.records().stands(&id)? {
            return Err(Error::Exists(id));
        }
        match self.plan(&record).and_then(|()| make_draft()) {
            Ok(()) => Ok(Begun { record, lock }),
            Err(error) => {
                let error = error.after(self.undo(record));
                lock.remove()?;
                Err(error)
            }
        }
    }

    /// Writes the record and clones the version; follows the pointer if the version moves away meanwhile.
    fn clone_version(&self, request: &Request<'_>) -> Result<Record, Error> {
        if let Some(image) = &request.new.image {
            return self.clone_image(&request.new, image);
        }
        let template = &request.new.template;
        let mut pause = Duration::from_millis(1);
        let mut seen = None;
        for _ in 0..TRIES {
            let version = match &request.at {
                Some(version) => version.clone(),
                None => self.current(template, seen.as_ref())?,
            };
            let record = Record::planned(request.new.clone(), Some(version.clone()), None);
            if let Err(error) = self.plan(&record) {
                return Err(error.after(self.undo(record)));
            }
            match self.store().session_clone_limited(template, &version, &record.id, limit(&record)) {
                Ok(()) => return Ok(record),
                Err(error) if error.kind() == ErrorKind::Gone => {
                    self.records().remove(&record)?;
                    if request.at.is_some() {
                        return Err(Error::NoSuchVersion { template: template.clone(), version });
                    }
                    tracing::debug!(%template, %version, "the version moved away, reading the pointer again");
                    seen = Some(version);
                    std::thread::sleep(pause);
                    pause = (pause * 2).min(Duration::from_millis(50));
                }
                Err(error) => return Err(Error::from(error).after(self.undo(record))),
            }
        }
        Err(Error::Moving(template.clone()))
    }

    /// Writes the record and clones an image, whose lock the caller holds.
    fn clone_image(&self, new: &NewRecord, image: &Digest) -> Result<Record, Error> {
        let record = Record::planned(new.clone(), None, None);
        let cloned = self
            .plan(&record)
            .and_then(|()| Ok(self.store().session_from_image_limited(image, &record.id, limit(&record))?));
        match cloned {
            Ok(()) => Ok(record),
            Err(error) => Err(error.after(self.undo(record))),
        }
    }

    /// Writes the record. One whose directory could not be synced stands all the same: a failure is to be undone.
    fn plan(&self, record: &Record) -> Result<(), Error> {
        Ok(self.records().save(record)?)
    }

    /// The version to clone: what the pointer says, or, if that is what was just found gone, what the store
    /// says; the pointer is mended then.
    fn current(&self, template: &TemplateName, gone: Option<&VersionId>) -> Result<VersionId, Error> {
        let pointed = pointer::read(self.layout(), template)?;
        match pointed {
            Some(version) if Some(&version) != gone => Ok(version),
            _ => {
                let truth = match pointer::follow(self.layout(), self.store(), template, Duration::ZERO) {
                    // Somebody is about to mend it: what is true is enough for us.
                    Err(error) if error.kind() == ErrorKind::Busy => self.store().current(template)?,
                    followed => followed?,
                };
                truth.ok_or_else(|| Error::NoVersion(template.clone()))
            }
        }
    }

    /// Mounts and sets up the tree of a planned session and calls it what it becomes; undoes all on failure.
    fn make_stand(&self, mut record: Record, profile: &Profile, becomes: State) -> Result<Record, Error> {
        let made = self.bring_up(&record, profile).and_then(|()| {
            if record.state != becomes {
                record.state = becomes;
                self.records().save(&record)?;
            }
            Ok(())
        });
        match made {
            Ok(()) => Ok(record),
            Err(error) => Err(error.after(self.undo(record))),
        }
    }

    /// Whether a session of this kind may lose its tree in a power cut.
    pub(super) fn is_volatile(record: &Record) -> bool {
        record.kind == Kind::Ephemeral
    }
}

fn limit(record: &Record) -> Option<u64> {
    record.setup.quota.map(Size::bytes)
}

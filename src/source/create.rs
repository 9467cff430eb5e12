//! The beginning of a version: a template's first draft, or a source session on its current version.

use super::commit::POINTER_PATIENCE;
use super::{Error, Sources};
use crate::session::record::{NewRecord, Record, State};
use crate::session::{self, Begun};
use crate::store::{Digest, Progress, TemplateName, VersionId, pointer};
use crate::template::Profile;

/// What a template's first version starts as.
#[derive(Debug, Clone, Copy)]
pub enum Start<'a> {
    /// Nothing: the caller fills it.
    Empty,
    /// A copy of an image, whose lock the caller holds.
    Image(&'a Digest),
    /// A clone of a dataset that is not the store's.
    Dataset(&'a str),
}

/// What a source session is begun with.
#[derive(Debug)]
pub struct SourceRequest<'a> {
    /// What the record will say.
    pub new: NewRecord,
    /// How the tree is set up.
    pub profile: &'a Profile,
}

impl Sources<'_> {
    /// Begins the session in which a template's first version is made: a draft that starts as
    /// `start` says. It stays planned until [`Sources::commit_first`]: half a tree must neither be entered nor committed, and a crash ends it.
    ///
    /// # Errors
    /// The template has a version already, or the session cannot be begun; then nothing of it is left.
    pub fn begin_first(
        &self,
        request: SourceRequest<'_>,
        start: Start<'_>,
        progress: &mut dyn Progress,
    ) -> Result<Begun, Error> {
        let template = request.new.template.clone();
        self.refuse_second(&template)?;
        let draft = new_version()?;
        let record = Record::planned(request.new, None, Some(draft.clone()));
        let store = self.store();
        let make = || match start {
            Start::Empty => Ok(store.draft_new(&template, &draft)?),
            Start::Image(image) => Ok(store.draft_from_image(&template, &draft, image, progress)?),
            Start::Dataset(dataset) => Ok(store.draft_from_dataset(&template, &draft, dataset)?),
        };
        Ok(self.sessions.begin_draft(record, request.profile, State::Planned, make)?)
    }

    /// Refuses a template that has a version already.
    ///
    /// # Errors
    /// It has, or the store cannot be read.
    pub fn refuse_second(&self, template: &TemplateName) -> Result<(), Error> {
        match self.store().current(template)? {
            Some(current) => Err(Error::Created { template: template.clone(), current }),
            None => Ok(()),
        }
    }

    /// Begins a source session on the current version.
    ///
    /// # Errors
    /// The template has no version, or the session cannot be begun; then nothing of it is left.
    pub fn begin(&self, request: SourceRequest<'_>, progress: &mut dyn Progress) -> Result<Begun, Error> {
        let template = request.new.template.clone();
        // The truth, not the pointer: a commit that is not yet visible would be a conflict for certain. And nobody
        // who begins after this may get less, so a commit that is under way is waited for.
        let current = pointer::follow(self.layout(), self.store(), &template, POINTER_PATIENCE)?;
        let base = current.ok_or_else(|| Error::NoVersion(template.clone()))?;
        let draft = new_version()?;
        let record = Record::planned(request.new, Some(base.clone()), Some(draft.clone()));
        let make = || Ok(self.store().draft_clone(&template, &draft, &base, progress)?);
        Ok(self.sessions.begin_draft(record, request.profile, State::Ready, make)?)
    }
}

pub(super) fn new_version() -> Result<VersionId, Error> {
    VersionId::generate().map_err(|error| session::Error::sys("name", "a new version", error).into())
}

//! Finding a version by what a user calls it.

use super::{Error, Sources, Version};
use crate::store::{TemplateName, VersionId};

impl Sources<'_> {
    /// The complete version that `text` names: a version's name, or a generation.
    ///
    /// # Errors
    /// [`Error::NoSuchVersion`], or the store cannot be read.
    pub fn named(&self, template: &TemplateName, text: &str) -> Result<VersionId, Error> {
        let complete = self.complete(template)?;
        if let Some(version) = complete.iter().find(|version| version.as_str() == text) {
            return Ok(version.clone());
        }
        let none = || Error::NoSuchVersion { template: template.clone(), version: text.to_owned() };
        let generation: u64 = text.parse().map_err(|_| none())?;
        let known = Version::all(self.layout(), template)?;
        let of_generation = known.into_iter().filter(|version| version.generation == generation);
        of_generation.map(|version| version.id).find(|id| complete.contains(id)).ok_or_else(none)
    }

    /// The complete versions of a template, oldest first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn complete(&self, template: &TemplateName) -> Result<Vec<VersionId>, Error> {
        let heads = self.store().heads(template)?;
        Ok(heads.into_iter().filter(|head| head.complete).map(|head| head.id).collect())
    }

    /// The current version.
    ///
    /// # Errors
    /// [`Error::NoVersion`], or the store cannot be read.
    pub fn current(&self, template: &TemplateName) -> Result<VersionId, Error> {
        self.store().current(template)?.ok_or_else(|| Error::NoVersion(template.clone()))
    }

    /// The version that another was made from.
    ///
    /// # Errors
    /// [`Error::NoSuchVersion`] if it was made from none, or that one's tree was reclaimed.
    pub fn parent(&self, template: &TemplateName, version: &VersionId) -> Result<VersionId, Error> {
        let about = Version::load(self.layout(), template, version)?;
        let parent = about.and_then(|about| about.parent);
        let name = parent.map_or_else(|| format!("before {version}"), |parent| parent.to_string());
        self.named(template, &name)
    }
}

//! Finding a version by what it is to its template.

use super::{Error, Sources, Version};
use crate::store::{TemplateName, VersionId};

impl Sources<'_> {
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
        match parent {
            Some(parent) if self.complete(template)?.contains(&parent) => Ok(parent),
            other => {
                let name = other.map_or_else(|| format!("before {version}"), |parent| parent.to_string());
                Err(Error::NoSuchVersion { template: template.clone(), version: name })
            }
        }
    }
}

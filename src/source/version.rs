//! What is known of a version: `templates/NAME/versions/VID.toml`, written once, before the commit.
//!
//! A file here is no proof of a version: the store says which drafts were committed.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::session::record::Owner;
use crate::store::{Layout, TemplateName, VersionId};
use crate::sys::file;

const LONGEST: u64 = 64 * 1024;
const FORMAT: u32 = 1;

/// One version of a template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Version {
    format: u32,
    /// Its name.
    pub id: VersionId,
    /// 1, 2, 3 ... per template.
    pub generation: u64,
    /// The version that it was made from; none for a first one.
    pub parent: Option<VersionId>,
    /// After a rollback: the older version whose tree it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tree_of: Option<VersionId>,
    /// Who committed it.
    pub author: Owner,
    /// What the author said of it.
    pub message: Option<String>,
    /// When it was committed.
    pub created: Timestamp,
    /// Bytes of its tree at the commit.
    pub size: u64,
}

/// Why a version's file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum VersionError {
    /// The file system refused.
    #[error(transparent)]
    File(#[from] file::Error),
    /// The file says something else than it should.
    #[error("the file {path} is damaged: {why}")]
    Damaged {
        /// Which file.
        path: String,
        /// What is wrong with it.
        why: String,
    },
}

impl Version {
    /// A version that is about to be committed on top of `parent`.
    #[must_use]
    pub fn new(
        id: VersionId,
        parent: Option<&Version>,
        author: Owner,
        message: Option<String>,
        size: u64,
    ) -> Self {
        Self {
            format: FORMAT,
            id,
            generation: parent.map_or(0, |parent| parent.generation).saturating_add(1),
            parent: parent.map(|parent| parent.id.clone()),
            tree_of: None,
            author,
            message,
            created: Timestamp::now(),
            size,
        }
    }

    /// Reads one, `None` if there is no such file.
    ///
    /// # Errors
    /// The file cannot be read or is damaged.
    pub fn load(
        layout: &Layout,
        template: &TemplateName,
        id: &VersionId,
    ) -> Result<Option<Self>, VersionError> {
        let path = layout.version(template, id);
        let Some(text) = file::read_text_if_there(&path, LONGEST)? else { return Ok(None) };
        let damaged = |why: String| VersionError::Damaged { path: path.display().to_string(), why };
        let version: Self = toml::from_str(&text).map_err(|error| damaged(error.message().to_owned()))?;
        if version.format != FORMAT {
            return Err(damaged(format!("its format is {}, this program reads {FORMAT}", version.format)));
        }
        if &version.id != id {
            return Err(damaged(format!("it is that of version {}", version.id)));
        }
        Ok(Some(version))
    }

    /// Writes one, durably.
    ///
    /// # Errors
    /// The file system refused.
    pub fn save(&self, layout: &Layout, template: &TemplateName) -> Result<(), VersionError> {
        let path = layout.version(template, &self.id);
        let text = toml::to_string(self).map_err(|error| VersionError::Damaged {
            path: path.display().to_string(),
            why: error.to_string(),
        })?;
        file::make_dirs(&layout.versions(template), 0o755)?;
        file::replace(&path, &text)?;
        Ok(())
    }

    /// All of a template by generation, oldest first. Files of drafts that were never committed are among them.
    ///
    /// # Errors
    /// The folder or a file cannot be read.
    pub fn all(layout: &Layout, template: &TemplateName) -> Result<Vec<Self>, VersionError> {
        let mut versions = Vec::new();
        for name in file::list(&layout.versions(template))? {
            let Some(id) = name.strip_suffix(".toml").and_then(|stem| stem.parse().ok()) else { continue };
            versions.extend(Self::load(layout, template, &id)?);
        }
        versions.sort_by(|a, b| (a.generation, &a.id).cmp(&(b.generation, &b.id)));
        Ok(versions)
    }
}

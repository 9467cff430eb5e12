//! Pins: `templates/NAME/pins/VID.toml` keeps a version for good, whatever the template keeps.
//!
//! A version's own file is written once and never again, so a pin is a file beside it: durable, replaced and
//! removed at once. A pin is set under the template's lock, as settling drops under it: whoever is told that a
//! version is pinned finds it tomorrow. A pin that cannot be read keeps everything, as a damaged record does.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::version::VersionError;
use super::{Error, NoMatch, Sources, Version, VersionSpec, Why};
use crate::session::record::Owner;
use crate::store::{Layout, Outcome, TemplateName, VersionId};
use crate::sys::file;
use crate::sys::lock::{self, Lock};

const LONGEST: u64 = 64 * 1024;
const FORMAT: u32 = 1;
/// How long a pin waits for a settle that is under way.
const PATIENCE: Duration = Duration::from_secs(10);

/// Who wants a version to stay, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Pin {
    format: u32,
    /// Which version.
    pub version: VersionId,
    /// Since when.
    pub created: Timestamp,
    /// What for.
    pub why: Option<String>,
    /// Who.
    pub by: Owner,
}

impl Pin {
    /// A pin that is set now.
    #[must_use]
    pub fn new(version: VersionId, by: Owner, why: Option<String>) -> Self {
        Self { format: FORMAT, version, created: Timestamp::now(), why, by }
    }

    /// All of a template.
    ///
    /// # Errors
    /// The folder or a file cannot be read, or a file is damaged.
    pub fn all(layout: &Layout, template: &TemplateName) -> Result<BTreeMap<VersionId, Self>, VersionError> {
        let mut pins = BTreeMap::new();
        for name in file::list(&layout.pins(template))? {
            let Some(id) = name.strip_suffix(".toml").and_then(|stem| stem.parse::<VersionId>().ok()) else {
                continue;
            };
            if let Some(pin) = Self::load(layout, template, &id)? {
                pins.insert(id, pin);
            }
        }
        Ok(pins)
    }

    fn load(layout: &Layout, template: &TemplateName, id: &VersionId) -> Result<Option<Self>, VersionError> {
        let path = layout.pin(template, id);
        let Some(text) = file::read_text_if_there(&path, LONGEST)? else { return Ok(None) };
        let damaged = |why: String| VersionError::Damaged { path: path.display().to_string(), why };
        let pin: Self = toml::from_str(&text).map_err(|error| damaged(error.message().to_owned()))?;
        if pin.format != FORMAT {
            return Err(damaged(format!("its format is {}, this program reads {FORMAT}", pin.format)));
        }
        if &pin.version != id {
            return Err(damaged(format!("it is that of version {}", pin.version)));
        }
        Ok(Some(pin))
    }

    fn save(&self, layout: &Layout, template: &TemplateName) -> Result<(), VersionError> {
        let path = layout.pin(template, &self.version);
        let text = toml::to_string(self).map_err(|error| VersionError::Damaged {
            path: path.display().to_string(),
            why: error.to_string(),
        })?;
        file::make_dirs(&layout.pins(template), 0o755)?;
        file::replace(&path, &text)?;
        Ok(())
    }
}

impl Sources<'_> {
    /// Keeps a version for good; a pin that is there already gets the new reason.
    ///
    /// # Errors
    /// The version's tree is not there, or the pin cannot be written.
    pub fn pin(
        &self,
        template: &TemplateName,
        version: &VersionId,
        by: Owner,
        why: Option<String>,
    ) -> Result<Pin, Error> {
        let _lock = self.lock_pins(template)?;
        // Under the lock: nothing is dropped between this look and the pin.
        let version = self.resolve(template, &VersionSpec::of(version))?;
        let pin = Pin::new(version, by, why);
        pin.save(self.layout(), template)?;
        Ok(pin)
    }

    /// Lets a version go when nothing else keeps it. A damaged pin can be taken away, too.
    ///
    /// # Errors
    /// The pin cannot be removed.
    pub fn unpin(&self, template: &TemplateName, version: &VersionId) -> Result<Outcome, Error> {
        let _lock = self.lock_pins(template)?;
        let path = self.layout().pin(template, version);
        if file::stat(&path)?.is_none() {
            return Ok(Outcome::Unchanged);
        }
        file::remove(&path)?;
        file::sync_parent(&path)?;
        Ok(Outcome::Changed)
    }

    /// As [`Sources::resolve`], but also what is meant by a version whose tree is gone.
    ///
    /// # Errors
    /// There never was such a version, or the store or the records cannot be read.
    pub fn resolve_gone(&self, template: &TemplateName, spec: &VersionSpec) -> Result<VersionId, Error> {
        match self.resolve(template, spec) {
            Err(Error::NoMatch(none)) => match *none {
                NoMatch { why: Why::Gone(version), .. } => Ok(version),
                other => Err(Error::NoMatch(Box::new(other))),
            },
            other => other,
        }
    }

    /// The template that has a version of this name, or the only one whose name begins so: names are unique.
    ///
    /// # Errors
    /// None has, or several versions are meant.
    pub fn template_of(&self, name: &str) -> Result<TemplateName, Error> {
        let mut found = Vec::new();
        for folder in file::list(&self.layout().templates())? {
            let Ok(template) = folder.parse::<TemplateName>() else { continue };
            let versions = Version::all(self.layout(), &template)?;
            let exact = versions.iter().any(|version| version.id.as_str() == name);
            if exact || versions.iter().any(|version| version.id.as_str().starts_with(name)) {
                found.push((exact, template));
            }
        }
        let exact = found.iter().position(|(exact, _)| *exact);
        match exact {
            Some(at) => Ok(found.swap_remove(at).1),
            None if found.len() > 1 => {
                let templates = found.into_iter().map(|(_, template)| template).collect();
                Err(Error::InSeveral { name: name.to_owned(), templates })
            }
            None => match found.pop() {
                Some((_, template)) => Ok(template),
                None => Err(Error::InNone(name.to_owned())),
            },
        }
    }

    fn lock_pins(&self, template: &TemplateName) -> Result<Lock, Error> {
        lock::make_folder(&self.layout().locks())?;
        let lock = Lock::take(&self.layout().template_lock(template), PATIENCE)?;
        lock.ok_or_else(|| Error::Settling(template.clone()))
    }
}

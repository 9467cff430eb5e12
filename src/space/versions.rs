//! The versions that gc lets go: what a settle of each template would drop, said beforehand.

use super::gc::{Action, Gc, Item, Object};
use crate::source::{Error, Fate, Keep, Sources};
use crate::store::{TemplateName, VersionId};

impl Gc<'_> {
    /// The versions that nothing keeps; changes nothing.
    ///
    /// # Errors
    /// A record, a pin or the store cannot be read.
    pub fn versions(&self, keep: impl Fn(&TemplateName) -> Keep) -> Result<Vec<Item>, Error> {
        let sources = Sources::new(self.sessions);
        let mut items = Vec::new();
        for template in self.sessions.store().templates()? {
            let fates = sources.fates(&template, keep(&template))?;
            let drop = fates.into_iter().filter(|(_, fate)| *fate == Fate::Drop);
            items.extend(drop.map(|(version, _)| superseded(&template, version)));
        }
        Ok(items)
    }
}

/// The line of a version that goes.
pub(super) fn superseded(template: &TemplateName, version: VersionId) -> Item {
    Item {
        object: Object::Version { template: template.clone(), version },
        action: Action::Remove,
        reason: "beyond what the template keeps, without a session and not pinned".to_owned(),
        bytes: None,
    }
}

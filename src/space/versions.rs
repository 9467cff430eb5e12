//! The versions that gc lets go: what a settle of each template would drop, said beforehand.

use super::gc::{Action, Gc, Item, Object};
use crate::source::{Error, Fate, Keep, Sources};
use crate::store::{SessionId, TemplateName, VersionId};

impl Gc<'_> {
    /// The versions that nothing keeps, of a plan's trees none that stays either; changes nothing.
    ///
    /// # Errors
    /// A record, a pin or the store cannot be read.
    pub fn versions(&self, plan: &[Item], keep: impl Fn(&TemplateName) -> Keep) -> Result<Vec<Item>, Error> {
        let (sources, store) = (Sources::new(self.sessions), self.sessions.store());
        let mut items = Vec::new();
        for template in store.templates()? {
            let fates = sources.fates(&template, keep(&template))?;
            let holds = store.holds(&template)?;
            let held =
                |version: &VersionId| holds.iter().any(|(of, session)| of == version && !goes(plan, session));
            let drop = fates.into_iter().filter(|(version, fate)| *fate == Fate::Drop && !held(version));
            items.extend(drop.map(|(version, _)| superseded(&template, version)));
        }
        Ok(items)
    }
}

/// Whether a plan has it that the tree of a session goes.
fn goes(plan: &[Item], session: &SessionId) -> bool {
    let is_of = |object: &Object| matches!(object, Object::SessionTree { session: of } if of == session);
    plan.iter().any(|item| item.action == Action::Remove && is_of(&item.object))
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

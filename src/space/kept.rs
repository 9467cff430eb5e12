//! What gc does with source sessions that have ended without a commit: their drafts are kept for a while.

use jiff::Timestamp;

use super::gc::{Action, Gc, Item, Object};
use crate::session::{self, Record};
use crate::source::Error;
use crate::store::{SessionId, TemplateName, VersionId};

/// A line for each of them.
pub(super) fn items(kept: &[Record]) -> Vec<Item> {
    kept.iter().filter_map(|record| Some(item(record, record.kept_until?))).collect()
}

fn item(record: &Record, until: Timestamp) -> Item {
    let (action, reason) = if is_due(record) {
        (Action::Remove, format!("it ended without a commit, and its draft was kept until {until}"))
    } else {
        (Action::Keep, format!("it ended without a commit, its draft is kept until {until}"))
    };
    Item { object: Object::KeptSession { session: record.id.clone() }, action, reason, bytes: None }
}

/// A clock that went backwards keeps it longer.
fn is_due(record: &Record) -> bool {
    record.is_kept() && record.kept_until.is_some_and(|until| until <= Timestamp::now())
}

/// Whether a draft is that of a session that is among what goes.
pub(super) fn goes_with(items: &[Item], kept: &[Record], template: &TemplateName, draft: &VersionId) -> bool {
    let is_its = |record: &&Record| &record.template == template && record.draft.as_ref() == Some(draft);
    let goes = |record: &Record| {
        let object = Object::KeptSession { session: record.id.clone() };
        items.iter().any(|item| item.object == object && item.action == Action::Remove)
    };
    kept.iter().find(is_its).is_some_and(goes)
}

impl Gc<'_> {
    /// `false` if it stays: somebody commits it just now, or it stands again.
    pub(super) fn remove_kept(&self, session: &SessionId) -> Result<bool, Error> {
        let begun = match self.sessions.lock(session) {
            Ok(begun) => begun,
            Err(session::Error::InUse(_)) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        if !is_due(&begun.record) {
            return Ok(false);
        }
        self.sessions.dispose(begun)?;
        Ok(true)
    }
}

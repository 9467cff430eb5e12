//! Sessions on drafts. A draft has no snapshot before its commit, so one is taken for each session that tries it out:
//! `DRAFT@try:SESSION`, which no version can be called. It is destroyed, deferred, as soon as the session is cloned
//! from it: it goes with that session and nobody has to remember it. One that a crash left without a clone is
//! destroyed when the draft is published or dropped.

use std::io;

use super::ZfsStore;
use super::listing::SnapLine;
use crate::store::{Error, ErrorKind, Result, SessionId, TemplateName, VersionId};

const PREFIX: &str = "try:";

impl ZfsStore {
    pub(super) fn clone_draft(
        &self,
        template: &TemplateName,
        draft: &VersionId,
        session: &SessionId,
    ) -> Result<()> {
        let (head, tree) = (self.names.head(template, draft), self.names.session(session));
        let listing = self.listing(template)?;
        if listing.head(draft).is_none() || listing.is_taken(draft) {
            return Err(Error::new(ErrorKind::Gone, "clone", head, "there is no such draft"));
        }
        if self.engine.exists(&tree) {
            return Err(Error::io("clone", tree, io::Error::from_raw_os_error(libc::EEXIST)));
        }
        self.forget_trials(template, draft)?;
        let snapshot = format!("{head}@{PREFIX}{session}");
        self.engine.snapshot(&snapshot).map_err(|error| Error::io("snapshot", head, error))?;
        let cloned = self.engine.clone_from(&snapshot, &tree);
        let forgotten = self.engine.destroy_snapshot_later(&snapshot);
        cloned.map_err(|error| Error::io("clone", snapshot.clone(), error))?;
        forgotten.map_err(|error| Error::io("destroy", snapshot, error))
    }

    /// Destroys what crashes left; says what has to wait for a session.
    pub(super) fn forget_trials(&self, template: &TemplateName, draft: &VersionId) -> Result<Option<String>> {
        let of_draft = |snap: &&SnapLine| snap.head == *draft && snap.name.starts_with(PREFIX);
        let listing = self.listing(template)?;
        for snap in listing.foreign.iter().filter(of_draft).filter(|snap| !snap.leaving) {
            let snapshot = format!("{}@{}", self.names.head(template, draft), snap.name);
            self.engine
                .destroy_snapshot_later(&snapshot)
                .map_err(|error| Error::io("destroy", snapshot, error))?;
        }
        let listing = self.listing(template)?;
        let session = |snap: &SnapLine| snap.name.trim_start_matches(PREFIX).to_owned();
        Ok(listing.foreign.iter().find(of_draft).map(session))
    }
}

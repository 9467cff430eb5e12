//! Clones of datasets that are not the store's: the first version of a template that was a chroot of its own.
//!
//! The dataset gets a snapshot of ours, the head is cloned from that, and the snapshot is destroyed, deferred: it
//! goes with the last clone. A crash before that leaves the snapshot; who adopts the dataset again takes it away.

use super::ZfsStore;
use crate::store::{Error, ErrorKind, Result, TemplateName, VersionId};

impl ZfsStore {
    pub(super) fn adopt(&self, template: &TemplateName, draft: &VersionId, dataset: &str) -> Result<()> {
        self.refuse_taken("clone", template, draft)?;
        self.refuse_foreign(dataset)?;
        let snapshot = format!("{dataset}@zchroot-adopted-{template}");
        if self.engine.exists(&snapshot) {
            self.let_go(&snapshot)?;
        }
        self.engine.snapshot(&snapshot).map_err(|error| match error.raw_os_error() {
            Some(libc::EEXIST) => {
                let why = "something is cloned from it: another adoption is under way or was left (zchroot recover)";
                Error::new(ErrorKind::Busy, "snapshot", &snapshot, why)
            }
            _ => Error::io("snapshot", &snapshot, error),
        })?;
        let head = self.names.head(template, draft);
        let made = self.ensure_container(template).and_then(|()| {
            self.engine.clone_from(&snapshot, &head).map_err(|error| Error::io("clone", &snapshot, error))
        });
        let let_go = self.let_go(&snapshot);
        made.and(let_go)
    }

    /// What can be cloned into the store lies in its pool, and is not of the store itself.
    fn refuse_foreign(&self, dataset: &str) -> Result<()> {
        let refuse = |kind, why: &str| Err(Error::new(kind, "clone", dataset, why));
        let within = |above: &str| dataset == above || dataset.starts_with(&format!("{above}/"));
        if within(self.names.root()) {
            return refuse(ErrorKind::Unsupported, "it is of the store itself");
        }
        if !within(self.names.pool()) {
            return refuse(ErrorKind::Unsupported, "it lies in another pool than the store");
        }
        if !self.engine.exists(dataset) {
            return refuse(ErrorKind::Gone, "there is no such dataset");
        }
        Ok(())
    }

    /// The snapshot goes now, or with the last clone of it.
    fn let_go(&self, snapshot: &str) -> Result<()> {
        self.engine.destroy_snapshot_later(snapshot).map_err(|error| Error::io("destroy", snapshot, error))
    }
}

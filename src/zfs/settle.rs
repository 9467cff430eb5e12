//! Tidying after commits. Idempotent: it looks at what stands and needs to know nothing of what happened.
//!
//! 1. Promote the current head while it is a clone of another head. All snapshots up to its origin move to
//!    it; sessions, which hang off the snapshots, notice nothing.
//! 2. Destroy the former heads that have no snapshot left. A snapshot that an administrator took himself is neither a
//!    version nor touched, and keeps its head.
//! 3. Destroy, deferred, the snapshots of versions that are not current and may go: each goes at once, or by itself
//!    in the transaction in which its last session goes. But not that of a version whose own head still stands:
//!    a head without its snapshot is what a draft looks like.
//! 4. Retire the heads that have nothing left but their own snapshot, and whose version may go: both in one
//!    transaction.
//!
//! So there is one head per template, with the snapshots that are kept or in use. After a rollback there is a second
//! one: it has the versions that were committed after the one that was gone back to, and goes when they have.

use super::listing::{Listing, Verdict};
use super::{RETIRE, ZfsStore, decoded};
use crate::store::{Error, ErrorKind, Result, Settled, TemplateName, VersionId};

/// A chain of heads grows by one for each commit that was not settled; each promote takes one off.
const LONGEST_CHAIN: usize = 1000;

impl ZfsStore {
    pub(super) fn tidy(
        &self,
        template: &TemplateName,
        may_go: &dyn Fn(&VersionId) -> bool,
    ) -> Result<Settled> {
        let mut settled = Settled::default();
        let before = self.listing(template)?;
        let Some(current) = before.current.clone() else { return Ok(settled) };
        let flat = self.flatten(template, &current, before.clone(), &mut settled)?;
        let dropped = self.drop_former_heads(template, &before, &flat, &mut settled)?;
        let bare = if dropped { self.listing(template)? } else { flat };
        let superseded = bare.superseded(may_go);
        let sparse = if superseded.is_empty() {
            bare
        } else {
            self.drop_snapshots(template, &superseded, &mut settled)?;
            self.listing(template)?
        };
        let retired = self.retire(template, &sparse.retirable(may_go), &mut settled)?;
        let after = if retired { self.listing(template)? } else { sparse };
        settled.dropped = before.versions().into_iter().filter(|version| !after.is_taken(version)).collect();
        let container = self.names.container(template);
        for snap in after.snapshots.iter().filter(|snap| snap.leaving) {
            // What a former head hangs on goes with that head: nothing has to be tried again.
            let name = format!("{container}/{}@{}", snap.head, snap.name);
            if after.heads.iter().all(|head| head.origin.as_ref() != Some(&name)) {
                let why = "something is cloned from it; it goes with the last such";
                settled.deferred.push(format!("{template} {}: {why}", snap.name));
            }
        }
        Ok(settled)
    }

    /// Step 4; says whether any went.
    fn retire(&self, template: &TemplateName, heads: &[VersionId], settled: &mut Settled) -> Result<bool> {
        for id in heads {
            let head = self.names.head(template, id);
            let text = self.engine.commit(&head, RETIRE, &[("h", &head), ("v", id.as_str())])?;
            match decoded(&head, Verdict::decode(&text))? {
                Verdict::Refused(_, libc::EBUSY | libc::EEXIST) => {
                    settled.deferred.push(format!("{template} {id}: something is cloned from it"));
                }
                Verdict::Refused(step, errno) => {
                    let object = format!("{head} ({step})");
                    waits(Error::io("destroy", object, std::io::Error::from_raw_os_error(errno)), settled)?;
                }
                _ => {}
            }
        }
        Ok(!heads.is_empty())
    }

    /// Step 1; says what stands then.
    fn flatten(
        &self,
        template: &TemplateName,
        current: &VersionId,
        mut listing: Listing,
        settled: &mut Settled,
    ) -> Result<Listing> {
        let siblings = format!("{}/", self.names.container(template));
        let head = self.names.head(template, current);
        for _ in 0..LONGEST_CHAIN {
            let origin = listing.head(current).and_then(|line| line.origin.as_deref());
            if !origin.is_some_and(|origin| origin.starts_with(&siblings)) {
                break;
            }
            if let Err(error) = self.engine.promote(&head) {
                waits(Error::io("promote", head, error), settled)?;
                break;
            }
            listing = self.listing(template)?;
        }
        Ok(listing)
    }

    fn drop_snapshots(
        &self,
        template: &TemplateName,
        places: &[String],
        settled: &mut Settled,
    ) -> Result<()> {
        for place in places {
            let snapshot = format!("{}/{place}", self.names.container(template));
            if let Err(error) = self.engine.destroy_snapshot_later(&snapshot) {
                waits(Error::io("destroy", snapshot, error), settled)?;
            }
        }
        Ok(())
    }

    /// A head whose version was complete before we began, and that has no snapshot of its own any more, holds
    /// nothing. A draft, whose version never was, is not ours to judge. Says whether any went.
    fn drop_former_heads(
        &self,
        template: &TemplateName,
        before: &Listing,
        now: &Listing,
        settled: &mut Settled,
    ) -> Result<bool> {
        let mut any = false;
        for head in now.heads.iter().filter(|head| before.is_taken(&head.id)) {
            if now.current.as_ref() == Some(&head.id) || now.own(&head.id).next().is_some() {
                continue;
            }
            if let Some(snap) = now.foreign_of(&head.id) {
                let why = format!("its dataset has the snapshot {}, which zchroot did not take", snap.name);
                settled.deferred.push(format!("{template} {}: {why}", head.id));
                continue;
            }
            let name = self.names.head(template, &head.id);
            match self.engine.destroy(&name) {
                Err(error) if error.raw_os_error() != Some(libc::ENOENT) => {
                    waits(Error::io("destroy", name, error), settled)?;
                }
                _ => any = true,
            }
        }
        Ok(any)
    }
}

/// Notes what has to wait: for room, for a mount to go, for a name to be free. Other errors are errors.
fn waits(error: Error, settled: &mut Settled) -> Result<()> {
    match error.kind() {
        ErrorKind::NoRoom | ErrorKind::Busy | ErrorKind::Exists | ErrorKind::Gone => {
            let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
            settled.deferred.push(format!("{error}: {cause}"));
            Ok(())
        }
        ErrorKind::Unsupported | ErrorKind::Other => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_pass_waits_and_the_rest_is_an_error() {
        let mut settled = Settled::default();
        for errno in [libc::ENOSPC, libc::EDQUOT, libc::EBUSY, libc::EEXIST, libc::ENOENT] {
            let error = Error::io("promote", "p/x", std::io::Error::from_raw_os_error(errno));
            waits(error, &mut settled).unwrap();
        }
        assert_eq!(settled.deferred.len(), 5);
        assert_eq!(settled.deferred[0], "cannot promote p/x: No space left on device (os error 28)");
        let error = Error::io("promote", "p/x", std::io::Error::from_raw_os_error(libc::EIO));
        assert_eq!(waits(error, &mut settled).unwrap_err().errno(), Some(libc::EIO));
        assert_eq!(settled.deferred.len(), 5);
    }
}

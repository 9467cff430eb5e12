//! What `zchroot source rebase` prints.

use serde::Serialize;

use super::context::Context;
use super::error::Error;
use super::{diff, output};
use crate::source::rebase::Divergence;
use crate::store::{SessionId, TemplateName, VersionId};

/// A new source session in place of one that was refused.
#[derive(Serialize)]
pub(super) struct Rebased {
    pub(super) template: TemplateName,
    /// The session that was refused, and is kept.
    pub(super) old: SessionId,
    /// The session that was begun.
    pub(super) new: SessionId,
    /// What the old one is based on.
    pub(super) base: VersionId,
    /// What the new one is based on.
    pub(super) current: VersionId,
    #[serde(flatten)]
    pub(super) divergence: Divergence,
}

impl Rebased {
    pub(super) fn print(&self, json: bool, context: &Context) -> Result<(), Error> {
        if json {
            return output::json("rebase", self);
        }
        let Self { template, old, new, base, current, divergence } = self;
        output::line(&format!("source session {new} is begun on version {current} of {template}"))?;
        output::line(&format!(
            "changed by {old} and by others since {base}, to be looked at: {}",
            divergence.both.len()
        ))?;
        for both in &divergence.both {
            output::line(&format!("  {old}: {}", diff::line(&both.yours)))?;
            output::line(&format!("  {current}: {}", diff::line(&both.theirs)))?;
        }
        output::line(&format!(
            "changed by {old} alone, to be done again in {new}: {}",
            divergence.yours.len()
        ))?;
        for difference in &divergence.yours {
            output::line(&format!("  {}", diff::line(difference)))?;
        }
        output::line(&format!("changed by others alone, already in {new}: {}", divergence.theirs.len()))?;
        for difference in &divergence.theirs {
            output::line(&format!("  {}", diff::line(difference)))?;
        }
        for step in [
            format!("to look at the old tree:  zchroot source exec {old}"),
            format!("to work in the new one:   zchroot source exec {new}, then zchroot source commit {new}"),
            format!("when nothing of the old one is needed any more:  zchroot source abort {old}"),
        ] {
            context.note(&step);
        }
        Ok(())
    }
}

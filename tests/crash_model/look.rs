//! What is looked at without being changed: pins, digests, differences, and the second session of a rebase.

use std::collections::BTreeSet;

use zchroot::session::Kind;
use zchroot::session::record::Owner;
use zchroot::source::diff::Wanted;
use zchroot::source::digest::Verdict;
use zchroot::source::{Pin, SourceRequest, Version};
use zchroot::store::{Silent, TemplateName};

use crate::act::{Trouble, new_record, session, template, told};
use crate::check::{CURRENT, Checked, Violation, must};
use crate::world::Handles;

/// The generations that are pinned.
pub(crate) fn pins(it: &Handles<'_>, template: &TemplateName) -> Checked<BTreeSet<usize>> {
    let generation = |id| {
        let version = must(CURRENT, "read a version", Version::load(it.layout, template, id))?;
        let unknown = || Violation { rule: CURRENT, what: format!("nothing is known of pinned {id}") };
        Ok(usize::try_from(version.ok_or_else(unknown)?.generation).unwrap())
    };
    must(CURRENT, "read the pins", Pin::all(it.layout, template))?.keys().map(generation).collect()
}

impl Handles<'_> {
    pub(crate) fn pin(&self, of: &str, generation: usize) -> Result<(), Trouble> {
        let by = Owner { uid: 0, name: "root".to_owned() };
        let version = self.version(of, generation)?.id;
        self.sources.pin(&template(of), &version, by, None).map(drop).map_err(told)
    }

    pub(crate) fn unpin(&self, of: &str, generation: usize) -> Result<(), Trouble> {
        let version = self.version(of, generation)?.id;
        self.sources.unpin(&template(of), &version).map(drop).map_err(told)
    }

    pub(crate) fn verify(&self, of: &str, generation: usize) -> Result<(), Trouble> {
        let version = self.version(of, generation)?.id;
        match self.sources.verify(&template(of), &version, &mut |_| Ok(())).map_err(told)? {
            Verdict::Same { .. } | Verdict::New { .. } => Ok(()),
            other => Err(format!("{of} {generation}: {other:?}")),
        }
    }

    pub(crate) fn diff(&self, of: &str, one: usize, other: usize) -> Result<(), Trouble> {
        let (one, other) = (self.version(of, one)?.id, self.version(of, other)?.id);
        let wanted = Wanted { files: true, full: true, tell: &mut |_| Ok(()), step: &mut |_| Ok(()) };
        self.sources.diff(&template(of), &one, &other, wanted).map(drop).map_err(told)
    }

    pub(crate) fn diff_session(&self, id: &str) -> Result<(), Trouble> {
        let begun = self.lock(id)?;
        let wanted = Wanted { files: true, full: false, tell: &mut |_| Ok(()), step: &mut |_| Ok(()) };
        self.sources.diff_session(&begun.record, wanted).map(drop).map_err(told)
    }

    /// As the command: the new session goes when the two cannot be compared.
    pub(crate) fn rebase(&self, old: &str, id: &str) -> Result<(), Trouble> {
        let old = self.lock(old)?;
        self.sources.outdated(&old.record).map_err(told)?;
        let new = new_record(old.record.template.as_str(), id, Kind::Source);
        let request = SourceRequest { new, profile: &self.profile() };
        let current = self.sources.begin(request, &mut Silent).map_err(told)?.record.base.unwrap();
        let compared = self.sources.divergence(&old.record, &current, &mut |_| Ok(()));
        if compared.is_err() {
            let begun = self.sessions.lock(&session(id)).map_err(told)?;
            self.sources.abort(begun).map_err(told)?;
        }
        compared.map(drop).map_err(told)
    }
}

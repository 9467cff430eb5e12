//! The reference: what must be so after an operation, in numbers. Trees are their stamps, versions their generation.

use std::collections::{BTreeMap, BTreeSet};

use crate::act::KEEP;

/// What users see of an installation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Model {
    /// The stamps of all versions of each template, oldest first; the last one is current.
    pub(crate) templates: BTreeMap<String, Vec<u32>>,
    pub(crate) sessions: BTreeMap<String, Session>,
    /// The stamps of the images.
    pub(crate) images: BTreeSet<u32>,
    /// The generations that were pinned.
    pub(crate) pins: BTreeMap<String, BTreeSet<usize>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) template: String,
    /// Based on this generation.
    pub(crate) base: usize,
    pub(crate) is_source: bool,
    /// What is in its tree.
    pub(crate) stamp: u32,
    /// It has ended without a commit, and its draft is kept.
    pub(crate) kept: bool,
}

/// What somebody does. Names of templates and sessions; numbers are stamps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Op {
    /// Lays the store out.
    Init,
    /// Begins a template's first version, imports it, commits.
    Create(&'static str, u32),
    /// Begins a named session.
    Begin(&'static str, &'static str),
    /// Begins an ephemeral session, runs a command in it, ends it.
    Run(&'static str, &'static str),
    /// Runs a command in a session.
    Exec(&'static str),
    End(&'static str),
    SourceBegin(&'static str, &'static str),
    /// As `SourceBegin`; the end of this one commits it, if its commands ended well.
    SourceBeginToEnd(&'static str, &'static str),
    /// Ends a source session in which all commands ended well.
    SourceEnd(&'static str),
    /// Ends one in which a command failed.
    SourceEndFailed(&'static str),
    /// The day is over for which the draft of a session is kept: no operation of the program.
    Age(&'static str),
    /// Somebody writes into a session's tree: no operation of the program.
    Write(&'static str, u32),
    Commit(&'static str),
    Abort(&'static str),
    /// Commits the tree of an older generation, in a session of this name.
    Rollback(&'static str, &'static str, usize),
    Settle(&'static str),
    Pin(&'static str, usize),
    Unpin(&'static str, usize),
    /// Compares a generation with its digest; makes that if there is none.
    Verify(&'static str, usize),
    /// Compares two generations.
    Diff(&'static str, usize, usize),
    /// Compares a session with its base.
    DiffSession(&'static str),
    /// Begins another source session from the current version, and compares.
    Rebase(&'static str, &'static str),
    /// Imports the archive of this stamp.
    ImageImport(u32),
    ImageRemove(u32),
    /// As `Run`, of an image.
    ImageRun(u32, &'static str),
    Gc,
    Recover,
}

impl Model {
    /// What must be so after the operation; `None` if it has to be refused.
    pub(crate) fn after(&self, op: &Op) -> Option<Model> {
        let mut new = self.clone();
        match *op {
            Op::Create(template, stamp) => {
                let versions = new.templates.entry(template.to_owned()).or_default();
                versions.is_empty().then(|| versions.push(stamp))?;
            }
            Op::Begin(template, session)
            | Op::SourceBegin(template, session)
            | Op::SourceBeginToEnd(template, session) => {
                let versions = self.templates.get(template)?;
                let is_source = !matches!(op, Op::Begin(..));
                let (base, stamp) = (versions.len(), *versions.last()?);
                let begun = Session { template: template.to_owned(), base, is_source, stamp, kept: false };
                new.sessions.insert(session.to_owned(), begun).is_none().then_some(())?;
            }
            Op::Run(template, session) => {
                (self.templates.contains_key(template) && !self.sessions.contains_key(session))
                    .then_some(())?;
            }
            Op::Exec(session) => {
                self.sessions.get(session)?;
            }
            Op::Write(session, stamp) => new.sessions.get_mut(session)?.stamp = stamp,
            Op::End(session) => {
                new.sessions.remove(session).filter(|it| !it.is_source)?;
            }
            Op::Abort(session) => {
                new.sessions.remove(session).filter(|it| it.is_source)?;
            }
            Op::SourceEndFailed(session) => {
                new.sessions.get_mut(session).filter(|it| it.is_source)?.kept = true;
            }
            Op::Age(session) => {
                self.sessions.get(session).filter(|it| it.kept)?;
            }
            Op::Commit(session) | Op::SourceEnd(session) => {
                let done = new.sessions.remove(session).filter(|it| it.is_source)?;
                let versions = new.templates.get_mut(&done.template)?;
                (versions.len() == done.base).then(|| versions.push(done.stamp))?;
            }
            Op::Rollback(template, session, to) => {
                let versions = new.templates.get_mut(template)?;
                (to < versions.len() && !self.sessions.contains_key(session)).then_some(())?;
                let stamp = *versions.get(to.checked_sub(1)?)?;
                self.kept(template, KEEP).contains(&to).then(|| versions.push(stamp))?;
            }
            Op::ImageImport(stamp) => {
                new.images.insert(stamp);
            }
            Op::ImageRemove(stamp) => new.images.remove(&stamp).then_some(())?,
            Op::ImageRun(stamp, session) => {
                (self.images.contains(&stamp) && !self.sessions.contains_key(session)).then_some(())?;
            }
            Op::Pin(template, generation) => {
                self.kept(template, KEEP).contains(&generation).then_some(())?;
                new.pins.entry(template.to_owned()).or_default().insert(generation);
            }
            Op::Unpin(template, generation) => {
                new.pins.get_mut(template)?.remove(&generation).then_some(())?;
                new.pins.retain(|_, pins| !pins.is_empty());
            }
            Op::Verify(template, generation) => {
                self.kept(template, KEEP).contains(&generation).then_some(())?;
            }
            Op::Diff(template, one, other) => {
                let kept = self.kept(template, KEEP);
                (kept.contains(&one) && kept.contains(&other)).then_some(())?;
            }
            Op::DiffSession(session) => {
                self.sessions.get(session)?;
            }
            Op::Rebase(old, session) => {
                let old = self.sessions.get(old).filter(|it| it.is_source)?;
                let versions = self.templates.get(&old.template)?;
                (old.base < versions.len()).then_some(())?;
                let (base, stamp) = (versions.len(), *versions.last()?);
                let begun =
                    Session { template: old.template.clone(), base, is_source: true, stamp, kept: false };
                new.sessions.insert(session.to_owned(), begun).is_none().then_some(())?;
            }
            Op::Init | Op::Settle(_) | Op::Gc | Op::Recover => {}
        }
        Some(new)
    }

    /// The generations of a template whose trees must be there once everything was settled, and no others.
    pub(crate) fn kept(&self, template: &str, keep: usize) -> Vec<usize> {
        let versions = self.templates.get(template).map_or(0, Vec::len);
        let in_use = |generation: &usize| {
            self.sessions.values().any(|it| it.template == template && it.base == *generation)
        };
        let is_pinned =
            |generation: &usize| self.pins.get(template).is_some_and(|pins| pins.contains(generation));
        let stays =
            |generation: &usize| generation + keep >= versions || in_use(generation) || is_pinned(generation);
        (1..=versions).filter(stays).collect()
    }
}

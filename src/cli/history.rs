//! `zchroot history`: the versions of a template, and why each is still there.

use std::collections::BTreeMap;

use serde::Serialize;

use super::args::History;
use super::context::Context;
use super::error::Error;
use super::exit::Status;
use super::{output, source};
use crate::source::{Entry, Fate, Reason, TreeState};
use crate::store::VersionId;
use crate::sys::privilege::raised;

/// One line: what is known of a version, and why it stays.
#[derive(Debug, Serialize)]
struct Row {
    #[serde(flatten)]
    entry: Entry,
    /// Why its tree is there; nothing if it is gone, or goes with the next settle.
    kept: Vec<Reason>,
    /// Nothing keeps it any more.
    settling: bool,
}

pub(super) fn run(args: &History, context: &Context) -> Result<Status, Error> {
    // An alias names the template too; a template whose definition is gone still has its history.
    let name =
        context.template(&args.template).map_or_else(|_| args.template.clone(), |template| template.name);
    let sources = context.sources()?;
    let mut entries = raised(|| sources.history(&name))?;
    if let Some(spec) = &args.at {
        let version = raised(|| sources.resolve_gone(&name, spec))?;
        entries.retain(|entry| entry.version.id == version);
    }
    let fates = match raised(|| sources.fates(&name, source::keep(&name, context))) {
        Ok(fates) => fates,
        Err(error) => {
            Error::from(error).print();
            BTreeMap::new()
        }
    };
    let rows: Vec<Row> = entries.into_iter().map(|entry| Row::of(entry, &fates)).collect();
    // A template that is defined and has no version yet is none that is missing.
    if args.json.json && (!rows.is_empty() || context.template(&name).is_ok()) {
        output::json("versions", &rows)?;
        return Ok(Status::Ok);
    }
    if rows.is_empty() {
        return Err(Error::not_found(format!("template {name} has no version"))
            .hint(format!("zchroot create {name} --from bootstrap:SUITE")));
    }
    output::table(
        &["GEN", "VERSION", "COMMITTED", "BY", "SIZE", "DELTA", "SESSIONS", "KEPT", "MESSAGE"],
        rows.iter().map(Row::cells).collect(),
    )?;
    Ok(Status::Ok)
}

impl Row {
    fn of(entry: Entry, fates: &BTreeMap<VersionId, Fate>) -> Self {
        let (kept, settling) = match fates.get(&entry.version.id) {
            Some(Fate::Keep(reasons)) => (reasons.clone(), false),
            Some(Fate::Drop) => (Vec::new(), true),
            Some(Fate::Gone) | None => (Vec::new(), false),
        };
        Self { entry, kept, settling }
    }

    fn cells(&self) -> Vec<String> {
        let Entry { version, delta, sessions, .. } = &self.entry;
        vec![
            version.generation.to_string(),
            version.id.to_string(),
            output::time(version.created),
            output::plain(&version.author.name),
            output::bytes(version.size),
            delta.map_or_else(|| "-".to_owned(), output::delta),
            sessions.len().to_string(),
            self.why(),
            output::plain(version.message.as_deref().unwrap_or("")),
        ]
    }

    fn why(&self) -> String {
        match self.entry.tree {
            TreeState::Gone => "gone".to_owned(),
            TreeState::Current | TreeState::Kept if self.settling => "being settled".to_owned(),
            TreeState::Current | TreeState::Kept => {
                let reasons: Vec<String> = self.kept.iter().map(Reason::to_string).collect();
                output::plain(&reasons.join(", "))
            }
        }
    }
}

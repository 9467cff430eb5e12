//! `zchroot history`: the versions of a template.

use super::args::History;
use super::context::Context;
use super::error::Error;
use super::exit::Status;
use super::output;
use crate::source::{Entry, TreeState};
use crate::sys::privilege::raised;

pub(super) fn run(args: &History, context: &Context) -> Result<Status, Error> {
    // An alias names the template too; a template whose definition is gone still has its history.
    let name =
        context.template(&args.template).map_or_else(|_| args.template.clone(), |template| template.name);
    let sources = context.sources()?;
    let entries = raised(|| sources.history(&name))?;
    if args.json.json {
        output::json("versions", &entries)?;
        return Ok(Status::Ok);
    }
    if entries.is_empty() {
        return Err(Error::not_found(format!("template {name} has no version"))
            .hint(format!("zchroot create {name} --from bootstrap:SUITE")));
    }
    output::table(
        &["GEN", "VERSION", "TREE", "COMMITTED", "BY", "SIZE", "SESSIONS", "MESSAGE"],
        entries.iter().map(row).collect(),
    )?;
    Ok(Status::Ok)
}

fn row(entry: &Entry) -> Vec<String> {
    let tree = match entry.tree {
        TreeState::Current => "current",
        TreeState::Kept => "kept",
        TreeState::Gone => "gone",
    };
    vec![
        entry.version.generation.to_string(),
        entry.version.id.to_string(),
        tree.to_owned(),
        output::time(entry.version.created),
        output::plain(&entry.version.author.name),
        output::bytes(entry.version.size),
        entry.sessions.len().to_string(),
        output::plain(entry.version.message.as_deref().unwrap_or("")),
    ]
}

//! `zchroot list`: templates and sessions.

use std::collections::BTreeSet;

use serde::Serialize;

use super::args::List;
use super::context::Context;
use super::error::Error;
use super::exit::Status;
use super::{info, output};
use crate::session::Record;
use crate::store::{TemplateName, VersionId, pointer};
use crate::sys::privilege::raised;
use crate::template::{self, Template};

/// One template in the list.
#[derive(Debug, Serialize)]
struct Row {
    name: TemplateName,
    aliases: Vec<TemplateName>,
    description: String,
    current: Option<VersionId>,
    defined: bool,
}

pub(super) fn run(args: &List, context: &Context) -> Result<Status, Error> {
    let templates = if args.sessions { Vec::new() } else { templates(context)? };
    let sessions = if args.templates { Vec::new() } else { sessions(context)? };
    if args.json.json {
        output::json("list", &serde_json::json!({ "templates": templates, "sessions": sessions }))?;
        return Ok(Status::Ok);
    }
    output::table(
        &["TEMPLATE", "CURRENT VERSION", "ALIASES", "DESCRIPTION"],
        templates.iter().map(template_row).collect(),
    )?;
    if !templates.is_empty() && !sessions.is_empty() {
        output::line("")?;
    }
    output::table(
        &["SESSION", "KIND", "STATE", "TEMPLATE", "VERSION", "OWNER", "BEGUN"],
        sessions.iter().map(session_row).collect(),
    )?;
    if templates.is_empty() && sessions.is_empty() {
        context.note("no templates and no sessions; begin with: zchroot create NAME --from bootstrap:SUITE");
    }
    Ok(Status::Ok)
}

/// The defined ones, and those whose definition is gone but whose versions are there.
fn templates(context: &Context) -> Result<Vec<Row>, Error> {
    let loaded = template::templates(&context.layout)?;
    for broken in &loaded.broken {
        output::note(&broken.to_string());
    }
    let defined: BTreeSet<TemplateName> =
        loaded.templates.iter().map(|template| template.name.clone()).collect();
    let mut rows = Vec::new();
    for template in loaded.templates {
        let current = current(context, &template.name)?;
        rows.push(Row::of(template, current));
    }
    for name in raised(|| crate::sys::file::list(&context.layout.templates()))? {
        let Ok(name) = name.parse::<TemplateName>() else { continue };
        if !defined.contains(&name) {
            let current = current(context, &name)?;
            rows.push(Row {
                name,
                aliases: Vec::new(),
                description: "(no definition)".to_owned(),
                current,
                defined: false,
            });
        }
    }
    Ok(rows)
}

fn current(context: &Context, name: &TemplateName) -> Result<Option<VersionId>, Error> {
    Ok(raised(|| pointer::read(&context.layout, name))?)
}

fn sessions(context: &Context) -> Result<Vec<Record>, Error> {
    let all = raised(|| crate::session::Records::new(&context.layout).all())?;
    for (id, error) in &all.damaged {
        output::note(&format!("zchroot: session {id}: {}", output::plain(&error.to_string())));
    }
    Ok(all.records)
}

impl Row {
    fn of(template: Template, current: Option<VersionId>) -> Self {
        Self {
            name: template.name,
            aliases: template.aliases,
            description: template.description,
            current,
            defined: true,
        }
    }
}

fn template_row(row: &Row) -> Vec<String> {
    let aliases: Vec<&str> = row.aliases.iter().map(TemplateName::as_str).collect();
    vec![
        row.name.to_string(),
        row.current.as_ref().map_or("-".to_owned(), VersionId::to_string),
        aliases.join(","),
        output::plain(&row.description),
    ]
}

fn session_row(record: &Record) -> Vec<String> {
    vec![
        record.id.to_string(),
        info::kind(record.kind).to_owned(),
        record.state.as_str().to_owned(),
        record.template.to_string(),
        record.base.as_ref().map_or("-".to_owned(), VersionId::to_string),
        output::plain(&record.owner.name),
        output::time(record.created),
    ]
}

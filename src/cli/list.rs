//! `zchroot list`: templates and sessions.

use std::collections::BTreeSet;

use serde::Serialize;

use super::args::List;
use super::context::Context;
use super::error::Error;
use super::exit::Status;
use super::{info, output, policy};
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
    let sessions: Vec<Session> = sessions.into_iter().map(|record| Session::of(record, context)).collect();
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
        let none = match (args.templates, args.sessions) {
            (false, false) => {
                "no templates and no sessions; begin with: zchroot create NAME --from bootstrap:SUITE"
            }
            (true, _) => "no templates; begin with: zchroot create NAME --from bootstrap:SUITE",
            (false, true) => "no sessions; begin one with: zchroot begin TEMPLATE",
        };
        context.note(none);
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
        let public = template::may_caller_read(&context.layout, &template.name)?;
        let shown = public || policy::may_know(context, &template);
        rows.push(Row::of(template, current, shown));
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
    /// Of what is none of the caller's business the name, which the state on the disk shows to all.
    fn of(template: Template, current: Option<VersionId>, shown: bool) -> Self {
        if !shown {
            let (aliases, description) = (Vec::new(), String::new());
            return Self { name: template.name, aliases, description, current, defined: true };
        }
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

/// A session as the caller may see it.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Session {
    Own(Box<Record>),
    Other(info::Other),
}

impl Session {
    fn of(record: Record, context: &Context) -> Self {
        match policy::is_ones_own(context, &record) {
            true => Self::Own(Box::new(record)),
            false => Self::Other(info::Other::from(&record)),
        }
    }
}

fn session_row(session: &Session) -> Vec<String> {
    match session {
        Session::Own(record) => row(&info::Other::from(record.as_ref()), &output::plain(&record.owner.name)),
        Session::Other(other) => row(other, "-"),
    }
}

fn row(record: &info::Other, owner: &str) -> Vec<String> {
    vec![
        record.id.to_string(),
        info::kind(record.kind).to_owned(),
        info::state(record.state, record.kept_until),
        record.template.to_string(),
        record.base.as_ref().map_or("-".to_owned(), VersionId::to_string),
        owner.to_owned(),
        output::time(record.created),
    ]
}

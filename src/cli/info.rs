//! `zchroot info`: one session or template.
//!
//! The program reads more than its caller could. Of somebody else's session it shows that it is there; of a template
//! whose definition the caller could not read himself what `list` shows, and that only if he may use it.

use jiff::Timestamp;
use serde::Serialize;

use super::args::Info;
use super::context::Context;
use super::error::Error;
use super::exit::Status;
use super::{output, policy};
use crate::session::record::{self, Kind, Record, Records, State};
use crate::store::{SessionId, TemplateName, VersionId, pointer};
use crate::sys::privilege::raised;
use crate::template::{self, AccountName, CommitOnEnd, Template};

pub(super) fn run(args: &Info, context: &Context) -> Result<Status, Error> {
    let id: SessionId = args.name.parse()?;
    match raised(|| Records::new(&context.layout).load(&id)) {
        Ok(record) => session(&record, args, context),
        Err(record::Error::Unknown(_)) => template(args, context),
        Err(error) => Err(error.into()),
    }
}

/// The word for a session's kind.
pub(super) fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Ephemeral => "ephemeral",
        Kind::Named => "named",
        Kind::Source => "source",
    }
}

/// The word for how far a session is.
pub(super) fn state(state: State, kept_until: Option<Timestamp>) -> String {
    match kept_until {
        Some(until) => format!("{} until {}", state.as_str(), output::time(until)),
        None => state.as_str().to_owned(),
    }
}

fn session(record: &Record, args: &Info, context: &Context) -> Result<Status, Error> {
    if !policy::is_ones_own(context, record) {
        return others_session(&Other::from(record), args);
    }
    let at = context.layout.mount(&record.id);
    if args.json.json {
        output::json("session", &serde_json::json!({ "record": record, "mount": at }))?;
        return Ok(Status::Ok);
    }
    let of = match &record.image {
        Some(image) => ("Image", image.to_string()),
        None => ("Version", record.base.as_ref().map_or("-".to_owned(), VersionId::to_string)),
    };
    fields(&[
        ("Session", record.id.to_string()),
        ("Kind", kind(record.kind).to_owned()),
        ("State", state(record.state, record.kept_until)),
        ("Template", record.template.to_string()),
        of,
        ("Draft", record.draft.as_ref().map_or("-".to_owned(), VersionId::to_string)),
        ("Commit on end", record.commit_on_end.map_or("-", CommitOnEnd::as_str).to_owned()),
        ("Owner", format!("{} ({})", output::plain(&record.owner.name), record.owner.uid)),
        ("Begun", output::time(record.created)),
        ("Profile", record.setup.profile.to_string()),
        ("Mounted at", at.display().to_string()),
    ])
}

/// What an ordinary user sees of a session that somebody else began.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Other {
    /// Its name.
    pub id: SessionId,
    /// What it is for.
    pub kind: Kind,
    /// How far it is.
    pub state: State,
    /// Whose tree it has.
    pub template: TemplateName,
    /// The version that it was cloned from.
    pub base: Option<VersionId>,
    /// When it was begun.
    pub created: Timestamp,
    /// How long its draft is kept, if it has ended without a commit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept_until: Option<Timestamp>,
}

impl From<&Record> for Other {
    fn from(record: &Record) -> Self {
        Self {
            id: record.id.clone(),
            kind: record.kind,
            state: record.state,
            template: record.template.clone(),
            base: record.base.clone(),
            created: record.created,
            kept_until: record.kept_until,
        }
    }
}

fn others_session(other: &Other, args: &Info) -> Result<Status, Error> {
    if args.json.json {
        output::json("session", &serde_json::json!({ "record": other }))?;
        return Ok(Status::Ok);
    }
    fields(&[
        ("Session", other.id.to_string()),
        ("Kind", kind(other.kind).to_owned()),
        ("State", state(other.state, other.kept_until)),
        ("Template", other.template.to_string()),
        ("Version", other.base.as_ref().map_or("-".to_owned(), VersionId::to_string)),
        ("Begun", output::time(other.created)),
    ])
}

fn template(args: &Info, context: &Context) -> Result<Status, Error> {
    let name: TemplateName = args.name.parse()?;
    let template = match template::template(&context.layout, name.as_str()) {
        Err(template::Error::NoTemplate { .. }) => {
            return Err(
                Error::not_found(format!("there is no session and no template {name}")).hint("zchroot list")
            );
        }
        other => other?,
    };
    let current = raised(|| pointer::read(&context.layout, &template.name))?;
    if !template::may_caller_read(&context.layout, &template.name)? {
        if !policy::may_know(context, &template) {
            let caller = context.process.caller().name();
            return Err(Error::failed(format!(
                "{caller} may neither use template {name} nor read its definition"
            )));
        }
        return outline(&template, current, args);
    }
    if args.json.json {
        output::json("template", &serde_json::json!({ "definition": template, "current": current }))?;
        return Ok(Status::Ok);
    }
    fields(&[
        ("Template", template.name.to_string()),
        ("Description", output::plain(&template.description)),
        ("Current version", current.map_or("-".to_owned(), |version| version.to_string())),
        ("Aliases", join(template.aliases.iter().map(TemplateName::as_str))),
        ("Profile", template.profile.to_string()),
        ("Network", if template.net == template::Net::None { "none" } else { "host" }.to_owned()),
        ("Own namespaces", namespaces(&template)),
        ("Users", names(&template.access.users)),
        ("Groups", names(&template.access.groups)),
        ("Root users", names(&template.access.root_users)),
        ("Root groups", names(&template.access.root_groups)),
        ("Source root users", names(&template.source.access.root_users)),
        ("Source root groups", names(&template.source.access.root_groups)),
        ("Rollback users", names(&template.source.rollback_users)),
        ("Rollback groups", names(&template.source.rollback_groups)),
        ("Commit on end", template.source.commit_on_end.as_str().to_owned()),
        ("Versions kept", template.keep.to_string()),
        ("Kept for", template.keep_for.map_or("-".to_owned(), |period| period.to_string())),
    ])
}

/// What `list` shows of a template.
fn outline(template: &Template, current: Option<VersionId>, args: &Info) -> Result<Status, Error> {
    let Template { name, description, aliases, .. } = template;
    if args.json.json {
        let shown = serde_json::json!({ "name": name, "description": description, "aliases": aliases });
        output::json("template", &serde_json::json!({ "definition": shown, "current": current }))?;
        return Ok(Status::Ok);
    }
    fields(&[
        ("Template", name.to_string()),
        ("Description", output::plain(description)),
        ("Current version", current.map_or("-".to_owned(), |version| version.to_string())),
        ("Aliases", join(aliases.iter().map(TemplateName::as_str))),
    ])
}

fn namespaces(template: &Template) -> String {
    let all = [("pid", template.pid), ("ipc", template.ipc), ("uts", template.uts)];
    join(all.iter().filter(|(_, on)| *on).map(|(name, _)| *name))
}

fn names(names: &[AccountName]) -> String {
    join(names.iter().map(AccountName::as_str))
}

fn join<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let words: Vec<&str> = words.collect();
    if words.is_empty() { "-".to_owned() } else { words.join(" ") }
}

fn fields(fields: &[(&str, String)]) -> Result<Status, Error> {
    for (name, value) in fields {
        output::line(&format!("{name:<20}{value}"))?;
    }
    Ok(Status::Ok)
}

//! `zchroot info`: one session or template.

use super::args::Info;
use super::context::Context;
use super::error::Error;
use super::exit::Status;
use super::output;
use crate::session::record::{self, Kind, Record, Records};
use crate::store::{SessionId, TemplateName, VersionId, pointer};
use crate::sys::privilege::raised;
use crate::template::{self, AccountName, Template};

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

fn session(record: &Record, args: &Info, context: &Context) -> Result<Status, Error> {
    let at = context.layout.mount(&record.id);
    if args.json.json {
        output::json("session", &serde_json::json!({ "record": record, "mount": at }))?;
        return Ok(Status::Ok);
    }
    fields(&[
        ("Session", record.id.to_string()),
        ("Kind", kind(record.kind).to_owned()),
        ("State", record.state.as_str().to_owned()),
        ("Template", record.template.to_string()),
        ("Version", record.base.as_ref().map_or("-".to_owned(), VersionId::to_string)),
        ("Draft", record.draft.as_ref().map_or("-".to_owned(), VersionId::to_string)),
        ("Owner", format!("{} ({})", output::plain(&record.owner.name), record.owner.uid)),
        ("Begun", output::time(record.created)),
        ("Profile", record.setup.profile.to_string()),
        ("Mounted at", at.display().to_string()),
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
        ("Versions kept", template.keep.to_string()),
        ("Kept for", template.keep_for.map_or("-".to_owned(), |period| period.to_string())),
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

//! `zchroot rollback`: an older version's tree becomes current again, by a commit forward.

use super::args::Rollback;
use super::context::Context;
use super::error::Error;
use super::exit::Status;
use super::{output, policy, room, source as steps};
use crate::session::record::NewRecord;
use crate::session::{self, Kind};
use crate::source;
use crate::store::{Progress, SessionId};
use crate::sys::privilege::raised;

pub(super) fn run(args: &Rollback, context: &Context) -> Result<Status, Error> {
    let template = context.template(&args.template)?;
    policy::may_roll_back(context, &template, "roll back")?;
    let _held = Context::hold_signals()?;
    let sources = context.sources()?;
    // First of all: what "previous" is depends on it.
    let base = raised(|| sources.current(&template.name))?;
    let to = raised(|| sources.resolve(&template.name, &args.version))?;
    let id = SessionId::generate(&template.name)
        .map_err(|error| session::Error::sys("name", "a new session", error))?;
    let new = NewRecord {
        id,
        kind: Kind::Source,
        template: template.name.clone(),
        image: None,
        owner: policy::owner(context),
        root_allowed: false,
        commit_on_end: None,
        setup: steps::setup(&template),
    };
    let mut bar = context.bar();
    let version = room::retrying(context, &format!("roll {} back", template.name), 0, || {
        let request = source::Rollback {
            new: new.clone(),
            base: base.clone(),
            to: to.clone(),
            message: args.message.clone(),
        };
        let version = raised(|| sources.rollback(request, &mut bar));
        bar.finish();
        Ok(version?)
    })?;
    tracing::info!(target: "audit", caller = context.process.caller().name(), template = %template.name, version = %version.id, tree_of = %to, "rolled back");
    context.note(&format!(
        "template {}: version {} (generation {}) is current, its tree is that of {to}",
        template.name, version.id, version.generation
    ));
    steps::settle(&template.name, context);
    if args.json.json {
        output::json("version", &version)?;
    } else {
        output::line(version.id.as_str())?;
    }
    Ok(Status::Ok)
}

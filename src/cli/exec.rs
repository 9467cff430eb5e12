//! `zchroot begin` and `zchroot exec`: named sessions.

use super::args::{Begin, Exec, Inside};
use super::context::Context;
use super::error::Error;
use super::exit::Status;
use super::output;
use super::policy;
use super::run::{self, Plan};
use crate::session::Kind;
use crate::store::SessionId;
use crate::sys::privilege::raised;

/// `zchroot begin`.
pub(super) fn begin(args: &Begin, context: &Context) -> Result<Status, Error> {
    let template = context.template(&args.template)?;
    policy::may_begin(context, &template.name, &template.access)?;
    let plan = Plan {
        kind: Kind::Named,
        name: args.name.clone(),
        at: args.at.clone(),
        image: None,
        quota: args.quota,
        isolation: None,
    };
    let _held = Context::hold_signals()?;
    let begun = run::begin(context, &template, plan)?;
    output::line(begun.record.id.as_str())?;
    Ok(Status::Ok)
}

/// `zchroot exec`.
pub(super) fn run(args: &Exec, context: &Context) -> Result<Status, Error> {
    Context::entering(enter(&args.session, &args.inside, &args.command, context))
}

fn enter(
    session: &SessionId,
    inside: &Inside,
    command: &[std::ffi::OsString],
    context: &Context,
) -> Result<Status, Error> {
    let sessions = context.sessions()?;
    let record = raised(|| sessions.records().load(session))?;
    let target = policy::target(context, inside)?;
    policy::may_enter(context, &record, &target)?;
    run::enter(context, &record, &run::wish(inside, target, command))
}

//! `zchroot end`: end sessions.

use super::args::End;
use super::context::Context;
use super::error::Error;
use super::exit::Status;
use super::policy;
use crate::session::Kind;
use crate::store::SessionId;
use crate::sys::privilege::raised;

pub(super) fn run(args: &End, context: &Context) -> Result<Status, Error> {
    let ids = if args.all { all_of_mine(context)? } else { args.sessions.clone() };
    let _held = Context::hold_signals()?;
    let mut failed: Option<Error> = None;
    for id in &ids {
        // One that will not go does not keep the others.
        if let Err(error) = end(id, context)
            && let Some(earlier) = failed.replace(error)
        {
            earlier.print();
        }
    }
    failed.map_or(Ok(Status::Ok), Err)
}

fn end(id: &SessionId, context: &Context) -> Result<(), Error> {
    let sessions = context.sessions()?;
    let record = raised(|| sessions.records().load(id))?;
    policy::may_end(context, &record)?;
    Ok(raised(|| sessions.end(sessions.lock_same(&record)?))?)
}

/// Ephemeral sessions end by themselves and source sessions carry work: neither is among them.
fn all_of_mine(context: &Context) -> Result<Vec<SessionId>, Error> {
    let sessions = context.sessions()?;
    let all = raised(|| sessions.records().all())?;
    Ok(all
        .records
        .into_iter()
        .filter(|record| record.kind == Kind::Named && policy::may_end(context, record).is_ok())
        .map(|record| record.id)
        .collect())
}

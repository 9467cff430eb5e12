//! `zchroot update`: a source session around one command; commit if it succeeds, abort if not.

use super::args::Update;
use super::context::Context;
use super::error::Error;
use super::exit::Status;
use super::{run, source};
use crate::session::Begun;

pub(super) fn run(args: &Update, context: &Context) -> Result<Status, Error> {
    let _held = Context::hold_signals()?;
    let wish = source::wish(&args.command)?;
    let begun = Context::entering(begin(args, context))?;
    // A commit that is refused has its own statuses, the command's are the command's.
    match Context::entering(run::enter(context, &begun.record, &wish)) {
        Ok(Status::Command(0)) => commit(begun, args, context),
        failed => {
            give_up(begun, args, context);
            failed
        }
    }
}

fn begin(args: &Update, context: &Context) -> Result<Begun, Error> {
    let template = context.template(&args.template)?;
    source::begin(&template, None, context)
}

/// A conflict keeps the session, and so does any failure before the commit if the user asked for that.
fn commit(begun: Begun, args: &Update, context: &Context) -> Result<Status, Error> {
    let id = begun.record.id.clone();
    match source::commit(begun, args.message.clone(), context) {
        Ok(_) => Ok(Status::Ok),
        Err(error) if error.status() == Status::Busy || args.keep => {
            context.note(&format!("source session {id} is kept"));
            Err(error)
        }
        Err(error) => {
            source::throw_away(&id, context);
            Err(error)
        }
    }
}

fn give_up(begun: Begun, args: &Update, context: &Context) {
    let id = begun.record.id.clone();
    if args.keep {
        context.note(&format!(
            "not committed; source session {id} is kept: zchroot source exec {id}, then source commit or abort"
        ));
        return;
    }
    drop(begun);
    source::throw_away(&id, context);
    context.note(&format!("not committed: template {} is as it was", args.template));
}

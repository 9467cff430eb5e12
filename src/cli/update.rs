//! `zchroot update`: a source session around one command; commit if it succeeds, abort if not.

use jiff::Timestamp;

use super::args::Update;
use super::context::Context;
use super::error::Error;
use super::exit::Status;
use super::{output, policy, room, run, source};
use crate::session::record::{NewRecord, Setup};
use crate::session::{self, Begun, Kind};
use crate::store::SessionId;
use crate::sys::privilege::raised;
use crate::template::{self, Template};

pub(super) fn run(args: &Update, context: &Context) -> Result<Status, Error> {
    let _held = Context::hold_signals()?;
    let wish = source::wish(&args.command)?;
    let template = Context::entering(context.template(&args.template))?;
    Context::entering(source::may_change(&template, context))?;
    if Context::entering(is_young(&template, args, context))? {
        return Ok(Status::Ok);
    }
    let begun = Context::entering(source::begin(&template, None, context))?;
    // A commit that is refused has its own statuses, the command's are the command's.
    match Context::entering(run::enter(context, &begun.record, &wish)) {
        Ok(Status::Command(0)) => match Context::entering(trial(&begun, &template, args, context)) {
            Ok(Status::Ok | Status::Command(0)) => commit(begun, args, context),
            failed => {
                stand_again(&begun, args, context);
                give_up(begun, args, context);
                failed
            }
        },
        failed => {
            give_up(begun, args, context);
            failed
        }
    }
}

/// Runs the test, if there is one, as root in a session on a clone of what would be committed.
fn trial(begun: &Begun, template: &Template, args: &Update, context: &Context) -> Result<Status, Error> {
    let Some(test) = &args.test else { return Ok(Status::Ok) };
    let id = SessionId::generate(&template.name)
        .map_err(|error| session::Error::sys("name", "a new session", error))?;
    let profile = template::profile(&context.layout, &template.profile)?;
    let new = NewRecord {
        id,
        kind: Kind::Ephemeral,
        template: template.name.clone(),
        image: None,
        owner: policy::owner(context),
        root_allowed: true,
        commit_on_end: None,
        setup: Setup { quota: None, ..run::setup(template, None) },
    };
    let (sessions, sources) = (context.sessions()?, context.sources()?);
    let what = format!("begin session {}", new.id);
    let trial = room::retrying(context, &what, 0, || {
        Ok(raised(|| sources.begin_trial(begun, new.clone(), &profile))?)
    })?;
    let wish = source::wish(&["sh".into(), "-c".into(), test.clone()])?;
    let ended = run::enter(context, &trial.record, &wish);
    raised(|| sessions.end(trial)).map_err(|error| Error::from(error).hint("zchroot recover"))?;
    if let Ok(status) = &ended
        && status.code() != 0
    {
        context.note(&format!("the test failed with status {}", status.code()));
    }
    ended
}

/// A session that is kept has to stand; one that is thrown away need not.
fn stand_again(begun: &Begun, args: &Update, context: &Context) {
    if !args.keep {
        return;
    }
    let stands = template::profile(&context.layout, &begun.record.setup.profile)
        .map_err(Error::from)
        .and_then(|profile| context.sources().map(|sources| (profile, sources)))
        .and_then(|(profile, sources)| Ok(raised(|| sources.stand_again(begun, &profile))?));
    if let Err(error) = stands {
        error.hint("zchroot recover").print();
    }
}

/// Whether the current version is younger than what is to be updated; then that is said.
fn is_young(template: &Template, args: &Update, context: &Context) -> Result<bool, Error> {
    let Some(limit) = args.if_older else { return Ok(false) };
    let sources = context.sources()?;
    let Some(current) = raised(|| sources.current_version(&template.name))? else { return Ok(false) };
    // A clock that went back makes a version look new; what is of the future is not older either.
    let age = Timestamp::now().duration_since(current.created);
    let young = u64::try_from(age.as_secs()).unwrap_or(0) < limit.duration().as_secs();
    if young {
        context.note(&format!(
            "template {}: version {} (generation {}) of {} is not older than {limit}: nothing is done",
            template.name,
            current.id,
            current.generation,
            output::time(current.created)
        ));
    }
    Ok(young)
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

//! Source sessions in schroot's words: the end of one is what commits it.
//!
//! What is committed, and when the draft is kept in its place, is for `source::end` to say; here it is said.

use super::act::{Act, hold_signals, not_authorised, not_begun, setup_failed};
use super::catalogue::Selected;
use super::enter;
use super::order::Verbosity;
use super::say::{Line, Trouble};
use crate::cli::error::Error;
use crate::cli::exit::Status;
use crate::cli::{self, output, policy};
use crate::session::{Begun, Record};
use crate::source::SourceEnd;
use crate::store::SessionId;
use crate::sys::privilege::raised;

/// A source session around one command.
///
/// # Errors
/// Something was refused or failed.
pub(super) fn automatic(act: &Act<'_>, one: &Selected<'_>) -> Result<Status, Trouble> {
    let _held = hold_signals()?;
    let begun = begin(act, one)?;
    let record = begun.record.clone();
    let entry = act.entry(&record, Some(one.word))?;
    let ended = enter::enter(&entry);
    let has_run = ended.is_ok();
    let told = enter::tell(&entry, ended);
    // What never started has changed nothing that could be kept.
    let concluded = if has_run { conclude(act, begun) } else { throw_away(act, begun) };
    match (told, concluded) {
        (told, Ok(Concluded::Committed | Concluded::Gone)) => told,
        // What the command said has the word.
        (told, Ok(Concluded::Kept(line))) => {
            let status = told.unwrap_or_else(|trouble| {
                trouble.print(act.is_quiet());
                Status::Failed
            });
            line.print();
            Ok(if status.code() == 0 { Status::Failed } else { status })
        }
        (Ok(status), Err(trouble)) if status.code() != 0 => {
            trouble.print(act.is_quiet());
            Ok(status)
        }
        (told, Err(trouble)) => {
            if let Err(first) = told {
                first.print(act.is_quiet());
            }
            Err(trouble)
        }
    }
}

/// Begins a source session that stands until it is ended.
///
/// # Errors
/// Something was refused or failed.
pub(super) fn begin_named(act: &Act<'_>, one: &Selected<'_>) -> Result<Status, Trouble> {
    let _held = hold_signals()?;
    let begun = begin(act, one)?;
    output::line(begun.record.id.as_str()).map_err(|error| Trouble::error(error.text()))?;
    Ok(Status::Ok)
}

/// Ends a source session of the caller's.
///
/// # Errors
/// It is not committed.
pub(super) fn end(act: &Act<'_>, record: &Record) -> Result<Status, Trouble> {
    let template = act.context.template(&record.template);
    let template = template.map_err(|error| failed(&record.id, &error))?;
    // Who was taken off the lists since then may still abort, but not publish.
    policy::may_publish(act.context, &template, record).map_err(|_| not_authorised())?;
    let sessions = act.sessions()?;
    let begun = raised(|| sessions.lock_same(record)).map_err(|error| failed(&record.id, &error.into()))?;
    match conclude(act, begun)? {
        Concluded::Committed | Concluded::Gone => Ok(Status::Ok),
        Concluded::Kept(line) => Err(Trouble { lines: vec![line], hushed_by_quiet: false }),
    }
}

fn begin(act: &Act<'_>, one: &Selected<'_>) -> Result<Begun, Trouble> {
    let broken = |text: String| Trouble::error(format!("{}: {text}", one.word));
    let name = one.chroot.name().parse().map_err(|_| broken("Invalid name".to_owned()))?;
    let template = act.context.template(&name).map_err(|error| broken(error.text()))?;
    // What is meant is what zchroot takes it for.
    if template.name != name {
        return Err(broken("Chroot not found".to_owned()));
    }
    policy::may_use(act.context, &template.name, &template.source.access, &act.target)
        .map_err(|_| not_authorised())?;
    let session = act.session_name()?;
    let id = session.as_ref().map_or_else(|| name.to_string(), ToString::to_string);
    cli::source::begin_to_end(&template, session, act.order.isolate_network, act.context)
        .map_err(|error| not_begun(&id, &error))
}

/// What became of a session, to whoever asked for its end.
enum Concluded {
    Committed,
    /// It is not committed, which is said in this line.
    Kept(Line),
    /// Nothing of it is left.
    Gone,
}

fn conclude(act: &Act<'_>, begun: Begun) -> Result<Concluded, Trouble> {
    let id = begun.record.id.clone();
    match cli::source::end(begun, act.context).map_err(|error| failed(&id, &error))? {
        SourceEnd::Committed(version) => {
            if act.order.verbosity == Verbosity::Verbose {
                let (name, generation) = (&version.id, version.generation);
                Line::Info(format!("[{id} chroot] Committed as version {name}, generation {generation}"))
                    .print();
            }
            Ok(Concluded::Committed)
        }
        SourceEnd::Kept { runs, until } => {
            let which = match runs {
                1 => "a command in it".to_owned(),
                _ => format!("{runs} commands in it"),
            };
            Ok(Concluded::Kept(Line::Error(format!(
                "{id}: Not committed, since {which} did not end with status 0; until {} ‘zchroot source commit {id}’ \
                 can still do it",
                output::time(until)
            ))))
        }
    }
}

fn throw_away(act: &Act<'_>, begun: Begun) -> Result<Concluded, Trouble> {
    let id = begun.record.id.clone();
    let sources = act.context.sources().map_err(|error| failed(&id, &error))?;
    raised(|| sources.abort(begun)).map_err(|error| failed(&id, &error.into()))?;
    Ok(Concluded::Gone)
}

/// The session is as it was, and what can be done is said.
fn failed(id: &SessionId, error: &Error) -> Trouble {
    let trouble = setup_failed(id.as_str(), "setup-stop", error);
    match error.hints() {
        [] => trouble,
        hints => trouble.and_info(format!("What helps: {}", hints.join(", or "))),
    }
}

//! The face of schroot: its command line, configuration, formats and messages, on zchroot's own sessions.
//!
//! Who calls the program as `schroot` gets what schroot 1.6.13 would have given, so that sbuild, autopkgtest and
//! piuparts need not be told. The room stands on `cli`, whose commands and policy it uses; nothing knows of it
//! but `main`. The story of a call:
//!
//! - [`grammar`] and [`order`]: words -> one action with its options; pure, without privilege
//! - [`config`]: schroot.conf and chroot.d ([`keyfile`], [`fields`], [`keys`]) -> [`definition`]s; `ours`: templates
//!   and sessions of zchroot as the same; templates win on a clash of names
//! - [`catalogue`]: names, namespaces, aliases -> the chroots that are meant
//! - [`show`] prints them; `act` works in them, `source` where that changes a template
//! - `configured`: sessions of what schroot.conf alone defines
//! - [`adopt`]: what schroot.conf defines becomes a template: zchroot's own command, here for what it reads
//! - [`say`]: whatever goes wrong is said in schroot's words, and the status is 1
//!
//! It has no lock and no state of its own, so nothing to recover: what it reads is the administrator's, what it
//! begins is zchroot's. Ending it at any point leaves what ending the same command of zchroot's leaves.

mod act;
mod adopt;
mod catalogue;
mod chroot;
mod config;
mod configured;
mod definition;
mod detail;
mod enter;
mod fields;
mod grammar;
mod keyfile;
mod keys;
mod options;
mod order;
#[cfg(test)]
mod order_tests;
mod ours;
mod say;
mod show;
mod source;
mod text;

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;

pub(crate) use adopt::adopt;

use crate::cli::context::Context;
use crate::cli::exit::Status;
use crate::cli::{Globals, output};
use crate::sys::log;
use crate::sys::startup::{self, Process};
use catalogue::{Catalogue, Selected, spaces};
use chroot::{Chroot, Origin, Space};
use order::{Action, Order, Verbosity};
use say::{Line, Trouble};

/// Whether a program called by this name is to be schroot.
#[must_use]
pub(crate) fn is_name(program: &OsStr) -> bool {
    Path::new(program).file_name() == Some(OsStr::new("schroot"))
}

/// Runs the program as schroot.
#[must_use]
pub(crate) fn main() -> ExitCode {
    let process = match startup::harden() {
        Ok(process) => process,
        Err(error) => return fail(&Trouble::error(crate::sys::chain(&error)), false),
    };
    let mut words = std::env::args_os();
    let program = words.next().unwrap_or_default();
    let words: Vec<OsString> = words.collect();
    match Order::from_words(&program, &words) {
        Err(trouble) => fail(&trouble, false),
        Ok(order) => {
            order.notes.iter().for_each(Line::print);
            match serve(&order, &program, process) {
                Ok(status) => status.into(),
                Err(trouble) => fail(&trouble, order.verbosity == Verbosity::Quiet),
            }
        }
    }
}

fn fail(trouble: &Trouble, quiet: bool) -> ExitCode {
    trouble.print(quiet);
    ExitCode::FAILURE
}

fn serve(order: &Order, program: &OsStr, process: Process) -> Result<Status, Trouble> {
    let print = |text: &str| output::line(text).map_err(|error| Trouble::error(error.text()));
    match order.action {
        Action::Help => print(&text::help(&program.to_string_lossy()))?,
        Action::Version => print(text::VERSION)?,
        _ => return serve_chroots(order, process),
    }
    Ok(Status::Ok)
}

fn serve_chroots(order: &Order, process: Process) -> Result<Status, Trouble> {
    log::init(0);
    let globals = Globals { verbose: 0, quiet: true, root: None };
    let context = Context::open(process, globals).map_err(|error| Trouble::error(error.text()))?;
    let catalogue = catalogue(order, &context)?;
    // Clients read these two with stderr on the same pipe, or want it empty.
    let silent = order.is_look() && !matches!(order.action, Action::List | Action::Info);
    // Who names what he means is told of nothing else.
    if !silent && order.chroots.is_empty() {
        catalogue.warnings.iter().for_each(Line::print);
    }
    if catalogue.is_empty() && order.verbosity != Verbosity::Quiet {
        let (file, folder) = ("/etc/schroot/schroot.conf", "/etc/schroot/chroot.d");
        Line::Warning(format!("No chroots are defined in ‘{file}’ or ‘{folder}’")).print();
    }
    let selected = select(order, &catalogue)?;
    let listed = order.action == Action::List && !show::names(order, &catalogue).is_empty();
    if selected.is_empty() && !listed {
        return nothing(order);
    }
    if order.is_look() {
        show::show(order, &catalogue, &selected)?;
        return Ok(Status::Ok);
    }
    refuse_what_is_no_session(order, &selected)?;
    act::act(order, &selected, &context)
}

/// All that an order can mean: sessions are read only if it can mean one.
///
/// # Errors
/// There is nothing, since all that there is is broken.
fn catalogue(order: &Order, context: &Context) -> Result<Catalogue, Trouble> {
    if let Some(sessions) = sessions_alone(order, context) {
        return Ok(sessions);
    }
    let (ours, mut broken) = ours::templates(context);
    let loaded = config::load(&context.layout);
    broken.extend(loaded.broken);
    if ours.is_empty() && loaded.definitions.is_empty() && !broken.is_empty() {
        return Err(Trouble { lines: broken, hushed_by_quiet: false });
    }
    let mut warnings = loaded.warnings;
    warnings.extend(broken.into_iter().map(Line::weaker));
    let is_ours = |name: &String| ours.iter().any(|chroot| chroot.name() == name);
    let configured = loaded.definitions.into_iter().filter(|(name, _)| !is_ours(name));
    let configured = configured.map(|(_, definition)| Chroot::of(definition, Origin::Configured));
    let chroots: Vec<Chroot> = ours.iter().cloned().chain(configured).collect();
    let mut catalogue = Catalogue::new(chroots.clone());
    if order.knows_sessions() {
        let all = order.chroots.is_empty() && order.all.sessions;
        let only_names = all && order.action == Action::List;
        let words = || order.chroots.iter().filter_map(|word| in_session(order, word));
        let (mut sessions, damaged) = if only_names {
            ours::session_names(context)
        } else if all {
            ours::all_sessions(context, &chroots)
        } else {
            ours::named_sessions(context, words(), &chroots)
        };
        warnings.extend(damaged);
        let left = if all { None } else { Some(words().map(str::to_owned).collect()) };
        warnings.extend(configured::left::add(context, left, only_names, &mut sessions));
        sessions.into_iter().for_each(|session| catalogue.add_session(session));
    }
    catalogue.warnings.splice(0..0, warnings);
    Ok(catalogue)
}

/// Who works in sessions that stand needs nothing of how chroots are defined, broken or not: that is in their records.
fn sessions_alone(order: &Order, context: &Context) -> Option<Catalogue> {
    if !matches!(order.action, Action::Run | Action::End | Action::Recover) || order.chroots.is_empty() {
        return None;
    }
    let names: Vec<&str> = order.chroots.iter().map(|word| in_session(order, word)).collect::<Option<_>>()?;
    let (sessions, _) = ours::named_sessions(context, names.iter().copied(), &[]);
    // What is no session may be a chroot that is its own one, and what is damaged is told with all that is known.
    (sessions.len() == names.len()).then(|| {
        let mut catalogue = Catalogue::default();
        sessions.into_iter().for_each(|session| catalogue.add_session(session));
        catalogue
    })
}

/// The name in a word that means a session: only such a record is read.
fn in_session<'a>(order: &Order, word: &'a str) -> Option<&'a str> {
    let by_default = matches!(order.action, Action::Run | Action::End | Action::Recover);
    match word.split_once(':') {
        Some(("session", name)) => Some(name),
        Some(("", name)) => by_default.then_some(name),
        Some(_) => None,
        None => by_default.then_some(word),
    }
}

/// What is meant. Who asked for what is not there is told what could not be read, too: it may stand there.
fn select<'a>(order: &'a Order, catalogue: &'a Catalogue) -> Result<Vec<Selected<'a>>, Trouble> {
    if order.chroots.is_empty() {
        return Ok(spaces(order).into_iter().flat_map(|space| catalogue.all(space)).collect());
    }
    catalogue.named(order).map_err(|trouble| trouble.after(catalogue.warnings.clone()))
}

/// Sessions alone can be run in, ended and recovered, and what is its own session.
fn refuse_what_is_no_session(order: &Order, selected: &[Selected<'_>]) -> Result<(), Trouble> {
    let wants_session = matches!(order.action, Action::Run | Action::End | Action::Recover);
    let is_session = |one: &Selected<'_>| one.chroot.space() == Space::Session || one.through_session;
    match selected.iter().find(|one| wants_session && !is_session(one)) {
        None => Ok(()),
        Some(one) if order.chroots.is_empty() => {
            let space = one.chroot.space().word();
            Err(Trouble::error(format!("{space}:{}: Chroot not found", one.word)))
        }
        Some(one) => Err(Trouble::error(format!("{}: Chroot not found", one.word))),
    }
}

/// Nothing was selected: of all sessions there may be none, but of what was not named at all something was to be.
fn nothing(order: &Order) -> Result<Status, Trouble> {
    let place = if order.all.any() { "/var/lib/schroot/session" } else { "/etc/schroot/schroot.conf" };
    let text = format!("The specified chroots are not defined in ‘{place}’");
    if !order.is_look() && !order.all.any() {
        return Err(Trouble::error(text));
    }
    if order.verbosity == Verbosity::Verbose {
        Line::Warning(text).print();
    }
    Ok(Status::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_called_schroot_is_schroot_wherever_it_lies() {
        for name in ["schroot", "/usr/bin/schroot", "libexec/zchroot/unschroot/schroot"] {
            assert!(is_name(OsStr::new(name)), "{name}");
        }
        for name in ["", "zchroot", "/usr/bin/zchroot", "schroot/zchroot", "unschroot"] {
            assert!(!is_name(OsStr::new(name)), "{name}");
        }
    }
}

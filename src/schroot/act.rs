//! The actions that work in sessions: automatic, begin, run, end, recover.
//!
//! The commands of `cli` do the work; here are only schroot's order of things, its words and its statuses.

use std::ffi::OsString;

use super::catalogue::Selected;
use super::chroot::{Chroot, Origin, Role};
use super::configured;
use super::enter::{self, Enter};
use super::order::{Action, Order};
use super::say::{Line, Trouble};
use super::source;
use crate::cli::args::Inside;
use crate::cli::context::Context;
use crate::cli::error::Error;
use crate::cli::exit::Status;
use crate::cli::run::{self, Plan};
use crate::cli::{output, policy};
use crate::session::{Begun, Kind, Record, Recovered, Sessions, State, record};
use crate::store::SessionId;
use crate::sys::identity::{self, Account};
use crate::sys::privilege::raised;
use crate::template::Template;

/// Carries an order out on what it selected, one after the other; the last status counts, the first trouble stops.
///
/// # Errors
/// Something was refused or failed.
pub(super) fn act(order: &Order, selected: &[Selected<'_>], context: &Context) -> Result<Status, Trouble> {
    let act = Act { order, context, target: target(order, context)? };
    if order.action == Action::End && order.chroots.is_empty() {
        return act.end_all(selected);
    }
    act.refuse_others(selected)?;
    let mut status = Status::Ok;
    for one in selected {
        status = match one.chroot.origin {
            Origin::Configured => configured::on(&act, one),
            Origin::Left => configured::left::on(&act, one),
            Origin::Ours => act.refuse_keys().and_then(|()| act.on(one)),
        }?;
    }
    Ok(status)
}

pub(super) struct Act<'a> {
    pub(super) order: &'a Order,
    pub(super) context: &'a Context,
    pub(super) target: Account,
}

/// Who a command is to be: the named one, or the caller.
fn target(order: &Order, context: &Context) -> Result<Account, Trouble> {
    match &order.user {
        None => Ok(context.process.caller().account().clone()),
        Some(name) => Account::by_name(name).map_err(|error| match error {
            identity::Error::NoName(name) => Trouble::error(format!("User ‘{name}’ not found")),
            other => Trouble::error(crate::sys::chain(&other)),
        }),
    }
}

pub(super) fn not_authorised() -> Trouble {
    Trouble::hushable("Access not authorised")
        .and_info("You do not have permission to access the schroot service.")
        .and_info("This failure will be reported.")
}

pub(super) fn not_begun(name: &str, error: &Error) -> Trouble {
    match error.status() {
        Status::Busy => Trouble::hushable(format!("{name}: Failed to lock chroot: {}", error.text())),
        _ => setup_failed(name, "setup-start", error),
    }
}

pub(super) fn setup_failed(name: &str, stage: &str, error: &Error) -> Trouble {
    Trouble::hushable(format!("{name}: Chroot setup failed: stage={stage}: {}", error.text()))
}

impl Act<'_> {
    fn on(&self, one: &Selected<'_>) -> Result<Status, Trouble> {
        match (self.order.action, &one.chroot.role) {
            (Action::Automatic, Role::Source) => source::automatic(self, one),
            (Action::Begin, Role::Source) => source::begin_named(self, one),
            (Action::Automatic, _) => self.automatic(one),
            (Action::Begin, _) => self.begin_named(one),
            (Action::Run, _) => self.run(one),
            (Action::End, _) => self.end(one),
            (_, _) => self.recover(one),
        }
    }

    /// Ends all sessions: none, if any is somebody else's. One that will not go does not keep the others. What ends
    /// by itself, or by `zchroot source` alone, is not among them.
    fn end_all(&self, selected: &[Selected<'_>]) -> Result<Status, Trouble> {
        self.refuse_keys()?;
        let ours = selected.iter().filter(|one| one.chroot.origin == Origin::Ours);
        // What has ended since it was selected is not missed.
        let mut records: Vec<Record> = ours.filter_map(|one| self.record(one).ok()).collect();
        records.retain(|record| record.kind != Kind::Source || record.commit_on_end.is_some());
        let left: Vec<&Chroot> =
            selected.iter().map(|one| one.chroot).filter(|chroot| chroot.origin == Origin::Left).collect();
        if records.iter().any(|record| policy::may_end(self.context, record).is_err())
            || !left.iter().all(|chroot| configured::left::is_ones_own(self.context, chroot))
        {
            return Err(not_authorised());
        }
        let ours = records.iter().map(|record| self.end_one_of_all(record));
        let left = left.iter().map(|chroot| configured::left::end(self, chroot.name()).map(drop));
        let mut last = None;
        for trouble in ours.chain(left).filter_map(Result::err) {
            if let Some(earlier) = last.replace(trouble) {
                earlier.print(self.is_quiet());
            }
        }
        last.map_or(Ok(Status::Ok), Err)
    }

    fn end_one_of_all(&self, record: &Record) -> Result<(), Trouble> {
        let sessions = self.sessions()?;
        let in_use = || raised(|| sessions.is_in_use(&record.id)).unwrap_or(false);
        if record.kind != Kind::Named && in_use() {
            return Ok(());
        }
        self.end_record(record).map(drop)
    }

    /// Of several sessions none is worked in if any is somebody else's.
    fn refuse_others(&self, selected: &[Selected<'_>]) -> Result<(), Trouble> {
        let is_in_session = matches!(self.order.action, Action::Run | Action::End | Action::Recover);
        if !is_in_session || selected.len() < 2 {
            return Ok(());
        }
        let ours = selected.iter().filter(|one| one.chroot.origin == Origin::Ours);
        let records = ours.filter_map(|one| self.record(one).ok());
        let is_other = |one: &Selected<'_>| {
            one.chroot.origin == Origin::Left && !configured::left::is_ones_own(self.context, one.chroot)
        };
        match records.map(|record| policy::may_end(self.context, &record)).find(Result::is_err) {
            Some(_) => Err(not_authorised()),
            None if selected.iter().any(is_other) => Err(not_authorised()),
            None => Ok(()),
        }
    }

    /// No template and no session that stands lets its users set keys.
    fn refuse_keys(&self) -> Result<(), Trouble> {
        self.order.options.first().map_or(Ok(()), |(key, _)| Err(self.refused_key(key)))
    }

    pub(super) fn refused_key(&self, key: &str) -> Trouble {
        let root = self.context.process.caller().is_root();
        let lists =
            if root { "user-modifiable-keys or root-modifiable-keys" } else { "user-modifiable-keys" };
        Trouble::error(format!("Configuration key ‘{key}’ is not permitted to be modified."))
            .and_info(format!("The key is not present in {lists}"))
    }

    fn begin(&self, one: &Selected<'_>, kind: Kind) -> Result<Begun, Trouble> {
        let template = self.template(one)?;
        policy::may_use(self.context, &template.name, &template.access, &self.target)
            .map_err(|_| not_authorised())?;
        let name = self.session_name()?;
        let id = name.as_ref().map_or_else(|| one.chroot.name().to_owned(), ToString::to_string);
        let isolation = self.order.isolate_network.then(Inside::without_network);
        let plan = Plan { kind, name, at: None, image: None, quota: None, isolation };
        run::begin(self.context, &template, plan).map_err(|error| not_begun(&id, &error))
    }

    pub(super) fn session_name(&self) -> Result<Option<SessionId>, Trouble> {
        let name = self.order.session_name.as_ref().map(|name| name.parse());
        name.transpose().map_err(|error| Trouble::error(format!("Invalid session name: {error}")))
    }

    fn template(&self, one: &Selected<'_>) -> Result<Template, Trouble> {
        let word = one.word.split_once(':').map_or(one.word, |(_, name)| name);
        let name = word.parse().map_err(|_| Trouble::error(format!("{}: Invalid name", one.word)))?;
        let template = self.context.template(&name);
        let template = template.map_err(|error| Trouble::error(format!("{}: {}", one.word, error.text())))?;
        // What is meant is what zchroot takes it for: a broken file must not make an alias of another's name.
        if template.name.as_str() == one.chroot.name() {
            return Ok(template);
        }
        Err(Trouble::error(format!("{}: Chroot not found", one.word)))
    }

    /// A session around one command.
    fn automatic(&self, one: &Selected<'_>) -> Result<Status, Trouble> {
        let _held = hold_signals()?;
        let begun = self.begin(one, Kind::Ephemeral)?;
        self.run_and_end(begun, one.word)
    }

    /// The command in a session that was begun for it, and the end of both.
    pub(super) fn run_and_end(&self, begun: Begun, alias: &str) -> Result<Status, Trouble> {
        let ended = self.enter(&begun.record, Some(alias));
        let record = begun.record.clone();
        let id = record.id.clone();
        let sessions = self.sessions()?;
        let cleared = raised(|| sessions.end(begun));
        let cleared = cleared.map_err(|error| {
            let trouble = setup_failed(id.as_str(), "setup-stop", &error.into());
            configured::with_way_out(trouble, &record)
        });
        match (ended, cleared) {
            (ended, Ok(())) => ended,
            // What the command said has the word; what is left is recorded, and recover ends it.
            (Ok(status), Err(trouble)) if status.code() != 0 => {
                trouble.print(self.is_quiet());
                Ok(status)
            }
            (Err(first), Err(trouble)) => {
                first.print(self.is_quiet());
                Err(trouble)
            }
            (Ok(_), Err(trouble)) => Err(trouble),
        }
    }

    fn begin_named(&self, one: &Selected<'_>) -> Result<Status, Trouble> {
        let _held = hold_signals()?;
        let begun = self.begin(one, Kind::Named)?;
        output::line(begun.record.id.as_str()).map_err(|error| Trouble::error(error.text()))?;
        Ok(Status::Ok)
    }

    fn run(&self, one: &Selected<'_>) -> Result<Status, Trouble> {
        let record = self.record(one)?;
        policy::may_enter(self.context, &record, &self.target).map_err(|_| not_authorised())?;
        self.enter(&record, None)
    }

    fn enter(&self, record: &Record, alias: Option<&str>) -> Result<Status, Trouble> {
        let entry = self.entry(record, alias)?;
        enter::tell(&entry, enter::enter(&entry))
    }

    /// The command of the order, as what is to be entered.
    pub(super) fn entry<'a>(
        &'a self,
        record: &'a Record,
        alias: Option<&'a str>,
    ) -> Result<Enter<'a>, Trouble> {
        let command: Vec<OsString> = match self.order.command.first() {
            // An empty word is as none: a login shell.
            Some(first) if first.is_empty() => Vec::new(),
            _ => self.order.command.clone(),
        };
        let alias = alias.map(|word| word.split_once(':').map_or(word, |(_, name)| name));
        Ok(Enter {
            order: self.order,
            context: self.context,
            sessions: self.sessions()?,
            target: &self.target,
            record,
            alias,
            command,
        })
    }

    fn end(&self, one: &Selected<'_>) -> Result<Status, Trouble> {
        let record = self.record(one)?;
        policy::may_end(self.context, &record).map_err(|_| not_authorised())?;
        self.end_record(&record)
    }

    fn end_record(&self, record: &Record) -> Result<Status, Trouble> {
        let _held = hold_signals()?;
        if record.kind == Kind::Source {
            return source::end(self, record);
        }
        let mut sessions = self.sessions()?;
        // What the administrator's scripts have to undo is not for others to pass over.
        if self.order.force && self.context.process.caller().is_root() {
            sessions = sessions.forced();
        }
        let ended = raised(|| {
            let begun = sessions.lock_same(record)?;
            if self.order.force { sessions.dispose(begun) } else { sessions.end(begun) }
        });
        ended.map_err(|error| {
            let trouble = setup_failed(record.id.as_str(), "setup-stop", &error.into());
            configured::with_way_out(trouble, record)
        })?;
        Ok(Status::Ok)
    }

    /// A session that stands is left as it is; else all are recovered, as at boot, and this one is told of.
    fn recover(&self, one: &Selected<'_>) -> Result<Status, Trouble> {
        let record = match self.record(one) {
            // The first of all sessions recovered the others, and ended what was not whole.
            Err(_) if self.order.chroots.is_empty() => return Ok(Status::Ok),
            other => other?,
        };
        policy::may_end(self.context, &record).map_err(|_| not_authorised())?;
        let sessions = self.sessions()?;
        let failed = |error: &Error| setup_failed(record.id.as_str(), "setup-recover", error);
        let stands = raised(|| sessions.is_mounted(&record)).map_err(|error| failed(&error.into()))?;
        if record.state == State::Ready && stands {
            return Ok(Status::Ok);
        }
        if !self.context.process.caller().is_root() {
            return Err(not_authorised());
        }
        let recovery = raised(|| sessions.recover()).map_err(|error| failed(&error.into()))?;
        match recovery.sessions.into_iter().find(|(id, _)| *id == record.id) {
            Some((_, Recovered::Failed(error))) => Err(failed(&error.into())),
            Some((id, Recovered::InUse)) => {
                Err(Trouble::hushable(format!("{id}: Failed to lock chroot: it is in use")))
            }
            Some((id, Recovered::Ended)) => {
                Line::Info(format!("{id}: was not whole and has been ended")).print();
                Ok(Status::Ok)
            }
            _ => Ok(Status::Ok),
        }
    }

    fn record(&self, one: &Selected<'_>) -> Result<Record, Trouble> {
        let gone = || Trouble::error(format!("{}: Chroot not found", one.word));
        let id: SessionId = one.chroot.name().parse().map_err(|_| gone())?;
        let sessions = self.sessions()?;
        match raised(|| sessions.records().load(&id)) {
            // It ended since it was selected.
            Err(record::Error::Unknown(_)) => Err(gone()),
            Ok(record) if record.is_kept() => Err(gone()),
            Ok(record) => Ok(record),
            Err(other) => Err(Trouble::error(format!("{id}: {}", crate::sys::chain(&other)))),
        }
    }

    pub(super) fn sessions(&self) -> Result<Sessions<'_>, Trouble> {
        let sessions = self.context.sessions().map_err(|error| Trouble::error(error.text()))?;
        Ok(sessions.hearing(super::say::script))
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.order.verbosity == super::order::Verbosity::Quiet
    }
}

pub(super) fn hold_signals() -> Result<crate::sys::signals::Held, Trouble> {
    Context::hold_signals().map_err(|error| Trouble::error(error.text()))
}

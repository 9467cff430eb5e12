//! `zchroot source`: change a template in steps.

use super::admit::{Tell, admit};
use super::args::{Source, SourceAbort, SourceBegin, SourceCommit, SourceExec, SourceRebase, SourceStep};
use super::context::Context;
use super::error::Error;
use super::exit::Status;
use super::rebased::Rebased;
use super::{diff, output, policy, reserve, room, run, verify};
use crate::session::record::{NewRecord, Record, Setup};
use crate::session::{self, Begun, Kind, State, Wish};
use crate::source::{self, Keep, SourceEnd, SourceRequest, Sources, Version};
use crate::store::{Kind as StoreKind, Progress, SessionId, TemplateName};
use crate::sys::privilege::raised;
use crate::template::{self, Profile, Template};

pub(super) fn run(args: &Source, context: &Context) -> Result<Status, Error> {
    match &args.step {
        SourceStep::Begin(args) => begin_step(args, context),
        SourceStep::Exec(args) => Context::entering(exec_step(args, context)),
        SourceStep::Commit(args) => commit_step(args, context),
        SourceStep::Rebase(args) => rebase_step(args, context),
        SourceStep::Abort(args) => abort_step(args, context),
    }
}

fn begin_step(args: &SourceBegin, context: &Context) -> Result<Status, Error> {
    let template = context.template(&args.template)?;
    let _held = Context::hold_signals()?;
    let begun = begin(&template, args.name.clone(), context)?;
    output::line(begun.record.id.as_str())?;
    Ok(Status::Ok)
}

fn exec_step(args: &SourceExec, context: &Context) -> Result<Status, Error> {
    let sessions = context.sessions()?;
    let record = raised(|| sessions.records().load(&args.session))?;
    if record.kind != Kind::Source {
        return Err(session::Error::IsNoSource(record.id).into());
    }
    let target = match &args.inside.user {
        Some(_) => policy::target(context, &args.inside)?,
        None => policy::root()?,
    };
    policy::may_enter(context, &record, &target)?;
    let mut wish = run::wish(&args.inside, target, &args.command);
    wish.directory.get_or_insert_with(|| "/".into());
    run::enter(context, &record, &wish)
}

fn commit_step(args: &SourceCommit, context: &Context) -> Result<Status, Error> {
    let _held = Context::hold_signals()?;
    let begun = lock(&args.session, context)?;
    // Who was taken off the lists since then may still abort, but not publish.
    if begun.record.kind == Kind::Source {
        let template = context.template(&begun.record.template)?;
        policy::may_publish(context, &template, &begun.record)?;
    }
    let version = commit(begun, args.message.clone(), context)?;
    output::line(version.id.as_str())?;
    Ok(Status::Ok)
}

fn abort_step(args: &SourceAbort, context: &Context) -> Result<Status, Error> {
    let _held = Context::hold_signals()?;
    let begun = lock(&args.session, context)?;
    let sources = context.sources()?;
    raised(|| sources.abort(begun))?;
    Ok(Status::Ok)
}

/// Nothing is replayed: a new session on the current version, and a list of what is to be thought of.
fn rebase_step(args: &SourceRebase, context: &Context) -> Result<Status, Error> {
    let _held = Context::hold_signals()?;
    // Its lock is held, so that nobody ends it under our hands.
    let kept = lock(&args.session, context)?;
    let old = &kept.record;
    old.refuse_kept()?;
    let template = context.template(&old.template)?;
    let sources = context.sources()?;
    let (base, _) = raised(|| sources.outdated(old))?;
    may_change(&template, context)?;
    if !raised(|| context.sessions()?.is_mounted(old).map_err(Error::from))? {
        return Err(source::Error::NotStanding(old.id.clone()).into());
    }
    let new = NewRecord {
        id: name_or_new(args.name.clone(), &old.template)?,
        kind: Kind::Source,
        template: old.template.clone(),
        image: None,
        owner: old.owner.clone(),
        root_allowed: old.root_allowed,
        commit_on_end: old.commit_on_end,
        setup: old.setup.clone(),
    };
    let begun = begin_as(new, context)?;
    let new = begun.record.clone();
    drop(begun);
    let current = new.base.clone().ok_or_else(|| source::Error::NoBase(new.id.clone()))?;
    let divergence = raised(|| sources.divergence(old, &current, &mut |_| diff::not_interrupted()));
    let divergence = divergence.map_err(|error| {
        throw_away(&new.id, context);
        Error::from(error)
    })?;
    let rebased = Rebased {
        template: old.template.clone(),
        old: old.id.clone(),
        new: new.id,
        base,
        current,
        divergence,
    };
    rebased.print(args.json.json, context)?;
    Ok(Status::Ok)
}

/// Locks a source session that is the caller's.
fn lock(id: &SessionId, context: &Context) -> Result<Begun, Error> {
    let sessions = context.sessions()?;
    let record = raised(|| sessions.records().load(id))?;
    policy::may_end(context, &record)?;
    Ok(raised(|| sessions.lock_same(&record))?)
}

/// Refuses who may not change a template.
pub(super) fn may_change(template: &Template, context: &Context) -> Result<(), Error> {
    policy::may_use(context, &template.name, &template.source.access, &policy::root()?)
}

/// Says who else is changing the template: of two who commit, the second gets a conflict. Of two who begin at once
/// each sees the other, since both have their records by now.
fn tell_of_others(ours: &Record, context: &Context) -> Result<(), Error> {
    let name = &ours.template;
    let all = raised(|| session::Records::new(&context.layout).all())?;
    let others = all
        .records
        .iter()
        .filter(|record| record.kind == Kind::Source && &record.template == name && record.id != ours.id)
        .filter(|record| !record.is_kept());
    for record in others {
        context.note(&format!(
            "{} has source session {} open on {name} since {}: whoever commits second gets a conflict",
            output::plain(&record.owner.name),
            record.id,
            output::time(record.created)
        ));
    }
    Ok(())
}

/// Begins a source session for the caller.
pub(super) fn begin(template: &Template, name: Option<SessionId>, context: &Context) -> Result<Begun, Error> {
    may_change(template, context)?;
    let new = NewRecord {
        id: name_or_new(name, &template.name)?,
        kind: Kind::Source,
        template: template.name.clone(),
        image: None,
        owner: policy::owner(context),
        root_allowed: true,
        commit_on_end: None,
        setup: setup(template),
    };
    let begun = begin_as(new, context)?;
    tell_of_others(&begun.record, context)?;
    Ok(begun)
}

/// Begins a source session whose end commits it, for a caller who has been let in.
pub(crate) fn begin_to_end(
    template: &Template,
    name: Option<SessionId>,
    isolate_net: bool,
    context: &Context,
) -> Result<Begun, Error> {
    let new = NewRecord {
        id: name_or_new(name, &template.name)?,
        kind: Kind::Source,
        template: template.name.clone(),
        image: None,
        owner: policy::owner(context),
        root_allowed: policy::may_be_root(context, &template.source.access),
        commit_on_end: Some(template.source.commit_on_end),
        setup: Setup { isolate_net, ..setup(template) },
    };
    begin_as(new, context)
}

fn name_or_new(name: Option<SessionId>, template: &TemplateName) -> Result<SessionId, Error> {
    match name {
        Some(id) => Ok(id),
        None => SessionId::generate(template)
            .map_err(|error| session::Error::sys("name", "a new session", error).into()),
    }
}

fn begin_as(new: NewRecord, context: &Context) -> Result<Begun, Error> {
    let profile = template::profile(&context.layout, &new.setup.profile)?;
    let sources = context.sources()?;
    let what = format!("begin source session {}", new.id);
    let admitted = admit(context, &what, None, Tell::Always)?;
    let mut bar = context.bar();
    let begun = room::retrying(context, &what, copied(&new.template, context), || {
        let request = SourceRequest { new: new.clone(), profile: &profile };
        let begun = raised(|| sources.begin(request, &mut bar));
        bar.finish();
        Ok(begun?)
    })?;
    admitted.begun(context);
    Ok(begun)
}

/// How much a store copies for a draft of a template: nothing where a draft is a clone, or it is not known.
fn copied(template: &TemplateName, context: &Context) -> u64 {
    if context.config.store.kind() == StoreKind::Zfs {
        return 0;
    }
    let size = context.sources().and_then(|sources| Ok(raised(|| sources.current_version(template))?));
    size.ok().flatten().map_or(0, |version| version.size)
}

/// Commits a source session of the caller's, then tidies the template.
pub(super) fn commit(begun: Begun, message: Option<String>, context: &Context) -> Result<Version, Error> {
    let (name, id) = (begun.record.template.clone(), begun.record.id.clone());
    let version = saving(begun, &format!("commit {id}"), context, |sources, begun, profile| {
        sources.commit(begun, profile, message.clone())
    })?;
    context.note(&format!(
        "template {name}: version {} (generation {}) is current",
        version.id, version.generation
    ));
    settle(&name, context);
    Ok(version)
}

/// Ends a source session of the caller's as was said when it was begun; tidies the template after a commit.
pub(crate) fn end(begun: Begun, context: &Context) -> Result<SourceEnd, Error> {
    let (name, id) = (begun.record.template.clone(), begun.record.id.clone());
    let ended = saving(begun, &format!("commit {id}"), context, |sources, begun, profile| {
        sources.end(begun, profile, None)
    })?;
    if matches!(ended, SourceEnd::Committed(_)) {
        settle(&name, context);
    }
    Ok(ended)
}

/// Does what commits a session, once more if there was no room for it.
fn saving<T>(
    begun: Begun,
    what: &str,
    context: &Context,
    commit: impl Fn(&Sources<'_>, Begun, &Profile) -> Result<T, source::Error>,
) -> Result<T, Error> {
    let sources = context.sources()?;
    let profile = template::profile(&context.layout, &begun.record.setup.profile)?;
    let (sessions, record) = (context.sessions()?, begun.record.clone());
    let mut begun = Some(begun);
    room::saving(context, what, || {
        if let Some(begun) = begun.take() {
            return Ok(raised(|| commit(&sources, begun, &profile))?);
        }
        // A commit that failed has kept the session and let go of it; for want of room it may not stand.
        let mut begun = raised(|| sessions.lock_same(&record))?;
        if begun.record.state == State::Unmounted {
            raised(|| sources.stand_again(&begun, &profile))?;
            begun.record.state = State::Ready;
        }
        Ok(raised(|| commit(&sources, begun, &profile))?)
    })
}

/// Tidies after a commit. It is no part of the commit: what does not work now, the next commit or gc does.
pub(super) fn settle(name: &TemplateName, context: &Context) {
    let keep = keep(name, context);
    let settled = context.sources().and_then(|sources| Ok(raised(|| sources.settle(name, keep))?));
    match settled {
        Ok(settled) => settled.deferred.iter().for_each(|what| tracing::info!(what, "left to the next gc")),
        Err(error) => tracing::warn!(template = %name, ?error, "old versions are left to the next gc"),
    }
    reserve::lay_again(context);
    verify::digest_later(name, context);
}

/// How much a template keeps; one whose definition cannot be read keeps all.
pub(super) fn keep(name: &TemplateName, context: &Context) -> Keep {
    template::template(&context.layout, name.as_str()).map_or(Keep::ALL, |template| Keep::of(&template))
}

/// Aborts what failed; prints trouble of that, since the failure itself is on its way.
pub(super) fn throw_away(id: &SessionId, context: &Context) {
    let aborted = context.sources().and_then(|sources| {
        let sessions = context.sessions()?;
        raised(|| sources.abort(sessions.lock(id)?)).map_err(Error::from)
    });
    if let Err(error) = aborted {
        error.hint("zchroot recover").print();
    }
}

/// Source sessions have no quota, see the host's network and nothing isolated: maintainers fetch packages in them.
pub(super) fn setup(template: &Template) -> Setup {
    Setup {
        // A draft becomes a version: what limits a session is not to go with it.
        quota: None,
        isolate_net: false,
        isolate_pid: false,
        isolate_ipc: false,
        isolate_uts: false,
        ..run::setup(template, None)
    }
}

/// What a maintainer runs if nothing else is said: as root, in `/`.
pub(super) fn wish(command: &[std::ffi::OsString]) -> Result<Wish, Error> {
    Ok(Wish {
        target: policy::root()?,
        command: command.to_vec(),
        directory: Some("/".into()),
        preserve_environment: false,
        isolate_net: false,
        isolate_pid: false,
        isolate_ipc: false,
        isolate_uts: false,
    })
}

//! `zchroot run`: a throw-away session around one command; and what the other entering commands share.

use super::admit::{Tell, admit};
use super::args::{Inside, Net, Run};
use super::context::Context;
use super::error::Error;
use super::exit::Status;
use super::{image, policy, room};
use crate::session::record::{NewRecord, Setup};
use crate::session::{self, Begun, Kind, Record, Request, Wish};
use crate::source::VersionSpec;
use crate::store::{Digest, SessionId, digest};
use crate::sys::enter::{Ended, EnterError};
use crate::sys::identity::Account;
use crate::sys::privilege::raised;
use crate::template::{self, Size, Template};

/// `zchroot run`.
pub(super) fn run(args: &Run, context: &Context) -> Result<Status, Error> {
    Context::entering(run_in_new_session(args, context))
}

fn run_in_new_session(args: &Run, context: &Context) -> Result<Status, Error> {
    let target = policy::target(context, &args.inside)?;
    let template = match &args.template {
        Some(name) => {
            let template = context.template(name)?;
            policy::may_use(context, &template.name, &template.access, &target)?;
            Some(template)
        }
        None => {
            policy::may_use_images(context, &target)?;
            None
        }
    };
    // From here to the end of the session a signal waits until it can be passed on to the command, or until
    // everything is cleared away.
    let _held = Context::hold_signals()?;
    let mut plan = Plan {
        kind: Kind::Ephemeral,
        name: None,
        at: args.at.clone(),
        image: None,
        quota: args.quota,
        isolation: Some(args.inside.clone()),
    };
    let begun = match template {
        Some(template) => begin(context, &template, plan)?,
        None => {
            // Its lock is kept until the session is cloned from it.
            let text = args.image.as_deref().unwrap_or_default();
            let _admitted = admit(context, &format!("run {text}"), None, Tell::Terminal)?;
            let image = if digest::prefix(text).is_some() {
                // It takes no room, and a sweep for it could take the image itself.
                image::ready(context, text)?
            } else {
                room::filling(context, &format!("import {text}"), 0, || image::ready(context, text))?
            };
            plan.image = Some(image.digest.clone());
            begin(context, &image::template(context, &image.digest)?, plan)?
        }
    };
    let ended = enter(context, &begun.record, &wish(&args.inside, target, &args.command));
    let sessions = context.sessions()?;
    let cleared = raised(|| sessions.end(begun));
    conclude(ended, cleared.map_err(|error| Error::from(error).hint("zchroot recover")))
}

/// How `run` ends, from how the command and how the session ended. What was left is recorded, and recover
/// ends it.
fn conclude(ended: Result<Status, Error>, cleared: Result<(), Error>) -> Result<Status, Error> {
    match (ended, cleared) {
        (ended, Ok(())) => ended,
        // A command that failed has the word: its caller acts on it.
        (Ok(status), Err(error)) if status.code() != 0 => {
            error.print();
            Ok(status)
        }
        (Ok(_), Err(error)) => Err(error),
        (Err(first), Err(error)) => {
            first.print();
            Err(error)
        }
    }
}

/// What kind of session is to be begun.
pub(crate) struct Plan {
    /// Ephemeral or named.
    pub kind: Kind,
    /// Its name, if it was given one.
    pub name: Option<SessionId>,
    /// The version, if one was asked for.
    pub at: Option<VersionSpec>,
    /// The image, in place of a version.
    pub image: Option<Digest>,
    /// How much it may write at most, besides what the template says.
    pub quota: Option<Size>,
    /// Options that isolate more than the template does.
    pub isolation: Option<Inside>,
}

/// Begins a session of a template for the caller.
pub(crate) fn begin(context: &Context, template: &Template, plan: Plan) -> Result<Begun, Error> {
    let id = match plan.name {
        Some(id) => id,
        None => SessionId::generate(&template.name)
            .map_err(|error| session::Error::sys("name", "a new session", error))?,
    };
    let profile = template::profile(&context.layout, &template.profile)?;
    let new = NewRecord {
        id,
        kind: plan.kind,
        template: template.name.clone(),
        image: plan.image,
        owner: policy::owner(context),
        root_allowed: policy::may_be_root(context, &template.access),
        commit_on_end: None,
        setup: Setup {
            quota: narrower(template.quota, plan.quota),
            ..setup(template, plan.isolation.as_ref())
        },
    };
    let (sessions, sources) = (context.sessions()?, context.sources()?);
    let at = plan.at.map(|spec| raised(|| sources.resolve(&template.name, &spec))).transpose()?;
    let what = format!("begin session {}", new.id);
    let tell = if plan.kind == Kind::Ephemeral { Tell::Terminal } else { Tell::Always };
    let admitted = admit(context, &what, new.setup.quota, tell)?;
    let begun = room::retrying(context, &what, 0, || {
        let request = Request { new: new.clone(), profile: &profile, at: at.clone() };
        Ok(raised(|| sessions.begin(request))?)
    })?;
    admitted.begun(context);
    Ok(begun)
}

/// Options never widen: the smaller of two quotas.
fn narrower(defined: Option<Size>, asked: Option<Size>) -> Option<Size> {
    match (defined, asked) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// How commands are set up: what the template says, and what options add. Options never take away.
pub(super) fn setup(template: &Template, isolation: Option<&Inside>) -> Setup {
    let asked = |pick: fn(&Inside) -> bool| isolation.is_some_and(pick);
    Setup {
        profile: template.profile.clone(),
        shell: template.shell.clone(),
        preserve_environment: template.preserve_environment,
        setuid: template.setuid,
        overlay: template.overlay,
        quota: template.quota,
        isolate_net: template.net == template::Net::None || asked(|inside| inside.net == Some(Net::None)),
        isolate_pid: template.pid || asked(|inside| inside.pid),
        isolate_ipc: template.ipc || asked(|inside| inside.ipc),
        isolate_uts: template.uts || asked(|inside| inside.uts),
    }
}

/// What is to be run inside, as whom.
pub(super) fn wish(inside: &Inside, target: Account, command: &[std::ffi::OsString]) -> Wish {
    Wish {
        target,
        command: command.to_vec(),
        directory: inside.directory.clone(),
        preserve_environment: inside.preserve_environment,
        isolate_net: inside.net == Some(Net::None),
        isolate_pid: inside.pid,
        isolate_ipc: inside.ipc,
        isolate_uts: inside.uts,
    }
}

/// Enters a session and waits for the command.
pub(super) fn enter(context: &Context, record: &Record, wish: &Wish) -> Result<Status, Error> {
    let sessions = context.sessions()?;
    match raised(|| sessions.enter(record, wish, &context.process)) {
        Ok(Ended::Exited(status)) => Ok(Status::Command(status)),
        Ok(Ended::Signaled(signal)) => Ok(Status::Signal(signal)),
        Err(session::EnterFailure::Enter(error)) => Err(entry_failed(error)),
        Err(session::EnterFailure::Session(error)) => Err(error.into()),
    }
}

fn entry_failed(error: EnterError) -> Error {
    let status = match &error {
        EnterError::NotFound { .. } => Status::CommandNotFound,
        EnterError::NotExecutable { .. } => Status::NotExecutable,
        _ => Status::EnterFailed,
    };
    let hint =
        matches!(error, EnterError::NoDirectory { .. }).then_some("say where with -d DIR, for example -d /");
    let error = Error::new(status, error);
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_that_is_asked_for_only_narrows() {
        let size = |bytes| Some(Size::new(bytes));
        assert_eq!(narrower(None, None), None);
        assert_eq!(narrower(size(5), None), size(5));
        assert_eq!(narrower(None, size(7)), size(7));
        assert_eq!(narrower(size(5), size(7)), size(5));
        assert_eq!(narrower(size(5), size(3)), size(3));
    }

    #[test]
    fn a_session_that_could_not_be_ended_makes_a_success_a_failure_and_leaves_a_failure_as_it_is() {
        let stuck = || Err(Error::failed("cannot end it"));
        for ended in [Status::Ok, Status::Command(0)] {
            assert_eq!(conclude(Ok(ended), Ok(())).unwrap(), ended);
            assert!(conclude(Ok(ended), stuck()).is_err());
        }
        for ended in [Status::Command(3), Status::Signal(9)] {
            assert_eq!(conclude(Ok(ended), stuck()).unwrap(), ended);
        }
        let error = conclude(Err(Error::not_found("no program")), Ok(())).unwrap_err();
        assert_eq!(error.status(), Status::NotFound);
    }
}

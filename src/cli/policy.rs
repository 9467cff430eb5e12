//! Who may do it: asks the template's lists, or the session's owner, and says no with a reason.

use super::args::Inside;
use super::context::Context;
use super::error::Error;
use crate::session::{Owner, Record};
use crate::store::TemplateName;
use crate::sys::identity::Account;
use crate::template::policy::{self, Refusal, Verdict, Who, decide};
use crate::template::{Access, HostAccounts, Template};

/// The caller as the policy sees him.
pub(super) fn who(context: &Context) -> Who {
    let caller = context.process.caller();
    Who {
        uid: caller.uid().as_raw(),
        gid: caller.gid().as_raw(),
        groups: caller.groups().iter().map(|gid| gid.as_raw()).collect(),
        name: caller.name().to_owned(),
    }
}

/// The caller as a session's owner.
pub(crate) fn owner(context: &Context) -> Owner {
    let caller = context.process.caller();
    Owner { uid: caller.uid().as_raw(), name: caller.name().to_owned() }
}

/// The account that a command is to run as: the named one, or the caller's.
pub(super) fn target(context: &Context, inside: &Inside) -> Result<Account, Error> {
    let named = match &inside.user {
        Some(name) => Account::by_name(name),
        None => Ok(context.process.caller().account().clone()),
    };
    named.map_err(|error| Error::new(super::Status::Failed, error))
}

/// root's account.
pub(super) fn root() -> Result<Account, Error> {
    Account::by_uid(nix::unistd::Uid::from_raw(0)).map_err(|error| Error::new(super::Status::Failed, error))
}

/// Refuses whom the lists do not let in as `target`.
pub(crate) fn may_use(
    context: &Context,
    template: &TemplateName,
    access: &Access,
    target: &Account,
) -> Result<(), Error> {
    match decide(access, &who(context), target.uid().as_raw(), &HostAccounts) {
        Verdict::Allowed(_) => Ok(()),
        Verdict::Denied(why) => Err(denied(context, &format!("template {template}"), target, why)),
    }
}

/// Refuses whom the lists of images do not let in as `target`.
pub(super) fn may_use_images(context: &Context, target: &Account) -> Result<(), Error> {
    match decide(&context.config.images.access, &who(context), target.uid().as_raw(), &HostAccounts) {
        Verdict::Allowed(_) => Ok(()),
        Verdict::Denied(why) => Err(denied(context, "images", target, why)
            .hint("root can say who may, in zchroot.toml under [images]")),
    }
}

/// Whether the caller may be root in sessions of a template.
pub(crate) fn may_be_root(context: &Context, access: &Access) -> bool {
    matches!(decide(access, &who(context), 0, &HostAccounts), Verdict::Allowed(_))
}

/// Whether a template is any of the caller's business.
pub(crate) fn may_know(context: &Context, template: &Template) -> bool {
    let caller = who(context);
    let allows = |access: &Access, target| {
        matches!(decide(access, &caller, target, &HostAccounts), Verdict::Allowed(_))
    };
    allows(&template.access, caller.uid)
        || allows(&template.source.access, caller.uid)
        || policy::may_roll_back(&template.source, &caller, &HostAccounts)
}

/// Refuses who is not let in at all, whoever he wants to be inside.
pub(crate) fn may_begin(context: &Context, template: &TemplateName, access: &Access) -> Result<(), Error> {
    may_use(context, template, access, context.process.caller().account())
}

/// Refuses who may not make a version of what a session of his has in it: who could write it as root must be let in as
/// root still.
pub(crate) fn may_publish(context: &Context, template: &Template, record: &Record) -> Result<(), Error> {
    let access = &template.source.access;
    if !record.root_allowed {
        return may_begin(context, &template.name, access);
    }
    may_use(context, &template.name, access, &root()?)
}

/// Refuses who may not make an older version current again, pin or unpin.
pub(super) fn may_roll_back(context: &Context, template: &Template, what: &str) -> Result<(), Error> {
    let caller = who(context);
    if policy::may_roll_back(&template.source, &caller, &HostAccounts) {
        return Ok(());
    }
    let (caller, template) = (caller.name, &template.name);
    tracing::warn!(target: "audit", caller, %template, what, "refused");
    Err(Error::failed(format!(
        "{caller} may not {what} template {template}: the caller is in none of root-users, root-groups, \
         rollback-users and rollback-groups of its [source]"
    )))
}

/// Refuses who may not see all of a template's versions: only who may be root in it can see all files, and who may
/// begin a session its packages. Returns the template's own name.
pub(super) fn may_look(
    context: &Context,
    name: &TemplateName,
    packages: bool,
) -> Result<TemplateName, Error> {
    let template = match context.template(name) {
        // A template whose definition is gone still has its versions.
        Err(_) if context.process.caller().is_root() => return Ok(name.clone()),
        other => other?,
    };
    if packages && may_begin(context, &template.name, &template.access).is_ok() {
        return Ok(template.name);
    }
    if may_be_root(context, &template.source.access) {
        return Ok(template.name);
    }
    may_use(context, &template.name, &template.access, &root()?)?;
    Ok(template.name)
}

/// Refuses who may not change a template. Returns the template's own name.
pub(super) fn may_maintain(context: &Context, name: &TemplateName) -> Result<TemplateName, Error> {
    let template = match context.template(name) {
        // A template whose definition is gone still has its versions.
        Err(_) if context.process.caller().is_root() => return Ok(name.clone()),
        other => other?,
    };
    may_use(context, &template.name, &template.source.access, &root()?)?;
    Ok(template.name)
}

/// Refuses who did not begin the session, or wants to be somebody else in it than he may be.
pub(crate) fn may_enter(context: &Context, record: &Record, target: &Account) -> Result<(), Error> {
    let caller = who(context);
    if caller.uid == 0 {
        return Ok(());
    }
    may_end(context, record)?;
    let target_uid = target.uid().as_raw();
    if target_uid == caller.uid || (target_uid == 0 && record.root_allowed) {
        return Ok(());
    }
    let why = if target_uid == 0 { Refusal::NotAsRoot } else { Refusal::NotAsOther };
    Err(denied(context, &format!("session {}", record.id), target, why))
}

/// Whether the caller began the session, or is root.
pub(crate) fn is_ones_own(context: &Context, record: &Record) -> bool {
    let caller = who(context);
    caller.uid == 0 || caller.uid == record.owner.uid
}

/// Refuses who did not begin the session.
pub(crate) fn may_end(context: &Context, record: &Record) -> Result<(), Error> {
    if is_ones_own(context, record) {
        return Ok(());
    }
    let caller = context.process.caller().name();
    tracing::warn!(target: "audit", caller, session = %record.id, "refused: it is not his");
    // Not whose: list tells nobody that either.
    Err(Error::failed(format!("session {} is not yours", record.id)))
}

fn denied(context: &Context, object: &str, target: &Account, why: Refusal) -> Error {
    let caller = context.process.caller().name();
    tracing::warn!(target: "audit", caller, target = target.name(), object, %why, "refused");
    Error::failed(format!("{caller} may not use {object} as {}: {why}", target.name()))
}

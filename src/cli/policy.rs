//! Who may do it: asks the template's lists, or the session's owner, and says no with a reason.

use super::args::Inside;
use super::context::Context;
use super::error::Error;
use crate::session::{Owner, Record};
use crate::store::TemplateName;
use crate::sys::identity::Account;
use crate::template::policy::{Refusal, Verdict, Who, decide};
use crate::template::{Access, HostAccounts};

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
pub(super) fn owner(context: &Context) -> Owner {
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

/// Refuses whom the lists do not let in as `target`.
pub(super) fn may_use(
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
pub(super) fn may_be_root(context: &Context, access: &Access) -> bool {
    matches!(decide(access, &who(context), 0, &HostAccounts), Verdict::Allowed(_))
}

/// Refuses who is not let in at all, whoever he wants to be inside.
pub(super) fn may_begin(context: &Context, template: &TemplateName, access: &Access) -> Result<(), Error> {
    may_use(context, template, access, context.process.caller().account())
}

/// Refuses who did not begin the session, or wants to be somebody else in it than he may be.
pub(super) fn may_enter(context: &Context, record: &Record, target: &Account) -> Result<(), Error> {
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

/// Refuses who did not begin the session.
pub(super) fn may_end(context: &Context, record: &Record) -> Result<(), Error> {
    let caller = who(context);
    if caller.uid == 0 || caller.uid == record.owner.uid {
        return Ok(());
    }
    Err(Error::failed(format!("session {} is not yours, {} began it", record.id, record.owner.name)))
}

fn denied(context: &Context, object: &str, target: &Account, why: Refusal) -> Error {
    let caller = context.process.caller().name();
    tracing::warn!(target: "audit", caller, target = target.name(), object, %why, "refused");
    Error::failed(format!("{caller} may not use {object} as {}: {why}", target.name()))
}

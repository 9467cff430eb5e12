//! `zchroot pin` and `zchroot unpin`: a version that stays whatever the template keeps.

use super::args::{Pin, Unpin, VersionName};
use super::context::Context;
use super::error::Error;
use super::exit::Status;
use super::{output, policy};
use crate::store::Outcome;
use crate::sys::privilege::raised;
use crate::template::Template;

/// `zchroot pin`.
pub(super) fn pin(args: &Pin, context: &Context) -> Result<Status, Error> {
    let template = template_of(&args.version, context)?;
    policy::may_roll_back(context, &template, "pin a version of")?;
    let _held = Context::hold_signals()?;
    let sources = context.sources()?;
    let pin = raised(|| {
        let version = sources.resolve(&template.name, &args.version.version)?;
        sources.pin(&template.name, &version, policy::owner(context), args.message.clone())
    })?;
    tracing::info!(target: "audit", caller = context.process.caller().name(), template = %template.name, version = %pin.version, "pinned");
    if args.json.json {
        output::json("pin", &pin)?;
    }
    context.note(&format!("template {}: version {} is pinned", template.name, pin.version));
    Ok(Status::Ok)
}

/// `zchroot unpin`.
pub(super) fn unpin(args: &Unpin, context: &Context) -> Result<Status, Error> {
    let template = template_of(&args.version, context)?;
    policy::may_roll_back(context, &template, "unpin a version of")?;
    let _held = Context::hold_signals()?;
    let sources = context.sources()?;
    let (version, outcome) = raised(|| {
        let version = sources.resolve_gone(&template.name, &args.version.version)?;
        sources.unpin(&template.name, &version).map(|outcome| (version, outcome))
    })?;
    let was = outcome == Outcome::Changed;
    tracing::info!(target: "audit", caller = context.process.caller().name(), template = %template.name, %version, was, "unpinned");
    if args.json.json {
        output::json("unpinned", &serde_json::json!({ "version": version, "was-pinned": was }))?;
    }
    let word = if was { "is not pinned any more" } else { "was not pinned" };
    context.note(&format!("template {}: version {version} {word}", template.name));
    Ok(Status::Ok)
}

/// The template that is named, else the one that has a version of that name.
fn template_of(name: &VersionName, context: &Context) -> Result<Template, Error> {
    match &name.template {
        Some(template) => context.template(template),
        None => {
            let sources = context.sources()?;
            let template = raised(|| sources.template_of(name.version.as_str()))?;
            context.template(&template)
        }
    }
}

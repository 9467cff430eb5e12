//! `zchroot gc`: reclaim what nothing refers to.

use super::args::Gc;
use super::context::Context;
use super::error::Error;
use super::exit::Status;
use super::{output, source, verify};
use crate::space::{self, Action, Item};
use crate::sys::privilege::raised;

pub(super) fn run(args: &Gc, context: &Context) -> Result<Status, Error> {
    context.require_root("gc")?;
    let (grace, warm) = (context.config.grace.duration(), context.config.images.warm);
    let gc = space::Gc::new(context.sessions()?, grace, warm);
    let space::Collected { items, troubles, waiting } = if args.dry_run {
        let mut items = raised(|| gc.plan())?;
        items.extend(raised(|| gc.versions(|template| source::keep(template, context)))?);
        space::Collected { items, ..space::Collected::default() }
    } else {
        raised(|| gc.run(|template| source::keep(template, context)))?
    };
    print(&items, args)?;
    if !args.dry_run {
        verify::digest_all(context)?;
    }
    for trouble in &troubles {
        output::note(&format!("zchroot: left to the next gc: {trouble}"));
    }
    for what in waiting {
        context.note(&format!("left to the next gc: {what}"));
    }
    if args.dry_run {
        context.note("dry run: nothing was removed");
    }
    Ok(if troubles.is_empty() { Status::Ok } else { Status::Failed })
}

fn print(items: &[Item], args: &Gc) -> Result<(), Error> {
    if args.json.json {
        return output::json("items", &items);
    }
    for item in items {
        let word = match item.action {
            Action::Remove if args.dry_run => "would remove",
            Action::Remove => "removed",
            Action::Keep => "kept",
        };
        output::line(&format!("{word} {}: {}", item.object, item.reason))?;
    }
    Ok(())
}

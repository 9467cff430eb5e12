//! `zchroot gc`: reclaim what nothing refers to.

use super::args::Gc;
use super::context::Context;
use super::error::Error;
use super::exit::Status;
use super::{output, reserve, room, source, verify};
use crate::space::{self, Action, Item};
use crate::sys::privilege::raised;

pub(super) fn run(args: &Gc, context: &Context) -> Result<Status, Error> {
    context.require_root("gc")?;
    let (grace, warm) = (context.config.grace.duration(), context.config.images.warm);
    let gc = space::Gc::new(context.sessions()?, grace, warm).weighing();
    let space::Collected { items, troubles, waiting, .. } = if args.dry_run {
        let mut items = raised(|| gc.plan())?;
        items.extend(raised(|| gc.versions(&items, |template| source::keep(template, context)))?);
        let images = &context.config.images;
        if let Some(quota) = images.quota {
            let sessions = context.sessions()?;
            let more = raised(|| space::pressure(sessions, quota, images.pressure, &items))?;
            items.extend(more);
        }
        space::Collected { items, ..space::Collected::default() }
    } else {
        collect(&gc, context)?
    };
    print(&items, args)?;
    tell_sum(&items, args, context);
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

/// What could not go for lack of room to work in goes with the reserve.
fn collect(gc: &space::Gc<'_>, context: &Context) -> Result<space::Collected, Error> {
    let collect = || Ok(raised(|| gc.run(|template| source::keep(template, context)))?);
    let full =
        || raised(|| context.store()?.space().map_err(Error::from)).is_ok_and(|space| space.available == 0);
    let mut collected: Result<_, Error> = collect();
    let stuck = match &collected {
        Ok(space::Collected { troubles, stuck, .. }) => *stuck || (!troubles.is_empty() && full()),
        Err(error) => error.is_no_room(),
    };
    if stuck && room::released(context) {
        collected = collect();
    }
    if let Ok(space::Collected { items, troubles, .. }) = &mut collected {
        let (evicted, stay) = room::relieve(context)?;
        items.extend(evicted);
        troubles.extend(stay);
        reserve::lay_again(context);
    }
    collected
}

/// How much went, or would go. Of versions and drafts nobody knows beforehand: they share what they hold.
fn tell_sum(items: &[Item], args: &Gc, context: &Context) {
    let gone: Vec<&Item> = items.iter().filter(|item| item.action == Action::Remove).collect();
    if gone.is_empty() {
        return;
    }
    let bytes: u64 = gone.iter().filter_map(|item| item.bytes).sum();
    let word = if args.dry_run { "would reclaim" } else { "reclaimed" };
    context.note(&format!(
        "{word} {}, {} of sessions and images",
        room::things(gone.len()),
        output::bytes(bytes)
    ));
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

//! Room for what a command makes: once more after a sweep, and the sum if that was in vain.

use std::path::Path;
use std::time::{Duration, Instant};

use super::context::Context;
use super::error::Error;
use super::{output, source};
use crate::source::Keep;
use crate::space::{self, Failure, Item, KeepOf, Sweep, Swept};
use crate::store::{Outcome, Progress, Space, TemplateName};
use crate::sys::file;
use crate::sys::lock::{self, Lock};
use crate::sys::privilege::raised;
use crate::sys::signals;

/// How long to wait for others who sweep.
const TURN: Duration = Duration::from_secs(120);
/// How often to look meanwhile whether a signal has come.
const LOOK: Duration = Duration::from_millis(500);
/// Who waits longer than that is told for what.
const SILENT: Duration = Duration::from_secs(1);

type Take = fn(&Path, Duration) -> file::Result<Option<Lock>>;

/// As [`retrying`], for what fills the store: an import. First attempts go on beside each other, and a second one waits
/// for them and has the store for itself: else of many for whom there is not room enough each could spoil it for the
/// others, and fewer would succeed than there is room for.
pub(super) fn filling<T>(
    context: &Context,
    what: &str,
    need: u64,
    attempt: impl FnMut() -> Result<T, Error>,
) -> Result<T, Error> {
    let makers = context.layout.makers_lock();
    let take = |how: Take, what: &str| {
        raised(|| {
            lock::make_folder(&context.layout.locks()).ok()?;
            patiently(context, &makers, how, what)
        })
    };
    let beside = take(Lock::take_shared, "wait for an import that needs the store for itself");
    let alone = || {
        drop(beside);
        take(Lock::take, "wait for other imports, to have the store for this one")
    };
    in_turn(context, what, need, alone, attempt)
}

/// Does `attempt`, which leaves nothing behind when it fails. If there is no room for it, all that may be evicted
/// is, and it is done once more. `what` completes "no room to ..."; `need` is how many bytes it takes at least, 0 if
/// that is not known.
pub(super) fn retrying<T>(
    context: &Context,
    what: &str,
    need: u64,
    attempt: impl FnMut() -> Result<T, Error>,
) -> Result<T, Error> {
    in_turn(context, what, need, || None, attempt)
}

/// As [`retrying`]; what `before` gives is held beside the turn to sweep and to try once more.
fn in_turn<T>(
    context: &Context,
    what: &str,
    need: u64,
    before: impl FnOnce() -> Option<Lock>,
    attempt: impl FnMut() -> Result<T, Error>,
) -> Result<T, Error> {
    let sweep = sweep(context)?;
    // Who wants to end does not want to wait for a second attempt.
    let is_no_room = |error: &Error| error.is_no_room() && signals::asked_to_end().is_none();
    let tell = |error: &Error, swept: &Swept| tell(context, what, error, swept);
    // Of many who met no room at once each would find the others' second attempts in its way: they take turns.
    let mut turn = None;
    let sweep = || {
        turn = Some((before(), raised(|| my_turn(context))));
        match signals::asked_to_end() {
            Some(_) => Swept::nothing(),
            None => raised(|| sweep.run()),
        }
    };
    match space::once_more(sweep, is_no_room, tell, attempt) {
        Ok(done) => Ok(done),
        Err(Failure::Other(error)) => Err(error),
        Err(Failure::NoRoom { error, swept }) => {
            let sum = sum(need, error.is_quota(), &swept);
            Err(error.no_room_to(what, &sum))
        }
    }
}

/// Waits for who sweeps just now. It is a courtesy: who does not get it in time goes on without it.
fn my_turn(context: &Context) -> Option<Lock> {
    lock::make_folder(&context.layout.locks()).ok()?;
    patiently(context, &context.layout.sweep_lock(), Lock::take, "wait for others who make room")
}

/// Takes a lock when it is its turn; not any more once a signal has asked the program to end. Who waits is told `what` for.
fn patiently(context: &Context, lock: &Path, how: Take, what: &str) -> Option<Lock> {
    let start = Instant::now();
    let mut progress = None;
    let mut taken = None;
    while taken.is_none() && signals::asked_to_end().is_none() && start.elapsed() < TURN {
        if progress.is_none() && start.elapsed() >= SILENT {
            progress.insert(context.bar()).start(what, None);
        }
        match how(lock, LOOK) {
            Ok(lock) => taken = lock,
            Err(_) => break,
        }
    }
    if let Some(progress) = &mut progress {
        progress.finish();
    }
    taken
}

/// As [`retrying`], for what saves work or gives room back: in the last resort the reserve is given up.
pub(super) fn saving<T>(
    context: &Context,
    what: &str,
    mut attempt: impl FnMut() -> Result<T, Error>,
) -> Result<T, Error> {
    match retrying(context, what, 0, &mut attempt) {
        Err(error) if error.is_no_room() && released(context) => attempt(),
        other => other,
    }
}

/// Gives the reserve up, if there is one.
pub(super) fn released(context: &Context) -> bool {
    let released = context.store().and_then(|store| Ok(raised(|| store.release_reserve())?));
    match released {
        Ok(Outcome::Changed) => {
            context.note("released the reserve; trying once more");
            true
        }
        Ok(Outcome::Unchanged) => false,
        Err(error) => {
            tracing::warn!(error = error.text(), "the reserve is not released");
            false
        }
    }
}

/// Evicts images that are beyond their share of their quota.
pub(super) fn relieve(context: &Context) -> Result<(Vec<Item>, Vec<String>), Error> {
    let images = &context.config.images;
    let Some(quota) = images.quota else { return Ok(Default::default()) };
    let sessions = context.sessions()?;
    Ok(raised(|| space::relieve(sessions, quota, images.pressure))?)
}

/// What a sweep works with.
pub(super) fn sweep(context: &Context) -> Result<Sweep<'_>, Error> {
    let grace = context.config.grace.duration();
    Ok(Sweep { sessions: context.sessions()?, grace, keep: context })
}

impl KeepOf for Context {
    fn keep(&self, template: &TemplateName) -> Keep {
        source::keep(template, self)
    }
}

fn tell(context: &Context, what: &str, error: &Error, swept: &Swept) {
    context.note(&format!("no room to {what}: {}", error.text()));
    for item in &swept.gone {
        context.note(&format!("swept {}: {}", item.object, item.reason));
    }
    for trouble in &swept.troubles {
        tracing::warn!(trouble, "not swept");
    }
    if swept.released {
        context.note("released the reserve, to have room to sweep in");
    }
    context.note(&format!("swept {}, {}; trying once more", things(swept.gone.len()), room(swept)));
}

fn room(swept: &Swept) -> String {
    let show = |space: Option<Space>| space.map_or("?".to_owned(), |space| output::bytes(space.available));
    format!("{} available before, {} now", show(swept.before), show(swept.after))
}

pub(super) fn things(count: usize) -> String {
    match count {
        0 => "nothing".to_owned(),
        1 => "1 thing".to_owned(),
        _ => format!("{count} things"),
    }
}

/// The sum that did not come out right. A quota of a file system does not show in what is available in it; one of ZFS
/// does.
fn sum(need: u64, quota: bool, swept: &Swept) -> String {
    let available = swept.after.map_or(0, |space| space.available);
    let (needs, has) = (output::bytes(need), output::bytes(available));
    let missing = match need.checked_sub(available) {
        Some(missing) if missing > 0 => {
            format!("{needs} needed at least, {} missing", output::bytes(missing))
        }
        _ if quota && need > 0 => {
            format!("{needs} needed at least, a quota allows less than the {has} of all")
        }
        _ if quota => format!("a quota allows less than the {has} of all"),
        _ => format!("more than {has} needed"),
    };
    format!(
        "{missing}; {}; a sweep evicted {}, which freed {}",
        room(swept),
        things(swept.gone.len()),
        output::bytes(swept.freed())
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn swept(before: u64, after: u64) -> Swept {
        let space = |available| Some(Space { available, total: 1 << 30 });
        Swept {
            gone: Vec::new(),
            troubles: Vec::new(),
            before: space(before),
            after: space(after),
            released: false,
        }
    }

    #[test]
    fn the_sum_says_what_was_needed_what_there_was_and_what_the_sweep_freed() {
        assert_eq!(
            sum(0, false, &swept(1 << 20, 5 << 20)),
            "more than 5.00 MiB needed; 1.00 MiB available before, 5.00 MiB now; a sweep evicted nothing, which \
             freed 4.00 MiB"
        );
        assert!(
            sum(7 << 20, true, &swept(0, 5 << 20))
                .starts_with("7.00 MiB needed at least, 2.00 MiB missing; ")
        );
        assert!(sum(5 << 20, false, &swept(0, 5 << 20)).starts_with("more than 5.00 MiB needed"));
        let quota = sum(3 << 20, true, &swept(0, 5 << 20));
        assert!(
            quota.starts_with("3.00 MiB needed at least, a quota allows less than the 5.00 MiB of all; ")
        );
        assert!(
            sum(0, true, &swept(0, 5 << 20)).starts_with("a quota allows less than the 5.00 MiB of all; ")
        );
        let unread = Swept { before: None, after: None, ..swept(0, 0) };
        assert!(sum(1, false, &unread).contains("? available before, ? now"));
    }
}

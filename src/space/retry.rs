//! Once more: what met no room is tried a second time after a sweep, and never a third.
//!
//! No room is ENOSPC (the pool, the file system) or EDQUOT (a quota), wherever it stands among the causes, unless it is
//! about something that is not in the store: `/run` may be full, too. (A limit of the kernel, which has the same errno, is
//! none any more when it comes here: [`or_limit`](crate::sys::limit::or_limit).) Any other failure evicts nothing.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::io;

use super::sweep::Swept;
use crate::sys::file;
use crate::{import, session, source, store};

/// Why it did not work.
#[derive(Debug)]
pub enum Failure<E> {
    /// It is not for lack of room.
    Other(E),
    /// There is too little room, also after the sweep.
    NoRoom {
        /// The second failure.
        error: E,
        /// What the sweep did.
        swept: Swept,
    },
}

/// Tries it; if there is no room, sweeps, tells what that did, and tries once more.
///
/// # Errors
/// The first failure, if it is not for lack of room, else the second.
pub fn once_more<T, E>(
    sweep: impl FnOnce() -> Swept,
    is_no_room: impl Fn(&E) -> bool,
    tell: impl FnOnce(&E, &Swept),
    mut attempt: impl FnMut() -> Result<T, E>,
) -> Result<T, Failure<E>> {
    let first = match attempt() {
        Err(error) if is_no_room(&error) => error,
        other => return other.map_err(Failure::Other),
    };
    let swept = sweep();
    tell(&first, &swept);
    attempt().map_err(|error| {
        if is_no_room(&error) { Failure::NoRoom { error, swept } } else { Failure::Other(error) }
    })
}

/// Whether there was no room, by the errno among the causes of a failure.
#[must_use]
pub fn is_no_room(error: &(dyn StdError + 'static)) -> bool {
    no_room(error).is_some()
}

/// Whether it was a quota that left no room.
#[must_use]
pub fn is_quota(error: &(dyn StdError + 'static)) -> bool {
    no_room(error) == Some(libc::EDQUOT)
}

/// The errno that says so.
fn no_room(error: &(dyn StdError + 'static)) -> Option<i32> {
    if object(error).is_some_and(|object| is_beside_the_store(&object)) {
        return None;
    }
    // What is transparent shows the causes of what is in it, not that itself.
    if let Some(source::Error::Session(inner)) = error.downcast_ref() {
        return no_room(inner);
    }
    if let Some(session::Error::Undo { cause, .. }) = error.downcast_ref() {
        // Clearing up failed too; what it was about is the first failure.
        return no_room(cause.as_ref());
    }
    if let Some(error) = error.downcast_ref::<io::Error>() {
        match (error.raw_os_error(), error.get_ref()) {
            (Some(errno), _) => return [libc::ENOSPC, libc::EDQUOT].contains(&errno).then_some(errno),
            (None, Some(inner)) => return no_room(inner),
            (None, None) => {}
        }
    }
    error.source().and_then(no_room)
}

/// What a failure is about, where it says so.
fn object<'a>(error: &'a (dyn StdError + 'static)) -> Option<Cow<'a, str>> {
    let at = |error: &'a file::Error| Some(error.path.to_string_lossy());
    let of = |object: &'a str| Some(Cow::Borrowed(object));
    if let Some(error) = error.downcast_ref() {
        return at(error);
    }
    if let Some(error) = error.downcast_ref::<store::Error>() {
        return of(error.object());
    }
    if let Some(import::Error::Failed { object, .. }) = error.downcast_ref() {
        return of(object);
    }
    match (error.downcast_ref(), error.downcast_ref()) {
        (Some(session::Error::File(error)), _) | (_, Some(source::Error::File(error))) => at(error),
        (Some(session::Error::Store(error)), _) | (_, Some(source::Error::Store(error))) => {
            of(error.object())
        }
        (Some(session::Error::Sys { object, .. }), _) => of(object),
        _ => None,
    }
}

/// Whether something lies in our run-time directory: locks, and the places where trees are mounted. What is *in* such a
/// place is in the store.
fn is_beside_the_store(object: &str) -> bool {
    let below = object.split_once("/run/zchroot/").map(|(_, below)| below);
    below.is_some_and(|below| below.strip_prefix("mount/").is_none_or(|tree| !tree.contains('/')))
}

#[cfg(test)]
#[path = "retry_tests.rs"]
mod tests;

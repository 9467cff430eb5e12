//! The reserve: room that is given up when a commit, the end of a session or gc would otherwise fail, and taken
//! again only when there is room for it twice over, so that it does not go to and fro at the limit.

use crate::store::{ErrorKind, Outcome, Reserve, Result, Space, Store};

/// What came of laying it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Laying {
    /// It is as it should be already.
    AsItWas,
    /// It is laid.
    Laid,
    /// There is too little room, or none can be promised here.
    Deferred {
        /// Room there should be.
        wanted: u64,
        /// Room there is.
        available: u64,
    },
    /// The store lies where room cannot be promised.
    Impossible,
}

/// Lays the reserve, if there is room for it twice over.
///
/// # Errors
/// The store cannot be read, or refused.
pub fn lay(store: &dyn Store) -> Result<Laying> {
    loop {
        let seen = store.reserve()?;
        let laying = lay_seen(store, seen)?;
        // Who lays it meanwhile takes the room that was looked for.
        if !matches!(laying, Laying::Deferred { .. }) || store.reserve()? == seen {
            return Ok(laying);
        }
    }
}

fn lay_seen(store: &dyn Store, reserve: Reserve) -> Result<Laying> {
    if reserve.laid == reserve.size {
        return Ok(Laying::AsItWas);
    }
    let Space { available, .. } = store.space()?;
    let wanted = reserve.size.saturating_mul(2);
    // What of it is laid already is given up for the new one.
    if available.saturating_add(reserve.laid) < wanted {
        return Ok(Laying::Deferred { wanted, available });
    }
    match store.lay_reserve() {
        Ok(Outcome::Changed) => Ok(Laying::Laid),
        Ok(Outcome::Unchanged) => Ok(Laying::AsItWas),
        Err(error) if error.kind() == ErrorKind::NoRoom => Ok(Laying::Deferred { wanted, available }),
        Err(error) if error.kind() == ErrorKind::Unsupported => Ok(Laying::Impossible),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::fake::FakeStore;

    #[test]
    fn it_is_laid_again_only_with_room_twice_over() {
        let folder = tempfile::tempdir().unwrap();
        let store = FakeStore::new(folder.path());
        assert_eq!(lay(&store).unwrap(), Laying::AsItWas, "none is wanted");
        store.set_reserve(100);
        for (available, laying) in [
            (0, Laying::Deferred { wanted: 200, available: 0 }),
            (199, Laying::Deferred { wanted: 200, available: 199 }),
            (200, Laying::Laid),
            (0, Laying::AsItWas),
        ] {
            store.set_space(Space { available, total: 1000 });
            assert_eq!(lay(&store).unwrap(), laying, "{available}");
        }
        assert_eq!(store.release_reserve().unwrap(), Outcome::Changed);
        assert_eq!(store.release_reserve().unwrap(), Outcome::Unchanged);
        assert_eq!(lay(&store).unwrap(), Laying::Deferred { wanted: 200, available: 0 });
    }

    #[test]
    fn who_finds_no_room_since_another_has_laid_it_is_content() {
        let folder = tempfile::tempdir().unwrap();
        let store = FakeStore::new(folder.path());
        store.set_reserve(100);
        store.set_space(Space { available: 250, total: 1000 });
        store.lay_before_the_next_look();
        assert_eq!(lay(&store).unwrap(), Laying::AsItWas);
        assert_eq!(store.space().unwrap().available, 150);
    }
}

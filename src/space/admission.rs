//! Admission: whether there is room enough to begin something, before anything of it is made.
//!
//! It is a guard against a store that fills up, not a bound on what a session takes: that is its quota. If the room
//! cannot be read nobody is refused for it.

use super::sweep::Swept;
use crate::session::Sessions;
use crate::store::{Error, Space, Tree};
use crate::template::{Overcommit, SpaceConfig};

/// How much room there is, for who begins something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Enough.
    Plenty,
    /// Below the soft floor: it works, and should be looked after.
    Low,
    /// Below the hard floor: nothing is begun.
    Critical,
}

/// The level of a store. The more is available, the lower it is; what is exactly at a floor is above it.
#[must_use]
pub fn classify(space: Space, floors: &SpaceConfig) -> Level {
    let share = u128::from(space.total) * u128::from(floors.soft_percent.get());
    if space.available < floors.hard_floor.bytes() {
        Level::Critical
    } else if space.available < floors.soft_floor.bytes() || u128::from(space.available) * 100 < share {
        Level::Low
    } else {
        Level::Plenty
    }
}

/// What is said to who begins something.
#[derive(Debug)]
pub enum Admission {
    /// There is room.
    Plenty,
    /// There is, but not much.
    Low(Space),
    /// How much there is could not be read: nobody is refused for that.
    Unread(Error),
    /// There is too little, also after a sweep.
    Refused {
        /// What there is.
        space: Space,
        /// What the sweep did.
        swept: Swept,
    },
}

/// Decides; below the hard floor only after `reclaim`.
pub fn admit(
    mut space: impl FnMut() -> Result<Space, Error>,
    floors: &SpaceConfig,
    reclaim: impl FnOnce() -> Swept,
) -> Admission {
    let now = match space() {
        Ok(now) => now,
        Err(error) => return Admission::Unread(error),
    };
    match classify(now, floors) {
        Level::Plenty => return Admission::Plenty,
        Level::Low => return Admission::Low(now),
        Level::Critical => {}
    }
    let swept = reclaim();
    match space() {
        Err(error) => Admission::Unread(error),
        Ok(space) => match classify(space, floors) {
            Level::Plenty => Admission::Plenty,
            Level::Low => Admission::Low(space),
            Level::Critical => Admission::Refused { space, swept },
        },
    }
}

/// What is promised to sessions that have a quota, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Promises {
    /// To how many.
    pub sessions: usize,
    /// The sum of their quotas.
    pub promised: u64,
    /// What they take of it already.
    pub taken: u64,
}

impl Promises {
    /// What is promised to the sessions that have a record.
    ///
    /// # Errors
    /// The records cannot be listed.
    pub fn standing(sessions: &Sessions<'_>) -> Result<Self, crate::session::record::Error> {
        let mut standing = Self { sessions: 0, promised: 0, taken: 0 };
        for record in sessions.records().all()?.records {
            let Some(quota) = record.setup.quota else { continue };
            standing.sessions += 1;
            standing.promised = standing.promised.saturating_add(quota.bytes());
            // One whose tree is not there, or cannot be measured, has taken nothing that we know of.
            let taken = sessions.store().used(&Tree::Session(record.id)).unwrap_or(0);
            standing.taken = standing.taken.saturating_add(taken.min(quota.bytes()));
        }
        Ok(standing)
    }

    /// How much there is for all promises together.
    #[must_use]
    pub fn limit(&self, available: u64, overcommit: Overcommit) -> u64 {
        let all = u128::from(available) + u128::from(self.taken);
        u64::try_from(all * u128::from(overcommit.thousandths()) / 1000).unwrap_or(u64::MAX)
    }

    /// Whether one more can be promised `quota`.
    #[must_use]
    pub fn admit(&self, quota: u64, available: u64, overcommit: Overcommit) -> bool {
        self.promised.checked_add(quota).is_some_and(|sum| sum <= self.limit(available, overcommit))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::store::ErrorKind;

    const GIB: u64 = 1 << 30;

    fn at(available: u64, total: u64) -> Level {
        classify(Space { available, total }, &SpaceConfig::default())
    }

    fn swept() -> Swept {
        Swept { gone: Vec::new(), troubles: Vec::new(), before: None, after: None, released: false }
    }

    #[test]
    fn what_is_exactly_at_a_floor_is_above_it() {
        let cases = [
            (0, 20 * GIB, Level::Critical),
            (GIB - 1, 20 * GIB, Level::Critical),
            (GIB, 20 * GIB, Level::Low),
            (5 * GIB - 1, 20 * GIB, Level::Low),
            (5 * GIB, 20 * GIB, Level::Plenty),
            (90 * GIB, 1024 * GIB, Level::Low),
            (100 * GIB - 1, 1000 * GIB, Level::Low),
            (100 * GIB, 1000 * GIB, Level::Plenty),
            (0, 0, Level::Critical),
            (u64::MAX, u64::MAX, Level::Plenty),
        ];
        for (available, total, level) in cases {
            assert_eq!(at(available, total), level, "{available} of {total}");
        }
    }

    #[test]
    fn the_level_falls_and_never_rises_in_steps_of_a_thousandth() {
        for total in [GIB, 8 * GIB, 100 * GIB, 4096 * GIB] {
            let levels: Vec<Level> = (0..=1000).map(|share| at(total / 1000 * share, total)).collect();
            assert!(levels.is_sorted_by(|one, next| one >= next), "{total}");
        }
    }

    proptest! {
        #[test]
        fn more_room_is_never_worse(one: u64, more: u64, total: u64) {
            let (less, more) = (one.min(more), one.max(more));
            prop_assert!(at(less, total) >= at(more, total));
        }

        #[test]
        fn a_promise_that_fits_fits_with_more_room_and_with_fewer_promises(
            promised in 0..u64::MAX / 2, taken: u64, quota: u64, available in 0..u64::MAX / 2, more in 0..u64::MAX / 2
        ) {
            let factor: Overcommit = "1.0".parse().unwrap();
            let standing = Promises { sessions: 1, promised, taken };
            if standing.admit(quota, available, factor) {
                prop_assert!(standing.admit(quota, available + more, factor));
                let fewer = Promises { promised: promised / 2, ..standing };
                prop_assert!(fewer.admit(quota, available, factor));
            }
        }
    }

    #[test]
    fn below_the_hard_floor_it_is_swept_and_looked_at_again() {
        let floors = SpaceConfig::default();
        let space = |available| Ok(Space { available, total: 20 * GIB });
        let run = |first, second| {
            let mut answers = [first, second].into_iter();
            let mut reclaimed = false;
            let admission = admit(
                || space(answers.next().unwrap()),
                &floors,
                || {
                    reclaimed = true;
                    swept()
                },
            );
            (admission, reclaimed)
        };
        assert!(matches!(run(6 * GIB, 0), (Admission::Plenty, false)));
        assert!(matches!(run(2 * GIB, 0), (Admission::Low(_), false)));
        assert!(matches!(run(GIB - 1, 6 * GIB), (Admission::Plenty, true)));
        assert!(matches!(run(GIB - 1, GIB), (Admission::Low(_), true)));
        assert!(matches!(run(0, GIB - 1), (Admission::Refused { .. }, true)));
    }

    #[test]
    fn nobody_is_refused_because_the_room_cannot_be_read() {
        let unreadable = || Err(Error::new(ErrorKind::Other, "read", "p", "gone"));
        let admission = admit(unreadable, &SpaceConfig::default(), || panic!("nothing is known"));
        assert!(matches!(admission, Admission::Unread(_)));
        let mut calls = 0;
        let once = || {
            calls += 1;
            if calls == 1 { Ok(Space { available: 0, total: GIB }) } else { unreadable() }
        };
        assert!(matches!(admit(once, &SpaceConfig::default(), swept), Admission::Unread(_)));
    }

    #[test]
    fn the_sum_of_all_quotas_is_held_against_what_there_is() {
        let one: Overcommit = "1.0".parse().unwrap();
        let standing = Promises { sessions: 2, promised: 60, taken: 25 };
        assert!(standing.admit(40, 75, one), "60 + 40 = 75 + 25");
        assert!(!standing.admit(41, 75, one));
        assert!(standing.admit(140, 75, "2.0".parse().unwrap()));
        assert!(!standing.admit(u64::MAX, u64::MAX, one), "no overflow");
    }
}

//! Whether an image is in use, was lately, or may go.

use jiff::Timestamp;
use serde::Serialize;

use crate::template::Warm;

/// The state of a complete image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Something is cloned from it: it never goes.
    Live,
    /// Nothing is, but it was used lately: it goes when there is no room.
    Warm,
    /// Nothing is, nor was lately: it may go.
    Cold,
}

impl State {
    /// The state from how many clones there are and when it was used last. One of which that is not known is
    /// cold; one that was used in the future, since the clock went back, is warm.
    #[must_use]
    pub fn of(clones: u64, last_used: Option<Timestamp>, now: Timestamp, warm: Warm) -> Self {
        match (clones, last_used, warm) {
            (1.., _, _) => Self::Live,
            (0, _, Warm::Always) => Self::Warm,
            (0, None, Warm::For(_)) => Self::Cold,
            (0, Some(used), Warm::For(period)) => {
                let age = u64::try_from(now.duration_since(used).as_secs()).unwrap_or(0);
                if age < period.duration().as_secs() { Self::Warm } else { Self::Cold }
            }
        }
    }

    /// The state in a word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Warm => "warm",
            Self::Cold => "cold",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_of_an_image_follows_the_table() {
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        let now = at(1_000_000);
        let (hour, none, always) = ("1h".parse().unwrap(), "0".parse().unwrap(), Warm::Always);
        let cases = [
            (1, None, none, State::Live),
            (7, Some(at(0)), hour, State::Live),
            (0, Some(at(1_000_000 - 3599)), hour, State::Warm),
            (0, Some(at(1_000_000 - 3600)), hour, State::Cold),
            (0, Some(now), hour, State::Warm),
            (0, Some(now), none, State::Cold),
            (0, Some(at(2_000_000)), hour, State::Warm),
            (0, Some(at(2_000_000)), none, State::Cold),
            (0, None, hour, State::Cold),
            (0, Some(at(0)), always, State::Warm),
            (0, None, always, State::Warm),
        ];
        for (clones, used, warm, state) in cases {
            assert_eq!(State::of(clones, used, now, warm), state, "{clones} {used:?} {warm}");
        }
    }
}

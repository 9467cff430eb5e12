//! Amounts as people write them: sizes (`64M`) and periods (`10m`).
//!
//! A size suffix counts in 1024s, as in zfs(8): what is written here and what `zfs get` prints agree.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Text that is no amount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a {what}: {why}")]
pub struct AmountError {
    what: &'static str,
    text: String,
    why: &'static str,
}

const SIZE_UNITS: [(&str, u64); 5] =
    [("T", 1 << 40), ("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10), ("", 1)];
const PERIOD_UNITS: [(&str, u64); 4] = [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];

/// A number of bytes; written as `64M`, shown in the largest unit that is exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(u64);

impl Size {
    /// That many bytes.
    #[must_use]
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// The number of bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for Size {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Self, AmountError> {
        parse("size", "no such unit, write K, M, G or T", &SIZE_UNITS, &text.to_ascii_uppercase(), text)
            .map(Self)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(self.0, &SIZE_UNITS, f)
    }
}

impl<'de> Deserialize<'de> for Size {
    /// The twin of [`Size::serialize`]; definitions are written by people and parse it from text instead.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u64::deserialize(deserializer).map(Self)
    }
}

impl Serialize for Size {
    /// In bytes: a program that reads `--json` should not have to know the suffixes.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

/// A length of time in whole seconds; written as `10m`, shown in the largest unit that is exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(u64);

impl Period {
    /// That many seconds.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds)
    }

    /// The period as the standard library's type.
    #[must_use]
    pub const fn duration(self) -> Duration {
        Duration::from_secs(self.0)
    }
}

/// How long something stays that nothing uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Warm {
    /// So long after its last use.
    For(Period),
    /// Whatever its age.
    Always,
}

impl Default for Warm {
    fn default() -> Self {
        Self::For(Period::from_secs(7 * 86_400))
    }
}

impl FromStr for Warm {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Self, AmountError> {
        match text {
            "inf" => Ok(Self::Always),
            "0" => Ok(Self::For(Period::from_secs(0))),
            period => period.parse().map(Self::For),
        }
    }
}

impl fmt::Display for Warm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::For(period) => period.fmt(f),
            Self::Always => f.write_str("inf"),
        }
    }
}

impl Serialize for Warm {
    /// As it is written.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// How long work may come no further: a period that is not empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Stall(Period);

impl Stall {
    /// The period as the standard library's type.
    #[must_use]
    pub const fn duration(self) -> Duration {
        self.0.duration()
    }
}

impl Default for Stall {
    fn default() -> Self {
        Self(Period::from_secs(crate::store::STALL.as_secs()))
    }
}

impl FromStr for Stall {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Self, AmountError> {
        match text.parse()? {
            Period(0) => {
                let why = "it has to be longer than nothing";
                Err(AmountError { what: "period", text: text.to_owned(), why })
            }
            period => Ok(Self(period)),
        }
    }
}

impl fmt::Display for Stall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Period {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Self, AmountError> {
        parse("period", "it needs a unit: s, m, h or d", &PERIOD_UNITS, text, text).map(Self)
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(self.0, &PERIOD_UNITS, f)
    }
}

impl Serialize for Period {
    /// In seconds.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

fn parse(
    what: &'static str,
    units_help: &'static str,
    units: &[(&str, u64)],
    text: &str,
    shown: &str,
) -> Result<u64, AmountError> {
    let refuse = |why| AmountError { what, text: shown.chars().take(40).collect(), why };
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, suffix) = text.split_at(end);
    if digits.is_empty() {
        return Err(refuse("it does not start with a digit"));
    }
    let (_, unit) = units.iter().find(|(name, _)| *name == suffix).ok_or_else(|| refuse(units_help))?;
    // Only digits are left, so the one way to fail is to be too large.
    let number: Option<u64> = digits.parse().ok();
    number.and_then(|number| number.checked_mul(*unit)).ok_or_else(|| refuse("it is too large"))
}

fn show(value: u64, units: &[(&str, u64)], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    // Zero is a multiple of every unit; the smallest one reads best.
    let exact = |unit: &&(&str, u64)| value != 0 && value.is_multiple_of(unit.1);
    match units.iter().find(exact).or_else(|| units.last()) {
        Some((name, unit)) => write!(f, "{}{name}", value / unit),
        None => write!(f, "{value}"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_follow_the_table() {
        let good = [
            ("0", 0),
            ("1", 1),
            ("1023", 1023),
            ("1K", 1024),
            ("64M", 64 << 20),
            ("64m", 64 << 20),
            ("5G", 5 << 30),
            ("2T", 2 << 40),
            ("18446744073709551615", u64::MAX),
        ];
        for (text, bytes) in good {
            assert_eq!(text.parse(), Ok(Size::new(bytes)), "{text}");
        }
        let bad = [
            ("", "it does not start with a digit"),
            ("M", "it does not start with a digit"),
            ("-1", "it does not start with a digit"),
            (" 1M", "it does not start with a digit"),
            ("1.5G", "no such unit"),
            ("1 M", "no such unit"),
            ("1MB", "no such unit"),
            ("1MiB", "no such unit"),
            ("1P", "no such unit"),
            ("18446744073709551616", "it is too large"),
            ("16777216T", "it is too large"),
        ];
        for (text, why) in bad {
            let error = text.parse::<Size>().unwrap_err().to_string();
            assert!(error.contains(why) && error.contains("is not a size"), "{text}: {error}");
        }
    }

    #[test]
    fn periods_follow_the_table() {
        let good = [("0s", 0), ("90s", 90), ("10m", 600), ("2h", 7200), ("7d", 604_800)];
        for (text, seconds) in good {
            assert_eq!(text.parse::<Period>().unwrap().duration(), Duration::from_secs(seconds), "{text}");
        }
        let bad = [
            ("", "it does not start with a digit"),
            ("m", "it does not start with a digit"),
            ("10", "it needs a unit"),
            ("10M", "it needs a unit"),
            ("10 m", "it needs a unit"),
            ("1h30m", "it needs a unit"),
            ("inf", "it does not start with a digit"),
            ("99999999999999999999d", "it is too large"),
            ("213503982334602d", "it is too large"),
        ];
        for (text, why) in bad {
            let error = text.parse::<Period>().unwrap_err().to_string();
            assert!(error.contains(why) && error.contains("is not a period"), "{text}: {error}");
        }
    }

    #[test]
    fn a_refused_amount_is_cut_short_in_the_message() {
        let error = "x".repeat(5000).parse::<Size>().unwrap_err().to_string();
        assert!(error.len() < 120, "{error}");
    }

    #[test]
    fn amounts_are_shown_in_the_largest_exact_unit() {
        let sizes = [(0, "0"), (1, "1"), (1024, "1K"), (1536, "1536"), (64 << 20, "64M"), (3 << 40, "3T")];
        for (bytes, text) in sizes {
            assert_eq!(Size::new(bytes).to_string(), text);
        }
        for (seconds, text) in [(0, "0s"), (59, "59s"), (60, "1m"), (5400, "90m"), (86_400, "1d")] {
            assert_eq!(Period::from_secs(seconds).to_string(), text);
        }
    }

    #[test]
    fn amounts_go_to_json_as_plain_numbers() {
        assert_eq!(serde_json::to_string(&Size::new(1024)).unwrap(), "1024");
        assert_eq!(serde_json::to_string(&Period::from_secs(60)).unwrap(), "60");
    }

    proptest! {
        #[test]
        fn every_size_survives_a_round_trip(bytes: u64) {
            prop_assert_eq!(Size::new(bytes).to_string().parse(), Ok(Size::new(bytes)));
        }

        #[test]
        fn every_period_survives_a_round_trip(seconds: u64) {
            prop_assert_eq!(Period::from_secs(seconds).to_string().parse(), Ok(Period::from_secs(seconds)));
        }

        #[test]
        fn no_text_makes_the_parsers_panic(text in ".{0,30}") {
            let _ = text.parse::<Size>();
            let _ = text.parse::<Period>();
        }
    }
}

//! Room: the table `[space]` of `zchroot.toml`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize, Serializer};

use super::amount::Size;
use super::document::Word;

/// When there is too little room to begin something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct SpaceConfig {
    /// With less than this available nothing is begun.
    pub hard_floor: Size,
    /// With less than this available whoever begins something is warned.
    pub soft_floor: Size,
    /// The same in percent of all that there is.
    pub soft_percent: Percent,
    /// How much of what there is may be promised to sessions by their quotas; as much as one likes, if not said.
    pub overcommit: Option<Overcommit>,
}

impl Default for SpaceConfig {
    fn default() -> Self {
        Self {
            hard_floor: Size::new(1 << 30),
            soft_floor: Size::new(5 << 30),
            soft_percent: Percent(10),
            overcommit: None,
        }
    }
}

/// A share, 0 to 100.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u8")]
pub struct Percent(u8);

impl Percent {
    /// That share; what is more than all is all.
    pub(super) const fn new(number: u8) -> Self {
        Self(if number > 100 { 100 } else { number })
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl TryFrom<u8> for Percent {
    type Error = &'static str;

    fn try_from(number: u8) -> Result<Self, &'static str> {
        if number <= 100 { Ok(Self(number)) } else { Err("it is a share in percent, 0 to 100") }
    }
}

/// How many times what there is may be promised, in thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Overcommit(u32);

/// Text that is no such factor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no factor: write a number from \"0.001\" to \"1000\", with at most three decimals")]
pub struct OvercommitError {
    text: String,
}

impl Overcommit {
    /// The factor, times 1000.
    #[must_use]
    pub const fn thousandths(self) -> u32 {
        self.0
    }
}

impl FromStr for Overcommit {
    type Err = OvercommitError;

    fn from_str(text: &str) -> Result<Self, OvercommitError> {
        let (whole, rest) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |text: &str, most: usize| {
            (1..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
        };
        let value = (digits(whole, 4) && digits(rest, 3)).then(|| format!("{whole}{rest:0<3}").parse().ok());
        match value.flatten() {
            Some(thousandths @ 1..=1_000_000) => Ok(Self(thousandths)),
            _ => Err(OvercommitError { text: text.chars().take(40).collect() }),
        }
    }
}

impl fmt::Display for Overcommit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}.{:03}", self.0 / 1000, self.0 % 1000);
        let short = text.trim_end_matches('0');
        f.write_str(short)?;
        if short.ends_with('.') { f.write_str("0") } else { Ok(()) }
    }
}

impl Serialize for Overcommit {
    /// As it is written.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(super) struct SpaceTable {
    hard_floor: Option<Word<Size>>,
    soft_floor: Option<Word<Size>>,
    soft_percent: Option<Percent>,
    overcommit: Option<Word<Overcommit>>,
}

impl From<SpaceTable> for SpaceConfig {
    fn from(table: SpaceTable) -> Self {
        let default = Self::default();
        Self {
            hard_floor: table.hard_floor.map_or(default.hard_floor, |word| word.0),
            soft_floor: table.soft_floor.map_or(default.soft_floor, |word| word.0),
            soft_percent: table.soft_percent.unwrap_or(default.soft_percent),
            overcommit: table.overcommit.map(|word| word.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_follow_the_table() {
        for (text, thousandths, shown) in [
            ("1", 1000, "1.0"),
            ("1.0", 1000, "1.0"),
            ("0.001", 1, "0.001"),
            ("1.5", 1500, "1.5"),
            ("1000", 1_000_000, "1000.0"),
        ] {
            let factor: Overcommit = text.parse().unwrap();
            assert_eq!((factor.thousandths(), factor.to_string().as_str()), (thousandths, shown));
        }
        for text in ["", "0", "0.0", "-1", "1.", ".5", "1.2345", "1001", "1e3", "inf", "1,5", "10000000000"] {
            assert!(text.parse::<Overcommit>().is_err(), "{text:?}");
        }
    }
}

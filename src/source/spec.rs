//! Which version somebody means: `--at`, and every other place where a version is asked for.
//!
//! | text | means |
//! |---|---|
//! | `current`, `previous` | the current version, the one before it |
//! | `7`, `g7` | generation 7 |
//! | `20261121-094124-123-x7k2`, `20261121-09` | the version of that name, or the only one whose name begins so |
//! | `2026-11-20 14:00`, `2026-11-20T14:00:05Z` | what was current then; local time if no zone is given |
//! | `2026-11-20`, `today`, `yesterday` | what was current at the end of that day |
//! | `3d`, `12h` | what was current so long ago |
//!
//! A number of up to seven digits is a generation, a longer one the beginning of a name (which is a date).

use std::fmt;
use std::str::FromStr;

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan, Zoned};

use super::{Entry, TreeState};
use crate::store::{TemplateName, VersionId, check_name};
use crate::template::Period;

/// Longer numbers are no generations.
const GENERATION_DIGITS: usize = 7;

/// A version as somebody asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionSpec {
    text: String,
    wanted: Wanted,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Wanted {
    Current,
    Previous,
    Generation(u64),
    /// What was current then.
    Time(Timestamp),
    /// The whole name, or its beginning.
    Name,
}

/// Text that asks for no version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no version: {why}")]
pub struct SpecError {
    text: String,
    why: &'static str,
}

const FORMS: &str = "write a generation (7), a version's name or its beginning, a time (2026-11-20, \
                     \"2026-11-20 14:00\", yesterday), a time ago (3d, 12h), current or previous";

/// Why no version is meant that can be begun from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// There never was such a version.
    Absent,
    /// Its tree was reclaimed.
    Gone(VersionId),
    /// Several names begin so.
    Ambiguous(Vec<VersionId>),
    /// The template's first version came later.
    Earlier(Timestamp),
}

/// A template has no such version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoMatch {
    /// Which template.
    pub template: TemplateName,
    /// What was asked for.
    pub spec: VersionSpec,
    /// What is wrong with it.
    pub why: Why,
    /// The generations that can be asked for, newest first: the first one is current.
    pub there: Vec<u64>,
}

impl VersionSpec {
    /// Exactly the version of that name.
    #[must_use]
    pub fn of(version: &VersionId) -> Self {
        Self { text: version.to_string(), wanted: Wanted::Name }
    }

    /// The version before the current one.
    #[must_use]
    pub fn previous() -> Self {
        Self { text: "previous".to_owned(), wanted: Wanted::Previous }
    }

    /// Whether it can only be a version's name, or the beginning of one.
    #[must_use]
    pub fn is_name(&self) -> bool {
        self.wanted == Wanted::Name
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Reads what somebody wrote `now`, with the times of his time zone.
    ///
    /// # Errors
    /// It has none of the forms, or lies ahead.
    pub fn parse(text: &str, now: &Zoned) -> Result<Self, SpecError> {
        let refuse = |why| SpecError { text: text.chars().take(64).collect(), why };
        let wanted = match text {
            "current" => Wanted::Current,
            "previous" => Wanted::Previous,
            "today" => Wanted::Time(now.timestamp()),
            _ => {
                if let Some(generation) = generation(text) {
                    Wanted::Generation(generation)
                } else if let Some(time) = time(text, now) {
                    // A clock may be a little off; a date of next week is a slip.
                    if time > now.timestamp() + SignedDuration::from_mins(1) {
                        return Err(refuse("that time is still to come"));
                    }
                    Wanted::Time(time)
                } else if check_name(text).is_ok() {
                    Wanted::Name
                } else {
                    return Err(refuse(FORMS));
                }
            }
        };
        Ok(Self { text: text.to_owned(), wanted })
    }

    /// The entry that is meant, of a history that is newest first.
    ///
    /// # Errors
    /// None is, or its tree is gone.
    pub fn find<'a>(&self, history: &'a [Entry]) -> Result<&'a Entry, Why> {
        let found = match &self.wanted {
            Wanted::Current => history.iter().find(|entry| entry.tree == TreeState::Current),
            Wanted::Previous => before_current(history),
            Wanted::Generation(generation) => {
                history.iter().find(|entry| entry.version.generation == *generation)
            }
            Wanted::Time(time) => Some(current_at(history, *time)?),
            Wanted::Name => self.named(history)?,
        };
        match found {
            None => Err(Why::Absent),
            Some(entry) if entry.tree == TreeState::Gone => Err(Why::Gone(entry.version.id.clone())),
            Some(entry) => Ok(entry),
        }
    }

    fn named<'a>(&self, history: &'a [Entry]) -> Result<Option<&'a Entry>, Why> {
        let id = |entry: &Entry| entry.version.id.clone();
        if let Some(exact) = history.iter().find(|entry| entry.version.id.as_str() == self.text) {
            return Ok(Some(exact));
        }
        let begins = |entry: &&Entry| entry.version.id.as_str().starts_with(&self.text);
        let all: Vec<&Entry> = history.iter().filter(begins).collect();
        match all.as_slice() {
            [] => Ok(None),
            [one] => Ok(Some(one)),
            several => Err(Why::Ambiguous(several.iter().map(|entry| id(entry)).collect())),
        }
    }
}

impl FromStr for VersionSpec {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        Self::parse(text, &Zoned::now().with_time_zone(TimeZone::system()))
    }
}

impl fmt::Display for VersionSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn generation(text: &str) -> Option<u64> {
    let digits = text.strip_prefix('g').unwrap_or(text);
    let short = !digits.is_empty() && digits.len() <= GENERATION_DIGITS;
    (short && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| digits.parse().ok())?
}

fn time(text: &str, now: &Zoned) -> Option<Timestamp> {
    let ago = |period: Period| SignedDuration::try_from(period.duration()).ok();
    if let Some(period) = text.parse().ok().and_then(ago) {
        return now.timestamp().checked_sub(period).ok();
    }
    if text == "yesterday" {
        return end_of(now.date().yesterday().ok()?, now);
    }
    // Only text of this length: a date with a time after it reads as a date, too.
    if text.len() == "2026-11-20".len() && text.as_bytes().get(4) == Some(&b'-') {
        return end_of(text.parse().ok()?, now);
    }
    if !text.starts_with(|first: char| first.is_ascii_digit()) || text.as_bytes().get(4) != Some(&b'-') {
        return None;
    }
    if let Ok(exact) = text.parse::<Timestamp>() {
        return Some(exact);
    }
    let local: DateTime = text.parse().ok()?;
    Some(local.to_zoned(now.time_zone().clone()).ok()?.timestamp())
}

/// The last instant of a day; of today, now.
fn end_of(date: Date, now: &Zoned) -> Option<Timestamp> {
    if date == now.date() {
        return Some(now.timestamp());
    }
    let next = date.tomorrow().ok()?.to_zoned(now.time_zone().clone()).ok()?;
    next.timestamp().checked_sub(1.nanosecond()).ok()
}

fn before_current(history: &[Entry]) -> Option<&Entry> {
    let at = history.iter().position(|entry| entry.tree == TreeState::Current)?;
    history.get(at.checked_add(1)?)
}

/// Clocks go back now and then, generations do not: the newest of those that were there.
fn current_at(history: &[Entry], time: Timestamp) -> Result<&Entry, Why> {
    let first = history.last().ok_or(Why::Absent)?;
    let found = history.iter().find(|entry| entry.version.created <= time);
    found.ok_or(Why::Earlier(first.version.created))
}

impl fmt::Display for NoMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { template, spec, why, there } = self;
        match (why, &spec.wanted) {
            (Why::Gone(id), _) if id.as_str() == spec.text => {
                write!(f, "template {template} has no version {id} any more: its tree was reclaimed")?;
            }
            (Why::Gone(id), _) => {
                write!(f, "version {spec} of template {template} is gone: the tree of {id} was reclaimed")?;
            }
            (Why::Ambiguous(ids), _) => {
                let ids: Vec<&str> = ids.iter().map(VersionId::as_str).collect();
                return write!(f, "template {template} has several versions {spec}: {}", ids.join(", "));
            }
            (Why::Earlier(first), _) => {
                let first = first.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M");
                write!(f, "template {template} had no version yet at {spec}: its first is of {first}")?;
            }
            (Why::Absent, Wanted::Generation(number)) => {
                write!(f, "template {template} has no generation {number}")?;
            }
            (Why::Absent, Wanted::Previous) => {
                write!(f, "template {template} has no version before the current one")?;
            }
            (Why::Absent, _) => write!(f, "template {template} has no version {spec}")?,
        }
        let mut words = there.iter().enumerate().map(|(at, generation)| match at {
            0 => format!("{generation} (current)"),
            _ => generation.to_string(),
        });
        match words.next() {
            None => Ok(()),
            Some(first) => {
                let all: Vec<String> = std::iter::once(first).chain(words).collect();
                write!(f, "; there is {}", all.join(", "))
            }
        }
    }
}

impl std::error::Error for NoMatch {}

#[cfg(test)]
mod tests;

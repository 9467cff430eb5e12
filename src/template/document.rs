//! TOML text to a typed value, with faults that name the key and know the place.
//!
//! Every file of ours carries `version = 1`, and that is looked at first: a file of a later format gets one
//! clear sentence and not a list of keys that this program does not know.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::de::{self, DeserializeOwned, Deserializer, Visitor};
use serde::{Deserialize, Serialize};
use toml::de::{DeTable, DeValue};

use super::diagnostic::Fault;

/// The only format that there is.
const VERSION: &str = "1";

/// Parses a file of ours.
pub(super) fn parse<T: DeserializeOwned>(text: &str) -> Result<T, Fault> {
    let table = DeTable::parse(text).map_err(|error| fault(text, None, &error))?;
    check_version(table.get_ref())?;
    // The table is eaten below, but names the key when that fails.
    let keys = table.get_ref().clone();
    T::deserialize(toml::de::Deserializer::from(table)).map_err(|error| fault(text, Some(&keys), &error))
}

fn check_version(table: &DeTable<'_>) -> Result<(), Fault> {
    let Some(value) = table.get("version") else {
        let message = format!("missing field `version`: this file needs the line version = {VERSION}");
        return Err(Fault { span: None, message });
    };
    match value.get_ref().as_integer() {
        Some(number) if number.as_str() == VERSION => Ok(()),
        _ => Err(Fault::at(value.span(), format!("version: this program reads version = {VERSION} only"))),
    }
}

fn fault(text: &str, keys: Option<&DeTable<'_>>, error: &toml::de::Error) -> Fault {
    // A span over the whole text says nothing.
    let span = error.span().filter(|span| *span != (0..text.len()) || text.lines().count() == 1);
    let key = span.as_ref().zip(keys).and_then(|(span, keys)| key_at(keys, span.start));
    let message = error.message().to_owned();
    // serde itself names a key that it does not know.
    let key = key.filter(|key| !message.contains(&format!("`{key}`")));
    Fault { span, message: key.map_or(message.clone(), |key| format!("{key}: {message}")) }
}

/// The dotted key whose value holds the byte `offset`.
fn key_at(table: &DeTable<'_>, offset: usize) -> Option<String> {
    table.iter().find_map(|(key, value)| {
        let key = key.get_ref();
        // First what is inside: the span of a [table] is its head, not its keys.
        let inner = tables_in(value.get_ref()).find_map(|table| key_at(table, offset));
        match inner {
            Some(inner) => Some(format!("{key}.{inner}")),
            None => value.span().contains(&offset).then(|| key.to_string()),
        }
    })
}

fn tables_in<'a, 'i>(value: &'a DeValue<'i>) -> impl Iterator<Item = &'a DeTable<'i>> {
    let items = value.as_array().into_iter().flat_map(|array| array.iter());
    value.as_table().into_iter().chain(items.filter_map(|item| item.get_ref().as_table()))
}

/// The place of a value in a text that was parsed before: `path` leads to it by keys and, in lists, by
/// numbers from 0.
pub(super) fn find(text: &str, path: &[&str]) -> Option<Range<usize>> {
    let table = DeTable::parse(text).ok()?;
    let (first, rest) = path.split_first()?;
    let mut value = table.get_ref().get(*first)?;
    for step in rest {
        value = match value.get_ref() {
            DeValue::Table(table) => table.get(*step)?,
            DeValue::Array(array) => array.get(step.parse::<usize>().ok()?)?,
            _ => return None,
        };
    }
    Some(value.span())
}

/// A value written as a string and parsed by its `FromStr`; a refusal then points at that string.
#[derive(Debug, Clone)]
pub(super) struct Word<T>(pub(super) T);

impl<'de, T: FromStr<Err: fmt::Display>> Deserialize<'de> for Word<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text<T>(PhantomData<T>);
        impl<T: FromStr<Err: fmt::Display>> Visitor<'_> for Text<T> {
            type Value = Word<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Word<T>, E> {
                text.parse().map(Word).map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Text(PhantomData))
    }
}

/// The values of words.
pub(super) fn plain<T>(words: Vec<Word<T>>) -> Vec<T> {
    words.into_iter().map(|word| word.0).collect()
}

/// One line of text for people.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(super) struct Line(pub(super) String);

/// Text that is not one line.
#[derive(Debug, thiserror::Error)]
#[error("it is one line of text without control characters")]
pub(super) struct LineError;

impl FromStr for Line {
    type Err = LineError;

    fn from_str(text: &str) -> Result<Self, LineError> {
        if text.chars().any(char::is_control) { Err(LineError) } else { Ok(Self(text.to_owned())) }
    }
}

/// A path that starts at the root and goes only down, so that what it names can be read off it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Absolute(pub(super) PathBuf);

/// Text that is no such path.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no path to use here: {why}")]
pub(super) struct PathError {
    text: String,
    why: &'static str,
}

impl FromStr for Absolute {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, PathError> {
        let refuse = |why| Err(PathError { text: text.to_owned(), why });
        if !text.starts_with('/') {
            return refuse("it is not absolute");
        }
        if text.split('/').any(|part| part == "..") {
            return refuse("`..` may not stand in it");
        }
        if text.chars().any(char::is_control) {
            return refuse("control characters may not stand in it");
        }
        // Without `//`, `/./` and a last slash: the same path is the same value.
        Ok(Self(Path::new(text).components().collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absolute_paths_follow_the_table() {
        for (text, path) in
            [("/", "/"), ("/a", "/a"), ("/a/", "/a"), ("//a/./b", "/a/b"), ("/a..b/c", "/a..b/c")]
        {
            assert_eq!(text.parse::<Absolute>().unwrap().0.as_os_str(), path);
        }
        let bad = [
            ("", "not absolute"),
            ("a", "not absolute"),
            ("./a", "not absolute"),
            ("~/a", "not absolute"),
            ("/..", "`..`"),
            ("/a/../b", "`..`"),
            ("/a/..", "`..`"),
            ("/a\0", "control"),
            ("/a\n", "control"),
        ];
        for (text, why) in bad {
            let error = text.parse::<Absolute>().unwrap_err().to_string();
            assert!(error.contains(why), "{text:?}: {error}");
        }
    }

    #[test]
    fn values_are_found_by_keys_and_numbers() {
        let text = "a = 1\n[t]\nl = ['x', 'y']\n[[m]]\nk = 2\n[[m]]\nk = 3\n";
        let found = |path: &[&str]| find(text, path).and_then(|span| text.get(span));
        assert_eq!(found(&["a"]), Some("1"));
        assert_eq!(found(&["t", "l", "1"]), Some("'y'"));
        assert_eq!(found(&["m", "1", "k"]), Some("3"));
        for path in [&[][..], &["b"], &["a", "b"], &["t", "l", "2"], &["t", "l", "x"], &["m", "2", "k"]] {
            assert_eq!(found(path), None, "{path:?}");
        }
        assert_eq!(find("a = ", &["a"]), None);
    }
}

//! The syntax of schroot.conf: groups of `key=value` lines.
//!
//! schroot's own reader trims nothing, though schroot.conf(5) promises comments at the end of lines. Here blanks
//! around keys and values are no part of them, nor is a comment after a value; a line of blanks is an empty one.
//! Whatever the real program reads without a complaint is read the same here, but for such blanks.

use std::collections::BTreeMap;

/// One `key=value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Value {
    pub(super) text: String,
    /// Counted from 1.
    pub(super) line: usize,
}

/// A group: what stands below its `[name]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) line: usize,
    pub(super) values: BTreeMap<String, Value>,
}

/// All groups of a file, by name.
pub(super) type Groups = BTreeMap<String, Group>;

/// A text that is no key file. Lines are counted from 0 where the line itself is wrong, as in the real program.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Error {
    #[error("line {line}: Invalid group: “{text}”")]
    Group { line: usize, text: String },
    #[error("line {line}: No group specified: “{text}”")]
    NoGroup { line: usize, text: String },
    #[error("line {line}: Invalid line: “{text}”")]
    Line { line: usize, text: String },
    #[error("line {line}: No key specified: “{text}”")]
    NoKey { line: usize, text: String },
    #[error("line {line}: Duplicate group ‘{name}’")]
    TwoGroups { line: usize, name: String },
    #[error("line {line} [{group}]: Duplicate key ‘{key}’")]
    TwoKeys { line: usize, group: String, key: String },
}

/// Reads a text.
///
/// # Errors
/// The first line that is neither empty, a comment, a `[group]` nor a `key=value` in a group.
pub(super) fn parse(text: &str) -> Result<Groups, Error> {
    let mut groups = Groups::new();
    let mut current: Option<String> = None;
    for (index, whole) in text.split('\n').enumerate() {
        let line = whole.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let number = index + 1;
        if line.starts_with('[') {
            let name = group_name(line)
                .ok_or_else(|| Error::Group { line: index, text: line.to_owned() })?
                .to_owned();
            let group = Group { line: number, values: BTreeMap::new() };
            if groups.insert(name.clone(), group).is_some() {
                return Err(Error::TwoGroups { line: number, name });
            }
            current = Some(name);
            continue;
        }
        let text = || line.to_owned();
        let (key, value) = line.split_once('=').ok_or_else(|| Error::Line { line: index, text: text() })?;
        let key = key.trim_end();
        if key.is_empty() {
            return Err(Error::NoKey { line: index, text: text() });
        }
        let Some((name, group)) = current.as_ref().and_then(|name| Some((name, groups.get_mut(name)?)))
        else {
            return Err(Error::NoGroup { line: index, text: text() });
        };
        let value = Value { text: without_comment(value).trim().to_owned(), line: number };
        if group.values.insert(key.to_owned(), value).is_some() {
            return Err(Error::TwoKeys { line: number, group: name.clone(), key: key.to_owned() });
        }
    }
    Ok(groups)
}

/// The name in `[name]`; what follows the bracket does not count.
fn group_name(line: &str) -> Option<&str> {
    let (name, rest) = line.strip_prefix('[')?.split_once(']')?;
    (!name.is_empty() && !rest.contains(']')).then_some(name)
}

/// The value without a comment, which is a `#` that stands alone between blanks: `Build #7` is a description.
fn without_comment(value: &str) -> &str {
    let starts = value.match_indices('#').map(|(at, _)| at).find(|at| {
        let before = value.get(..*at).and_then(|text| text.chars().next_back());
        let after = value.get(at + 1..).and_then(|text| text.chars().next());
        before.is_some_and(char::is_whitespace) && after.is_none_or(char::is_whitespace)
    });
    starts.and_then(|at| value.get(..at)).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str, group: &str, key: &str) -> String {
        parse(text).unwrap()[group].values[key].text.clone()
    }

    #[test]
    fn groups_and_values_are_found_with_their_lines() {
        let found = parse("# head\n\n[one]\na=1\nb=x=y\n[two] # why\n").unwrap();
        assert_eq!(found.keys().collect::<Vec<_>>(), ["one", "two"]);
        assert_eq!(found["one"].line, 3);
        assert_eq!(found["one"].values["b"], Value { text: "x=y".to_owned(), line: 5 });
        assert!(found["two"].values.is_empty());
    }

    #[test]
    fn blanks_carriage_returns_and_comments_after_values_are_no_part_of_them() {
        assert_eq!(value("[a]\r\ntype = directory\r\n", "a", "type"), "directory");
        assert_eq!(value("[a]\nusers=alice,bob # the boss\n", "a", "users"), "alice,bob");
        assert_eq!(value("[a]\nusers= #\n", "a", "users"), "");
        assert_eq!(value("[a]\ndescription=Build #7, a#b\n", "a", "description"), "Build #7, a#b");
        assert_eq!(parse("[a]\n   \n # c\n").unwrap()["a"].values.len(), 0);
    }

    #[test]
    fn what_is_no_key_file_is_said_with_its_line() {
        for (text, said) in [
            ("[]\n", "line 0: Invalid group: “[]”"),
            ("[foo\n", "line 0: Invalid group: “[foo”"),
            ("[f]oo]\n", "line 0: Invalid group: “[f]oo]”"),
            ("directory=/x\n", "line 0: No group specified: “directory=/x”"),
            ("[foo]\nnokey\n", "line 1: Invalid line: “nokey”"),
            ("[foo]\n=value\n", "line 1: No key specified: “=value”"),
            ("[foo]\na=1\na=2\n", "line 3 [foo]: Duplicate key ‘a’"),
            ("[foo]\n[foo]\n", "line 2: Duplicate group ‘foo’"),
        ] {
            assert_eq!(parse(text).unwrap_err().to_string(), said);
        }
    }
}

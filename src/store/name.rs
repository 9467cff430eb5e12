//! Names: of templates, versions and sessions. The one place where a string becomes one.
//!
//! The rule is schroot's since CVE-2022-2787: a name is a file name, a dataset component, a mount point and
//! a word on command lines, so it has one strict form.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

const LONGEST: usize = 64;
const LEFTOVER_SUFFIXES: [&str; 4] = ["dpkg-old", "dpkg-dist", "dpkg-new", "dpkg-tmp"];

/// A string that is no name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a name: {why}")]
pub struct NameError {
    text: String,
    why: &'static str,
}

/// Checks `^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,63}$`, not ending in a dpkg leftover suffix.
///
/// # Errors
/// Says which part of the rule the text breaks.
pub fn check(text: &str) -> Result<(), NameError> {
    let refuse = |why| Err(NameError { text: text.chars().take(LONGEST + 1).collect(), why });
    let Some(first) = text.bytes().next() else { return refuse("it is empty") };
    if !first.is_ascii_alphanumeric() {
        return refuse("it does not start with a letter or digit");
    }
    if text.len() > LONGEST {
        return refuse("it is longer than 64 characters");
    }
    if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte)) {
        return refuse("only letters, digits and _ . - may stand in it");
    }
    if LEFTOVER_SUFFIXES.iter().any(|suffix| text.ends_with(suffix)) {
        return refuse("it ends like a file that dpkg left over");
    }
    Ok(())
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                check(text).map(|()| Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name_type! {
    /// The name of a template, which is the stem of its definition file.
    TemplateName
}
name_type! {
    /// The name of one version of a template's tree; sorts by time.
    VersionId
}
name_type! {
    /// The name of a session.
    SessionId
}

impl VersionId {
    /// A new version name: UTC time to the millisecond and 20 random bits, `20261121-094124-123-x7k2`.
    ///
    /// # Errors
    /// The system has no random numbers to give.
    pub fn generate() -> std::io::Result<Self> {
        Ok(Self(stamp()?))
    }
}

impl SessionId {
    /// A new session name for a template: its name (cut to fit), the time and 20 random bits.
    ///
    /// # Errors
    /// The system has no random numbers to give.
    pub fn generate(template: &TemplateName) -> std::io::Result<Self> {
        let stamp = stamp()?;
        let room = LONGEST - stamp.len() - 1;
        let head = template.as_str().get(..room).unwrap_or(template.as_str());
        Ok(Self(format!("{head}-{stamp}")))
    }
}

/// `YYYYMMDD-HHMMSS-mmm-rrrr`: sortable, unique enough that a clash is only a retry.
fn stamp() -> std::io::Result<String> {
    const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let mut random = [0_u8; 4];
    rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())?;
    let tail: String = random
        .iter()
        .filter_map(|byte| DIGITS.get(usize::from(byte % 32)))
        .map(|digit| char::from(*digit))
        .collect();
    let now = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC);
    Ok(format!("{}-{:03}-{tail}", now.strftime("%Y%m%d-%H%M%S"), now.millisecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_table() {
        let good = ["a", "sid", "UNRELEASED-amd64-sbuild", "0", "a_b.c-d", &"x".repeat(64)];
        let bad = [
            "",
            ".",
            "..",
            "-a",
            ".hidden",
            "_x",
            "a/b",
            "a:b",
            "a@b",
            "a b",
            "a,b",
            "a%b",
            "ü",
            "a\n",
            "a\0",
            "x.dpkg-old",
            "foodpkg-new",
            "a.dpkg-dist",
            "a.dpkg-tmp",
            &"x".repeat(65),
        ];
        for text in good {
            assert_eq!(check(text), Ok(()), "{text:?}");
        }
        for text in bad {
            assert!(check(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn generated_names_are_names_and_sort_by_time() {
        let first = VersionId::generate().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(3));
        let second = VersionId::generate().unwrap();
        assert_eq!(check(first.as_str()), Ok(()));
        assert!(first < second);
        let long: TemplateName = "t".repeat(64).parse().unwrap();
        assert_eq!(check(SessionId::generate(&long).unwrap().as_str()), Ok(()));
    }
}

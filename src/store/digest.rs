//! Digests: what an image is called by.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

const LENGTH: usize = 64;
/// A shorter beginning could be the name of a file.
const SHORTEST_PREFIX: usize = 8;

/// A SHA-256 digest, as 64 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

/// A string that is no digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a digest: it has to be 64 hexadecimal digits, with or without sha256: before them")]
pub struct DigestError(String);

impl Digest {
    /// The digest of these bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let halves = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        Self(
            halves.filter_map(|half| DIGITS.get(usize::from(half))).map(|digit| char::from(*digit)).collect(),
        )
    }

    /// The 64 digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first 12 digits, for people.
    #[must_use]
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }
}

/// The beginning of a digest, or a whole one; `None` if the text is something else.
#[must_use]
pub fn prefix(text: &str) -> Option<&str> {
    let (digits, named) = text.strip_prefix("sha256:").map_or((text, false), |digits| (digits, true));
    let long_enough = digits.len() >= SHORTEST_PREFIX || (named && !digits.is_empty());
    (long_enough && digits.len() <= LENGTH && is_hex(digits)).then_some(digits)
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

impl FromStr for Digest {
    type Err = DigestError;
    fn from_str(text: &str) -> Result<Self, DigestError> {
        let digits = text.strip_prefix("sha256:").unwrap_or(text);
        if digits.len() == LENGTH && is_hex(digits) {
            return Ok(Self(digits.to_owned()));
        }
        Err(DigestError(text.chars().take(100).collect()))
    }
}

impl TryFrom<String> for Digest {
    type Error = DigestError;
    fn try_from(text: String) -> Result<Self, DigestError> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_and_their_beginnings_follow_the_table() {
        let whole = "0123456789abcdef".repeat(4);
        let named = format!("sha256:{whole}");
        for text in [&whole, &named] {
            assert_eq!(text.parse::<Digest>().unwrap().as_str(), whole);
            assert_eq!(prefix(text), Some(whole.as_str()));
        }
        let long = format!("{whole}0");
        let upper = whole.to_uppercase();
        for bad in ["", "0123", "sha512:00", &whole[1..], &long, &upper, "../../../../etc/passwd"] {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
        let beginnings = [
            ("01234567", Some("01234567")),
            ("0123456", None),
            ("sha256:01", Some("01")),
            ("sha256:", None),
            ("cafebabe.tar", None),
            ("CAFEBABE", None),
            (&long, None),
        ];
        for (text, digits) in beginnings {
            assert_eq!(prefix(text), digits, "{text}");
        }
        assert_eq!(Digest::from_bytes([0xa5; 32]).as_str(), "a5".repeat(32));
        assert_eq!(Digest::from_bytes([0xa5; 32]).short(), "a5a5a5a5a5a5");
    }
}

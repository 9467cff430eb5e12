//! `tests/skips.toml`: what may be skipped, and why.

use std::fs;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::debian::libzfs;

/// What may be skipped.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Allowed {
    #[serde(default, rename = "skip")]
    skips: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    /// `*` stands for any text.
    name: String,
    reason: String,
}

impl Allowed {
    pub const FILE: &str = "tests/skips.toml";

    /// # Errors
    /// When the file is not there or is not as it should be.
    pub fn read() -> Result<Self> {
        let path = libzfs::workspace().join(Self::FILE);
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("read {}", path.display()))
    }

    pub fn parse(text: &str) -> Result<Self> {
        let allowed: Self = toml::from_str(text)?;
        if let Some(entry) = allowed.skips.iter().find(|entry| entry.reason.trim().is_empty()) {
            bail!("the skip {:?} has no reason", entry.name);
        }
        Ok(allowed)
    }

    /// Why this may be skipped, if it may.
    pub fn reason(&self, name: &str) -> Option<&str> {
        self.skips.iter().find(|entry| matches(&entry.name, name)).map(|entry| entry.reason.as_str())
    }
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((head, rest)) => name.strip_prefix(head).is_some_and(|tail| {
            tail.char_indices().map(|(at, _)| at).chain([tail.len()]).any(|at| matches(rest, &tail[at..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        assert!(matches("a", "a") && !matches("a", "ab"));
        assert!(matches("zchroot* a_*_b", "zchroot::x a_1_b") && !matches("zchroot* a_*_b", "zchroot a_1_c"));
        assert!(matches("*", "") && matches("a*", "a") && matches("*é", "caé"));
    }

    #[test]
    fn a_skip_needs_a_reason() {
        assert!(Allowed::parse("[[skip]]\nname = \"x\"\nreason = \" \"\n").is_err());
        assert!(Allowed::parse("[[skip]]\nname = \"x\"\n").is_err());
        assert!(Allowed::parse("[[skips]]\nname = \"x\"\nreason = \"y\"\n").is_err());
    }

    #[test]
    fn the_file_in_the_tree_can_be_read() {
        assert!(Allowed::read().unwrap().reason("advisories").is_some());
    }
}

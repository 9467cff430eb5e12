//! What the last commit gives.

use std::path::Path;

use anyhow::{Context as _, Result};

use crate::program;

/// The last commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Seconds since 1970: the time of everything that is packed.
    pub time: u64,
    /// The time as changelogs of Debian have it.
    pub date: String,
    /// `Name <address>` of who made it.
    pub author: String,
    /// What follows the version of Cargo.toml: nothing if the commit is tagged as that, else a suffix that sorts before it
    /// and by time.
    pub suffix: String,
}

impl Commit {
    /// Asks git.
    ///
    /// # Errors
    /// When this is no work tree of git.
    pub fn read(root: &Path, version: &str) -> Result<Self> {
        // %h depends on how many objects the clone has.
        let format = "--format=%ct%n%H%n%an <%ae>%n%cd";
        let log = git(root, &["log", "-1", format, "--date=format-local:%a, %d %b %Y %H:%M:%S +0000"])?;
        let stamp = git(root, &["log", "-1", "--format=%cd", "--date=format-local:%Y%m%d%H%M%S"])?;
        let tags = git(root, &["tag", "--points-at", "HEAD"])?;
        let tagged = tags.lines().any(|tag| tag == format!("v{version}"));
        Self::of(&log, stamp.trim(), tagged).context("git log -1 says too little")
    }

    fn of(log: &str, stamp: &str, tagged: bool) -> Option<Self> {
        let mut lines = log.lines();
        let time = lines.next()?.parse().ok()?;
        let short = lines.next()?.get(..8)?;
        let suffix = if tagged { String::new() } else { format!("~git{stamp}.{short}") };
        Some(Self { time, author: lines.next()?.to_owned(), date: lines.next()?.to_owned(), suffix })
    }
}

fn git(root: &Path, words: &[&str]) -> Result<String> {
    program::output(program::command("git").args(words).current_dir(root).env("TZ", "UTC").env("LC_ALL", "C"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "1795312937\n0123456789abcdef\nA Name <a@name>\nSun, 22 Nov 2026 02:02:17 +0000\n";

    #[test]
    fn a_tagged_commit_has_the_version_s_own_name_and_others_sort_before_it() {
        let commit = |tagged| Commit::of(LOG, "20261122020217", tagged).unwrap();
        assert_eq!(commit(true).suffix, "");
        assert_eq!(commit(false).suffix, "~git20261122020217.01234567");
        assert_eq!((commit(true).time, commit(true).author.as_str()), (1_795_312_937, "A Name <a@name>"));
    }

    #[test]
    fn what_is_no_log_is_no_commit() {
        assert_eq!(Commit::of("", "", true), None);
        assert_eq!(Commit::of("yesterday\nx\ny\nz\n", "", true), None);
    }
}

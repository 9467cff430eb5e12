//! A mutation: a patch of the sources with a head that says what it breaks and which tests have to fail.
//!
//! ```text
//! What is broken, in a sentence or two.
//!
//! fails: BINARY TEST
//! says: TEXT
//!
//! --- a/src/...
//! ```
//!
//! What is changed is found by its text and not by line numbers: the old lines of a hunk have to be in the file once.

use anyhow::{Context, Result, bail};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mutation {
    pub name: String,
    pub what: String,
    pub fails: Vec<Fails>,
    hunks: Vec<Hunk>,
}

/// A test that has to fail, and what its output has to say: a test may fail for other reasons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fails {
    pub binary: String,
    pub test: String,
    pub says: String,
}

/// Lines of a file, and what they become.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Hunk {
    path: String,
    old: String,
    new: String,
}

impl Fails {
    /// Whether it needs a pool, by its name.
    pub fn needs_machine(&self) -> bool {
        self.test.contains("zfs_")
    }
}

impl Mutation {
    /// Reads a patch.
    ///
    /// # Errors
    /// When it is none, or its head does not say which tests fail.
    pub fn parse(name: &str, text: &str) -> Result<Self> {
        let at = text.find("--- a/").context("it changes no file")?;
        let (head, body) = text.split_at(at);
        let mutation =
            Self { name: name.to_owned(), what: what(head), fails: fails(head)?, hunks: hunks(body)? };
        if mutation.what.is_empty() || mutation.fails.is_empty() {
            bail!("its head says not what it breaks, or not which tests fail");
        }
        Ok(mutation)
    }

    /// The files that it changes, each once.
    pub fn paths(&self) -> Vec<&str> {
        let mut paths: Vec<&str> = self.hunks.iter().map(|hunk| hunk.path.as_str()).collect();
        paths.dedup();
        paths
    }

    /// A file of this path with the mutation in it.
    ///
    /// # Errors
    /// When the lines to be changed are not there, or not only once.
    pub fn applied(&self, path: &str, text: &str) -> Result<String> {
        let mut text = text.to_owned();
        for hunk in self.hunks.iter().filter(|hunk| hunk.path == path) {
            match text.matches(&hunk.old).count() {
                1 => text = text.replacen(&hunk.old, &hunk.new, 1),
                found => bail!("{path} has these lines {found} times, not once:\n{}", hunk.old),
            }
        }
        Ok(text)
    }
}

fn what(head: &str) -> String {
    let lines = head.lines().map(str::trim).take_while(|line| !line.starts_with("fails: "));
    lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

fn fails(head: &str) -> Result<Vec<Fails>> {
    let mut fails = Vec::new();
    let mut lines = head.lines();
    while let Some(line) = lines.next() {
        let Some(test) = line.strip_prefix("fails: ") else { continue };
        let (binary, test) = test.split_once(' ').with_context(|| format!("{line:?}: fails: BINARY TEST"))?;
        let says = lines.next().and_then(|line| line.strip_prefix("says: "));
        let says = says.with_context(|| format!("{test}: the next line has to be says: TEXT"))?;
        let [binary, test, says] = [binary, test, says].map(|text| text.trim().to_owned());
        fails.push(Fails { binary, test, says });
    }
    Ok(fails)
}

fn hunks(body: &str) -> Result<Vec<Hunk>> {
    let (mut hunks, mut path) = (Vec::<Hunk>::new(), None);
    for line in body.lines() {
        if let Some(name) = line.strip_prefix("--- a/") {
            path = Some(name.split('\t').next().unwrap_or(name).to_owned());
        } else if line.starts_with("+++ b/") {
        } else if line.starts_with("@@ ") {
            let path = path.clone().context("a hunk before any file")?;
            hunks.push(Hunk { path, ..Hunk::default() });
        } else {
            let hunk = hunks.last_mut().with_context(|| format!("{line:?} is in no hunk"))?;
            let (kind, rest) = line.split_at_checked(1).unwrap_or((" ", ""));
            if !matches!(kind, " " | "-" | "+") {
                bail!("{line:?} is no line of a patch");
            }
            for side in [(kind != "+").then_some(&mut hunk.old), (kind != "-").then_some(&mut hunk.new)] {
                side.into_iter().for_each(|side| side.extend([rest, "\n"]));
            }
        }
    }
    Ok(hunks)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATCH: &str = "Two is\nforgotten.\n\nfails: store_contract a::b\nsays: one, three\n\n\
        --- a/src/x.rs\n+++ b/src/x.rs\n@@ -1,3 +1,2 @@\n one\n-two\n three\n";

    #[test]
    fn a_patch_is_read_and_applied_wherever_its_lines_are() {
        let mutation = Mutation::parse("m", PATCH).unwrap();
        assert_eq!(mutation.what, "Two is forgotten.");
        let fails = &mutation.fails[0];
        assert_eq!([&*fails.binary, &*fails.test, &*fails.says], ["store_contract", "a::b", "one, three"]);
        assert!(!fails.needs_machine());
        assert_eq!(mutation.paths(), ["src/x.rs"]);
        let applied = mutation.applied("src/x.rs", "zero\none\ntwo\nthree\nfour\n").unwrap();
        assert_eq!(applied, "zero\none\nthree\nfour\n");
        assert_eq!(mutation.applied("src/other.rs", "x\n").unwrap(), "x\n");
    }

    #[test]
    fn a_patch_that_does_not_fit_or_fits_twice_is_an_error() {
        let mutation = Mutation::parse("m", PATCH).unwrap();
        for text in ["one\n2\nthree\n", "one\ntwo\nthree\none\ntwo\nthree\n"] {
            let error = mutation.applied("src/x.rs", text).unwrap_err().to_string();
            assert!(error.starts_with("src/x.rs has these lines "), "{error}");
        }
    }

    #[test]
    fn a_patch_without_its_head_is_an_error() {
        let bare = &PATCH[PATCH.find("---").unwrap()..];
        for text in
            [bare, "no patch", &PATCH.replace("says: ", "speaks: "), &PATCH.replace(" one\n", "one\n")]
        {
            assert!(Mutation::parse("m", text).is_err(), "{text}");
        }
    }
}

//! Counting: what passed, failed and was skipped.

use std::io::Write;

use anyhow::{Context, Result};

use super::counts::Counts;
use super::skips::Allowed;

/// Something that was not run, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skip {
    pub name: String,
    pub why: String,
}

/// What became of a number of tests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub passed: usize,
    pub failed: Vec<String>,
    pub skipped: Vec<Skip>,
    /// What its tests counted themselves.
    pub counts: Counts,
}

impl Tally {
    /// One check.
    pub fn one(name: &str, passed: bool) -> Self {
        if passed { Self { passed: 1, ..Self::default() } } else { Self::failed(name) }
    }

    /// One failure.
    pub fn failed(name: &str) -> Self {
        Self { failed: vec![name.to_owned()], ..Self::default() }
    }

    /// What nextest's report says.
    ///
    /// # Errors
    /// When it is no such report, or its parts contradict its sums.
    pub fn of_junit(text: &str) -> Result<Self> {
        let sums = text
            .lines()
            .find(|line| line.contains("<testsuites "))
            .context("no <testsuites> in the report")?;
        let number = |key: &str| -> Result<usize> {
            let value = attribute(sums, key).with_context(|| format!("no {key} in the report's sums"))?;
            value.parse().with_context(|| format!("{key}={value:?} in the report's sums"))
        };
        let (tests, bad) = (number("tests")?, number("failures")? + number("errors")?);
        let mut failed = failed_in(text);
        // A failure whose name we cannot read is a failure all the same.
        while failed.len() < bad {
            failed.push("(a test without a name)".to_owned());
        }
        let passed = tests.saturating_sub(failed.len());
        Ok(Self { passed, failed, skipped: Vec::new(), counts: counts_in(text) })
    }

    pub fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed.extend(other.failed);
        self.skipped.extend(other.skipped);
        self.counts.add(other.counts);
    }

    pub fn is_empty(&self) -> bool {
        self.passed == 0 && self.failed.is_empty() && self.skipped.is_empty()
    }

    /// The one line that counts.
    pub fn line(&self) -> String {
        format!("{} passed, {} failed, {} skipped", self.passed, self.failed.len(), self.skipped.len())
    }

    /// Names what failed and what was skipped; true if nothing failed and every skip is allowed.
    pub fn print(&self, allowed: &Allowed, out: &mut impl Write) -> Result<bool> {
        let mut good = self.failed.is_empty();
        for name in &self.failed {
            writeln!(out, "failed: {name}")?;
        }
        for Skip { name, why } in &self.skipped {
            match allowed.reason(name) {
                Some(reason) => writeln!(out, "skipped: {name} ({why}): {reason}")?,
                None => {
                    good = false;
                    writeln!(
                        out,
                        "skipped and not listed in {}, which fails the run: {name} ({why})",
                        Allowed::FILE
                    )?;
                }
            }
        }
        Ok(good)
    }
}

/// The test cases of a report. The text of a test's output is escaped: a tag is a tag.
fn cases(junit: &str) -> impl Iterator<Item = &str> {
    junit.split("<testcase ").skip(1).map(|case| case.split("</testcase>").next().unwrap_or_default())
}

fn case_name(case: &str) -> Option<String> {
    let head = case.split('>').next()?;
    Some(format!("{} {}", attribute(head, "classname")?, attribute(head, "name")?))
}

/// The names of the test cases that have a failure or an error in them.
fn failed_in(junit: &str) -> Vec<String> {
    let bad = |case: &&str| case.contains("<failure") || case.contains("<error");
    cases(junit).filter(bad).filter_map(case_name).collect()
}

/// What the tests counted, passed or failed. A counting line has nothing in it that is escaped.
fn counts_in(junit: &str) -> Counts {
    let mut counts = Counts::default();
    for (name, case) in cases(junit).filter_map(|case| Some((case_name(case)?, case))) {
        for output in ["<system-out>", "<system-err>"].iter().filter_map(|tag| case.split(tag).nth(1)) {
            counts.read(&name, output.split('<').next().unwrap_or_default());
        }
    }
    counts
}

/// Whether the test case `BINARY TEST` of a report failed, and all the text that there is of it.
pub fn case(junit: &str, name: &str) -> Option<(bool, String)> {
    let case = cases(junit).find(|case| case_name(case).as_deref() == Some(name))?;
    let text = case.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&apos;", "'");
    Some((case.contains("<failure") || case.contains("<error"), text.replace("&amp;", "&")))
}

fn attribute<'a>(tag: &'a str, key: &str) -> Option<&'a str> {
    let at = format!("{key}=\"");
    // A name that ends in ours is another one: name, classname.
    let start = tag.match_indices(&at).find(|(place, _)| *place == 0 || tag.as_bytes()[place - 1] == b' ')?.0;
    tag[start + at.len()..].split('"').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    const JUNIT: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
        <testsuites name=\"nextest-run\" tests=\"3\" failures=\"1\" errors=\"0\" uuid=\"x\">\n\
        <testsuite name=\"zchroot\" tests=\"3\" disabled=\"0\" errors=\"0\" failures=\"1\">\n\
        <testcase name=\"a\" classname=\"zchroot\" time=\"0.1\">\n</testcase>\n\
        <testcase name=\"b::c\" classname=\"zchroot::sys\" time=\"0.1\">\n<failure type=\"test failure\">x</failure>\n\
        <system-out>&lt;failure</system-out>\n</testcase>\n\
        <testcase name=\"d\" classname=\"zchroot\" time=\"0.1\"/>\n</testsuite>\n</testsuites>\n";

    #[test]
    fn a_report_is_counted_and_its_failures_are_named() {
        let tally = Tally::of_junit(JUNIT).unwrap();
        assert_eq!(tally.line(), "2 passed, 1 failed, 0 skipped");
        assert_eq!(tally.failed, ["zchroot::sys b::c"]);
    }

    #[test]
    fn the_counts_of_good_and_bad_tests_are_read() {
        let text = JUNIT
            .replace("&lt;failure", "x\ncrash-count: commit n=3\n&lt;")
            .replace("time=\"0.1\">\n</", "time=\"0.1\"><system-out>crash-count: n=4\n</system-out></");
        let mut out = Vec::new();
        Tally::of_junit(&text).unwrap().counts.print("x", &mut out).unwrap();
        let out = String::from_utf8(out).unwrap();
        assert!(out.contains("  zchroot a                 n=4\n"), "{out}");
        assert!(out.contains("  zchroot::sys b::c commit  n=3\n"), "{out}");
    }

    #[test]
    fn a_failure_without_a_case_is_counted() {
        let text = JUNIT.replacen("failures=\"1\"", "failures=\"2\"", 1);
        assert_eq!(Tally::of_junit(&text).unwrap().line(), "1 passed, 2 failed, 0 skipped");
    }

    #[test]
    fn what_is_no_report_is_an_error() {
        assert!(Tally::of_junit("").is_err());
        assert!(Tally::of_junit("<testsuites tests=\"x\" failures=\"0\" errors=\"0\">").is_err());
    }

    #[test]
    fn a_skip_that_is_not_listed_fails_the_run_and_a_listed_one_does_not() {
        let skip = |name: &str| Tally {
            skipped: vec![Skip { name: name.into(), why: "marked".into() }],
            ..Tally::default()
        };
        let allowed = Allowed::parse("[[skip]]\nname = \"known *\"\nreason = \"because\"\n").unwrap();
        let mut out = Vec::new();
        assert!(skip("known test").print(&allowed, &mut out).unwrap());
        assert!(!skip("other test").print(&allowed, &mut out).unwrap());
        let out = String::from_utf8(out).unwrap();
        assert!(out.starts_with("skipped: known test (marked): because\n"), "{out}");
        assert!(out.contains("not listed in tests/skips.toml"), "{out}");
    }

    #[test]
    fn a_failure_fails_the_run() {
        let allowed = Allowed::parse("").unwrap();
        assert!(!Tally::one("fmt", false).print(&allowed, &mut Vec::new()).unwrap());
        assert!(Tally::one("fmt", true).print(&allowed, &mut Vec::new()).unwrap());
    }
}

//! What tests of crashes, histories, clients and defects count: lines of their output such as
//!
//! ```text
//! crash-count: commit points=120 killed=118
//! ```
//!
//! Words with a number after `=` are counts, other words are a label. The lines of one test with the same label are
//! summed.

use std::collections::BTreeMap;
use std::io::{self, Write};

/// Sums by their names, in the order of the alphabet.
type Sums = BTreeMap<String, u64>;

/// The counts of a lane, by test and label.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts(BTreeMap<String, Sums>);

impl Counts {
    /// How such a line begins.
    const PREFIXES: [&str; 4] = ["crash-count:", "history-count:", "client-count:", "defect-count:"];

    /// Takes the counting lines of a test's output.
    pub fn read(&mut self, test: &str, output: &str) {
        let lines = output.lines().map(|line| without_head(line).trim());
        for line in
            lines.filter_map(|line| Self::PREFIXES.iter().find_map(|prefix| line.strip_prefix(prefix)))
        {
            self.line(test, line);
        }
    }

    fn line(&mut self, test: &str, line: &str) {
        let number = |word: &str| {
            let (key, value) = word.split_once('=')?;
            Some((key.to_owned(), value.parse::<u64>().ok()?))
        };
        let (counts, label): (Vec<&str>, Vec<&str>) =
            line.split_whitespace().partition(|word| number(word).is_some());
        let name = [&[test], &label[..]].concat().join(" ");
        let sums = self.0.entry(name).or_default();
        for (key, value) in counts.into_iter().filter_map(number) {
            *sums.entry(key).or_default() += value;
        }
    }

    pub fn add(&mut self, other: Self) {
        for (name, sums) in other.0 {
            let ours = self.0.entry(name).or_default();
            for (key, value) in sums {
                *ours.entry(key).or_default() += value;
            }
        }
    }

    /// A line for each test and label, then the sums of all.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn print(&self, title: &str, out: &mut impl Write) -> io::Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        let mut total = Sums::new();
        for (key, value) in self.0.values().flatten() {
            *total.entry(key.clone()).or_default() += value;
        }
        let width = self.0.keys().map(|name| name.chars().count()).max().unwrap_or_default();
        writeln!(out, "counts of {title}:")?;
        for (name, sums) in self.0.iter().chain([(&"all".to_owned(), &total)]) {
            let sums: Vec<String> = sums.iter().map(|(key, value)| format!("{key}={value}")).collect();
            writeln!(out, "  {name:width$}  {}", sums.join("  "))?;
        }
        Ok(())
    }
}

/// With one processor the test harness says what it is about to run, and does not end that line.
fn without_head(line: &str) -> &str {
    line.strip_prefix("test ").and_then(|line| line.split_once(" ... ")).map_or(line, |(_, rest)| rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counting_lines_are_summed_by_test_and_label_and_the_rest_is_left() {
        let mut counts = Counts::default();
        counts.read(
            "t",
            "noise points=9\n crash-count: commit points=2 killed=1\ncrash-count: commit points=3\n",
        );
        counts.read("t", "test module::t ... history-count: reads=4 seed=x\nok\n");
        let mut more = Counts::default();
        more.read("t", "crash-count: commit points=1");
        counts.add(more);
        let mut out = Vec::new();
        counts.print("the lane crash", &mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "counts of the lane crash:\n  t commit  killed=1  points=6\n  t seed=x  reads=4\n  \
             all       killed=1  points=6  reads=4\n"
        );
    }

    #[test]
    fn no_counts_make_no_table() {
        let mut out = Vec::new();
        Counts::default().print("x", &mut out).unwrap();
        assert!(out.is_empty());
    }
}

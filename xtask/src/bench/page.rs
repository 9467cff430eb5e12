//! docs/bench.md: a section for each lane; a run replaces its own and leaves the others.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

const HEAD: &str = "\
# Measurements

Written by `cargo xtask bench`; do not edit. Each section is one run on one machine, with everything compared in it timed in
turns by hyperfine. Only the ratios say something: another machine has other times.

- Times are of the wall clock in milliseconds: the median, and in brackets the least and the most of all runs.
- A ratio is zchroot's median over the other's: 1/10 is ten times as fast. In brackets are the least and the most ratio of the
  medians of one round. The CPU ratio is that of user and system time together, children included.
- begin and end are timed alone; the other half of the pair is done untimed before each run.
- Before the runs of each case in a round there is one that does not count, in the first round there are three; for imports
  there is none.
- A target is set for whole sessions, for commands in a standing session and for imports; its verdict is that of the median.
";

/// Puts a section in its place.
///
/// # Errors
/// When the page cannot be read or written.
pub fn keep(path: &Path, name: &str, section: &str) -> Result<()> {
    let old = match fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        other => other.with_context(|| format!("read {}", path.display()))?,
    };
    fs::write(path, with_section(&old, name, section)).with_context(|| format!("write {}", path.display()))
}

fn with_section(old: &str, name: &str, section: &str) -> String {
    let mut page = HEAD.to_owned();
    for lane in ["dir", "zfs", "import", "import-zfs"] {
        let text = if lane == name { Some(section) } else { section_of(old, lane) };
        if let Some(text) = text {
            page.push_str(&format!("\n{}\n{}\n<!-- end -->\n", mark(lane), text.trim_end()));
        }
    }
    page
}

fn section_of<'a>(page: &'a str, lane: &str) -> Option<&'a str> {
    let (_, rest) = page.split_once(&mark(lane))?;
    let (section, _) = rest.split_once("<!-- end -->")?;
    Some(section.trim_start())
}

fn mark(lane: &str) -> String {
    format!("<!-- lane {lane} -->")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_replaced_and_the_other_stays() {
        let first = with_section("", "zfs", "## Z\n1\n");
        let both = with_section(&first, "dir", "## D\n2\n");
        assert!(both.find("## D").unwrap() < both.find("## Z").unwrap(), "{both}");
        let again = with_section(&both, "zfs", "## Z\n3\n");
        assert!(
            again.contains("## D\n2") && again.contains("## Z\n3") && !again.contains("## Z\n1"),
            "{again}"
        );
        assert_eq!(again, with_section(&again, "zfs", "## Z\n3\n"));
        assert_eq!(again.matches("# Measurements").count(), 1);
    }
}

//! What the machines said before they were killed, and whether what they show afterwards fits.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

use super::state::Seen;

const BASE: &str = "crash/zchroot";
/// Old versions that the template keeps.
const KEEP: usize = 1;

/// What is promised of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Stands,
    Gone,
    Either,
}

/// All that was said up to now.
#[derive(Debug, Default)]
pub struct History {
    /// The last generation that was reported committed, and the last that was begun.
    committed: usize,
    begun: usize,
    commits: usize,
    sessions: BTreeMap<String, Fate>,
}

/// What one boot showed.
#[derive(Debug, Default)]
pub struct Boot {
    pub states: Vec<&'static str>,
    pub violations: Vec<String>,
}

impl History {
    pub fn reported(&self) -> usize {
        self.commits
    }

    /// Takes what a machine said from its boot to its kill.
    ///
    /// # Errors
    /// When a line is not what a machine says.
    pub fn boot(&mut self, console: &str) -> Result<Boot> {
        let mut boot = Boot::default();
        let mut lines = console.lines().filter_map(|line| line.trim_end().strip_prefix('@'));
        while let Some(line) = lines.next() {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            match word {
                "facts" => {
                    // Cut off in the middle of it: nothing was done since the facts before.
                    if let Some(seen) = facts(&mut lines) {
                        self.look(rest, &seen, &mut boot);
                    }
                }
                "violation" => boot.violations.push(rest.to_owned()),
                "shows" => self.shows(rest, &mut boot),
                "stands" => {
                    let (name, generation) = rest.split_once(' ').context("no generation")?;
                    if generation.parse::<usize>().is_err() {
                        boot.violations.push(format!("session {name} shows no whole generation"));
                    }
                    self.sessions.remove(name);
                }
                "commit" => self.begun = rest.parse().with_context(|| format!("commit {rest:?}"))?,
                "committed" => {
                    self.committed = rest.parse().with_context(|| format!("committed {rest:?}"))?;
                    self.commits += 1;
                }
                "begin" | "end" => drop(self.sessions.insert(rest.to_owned(), Fate::Either)),
                "begun" => drop(self.sessions.insert(rest.to_owned(), Fate::Stands)),
                "ended" => drop(self.sessions.insert(rest.to_owned(), Fate::Gone)),
                _ => {}
            }
        }
        Ok(boot)
    }

    /// A throw-away session shows this generation: never less than was reported, never what was not begun.
    fn shows(&mut self, text: &str, boot: &mut Boot) {
        match text.parse() {
            Ok(shown) if (self.committed..=self.begun).contains(&shown) => {
                (self.committed, self.begun) = (shown, shown);
            }
            _ => {
                let range = self.committed..=self.begun;
                boot.violations.push(format!("the template shows {text}, where {range:?} can be"));
            }
        }
    }

    fn look(&mut self, when: &str, seen: &Seen, boot: &mut Boot) {
        match when {
            "before" => boot.states = seen.states().into_iter().collect(),
            "recovered" => {
                boot.violations.extend(seen.pointers_are_right().err());
                let there = seen.sessions();
                for (name, fate) in std::mem::take(&mut self.sessions) {
                    let is_there = there.iter().any(|(it, _)| *it == name);
                    if fate != Fate::Either && (fate == Fate::Stands) != is_there {
                        boot.violations.push(format!("session {name} is to be {fate:?}, and is {is_there}"));
                    }
                }
            }
            _ => {
                boot.violations.extend(seen.is_clean(KEEP).err());
                boot.violations.extend(seen.pointers_are_right().err());
            }
        }
    }
}

/// The datasets and files up to the end mark; none if it is not there.
fn facts<'a>(lines: &mut impl Iterator<Item = &'a str>) -> Option<Seen> {
    let (mut list, mut files) = (Vec::new(), BTreeMap::<String, String>::new());
    let mut file = String::new();
    for line in lines {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "list" => list.push(rest),
            "file" => {
                file = rest.to_owned();
                files.insert(file.clone(), String::new());
            }
            "text" => {
                let text = files.entry(file.clone()).or_default();
                if !text.is_empty() {
                    text.push('\n');
                }
                text.push_str(rest);
            }
            "facts-end" => return Some(Seen::new(BASE, &list.join("\n"), files)),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts_of(current: &str, pointer: &str, records: &str) -> String {
        format!(
            "@list crash/zchroot\t-\t-\t-\n\
             @list crash/zchroot/templates/race\t-\t-\t{current}\n\
             @list crash/zchroot/templates/race/{current}\t-\t-\t{current}\n\
             @list crash/zchroot/templates/race/{current}@{current}\t-\toff\t{current}\n\
             @file templates/race/current\n@text versions/{pointer}.toml\n{records}@facts-end\n"
        )
    }

    fn after(said: &str, shown: &str) -> Vec<String> {
        let mut history = History::default();
        assert_eq!(history.boot(said).unwrap().violations, [] as [&str; 0]);
        history.boot(shown).unwrap().violations
    }

    #[test]
    fn what_was_reported_is_shown_and_what_was_begun_may_be() {
        let said = "@commit 1\n@committed 1\n@commit 2\n@committed 2\n@commit 3\nnoise\n";
        assert_eq!(after(said, "@shows 2\n"), [] as [&str; 0]);
        assert_eq!(after(said, "@shows 3\n"), [] as [&str; 0]);
        for wrong in ["1", "4", "half"] {
            assert_eq!(after(said, &format!("@shows {wrong}\n")).len(), 1, "{wrong}");
        }
    }

    #[test]
    fn a_commit_that_was_seen_once_stays() {
        let mut history = History::default();
        history.boot("@commit 1\n@committed 1\n@commit 2\n").unwrap();
        assert_eq!(history.boot("@shows 2\n").unwrap().violations.len(), 0);
        assert_eq!(history.boot("@shows 1\n").unwrap().violations.len(), 1);
    }

    #[test]
    fn a_session_that_was_begun_stands_and_one_that_was_ended_does_not() {
        let none = format!("@facts recovered\n{}", facts_of("v1", "v1", ""));
        assert_eq!(after("@begin a\n", &none).len(), 0);
        assert_eq!(after("@begin a\n@begun a\n", &none), ["session a is to be Stands, and is false"]);
        assert_eq!(after("@begin a\n@begun a\n@end a\n", &none).len(), 0);
        assert_eq!(after("@begin a\n@begun a\n@end a\n@ended a\n", &none).len(), 0);
    }

    #[test]
    fn a_pointer_that_lags_after_recover_is_a_violation_and_before_it_a_state() {
        let lag = facts_of("v2", "v1", "");
        assert_eq!(after("", &format!("@facts recovered\n{lag}")).len(), 1);
        assert_eq!(after("", &format!("@facts before\n{lag}")).len(), 0);
        // What was cut off in the middle says nothing.
        let half = lag.replace("@facts-end\n", "");
        assert_eq!(after("", &format!("@facts recovered\n{half}")).len(), 0);
    }

    #[test]
    fn what_the_machine_itself_finds_is_a_violation() {
        assert_eq!(after("", "@violation a reader: half\n"), ["a reader: half"]);
    }
}

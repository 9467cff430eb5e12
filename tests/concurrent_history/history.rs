//! What is written down of a run: every operation of every client, when processes were stopped, and what the
//! templates' histories said in the end. A file of JSON lines, so that a run that failed can be looked at.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};
use std::time::Instant;

use serde::{Deserialize, Serialize};

/// What the first version of every template is stamped with.
pub(crate) const FIRST: &str = "first";

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Op {
    Run,
    Begin,
    Exec,
    End,
    Update,
    SourceBegin,
    SourceExec,
    SourceCommit,
    SourceAbort,
    Recover,
    Gc,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Outcome {
    Ok,
    /// It says that it did nothing, and why.
    Fail(Reason),
    /// It was killed: who knows.
    Info,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Reason {
    Conflict,
    Busy,
    NoRoom,
    /// There is no such session.
    Gone,
    /// Nothing that a client has to expect.
    Other,
}

/// What all files said at one time: how many of each stamp, which directory the symlink names, which sessions
/// left their mark.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Look {
    pub(crate) files: BTreeMap<Stamp, usize>,
    pub(crate) link: String,
    pub(crate) marks: Vec<String>,
}

/// A generation, and the commit that made it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Stamp {
    pub(crate) generation: u64,
    pub(crate) token: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Event {
    pub(crate) client: usize,
    pub(crate) op: Op,
    pub(crate) template: String,
    /// The session that it is about; of a throw-away one and of an update the token.
    pub(crate) session: String,
    /// Of a commit: what its version is known by.
    pub(crate) token: Option<String>,
    pub(crate) invoke_ns: u64,
    pub(crate) complete_ns: u64,
    pub(crate) result: Outcome,
    /// What it said, where it did not succeed.
    pub(crate) said: String,
    pub(crate) looks: Vec<Look>,
    /// How often its clone had to be tried again.
    pub(crate) retries: usize,
    /// How many files its script wrote once more, since the file system failed the first time.
    pub(crate) again: usize,
}

/// The whole of a run.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct History {
    pub(crate) events: Vec<Event>,
    /// From when to when some process was stopped.
    pub(crate) pauses: Vec<(u64, u64)>,
    /// Of each template what its history said in the end: generation and token, oldest first.
    pub(crate) finals: BTreeMap<String, Vec<Stamp>>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
enum Line<'a> {
    Event(&'a Event),
    Pause(u64, u64),
    Final(&'a str, &'a [Stamp]),
}

/// A history that is being written: in memory and, line by line, to a file.
pub(crate) struct Log {
    pub(crate) path: PathBuf,
    state: Mutex<(History, File)>,
}

impl Log {
    pub(crate) fn new(path: &Path) -> Self {
        println!("the history of this run: {}", path.display());
        let file = File::create(path).unwrap();
        Self { path: path.to_owned(), state: Mutex::new((History::default(), file)) }
    }

    pub(crate) fn event(&self, event: Event) {
        let mut state = self.state.lock().unwrap();
        write(&mut state.1, &Line::Event(&event));
        state.0.events.push(event);
    }

    pub(crate) fn pause(&self, from: u64, to: u64) {
        let mut state = self.state.lock().unwrap();
        write(&mut state.1, &Line::Pause(from, to));
        state.0.pauses.push((from, to));
    }

    /// What a template's history says in the end.
    pub(crate) fn in_the_end(&self, template: &str, versions: Vec<Stamp>) {
        let mut state = self.state.lock().unwrap();
        write(&mut state.1, &Line::Final(template, &versions));
        state.0.finals.insert(template.to_owned(), versions);
    }

    /// How many commits were reported as done.
    pub(crate) fn commits(&self) -> usize {
        let state = self.state.lock().unwrap();
        state.0.events.iter().filter(|event| event.token.is_some() && event.result == Outcome::Ok).count()
    }

    pub(crate) fn history(&self) -> History {
        self.state.lock().unwrap().0.clone()
    }
}

fn write(file: &mut File, line: &Line<'_>) {
    let text = serde_json::to_string(line).unwrap();
    writeln!(file, "{text}").unwrap();
}

/// Nanoseconds since the first question, by CLOCK_MONOTONIC (which is what Instant is, also where there is no vdso).
pub(crate) fn now_ns() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    u64::try_from(START.get_or_init(Instant::now).elapsed().as_nanos()).unwrap()
}

impl Stamp {
    pub(crate) fn new(generation: u64, token: &str) -> Self {
        Self { generation, token: token.to_owned() }
    }
}

impl std::fmt::Display for Stamp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.generation, self.token)
    }
}

impl Serialize for Stamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Stamp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let (generation, token) =
            text.split_once(' ').ok_or_else(|| serde::de::Error::custom("a stamp is GENERATION TOKEN"))?;
        Ok(Self::new(generation.parse().map_err(serde::de::Error::custom)?, token))
    }
}

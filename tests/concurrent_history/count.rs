//! The verdict on a history, and the lines that say what there was in it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::checker;
use super::history::{History, Log, Op, Outcome, Reason};

/// How long an operation may take, but for the time that somebody was stopped: on a busy machine.
const PATIENCE_NS: u64 = 45_000_000_000;

/// What a machine carries out.
const RESULTS: &str = "/results";

/// Where the history of a test goes: with what a machine carries out, if this is one.
pub(crate) fn file(test: &str) -> PathBuf {
    let results = Path::new(RESULTS);
    let folder = if Path::new("/etc/zchroot-test-vm").exists() && results.is_dir() {
        results.to_owned()
    } else {
        tempfile::Builder::new().prefix("zchroot-history-").tempdir().unwrap().keep()
    };
    folder.join(format!("{test}.jsonl"))
}

/// Prints what there was, and fails if it cannot have been.
pub(crate) fn judge(what: &str, log: &Log, extra: &str) {
    let history = log.history();
    let found = checker::check(&history, PATIENCE_NS);
    let (counts, operations) = (counts(&history), operations(&history));
    println!("history-count: {what} {counts} {extra} violations={} {operations}", found.len());
    if found.is_empty() {
        std::fs::remove_file(&log.path).unwrap();
        if let Some(folder) = log.path.parent().filter(|folder| folder != &Path::new(RESULTS)) {
            std::fs::remove_dir(folder).unwrap();
        }
        return;
    }
    let lines: Vec<String> = found.iter().map(|one| format!("  {:?}: {}", one.rule, one.what)).collect();
    panic!("{}: {} rules broken:\n{}", log.path.display(), found.len(), lines.join("\n"));
}

fn counts(history: &History) -> String {
    let commits: usize = history.finals.values().map(|versions| versions.len() - 1).sum();
    let conflicts =
        history.events.iter().filter(|event| event.result == Outcome::Fail(Reason::Conflict)).count();
    let seen: BTreeSet<_> = history
        .events
        .iter()
        .flat_map(|event| event.looks.iter().flat_map(|look| look.files.keys()))
        .collect();
    let looks: usize = history.events.iter().map(|event| event.looks.len()).sum();
    let again: usize = history.events.iter().map(|event| event.again).sum();
    let retries = history.events.iter().map(|event| event.retries).max().unwrap_or(0);
    format!(
        "operations={} looks={looks} commits={commits} conflicts={conflicts} versions-seen={} most-retries={retries} \
         written-again={again}",
        history.events.len(),
        seen.len()
    )
}

/// `run-ok=12 run-no-room=1`, for each kind.
fn operations(history: &History) -> String {
    let mut kinds: BTreeMap<Op, BTreeMap<&str, usize>> = BTreeMap::new();
    for event in &history.events {
        let word = match event.result {
            Outcome::Ok => "ok",
            Outcome::Info => "info",
            Outcome::Fail(Reason::Conflict) => "conflict",
            Outcome::Fail(Reason::Busy) => "busy",
            Outcome::Fail(Reason::NoRoom) => "no-room",
            Outcome::Fail(Reason::Gone) => "gone",
            Outcome::Fail(Reason::Other) => "failed",
        };
        *kinds.entry(event.op).or_default().entry(word).or_default() += 1;
    }
    let kind = |(op, words): (&Op, &BTreeMap<&str, usize>)| {
        let op = serde_json::to_string(op).unwrap().replace('"', "");
        let words: Vec<String> = words.iter().map(|(word, count)| format!("{op}-{word}={count}")).collect();
        words.join(" ")
    };
    kinds.iter().map(kind).collect::<Vec<_>>().join(" ")
}

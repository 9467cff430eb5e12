//! Operations that change no tree: pins, digests, differences, and the second session of a rebase.

use std::cell::Cell;

use crate::cases::{abort_all, begin_work, end_all, source_work, work_is_there};
use crate::crash::{Case, crash};
use crate::harness;
use crate::host::Host;

const PREVIOUS: &str = "demo@previous";

/// Whether the previous version is pinned; its tree is there in any case.
fn is_pinned(host: &Host) -> bool {
    let look = ["run", "demo", "--at", "previous", "-d", "/", "--", "true"];
    host.zchroot(look).ok();
    let history = host.zchroot(["history", "demo", "--json"]).ok().json();
    let mut versions = history["versions"].as_array().unwrap().iter();
    let previous = versions.rfind(|version| version["generation"] == 1).unwrap();
    let kept = previous["kept"].as_array().unwrap();
    kept.iter().any(|why| why["kind"] == "pinned")
}

pub(crate) fn pin(host: &Host) {
    for (what, is_there_before) in [("pin", false), ("unpin", true)] {
        let before = |_| {
            host.zchroot([if is_there_before { "pin" } else { "unpin" }, PREVIOUS]).ok();
        };
        let after = |done: bool| {
            let pinned = is_pinned(host);
            assert!(pinned != is_there_before || !done, "reported as done, and pinned: {pinned}");
        };
        crash(host, &Case { what, words: &|_| vec![what, PREVIOUS], before: &before, after: &after });
    }
}

/// The digest is made anew each time.
pub(crate) fn verify(host: &Host) {
    let digests = host.at("/var/lib/zchroot/templates/demo/digests");
    // Who makes one in the background may not have begun yet, and would make it after it was forgotten.
    let versions = host.versions("demo").len();
    let made = || std::fs::read_dir(&digests).is_ok_and(|found| found.count() >= versions);
    harness::wait_until("that what was committed before has its digests", made);
    let forget = |_| {
        harness::wait_until("that no digests are made", || host.digesting().is_empty());
        for entry in std::fs::read_dir(&digests).unwrap() {
            std::fs::remove_file(entry.unwrap().path()).unwrap();
        }
    };
    let after = |_| {
        host.zchroot(["verify", "demo"]).ok();
        host.generation();
    };
    let words = |_| vec!["verify", "demo@current"];
    crash(host, &Case { what: "verify", words: &words, before: &forget, after: &after });
    let after = |_| {
        work_is_there(host);
        host.zchroot(["diff", "work"]).ok();
        end_all(host);
    };
    let words = |_| vec!["diff", "work"];
    crash(host, &Case { what: "diff", words: &words, before: &|_| begin_work(host), after: &after });
}

/// A source session that others overtook, and the one that takes its place.
pub(crate) fn rebase(host: &Host) {
    let newest = Cell::new(1);
    let before = |_| {
        source_work(host, 1000 + newest.get());
        newest.set(newest.get() + 1);
        host.update(newest.get());
    };
    let after = |done: bool| {
        let sessions = host.sessions();
        let both = sessions == ["again", "work"];
        assert!(both || (sessions == ["work"] && !done), "{sessions:?} after it was done: {done}");
        let shows = |session: &str| {
            host.zchroot(["source", "exec", session, "--", "cat", "/etc/generation"]).ok().text()
        };
        assert_eq!(shows("work"), (999 + newest.get()).to_string(), "what was done in the old one");
        assert!(!both || shows("again") == newest.get().to_string(), "the new one is of another version");
        abort_all(host);
        assert_eq!(host.generation(), newest.get());
    };
    let words = |_| vec!["source", "rebase", "work", "-n", "again"];
    crash(host, &Case { what: "rebase", words: &words, before: &before, after: &after });
}

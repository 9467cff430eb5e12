//! The history: what is kept and why, pins.

use serde_json::json;

use crate::harness::Installation;

fn define(host: &Installation, keep: &str) {
    host.define("demo", &format!("version = 1\nprofile = \"minimal\"\naliases = [\"d\"]\n{keep}\n"));
}

fn update(host: &Installation, script: &str) {
    host.zchroot(["update", "demo", "-q", "--", "sh", "-c", script]).ok();
}

/// The generations whose trees are there, newest first, with the reasons.
fn kept(host: &Installation) -> Vec<(u64, String)> {
    let json = host.zchroot(["history", "demo", "--json"]).json();
    let rows = json["versions"].as_array().unwrap().iter().filter(|row| row["tree"] != "gone");
    let kinds = |row: &serde_json::Value| {
        let reasons = row["kept"].as_array().unwrap().iter().map(|reason| reason["kind"].as_str().unwrap());
        reasons.collect::<Vec<_>>().join(" ")
    };
    rows.map(|row| (row["generation"].as_u64().unwrap(), kinds(row))).collect()
}

fn generations(host: &Installation) -> Vec<u64> {
    kept(host).into_iter().map(|(generation, _)| generation).collect()
}

#[test]
fn dir_history_says_why_each_version_is_kept() {
    let host = Installation::with_demo();
    define(&host, "keep = 1");
    host.zchroot(["begin", "demo", "-n", "old"]).ok();
    update(&host, "head -c 300000 /dev/urandom > /srv/big");
    host.zchroot(["pin", "d@2", "-m", "release 4"]).ok().says("is pinned");
    for _ in 3..=5 {
        update(&host, "true");
    }
    let is = |generation: u64, why: &str| (generation, why.to_owned());
    assert_eq!(kept(&host), [is(5, "current"), is(4, "within-keep"), is(2, "pinned"), is(1, "sessions")]);
    let text = host.zchroot(["history", "d"]).ok().text();
    let rows: Vec<&str> = text.lines().collect();
    for (at, why) in [
        (1, "current"),
        (2, "within keep = 1"),
        (3, "gone"),
        (4, "pinned by root (release 4)"),
        (5, "1 session"),
    ] {
        assert!(rows[at].contains(why), "{why}: {}", rows[at]);
    }
    let json = host.zchroot(["history", "demo", "--json"]).json();
    let second = &json["versions"][3];
    assert!(second["delta"].as_i64().unwrap() >= 300_000, "{second}");
    assert_eq!(second["kept"], json!([{ "kind": "pinned", "by": "root", "why": "release 4" }]));
    assert_eq!((&json["versions"][4]["delta"], &json["versions"][0]["delta"]), (&json!(null), &json!(0)));
    let one = host.zchroot(["history", "demo", "--at", "2", "--json"]).json();
    assert_eq!(one["versions"], json!([second]));
    host.zchroot(["history", "demo", "--at", "9"]).exits(4).says("has no generation 9");
    host.zchroot(["end", "old"]).ok();
    assert_eq!(
        host.zchroot(["history", "demo", "--at", "1", "--json"]).json()["versions"][0]["settling"],
        true
    );
    assert!(host.zchroot(["history", "demo", "--at", "1"]).ok().text().contains("being settled"));
    host.assert_nothing_left();
}

#[test]
fn dir_a_pinned_version_survives_settling_and_gc_until_it_is_unpinned() {
    let host = Installation::with_demo();
    host.configure("version = 1\ngrace = \"0s\"\n");
    define(&host, "keep = 1");
    let first = host.current("demo");
    let pin = host.zchroot(["pin", &first, "--json", "-q"]).json();
    assert_eq!((&pin["pin"]["version"], &pin["pin"]["by"]["name"]), (&json!(first), &json!("root")));
    for _ in 2..=4 {
        update(&host, "true");
    }
    host.zchroot(["gc"]).ok();
    assert_eq!(generations(&host), [4, 3, 1]);
    host.zchroot(["run", "demo", "--at", "1", "-d", "/", "--", "true"]).ok();
    let dry = host.zchroot(["gc", "--dry-run"]).ok();
    assert!(!dry.text().contains("version demo/"), "{dry}");
    host.zchroot(["unpin", "demo@1"]).ok().says("is not pinned any more");
    host.zchroot(["unpin", "demo@1"]).ok().says("was not pinned");
    let dry = host.zchroot(["gc", "-n"]).ok();
    assert!(
        dry.text().contains(&format!("would remove version demo/{first}: beyond what the template keeps")),
        "{dry}"
    );
    assert_eq!(generations(&host), [4, 3, 1]);
    let gone = host.zchroot(["gc"]).ok();
    assert!(gone.text().contains(&format!("removed version demo/{first}")), "{gone}");
    assert_eq!(generations(&host), [4, 3]);
    host.zchroot(["pin", "demo@1"]).exits(4).says("version 1 of template demo is gone");
    host.zchroot(["unpin", &first[..first.len() - 1], "--json"]).json();
    host.assert_nothing_left();
}

#[test]
fn dir_a_pin_that_cannot_be_said_or_read_is_refused() {
    let host = Installation::with_demo();
    define(&host, "keep = 1");
    let current = host.current("demo");
    host.zchroot(["pin", "7"]).exits(2).says("which template's? Write TEMPLATE@7");
    host.zchroot(["pin", "demo@"]).exits(2).says("is no version");
    host.zchroot(["pin", "a b@1"]).exits(2);
    host.zchroot(["pin", "nosuch@1"]).exits(4).says("there is no template nosuch");
    host.zchroot(["pin", "nosuchversion"]).exits(4).says("no template has a version nosuchversion");
    host.zchroot(["pin", "demo@9"]).exits(4).says("has no generation 9; there is 1 (current)");
    let long = "x".repeat(5000);
    host.zchroot(["pin", "demo@1", "-m", &long]).exits(2).says("longer than 4096 bytes");
    host.define("other", crate::harness::MINIMAL);
    host.create("other");
    host.zchroot(["pin", &current[..8]]).exits(4).says("versions of several templates").says("demo, other");
    // A pin that is damaged keeps everything, and can be taken away.
    host.write(&format!("/var/lib/zchroot/templates/demo/pins/{current}.toml"), "format = ");
    for _ in 2..=4 {
        update(&host, "true");
    }
    host.zchroot(["gc"]).exits(1).says("is damaged");
    host.zchroot(["history", "demo"]).ok().says("is damaged");
    assert_eq!(host.zchroot(["history", "demo"]).ok().text().matches("gone").count(), 0);
    host.zchroot(["unpin", "demo@1"]).ok();
    host.zchroot(["gc"]).ok();
    assert_eq!(generations(&host), [4, 3]);
    host.assert_nothing_left();
}

#[test]
fn dir_young_versions_stay_beyond_the_number_that_is_kept() {
    let host = Installation::with_demo();
    define(&host, "keep = 1\nkeep-for = \"1h\"");
    for _ in 2..=4 {
        update(&host, "true");
    }
    assert_eq!(generations(&host), [4, 3, 2, 1]);
    assert_eq!(kept(&host)[3].1, "within-keep-for");
    define(&host, "keep = 1\nkeep-for = \"0s\"");
    host.zchroot(["gc"]).ok();
    assert_eq!(generations(&host), [4, 3]);
    define(&host, "keep = 1\nkeep-for = \"1 week\"");
    let check = host.zchroot(["check"]).exits(1);
    assert!(check.text().contains("keep-for: \"1 week\" is not a period"), "{check}");
    host.assert_nothing_left();
}

#[test]
fn dir_a_template_that_is_not_there_has_no_empty_history() {
    let host = Installation::with_demo();
    host.zchroot(["history", "dmeo", "--json"]).exits(4).says("template dmeo has no version");
    host.define("fresh", crate::harness::MINIMAL);
    let json = host.zchroot(["history", "fresh", "--json"]).json();
    assert_eq!(json["versions"].as_array().unwrap().len(), 0, "{json}");
    assert!(host.zchroot(["list", "--sessions"]).ok().stderr.contains("no sessions; begin one with"));
}

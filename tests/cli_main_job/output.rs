//! What list, info, history and check print: for people and for programs.

use serde_json::json;

use crate::harness::Installation;

#[test]
fn dir_an_empty_installation_says_how_to_begin() {
    let host = Installation::new();
    host.zchroot(["list"]).ok().prints("").says("zchroot create");
    let json = host.zchroot(["list", "--json"]).json();
    assert_eq!(json, json!({ "format": 1, "list": { "templates": [], "sessions": [] } }));
    host.zchroot(["check"]).ok().prints("").says("the configuration is in order");
    assert_eq!(host.zchroot(["check", "--json"]).json(), json!({ "format": 1, "findings": [] }));
}

#[test]
fn dir_list_shows_templates_and_sessions() {
    let host = Installation::with_demo();
    host.define(
        "demo",
        "version = 1\nprofile = \"minimal\"\ndescription = \"A demo\"\naliases = [\"d\", \"e\"]\n",
    );
    host.define("empty", "version = 1\n");
    host.zchroot(["begin", "demo", "-n", "work"]).ok();
    let current = host.current("demo");
    let text = host.zchroot(["list"]).ok().text();
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["TEMPLATE", "CURRENT", "VERSION", "ALIASES", "DESCRIPTION"]);
    assert_eq!(rows[1], ["demo", &current, "d,e", "A", "demo"]);
    assert_eq!(rows[2], ["empty", "-"]);
    assert_eq!(rows[4][..6], ["SESSION", "KIND", "STATE", "TEMPLATE", "VERSION", "OWNER"]);
    assert_eq!(rows[5][..6], ["work", "named", "ready", "demo", &current, "root"]);

    let json = host.zchroot(["list", "--json"]).json();
    let template = json!({
        "name": "demo", "aliases": ["d", "e"], "description": "A demo", "current": current, "defined": true
    });
    assert_eq!(json["list"]["templates"][0], template);
    assert_eq!(json["list"]["sessions"][0]["id"], "work");
    assert_eq!(json["list"]["sessions"][0]["owner"], json!({ "uid": 0, "name": "root" }));
    let only = host.zchroot(["list", "--templates", "--json"]).json();
    assert_eq!(only["list"]["sessions"], json!([]));
    let only = host.zchroot(["list", "--sessions"]).ok().text();
    assert!(only.starts_with("SESSION"), "{only}");
    host.zchroot(["end", "work"]).ok();
}

#[test]
fn dir_a_template_whose_definition_is_gone_is_still_listed() {
    let host = Installation::with_demo();
    std::fs::remove_file(host.at("/etc/zchroot/templates.d/demo.toml")).unwrap();
    let json = host.zchroot(["list", "--json"]).json();
    assert_eq!(json["list"]["templates"][0]["defined"], false);
    assert_eq!(host.versions("demo").len(), 1);
}

#[test]
fn dir_info_shows_a_session_or_a_template() {
    let host = Installation::with_demo();
    host.zchroot(["begin", "demo", "-n", "work"]).ok();
    let current = host.current("demo");
    let text = host.zchroot(["info", "work"]).ok().text();
    let field = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        line.unwrap_or_else(|| panic!("{name} in {text}"))[20..].to_owned()
    };
    let mount = host.at("/run/zchroot/mount/work").display().to_string();
    for (name, value) in [
        ("Session", "work"),
        ("Kind", "named"),
        ("State", "ready"),
        ("Template", "demo"),
        ("Version", &current),
        ("Draft", "-"),
        ("Owner", "root (0)"),
        ("Profile", "minimal"),
        ("Mounted at", &mount),
    ] {
        assert_eq!(field(name), value, "{name}");
    }
    let json = host.zchroot(["info", "work", "--json"]).json();
    assert_eq!(json["session"]["mount"], mount.as_str());
    assert_eq!(json["session"]["record"]["base"], current.as_str());
    let text = host.zchroot(["info", "demo"]).ok().text();
    assert!(text.contains(&format!("Current version     {current}")), "{text}");
    let json = host.zchroot(["info", "demo", "--json"]).json();
    assert_eq!(json["template"]["current"], current.as_str());
    host.zchroot(["end", "work"]).ok();
}

#[test]
fn dir_history_shows_every_version_newest_first() {
    let host = Installation::with_demo();
    host.zchroot(["begin", "demo", "-n", "work"]).ok();
    host.zchroot(["update", "demo", "-q", "-m", "the second", "--", "true"]).ok();
    let (first, second) = {
        let all = host.versions("demo");
        (all[0].clone(), all[1].clone())
    };
    let text = host.zchroot(["history", "demo"]).ok().text();
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(
        rows[0],
        ["GEN", "VERSION", "COMMITTED", "BY", "SIZE", "DELTA", "SESSIONS", "KEPT", "MESSAGE"]
    );
    assert_eq!(rows[1][..2], ["2", &second]);
    assert_eq!(rows[1][rows[1].len() - 4..], ["0", "current", "the", "second"]);
    assert_eq!(rows[2][..2], ["1", &first]);
    assert_eq!(rows[2][rows[2].len() - 9..].join(" "), "- 1 1 session, within keep = 5 first");
    let json = host.zchroot(["history", "demo", "--json"]).json();
    assert_eq!(json["format"], 1);
    let newest = &json["versions"][0];
    assert_eq!(newest["parent"], first.as_str());
    assert_eq!((&newest["generation"], &newest["tree"]), (&json!(2), &json!("current")));
    assert_eq!(json["versions"][1]["sessions"], json!(["work"]));
    assert!(newest["size"].as_u64().unwrap() > 100_000, "{newest}");
    host.zchroot(["end", "work"]).ok();
}

#[test]
fn dir_control_characters_of_others_do_not_reach_the_terminal() {
    let host = Installation::with_demo();
    host.zchroot(["update", "demo", "-q", "-m", "red \u{1b}[31m\u{7}", "--", "true"]).ok();
    let text = host.zchroot(["history", "demo"]).ok().text();
    assert!(text.contains("red \u{fffd}[31m\u{fffd}") && !text.contains('\u{1b}'), "{text:?}");
}

#[test]
fn dir_a_reader_that_goes_away_is_no_error() {
    let host = Installation::with_demo();
    for command in ["list", "history demo", "--help"] {
        let script = format!("{{ $0 --root $1 {command}; echo $? >&2; }} | true");
        let order = crate::harness::Order::new("sh").words(["-c", &script]);
        let done = order.word(crate::harness::program::binary()).word(host.path()).run().ok();
        assert_eq!(done.stderr, "0\n", "{command}");
    }
}

#[test]
fn dir_quiet_keeps_notes_away() {
    let host = Installation::with_demo();
    // A digest that is being made in the background is nothing for gc to name.
    host.configure("version = 1\ndigests = \"gc\"\n");
    let done = host.zchroot(["-q", "update", "demo", "--", "true"]).ok();
    assert_eq!((done.text().as_str(), done.stderr.as_str()), ("", ""));
    let done = host.zchroot(["gc", "-q", "--dry-run"]).ok();
    assert_eq!((done.text().as_str(), done.stderr.as_str()), ("", ""));
}

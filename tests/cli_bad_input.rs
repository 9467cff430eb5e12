//! Every command with every kind of bad input: its exit status, one line that names the object, and nothing
//! half made.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "tests work on the host as it is"
)]

mod harness;

use std::os::unix::fs::PermissionsExt;

use harness::{Done, Installation, MINIMAL};

const NAMES: [&str; 9] = ["", ".", "..", "-x", ".hidden", "a/b", "a b", "über", "x.dpkg-old"];
const VERSION: &str = "20200101-000000-000-aaaa";

/// One `zchroot: ` line that has `object` in it, then nothing but hints.
#[track_caller]
fn refused(done: Done, status: i32, object: &str) {
    let done = done.exits(status);
    let lines: Vec<&str> = done.stderr.lines().collect();
    let own = lines.iter().filter(|line| line.starts_with("zchroot: ")).count();
    let hints = lines.iter().filter(|line| line.starts_with("hint: ")).count();
    assert!(own == 1 && own + hints == lines.len(), "not one line and its hints: {done}");
    assert!(lines[0].contains(object), "{object:?} is not named: {done}");
    assert!(done.stdout.is_empty(), "{done}");
}

/// clap's own text, which names what was wrong.
#[track_caller]
fn misused(done: Done, object: &str) {
    let done = done.exits(2);
    assert!(done.stderr.starts_with("error: ") && done.stderr.contains(object), "{object:?}: {done}");
    assert!(done.stdout.is_empty(), "{done}");
}

/// What is defined and what is stored.
fn state(host: &Installation) -> Vec<String> {
    let mut names = Vec::new();
    for folder in
        ["/etc/zchroot/templates.d", "/var/lib/zchroot/templates", "/var/lib/zchroot/store/templates"]
    {
        if let Ok(entries) = std::fs::read_dir(host.at(folder)) {
            names.extend(entries.map(|entry| entry.unwrap().path().display().to_string()));
        }
    }
    names.sort();
    names
}

#[test]
fn dir_what_does_not_exist_is_named_and_nothing_is_made() {
    let host = Installation::with_demo();
    host.define("empty", MINIMAL);
    host.define("lost", "version = 1\nprofile = \"nowhere\"\n");
    let before = state(&host);
    for (words, status, object) in [
        (&["history", "none"][..], 4, "none"),
        (&["history", "empty"], 4, "empty"),
        (&["info", "none"], 4, "none"),
        (&["begin", "none"], 4, "none"),
        (&["begin", "empty"], 4, "empty"),
        (&["begin", "lost"], 4, "nowhere"),
        (&["begin", "demo", "--at", VERSION], 4, VERSION),
        (&["run", "none", "--", "true"], 125, "none"),
        (&["run", "empty", "-d", "/", "--", "true"], 125, "empty"),
        (&["run", "lost", "-d", "/", "--", "true"], 125, "nowhere"),
        (&["run", "demo", "--at", VERSION, "--", "true"], 125, VERSION),
        (&["run", "demo", "-u", "no-such-user", "--", "true"], 125, "no-such-user"),
        (&["run", "demo", "-d", "/none", "--", "true"], 125, "/none"),
        (&["run", "demo", "-d", "/", "--", "none"], 127, "none"),
        (&["run", "demo", "-d", "/", "--", "/etc/passwd"], 126, "/etc/passwd"),
        (&["exec", "none", "--", "true"], 125, "none"),
        (&["end", "none"], 4, "none"),
        (&["update", "none", "--", "true"], 125, "none"),
        (&["update", "empty", "--", "true"], 125, "empty"),
        (&["update", "lost", "--", "true"], 125, "nowhere"),
        (&["source", "begin", "none"], 4, "none"),
        (&["source", "begin", "empty"], 4, "empty"),
        (&["source", "exec", "none", "--", "true"], 125, "none"),
        (&["source", "commit", "none"], 4, "none"),
        (&["source", "abort", "none"], 4, "none"),
    ] {
        refused(host.zchroot(words.iter().copied()), status, object);
        host.assert_nothing_left();
    }
    assert_eq!(state(&host), before);
    host.run_in_demo("true").ok();
}

#[test]
fn dir_what_is_no_name_is_a_usage_error_everywhere() {
    let host = Installation::with_demo();
    let before = state(&host);
    for name in NAMES {
        for (words, option) in [
            (&["history"][..], "<TEMPLATE>"),
            (&["begin"], "<TEMPLATE>"),
            (&["run"], "[TEMPLATE]"),
            (&["update"], "<TEMPLATE>"),
            (&["create", "--from=/nowhere"], "<TEMPLATE>"),
            (&["exec"], "<SESSION>"),
            (&["end"], "[SESSIONS]"),
            (&["source", "begin"], "<TEMPLATE>"),
            (&["source", "exec"], "<SESSION>"),
            (&["source", "commit"], "<SESSION>"),
            (&["source", "abort"], "<SESSION>"),
        ] {
            let done = host.zchroot(words.iter().copied().chain([name]));
            let object = if name.starts_with('-') { "-x" } else { option };
            misused(done, object);
        }
        for option in ["--name", "--at"] {
            let word = format!("{option}={name}");
            misused(host.zchroot(["begin", "demo", &word]), option);
        }
        if name != "-x" {
            let object = if name.is_empty() { "is not a name" } else { name };
            refused(host.zchroot(["info", name]), 2, object);
        }
    }
    host.assert_nothing_left();
    assert_eq!(state(&host), before);
}

#[test]
fn dir_missing_unknown_and_conflicting_words_are_usage_errors() {
    let host = Installation::with_demo();
    for (words, object) in [
        (&[][..], "Usage: zchroot [OPTIONS] <COMMAND>"),
        (&["frobnicate"], "frobnicate"),
        (&["create"], "TEMPLATE"),
        (&["create", "x"], "--from"),
        (&["create", "--from", "x"], "TEMPLATE"),
        (&["create", "x", "--from"], "--from"),
        (&["info"], "NAME"),
        (&["history"], "TEMPLATE"),
        (&["run"], "TEMPLATE"),
        (&["run", "demo", "true"], "true"),
        (&["run", "demo", "--net", "some", "--", "true"], "some"),
        (&["run", "demo", "-n", "x"], "-n"),
        (&["begin"], "TEMPLATE"),
        (&["begin", "demo", "--pid"], "--pid"),
        (&["exec"], "SESSION"),
        (&["end"], "SESSION"),
        (&["end", "one", "--all"], "--all"),
        (&["list", "--templates", "--sessions"], "--sessions"),
        (&["update"], "TEMPLATE"),
        (&["update", "demo", "--keep", "--keep", "--", "true"], "--keep"),
        (&["source"], "Usage: zchroot source [OPTIONS] <COMMAND>"),
        (&["source", "frob"], "frob"),
        (&["source", "commit"], "SESSION"),
        (&["gc", "now"], "now"),
        (&["recover", "x"], "x"),
        (&["check", "x"], "x"),
        (&["init", "x"], "x"),
        (&["init", "--pool"], "--pool"),
    ] {
        let done = host.zchroot(words.iter().copied()).exits(2);
        assert!(done.stderr.contains(object) && done.stdout.is_empty(), "{object}: {done}");
        host.assert_nothing_left();
    }
}

#[test]
fn dir_a_source_that_is_none_makes_no_version() {
    let host = Installation::with_demo();
    host.write("/junk/text", &"this is no archive\n".repeat(100));
    host.write("/junk/noroot/readme", "text");
    harness::tree::pack(&host.at("/junk/noroot"), &host.at("/junk/noroot.tar"));
    host.write("/junk/empty", "");
    std::fs::create_dir(host.at("/junk/hollow")).unwrap();
    let whole = host.at("/junk/whole.tar");
    harness::tree::pack(&host.at("/source"), &whole);
    let bytes = std::fs::read(&whole).unwrap();
    std::fs::write(host.at("/junk/cut.tar"), &bytes[..bytes.len() / 2]).unwrap();
    nix::unistd::mkfifo(&host.at("/junk/fifo"), nix::sys::stat::Mode::S_IRUSR).unwrap();
    let before = state(&host);
    let junk = |name: &str| host.at(&format!("/junk/{name}")).display().to_string();
    for (name, status) in [("none", 1), ("fifo", 1)] {
        refused(host.zchroot(["-q", "create", "new", "--from", &junk(name)]), status, &junk(name));
        assert_eq!(state(&host), before, "{name}: a source that cannot be opened makes nothing");
    }
    for (word, object) in [
        ("", "is not a source"),
        ("bootstrap:", "bootstrap:"),
        ("bootstrap:Sid", "bootstrap:Sid"),
        ("bootstrap:sid,a,b", "bootstrap:sid,a,b"),
        ("bootstrap:sid,ftp://x", "bootstrap:sid,ftp://x"),
    ] {
        refused(host.zchroot(["-q", "create", "new", "--from", word]), 2, object);
        assert_eq!(state(&host), before, "{word}");
    }
    for name in ["text", "noroot", "noroot.tar", "empty", "hollow", "cut.tar"] {
        refused(host.zchroot(["-q", "create", "new", "--from", &junk(name)]), 1, &junk(name));
        host.assert_nothing_left();
        refused(host.zchroot(["begin", "new"]), 4, "new");
        refused(host.zchroot(["history", "new"]), 4, "new");
    }
    // And what failed keeps nobody from doing it right.
    host.zchroot(["-q", "create", "new", "--from", whole.to_str().unwrap()]).ok();
    host.zchroot(["run", "new", "-d", "/", "--", "true"]).exits(0);
    host.assert_nothing_left();
}

#[test]
fn dir_a_broken_definition_is_shown_where_it_is_broken_and_keeps_nobody_else() {
    let host = Installation::with_demo();
    for (name, text, object) in [
        ("syntax", "version = 1\nprofile = [[[\n", "syntax.toml:2:"),
        ("key", "version = 1\ncolour = \"blue\"\n", "colour"),
        ("type", "version = 1\nkeep = \"many\"\n", "keep"),
        ("value", "version = 1\nnet = \"wifi\"\n", "wifi"),
        ("format", "version = 2\n", "format.toml"),
        ("binary", "\u{0}\u{1}\u{2}", "binary.toml"),
        ("none", "", "version"),
    ] {
        host.define(name, text);
        for words in [&["begin", name][..], &["source", "begin", name]] {
            let done = host.zchroot(words.iter().copied()).exits(1);
            assert!(done.stderr.starts_with("zchroot: ") && done.stderr.contains(object), "{object}: {done}");
        }
        host.zchroot(["run", name, "--", "true"]).exits(125).says(object);
        host.zchroot(["list"]).ok().says(object);
        let check = host.zchroot(["check"]).exits(1);
        assert!(check.text().contains(object), "{check}");
        host.run_in_demo("true").ok();
        std::fs::remove_file(host.at(&format!("/etc/zchroot/templates.d/{name}.toml"))).unwrap();
        host.assert_nothing_left();
    }
}

#[test]
fn dir_a_configuration_that_others_could_have_written_is_not_read() {
    let host = Installation::with_demo();
    host.configure("version = 1\n");
    let file = "/etc/zchroot/templates.d/demo.toml";
    for (path, mode, owner) in [
        (file, 0o666, 0),
        (file, 0o644, 1000),
        ("/etc/zchroot/templates.d", 0o777, 0),
        ("/etc/zchroot/templates.d", 0o755, 1000),
        ("/etc/zchroot", 0o777, 0),
        ("/etc/zchroot/zchroot.toml", 0o646, 0),
        ("/etc/zchroot/zchroot.toml", 0o644, 1000),
    ] {
        let path = host.at(path);
        let right = std::fs::metadata(&path).unwrap().permissions();
        std::os::unix::fs::chown(&path, Some(owner), None).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let name = path.display().to_string();
        refused(host.zchroot(["begin", "demo"]), 1, &format!("{name} is not to be trusted"));
        // zchroot.toml is read before any command is looked at, a definition by the command.
        let of_host = !name.contains("templates.d");
        refused(host.zchroot(["run", "demo", "--", "true"]), if of_host { 1 } else { 125 }, &name);
        std::os::unix::fs::chown(&path, Some(0), None).unwrap();
        std::fs::set_permissions(&path, right).unwrap();
    }
    let link = host.at(file);
    std::fs::rename(&link, host.at("/etc/elsewhere.toml")).unwrap();
    std::os::unix::fs::symlink(host.at("/etc/elsewhere.toml"), &link).unwrap();
    refused(host.zchroot(["begin", "demo"]), 1, "symbolic link");
    host.assert_nothing_left();
}

#[test]
fn dir_a_broken_configuration_of_the_host_stops_every_command() {
    let host = Installation::with_demo();
    for text in [
        "version = 1\ngrace = \"soon\"\n",
        "version = 1\nstore = \"btrfs\"\n",
        "version = 1\nstore = \"zfs\"\n",
    ] {
        host.configure(text);
        for words in [&["list"][..], &["gc"], &["begin", "demo"], &["recover"]] {
            let done = host.zchroot(words.iter().copied()).exits(1);
            assert!(
                done.stderr.starts_with("zchroot: ") && done.stderr.contains("zchroot.toml:2:"),
                "{done}"
            );
        }
    }
    host.assert_nothing_left();
}

#[test]
fn dir_a_pool_that_cannot_be_had_is_refused_and_nothing_is_configured() {
    let host = Installation::with_demo();
    refused(host.zchroot(["init", "--pool", "ta nk"]), 2, "ta nk");
    refused(host.zchroot(["init", "--pool", "tank@snap"]), 2, "tank@snap");
    host.configure("version = 1\nstore = \"dir\"\n");
    refused(host.zchroot(["init", "--pool", "zchroot-no-such-pool"]), 1, "zchroot.toml");
    assert_eq!(host.read("/etc/zchroot/zchroot.toml"), "version = 1\nstore = \"dir\"\n");
    host.run_in_demo("true").ok();
}

#[test]
fn dir_a_pool_that_does_not_exist_leaves_the_configuration_as_it_was() {
    let host = Installation::empty();
    no_such_pool(&host);
    assert!(!host.at("/etc/zchroot/zchroot.toml").exists(), "a configuration that cannot work was written");
    // As the package brings it.
    let shipped = include_str!("../etc/zchroot.toml");
    host.configure(shipped);
    no_such_pool(&host);
    assert_eq!(host.read("/etc/zchroot/zchroot.toml"), shipped);
}

#[track_caller]
fn no_such_pool(host: &Installation) {
    // Without the kernel module that is what is missing, and the first thing to say.
    let linked = cfg!(feature = "zfs");
    let module = std::path::Path::new("/dev/zfs").exists();
    let missing = if linked && !module { "/dev/zfs" } else { "zchroot-no-such-pool" };
    refused(host.zchroot(["init", "--pool", "zchroot-no-such-pool"]), 1, missing);
}

#[test]
fn dir_gc_and_recover_say_nothing_where_nothing_was_laid_out() {
    let host = Installation::empty();
    host.configure(include_str!("../etc/zchroot.toml"));
    for command in ["gc", "recover"] {
        let done = host.zchroot([command]).ok();
        assert!(done.stdout.is_empty() && done.stderr.is_empty(), "{done}");
    }
    assert!(!host.at("/var/lib/zchroot").exists(), "what nobody asked for was laid out");
}

#[test]
fn dir_help_and_version_are_no_errors() {
    let host = Installation::empty();
    for words in [&["--help"][..], &["--version"], &["run", "--help"], &["source", "commit", "--help"]] {
        let done = host.zchroot(words.iter().copied()).ok();
        assert!(!done.stdout.is_empty() && done.stderr.is_empty(), "{done}");
    }
}

//! The program as it is installed: setuid root, called by ordinary users who may, may not, or are up to something.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "tests work on the host as it is"
)]

#[path = "../harness/mod.rs"]
mod harness;
mod images;
mod schroot;
mod world;

use world::{ALICE, BOB, CAROL, DAVE, World, close_standard, limit};

/// A command that leaves a mark.
fn mark(name: &str) -> [String; 3] {
    ["sh".into(), "-c".into(), format!("touch /shared/{name}; id -u")]
}

fn words<'a>(head: &[&'a str], command: &'a [String; 3]) -> Vec<&'a str> {
    head.iter().copied().chain(["-d", "/", "--"]).chain(command.iter().map(String::as_str)).collect()
}

#[test]
fn dir_setuid_who_may_run_what_as_whom() {
    let world = World::new();
    let template = world.template.clone();
    let allowed = [
        (ALICE, None, ALICE),
        (ALICE, Some("alice"), ALICE),
        (CAROL, None, CAROL),
        (CAROL, Some("root"), 0),
        (DAVE, None, DAVE),
    ];
    for (caller, user, becomes) in allowed {
        let command = mark(&format!("{caller}-as-{becomes}"));
        let user: Vec<&str> = user.map_or(vec![], |user| vec!["-u", user]);
        let head = [&["run", &template][..], &user].concat();
        world.user(caller, &words(&head, &command)).ok().prints(&becomes.to_string());
    }
    let mut expected: Vec<(String, u32)> = [(ALICE, ALICE), (CAROL, CAROL), (CAROL, 0), (DAVE, DAVE)]
        .map(|(who, is)| (format!("{who}-as-{is}"), is))
        .into();
    expected.sort();
    assert_eq!(world.marks(), expected);
    world.assert_nothing_left();
}

#[test]
fn dir_setuid_who_is_not_let_in_gets_nothing() {
    let world = World::new();
    let template = world.template.clone();
    let command = mark("marker");
    for (caller, user, why) in [
        (ALICE, "root", "only who is in root-users or root-groups may become root"),
        (ALICE, "carol", "only root may become another user"),
        (BOB, "bob", "the caller is in none of users"),
        (BOB, "root", "the caller is in none of users"),
        (BOB, "alice", "the caller is in none of users"),
        (CAROL, "alice", "only root may become another user"),
        (DAVE, "root", "only who is in root-users"),
    ] {
        let done = world.user(caller, &words(&["run", &template, "-u", user], &command)).exits(125);
        assert_eq!(done.stderr.lines().count(), 1, "{done}");
        done.says(&format!("may not use template {template} as {user}: {why}"));
    }
    world.user(BOB, &["begin", &template]).exits(1).says("bob may not use template");
    for caller in [ALICE, BOB, DAVE] {
        let update: Vec<&str> =
            ["update", &template, "--"].into_iter().chain(command.iter().map(String::as_str)).collect();
        world.user(caller, &update).exits(125).says("may not use template");
        world.user(caller, &["source", "begin", &template]).exits(1).says("may not use template");
    }
    assert_eq!(world.marks(), [], "a refused command ran");
    world.assert_nothing_left();
}

#[test]
fn dir_setuid_who_may_look_at_versions() {
    let world = World::new();
    let template = world.template.clone();
    world.user(CAROL, &["diff", &template, "1", "1"]).ok().prints("");
    let no_status = "no /var/lib/dpkg/status";
    for caller in [ALICE, CAROL, DAVE] {
        world.user(caller, &["diff", &template, "1", "1", "--packages"]).exits(1).says(no_status);
    }
    for (caller, name) in [(ALICE, "alice"), (BOB, "bob"), (DAVE, "dave")] {
        let refused = format!("{name} may not use template {template} as root");
        world.user(caller, &["diff", &template, "1", "1"]).exits(1).says(&refused);
        world.user(caller, &["diff", &template, "1", "1", "--stat"]).exits(1).says(&refused);
    }
    world.user(BOB, &["diff", &template, "1", "1", "--packages"]).exits(1).says("bob may not use");
    world.user(CAROL, &["verify", &template]).ok();
    for caller in [ALICE, BOB, DAVE] {
        world.user(caller, &["verify", &template]).exits(1).says("may not use template");
    }
    world.user(ALICE, &["begin", &template, "-n", "mine"]).ok();
    world.user(ALICE, &["exec", "mine", "-d", "/", "--", "sh", "-c", "echo x > /tmp/mine"]).ok();
    let shown = world.user(ALICE, &["diff", "mine"]).ok().text();
    assert!(shown.lines().any(|line| line == "+ /tmp/mine"), "{shown}");
    world.user(BOB, &["diff", "mine"]).exits(1).says("session mine is not yours");
    world.user(ALICE, &["source", "rebase", "mine"]).exits(1).says("not a source session");
    world.user(ALICE, &["end", "mine"]).ok();
    world.assert_nothing_left();
}

#[test]
fn dir_setuid_a_session_is_its_owners() {
    let world = World::new();
    let session = format!("{}-mine", world.template);
    let (session, command) = (session.as_str(), mark("marker"));
    world.user(ALICE, &["begin", &world.template, "-n", session]).ok().prints(session);
    for caller in [BOB, CAROL, DAVE] {
        world.user(caller, &words(&["exec", session], &command)).exits(125).says("is not yours");
        world.user(caller, &["end", session]).exits(1).says("is not yours");
        world.user(caller, &["end", "--all"]).ok();
    }
    world.user(CAROL, &words(&["exec", session, "-u", "root"], &command)).exits(125);
    world.user(ALICE, &words(&["exec", session, "-u", "root"], &command)).exits(125).says("may become root");
    world.user(ALICE, &words(&["exec", session, "-u", "carol"], &command)).exits(125);
    world.user(ALICE, &["source", "commit", session]).exits(1).says("is not a source session");
    assert_eq!(world.marks(), [], "a refused command ran");
    world.user(ALICE, &words(&["exec", session], &command)).ok().prints(&ALICE.to_string());
    world.root(&words(&["exec", session], &mark("root"))).ok().prints("0");
    assert_eq!(world.marks(), [("marker".to_owned(), ALICE), ("root".to_owned(), 0)]);
    world.user(ALICE, &["end", session]).ok();
    world.assert_nothing_left();
}

#[test]
fn dir_setuid_a_maintainer_changes_the_template_and_nobody_else_her_session() {
    let world = World::new();
    let session = format!("{}-source", world.template);
    let session = session.as_str();
    world.user(CAROL, &["-q", "source", "begin", &world.template, "-n", session]).ok();
    for caller in [ALICE, BOB, DAVE] {
        world
            .user(caller, &["source", "exec", session, "--", "rm", "-r", "/srv"])
            .exits(125)
            .says("is not yours");
        for step in ["commit", "abort"] {
            world.user(caller, &["source", step, session]).exits(1).says("is not yours");
        }
    }
    world.user(CAROL, &["source", "exec", session, "--", "sh", "-c", "id -u > /srv/who"]).ok();
    world.user(CAROL, &["-q", "source", "commit", session]).ok();
    let read = ["run", &world.template, "-d", "/", "--", "cat", "/srv/who"];
    world.user(ALICE, &read).ok().prints("0");
    world.user(CAROL, &["-q", "update", &world.template, "--", "sh", "-c", "echo two > /srv/who"]).ok();
    world.user(ALICE, &read).ok().prints("two");
    world.assert_nothing_left();
}

#[test]
fn dir_setuid_a_rollback_is_for_maintainers_and_for_who_is_listed_for_it() {
    let world = World::new();
    let template = world.template.as_str();
    world.user(CAROL, &["-q", "update", template, "--", "sh", "-c", "echo two > /srv/who"]).ok();
    for caller in [ALICE, BOB] {
        world.user(caller, &["rollback", template]).exits(1).says("may not roll back template");
    }
    let read = ["run", template, "-d", "/", "--", "sh", "-c", "cat /srv/who 2>/dev/null || echo one"];
    world.user(ALICE, &read).ok().prints("two");
    // Who may roll back need not be let into the source.
    world.user(DAVE, &["-q", "rollback", template]).ok();
    world.user(ALICE, &read).ok().prints("one");
    world.user(DAVE, &["source", "begin", template]).exits(1);
    world.user(CAROL, &["-q", "rollback", template]).ok();
    world.user(ALICE, &read).ok().prints("two");
    world.assert_nothing_left();
}

#[test]
fn dir_setuid_what_is_roots_is_refused_to_others() {
    let world = World::new();
    for caller in [ALICE, BOB, CAROL] {
        for (words, said) in [
            (&["init"][..], "init is for root only"),
            (&["create", "x", "--from", "/"], "create is for root only"),
            (&["recover"], "recover is for root only"),
            (&["gc"], "gc is for root only"),
            (&["gc", "-n"], "gc is for root only"),
            (&["--root", "/tmp", "list"], "--root is for real root only"),
            (&["list", "--root=/"], "--root is for real root only"),
        ] {
            world.user(caller, words).exits(1).says(said);
        }
    }
    let list = world.user(BOB, &["list"]).ok();
    assert!(list.text().contains(&world.template), "{list}");
    world.assert_nothing_left();
}

#[test]
fn dir_setuid_of_a_definition_that_root_alone_may_read_nobody_sees_the_lists() {
    let world = World::new();
    let text = "version = 1\nprofile = \"shared\"\ndescription = \"words\"\naliases = [\"t-alias\"]
users = [\"alice\"]\nroot-users = [\"carol\"]\n";
    let template = world.template.as_str();
    world.write_secret(&format!("templates.d/{template}.toml"), text);
    let full = world.root(&["info", template]).ok().text();
    assert!(full.contains("Users               alice"), "{full}");
    let seen = world.user(ALICE, &["info", template]).ok().text();
    let fields: Vec<&str> = seen.lines().filter_map(|line| line.get(..20)).map(str::trim_end).collect();
    assert_eq!(fields, ["Template", "Description", "Current version", "Aliases"], "{seen}");
    let json = world.user(CAROL, &["info", template, "--json"]).ok().json();
    let keys: Vec<&String> = json["template"]["definition"].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["aliases", "description", "name"], "{json}");
    for words in [&["info", template][..], &["info", template, "--json"], &["info", "t-alias"]] {
        let done = world.user(BOB, words).exits(1);
        assert_eq!(done.text(), "", "{done}");
        done.says("bob may neither use template");
    }
    for (caller, shown) in [(ALICE, true), (BOB, false)] {
        let list = world.user(caller, &["list"]).ok().text();
        assert!(list.contains(template), "{list}");
        assert_eq!(list.contains("words") && list.contains("t-alias"), shown, "{list}");
        assert!(!list.contains("words") || shown, "{list}");
    }
    world.assert_nothing_left();
}

#[test]
fn dir_setuid_a_line_of_a_file_that_root_alone_may_read_is_quoted_to_nobody_else() {
    let world = World::new();
    let broken = "version = 1\nusers = [\"hidden-account\"]\nhidden-key = 1\n";
    world.write_secret("templates.d/broken.toml", broken);
    world.write_secret("templates.d/warned.toml", "version = 1\nusers = [\"hidden-account\"]\n");
    world.write_secret("profiles/odd.toml", "version = 1\nhidden-key = 1\n");
    world.write_secret("templates.d/uses-odd.toml", "version = 1\nprofile = \"odd\"\nusers = [\"alice\"]\n");
    let all = world.root(&["check"]).exits(1).text();
    assert!(all.contains("hidden-account") && all.contains("hidden-key"), "{all}");
    for words in [
        &["check"][..],
        &["check", "--json"],
        &["list"],
        &["info", "broken"],
        &["run", "broken"],
        &["begin", "nowhere"],
        &["begin", "uses-odd"],
    ] {
        let done = world.user(ALICE, words);
        assert!(!done.to_string().contains("hidden"), "{done}");
    }
    let seen = world.user(BOB, &["check"]).exits(1).text();
    let why = "templates.d/broken.toml: error: is not as it should be, and only root may see where";
    assert!(seen.contains(why) && seen.contains("templates.d/warned.toml: warning: "), "{seen}");
    // So is the configuration of the host.
    world.write_secret("zchroot.toml", "version = 1\nhidden-key = 1\n");
    for words in [&["list"][..], &["check"]] {
        let done = world.user(BOB, words).exits(1);
        assert!(!done.to_string().contains("hidden"), "{done}");
    }
    world.root(&["list"]).exits(1).says("hidden-key");
}

#[test]
fn dir_setuid_of_anothers_session_its_owner_is_not_told() {
    let world = World::new();
    let session = format!("{}-mine", world.template);
    let session = session.as_str();
    world.user(ALICE, &["begin", &world.template, "-n", session]).ok();
    let own = world.user(ALICE, &["info", session, "--json"]).ok().json();
    assert_eq!(own["session"]["record"]["owner"]["name"], "alice", "{own}");
    assert!(world.root(&["info", session]).ok().text().contains("alice"));
    for words in [
        &["info", session][..],
        &["info", session, "--json"],
        &["list", "--sessions"],
        &["list", "--sessions", "--json"],
    ] {
        let seen = world.user(BOB, words).ok();
        assert!(seen.text().contains(session) && seen.text().contains("named"), "{seen}");
        for hidden in ["alice", "64001", "owner\"", "setup", "root-allowed", "/run/zchroot/mount"] {
            assert!(!seen.text().contains(hidden), "{hidden}: {seen}");
        }
    }
    world.user(ALICE, &["end", session]).ok();
    world.assert_nothing_left();
}

#[test]
fn dir_setuid_on_a_host_where_nothing_is_installed_list_says_so() {
    let world = World::empty();
    world.user(BOB, &["list"]).ok().prints("").says("no templates and no sessions");
    world.user(BOB, &["begin", "none"]).exits(4).says("there is no template none");
    world.user(BOB, &["check"]).ok();
    assert_eq!(
        std::fs::read_dir(world.lib("zchroot")).unwrap().count(),
        0,
        "an ordinary user made something"
    );
}

#[test]
fn dir_setuid_without_the_bit_the_reason_is_said() {
    let world = World::empty();
    let done = world.program("plain").user(ALICE, &[]).word("list").run().exits(1);
    done.says("zchroot: cannot run without root privileges: the program is not installed setuid root");
    let done = world.order(ALICE, &["list"]).before(no_new_privileges).run().exits(1);
    done.says("“no new privileges” is set");
}

fn no_new_privileges() -> std::io::Result<()> {
    Ok(nix::errno::Errno::result(
        // SAFETY: sets a flag of this process.
        unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) },
    )
    .map(drop)?)
}

#[test]
fn dir_setuid_a_hostile_environment_reaches_neither_program_nor_command() {
    let world = World::new();
    let hostile = [
        ("PATH", "/tmp/evil:."),
        ("IFS", "/"),
        ("LD_PRELOAD", "/tmp/evil.so"),
        ("LD_AUDIT", "/tmp/evil.so"),
        ("GCONV_PATH", "/tmp"),
        ("TZ", "/etc/shadow"),
        ("TMPDIR", "/nonexistent"),
        ("BASH_ENV", "/shared/evil"),
        ("ENV", "/shared/evil"),
        ("ZFS_CMD", "/tmp/evil"),
        ("HOME", "/tmp/evil"),
        ("SHELL", "/tmp/evil"),
    ];
    for option in [&[][..], &["-p"]] {
        let head = [&["run", &world.template, "-d", "/"][..], option, &["--", "/usr/bin/env"]].concat();
        let order =
            hostile.iter().fold(world.order(ALICE, &head), |order, (name, value)| order.env(name, value));
        let text = order.run().ok().text();
        for name in ["LD_PRELOAD", "LD_AUDIT", "GCONV_PATH", "IFS", "BASH_ENV", "ENV", "ZFS_CMD"] {
            let is_there = text.lines().any(|line| line.starts_with(&format!("{name}=")));
            // ZFS_CMD harms nobody inside, so -p may keep it.
            assert!(!is_there || (name == "ZFS_CMD" && !option.is_empty()), "{name} with {option:?}: {text}");
        }
        // Whoever keeps his environment keeps his own idea of where commands are.
        let has_path = text.lines().any(|line| line.starts_with("PATH=/usr/"));
        assert!(has_path || !option.is_empty(), "{text}");
    }
    world.assert_nothing_left();
}

/// Whether root here may raise hard limits; in some containers he may not.
fn may_raise_limits() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let bounding = status.lines().find_map(|line| line.strip_prefix("CapBnd:\t")).unwrap();
    u64::from_str_radix(bounding, 16).unwrap() >> 24 & 1 == 1
}

#[test]
fn dir_setuid_a_umask_and_soft_limits_break_nothing_and_are_given_back() {
    let world = World::new();
    let strange = || {
        nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o777));
        limit(libc::RLIMIT_FSIZE, 0, libc::RLIM_INFINITY)?;
        limit(libc::RLIMIT_NOFILE, 16, 8192)
    };
    let command = ["sh", "-c", "umask; ulimit -S -f; ulimit -S -n"];
    let head = [&["run", &world.template, "-d", "/", "--"][..], &command].concat();
    world.order(ALICE, &head).before(strange).run().ok().prints("0777\n0\n16");
    let session = format!("{}-limits", world.template);
    world.order(ALICE, &["begin", &world.template, "-n", &session]).before(strange).run().ok();
    world.user(ALICE, &["exec", &session, "-d", "/", "--", "true"]).ok();
    world.root(&["info", &session]).ok();
    world.order(ALICE, &["end", &session]).before(strange).run().ok();
    world.assert_nothing_left();
}

#[test]
fn dir_setuid_hard_limits_are_lifted_and_given_back_or_nothing_is_begun() {
    let world = World::new();
    let strange = || limit(libc::RLIMIT_FSIZE, 0, 0).and_then(|()| limit(libc::RLIMIT_NOFILE, 16, 16));
    let command = ["sh", "-c", "ulimit -H -f; ulimit -H -n"];
    let head = [&["run", &world.template, "-d", "/", "--"][..], &command].concat();
    let done = world.order(ALICE, &head).before(strange).run();
    if may_raise_limits() {
        done.ok().prints("0\n16");
    } else {
        done.exits(1).says("zchroot: cannot set resource limits");
    }
    world.assert_nothing_left();
}

#[test]
fn dir_setuid_closed_standard_files_are_not_taken_for_others() {
    let world = World::new();
    let command = mark("closed");
    let order = world.order(ALICE, &words(&["run", &world.template], &command)).before(close_standard);
    order.run().ok().prints("");
    assert_eq!(world.marks(), [("closed".to_owned(), ALICE)]);
    // What would be printed must not get into a file that was opened as number 1 or 2.
    world.order(BOB, &words(&["run", &world.template], &command)).before(close_standard).run().exits(125);
    world.root(&["check"]).ok();
    world.assert_nothing_left();
}

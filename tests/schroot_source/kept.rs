//! A source session whose end was no commit: its draft is kept, for a day.

use crate::harness::Done;
use crate::lab::{Lab, gives, refuses};
use crate::world::{ALICE, CAROL};

/// The one line that says that nothing was committed; the name of the session in it.
#[track_caller]
fn kept(done: &Done, commands: &str) -> String {
    let line = done.stderr.lines().last().unwrap_or_default();
    let id = line.strip_prefix("E: ").and_then(|rest| Some(rest.split_once(": ")?.0.to_owned())).unwrap();
    let start = format!("E: {id}: Not committed, since {commands} did not end with status 0; until ");
    assert!(line.starts_with(&start) && line.contains(&format!("‘zchroot source commit {id}’")), "{done}");
    id
}

/// Everything that is said of a session that is kept.
#[track_caller]
fn is_kept(lab: &Lab, id: &str) {
    let session = lab.sessions().into_iter().find(|it| it["id"] == id).unwrap();
    assert!(session["state"] == "kept" && session["kept-until"].is_string(), "{session}");
    let list = lab.world.user(CAROL, &["list", "--sessions"]).ok().text();
    assert!(list.contains("kept until 20"), "{list}");
    assert!(lab.world.user(CAROL, &["info", id]).ok().text().contains("kept until 20"));
    // To schroot it has ended.
    gives(lab.schroot(CAROL, &["-l", "--all-sessions"]), "");
    for action in ["-e", "-r", "--recover-session"] {
        refuses(lab.schroot(CAROL, &[action, "-c", id]), &format!("E: {id}: Chroot not found\n"));
    }
    refuses(
        lab.schroot(CAROL, &["-i", "-c", &format!("session:{id}")]),
        &format!("E: session:{id}: Chroot not found\n"),
    );
    lab.world.root(&["recover"]).ok().prints(&format!("{id}: kept"));
    let inside = lab.world.user(CAROL, &["source", "exec", id, "--", "true"]).exits(125);
    assert!(inside.stderr.contains("has ended without a commit, its draft is kept until 20"), "{inside}");
    let hint = format!("zchroot source commit {id}");
    lab.world.user(CAROL, &["source", "rebase", id]).exits(3).says(&hint);
    lab.world.user(CAROL, &["diff", id]).exits(3).says(&hint);
    let gc = lab.gc(&[]).ok().text();
    assert!(
        gc.contains(&format!("kept session {id}: it ended without a commit, its draft is kept until 20")),
        "{gc}"
    );
    assert!(!gc.contains("removed"), "{gc}");
    assert!(lab.world.mounts().is_empty(), "{:?}", lab.world.mounts());
}

pub(crate) fn committed(lab: &Lab) {
    let before = lab.generation();
    let done = lab.around(CAROL, "echo half > /etc/what; exit 7").exits(7);
    assert_eq!(done.stderr.lines().count(), 1, "{done}");
    let id = kept(&done, "a command in it");
    assert_eq!((lab.what().as_str(), lab.generation()), ("none", before));
    is_kept(lab, &id);
    lab.world.user(ALICE, &["source", "commit", &id]).exits(1);
    lab.world.user(CAROL, &["source", "commit", &id]).ok();
    assert_eq!((lab.what().as_str(), lab.generation()), ("half", before + 1));
    lab.nothing_left();
}

/// As if a day had gone by.
fn grow_old(lab: &Lab, id: &str) {
    let old = "s/^kept-until = .*/kept-until = \"2020-01-01T00:00:00Z\"/";
    lab.shell(&format!("sed -i '{old}' /var/lib/zchroot/sessions/{id}.toml"));
}

pub(crate) fn dropped(lab: &Lab) {
    let before = lab.generation();
    let id = kept(&lab.around(CAROL, "exit 1").exits(1), "a command in it");
    lab.world.user(ALICE, &["source", "abort", &id]).exits(1);
    lab.world.user(CAROL, &["source", "abort", &id]).ok();
    lab.nothing_left();
    let id = kept(&lab.around(CAROL, "exit 1").exits(1), "a command in it");
    let session = lab.sessions().remove(0);
    let day = (session["kept-until"].as_str(), session["created"].as_str());
    let [until, created] = [day.0, day.1].map(|text| text.unwrap().parse::<jiff::Timestamp>().unwrap());
    let hours = until.duration_since(created).as_hours();
    assert!((23..=25).contains(&hours), "{until} {created}");
    grow_old(lab, &id);
    let because =
        format!("session {id}: it ended without a commit, and its draft was kept until 2020-01-01T00:00:00Z");
    let dry = lab.gc(&["--dry-run"]).ok().text();
    assert!(dry.contains(&format!("would remove {because}")), "{dry}");
    assert!(!dry.contains(&format!("draft {}/", lab.name)), "{dry}");
    assert_eq!(lab.sessions().len(), 1);
    let gone = lab.gc(&[]).ok().text();
    assert!(gone.contains(&format!("removed {because}")), "{gone}");
    lab.world.user(CAROL, &["source", "commit", &id]).exits(4);
    assert_eq!((lab.what().as_str(), lab.generation()), ("none", before));
    lab.nothing_left();
}

pub(crate) fn killed(lab: &Lab) {
    // The command, by a signal.
    let id = lab.begin(CAROL);
    let done = lab.run(CAROL, &id, "echo x > /etc/what; kill -9 $$");
    refuses(done, "E: Child terminated by signal ‘Killed’\n");
    let ended = lab.schroot(CAROL, &["-e", "-c", &id]).exits(1);
    assert_eq!(kept(&ended, "a command in it"), id);
    is_kept(lab, &id);
    lab.world.user(CAROL, &["source", "abort", &id]).ok();
    // Whoever waited for the command.
    let id = lab.begin(CAROL);
    let words = ["-r", "-c", &id, "-d", "/", "-u", "root", "--", "sh", "-c", "echo in; read x; sleep 100"];
    let mut run = lab.order(CAROL, &words).start();
    assert_eq!(run.line(), "in");
    run.kill();
    let ended = lab.schroot(CAROL, &["-e", "-c", &id]).exits(1);
    assert_eq!(kept(&ended, "a command in it"), id);
    lab.world.user(CAROL, &["source", "abort", &id]).ok();
    // The whole, and then the end of what stands; also when it ran at the end.
    for dies in [true, false] {
        let words = ["-c", &lab.source, "-d", "/", "-u", "root", "--", "sh", "-c", "echo in; sleep 100"];
        let mut whole = lab.order(CAROL, &words).start();
        assert_eq!(whole.line(), "in");
        if dies {
            whole.kill();
            let id = lab.sessions()[0]["id"].as_str().unwrap().to_owned();
            assert_eq!(kept(&lab.schroot(CAROL, &["-e", "-c", &id]).exits(1), "a command in it"), id);
        } else {
            whole.signal(nix::sys::signal::Signal::SIGTERM);
            let done = whole.finish().exits(1);
            kept(&done, "a command in it");
        }
        let id = lab.sessions()[0]["id"].as_str().unwrap().to_owned();
        lab.world.user(CAROL, &["source", "abort", &id]).ok();
    }
    // A session that is ended while a command runs in it: the command is ended, and was no clean one.
    let id = lab.begin(CAROL);
    let mut run = lab
        .order(CAROL, &["-r", "-c", &id, "-d", "/", "-u", "root", "--", "sh", "-c", "echo in; sleep 100"])
        .start();
    assert_eq!(run.line(), "in");
    assert_eq!(kept(&lab.schroot(CAROL, &["-e", "-c", &id]).exits(1), "a command in it"), id);
    run.finish().exits(1);
    lab.world.user(CAROL, &["source", "abort", &id]).ok();
    lab.nothing_left();
}

pub(crate) fn one_is_enough(lab: &Lab) {
    let before = lab.generation();
    let id = lab.begin(CAROL);
    gives(lab.run(CAROL, &id, "echo one > /etc/what"), "");
    lab.world.user(CAROL, &["source", "exec", &id, "--", "sh", "-c", "exit 3"]).exits(3);
    lab.run(CAROL, &id, "exit 4").exits(4);
    gives(lab.run(CAROL, &id, "true"), "");
    let ended = lab.schroot(CAROL, &["-q", "-e", "-c", &id]).exits(1);
    assert_eq!((kept(&ended, "2 commands in it"), ended.stderr.lines().count()), (id.clone(), 1));
    assert_eq!(lab.generation(), before);
    // Its name is free again when it has gone, and nothing is held against the next one.
    lab.world.user(CAROL, &["source", "abort", &id]).ok();
    gives(lab.schroot(CAROL, &["-b", "-c", &lab.source, "-n", &id]), &id);
    lab.world.user(CAROL, &["source", "exec", &id, "--", "sh", "-c", "echo two > /etc/what"]).ok();
    gives(lab.schroot(CAROL, &["-e", "-c", &id]), "");
    assert_eq!((lab.what().as_str(), lab.generation()), ("two", before + 1));
    lab.nothing_left();
}

pub(crate) fn conflict(lab: &Lab) {
    let id = kept(&lab.around(CAROL, "echo mine > /etc/what; exit 1").exits(1), "a command in it");
    gives(lab.around(CAROL, "echo theirs > /etc/what"), "");
    lab.world.user(CAROL, &["source", "commit", &id]).exits(3).says("conflict");
    // It stands again, to be looked at and thought about.
    gives(lab.run(CAROL, &id, "cat /etc/what"), "mine");
    let rebased = format!("{}-re", lab.name);
    lab.world.user(CAROL, &["source", "rebase", &id, "-n", &rebased]).ok();
    kept(&lab.schroot(CAROL, &["-e", "-c", &id]).exits(1), "a command in it");
    gives(lab.run(CAROL, &rebased, "echo both > /etc/what"), "");
    gives(lab.schroot(CAROL, &["-e", "-c", &rebased]), "");
    assert_eq!(lab.what(), "both");
    lab.world.user(CAROL, &["source", "abort", &id]).ok();
    lab.nothing_left();
}

pub(crate) fn never_started(lab: &Lab) {
    let before = lab.generation();
    let words = |command: &'static str| {
        ["-c", &lab.source, "-d", "/", "-u", "root", "--", command].map(str::to_owned)
    };
    let run = |command| {
        let words = words(command);
        lab.schroot(CAROL, &words.iter().map(String::as_str).collect::<Vec<_>>())
    };
    refuses(run("nosuchcmd"), "E: Failed to execute “nosuchcmd”: No such file or directory\n");
    refuses(run("/etc/passwd"), "E: Failed to execute “/etc/passwd”: Permission denied\n");
    lab.schroot(CAROL, &["-c", &lab.source, "-d", "/nonexist", "-u", "root", "--", "true"]).exits(1);
    assert_eq!(lab.generation(), before);
    // In pieces it is one step of many, and the others have done something.
    let id = lab.begin(CAROL);
    lab.schroot(CAROL, &["-r", "-c", &id, "-d", "/", "-u", "root", "--", "nosuchcmd"]).exits(1);
    assert_eq!(kept(&lab.schroot(CAROL, &["-e", "-c", &id]).exits(1), "a command in it"), id);
    lab.world.user(CAROL, &["source", "abort", &id]).ok();
    lab.nothing_left();
}

/// Who may begin a source session may take up what is kept of it; who was root in it and may be so no more may not publish it.
pub(crate) fn whose(lab: &Lab) {
    let before = lab.generation();
    let done = lab.schroot(ALICE, &["-c", &lab.source, "-d", "/", "--", "sh", "-c", "exit 7"]).exits(7);
    let id = kept(&done, "a command in it");
    lab.world.user(ALICE, &["source", "commit", &id]).ok();
    assert_eq!(lab.generation(), before + 1);
    let session = lab.begin(CAROL);
    lab.run(CAROL, &session, "echo mine > /etc/what").ok();
    lab.demote_carol();
    refuses(
        lab.schroot(CAROL, &["-e", "-c", &session]),
        "E: Access not authorised\nI: You do not have permission to access the schroot service.\nI: This failure will be reported.\n",
    );
    lab.world.user(CAROL, &["source", "commit", &session]).exits(1);
    assert_eq!(lab.generation(), before + 1);
    lab.world.user(CAROL, &["source", "abort", &session]).ok();
    lab.nothing_left();
}

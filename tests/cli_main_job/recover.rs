//! recover: after a crash every session is ready or ended, and nothing is left over.

use crate::harness::{Installation, left, wait_until};

fn lose_mounts(host: &Installation, session: &str) {
    let at = host.at(&format!("/run/zchroot/mount/{session}"));
    for point in left::mounts(&at).iter().rev() {
        nix::mount::umount(point).unwrap();
    }
}

#[test]
fn dir_a_run_that_was_killed_is_ended() {
    let host = Installation::with_demo();
    let running = host.order(["run", "demo", "-d", "/", "--", "sleep", "1000"]).start();
    wait_until("the command runs", || !left::processes(host.path()).is_empty());
    let [id] = &host.sessions()[..] else { panic!("one session") };
    host.zchroot(["recover"]).ok().prints(&format!("{id}: in use"));
    running.kill();
    host.zchroot(["recover"]).ok().prints(&format!("{id}: ended"));
    host.assert_nothing_left();
    host.zchroot(["recover"]).ok().prints("");
}

#[test]
fn dir_a_run_that_was_killed_can_be_ended_by_hand() {
    let host = Installation::with_demo();
    let running = host.order(["run", "demo", "-d", "/", "--", "sleep", "1000"]).start();
    wait_until("the command runs", || !left::processes(host.path()).is_empty());
    running.kill();
    let [id] = &host.sessions()[..] else { panic!("one session") };
    host.zchroot(["end", id]).ok();
    host.assert_nothing_left();
}

#[test]
fn dir_a_session_whose_mounts_were_lost_stands_again() {
    let host = Installation::with_demo();
    host.zchroot(["begin", "demo", "-n", "work"]).ok();
    host.zchroot(["exec", "work", "-d", "/", "--", "sh", "-c", "echo mine > /srv/file"]).ok();
    host.zchroot(["recover"]).ok().prints("work: stands");
    lose_mounts(&host, "work");
    host.zchroot(["exec", "work", "-d", "/", "--", "cat", "/srv/file"])
        .exits(125)
        .says("zchroot: session work is not ready, it is not mounted\nhint: as root: zchroot recover\n");
    host.zchroot(["recover"]).ok().prints("work: ready again");
    host.zchroot(["exec", "work", "-d", "/", "--", "cat", "/srv/file"]).ok().prints("mine");
    host.zchroot(["end", "work"]).ok();
    host.assert_nothing_left();
}

#[test]
fn dir_a_source_session_whose_mounts_were_lost_stands_again_with_its_work() {
    let host = Installation::with_demo();
    host.zchroot(["source", "begin", "demo", "-n", "work"]).ok();
    host.zchroot(["source", "exec", "work", "--", "sh", "-c", "echo mine > /srv/file"]).ok();
    lose_mounts(&host, "work");
    // As after a reboot: what lies in /run is gone.
    let _ = nix::mount::umount2(&host.at("/run/zchroot/mount"), nix::mount::MntFlags::MNT_DETACH);
    std::fs::remove_dir_all(host.at("/run/zchroot")).unwrap();
    let json = host.zchroot(["recover", "--json"]).json();
    assert_eq!(json["sessions"][0]["result"], "ready again", "{json}");
    host.zchroot(["source", "commit", "work"]).ok();
    host.run_in_demo("cat /srv/file").ok().prints("mine");
    host.assert_nothing_left();
}

fn points(host: &Installation, session: &str) -> Vec<std::path::PathBuf> {
    let mut points = left::mounts(&host.at(&format!("/run/zchroot/mount/{session}")));
    points.sort();
    points
}

#[test]
fn dir_a_session_that_has_lost_a_mount_of_its_profile_does_not_stand() {
    let host = Installation::with_demo();
    host.zchroot(["begin", "demo", "-n", "work"]).ok();
    host.zchroot(["source", "begin", "demo", "-n", "source"]).ok();
    for session in ["work", "source"] {
        let whole = points(&host, session);
        assert!(whole.len() >= 4, "the tree, proc, sys and dev: {whole:?}");
        let at = host.at(&format!("/run/zchroot/mount/{session}"));
        // What is mounted in one that goes, goes before it.
        for lost in whole.iter().filter(|point| **point != at) {
            for point in whole.iter().rev().filter(|point| point.starts_with(lost)) {
                nix::mount::umount(point).unwrap();
            }
            let done = host.zchroot(["recover"]).ok();
            assert!(done.text().contains(&format!("{session}: ready again")), "{}: {done}", lost.display());
            assert_eq!(points(&host, session), whole, "{}", lost.display());
            let done = host.zchroot(["recover"]).ok();
            assert!(done.text().contains(&format!("{session}: stands")), "{done}");
        }
    }
    host.zchroot(["source", "commit", "source"]).ok();
    host.zchroot(["end", "work"]).ok();
    host.assert_nothing_left();
}

#[test]
fn dir_a_session_that_is_mended_keeps_who_is_in_it() {
    let host = Installation::with_demo();
    host.zchroot(["begin", "demo", "-n", "work"]).ok();
    let script = "echo in; read -r line; echo out";
    let mut inside = host.order(["exec", "work", "-d", "/", "--", "sh", "-c", script]).start();
    assert_eq!(inside.line(), "in");
    nix::mount::umount(&host.at("/run/zchroot/mount/work/sys")).unwrap();
    host.zchroot(["recover"]).ok().prints("work: ready again");
    inside.finish().prints("out");
    host.zchroot(["end", "work"]).ok();
    host.assert_nothing_left();
}

#[test]
fn dir_a_session_whose_mounts_were_lost_can_be_ended() {
    let host = Installation::with_demo();
    host.zchroot(["begin", "demo", "-n", "work"]).ok();
    lose_mounts(&host, "work");
    host.zchroot(["end", "work"]).ok();
    host.assert_nothing_left();
}

#[test]
fn dir_a_torn_record_is_named_and_keeps_nobody_else() {
    let host = Installation::with_demo();
    host.zchroot(["begin", "demo", "-n", "good"]).ok();
    for (name, text) in [("garbage", "\u{1}\u{2}format = [[["), ("cut", "format = 1\nid = \"cu")] {
        host.write(&format!("/var/lib/zchroot/sessions/{name}.toml"), text);
    }
    let foreign = host.read("/var/lib/zchroot/sessions/good.toml");
    host.write("/var/lib/zchroot/sessions/other.toml", &foreign);
    let done = host.zchroot(["recover"]).exits(1);
    for name in ["garbage", "cut", "other"] {
        let line = done
            .text()
            .lines()
            .find(|line| line.starts_with(&format!("{name}: failed: ")))
            .map(str::to_owned);
        assert!(line.is_some_and(|line| line.contains(&format!("{name}.toml"))), "{name}: {done}");
        host.zchroot(["info", name]).exits(1).says(&format!("{name}.toml"));
        host.zchroot(["end", name]).exits(1).says(&format!("{name}.toml"));
    }
    assert!(done.text().contains("good: stands"), "{done}");
    let list = host.zchroot(["list"]).ok().says("session garbage:").says("session cut:");
    assert!(list.text().contains("good"), "{list}");
    host.zchroot(["exec", "good", "-d", "/", "--", "true"]).ok();
    host.run_in_demo("true").ok();
    host.zchroot(["end", "--all"]).ok();
    for name in ["garbage", "cut", "other"] {
        std::fs::remove_file(host.at(&format!("/var/lib/zchroot/sessions/{name}.toml"))).unwrap();
    }
    host.assert_nothing_left();
}

#[test]
fn dir_an_empty_record_as_a_power_cut_leaves_it_is_ended() {
    let host = Installation::with_demo();
    host.write("/var/lib/zchroot/sessions/empty.toml", "");
    host.zchroot(["list"]).ok().says("session empty:");
    host.zchroot(["recover"]).ok().prints("empty: ended");
    host.assert_nothing_left();
}

#[test]
fn dir_recover_leaves_an_installation_without_sessions_as_it_is() {
    let host = Installation::with_demo();
    host.zchroot(["update", "demo", "-q", "--", "sh", "-c", "echo 2 > /etc/generation"]).ok();
    let (current, history) = (host.current("demo"), host.versions("demo"));
    host.zchroot(["recover"]).ok().prints("");
    assert_eq!((host.current("demo"), host.versions("demo")), (current, history));
    host.run_in_demo("cat /etc/generation").ok().prints("2");
}

/// A source session as a crash leaves it right after the commit: the version is current, the record is there.
fn committed_with_its_record(host: &Installation, session: &str) {
    let record = format!("/var/lib/zchroot/sessions/{session}.toml");
    host.zchroot(["source", "begin", "demo", "-n", session]).ok();
    let text = host.read(&record);
    host.zchroot(["source", "commit", session]).ok();
    host.write(&record, &text);
}

#[test]
fn dir_a_commit_that_crashed_after_it_took_place_is_finished_by_a_repeat_and_not_undone_by_an_abort() {
    let host = Installation::with_demo();
    committed_with_its_record(&host, "work");
    let current = host.current("demo");
    host.zchroot(["source", "commit", "work"]).ok().prints(&current);
    host.assert_nothing_left();
    committed_with_its_record(&host, "work");
    let current = host.current("demo");
    host.zchroot(["source", "abort", "work"]).exits(1).says("was committed already").says(&current);
    assert_eq!(host.current("demo"), current);
    host.assert_nothing_left();
}

#[test]
fn dir_a_commit_after_a_reboot_works_at_once() {
    let host = Installation::with_demo();
    host.zchroot(["source", "begin", "demo", "-n", "work"]).ok();
    lose_mounts(&host, "work");
    std::fs::remove_dir(host.at("/run/zchroot/mount/work")).unwrap();
    host.zchroot(["source", "commit", "work"]).ok();
    host.assert_nothing_left();
}

#[test]
fn dir_a_commit_from_inside_the_tree_is_refused_each_time_it_is_tried() {
    let host = Installation::with_demo();
    host.zchroot(["source", "begin", "demo", "-n", "work"]).ok();
    let before = host.current("demo");
    let script = "cd \"$0\" && for n in 1 2; do \"$@\" && exit 1; done; exit 0";
    let at = host.at("/run/zchroot/mount/work");
    let shell = crate::harness::Order::new("/bin/sh").words(["-c", script]).word(&at);
    let shell = shell.word(crate::harness::program::binary()).word("--root").word(host.path());
    shell.words(["source", "commit", "work"]).run().ok().says("leave it first");
    assert_eq!(host.current("demo"), before);
    host.zchroot(["source", "abort", "work"]).ok();
    host.assert_nothing_left();
}

#[test]
fn dir_a_pointer_that_cannot_be_mended_hides_nothing_that_was_recovered() {
    let host = Installation::with_demo();
    host.zchroot(["begin", "demo", "-n", "work"]).ok();
    lose_mounts(&host, "work");
    let pointer = host.at("/var/lib/zchroot/templates/demo/current");
    let target = std::fs::read_link(&pointer).unwrap();
    std::fs::remove_file(&pointer).unwrap();
    std::os::unix::fs::symlink("elsewhere", &pointer).unwrap();
    host.zchroot(["recover"])
        .exits(1)
        .prints("work: ready again")
        .says("template demo: its pointer could not be mended: ");
    std::fs::remove_file(&pointer).unwrap();
    std::os::unix::fs::symlink(target, &pointer).unwrap();
    host.zchroot(["recover"]).ok().prints("work: stands");
    host.zchroot(["end", "work"]).ok();
    host.assert_nothing_left();
}

/// The end of an update had begun, and the session of its test is there still: a draft cannot go while it is tried out.
#[test]
fn dir_a_session_that_tries_a_draft_out_is_ended_before_the_draft_is() {
    let host = Installation::with_demo();
    let running = host.order(["update", "demo", "--test", "sleep 1000", "--", "true"]).start();
    let ids = || {
        host.sessions().into_iter().map(|id| (host.at(&format!("/var/lib/zchroot/sessions/{id}.toml")), id))
    };
    let is_source = |text: &str| text.contains("kind = \"source\"");
    wait_until("the test runs", || host.sessions().len() == 2 && !left::processes(host.path()).is_empty());
    running.kill();
    for (record, _) in ids() {
        let text = std::fs::read_to_string(&record).unwrap();
        if is_source(&text) {
            let state = text.lines().find(|line| line.starts_with("state = ")).unwrap();
            std::fs::write(&record, text.replace(state, "state = \"ending\"")).unwrap();
        }
    }
    let ended: Vec<String> = ids().map(|(_, id)| format!("{id}: ended")).collect();
    host.zchroot(["recover"]).ok().prints(&ended.join("\n"));
    host.assert_nothing_left();
}

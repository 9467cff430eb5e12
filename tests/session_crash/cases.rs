//! The operations, each on both stores.

use std::cell::Cell;

use crate::crash::{Case, crash};
use crate::harness;
use crate::harness::both::on_both;
use crate::host::{Host, STAMP};
use crate::looks::{pin, rebase, verify};

on_both! {
    Host:
    dir_crash_create_leaves_a_whole_template_or_none
    zfs_crash_create_leaves_a_whole_template_or_none
    create;
    dir_crash_import_leaves_a_whole_template_or_none
    zfs_crash_import_leaves_a_whole_template_or_none
    import;
    dir_crash_run_leaves_nothing
    zfs_crash_run_leaves_nothing
    run;
    dir_crash_begin_leaves_nothing_or_a_session
    zfs_crash_begin_leaves_nothing_or_a_session
    begin;
    dir_crash_exec_leaves_the_session
    zfs_crash_exec_leaves_the_session
    exec;
    dir_crash_end_is_ended_by_recover
    zfs_crash_end_is_ended_by_recover
    end;
    dir_crash_source_begin_leaves_nothing_or_a_session
    zfs_crash_source_begin_leaves_nothing_or_a_session
    source_begin;
    dir_crash_commit_leaves_the_old_or_the_new_version
    zfs_crash_commit_leaves_the_old_or_the_new_version
    commit;
    dir_crash_abort_leaves_the_old_version
    zfs_crash_abort_leaves_the_old_version
    abort;
    dir_crash_update_leaves_the_old_or_the_new_version
    zfs_crash_update_leaves_the_old_or_the_new_version
    update;
    dir_crash_update_with_a_test_leaves_the_old_or_the_new_version
    zfs_crash_update_with_a_test_leaves_the_old_or_the_new_version
    update_with_a_test;
    dir_crash_rollback_leaves_the_old_or_the_new_version
    zfs_crash_rollback_leaves_the_old_or_the_new_version
    rollback;
    dir_crash_gc_takes_nothing_that_is_used
    zfs_crash_gc_takes_nothing_that_is_used
    gc;
    dir_crash_pin_and_unpin_leave_the_version_and_its_pin_or_none
    zfs_crash_pin_and_unpin_leave_the_version_and_its_pin_or_none
    pin;
    dir_crash_verify_and_diff_leave_nothing
    zfs_crash_verify_and_diff_leave_nothing
    verify;
    dir_crash_rebase_leaves_the_old_session_and_a_whole_new_one_or_none
    zfs_crash_rebase_leaves_the_old_session_and_a_whole_new_one_or_none
    rebase;
    dir_crash_image_import_leaves_a_whole_image_or_none
    zfs_crash_image_import_leaves_a_whole_image_or_none
    image_import;
    dir_crash_image_remove_leaves_the_whole_image_or_none
    zfs_crash_image_remove_leaves_the_whole_image_or_none
    image_remove;
    dir_crash_run_of_an_image_leaves_the_image_alone
    zfs_crash_run_of_an_image_leaves_the_image_alone
    image_run;
    dir_crash_recover_can_be_repeated
    zfs_crash_recover_can_be_repeated
    recover;
}

/// Words that live as long as the test.
fn kept(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}

/// Ends what stands, after it has been entered once.
pub(crate) fn end_all(host: &Host) {
    for session in host.sessions() {
        host.zchroot(["exec", &session, "-d", "/", "--", "true"]).ok();
        host.zchroot(["end", &session]).ok();
    }
    host.generation();
}

/// A source session that stands again can be worked in; it is aborted here.
pub(crate) fn abort_all(host: &Host) {
    for session in host.sessions() {
        host.zchroot(["source", "exec", &session, "--", "true"]).ok();
        host.zchroot(["source", "abort", &session]).ok();
    }
}

fn create(host: &Host) {
    create_from(host, "create", kept(host.at("/source").display().to_string()));
}

/// An archive is unpacked by a process of its own, a directory is not.
fn import(host: &Host) {
    let archive = host.at("/source.tar");
    harness::tree::pack(&host.at("/source"), &archive);
    create_from(host, "import", kept(archive.display().to_string()));
}

fn create_from(host: &Host, what: &'static str, source: &'static str) {
    let turn = Cell::new(0);
    let words = |turn: usize| vec!["create", kept(format!("new-{turn}")), "--from", source];
    let after = |done: bool| {
        let templates = host.zchroot(["list", "--templates", "--json"]).json();
        let ours = format!("new-{}", turn.get());
        let mut whole = false;
        for template in templates["list"]["templates"].as_array().unwrap() {
            let name = template["name"].as_str().unwrap();
            if name == ours && !template["current"].is_null() {
                whole = true;
                let look = "cat /etc/generation; ls /usr/bin | wc -l";
                let look = host.zchroot(["run", name, "-d", "/", "--", "sh", "-c", look]).ok();
                assert_eq!(look.text(), "1\n13", "not a whole tree");
            }
        }
        assert!(whole || !done, "reported as created, and not there");
        abort_all(host);
        host.generation();
    };
    let before = |number: usize| {
        host.forget(&format!("new-{}", turn.replace(number)));
    };
    crash(host, &Case { what, words: &words, before: &before, after: &after });
}

fn run(host: &Host) {
    // Something stays behind when the command ends, and outlives the program if that is killed.
    let words = |_| vec!["run", "demo", "-d", "/", "--", "sh", "-c", "echo mine > /srv/mine; sleep 300 &"];
    let after = |_| {
        assert!(host.sessions().is_empty(), "a session of one command stands: {:?}", host.sessions());
        host.generation();
    };
    crash(host, &Case { what: "run", words: &words, before: &|_| {}, after: &after });
}

fn begin(host: &Host) {
    let after = |done: bool| {
        assert!(!done || host.sessions() == ["work"], "reported as begun, and not there");
        end_all(host);
    };
    let words = |_| vec!["begin", "demo", "-n", "work"];
    crash(host, &Case { what: "begin", words: &words, before: &|_| {}, after: &after });
}

/// A session in which something was done.
pub(crate) fn begin_work(host: &Host) {
    host.zchroot(["begin", "demo", "-n", "work"]).ok();
    host.zchroot(["exec", "work", "-d", "/", "--", "sh", "-c", "echo mine > /srv/mine"]).ok();
}

pub(crate) fn work_is_there(host: &Host) {
    host.zchroot(["exec", "work", "-d", "/", "--", "cat", "/srv/mine"]).ok().prints("mine");
    // Everything of the profile is there, not only the tree.
    let devices = "test -e /proc/self && echo > /dev/null";
    host.zchroot(["exec", "work", "-d", "/", "--", "sh", "-c", devices]).ok();
}

fn exec(host: &Host) {
    let after = |_| {
        work_is_there(host);
        end_all(host);
    };
    let words = |_| vec!["exec", "work", "-d", "/", "--", "sh", "-c", "sleep 300 &"];
    crash(host, &Case { what: "exec", words: &words, before: &|_| begin_work(host), after: &after });
}

fn end(host: &Host) {
    let after = |done: bool| {
        assert!(!done || host.sessions().is_empty(), "reported as ended, and there");
        end_all(host);
    };
    let words = |_| vec!["end", "work"];
    crash(host, &Case { what: "end", words: &words, before: &|_| begin_work(host), after: &after });
}

fn source_begin(host: &Host) {
    let after = |done: bool| {
        assert!(!done || host.sessions() == ["work"], "reported as begun, and not there");
        abort_all(host);
        assert_eq!(host.generation(), 1);
    };
    let words = |_| vec!["source", "begin", "demo", "-n", "work"];
    crash(host, &Case { what: "source begin", words: &words, before: &|_| {}, after: &after });
}

/// A source session that makes the next generation.
pub(crate) fn source_work(host: &Host, generation: usize) {
    host.zchroot(["-q", "source", "begin", "demo", "-n", "work"]).ok();
    let text = generation.to_string();
    host.zchroot(["source", "exec", "work", "--", "sh", "-c", STAMP, "stamp", &text]).ok();
}

fn commit(host: &Host) {
    let generation = Cell::new(1);
    let before = |_| {
        generation.set(generation.get() + 1);
        source_work(host, generation.get());
    };
    let after = |done: bool| {
        let seen = host.generation();
        if host.sessions().is_empty() {
            assert_eq!(seen, generation.get(), "the session is gone, so it was committed");
        } else {
            assert!(!done, "reported as committed, but the session stands");
            assert_eq!(seen, generation.get() - 1, "committed, but the session stands");
            // Not committed: the work is there, and can be committed now.
            host.zchroot(["-q", "source", "commit", "work"]).ok();
            assert_eq!(host.generation(), generation.get());
        }
    };
    let words = |_| vec!["source", "commit", "work"];
    crash(host, &Case { what: "commit", words: &words, before: &before, after: &after });
}

fn abort(host: &Host) {
    let after = |done: bool| {
        assert!(!done || host.sessions().is_empty(), "reported as aborted, and there");
        abort_all(host);
        assert_eq!(host.generation(), 1);
    };
    let words = |_| vec!["source", "abort", "work"];
    crash(host, &Case { what: "abort", words: &words, before: &|_| source_work(host, 2), after: &after });
}

fn update(host: &Host) {
    update_with(host, "update", &[]);
}

fn update_with_a_test(host: &Host) {
    update_with(host, "update --test", &["--test", "echo spoiled > /etc/generation"]);
}

/// Each goes back to what the one before went away from.
fn rollback(host: &Host) {
    host.zchroot(["-q", "update", "demo", "--", "sh", "-c", STAMP, "stamp", "2"]).ok();
    let old = Cell::new(2);
    let before = |_: usize| old.set(host.generation());
    let after = |done: bool| {
        let seen = host.generation();
        assert!(seen == 3 - old.get() || (seen == old.get() && !done), "{seen} after {old:?}: {done}");
        assert!(host.sessions().is_empty(), "a rollback is nobody's to continue");
    };
    crash(
        host,
        &Case { what: "rollback", words: &|_| vec!["rollback", "demo"], before: &before, after: &after },
    );
}

fn update_with(host: &Host, what: &'static str, options: &'static [&'static str]) {
    let (old, new) = (Cell::new(1), Cell::new(1));
    let before = |number: usize| {
        old.set(host.generation());
        new.set(number + 2);
    };
    let after = |done: bool| {
        let seen = host.generation();
        assert!(seen == new.get() || (seen == old.get() && !done), "{seen} of {old:?} or {new:?}: {done}");
        abort_all(host);
        assert_eq!(host.generation(), seen);
    };
    let words = |number: usize| {
        let command = ["--", "sh", "-c", STAMP, "stamp", kept((number + 2).to_string())];
        [&["update", "demo"], options, &command].concat()
    };
    crash(host, &Case { what, words: &words, before: &before, after: &after });
}

/// A session, and trees that nobody knows of any more: a clone and a draft whose records were lost.
fn gc(host: &Host) {
    let before = |_| {
        begin_work(host);
        host.zchroot(["begin", "demo", "-n", "lost"]).ok();
        host.zchroot(["-q", "source", "begin", "demo", "-n", "draft"]).ok();
        for session in ["lost", "draft"] {
            unmount(host, session);
            std::fs::remove_file(host.at(&format!("/var/lib/zchroot/sessions/{session}.toml"))).unwrap();
        }
    };
    let after = |_| {
        work_is_there(host);
        end_all(host);
    };
    crash(host, &Case { what: "gc", words: &|_| vec!["gc"], before: &before, after: &after });
}

/// Takes the mounts of a session away, as a reboot does.
fn unmount(host: &Host, session: &str) {
    for point in harness::left::mounts(&host.at(&format!("/run/zchroot/mount/{session}"))).iter().rev() {
        nix::mount::umount(point).unwrap();
    }
}

/// A session that stood before a reboot, and one that was being begun.
fn recover(host: &Host) {
    let before = |_| {
        begin_work(host);
        unmount(host, "work");
        host.zchroot(["begin", "demo", "-n", "half"]).ok();
        unmount(host, "half");
        let record = "/var/lib/zchroot/sessions/half.toml";
        host.write(record, &host.read(record).replace("\"ready\"", "\"planned\""));
    };
    let after = |_| {
        assert_eq!(host.sessions(), ["work"]);
        work_is_there(host);
        end_all(host);
    };
    crash(host, &Case { what: "recover", words: &|_| vec!["recover"], before: &before, after: &after });
}

/// An archive of a tree; its path.
fn archive(host: &Host) -> &'static str {
    let archive = host.at("/image.tar");
    harness::tree::pack(&host.at("/source"), &archive);
    kept(archive.display().to_string())
}

/// The only image, if it is there. A session of it has all of it, and sees what no other one wrote.
fn whole_image(host: &Host) -> Option<String> {
    let list = host.zchroot(["image", "list", "--json"]).ok().json();
    let images = list["images"].as_array().unwrap();
    assert!(images.len() < 2, "{list}");
    let digest = images.first()?["digest"].as_str().unwrap().to_owned();
    let look = "cat /etc/generation; ls /usr/bin | wc -l; echo mine > /etc/generation";
    let look = host.zchroot(["run", "--image", &digest, "-d", "/", "--", "sh", "-c", look]).ok();
    assert_eq!(look.text(), "1\n13", "not a whole image");
    Some(digest)
}

fn no_session(host: &Host) {
    assert!(host.sessions().is_empty(), "a session of one command stands: {:?}", host.sessions());
    host.generation();
}

fn image_import(host: &Host) {
    let archive = archive(host);
    let after = |done: bool| {
        let there = whole_image(host);
        assert!(there.is_some() || !done, "reported as imported, and not there");
        // Whatever was left is in nobody's way.
        let again = host.zchroot(["-q", "image", "import", archive]).ok().text();
        assert_eq!(whole_image(host).unwrap(), again);
        assert!(there.is_none_or(|digest| digest == again));
        host.zchroot(["image", "remove", &again]).ok();
        no_session(host);
    };
    let words = |_| vec!["image", "import", archive];
    crash(host, &Case { what: "image import", words: &words, before: &|_| {}, after: &after });
}

fn image_remove(host: &Host) {
    let archive = archive(host);
    let digest = kept(host.zchroot(["-q", "image", "import", archive]).ok().text());
    let before = |_| {
        host.zchroot(["-q", "image", "import", archive]).ok().prints(digest);
    };
    let after = |done: bool| {
        assert!(whole_image(host).is_none() || !done, "reported as removed, and there");
        no_session(host);
    };
    let words = |_| vec!["image", "remove", digest];
    crash(host, &Case { what: "image remove", words: &words, before: &before, after: &after });
}

fn image_run(host: &Host) {
    let digest = kept(host.zchroot(["-q", "image", "import", archive(host)]).ok().text());
    let words = |_| {
        let script = "echo mine > /etc/generation; sleep 300 &";
        vec!["run", "--image", digest, "-d", "/", "--", "sh", "-c", script]
    };
    let after = |_| {
        no_session(host);
        assert_eq!(whole_image(host).as_deref(), Some(digest));
    };
    crash(host, &Case { what: "run --image", words: &words, before: &|_| {}, after: &after });
}

//! The same program called as schroot, by ordinary users and root, on a template: sessions in schroot's words.

use crate::harness::Done;
use crate::harness::program::Order;
use crate::world::{ALICE, BOB, CAROL, DAVE, HELPERS, World};

const DEFINITION: &str = "version = 1
description = \"a template\"
profile = \"shared\"
aliases = [\"unstable\"]
users = [\"alice\"]
groups = [\"helpers\"]
root-users = [\"carol\"]
[source]
root-users = [\"carol\"]
";
const CONFIGURED: &str = "[pl]\ndirectory=/srv\nusers=alice\n[lvm]\ntype=lvm-snapshot\ndevice=/dev/x\n\
lvm-snapshot-options=-L1G\nroot-users=alice\n";
const NO: &str = "E: Access not authorised\nI: You do not have permission to access the schroot service.\n\
I: This failure will be reported.\n";

fn world() -> World {
    let world = World::new();
    world.write_etc(&format!("zchroot/templates.d/{}.toml", world.template), DEFINITION);
    std::fs::create_dir(world.etc("schroot")).unwrap();
    world.write_etc("schroot/schroot.conf", CONFIGURED);
    world
}

fn order(world: &World, uid: u32, words: &[&str]) -> Order {
    let groups: &'static [u32] = if uid == DAVE { &[HELPERS] } else { &[] };
    world.program("schroot").user(uid, groups).words(words.iter().copied())
}

fn schroot(world: &World, uid: u32, words: &[&str]) -> Done {
    order(world, uid, words).run()
}

/// Just this on stdout, nothing on stderr.
#[track_caller]
fn gives(done: Done, stdout: &str) {
    let done = done.ok();
    assert_eq!(
        (String::from_utf8_lossy(&done.stdout).as_ref(), done.stderr.as_ref()),
        (stdout, ""),
        "{done}"
    );
}

/// Nothing on stdout, just this on stderr, status 1.
#[track_caller]
fn refuses(done: Done, stderr: &str) {
    let done = done.exits(1);
    assert_eq!(
        (String::from_utf8_lossy(&done.stdout).as_ref(), done.stderr.as_ref()),
        ("", stderr),
        "{done}"
    );
}

#[test]
fn dir_setuid_schroot_runs_a_command_in_a_session_of_its_own() {
    let world = world();
    let name = world.template.clone();
    for word in [name.as_str(), "unstable", &format!("chroot:{name}")] {
        gives(schroot(&world, ALICE, &["-c", word, "-d", "/", "--", "id", "-u"]), "64001\n");
    }
    gives(schroot(&world, DAVE, &["-c", &name, "-d", "/", "id", "--", "-u"]), "64004\n");
    gives(schroot(&world, CAROL, &["-c", &name, "-d", "/", "-u", "root", "--", "id", "-u"]), "0\n");
    gives(schroot(&world, 0, &["-c", &name, "-u", "alice", "--", "id", "-u"]), "64001\n");
    let input = order(&world, ALICE, &["-c", &name, "-d", "/", "--", "cat"]).input("data\n").run();
    gives(input, "data\n");
    let twice = ["-c", &name, "-c", "unstable", "--", "sh", "-c", "echo $SCHROOT_ALIAS_NAME; exit 3"];
    let done = schroot(&world, ALICE, &twice).exits(3);
    assert_eq!(done.text(), format!("{name}\nunstable"));
    world.assert_nothing_left();
}

#[test]
fn dir_setuid_schroot_tells_how_a_command_ended_or_why_it_did_not_start() {
    let world = world();
    let run = |more: &[&str]| schroot(&world, ALICE, &[&["-c", world.template.as_str()], more].concat());
    run(&["--", "sh", "-c", "exit 42"]).exits(42);
    refuses(run(&["--", "sh", "-c", "kill -9 $$"]), "E: Child terminated by signal ‘Killed’\n");
    refuses(run(&["--", "sh", "-c", "kill -TERM $$"]), "E: Child terminated by signal ‘Terminated’\n");
    refuses(run(&["-q", "--", "sh", "-c", "kill -9 $$"]), "");
    let missing = "E: Failed to execute “nosuchcmd”: No such file or directory\n";
    refuses(run(&["--", "nosuchcmd"]), missing);
    refuses(run(&["-q", "--", "nosuchcmd"]), missing);
    refuses(run(&["--", "/etc/passwd"]), "E: Failed to execute “/etc/passwd”: Permission denied\n");
    let nowhere = "E: Failed to change to directory ‘/nonexist’: No such file or directory\n\
        I: The directory does not exist inside the chroot.  Use the --directory option to run the command in a \
        different directory.\n";
    refuses(run(&["-d", "/nonexist", "--", "pwd"]), nowhere);
    gives(run(&["-d", "tmp", "--", "pwd"]), "/tmp\n");
    refuses(run(&["-u", "nosuchuser", "--", "id"]), "E: User ‘nosuchuser’ not found\n");
    refuses(run(&["-u", "64001", "--", "id"]), "E: User ‘64001’ not found\n");
    refuses(
        run(&["-o", "my.bad=new", "--", "true"]),
        "E: Configuration key ‘my.bad’ is not permitted to be modified.\n\
        I: The key is not present in user-modifiable-keys\n",
    );
    world.assert_nothing_left();
}

#[test]
fn dir_setuid_schroot_lets_in_whom_the_lists_let_in() {
    let world = world();
    let name = world.template.clone();
    for (caller, user) in [(BOB, "bob"), (BOB, "root"), (ALICE, "root"), (CAROL, "alice"), (DAVE, "root")] {
        refuses(schroot(&world, caller, &["-c", &name, "-u", user, "--", "id"]), NO);
    }
    refuses(schroot(&world, BOB, &["-q", "-c", &name, "--", "id"]), "");
    refuses(schroot(&world, BOB, &["-b", "-c", &name]), NO);
    gives(schroot(&world, ALICE, &["-b", "-c", &name, "-n", &format!("{name}-al")]), &format!("{name}-al\n"));
    let session = format!("{name}-al");
    for caller in [BOB, CAROL, DAVE] {
        refuses(schroot(&world, caller, &["-r", "-c", &session, "-d", "/", "--", "id"]), NO);
        refuses(schroot(&world, caller, &["-e", "-c", &session]), NO);
        refuses(schroot(&world, caller, &["--recover-session", "-c", &session]), NO);
    }
    refuses(schroot(&world, ALICE, &["-r", "-c", &session, "-u", "root", "--", "id"]), NO);
    gives(schroot(&world, 0, &["-r", "-c", &session, "--", "id", "-u"]), "0\n");
    gives(schroot(&world, ALICE, &["-e", "-c", &session]), "");
    world.assert_nothing_left();
}

#[test]
fn dir_setuid_schroot_begins_runs_shows_and_ends_a_session() {
    let world = world();
    let name = world.template.clone();
    let id = schroot(&world, ALICE, &["-v", "-c", &format!("chroot:{name}"), "--begin-session"]).ok();
    let id = String::from_utf8_lossy(&id.stdout).into_owned();
    let id = id.strip_suffix('\n').unwrap();
    assert!(id.starts_with(&name) && !id.contains(char::is_whitespace), "{id:?}");
    let named = format!("session:{id}");
    gives(schroot(&world, ALICE, &["-l", "--all-sessions"]), &format!("session:pl\nsession:{id}\n"));
    gives(schroot(&world, ALICE, &["-l", "-c", &named]), &format!("{named}\n"));
    let at = format!("/run/zchroot/mount/{id}\n");
    gives(schroot(&world, ALICE, &["--location", "--chroot", &named]), &at);
    refuses(schroot(&world, ALICE, &["--location", "-c", id]), &format!("E: {id}: Chroot not found\n"));
    for word in [id, &named] {
        gives(schroot(&world, ALICE, &["-r", "-c", word, "-d", "/", "--", "pwd"]), "/\n");
    }
    // As sbuild calls it.
    let words = ["-d", "/", "-c", id, "--run-session", "-q", "--isolate-network", "-u", "alice", "-p", "--"];
    let command = ["sh", "-c", "echo $FOO; cat /proc/self/net/dev | wc -l"];
    let run = order(&world, ALICE, &[&words[..], &command].concat()).env("FOO", "kept").run();
    gives(run, "kept\n3\n");
    gives(schroot(&world, ALICE, &["--recover-session", "-c", id]), "");
    let again = schroot(&world, ALICE, &["-b", "-c", &name, "-n", id]).exits(1);
    assert!(
        again.stdout.is_empty() && again.stderr.starts_with(&format!("E: {id}: Failed to lock chroot: "))
    );
    gives(schroot(&world, ALICE, &["-c", id, "--end-session"]), "");
    refuses(schroot(&world, ALICE, &["-e", "-c", id]), &format!("E: {id}: Chroot not found\n"));
    gives(schroot(&world, ALICE, &["-e", "--all-sessions"]), "");
    world.assert_nothing_left();
}

#[test]
fn dir_setuid_schroot_shows_a_template_as_a_chroot_and_a_source() {
    let world = world();
    let name = world.template.clone();
    let all = format!(
        "chroot:lvm\nchroot:pl\nchroot:{name}\nchroot:unstable\nchroot:unstable-source\nsource:lvm\n\
        source:{name}\nsource:unstable\n"
    );
    gives(schroot(&world, ALICE, &["-l"]), &all);
    let info = schroot(&world, ALICE, &["-i", "-c", "unstable"]).ok();
    let info = info.text();
    for line in [
        "  ─── Chroot ───",
        &format!("  Name                                 {name}"),
        "  Description                          a template",
        "  Type                                 directory",
        "  Root Users                           carol",
        "  Aliases                              unstable",
        "  Session Managed                      true",
        "  Session Cloned                       true",
        "  Filesystem Union Type                overlay",
        "  Source Root Users                    carol",
    ] {
        assert!(info.lines().any(|found| found == line), "{line:?} is not in\n{info}");
    }
    let config = schroot(&world, ALICE, &["--config", "--chroot", &name]).ok();
    assert!(config.stderr.is_empty(), "{config}");
    for key in ["type=directory", "root-users=carol", "root-groups=", "union-type=overlay"] {
        assert!(config.text().lines().any(|line| line == key), "{key}: {config}");
    }
    let session = format!("{name}-s");
    schroot(&world, ALICE, &["-b", "-c", &name, "-n", &session]).ok();
    let shown = |uid| schroot(&world, uid, &["--info", "-c", &format!("session:{session}")]).ok().text();
    let own = shown(ALICE);
    for line in [
        "  ─── Session ───",
        "  Session Purged                       true",
        &format!("  Path                                 /run/zchroot/mount/{session}"),
        "  Users                                alice",
        &format!("  Session ID                           {session}"),
    ] {
        assert!(own.lines().any(|found| found == line), "{line:?} is not in\n{own}");
    }
    assert!(!shown(BOB).contains("alice"), "whose a session is, is told to its owner and to root");
    schroot(&world, ALICE, &["-e", "-c", &session]).ok();
    world.assert_nothing_left();
}

#[test]
fn dir_setuid_schroot_a_session_that_was_begun_without_a_network_has_none() {
    let world = world();
    let id = schroot(&world, ALICE, &["-b", "--isolate-network", "-c", &world.template]).ok().text();
    let lines = ["-d", "/", "--", "sh", "-c", "cat /proc/self/net/dev | wc -l"];
    gives(schroot(&world, ALICE, &[&["-r", "-c", &id], &lines[..]].concat()), "3\n");
    gives(schroot(&world, ALICE, &["-e", "-c", &id]), "");
    world.assert_nothing_left();
}

#[test]
fn dir_setuid_schroot_shows_nobody_a_file_that_he_could_not_read() {
    let world = world();
    std::fs::create_dir(world.etc("schroot/chroot.d")).unwrap();
    let secret = "[hidden]\ntype=block-device\ndevice=/dev/x\nmount-options=-o password=hush\nusers=alice\n";
    world.write_etc("schroot/chroot.d/secret", secret);
    let closed = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(world.etc("schroot/chroot.d/secret"), closed).unwrap();
    for look in ["--config", "--info", "--list"] {
        let done = schroot(&world, ALICE, &[look, "--all"]).ok();
        assert!(!format!("{done}").contains("hush") && !done.text().contains("hidden"), "{done}");
    }
    assert!(schroot(&world, 0, &["--config", "-c", "hidden"]).ok().text().contains("password=hush"));
    world.assert_nothing_left();
}

#[test]
fn dir_setuid_schroot_says_what_it_cannot_do() {
    let world = world();
    let done = schroot(&world, ALICE, &["-c", "lvm", "--", "true"]).exits(1);
    assert!(
        done.stderr.starts_with("E: lvm: Sessions of chroots of type ‘lvm-snapshot’ are not supported\n")
    );
    refuses(
        schroot(&world, ALICE, &["-e", "-c", &format!("chroot:{}", world.template)]),
        &format!("E: chroot:{}: Chroot not found\n", world.template),
    );
    world.assert_nothing_left();
}

#[test]
fn dir_setuid_schroot_lists_a_session_whose_record_is_damaged_and_serves_the_others() {
    let world = world();
    let session = format!("{}-s", world.template);
    schroot(&world, ALICE, &["-b", "-c", &world.template, "-n", &session]).ok();
    std::fs::write(world.lib("zchroot/sessions/broken.toml"), "what\n").unwrap();
    let all = format!("session:broken\nsession:pl\nsession:{session}\n");
    gives(schroot(&world, ALICE, &["-l", "--all-sessions"]), &all);
    gives(schroot(&world, ALICE, &["-r", "-c", &session, "-d", "/", "--", "pwd"]), "/\n");
    let done = schroot(&world, ALICE, &["-e", "-c", "broken"]).exits(1);
    assert!(done.stderr.starts_with("W: broken: the record "), "{done}");
    assert!(done.stderr.ends_with("E: broken: Chroot not found\n"), "{done}");
    std::fs::remove_file(world.lib("zchroot/sessions/broken.toml")).unwrap();
    gives(schroot(&world, ALICE, &["-e", "-c", &session]), "");
    world.assert_nothing_left();
}

#[test]
fn dir_setuid_schroot_gives_a_command_the_variables_that_scripts_look_for() {
    let world = world();
    let name = world.template.clone();
    let print =
        "echo $SCHROOT_CHROOT_NAME $SCHROOT_ALIAS_NAME $SCHROOT_USER $SCHROOT_UID $HOME $FOO $LD_PRELOAD";
    let words = ["-c", "unstable", "-d", "/", "-u", "root", "--", "sh", "-c", print];
    let run = |words: &[&str]| order(&world, CAROL, words).env("FOO", "foo").env("HOME", "/x").run();
    gives(run(&words), &format!("{name} unstable carol 64003 /root\n"));
    let keeping = [&["-p"], &words[..]].concat();
    gives(run(&keeping), &format!("{name} unstable carol 64003 /x foo\n"));
    let shell = order(&world, ALICE, &["-c", &name, "-d", "/"]).input("echo $0; pwd\n").run();
    gives(shell, "-sh\n/\n");
    let shell =
        order(&world, ALICE, &["-c", &name, "-d", "/", "-s", "/usr/bin/sh", "--", ""]).input("echo $0\n");
    gives(shell.run(), "-sh\n");
    let done = order(&world, ALICE, &["-c", &name, "-d", "/", "-s", "/bin/nosuchshell"]).run();
    refuses(
        done,
        "W: Shell ‘/bin/nosuchshell’ not available: /bin/nosuchshell: Failed to stat file: No such file or directory\n\
        E: Failed to execute “/bin/nosuchshell”: No such file or directory\n",
    );
    world.assert_nothing_left();
}

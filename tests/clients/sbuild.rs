//! sbuild in its mode schroot, as an ordinary user in the group sbuild.

use crate::call::Told;
use crate::harness::both::on_both;
use crate::host::{Host, wait_for};
use crate::notes::Notes;
use crate::{package, tree};

on_both! { Host:
    clients_sbuild_builds_a_package_of_the_archive_with_its_build_dependencies
        zfs_clients_sbuild_builds_a_package_of_the_archive_with_its_build_dependencies
        builds;
    clients_sbuild_tells_of_a_build_that_fails_and_nothing_is_left
        zfs_clients_sbuild_tells_of_a_build_that_fails_and_nothing_is_left
        fails;
    clients_sbuild_ends_a_build_that_hangs_and_nothing_is_left
        zfs_clients_sbuild_ends_a_build_that_hangs_and_nothing_is_left
        hangs;
    clients_sbuild_that_is_interrupted_leaves_nothing
        zfs_clients_sbuild_that_is_interrupted_leaves_nothing
        is_interrupted;
}

/// Nothing of the archive is needed, so nothing is asked of it.
pub(crate) const ALONE: [&str; 4] =
    ["--no-run-lintian", "--no-apt-update", "--no-apt-upgrade", "--no-apt-distupgrade"];

/// A build of a package of nothing.
pub(crate) fn words<'a>(suite: &'a str, dsc: &'a str) -> Vec<&'a str> {
    [&["sbuild", "-d", suite][..], &ALONE, &[dsc]].concat()
}

/// What sbuild wrote about a build of `name`, with its version unless it chose that itself.
pub(crate) fn log(host: &Host, name: &str) -> String {
    let path = host.home().join(format!("{name}_{}.build", tree::architecture()));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn build(host: &Host, name: &str, command: &str) -> Told {
    let dsc = package::source(host.dir(), name, command);
    host.builder(&words(&tree::suite(), dsc.to_str().unwrap()))
}

fn builds(host: &Host) {
    let told = host.builder(&["sbuild", "-d", &tree::suite(), "--no-run-lintian", "sl"]);
    let log = log(host, "sl");
    assert!(told.status == Some(0) && log.contains("Status: successful"), "{told}\n{log}");
    // It knows that the session is a copy.
    for text in ["Not cleaning session: cloned chroot in use", "Setting up libncurses-dev"] {
        assert!(log.contains(text), "{text}: {log}");
    }
    // It sees its tree from outside, which older releases tell.
    assert!(!log.contains("Log filtering") || log.contains("with '<<CHROOT>>'"), "{log}");
    let built = std::fs::read_dir(host.home()).unwrap().map(|entry| entry.unwrap().file_name());
    let built: Vec<String> = built.map(|name| name.into_string().unwrap()).collect();
    assert!(built.iter().any(|name| name.starts_with("sl_") && name.ends_with(".deb")), "{built:?}");
    // The template has seen nothing of it.
    let installed =
        host.builder(&["schroot", "-c", &tree::suite(), "-d", "/", "--", "dpkg", "-s", "libncurses-dev"]);
    installed.exits(1);
    host.assert_nothing_left();
}

fn fails(host: &Host) {
    let notes = Notes::of(host);
    let told = build(host, "failing", "exit 7");
    let log = log(host, "failing_1");
    assert!(told.status == Some(2), "{told}\n{log}");
    assert!(log.contains("Status: attempted") && log.contains("Fail-Stage: build"), "{log}");
    println!("client-count: sbuild-that-fails builds=1 calls={}", notes.read().len());
    host.assert_nothing_left();
}

fn hangs(host: &Host) {
    std::fs::write(host.home().join(".sbuildrc"), "$stalled_pkg_timeout = 0.1;\n").unwrap();
    // One that hangs, and one that was left behind and does not listen.
    let told = build(host, "hanging", "(trap '' TERM HUP; sleep 1000) & sleep 1000");
    let log = log(host, "hanging_1");
    assert!(told.status == Some(2), "{told}\n{log}");
    assert!(log.contains("Build killed with signal TERM after"), "{log}");
    host.assert_nothing_left();
}

fn is_interrupted(host: &Host) {
    let dsc = package::source(host.dir(), "endless", "touch /build/at-work; sleep 1000");
    for signal in ["INT", "TERM"] {
        let build = host.as_builder(&words(&tree::suite(), dsc.to_str().unwrap())).start();
        let mark = host.at("/var/lib/sbuild/build/at-work");
        wait_for(&mark);
        std::fs::remove_file(&mark).unwrap();
        // timeout(1) hands it on to all that it started; what is in the session has a group of its own.
        host.root(&["pkill", &format!("-{signal}"), "-x", "sbuild"]);
        let told = Told::of(build);
        assert_ne!(told.status, Some(0), "{signal}: {told}");
        host.assert_nothing_left();
    }
}

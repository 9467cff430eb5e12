//! Builds at once beside updates of what they are built in.

use std::path::PathBuf;

use crate::call::Told;
use crate::harness::both::on_both;
use crate::host::{Host, wait_for};
use crate::{package, sbuild, tree};

on_both! { Host:
    clients_builds_at_once_see_one_version_each_while_the_template_is_updated
        zfs_clients_builds_at_once_see_one_version_each_while_the_template_is_updated
        builds_at_once;
}

/// A build that looks at one end of the tree, waits until the last update is done, and looks at the other end.
const LOOK: &str = "a=`cat /etc/state`; touch /build/begun-@NAME@; \
until test -e /build/updated; do sleep 0.2; done; b=`cat /srv/state`; echo \"saw $$a and $$b.\"; test \"$$a\" = \"$$b\"";
const UPDATE: &str = "echo $0 >/etc/state; sleep 1; echo $0 >/srv/state";

fn builds_at_once(host: &Host) {
    // A machine has one processor.
    let (builds, updates, together): (usize, u64, usize) =
        if host.is_on_a_pool() { (3, 2, 1) } else { (8, 5, 2) };
    let suite = tree::suite();
    let update =
        |state: &str| host.zchroot(&["-q", "update", &host.template, "--", "sh", "-c", UPDATE, state]);
    update("0").ok();
    let before = host.datasets();
    let sources: Vec<_> =
        (0..builds).map(|number| package::source(host.dir(), &format!("look{number}"), LOOK)).collect();
    // Somebody has to empty what they print into.
    let build = |dsc: &PathBuf| {
        let build = host.as_builder(&sbuild::words(&suite, dsc.to_str().unwrap())).start();
        std::thread::spawn(|| Told::of(build))
    };
    let begun = |number: usize| host.at(&format!("/var/lib/sbuild/build/begun-look{number}"));
    let (mut running, mut waiting) = (Vec::new(), sources.chunks(together));
    for number in 1..=updates {
        running.extend(waiting.next().into_iter().flatten().map(build));
        if number == updates {
            // Not all begin after the last one.
            wait_for(&begun(0));
        }
        update(&number.to_string()).ok();
    }
    running.extend(waiting.flatten().map(build));
    for number in 0..builds {
        wait_for(&begun(number));
    }
    host.write("/var/lib/sbuild/build/updated", "");
    let mut seen = Vec::new();
    for (number, build) in running.into_iter().enumerate() {
        let told = build.join().unwrap();
        let log = sbuild::log(host, &format!("look{number}_1"));
        assert!(told.status == Some(0) && log.contains("Status: successful"), "{told}\n{log}");
        let line = log.lines().find(|line| line.starts_with("saw ")).unwrap_or_else(|| panic!("{log}"));
        seen.push(line.to_owned());
    }
    host.root(&["sh", "-c", "rm /var/lib/sbuild/build/updated /var/lib/sbuild/build/begun-*"]).ok();
    host.assert_nothing_left();
    seen.sort();
    seen.dedup();
    println!("client-count: builds={builds} updates={updates} versions-seen={}", seen.len());
    assert_eq!(host.generation(), 2 + updates);
    assert!(!host.is_on_a_pool() || seen.len() > 1, "the last one began after the last update: {seen:?}");
    assert_versions_alone(host, &before);
}

/// What there is on a pool differs from what there was by versions alone: a snapshot each, all of the newest one's head.
fn assert_versions_alone(host: &Host, before: &[String]) {
    if !host.is_on_a_pool() {
        return;
    }
    let of_template = |name: &&String| name.starts_with(&format!("/templates/{}/", host.template));
    let (versions, after) = (host.versions(), host.datasets());
    let (mut ours, others): (Vec<&String>, Vec<&String>) = after.iter().partition(of_template);
    assert_eq!(others, before.iter().filter(|name| !of_template(name)).collect::<Vec<_>>());
    let head = format!("/templates/{}/{}", host.template, versions[0]);
    let mut expected: Vec<String> = versions.iter().map(|version| format!("{head}@{version}")).collect();
    expected.push(head);
    ours.sort();
    expected.sort();
    assert_eq!(ours, expected.iter().collect::<Vec<_>>());
}

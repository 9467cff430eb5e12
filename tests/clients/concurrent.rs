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
    let (builds, updates): (usize, u64) = if host.is_on_a_pool() { (3, 2) } else { (8, 5) };
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
    // Two begin before each of the first updates, so all are there when the last is made.
    let (mut running, mut waiting) = (Vec::new(), sources.chunks(2));
    for number in 1..=updates {
        running.extend(waiting.next().into_iter().flatten().map(build));
        update(&number.to_string()).ok();
    }
    for number in 0..builds {
        wait_for(&host.at(&format!("/var/lib/sbuild/build/begun-look{number}")));
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
    if host.is_on_a_pool() {
        let mut made = host.datasets();
        made.retain(|name| !before.contains(name));
        let of = |id: &String| {
            let head = format!("/templates/{}/{id}", host.template);
            [format!("{head}@{id}"), head]
        };
        let versions = host.versions();
        let mut expected: Vec<String> =
            versions.iter().take(usize::try_from(updates).unwrap()).flat_map(of).collect();
        made.sort();
        expected.sort();
        assert_eq!(made, expected);
    }
}

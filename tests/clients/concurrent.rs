//! Builds at once beside updates of what they are built in.

use std::path::PathBuf;

use crate::call::Told;
use crate::host::{Host, wait_for};
use crate::{package, sbuild, tree};

const BUILDS: usize = 8;
const UPDATES: usize = 5;
/// A build that looks at one end of the tree, waits until the last update is done, and looks at the other end.
const LOOK: &str = "a=`cat /etc/state`; touch /build/begun-@NAME@; \
until test -e /build/updated; do sleep 0.2; done; b=`cat /srv/state`; echo \"saw $$a and $$b.\"; test \"$$a\" = \"$$b\"";
const UPDATE: &str = "echo $0 >/etc/state; sleep 1; echo $0 >/srv/state";

#[test]
fn clients_builds_at_once_see_one_version_each_while_the_template_is_updated() {
    let host = Host::ours();
    let suite = tree::suite();
    let update =
        |state: &str| host.zchroot(&["-q", "update", &host.template, "--", "sh", "-c", UPDATE, state]);
    update("0").ok();
    let sources: Vec<_> =
        (0..BUILDS).map(|number| package::source(host.dir(), &format!("look{number}"), LOOK)).collect();
    // Somebody has to empty what they print into.
    let build = |dsc: &PathBuf| {
        let build = host.as_builder(&sbuild::words(&suite, dsc.to_str().unwrap())).start();
        std::thread::spawn(|| Told::of(build))
    };
    // Two begin before each of the first updates, so all are there when the last is made.
    let (mut builds, mut waiting) = (Vec::new(), sources.chunks(2));
    for number in 1..=UPDATES {
        builds.extend(waiting.next().into_iter().flatten().map(build));
        update(&number.to_string()).ok();
    }
    for number in 0..BUILDS {
        wait_for(&host.at(&format!("/var/lib/sbuild/build/begun-look{number}")));
    }
    host.write("/var/lib/sbuild/build/updated", "");
    let mut seen = Vec::new();
    for (number, build) in builds.into_iter().enumerate() {
        let told = build.join().unwrap();
        let log = sbuild::log(&host, &format!("look{number}_1"));
        assert!(told.status == Some(0) && log.contains("Status: successful"), "{told}\n{log}");
        let line = log.lines().find(|line| line.starts_with("saw ")).unwrap_or_else(|| panic!("{log}"));
        seen.push(line.to_owned());
    }
    host.root(&["sh", "-c", "rm /var/lib/sbuild/build/updated /var/lib/sbuild/build/begun-*"]).ok();
    host.assert_nothing_left();
    let history = host.zchroot(&["history", &host.template, "--json"]).ok();
    let history: serde_json::Value = serde_json::from_str(history.text()).unwrap();
    seen.sort();
    seen.dedup();
    println!("client-count: builds={BUILDS} updates={UPDATES} versions-seen={}", seen.len());
    assert_eq!(history["versions"][0]["generation"], 2 + UPDATES, "{history}");
}

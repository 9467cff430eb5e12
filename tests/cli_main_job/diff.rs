//! What differs between versions, and between a session and its base.

use serde_json::Value;

use crate::harness::Installation;

/// A dpkg status with packages `name version`.
fn status(packages: &[(&str, &str)]) -> String {
    let stanza = |(name, version): &(&str, &str)| {
        format!("Package: {name}\nStatus: install ok installed\nArchitecture: amd64\nVersion: {version}\n\n")
    };
    packages.iter().map(stanza).collect()
}

fn update(host: &Installation, script: &str) {
    host.zchroot(["update", "demo", "-q", "--", "sh", "-c", script]).ok();
}

fn set_packages(host: &Installation, packages: &[(&str, &str)]) {
    let text = status(packages);
    let script = format!("mkdir -p /var/lib/dpkg; cat > /var/lib/dpkg/status <<'END'\n{text}END");
    update(host, &script);
}

#[test]
fn dir_a_diff_of_two_versions_names_what_was_added_removed_and_changed_and_how() {
    let host = Installation::with_demo();
    update(
        &host,
        "echo 2 > /etc/generation; chmod 600 /etc/passwd; ln -sf nowhere /usr/bin/awk; mkdir /srv/new; \
         ln /etc/group /srv/new/link; mknod /srv/null c 1 3; rm /usr/bin/wc",
    );
    let expected = "\
M /etc/generation  content
M /etc/passwd  mode 0644 -> 0600
+ /srv/new/
+ /srv/new/link
+ /srv/null
M /usr/bin/awk  target busybox -> nowhere
- /usr/bin/wc";
    host.zchroot(["diff", "demo"]).ok().prints(expected).says("3 added, 1 removed, 3 changed");
    host.zchroot(["diff", "demo", "1"]).ok().prints(expected);
    host.zchroot(["diff", "demo", "1", "2", "--full", "-q"]).ok().prints(expected);
    host.zchroot(["diff", "demo", "2", "2"]).ok().prints("").says("0 added, 0 removed, 0 changed");
    host.zchroot(["diff", "demo", "2", "1", "--stat"]).ok().prints("1 added, 3 removed, 3 changed");
    let json = host.zchroot(["diff", "demo", "1", "2", "--json"]).json();
    assert_eq!(json["format"], 1);
    let diff = &json["diff"];
    assert_eq!(diff["from"].as_str().unwrap(), host.versions("demo")[0]);
    assert_eq!(diff["to"].as_str().unwrap(), host.current("demo"));
    assert_eq!(diff["counts"], serde_json::json!({ "added": 3, "removed": 1, "changed": 3 }));
    assert_eq!(diff["packages"], Value::Null);
    let files = diff["files"].as_array().unwrap();
    assert_eq!(
        files[1],
        serde_json::json!({ "path": "/etc/passwd", "change": "changed", "type": "file",
            "aspects": [{ "what": "mode", "old": "0644", "new": "0600" }] })
    );
    assert_eq!(files[4]["type"], "character device");
    host.assert_nothing_left();
}

#[test]
fn dir_a_diff_sums_packages_up() {
    let host = Installation::with_demo();
    host.zchroot(["diff", "demo", "1", "1", "--packages"]).exits(1).says("no /var/lib/dpkg/status");
    set_packages(&host, &[("a", "1.9"), ("b", "2"), ("gone", "1")]);
    set_packages(&host, &[("a", "1.10"), ("b", "2~rc1"), ("come", "3")]);
    let expected = "\
package a:amd64 1.9 -> 1.10 upgraded
package b:amd64 2 -> 2~rc1 downgraded
package come:amd64 3 added
package gone:amd64 1 removed";
    host.zchroot(["diff", "demo", "--packages"])
        .ok()
        .prints(expected)
        .says("packages: 1 added, 1 removed, 1 upgraded, 1 downgraded");
    let all = host.zchroot(["diff", "demo"]).ok().text();
    assert!(all.starts_with("M /var/lib/dpkg/status  content\n") && all.ends_with(expected), "{all}");
    let json = host.zchroot(["diff", "demo", "--packages", "--json"]).json();
    assert_eq!(json["diff"]["packages"][0]["old"], "1.9");
    assert_eq!(json["diff"]["files"], Value::Null);
    assert_eq!(json["diff"]["counts"], Value::Null);
}

#[test]
fn dir_a_diff_of_a_session_shows_what_was_done_in_it() {
    let host = Installation::with_demo();
    for (overlay, name) in [("disk", "on-disk"), ("tmpfs", "in-memory")] {
        host.define("demo", &format!("version = 1\nprofile = \"minimal\"\noverlay = \"{overlay}\"\n"));
        host.zchroot(["begin", "demo", "-n", name]).ok();
        let before = host.zchroot(["diff", name, "-q"]).ok().text();
        let script = "echo x > /srv/new; rm /etc/generation; rm -r /home; mkdir /home; echo y > /home/y; \
                      mv /usr/sbin /usr/renamed; chmod 700 /root; echo 'root:x:0:0:root:/root:/bin/sh' > /etc/passwd";
        host.zchroot(["exec", name, "-d", "/", "--", "sh", "-c", script]).ok();
        let after = host.zchroot(["diff", name, "-q"]).ok().text();
        let new: Vec<&str> = after.lines().filter(|line| !before.lines().any(|old| old == *line)).collect();
        assert_eq!(
            new,
            ["- /etc/generation", "+ /home/y", "+ /srv/new", "+ /usr/renamed/", "- /usr/sbin/"],
            "{after}"
        );
        let full = host.zchroot(["diff", name, "-q", "--full"]).ok().text();
        assert_eq!(full, after, "a walk through everything finds the same");
        host.zchroot(["diff", name, "--json"]).json()["diff"]["to"].is_null().then_some(()).unwrap();
        host.zchroot(["end", name]).ok();
    }
    host.assert_nothing_left();
}

#[test]
fn dir_a_diff_of_a_source_session_is_what_its_commit_would_change() {
    let host = Installation::with_demo();
    host.zchroot(["source", "begin", "demo", "-n", "s"]).ok();
    host.zchroot(["diff", "s"]).ok().says("0 removed, 0 changed");
    host.zchroot(["source", "exec", "s", "--", "sh", "-c", "echo 2 > /etc/generation; mkdir /srv/d"]).ok();
    let shown = host.zchroot(["diff", "s", "-q"]).ok().text();
    host.zchroot(["source", "commit", "s"]).ok();
    assert_eq!(shown, "M /etc/generation  content\n+ /srv/d/");
    host.zchroot(["diff", "demo"]).ok().prints(&shown);
    host.assert_nothing_left();
}

#[test]
fn dir_a_tree_of_symlinks_fifos_and_devices_neither_leads_out_nor_blocks() {
    let host = Installation::with_demo();
    update(&host, "mkdir -p /var/lib; ln -s /etc /var/lib/dpkg; cat /etc/passwd > /etc/status");
    update(&host, "rm /var/lib/dpkg; mkdir /var/lib/dpkg; mknod /var/lib/dpkg/status p");
    update(&host, "rm -r /var/lib/dpkg; mknod /srv/zero c 1 5; ln -s / /srv/root");
    for (a, b) in [("1", "2"), ("2", "3"), ("3", "4"), ("1", "4")] {
        host.zchroot(["diff", "demo", a, b]).ok();
    }
    host.zchroot(["diff", "demo", "2", "3", "--packages"]).exits(1).says("no /var/lib/dpkg/status");
}

#[test]
fn dir_what_is_wrong_with_a_diff_is_said_with_a_way_out() {
    let host = Installation::with_demo();
    host.zchroot(["diff", "demo"]).exits(4).says("has no version before").says("hint: zchroot history demo");
    host.zchroot(["diff", "demo", "7"]).exits(4).says("has no generation 7; there is 1 (current)");
    host.zchroot(["diff", "nothing"]).exits(4).says("nothing");
    host.zchroot(["diff", "demo", "1", "20200101-000000-000-aaaa"]).exits(4).says("20200101");
    host.zchroot(["diff", "demo", "--stat", "--packages"]).exits(2);
    host.zchroot(["begin", "demo", "-n", "s"]).ok();
    let at = host.at("/run/zchroot/mount/s");
    rustix::mount::unmount(&at, rustix::mount::UnmountFlags::DETACH).unwrap();
    host.zchroot(["diff", "s"])
        .exits(3)
        .says("session s does not stand")
        .says("hint: as root: zchroot recover");
    host.zchroot(["end", "s"]).ok();
    host.assert_nothing_left();
}

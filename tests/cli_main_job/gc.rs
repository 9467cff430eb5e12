//! gc: what nothing refers to goes when it is old enough, and not before.

use crate::harness::Installation;

/// A session's tree and a draft that no record knows of, as a crash of an older program would leave them.
fn orphans(host: &Installation) {
    host.zchroot(["begin", "demo", "-n", "lost"]).ok();
    host.zchroot(["source", "begin", "demo", "-n", "lost-source"]).ok();
    for name in ["lost", "lost-source"] {
        nix::mount::umount2(
            &host.at(&format!("/run/zchroot/mount/{name}/sys")),
            nix::mount::MntFlags::MNT_DETACH,
        )
        .unwrap();
        std::fs::remove_file(host.at(&format!("/var/lib/zchroot/sessions/{name}.toml"))).unwrap();
        std::fs::remove_file(host.at(&format!("/run/zchroot/lock/session-{name}"))).unwrap();
    }
}

#[test]
fn dir_an_orphan_is_kept_while_it_is_young_and_goes_when_it_is_old() {
    let host = Installation::with_demo();
    orphans(&host);
    let before = host.left_over();
    let kept = host.zchroot(["gc"]).ok();
    assert!(kept.text().contains("kept session tree lost: no record, but only"), "{kept}");
    assert!(!kept.text().contains("removed"), "{kept}");
    assert_eq!(host.left_over(), before);

    host.configure("version = 1\ngrace = \"0s\"\n");
    let dry = host.zchroot(["gc", "--dry-run"]).ok().says("dry run: nothing was removed");
    for line in ["would remove session tree lost:", "would remove draft demo/", "would remove mount lost:"] {
        assert!(dry.text().contains(line), "{line}: {dry}");
    }
    assert_eq!(host.left_over(), before, "a dry run removes nothing");
    let gone = host.zchroot(["gc"]).ok();
    assert!(gone.text().contains("removed session tree lost: no record refers to it"), "{gone}");
    assert!(gone.text().contains("removed cgroup lost: no record refers to it"), "{gone}");
    host.assert_nothing_left();
    host.zchroot(["gc"]).ok().prints("");
}

#[test]
fn dir_a_cgroup_without_a_record_goes_when_nobody_is_in_it() {
    let host = Installation::with_demo();
    host.configure("version = 1\ngrace = \"0s\"\n");
    host.zchroot(["begin", "demo", "-n", "work"]).ok();
    let mut inside =
        host.order(["exec", "work", "-d", "/", "--", "sh", "-c", "echo in; read -r line; true"]).start();
    assert_eq!(inside.line(), "in");
    let path = host.at("/var/lib/zchroot/sessions/work.toml");
    std::fs::remove_file(&path).unwrap();
    let kept = host.zchroot(["gc"]).ok().text();
    assert!(
        kept.contains("kept cgroup work: no record refers to it, but there are processes in it"),
        "{kept}"
    );
    inside.finish().ok();
    let gone = host.zchroot(["gc"]).ok().text();
    assert!(gone.contains("removed cgroup work: no record refers to it"), "{gone}");
    host.assert_nothing_left();
}

#[test]
fn dir_empty_mount_points_and_stale_mounts_without_a_record_go() {
    let host = Installation::with_demo();
    host.configure("version = 1\ngrace = \"0s\"\n");
    host.zchroot(["begin", "demo", "-n", "work"]).ok();
    let (empty, stale) = (host.at("/run/zchroot/mount/empty"), host.at("/run/zchroot/mount/stale"));
    for path in [&empty, &stale] {
        std::fs::create_dir(path).unwrap();
    }
    nix::mount::mount(Some("x"), &stale, Some("tmpfs"), nix::mount::MsFlags::empty(), None::<&str>).unwrap();
    let temp = host.at("/run/zchroot/mount/.tmp-stale");
    std::fs::create_dir(&temp).unwrap();
    let gone = host.zchroot(["gc"]).ok().text();
    for line in ["removed mount empty:", "removed mount stale:", "removed temp file "] {
        assert!(gone.contains(line), "{line}: {gone}");
    }
    assert!(!empty.exists() && !stale.exists() && !temp.exists());
    host.zchroot(["exec", "work", "-d", "/", "--", "true"]).ok();
    host.zchroot(["end", "work"]).ok();
    host.assert_nothing_left();
}

#[test]
fn dir_what_is_noted_of_commands_of_a_session_that_is_no_more_goes_when_it_is_old() {
    let host = Installation::with_demo();
    host.write("/var/lib/zchroot/sessions/gone.runs/20260101-v.20260101-r", "");
    let kept = host.zchroot(["gc"]).ok().text();
    assert!(kept.contains("kept commands of gone: no record, but only"), "{kept}");
    host.configure("version = 1\ngrace = \"0s\"\n");
    let gone = host.zchroot(["gc"]).ok().text();
    assert!(gone.contains("removed commands of gone: no record refers to it"), "{gone}");
    host.assert_nothing_left();
}

#[test]
fn dir_gc_leaves_everything_that_has_a_record() {
    let host = Installation::with_demo();
    host.configure("version = 1\ngrace = \"0s\"\n");
    host.zchroot(["begin", "demo", "-n", "mine"]).ok();
    host.zchroot(["source", "begin", "demo", "-n", "work"]).ok();
    host.zchroot(["source", "exec", "work", "--", "touch", "/srv/work"]).ok();
    let items = host.zchroot(["gc", "--json"]).json();
    for item in items["items"].as_array().unwrap() {
        assert_eq!((&item["action"], &item["reason"]), (&"keep".into(), &"a record refers to it".into()));
    }
    assert_eq!(items["items"].as_array().unwrap().len(), 4, "two mounts, a tree, a draft: {items}");
    host.zchroot(["exec", "mine", "-d", "/", "--", "true"]).ok();
    host.zchroot(["source", "exec", "work", "--", "ls", "/srv/work"]).ok();
    host.zchroot(["source", "commit", "work"]).ok();
    host.run_in_demo("ls /srv/work").ok();
    host.zchroot(["end", "mine"]).ok();
    host.assert_nothing_left();
}

#[test]
fn dir_gc_removes_nothing_while_a_record_cannot_be_read() {
    let host = Installation::with_demo();
    host.configure("version = 1\ngrace = \"0s\"\n");
    orphans(&host);
    host.write("/var/lib/zchroot/sessions/torn.toml", "format = ");
    let before = host.left_over();
    host.zchroot(["gc"]).exits(1).says("torn.toml is damaged");
    assert_eq!(host.left_over(), before);
}

#[test]
fn dir_temp_files_of_crashed_calls_go_when_they_are_old() {
    let host = Installation::with_demo();
    let temps = [
        "/var/lib/zchroot/sessions/.tmp-work.toml-4711",
        "/var/lib/zchroot/templates/demo/.tmp-current-4711",
        "/var/lib/zchroot/templates/demo/versions/.tmp-x.toml-4711",
        "/etc/zchroot/templates.d/.tmp-demo.toml-4711",
        "/run/zchroot/mount/.tmp-work",
    ];
    temps.iter().for_each(|path| host.write(path, "half"));
    let young = host.zchroot(["gc"]).ok().text();
    host.configure("version = 1\ngrace = \"0s\"\n");
    let old = host.zchroot(["gc"]).ok().text();
    for path in temps {
        let at = host.at(path);
        assert!(young.contains(&format!("kept temp file {}: no record, but only", at.display())), "{young}");
        assert!(old.contains(&format!("removed temp file {}", at.display())), "{old}");
        assert!(!at.exists(), "{path} stays");
    }
    host.run_in_demo("true").ok();
    host.assert_nothing_left();
}

#[test]
fn dir_a_session_that_was_recorded_as_unmounted_is_not_entered_but_mounted_by_recover() {
    let host = Installation::with_demo();
    host.zchroot(["source", "begin", "demo", "-n", "work"]).ok();
    host.zchroot(["source", "exec", "work", "--", "touch", "/srv/mine"]).ok();
    let record = "/var/lib/zchroot/sessions/work.toml";
    let text = host.read(record).replace("state = \"ready\"", "state = \"unmounted\"");
    host.write(record, &text);
    host.zchroot(["source", "exec", "work", "--", "true"])
        .exits(125)
        .says("it is unmounted\nhint: as root: zchroot recover");
    host.zchroot(["source", "commit", "work"])
        .exits(3)
        .says("zchroot: source session work is not ready to be committed\nhint: as root: zchroot recover\n");
    host.zchroot(["recover"]).ok().prints("work: ready again");
    host.zchroot(["source", "exec", "work", "--", "ls", "/srv/mine"]).ok();
    host.zchroot(["source", "abort", "work"]).ok();
    host.assert_nothing_left();
}

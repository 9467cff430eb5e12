//! `zchroot init` and `zchroot create`.

use crate::harness::{Installation, MINIMAL, tree};

#[test]
fn dir_init_says_what_it_made_and_then_that_there_is_nothing_to_do() {
    let host = Installation::empty();
    let first = host.zchroot(["init"]).ok();
    assert!(first.text().contains("/var/lib/zchroot/sessions"), "{first}");
    host.zchroot(["init"]).ok().prints("").says("nothing to do");
    host.assert_nothing_left();
}

#[test]
fn dir_create_from_a_directory_keeps_owners_modes_and_links() {
    let host = Installation::new();
    host.define("demo", MINIMAL);
    let source = host.path().join("source");
    tree::make(&source);
    std::fs::write(source.join("srv/one"), "one").unwrap();
    std::fs::hard_link(source.join("srv/one"), source.join("srv/two")).unwrap();
    std::os::unix::fs::chown(source.join("srv/one"), Some(1234), Some(4321)).unwrap();
    host.create("demo");
    let look = "stat -c '%u %g %h' /srv/two; stat -c %a /root /tmp; readlink /bin";
    host.run_in_demo(look).ok().prints("1234 4321 2\n700\n1777\nusr/bin");
    host.assert_nothing_left();
}

#[test]
fn dir_create_from_a_tar_archive_relative_to_where_the_caller_is() {
    let host = Installation::new();
    host.define("demo", MINIMAL);
    let source = host.path().join("source");
    tree::make(&source);
    tree::pack(&source, &host.path().join("demo.tar"));
    host.order(["create", "demo", "--from", "demo.tar", "-m", "from a tar"])
        .current_dir(host.path())
        .run()
        .ok();
    host.run_in_demo("cat /etc/generation").ok().prints("1");
    let history = host.zchroot(["history", "demo", "--json"]).json();
    assert_eq!(history["versions"][0]["message"], "from a tar");
    host.assert_nothing_left();
}

#[test]
fn dir_create_without_a_definition_writes_one_that_lets_root_alone_in() {
    let host = Installation::new();
    let source = host.path().join("source");
    tree::make(&source);
    host.zchroot(["create", "demo", "--from", source.to_str().unwrap()]).ok().says("templates.d/demo.toml");
    let info = host.zchroot(["info", "demo", "--json"]).json();
    assert_eq!(info["template"]["definition"]["name"], "demo");
    host.zchroot(["check"]).ok();
    for list in ["users", "groups", "root-users", "root-groups"] {
        assert!(host.read("/etc/zchroot/templates.d/demo.toml").contains(&format!("{list} = []")), "{list}");
    }
    host.assert_nothing_left();
}

#[test]
fn dir_a_template_is_created_once() {
    let host = Installation::with_demo();
    let again = host.zchroot(["create", "demo", "--from", host.path().join("source").to_str().unwrap()]);
    again.exits(1).says("template demo exists already").says("hint: zchroot update demo");
    assert_eq!(host.versions("demo").len(), 1);
    host.assert_nothing_left();
}

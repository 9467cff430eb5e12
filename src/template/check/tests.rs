use super::super::fixture::{FewAccounts, Host, shipped};
use super::*;

fn found(host: &Host) -> Vec<Finding> {
    check_with(&host.loader(), &FewAccounts)
}

fn said(host: &Host) -> String {
    let lines: Vec<_> = found(host).iter().map(|finding| host.plain(&finding.to_string())).collect();
    lines.join("\n")
}

const FINE: &str = "version = 1\nusers = [\"alice\"]\nprofile = \"own\"\n";
const PROFILE: (&str, &str) = ("profiles/own.toml", "version = 1");

#[test]
fn a_host_without_a_configuration_has_nothing_wrong() {
    assert_eq!(said(&Host::bare()), "");
}

#[test]
fn what_is_right_is_not_mentioned() {
    let host = Host::with(&[("zchroot.toml", "version = 1"), ("templates.d/sid.toml", FINE), PROFILE]);
    assert_eq!(said(&host), "");
}

#[test]
fn sys_root_the_public_check_trusts_what_belongs_to_root() {
    let host = Host::with(&[("templates.d/sid.toml", FINE), PROFILE]);
    assert_eq!(check(host.layout(), &FewAccounts), []);
}

#[test]
fn what_is_shipped_has_nothing_wrong_on_a_host_with_its_groups() {
    let host = Host::bare();
    for dir in ["", "templates.d", "profiles"] {
        for (name, text) in shipped(dir) {
            host.write(&format!("{dir}/{name}"), &text);
        }
    }
    let wrong: Vec<_> =
        found(&host).into_iter().filter(|finding| !finding.diagnostic.message.contains("/home")).collect();
    assert_eq!(wrong, []);
}

#[test]
fn every_broken_file_is_an_error_with_its_place() {
    let host = Host::with(&[
        ("zchroot.toml", "version = 1\nstore = \"zfs\""),
        ("templates.d/a.toml", "version = 1\nusrs = []"),
        ("templates.d/b.toml", FINE),
        ("templates.d/c.toml", FINE),
        ("profiles/own.toml", "version = 2"),
    ]);
    host.set_mode("templates.d/c.toml", 0o666);
    assert!(found(&host).iter().all(|finding| finding.severity == Severity::Error));
    insta::assert_snapshot!(said(&host), @r##"
    /etc/zchroot/profiles/own.toml:1:11: error: version: this program reads version = 1 only
        version = 2
                  ^
    /etc/zchroot/templates.d/a.toml:2:1: error: unknown field `usrs`, expected one of `version`, `description`, `profile`, `users`, `groups`, `root-users`, `root-groups`, `aliases`, `shell`, `preserve-environment`, `net`, `pid`, `ipc`, `uts`, `overlay`, `overlay-size`, `quota`, `keep`, `keep-for`, `setuid`, `source`
        usrs = []
        ^^^^
    /etc/zchroot/templates.d/c.toml: error: is not to be trusted: everybody may write it (mode 0666)
    /etc/zchroot/zchroot.toml:2:9: error: store: "zfs" needs a table [zfs] that says pool = "NAME"
        store = "zfs"
                ^^^^^
    "##);
}

#[test]
fn names_that_are_skipped_are_told() {
    let host = Host::with(&[
        ("zchroot.conf", ""),
        (".git/config", ""),
        ("templates.d/foo.toml~", ""),
        ("templates.d/.hidden", ""),
        ("templates.d/a.toml.dpkg-old", ""),
        ("templates.d/README", ""),
        ("profiles/-x.toml", ""),
    ]);
    insta::assert_snapshot!(said(&host), @r##"
    /etc/zchroot/.git: note: is skipped: nothing reads it
    /etc/zchroot/profiles/-x.toml: warning: is skipped: its name is not of the form NAME.toml
    /etc/zchroot/templates.d/.hidden: note: is skipped: its name is not of the form NAME.toml
    /etc/zchroot/templates.d/README: warning: is skipped: its name is not of the form NAME.toml
    /etc/zchroot/templates.d/a.toml.dpkg-old: note: is skipped: its name is not of the form NAME.toml
    /etc/zchroot/templates.d/foo.toml~: note: is skipped: its name is not of the form NAME.toml
    /etc/zchroot/zchroot.conf: warning: is skipped: nothing reads it
    "##);
}

#[test]
fn lists_are_held_against_the_host() {
    let host = Host::with(&[
        PROFILE,
        (
            "templates.d/a.toml",
            "version = 1\nprofile = \"own\"\nusers = [\"alice\", \"zoe\"]\nroot-groups = [\"sudo\", \"wheel\"]\n\
             [source]\nroot-users = [\"carol\"]\ngroups = [\"ops\"]",
        ),
        ("templates.d/b.toml", "version = 1\nprofile = \"own\"\n[source]\nusers = [\"alice\"]"),
    ]);
    assert!(found(&host).iter().all(|finding| finding.severity == Severity::Warning));
    insta::assert_snapshot!(said(&host), @r##"
    /etc/zchroot/templates.d/a.toml:3:19: warning: users: this host has no user zoe
        users = ["alice", "zoe"]
                          ^^^^^
    /etc/zchroot/templates.d/a.toml:4:24: warning: root-groups: this host has no group wheel
        root-groups = ["sudo", "wheel"]
                               ^^^^^^^
    /etc/zchroot/templates.d/a.toml:6:15: warning: source.root-users: this host has no user carol
        root-users = ["carol"]
                      ^^^^^^^
    /etc/zchroot/templates.d/a.toml:7:11: warning: source.groups: this host has no group ops
        groups = ["ops"]
                  ^^^^^
    /etc/zchroot/templates.d/b.toml: warning: nobody but root may use this template: users, groups, root-users and root-groups are empty
    "##);
}

#[test]
fn a_profile_that_is_not_there_is_an_error() {
    let host = Host::with(&[("templates.d/a.toml", FINE)]);
    insta::assert_snapshot!(said(&host), @r##"
    /etc/zchroot/templates.d/a.toml:3:11: error: profile: there is no profile own
        profile = "own"
                  ^^^^^
    "##);
}

#[test]
fn aliases_may_not_clash_with_names_or_each_other() {
    let text = |aliases: &str| format!("{FINE}aliases = [{aliases}]");
    let host = Host::with(&[
        PROFILE,
        ("templates.d/a.toml", &text("\"x\", \"b\", \"a\"")),
        ("templates.d/b.toml", &text("\"y\", \"y\", \"x\"")),
    ]);
    insta::assert_snapshot!(said(&host), @r##"
    /etc/zchroot/templates.d/a.toml:4:17: error: aliases: b is the name of another template
        aliases = ["x", "b", "a"]
                        ^^^
    /etc/zchroot/templates.d/a.toml:4:22: warning: aliases: a is the template's own name
        aliases = ["x", "b", "a"]
                             ^^^
    /etc/zchroot/templates.d/b.toml:4:17: warning: aliases: y stands there twice
        aliases = ["y", "y", "x"]
                        ^^^
    /etc/zchroot/templates.d/b.toml:4:22: error: aliases: x is an alias of a too
        aliases = ["y", "y", "x"]
                             ^^^
    "##);
}

#[test]
fn sources_that_the_host_does_not_have_are_told() {
    let profile = "version = 1\n[[mount]]\nkind = \"proc\"\n[[mount]]\nkind = \"bind\"\nsource = \"/nosuch/a\"\n\
                   [[mount]]\nkind = \"rbind\"\nsource = \"/nosuch/b\"\noptional = true\n[[mount]]\nkind = \"bind\"\n\
                   source = \"/\"\ntarget = \"/host\"\n[[file]]\nsource = \"/nosuch/c\"\n[[file]]\n\
                   source = \"/nosuch/d\"\noptional = true\n[[file]]\nsource = \"/etc/passwd/x\"\n";
    let host = Host::with(&[("profiles/own.toml", profile)]);
    insta::assert_snapshot!(said(&host), @r##"
    /etc/zchroot/profiles/own.toml:6:10: warning: mount.source: /nosuch/a is not on this host; with optional = true it would be left out
        source = "/nosuch/a"
                 ^^^^^^^^^^^
    /etc/zchroot/profiles/own.toml:16:10: warning: file.source: /nosuch/c is not on this host; with optional = true it would be left out
        source = "/nosuch/c"
                 ^^^^^^^^^^^
    /etc/zchroot/profiles/own.toml:21:10: warning: file.source: /etc/passwd/x cannot be looked at: Not a directory (os error 20)
        source = "/etc/passwd/x"
                 ^^^^^^^^^^^^^^^
    "##);
}

#[test]
fn an_overlay_on_zfs_is_told_to_have_no_effect() {
    let host = Host::with(&[
        ("zchroot.toml", "version = 1\nstore = \"zfs\"\n[zfs]\npool = \"tank\""),
        ("templates.d/a.toml", &format!("{FINE}overlay = \"tmpfs\"")),
        ("templates.d/b.toml", FINE),
        PROFILE,
    ]);
    insta::assert_snapshot!(said(&host), @r##"
    /etc/zchroot/templates.d/a.toml:4:11: note: overlay: has no effect with the store zfs
        overlay = "tmpfs"
                  ^^^^^^^
    "##);
}

#[test]
fn directories_that_cannot_be_read_are_errors() {
    let host = Host::with(&[("templates.d", ""), PROFILE]);
    host.set_mode("profiles", 0o777);
    insta::assert_snapshot!(said(&host), @r##"
    /etc/zchroot/profiles: error: is not to be trusted: everybody may write it (mode 0777)
    /etc/zchroot/templates.d: error: is not to be trusted: it is no directory, and a symbolic link is not followed
    "##);
    host.set_mode("", 0o777);
    assert_eq!(found(&host).len(), 1);
}

use proptest::prelude::*;

use super::super::fixture::{faults, shipped};
use super::*;

fn parse(text: &str) -> Result<Template, Fault> {
    Template::parse("sid".parse().unwrap(), text)
}

fn names(access: &Access) -> [Vec<&str>; 4] {
    [&access.users, &access.groups, &access.root_users, &access.root_groups]
        .map(|list| list.iter().map(AccountName::as_str).collect())
}

#[test]
fn a_template_of_nothing_but_a_version_has_the_defaults() {
    let template = parse("version = 1").unwrap();
    let expected = Template {
        name: "sid".parse().unwrap(),
        description: String::new(),
        aliases: Vec::new(),
        profile: "default".parse().unwrap(),
        access: Access::default(),
        source: SourceAccess::default(),
        shell: None,
        preserve_environment: false,
        net: Net::Host,
        pid: false,
        ipc: false,
        uts: false,
        overlay: Overlay::Disk,
        quota: None,
        keep: NonZeroU32::new(5).unwrap(),
        keep_for: None,
        setuid: true,
    };
    assert_eq!(template, expected);
    assert!(template.access.is_empty());
}

#[test]
fn every_key_of_a_template_is_read() {
    let template = parse(
        r#"
        version = 1
        description = "Debian – unstable"
        profile = "sbuild"
        users = ["u1", "u2"]
        groups = ["g"]
        root-users = ["ru"]
        root-groups = ["rg"]
        aliases = ["unstable", "sid-amd64-sbuild"]
        shell = "/bin//zsh"
        preserve-environment = true
        net = "none"
        pid = true
        ipc = true
        uts = true
        overlay = "tmpfs"
        overlay-size = "2G"
        quota = "10G"
        keep = 1
        keep-for = "30d"
        setuid = false
        [source]
        users = ["su"]
        groups = ["sg"]
        root-users = ["sru"]
        root-groups = ["srg"]
        rollback-users = ["ou"]
        rollback-groups = ["og"]
        commit-on-end = "always"
        "#,
    )
    .unwrap();
    assert_eq!(template.description, "Debian – unstable");
    assert_eq!(template.profile.as_str(), "sbuild");
    assert_eq!(names(&template.access), [vec!["u1", "u2"], vec!["g"], vec!["ru"], vec!["rg"]]);
    assert_eq!(names(&template.source.access), [vec!["su"], vec!["sg"], vec!["sru"], vec!["srg"]]);
    let rollback =
        [&template.source.rollback_users, &template.source.rollback_groups].map(|list| list[0].as_str());
    assert_eq!(rollback, ["ou", "og"]);
    assert_eq!(template.source.commit_on_end, CommitOnEnd::Always);
    assert_eq!(template.keep_for, Some(Period::from_secs(30 * 86_400)));
    let aliases: Vec<_> = template.aliases.iter().map(TemplateName::as_str).collect();
    assert_eq!(aliases, ["unstable", "sid-amd64-sbuild"]);
    assert_eq!(template.shell.unwrap().as_os_str(), "/bin/zsh");
    assert!(template.preserve_environment && template.pid && template.ipc && template.uts);
    assert!(!template.setuid);
    assert_eq!(template.net, Net::None);
    assert_eq!(template.overlay, Overlay::Tmpfs { size: Some(Size::new(2 << 30)) });
    assert_eq!(template.quota, Some(Size::new(10 << 30)));
    assert_eq!(template.keep.get(), 1);
}

#[test]
fn a_quota_of_next_to_nothing_is_refused() {
    assert_eq!(parse("version = 1\nquota = \"1M\"").unwrap().quota, Some(Size::new(1 << 20)));
    let fault = parse("version = 1\nquota = \"1023K\"").unwrap_err();
    assert!(fault.message.contains("less than 1M"), "{fault:?}");
}

#[test]
fn an_overlay_in_memory_may_leave_its_size_to_the_kernel() {
    let template = parse("version = 1\noverlay = \"tmpfs\"").unwrap();
    assert_eq!(template.overlay, Overlay::Tmpfs { size: None });
}

#[test]
fn what_is_wrong_with_a_template_is_shown_where_it_is_wrong() {
    let said = faults(
        parse,
        &[
            "usrs = [\"bob\"]",
            "users = \"bob\"",
            "users = [\"bob\", 3]",
            "root-users = [\"bob\",\n  \"a b\"]",
            "aliases = [\"sid\", \"../x\"]",
            "profile = \"a/b\"",
            "description = \"two\\nlines\"",
            "shell = \"bin/sh\"",
            "shell = \"/bin/../sh\"",
            "preserve-environment = \"yes\"",
            "net = \"private\"",
            "overlay = \"zram\"",
            "overlay-size = \"4G\"",
            "overlay = \"tmpfs\"\noverlay-size = \"4GB\"",
            "overlay = \"tmpfs\"\noverlay-size = 4096",
            "keep = 0",
            "keep = -1",
            "setuid = 1",
            "[source]\nkeep = 1",
            "[source]\ncommit-on-end = \"never\"",
            "[source]\nusers = [7]",
            "[sources]",
            "setuid = true\nsetuid = false",
            "setuid = ",
            "setuid",
        ],
    );
    insta::assert_snapshot!(said, @r##"
    f.toml:2:1: unknown field `usrs`, expected one of `version`, `description`, `profile`, `users`, `groups`, `root-users`, `root-groups`, `aliases`, `shell`, `preserve-environment`, `net`, `pid`, `ipc`, `uts`, `overlay`, `overlay-size`, `quota`, `keep`, `keep-for`, `setuid`, `source`
        usrs = ["bob"]
        ^^^^
    f.toml:2:9: users: invalid type: string "bob", expected a sequence
        users = "bob"
                ^^^^^
    f.toml:2:17: users: invalid type: integer `3`, expected a string
        users = ["bob", 3]
                        ^
    f.toml:3:3: root-users: "a b" is not the name of a user or group: blanks, control characters and : , / may not stand in it
          "a b"]
          ^^^^^
    f.toml:2:19: aliases: "../x" is not a name: it does not start with a letter or digit
        aliases = ["sid", "../x"]
                          ^^^^^^
    f.toml:2:11: profile: "a/b" is not a name: only letters, digits and _ . - may stand in it
        profile = "a/b"
                  ^^^^^
    f.toml:2:15: description: it is one line of text without control characters
        description = "two\nlines"
                      ^^^^^^^^^^^^
    f.toml:2:9: shell: "bin/sh" is no path to use here: it is not absolute
        shell = "bin/sh"
                ^^^^^^^^
    f.toml:2:9: shell: "/bin/../sh" is no path to use here: `..` may not stand in it
        shell = "/bin/../sh"
                ^^^^^^^^^^^^
    f.toml:2:24: preserve-environment: invalid type: string "yes", expected a boolean
        preserve-environment = "yes"
                               ^^^^^
    f.toml:2:7: net: unknown variant `private`, expected `host` or `none`
        net = "private"
              ^^^^^^^^^
    f.toml:2:11: overlay: unknown variant `zram`, expected `disk` or `tmpfs`
        overlay = "zram"
                  ^^^^^^
    f.toml:2:16: overlay-size: only with overlay = "tmpfs" is there a size to set
        overlay-size = "4G"
                       ^^^^
    f.toml:3:16: overlay-size: "4GB" is not a size: no such unit, write K, M, G or T
        overlay-size = "4GB"
                       ^^^^^
    f.toml:3:16: overlay-size: invalid type: integer `4096`, expected a string
        overlay-size = 4096
                       ^^^^
    f.toml:2:8: keep: invalid value: integer `0`, expected a nonzero u32
        keep = 0
               ^
    f.toml:2:8: keep: invalid value: integer `-1`, expected a nonzero u32
        keep = -1
               ^^
    f.toml:2:10: setuid: invalid type: integer `1`, expected a boolean
        setuid = 1
                 ^
    f.toml:3:1: unknown field `keep`, expected one of `users`, `groups`, `root-users`, `root-groups`, `rollback-users`, `rollback-groups`, `commit-on-end`
        keep = 1
        ^^^^
    f.toml:3:17: source.commit-on-end: unknown variant `never`, expected `success` or `always`
        commit-on-end = "never"
                        ^^^^^^^
    f.toml:3:10: source.users: invalid type: integer `7`, expected a string
        users = [7]
                 ^
    f.toml:2:2: unknown field `sources`, expected one of `version`, `description`, `profile`, `users`, `groups`, `root-users`, `root-groups`, `aliases`, `shell`, `preserve-environment`, `net`, `pid`, `ipc`, `uts`, `overlay`, `overlay-size`, `quota`, `keep`, `keep-for`, `setuid`, `source`
        [sources]
         ^^^^^^^
    f.toml:3:1: duplicate key
        setuid = false
        ^^^^^^
    f.toml:2:10: string values must be quoted, expected literal string
        setuid =
                 ^
    f.toml:2:7: key with no value, expected `=`
        setuid
              ^
    "##);
}

#[test]
fn a_file_without_a_version_or_of_another_format_says_only_that() {
    let without = parse("usrs = 1").unwrap_err();
    assert_eq!(without.span, None);
    assert!(without.message.contains("version = 1"), "{}", without.message);
    for other in ["version = 2\nnew-key = true", "version = \"1\"", "version = 1.0", "version = [1]"] {
        let fault = parse(other).unwrap_err();
        assert_eq!(fault.message, "version: this program reads version = 1 only", "{other}");
        assert_eq!(fault.span.unwrap().start, 10, "{other}");
    }
}

#[test]
fn the_shipped_templates_parse_and_show_every_key() {
    let all: String = shipped("templates.d").into_iter().map(|(_, text)| text).collect();
    for (name, text) in shipped("templates.d") {
        let template = parse(&text).unwrap_or_else(|fault| panic!("{name}: {}", fault.message));
        assert!(!template.access.is_empty(), "{name}");
    }
    let keys = serde_json::to_value(parse("version = 1").unwrap()).unwrap();
    for key in keys.as_object().unwrap().keys().filter(|key| *key != "name") {
        let shown = if key == "source" { "[source]".to_owned() } else { format!("{key} = ") };
        assert!(all.contains(&shown), "{key} is in no shipped template");
    }
    assert!(all.contains("overlay-size = "));
}

#[test]
fn what_a_shipped_template_says_is_the_default_is_the_default() {
    for (name, text) in shipped("templates.d") {
        let (own, source) = text.split_once("\n[source]\n").unwrap();
        let commented = |part: &str| -> String {
            let lines = part.lines().filter_map(|line| line.strip_prefix('#'));
            lines
                .filter(|line| !line.starts_with(' ') && line.contains(" = "))
                // None of them has a default that can be written down.
                .filter(|line| {
                    !["shell", "overlay-size", "quota", "keep-for"].iter().any(|key| line.starts_with(key))
                })
                .map(|line| format!("{line}\n"))
                .collect()
        };
        let once = format!("{}[source]\n{}", commented(own), commented(source));
        assert_eq!(parse(&format!("version = 1\n{once}")).unwrap(), parse("version = 1").unwrap(), "{name}");
    }
}

#[test]
fn a_template_goes_to_json_with_the_keys_of_its_file() {
    let template = parse("version = 1\nroot-users = [\"bob\"]\noverlay = \"tmpfs\"\noverlay-size = \"1K\"");
    let json = serde_json::to_string(&template.unwrap()).unwrap();
    insta::assert_snapshot!(json, @r###"{"name":"sid","description":"","aliases":[],"profile":"default","users":[],"groups":[],"root-users":["bob"],"root-groups":[],"source":{"users":[],"groups":[],"root-users":[],"root-groups":[],"rollback-users":[],"rollback-groups":[],"commit-on-end":"success"},"shell":null,"preserve-environment":false,"net":"host","pid":false,"ipc":false,"uts":false,"overlay":{"kind":"tmpfs","size":1024},"quota":null,"keep":5,"keep-for":null,"setuid":true}"###);
}

proptest! {
    #[test]
    fn no_damage_to_a_file_makes_the_parser_panic(from in 0_usize..4000, to in 0_usize..4000, put in "[\\PC\n\"\\[\\]=]{0,9}") {
        for (name, text) in shipped("templates.d") {
            let mut damaged: Vec<char> = text.chars().collect();
            let from = from.min(damaged.len());
            damaged.splice(from..to.clamp(from, damaged.len()), put.chars());
            let damaged = String::from_iter(damaged);
            let result = Template::from_text("sid".parse().unwrap(), &damaged, Path::new(&name));
            prop_assert!(result.map_or_else(|error| error.to_string().contains(&name), |_| true));
        }
    }
}

use super::super::fixture::{Host, make_fifo};
use super::*;

const SID: (&str, &str) = ("templates.d/sid.toml", "version = 1\naliases = [\"unstable\"]\n");

/// The error and its causes, without the name of the host's directory.
fn said<T: std::fmt::Debug>(host: &Host, result: Result<T, Error>) -> String {
    let error = result.unwrap_err();
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(inner) = cause {
        text += &format!(": {inner}");
        cause = inner.source();
    }
    host.plain(&text)
}

fn names(templates: &[Template]) -> Vec<&str> {
    templates.iter().map(|template| template.name.as_str()).collect()
}

#[test]
fn a_host_without_a_configuration_has_the_defaults_and_the_built_in_profiles() {
    let host = Host::bare();
    assert_eq!(host.loader().config().unwrap(), Config::default());
    let loaded = host.loader().templates().unwrap();
    assert!(loaded.templates.is_empty() && loaded.broken.is_empty());
    assert_eq!(said(&host, host.loader().template("sid")), "there is no template sid");
    let profile = host.loader().profile(&"sbuild".parse().unwrap()).unwrap();
    assert_eq!((profile.name.as_str(), profile.nss.len()), ("sbuild", 4));
}

#[test]
fn sys_root_the_public_functions_trust_what_belongs_to_root() {
    let host = Host::with(&[SID, ("zchroot.toml", "version = 1\ngrace = \"1h\"")]);
    assert_eq!(load(host.layout()).unwrap().grace.to_string(), "1h");
    assert_eq!(names(&templates(host.layout()).unwrap().templates), ["sid"]);
    assert_eq!(template(host.layout(), "unstable").unwrap().name.as_str(), "sid");
    assert_eq!(profile(host.layout(), &"default".parse().unwrap()).unwrap().name, "default");
}

#[test]
fn templates_come_sorted_and_a_broken_one_does_not_stop_the_others() {
    let host = Host::with(&[
        ("templates.d/b.toml", "version = 1"),
        ("templates.d/a.toml", "version = 1"),
        ("templates.d/a-b.toml", "version = 1"),
        ("templates.d/broken.toml", "version = 1\nusrs = []"),
        ("templates.d/open.toml", "version = 1"),
    ]);
    host.set_mode("templates.d/open.toml", 0o666);
    let loaded = host.loader().templates().unwrap();
    assert_eq!(names(&loaded.templates), ["a", "a-b", "b"]);
    let broken: Vec<_> = loaded.broken.iter().map(|finding| host.plain(&finding.to_string())).collect();
    insta::assert_snapshot!(broken.join("\n"), @r##"
    /etc/zchroot/templates.d/broken.toml:2:1: error: unknown field `usrs`, expected one of `version`, `description`, `profile`, `users`, `groups`, `root-users`, `root-groups`, `aliases`, `shell`, `preserve-environment`, `net`, `pid`, `ipc`, `uts`, `overlay`, `overlay-size`, `quota`, `keep`, `keep-for`, `setuid`, `source`
        usrs = []
        ^^^^
    /etc/zchroot/templates.d/open.toml: error: is not to be trusted: everybody may write it (mode 0666)
    "##);
}

#[test]
fn files_whose_names_are_no_names_are_left_alone() {
    let host = Host::with(&[SID]);
    for name in
        ["foo~", "sid.toml~", ".hidden.toml", "sid.toml.dpkg-old", "x.dpkg-old.toml", "a b.toml", "README"]
    {
        host.write(&format!("templates.d/{name}"), "rubbish");
    }
    let loaded = host.loader().templates().unwrap();
    assert_eq!(names(&loaded.templates), ["sid"]);
    assert!(loaded.broken.is_empty(), "{:?}", loaded.broken);
}

#[test]
fn a_template_is_found_by_name_before_alias() {
    let host = Host::with(&[
        SID,
        ("templates.d/other.toml", "version = 1\naliases = [\"sid\", \"both\"]"),
        ("templates.d/third.toml", "version = 1\naliases = [\"both\"]"),
    ]);
    assert_eq!(host.loader().template("sid").unwrap().name.as_str(), "sid");
    assert_eq!(host.loader().template("unstable").unwrap().name.as_str(), "sid");
    assert_eq!(said(&host, host.loader().template("both")), "both is an alias of both other and third");
}

#[test]
fn a_direct_hit_reads_no_other_file() {
    let host = Host::with(&[SID, ("templates.d/broken.toml", "")]);
    assert!(host.loader().template("sid").is_ok());
    assert!(host.loader().template("unstable").is_ok());
    let Err(Error::NoTemplate { name, broken }) = host.loader().template("nosuch") else { panic!() };
    assert_eq!((name.as_str(), broken.len()), ("nosuch", 1));
}

#[test]
fn what_is_no_name_reaches_no_file() {
    let host = Host::with(&[SID]);
    for name in ["", "../templates.d/sid", "sid.dpkg-old", "a/b", ".", "-x", "a\0"] {
        assert!(matches!(host.loader().template(name), Err(Error::Name(_))), "{name:?}");
    }
}

#[test]
fn a_profile_in_etc_wins_over_the_one_built_in() {
    let host = Host::with(&[
        ("profiles/default.toml", "version = 1\ndescription = \"ours\""),
        ("profiles/minimal.toml", "version = 1\n[[mount]]"),
        ("profiles/own.toml", "version = 1"),
    ]);
    let load = |name: &str| host.loader().profile(&name.parse().unwrap());
    assert_eq!(load("default").unwrap().description, "ours");
    assert_eq!(load("own").unwrap().name, "own");
    assert!(!load("desktop").unwrap().mounts.is_empty());
    assert_eq!(said(&host, load("nosuch")), "there is no profile nosuch");
    insta::assert_snapshot!(said(&host, load("minimal")), @r##"
    /etc/zchroot/profiles/minimal.toml:2:1: mount: missing field `kind`
        [[mount]]
        ^^^^^^^^^
    "##);
}

#[test]
fn who_else_could_have_written_a_file_makes_it_untrusted() {
    let host = Host::with(&[SID, ("zchroot.toml", "version = 1"), ("profiles/own.toml", "version = 1")]);
    let why = |mode: &str, who: &str| format!("is not to be trusted: {who} may write it (mode {mode})");
    host.set_mode("templates.d/sid.toml", 0o646);
    assert!(said(&host, host.loader().template("sid")).ends_with(&why("0646", "everybody")));
    host.set_mode("zchroot.toml", 0o602);
    assert!(said(&host, host.loader().config()).ends_with(&why("0602", "everybody")));
    host.set_mode("profiles", 0o1777);
    let profile = host.loader().profile(&"own".parse().unwrap());
    assert_eq!(said(&host, profile), format!("/etc/zchroot/profiles {}", why("1777", "everybody")));
    // What stands above counts too: a file in it could be another one tomorrow.
    host.set_mode("", 0o757);
    assert_eq!(said(&host, host.loader().templates()), format!("/etc/zchroot {}", why("0757", "everybody")));
    host.set_mode("", 0o755);
    host.set_mode("..", 0o777);
    assert_eq!(said(&host, host.loader().config()), format!("/etc {}", why("0777", "everybody")));
}

#[test]
fn sys_root_a_group_may_write_only_if_it_is_root_s_own() {
    let host = Host::with(&[SID]);
    host.set_mode("templates.d/sid.toml", 0o664);
    assert!(host.loader().template("sid").is_ok());
    std::os::unix::fs::chown(host.path("templates.d/sid.toml"), None, Some(130)).unwrap();
    // chown(2) keeps the mode of what root changes but for setuid bits.
    let text = said(&host, host.loader().template("sid"));
    assert!(text.ends_with("is not to be trusted: group 130 may write it (mode 0664)"), "{text}");
}

#[test]
fn a_file_of_somebody_else_is_untrusted() {
    let host = Host::with(&[SID]);
    let stranger = rustix::process::geteuid().as_raw() + 4711;
    let text = said(&host, Loader::trusting(host.layout(), stranger).template("sid"));
    let expected = format!(
        " is not to be trusted: it belongs to user {}, not to {stranger}",
        rustix::process::geteuid().as_raw()
    );
    assert_eq!(text, expected);
}

#[test]
fn sys_root_a_template_of_a_user_is_untrusted() {
    let host = Host::with(&[SID]);
    std::os::unix::fs::chown(host.path("templates.d/sid.toml"), Some(1001), None).unwrap();
    let text = said(&host, template(host.layout(), "sid"));
    assert_eq!(
        text,
        "/etc/zchroot/templates.d/sid.toml is not to be trusted: it belongs to user 1001, not to 0"
    );
}

#[test]
fn symlinks_fifos_and_directories_are_no_files() {
    let host = Host::with(&[SID]);
    std::os::unix::fs::symlink("sid.toml", host.path("templates.d/link.toml")).unwrap();
    make_fifo(&host.path("templates.d/fifo.toml"));
    host.write("templates.d/dir.toml/inside", "");
    std::os::unix::fs::symlink("templates.d", host.path("profiles")).unwrap();
    let why = |name| said(&host, host.loader().template(name));
    assert!(
        why("link").ends_with("link.toml is not to be trusted: it is a symbolic link"),
        "{}",
        why("link")
    );
    assert!(why("fifo").ends_with("is not to be trusted: it is no regular file"), "{}", why("fifo"));
    assert!(why("dir").ends_with("is not to be trusted: it is no regular file"), "{}", why("dir"));
    let profile = said(&host, host.loader().profile(&"sid".parse().unwrap()));
    assert!(
        profile.ends_with(
            "profiles is not to be trusted: it is no directory, and a symbolic link is not followed"
        )
    );
}

#[test]
fn a_file_where_a_directory_should_be_is_an_error() {
    let host = Host::with(&[("templates.d", "")]);
    let text = said(&host, host.loader().templates());
    assert!(text.starts_with("/etc/zchroot/templates.d is not to be trusted: it is no directory"), "{text}");
}

#[test]
fn a_file_that_is_too_large_or_no_text_is_refused() {
    let host = Host::with(&[("zchroot.toml", &"#".repeat((1 << 20) + 1))]);
    assert_eq!(
        said(&host, host.loader().config()),
        "cannot read /etc/zchroot/zchroot.toml: more than 1048576 bytes"
    );
    host.write("zchroot.toml", &format!("version = 1\n{}", "#".repeat((1 << 20) - 12)));
    assert!(host.loader().config().is_ok());
    host.write_bytes("zchroot.toml", b"version = 1\n# \xff\n");
    let text = said(&host, host.loader().config());
    assert!(text.starts_with("cannot read /etc/zchroot/zchroot.toml: "), "{text}");
}

#[test]
fn an_absent_root_is_an_error_and_not_an_empty_configuration() {
    let host = Host::bare();
    let layout = Layout::new(&host.layout().root().join("nosuch"));
    let text = said(&host, Loader::trusting(&layout, 0).config());
    assert!(text.starts_with("cannot open /nosuch: No such file"), "{text}");
}

#[test]
fn every_error_becomes_a_finding_about_its_file() {
    let host = Host::with(&[("templates.d/a.toml", "x"), ("zchroot.toml", "version = 1")]);
    host.set_mode("zchroot.toml", 0o666);
    let errors = [
        host.loader().template("a").unwrap_err(),
        host.loader().config().unwrap_err(),
        Error::File(file::Error {
            op: "read",
            path: "/f".into(),
            source: std::io::Error::from_raw_os_error(5),
        }),
        host.loader().profile(&"nosuch".parse().unwrap()).unwrap_err(),
    ];
    let found = errors.map(|error| host.plain(&error.into_finding("/elsewhere".into()).to_string()));
    insta::assert_snapshot!(found.join("\n"), @r##"
    /etc/zchroot/templates.d/a.toml:1:2: error: key with no value, expected `=`
        x
         ^
    /etc/zchroot/zchroot.toml: error: is not to be trusted: everybody may write it (mode 0666)
    /f: error: cannot read: Input/output error (os error 5)
    /elsewhere: error: there is no profile nosuch
    "##);
}

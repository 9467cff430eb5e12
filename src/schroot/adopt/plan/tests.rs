use super::*;
use crate::schroot::definition::{Mountable, Source};

const WORLD: World<'static> =
    World { has_profile: &|name| name.as_str() != "mine", is_taken: &|name| name.as_str() == "taken" };

fn sid(kind: Kind) -> Definition {
    let texts = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Definition {
        description: "Debian \"sid\"\\amd64".to_owned(),
        aliases: texts(&["unstable", "taken"]),
        lists: Lists {
            users: texts(&["alice", "no such:one"]),
            groups: texts(&["sbuild"]),
            root_users: Vec::new(),
            root_groups: texts(&["root", "sbuild"]),
        },
        profile: "sbuild".to_owned(),
        shell: "/bin/dash".to_owned(),
        preserve_environment: true,
        ..Definition::new("sid", kind)
    }
}

fn directory() -> Kind {
    Kind::Directory { directory: "/srv/sid".to_owned(), union: None }
}

fn zfs(location: &str) -> Kind {
    let mount = Mountable { location: location.to_owned(), ..Mountable::default() };
    Kind::ZfsSnapshot { dataset: "tank/sid".to_owned(), options: String::new(), mount }
}

#[test]
fn a_dataset_is_cloned() {
    assert_eq!(plan(&sid(zfs("")), &WORLD).unwrap().from, From::Dataset("tank/sid".to_owned()));
}

#[test]
fn what_is_planned_is_a_template() {
    let plan = plan(&sid(directory()), &WORLD).unwrap();
    assert_eq!((plan.kind, &plan.from), ("directory", &From::Path("/srv/sid".into())));
    let template = Template::from_text(plan.template, &plan.definition, Path::new("sid.toml")).unwrap();
    assert_eq!(template.description, "Debian \"sid\"\\amd64");
    assert_eq!(template.aliases.iter().map(TemplateName::as_str).collect::<Vec<_>>(), ["unstable"]);
    assert_eq!(template.profile.as_str(), "sbuild");
    assert_eq!(template.access.users.len(), 1);
    assert_eq!(template.access.root_groups.len(), 2);
    assert_eq!(template.source.access.root_groups, template.access.root_groups, "root in it could change it");
    assert!(template.source.access.users.is_empty() && template.source.access.groups.is_empty());
    assert_eq!(template.shell.as_deref(), Some(Path::new("/bin/dash")));
    assert!(template.preserve_environment);
    let expected = ["alias taken", "users: no such:one", "what sessions change"];
    assert_eq!(plan.notes.len(), expected.len(), "{:?}", plan.notes);
    for (note, expected) in plan.notes.iter().zip(expected) {
        assert!(note.starts_with(expected), "{note}");
    }
}

#[test]
fn who_may_change_a_source_may_change_the_template() {
    let root_groups = vec!["adm".to_owned()];
    let source = Source { offered: true, lists: Lists { root_groups, ..Lists::default() } };
    let file = Kind::File { file: "/srv/sid.tar.gz".to_owned(), location: String::new() };
    let plan = plan(&Definition { source: Some(source), ..sid(file) }, &WORLD).unwrap();
    let template = Template::from_text(plan.template, &plan.definition, Path::new("sid.toml")).unwrap();
    assert!(template.source.access.groups.is_empty());
    assert_eq!(
        template.source.access.root_groups.iter().map(AccountName::to_string).collect::<Vec<_>>(),
        ["adm"]
    );
    assert!(
        !plan.notes.iter().any(|note| note.starts_with("what sessions change")),
        "its sessions were copies"
    );
}

#[test]
fn a_source_that_nobody_could_enter_is_changed_by_root_alone() {
    let root_groups = vec!["adm".to_owned()];
    let source = Source { offered: false, lists: Lists { root_groups, ..Lists::default() } };
    let plan = plan(&Definition { source: Some(source), ..sid(zfs("")) }, &WORLD).unwrap();
    let template = Template::from_text(plan.template, &plan.definition, Path::new("sid.toml")).unwrap();
    assert!(template.source.access.is_empty());
    assert!(plan.notes.iter().any(|note| note.starts_with("source-clone = false")));
}

#[test]
fn what_no_template_can_say_is_told() {
    let chroot = Definition {
        profile: "mine".to_owned(),
        command_prefix: vec!["eatmydata".to_owned()],
        personality: Some("linux32".to_owned()),
        user_data: [("setup.fstab", "mine/fstab"), ("setup.config", "other/config"), ("my.key", "1")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
        ..Definition::new("sid", directory())
    };
    let notes = plan(&chroot, &WORLD).unwrap().notes.join("\n");
    assert!(notes.contains("profile default takes the place of mine"), "{notes}");
    assert!(notes.contains("command-prefix, personality, my.key, setup.config"), "{notes}");
    assert!(!notes.contains("setup.fstab"), "{notes}");
}

#[test]
fn what_has_no_tree_that_can_be_read_is_refused() {
    let mount = Mountable::default;
    for (kind, why) in [
        (Kind::File { file: "/a.tar".to_owned(), location: "/sid".to_owned() }, "/sid in the archive"),
        (zfs("/sid"), "/sid in the dataset"),
        (Kind::Loopback { file: "/a".to_owned(), mount: mount(), union: None }, "type loopback"),
        (Kind::Custom { purgeable: true }, "type custom"),
    ] {
        let refused = plan(&sid(kind), &WORLD).unwrap_err();
        assert!(refused.contains(why), "{refused}");
    }
    let taken = Definition { name: "taken".to_owned(), ..sid(directory()) };
    assert!(plan(&taken, &WORLD).unwrap_err().contains("as its alias"));
    let shell = Definition { shell: "dash".to_owned(), ..sid(directory()) };
    assert!(plan(&shell, &WORLD).unwrap_err().contains("shell"));
    let odd = Definition { name: "a b".to_owned(), ..sid(directory()) };
    plan(&odd, &WORLD).unwrap_err();
}

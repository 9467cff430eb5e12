use std::ffi::OsStr;

use super::super::chroot::Origin;
use super::super::definition::{Definition, Kind, Lists, Source};
use super::*;

fn chroot(name: &str, kind: Kind, aliases: &[&str]) -> Chroot {
    let source = matches!(kind, Kind::File { .. }).then(|| Source { offered: true, lists: Lists::default() });
    let aliases = aliases.iter().map(|alias| (*alias).to_owned()).collect();
    Chroot::of(Definition { aliases, source, ..Definition::new(name, kind) }, Origin::Configured)
}

fn file() -> Kind {
    Kind::File { file: "/x.tar".into(), location: String::new() }
}

fn catalogue() -> Catalogue {
    let plain = Kind::Plain { directory: "/p".into() };
    Catalogue::new(vec![chroot("sid", file(), &["unstable", "UNRELEASED"]), chroot("pl", plain, &[])])
}

fn order(line: &str) -> Order {
    let words: Vec<_> = line.split_whitespace().map(Into::into).collect();
    Order::from_words(OsStr::new("schroot"), &words).unwrap()
}

fn said(line: &str) -> String {
    catalogue().named(&order(line)).unwrap_err().lines[0].text()
}

#[test]
fn names_stand_in_their_namespace_sorted_by_bytes() {
    let made = catalogue();
    let names = |space, aliases| made.names(space, aliases).collect::<Vec<_>>();
    assert_eq!(
        names(Space::Chroot, true),
        [
            "chroot:UNRELEASED",
            "chroot:UNRELEASED-source",
            "chroot:pl",
            "chroot:sid",
            "chroot:unstable",
            "chroot:unstable-source"
        ]
    );
    assert_eq!(names(Space::Chroot, false), ["chroot:pl", "chroot:sid"]);
    assert_eq!(names(Space::Source, true), ["source:UNRELEASED", "source:sid", "source:unstable"]);
    assert_eq!(names(Space::Session, true), ["session:pl"], "a plain chroot is its own session");
    assert_eq!(names(Space::Session, false), Vec::<String>::new());
}

#[test]
fn words_are_found_in_the_namespace_that_the_action_means() {
    let made = catalogue();
    let find = |line: &str| {
        let order = order(line);
        let selected = made.named(&order).unwrap();
        selected.iter().map(|one| (one.chroot.space(), one.chroot.name().to_owned())).collect::<Vec<_>>()
    };
    assert_eq!(find("-i -c unstable"), [(Space::Chroot, "sid".to_owned())]);
    assert_eq!(find("-i -c :sid"), [(Space::Chroot, "sid".to_owned())]);
    assert_eq!(find("-i -c source:sid"), [(Space::Source, "sid".to_owned())]);
    assert_eq!(find("-i -c unstable-source"), [(Space::Source, "sid".to_owned())]);
    assert_eq!(find("-r -c pl"), [(Space::Chroot, "pl".to_owned())]);
    assert_eq!(find("-i -c sid -c pl -c sid").len(), 3);
}

#[test]
fn what_is_not_there_is_named() {
    assert_eq!(said("-i -c nosuch"), "E: nosuch: Chroot not found");
    assert_eq!(said("-i -c a -c sid -c b"), "E: a, b: Chroots not found");
    assert_eq!(said("-i -c sid-source"), "E: sid-source: Chroot not found");
    assert_eq!(said("-r -c sid"), "E: sid: Chroot not found");
    assert_eq!(said("-i -c bogus:sid"), "E: bogus: No such namespace");
    assert_eq!(said("-i -c chroot:"), "E: chroot:: Chroot not found");
}

#[test]
fn a_name_wins_over_an_alias_and_the_first_alias_over_the_second() {
    let made = Catalogue::new(vec![chroot("a", file(), &["b", "c"]), chroot("b", file(), &["c"])]);
    let order = order("-i -c b -c c");
    let names: Vec<_> = made.named(&order).unwrap().iter().map(|one| one.chroot.name().to_owned()).collect();
    assert_eq!(names, ["b", "a"]);
    assert_eq!(made.warnings.len(), 2);
}

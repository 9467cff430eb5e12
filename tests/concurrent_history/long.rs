//! Many commits with sessions coming and going: what stays is what the template keeps and sessions stand on.

use std::collections::BTreeSet;

use super::chance::Chance;
use super::place::Place;

const TEMPLATES: [&str; 2] = ["oak", "yew"];
/// As the templates of a place are defined, and the current one.
const KEPT: usize = 4;

fn commits() -> usize {
    if super::is_long() { 200 } else { 40 }
}

/// The versions that have to be there: the newest ones and those of sessions.
fn explained(place: &Place, template: &str) -> BTreeSet<String> {
    let json = place.host.zchroot(["history", template, "--json"]).json();
    let versions = json["versions"].as_array().unwrap();
    let id = |version: &serde_json::Value| version["id"].as_str().unwrap().to_owned();
    let used = versions.iter().filter(|version| !version["sessions"].as_array().unwrap().is_empty());
    versions.iter().take(KEPT).chain(used).map(id).collect()
}

/// Every version stands that is explained, and no other.
fn look(place: &Place, at: usize) {
    // Who makes a digest holds a version that settle has let go.
    super::harness::wait_until("all digests are made", || place.host.digesting().is_empty());
    place.host.zchroot(["gc"]);
    for template in TEMPLATES {
        let there = trees(place, template);
        assert_eq!(there, explained(place, template), "{template} after {at} commits");
    }
}

/// The versions whose trees there are: directories.
fn directories(place: &Place, template: &str) -> BTreeSet<String> {
    let folder = place.host.at(&format!("/var/lib/zchroot/store/templates/{template}"));
    let names = std::fs::read_dir(folder).unwrap();
    names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[cfg(not(feature = "zfs"))]
fn trees(place: &Place, template: &str) -> BTreeSet<String> {
    directories(place, template)
}

#[cfg(feature = "zfs")]
fn trees(place: &Place, template: &str) -> BTreeSet<String> {
    let Some(pool) = &place.pool else { return directories(place, template) };
    // One head, which is a clone of nothing; all snapshots hang on it, and sessions on those: two deep.
    let heads = pool.origins(&format!("templates/{template}"));
    let [head] = &heads[..] else { panic!("{template} has more heads than one: {heads:#?}") };
    let (head, origin) = head.split_once(' ').unwrap();
    assert_eq!(origin, "-", "the head of {template} is a clone");
    for session in pool.origins("sessions").iter().filter(|line| line.contains(&format!("/{template}/"))) {
        assert!(session.contains(&format!(" {head}@")), "{session} does not hang on {head}");
    }
    let list = super::zfs_pool::run(
        "zfs",
        &["list", "-Hr", "-t", "snapshot", "-o", "name", &pool.dataset(&format!("templates/{template}"))],
    );
    list.lines().map(|line| line.rsplit_once('@').unwrap().1.to_owned()).collect()
}

fn many_commits(place: &Place) {
    let mut chance = Chance::new(Chance::seed(), 0);
    place.make(&TEMPLATES);
    let mut sessions: Vec<String> = Vec::new();
    let mut begun = 0;
    for commit in 1..=commits() {
        let template = chance.of(&TEMPLATES);
        if chance.below(3) > 0 {
            let name = format!("s{commit}");
            place.host.zchroot(["begin", template, "-n", &name]).ok();
            sessions.push(name);
            begun += 1;
        }
        let script = format!("echo {commit} > /etc/generation");
        place.host.zchroot(["-q", "update", template, "--", "sh", "-c", &script]).ok();
        while sessions.len() > 6 || (!sessions.is_empty() && chance.below(2) == 0) {
            let one = usize::try_from(chance.below(sessions.len() as u64)).unwrap();
            place.host.zchroot(["end", &sessions.swap_remove(one)]).ok();
        }
        if commit % 10 == 0 {
            look(place, commit);
        }
    }
    let (left, most) = (sessions.len(), commits());
    println!("history-count: store={} long-commits={most} sessions={begun} standing={left}", place.store);
    place.host.zchroot(["end", "--all"]).ok();
    look(place, most);
    let there: usize = TEMPLATES.iter().map(|template| trees(place, template).len()).sum();
    assert_eq!(there, KEPT * TEMPLATES.len(), "without sessions only what is kept stays");
    place.clear_up();
}

#[test]
fn dir_history_of_two_hundred_commits_leaves_what_is_kept() {
    many_commits(&Place::dir());
}

#[test]
#[cfg(feature = "zfs")]
fn zfs_history_two_hundred_commits_leave_one_head() {
    many_commits(&Place::zfs());
}

//! Many commits with sessions coming and going: what stays is what the template keeps and sessions stand on.

#[cfg(feature = "zfs")]
use std::collections::BTreeMap;
use std::collections::BTreeSet;

use super::chance::Chance;
use super::harness::wait_until;
use super::place::Place;

const TEMPLATES: [&str; 2] = ["oak", "yew"];
/// As the templates of a place are defined, and the current one.
const KEPT: usize = 4;

fn commits() -> usize {
    if super::is_long() { 200 } else { 40 }
}

/// The most that was seen at once in one template.
#[derive(Debug, Default)]
struct Most {
    heads: usize,
    /// Of a session: itself, what it is a clone of, what that is one of, and so on.
    chain: usize,
    versions: usize,
    /// Beyond those that `keep` explains.
    in_use: usize,
}

/// The versions that have to be there: the newest ones and those of sessions.
fn explained(place: &Place, template: &str) -> BTreeSet<String> {
    let json = place.host.zchroot(["history", template, "--json"]).json();
    let versions = json["versions"].as_array().unwrap();
    let id = |version: &serde_json::Value| version["id"].as_str().unwrap().to_owned();
    let used = versions.iter().filter(|version| !version["sessions"].as_array().unwrap().is_empty());
    versions.iter().take(KEPT).chain(used).map(id).collect()
}

/// Every version stands that is explained, and no other; the heads are flat before anybody calls gc.
fn look(place: &Place, at: usize, most: &mut Most) {
    for template in TEMPLATES {
        trees(place, template, most);
    }
    // Who makes a digest holds a version that settle has let go.
    wait_until("all digests are made", || place.host.digesting().is_empty());
    place.host.zchroot(["gc"]).ok();
    for template in TEMPLATES {
        let there = trees(place, template, most);
        assert_eq!(there, explained(place, template), "{template} after {at} commits");
        most.versions = most.versions.max(there.len());
        most.in_use = most.in_use.max(there.len().saturating_sub(KEPT));
    }
}

/// The versions whose trees there are: directories.
fn directories(place: &Place, template: &str) -> BTreeSet<String> {
    let folder = place.host.at(&format!("/var/lib/zchroot/store/templates/{template}"));
    let names = std::fs::read_dir(folder).unwrap();
    names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[cfg(not(feature = "zfs"))]
fn trees(place: &Place, template: &str, _most: &mut Most) -> BTreeSet<String> {
    directories(place, template)
}

/// The snapshots. One head, which is a clone of nothing; all of them hang on it, and sessions on them: two deep.
#[cfg(feature = "zfs")]
fn trees(place: &Place, template: &str, most: &mut Most) -> BTreeSet<String> {
    let Some(pool) = &place.pool else { return directories(place, template) };
    let container = format!("templates/{template}");
    let heads = origins(pool, &container);
    assert_eq!(heads.len(), 1, "{template} has not one head: {heads:#?}");
    most.heads = most.heads.max(heads.len());
    let (below, mut clones) = (format!("{container}/"), heads);
    clones.extend(origins(pool, "sessions").into_iter().filter(|(_, origin)| origin.starts_with(&below)));
    for name in clones.keys() {
        let deep = std::iter::successors(Some(name), |name| clones.get(*name)).count() - 1;
        assert!(deep <= 2, "{name} is {deep} deep: {clones:#?}");
        most.chain = most.chain.max(deep);
    }
    let words = ["list", "-Hr", "-t", "snapshot", "-o", "name", &pool.dataset(&container)];
    let list = super::zfs_pool::run("zfs", &words);
    list.lines().map(|line| line.rsplit_once('@').unwrap().1.to_owned()).collect()
}

/// The datasets right below one, each with the one whose snapshot it is a clone of, `-` if of none.
#[cfg(feature = "zfs")]
fn origins(pool: &super::zfs_pool::Pool, below: &str) -> BTreeMap<String, String> {
    let dataset = |origin: &str| origin.split('@').next().unwrap().to_owned();
    let both = |line: &String| line.split_once(' ').map(|(name, origin)| (name.to_owned(), dataset(origin)));
    pool.origins(below).iter().map(|line| both(line).unwrap()).collect()
}

fn many_commits(place: &Place) {
    let mut chance = Chance::new(Chance::seed(), 0);
    place.make(&TEMPLATES);
    let mut sessions: Vec<String> = Vec::new();
    let (mut begun, mut most) = (0, Most::default());
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
            look(place, commit, &mut most);
        }
    }
    place.host.zchroot(["end", "--all"]).ok();
    look(place, commits(), &mut most);
    let last = |template| trees(place, template, &mut Most::default()).len();
    let there: usize = TEMPLATES.into_iter().map(last).sum();
    assert_eq!(there, KEPT * TEMPLATES.len(), "without sessions only what is kept stays");
    let Most { heads, chain, versions, in_use } = most;
    let heads = if place.store == "zfs" { format!("heads={heads} chain={chain} ") } else { String::new() };
    println!(
        "history-count: store={} long-commits={} sessions={begun} ended-at-last={} {heads}versions-at-most={versions} \
         of-them-in-use-only={in_use} versions-in-the-end={there} templates={}",
        place.store,
        commits(),
        sessions.len(),
        TEMPLATES.len()
    );
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

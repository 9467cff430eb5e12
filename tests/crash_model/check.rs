//! What must be so after every crash or error, once `recover` and `gc` have run. Each rule has a number and a name,
//! and a violation says which one it is.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use zchroot::session::{Kind, Record, State};
use zchroot::source::Version;
use zchroot::store::{MountOptions, TemplateName, Tree, VersionId, pointer};

use crate::act::{KEEP, act, session};
use crate::images;
use crate::look;
use crate::model::{Model, Op, Session};
use crate::world::{Handles, World, describe, list, read_stamp};

/// A rule that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) rule: &'static str,
    pub(crate) what: String,
}

pub(crate) type Checked<T = ()> = Result<T, Violation>;

pub(crate) const ONLY_OURS: &str =
    "I1 every tree is a version, a draft with a record or a session with a record";
const ORIGIN: &str = "I2 every session is a clone of the version that its record names";
pub(crate) const CURRENT: &str =
    "I3 a template has one current version, the pointer names it, and it can be read";
const GENERATIONS: &str = "I4 generations are 1, 2, 3, each made from the one before";
pub(crate) const NOTHING_LEFT: &str =
    "I5 no mount, lock, process or temp file is there without a living session";
const OUTSIDE: &str = "I6 nothing outside the installation changed";
const REPEATED: &str = "I7 recover finds nothing more to recover";
const REPORTED: &str = "I8 what was reported is so";
const VISIBLE: &str = "I9 the newest version is what a new session gets";
const OLD_OR_NEW: &str = "I10 the old state or the new one, never a third";
const UNTOUCHED: &str = "I11 the tree of a living session is as it was";
const BASELINE: &str = "I12 after the last session nothing is left but the kept versions";

pub(crate) fn hold(rule: &'static str, is: bool, what: impl FnOnce() -> String) -> Checked {
    if is { Ok(()) } else { Err(Violation { rule, what: what() }) }
}

pub(crate) fn must<T, E: std::fmt::Debug>(
    rule: &'static str,
    what: &str,
    result: Result<T, E>,
) -> Checked<T> {
    result.map_err(|error| Violation { rule, what: format!("{what}: {error:?}") })
}

/// How the operation ended that the crash or the error was in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It was reported as done.
    Done,
    /// It was reported as committed, and as something that recover has to finish.
    Unfinished,
    /// It was reported as failed.
    Failed,
    /// Nobody was told anything.
    Crashed,
}

/// What has to be so.
pub(crate) struct Expected<'a> {
    pub(crate) old: &'a Model,
    pub(crate) new: &'a Model,
    pub(crate) ended: Ended,
    /// What a failure of the operation leaves is the old state: else recover may finish it.
    pub(crate) failure_is_old: bool,
    /// Trees of sessions that the operation has nothing to do with.
    pub(crate) bystanders: &'a BTreeMap<String, Vec<String>>,
    pub(crate) host: &'a [String],
    /// Also that recover has nothing more to do, and that the installation can be used to its end.
    pub(crate) deep: bool,
}

/// All rules, after recover and gc. The installation can be used for nothing else afterwards.
pub(crate) fn check(world: &World, expected: &Expected<'_>) -> Checked {
    let seen = observe(world)?;
    old_or_new(&seen, expected)?;
    for (id, tree) in expected.bystanders {
        let now = describe(&world.layout.mount(&session(id)));
        hold(UNTOUCHED, now == *tree, || format!("{id}: {}", difference(tree, &now)))?;
    }
    hold(OUTSIDE, describe(&world.host()) == expected.host, || format!("{:?}", describe(&world.host())))?;
    trees(world, &seen)?;
    nothing_left(world, &seen)?;
    images::nothing_left(world, &seen)?;
    if expected.deep {
        repeated(world)?;
        usable(world, &seen)?;
    }
    Ok(())
}

fn old_or_new(seen: &Model, expected: &Expected<'_>) -> Checked {
    let Expected { old, new, .. } = *expected;
    match expected.ended {
        Ended::Done | Ended::Unfinished => {
            hold(REPORTED, seen == new, || format!("done, but not {new:?}: {seen:?}"))
        }
        Ended::Failed if expected.failure_is_old => {
            hold(REPORTED, seen == old, || format!("failed, but not {old:?}: {seen:?}"))
        }
        _ => hold(OLD_OR_NEW, seen == old || seen == new || *seen == standing_again(old), || {
            format!("not {old:?} nor {new:?}: {seen:?}")
        }),
    }
}

/// What was kept stands again on the way to its commit.
fn standing_again(old: &Model) -> Model {
    let mut standing = old.clone();
    standing.sessions.values_mut().for_each(|session| session.kept = false);
    standing
}

/// After an error that says that nothing changed: before anybody recovers.
pub(crate) fn unchanged(
    world: &World,
    before: &BTreeMap<String, String>,
    bystanders: &BTreeMap<String, Vec<String>>,
) -> Checked {
    // What is known of a version is written before the commit; of a draft it means nothing. And a file that was to
    // lose its name at once is gc's.
    let drafts = world.process(drafts)?;
    let counts = |name: &String| {
        let is_draft = |id: &VersionId| name.ends_with(&format!("/versions/{id}.toml"));
        !drafts.iter().any(|(_, id)| is_draft(id)) && !name.starts_with("run/zchroot/mount/.tmp-")
    };
    let (mut before, mut after) = (before.clone(), world.fingerprint());
    before.retain(|name, _| counts(name));
    after.retain(|name, _| counts(name));
    let lines = |map: &BTreeMap<String, String>| -> Vec<String> {
        map.iter().map(|(name, what)| format!("{name}: {what}")).collect()
    };
    hold(REPORTED, before == after, || {
        format!("it failed and changed something: {}", difference(&lines(&before), &lines(&after)))
    })?;
    for (id, tree) in bystanders {
        let now = describe(&world.layout.mount(&session(id)));
        hold(UNTOUCHED, now == *tree, || format!("{id}: {}", difference(tree, &now)))?;
    }
    Ok(())
}

pub(crate) fn difference(before: &[String], after: &[String]) -> String {
    let (old, new): (BTreeSet<_>, BTreeSet<_>) = (before.iter().collect(), after.iter().collect());
    format!(
        "gone {:#?}, new {:#?}",
        old.difference(&new).collect::<Vec<_>>(),
        new.difference(&old).collect::<Vec<_>>()
    )
}

/// The installation as users see it. Every rule that can be seen on the way is checked.
pub(crate) fn observe(world: &World) -> Checked<Model> {
    world.process(|it| {
        let mut model = Model { images: images::observe(it)?, ..Model::default() };
        let drafts = drafts(it)?;
        for template in must(CURRENT, "list templates", it.store.templates())? {
            let versions = history(it, &template, &drafts)?;
            if !versions.is_empty() {
                let stamps = versions.iter().map(stamp_of).collect::<Checked<_>>()?;
                model.templates.insert(template.to_string(), stamps);
            }
            let pins = look::pins(it, &template)?;
            if !pins.is_empty() {
                model.pins.insert(template.to_string(), pins);
            }
        }
        let all = must(ONLY_OURS, "read the records", it.sessions.records().all())?;
        hold(ONLY_OURS, all.damaged.is_empty(), || format!("damaged records: {:?}", all.damaged))?;
        for record in all.records {
            let what = format!("record {} is {:?} {:?}", record.id, record.kind, record.state);
            let stands = record.state == State::Ready && record.kind != Kind::Ephemeral;
            hold(NOTHING_LEFT, stands || record.is_kept(), || what.clone())?;
            let mounted = must(ORIGIN, &what, it.sessions.is_mounted(&record))?;
            hold(ORIGIN, mounted != record.is_kept(), || format!("{what}, mounted: {mounted}"))?;
            let stamp = must(OLD_OR_NEW, &what, stamp_of_session(it, &record))?;
            let base = record.base.ok_or_else(|| Violation { rule: ORIGIN, what: what.clone() })?;
            let version = must(ORIGIN, &what, Version::load(it.layout, &record.template, &base))?;
            let version = version.ok_or(Violation { rule: ORIGIN, what })?;
            let session = Session {
                template: record.template.to_string(),
                base: usize::try_from(version.generation).unwrap(),
                is_source: record.kind == Kind::Source,
                stamp,
                kept: record.state == State::Kept,
            };
            model.sessions.insert(record.id.to_string(), session);
        }
        Ok(model)
    })
}

fn drafts(it: &Handles<'_>) -> Checked<BTreeSet<(TemplateName, VersionId)>> {
    let all = must(ONLY_OURS, "read the records", it.sessions.records().all())?;
    Ok(all.records.into_iter().filter_map(|record| Some((record.template, record.draft?))).collect())
}

/// The committed versions, oldest first: from the current one back to the first.
fn history(
    it: &Handles<'_>,
    template: &TemplateName,
    drafts: &BTreeSet<(TemplateName, VersionId)>,
) -> Checked<Vec<Version>> {
    let current = must(CURRENT, "read what is current", it.store.current(template))?;
    let pointed = must(CURRENT, "read the pointer", pointer::read(it.layout, template))?;
    hold(CURRENT, pointed == current, || format!("{template}: current {current:?}, pointer {pointed:?}"))?;
    let mut files: BTreeMap<VersionId, Version> =
        must(CURRENT, "read the versions", Version::all(it.layout, template))?
            .into_iter()
            .map(|version| (version.id.clone(), version))
            .collect();
    let mut versions = Vec::new();
    let mut next = current;
    while let Some(id) = next {
        let unknown = format!("{template}: nothing is known of version {id}");
        let version = files.remove(&id).ok_or(Violation { rule: CURRENT, what: unknown })?;
        next = version.parent.clone();
        versions.push(version);
    }
    versions.reverse();
    let numbered = versions.iter().zip(1..).all(|(version, number)| version.generation == number);
    hold(GENERATIONS, numbered, || format!("{template}: {versions:?}"))?;
    files.retain(|id, _| !drafts.contains(&(template.clone(), id.clone())));
    hold(GENERATIONS, files.is_empty(), || format!("{template}: files of what is no version: {files:?}"))?;
    Ok(versions)
}

/// What the author said is what is in it.
fn stamp_of(version: &Version) -> Checked<u32> {
    let text = version.message.clone().unwrap_or_default();
    must(CURRENT, &format!("the message of {version:?}"), text.parse())
}

/// The trees of the store are just those that the model accounts for, whole.
fn trees(world: &World, seen: &Model) -> Checked {
    world.process(|it| {
        let mut folders = BTreeSet::new();
        let drafts = drafts(it)?;
        for (name, stamps) in &seen.templates {
            let template: TemplateName = name.parse().unwrap();
            let heads = must(ONLY_OURS, "list the heads", it.store.heads(&template))?;
            let mut kept = Vec::new();
            for head in heads {
                let known = drafts.contains(&(template.clone(), head.id.clone()));
                hold(ONLY_OURS, head.complete || known, || format!("{name}/{} belongs to nobody", head.id))?;
                let folder = if head.complete { "templates" } else { "drafts" };
                folders.insert(format!("{folder}/{name}/{}", head.id));
                if !head.complete {
                    continue;
                }
                let version =
                    must(ONLY_OURS, "read a version", Version::load(it.layout, &template, &head.id))?;
                let generation = version.map_or(0, |version| usize::try_from(version.generation).unwrap());
                hold(ONLY_OURS, generation > 0, || format!("{name}/{} is no version", head.id))?;
                kept.push(generation);
                let stamp = stamp_in(it, &template, &head.id)?;
                let expected = stamps.get(generation - 1).copied();
                hold(CURRENT, Some(stamp) == expected, || {
                    format!("generation {generation} of {name} has the stamp {stamp}, not {expected:?}")
                })?;
            }
            kept.sort_unstable();
            let expected = seen.kept(name, KEEP);
            hold(ONLY_OURS, kept == expected, || format!("{name} has the trees {kept:?}, not {expected:?}"))?;
        }
        let clones = must(ONLY_OURS, "list the sessions' trees", it.store.sessions())?;
        for clone in &clones {
            folders.insert(format!("sessions/{}", clone.id));
        }
        let mut expected: Vec<&String> =
            seen.sessions.iter().filter(|(_, it)| !it.is_source).map(|(id, _)| id).collect();
        expected.sort();
        let clones: Vec<String> = clones.iter().map(|clone| clone.id.to_string()).collect();
        hold(ONLY_OURS, clones.iter().eq(expected.iter().copied()), || {
            format!("trees of sessions {clones:?}, not {expected:?}")
        })?;
        match &world.fake {
            Some(fake) => pool(world, fake, seen),
            None => directories(world, &folders),
        }
    })
}

/// Reads a version through a mount of its own.
fn stamp_in(it: &Handles<'_>, template: &TemplateName, version: &VersionId) -> Checked<u32> {
    let tree = Tree::Version(template.clone(), version.clone());
    must(CURRENT, &format!("version {version} of {template}"), stamp_in_tree(it, &tree))
}

fn stamp_in_tree(it: &Handles<'_>, tree: &Tree) -> Result<u32, String> {
    let at = tempfile::tempdir_in("/dev/shm").unwrap();
    it.store.mount(tree, at.path(), MountOptions::default()).map_err(|error| format!("{tree:?}: {error}"))?;
    let stamp = read_stamp(at.path());
    rustix::mount::unmount(at.path(), rustix::mount::UnmountFlags::DETACH).unwrap();
    stamp
}

/// What is in the tree of a session; of one that is kept nothing is mounted.
pub(crate) fn stamp_of_session(it: &Handles<'_>, record: &Record) -> Result<u32, String> {
    match record.state {
        State::Kept => stamp_in_tree(it, &record.tree()),
        _ => read_stamp(&it.layout.mount(&record.id)),
    }
}

/// A head for each draft, the others with versions in them; all bytes belong to something.
fn pool(world: &World, fake: &zchroot::store::fake::FakeStore, seen: &Model) -> Checked {
    let names = fake.datasets();
    let heads = |name: &&String| name.starts_with("templates/") && name.matches('/').count() == 2;
    let (snapshots, heads): (Vec<&String>, Vec<&String>) =
        names.iter().filter(heads).partition(|name| name.contains('@'));
    let drafts = seen.sessions.values().filter(|session| session.is_source).count();
    // After a rollback one more may hold the versions that were gone back over.
    let holds = |head: &&&String| snapshots.iter().any(|name| name.starts_with(&format!("{head}@")));
    let empty = heads.iter().filter(|head| !holds(head)).count();
    hold(ONLY_OURS, empty == drafts, || {
        format!("{drafts} drafts, but heads without a version in {names:?}")
    })?;
    let clones = names.iter().filter(|name| name.starts_with("sessions/")).count();
    let bytes = list(&world.trees()).len();
    let images = names.iter().filter(|name| name.starts_with("images/")).count();
    let accounted = heads.len() + snapshots.len() + clones + images;
    hold(ONLY_OURS, bytes == accounted, || format!("{bytes} trees of bytes for {names:?}"))?;
    for line in fake.origins() {
        let is_flat = line.starts_with("sessions/") || drafts > 0 || heads.len() > seen.templates.len();
        hold(ONLY_OURS, is_flat, || format!("a head is still a clone of another: {line}"))?;
    }
    Ok(())
}

fn directories(world: &World, expected: &BTreeSet<String>) -> Checked {
    let store = world.layout.dir_store();
    let mut found = BTreeSet::new();
    for (folder, depth) in [("templates", 2), ("drafts", 2), ("sessions", 1), ("trash", 1)] {
        for name in list(&store.join(folder)) {
            if depth == 1 {
                found.insert(format!("{folder}/{name}"));
            } else {
                let below = list(&store.join(folder).join(&name));
                found.extend(below.iter().map(|leaf| format!("{folder}/{name}/{leaf}")));
            }
        }
    }
    let as_lines = |set: &BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>();
    hold(ONLY_OURS, found == *expected, || difference(&as_lines(expected), &as_lines(&found)))
}

fn nothing_left(world: &World, seen: &Model) -> Checked {
    let layout = &world.layout;
    let stands = |id: &str| seen.sessions.contains_key(id);
    for name in list(&layout.mounts()) {
        hold(NOTHING_LEFT, stands(&name), || format!("mount point {name}"))?;
    }
    for name in list(&layout.locks()) {
        let is_known = name.strip_prefix("session-").is_none_or(stands);
        hold(NOTHING_LEFT, is_known, || format!("lock {name}"))?;
    }
    for path in world.files(&[&layout.locks()]) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        hold(NOTHING_LEFT, !name.starts_with(".tmp-"), || format!("temp file {}", world.relative(&path)))?;
    }
    let mut points = BTreeMap::new();
    for mount in world.mounts() {
        let of = mount.point.strip_prefix(layout.mounts()).ok().map(PathBuf::from);
        let id = of.and_then(|path| Some(path.iter().next()?.to_str()?.to_owned()));
        let is_known = mount.point == layout.mounts() || id.as_deref().is_some_and(stands);
        hold(NOTHING_LEFT, is_known, || format!("mount {}", world.relative(&mount.point)))?;
        *points.entry(mount.point).or_insert(0) += 1;
    }
    let twice: Vec<_> = points.iter().filter(|(_, count)| **count > 1).collect();
    hold(NOTHING_LEFT, twice.is_empty(), || format!("mounted more than once: {twice:?}"))?;
    for dir in [layout.run(), layout.mounts(), layout.state(), layout.records(), layout.templates()] {
        let mode = fs::metadata(&dir).map(|meta| meta.permissions().mode() & 0o777);
        let is_open = mode.as_ref().is_ok_and(|mode| *mode == 0o755) || mode.is_err();
        hold(NOTHING_LEFT, is_open, || format!("{} has the mode {mode:?}", world.relative(&dir)))?;
    }
    Ok(())
}

fn repeated(world: &World) -> Checked {
    let before = world.fingerprint();
    let results = must(REPEATED, "recover again", world.process(|it| it.recover()))?;
    let other: Vec<_> =
        results.iter().filter(|line| !line.ends_with(": Stands") && !line.ends_with(": Kept")).collect();
    hold(REPEATED, other.is_empty(), || format!("{other:?}"))?;
    let troubles = must(REPEATED, "gc again", world.process(|it| it.gc(KEEP)))?;
    let settled = troubles.iter().all(|line| line.contains("cloned from it") || line.contains("has clones"));
    hold(REPEATED, settled, || format!("gc leaves {troubles:?}"))?;
    let after = world.fingerprint();
    let lines =
        |map: &BTreeMap<String, String>| -> Vec<String> { map.iter().map(|it| format!("{it:?}")).collect() };
    hold(REPEATED, before == after, || difference(&lines(&before), &lines(&after)))
}

/// A template can still be begun from and committed to; and when the last session has gone, so has all that it took.
fn usable(world: &World, seen: &Model) -> Checked {
    let mut model = seen.clone();
    let mut go = |rule: &'static str, op: Op| -> Checked {
        model = model.after(&op).ok_or_else(|| Violation { rule, what: format!("{op:?} makes no sense") })?;
        must(rule, &format!("{op:?}"), act(world, &op))
    };
    if seen.templates.is_empty() {
        crate::act::before(world, &Op::Create("new", 98));
        go(VISIBLE, Op::Init)?;
        go(VISIBLE, Op::Create("new", 98))?;
    }
    let names: Vec<&'static str> =
        ["sid", "new"].into_iter().filter(|name| seen.templates.contains_key(*name)).collect();
    for name in &names {
        go(VISIBLE, Op::Begin(name, "probe"))?;
        let stamp = must(VISIBLE, name, read_stamp(&world.layout.mount(&session("probe"))))?;
        let newest = seen.templates.get(*name).and_then(|stamps| stamps.last().copied());
        hold(VISIBLE, Some(stamp) == newest, || format!("a session of {name} has {stamp}, not {newest:?}"))?;
        go(VISIBLE, Op::End("probe"))?;
    }
    for (id, session) in &seen.sessions {
        let id: &'static str = crate::NAMES.iter().find(|name| *name == id).unwrap();
        go(BASELINE, if session.is_source { Op::Abort(id) } else { Op::End(id) })?;
    }
    for name in names {
        go(BASELINE, Op::SourceBegin(name, "probe"))?;
        go(BASELINE, Op::Write("probe", 99))?;
        go(BASELINE, Op::Commit("probe"))?;
    }
    go(BASELINE, Op::Gc)?;
    let left = observe(world)?;
    hold(BASELINE, left == model, || format!("{left:?}, not {model:?}"))?;
    trees(world, &left)
        .and_then(|()| nothing_left(world, &left))
        .and_then(|()| images::nothing_left(world, &left))
        .map_err(|it| Violation { rule: BASELINE, what: it.what })
}

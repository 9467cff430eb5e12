use super::*;
use crate::store::Silent;

fn version(text: &str) -> VersionId {
    text.parse().unwrap()
}

fn store() -> (tempfile::TempDir, FakeStore, TemplateName) {
    let root = tempfile::tempdir().unwrap();
    let store = FakeStore::new(&root.path().join("trees"));
    store.init().unwrap();
    (root, store, "sid".parse().unwrap())
}

fn commit(store: &FakeStore, sid: &TemplateName, name: &str, base: Option<&str>) {
    match base {
        None => store.draft_new(sid, &version(name)).unwrap(),
        Some(base) => store.draft_clone(sid, &version(name), &version(base), &mut Silent).unwrap(),
    }
    let published = store.publish(sid, &version(name), base.map(version).as_ref()).unwrap();
    assert_eq!(published, Published::Committed);
}

#[test]
fn promote_moves_the_snapshots_and_the_sessions_follow() {
    let (_root, store, sid) = store();
    commit(&store, &sid, "v1", None);
    store.session_clone(&sid, &version("v1"), &"s".parse().unwrap()).unwrap();
    commit(&store, &sid, "v2", Some("v1"));
    assert_eq!(
        store.origins(),
        ["sessions/s <- templates/sid/v1@v1", "templates/sid/v2 <- templates/sid/v1@v1"]
    );
    let settled = store.settle(&sid, &|_| true).unwrap();
    assert_eq!(store.origins(), ["sessions/s <- templates/sid/v2@v1"]);
    assert_eq!(settled.deferred, ["sid v1: it has clones"]);
    // Marked, it goes in the moment in which its last clone goes.
    assert_eq!(store.session_drop(&"s".parse().unwrap()).unwrap(), Outcome::Changed);
    assert_eq!(store.heads(&sid).unwrap().len(), 1);
}

#[test]
fn two_snapshots_of_one_name_keep_a_clone_from_being_promoted() {
    let (_root, store, sid) = store();
    commit(&store, &sid, "v1", None);
    commit(&store, &sid, "v2", Some("v1"));
    let mut pool = store.pool();
    let twin = pool::Snapshot {
        name: "v1".to_owned(),
        bytes: PathBuf::new(),
        created: std::time::SystemTime::now(),
        deferred: false,
    };
    pool.datasets.get_mut("templates/sid/v2").unwrap().snapshots.push(twin);
    let refused = pool.promote("templates/sid/v2").unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(libc::EEXIST));
    let no_clone = pool.promote("templates/sid/v1").unwrap_err();
    assert_eq!(no_clone.raw_os_error(), Some(libc::EINVAL));
}

#[test]
fn a_dataset_with_snapshots_is_not_destroyed() {
    let (_root, store, sid) = store();
    commit(&store, &sid, "v1", None);
    let mut pool = store.pool();
    assert_eq!(pool.destroy("templates/sid/v1").unwrap_err().raw_os_error(), Some(libc::EEXIST));
    assert_eq!(pool.destroy("templates/sid/v9").unwrap_err().raw_os_error(), Some(libc::ENOENT));
}

#[test]
fn a_former_head_that_is_mounted_waits_for_the_next_settle() {
    let (root, store, sid) = store();
    commit(&store, &sid, "v1", None);
    let at = root.path().join("at");
    std::fs::create_dir(&at).unwrap();
    store.mount(&Tree::Draft(sid.clone(), version("v1")), &at, MountOptions::default()).unwrap();
    commit(&store, &sid, "v2", Some("v1"));
    let settled = store.settle(&sid, &|_| true).unwrap();
    assert!(settled.deferred.iter().any(|line| line.starts_with("destroy templates/sid/v1")), "{settled:?}");
    store.unmount(&at).unwrap();
    assert!(std::fs::symlink_metadata(&at).unwrap().is_dir());
    assert_eq!(store.unmount(&at).unwrap_err().raw_os_error(), Some(libc::EINVAL));
}

#[test]
fn the_space_is_what_the_test_says() {
    let (_root, store, _) = store();
    let space = Space { available: 7, total: 9 };
    store.set_space(space);
    assert_eq!(store.clone().space().unwrap(), space);
}

//! What settling may drop while commits go on beside it.

use std::path::Path;

use super::*;
use crate::session::Sessions;
use crate::session::record::Owner;
use crate::store::fake::FakeStore;
use crate::store::{
    Digest, Head, ImageTree, Images, Kind as StoreKind, Layout, MountOptions, Outcome, Progress,
    Result as StoreResult, SessionId, SessionTree, Silent, Space, Store, Tree,
};

/// A store to which others commit between the look of a settle and what the store does of it.
#[derive(Debug)]
struct Busy {
    store: FakeStore,
    layout: Layout,
    beside: Vec<(&'static str, &'static str)>,
    /// Others commit already between the looks of the settle: right after it has seen which trees there are.
    early: std::cell::Cell<bool>,
}

fn sid() -> TemplateName {
    "sid".parse().unwrap()
}

fn version(name: &str) -> VersionId {
    name.parse().unwrap()
}

impl Busy {
    fn commit_beside(&self) {
        for (name, base) in &self.beside {
            if self.store.current(&sid()).unwrap().unwrap().as_str() == *base {
                self.commit(name, Some(base));
            }
        }
    }

    fn commit(&self, name: &str, base: Option<&str>) {
        let parent = base.map(|base| Version::load(&self.layout, &sid(), &version(base)).unwrap().unwrap());
        match base {
            None => self.store.draft_new(&sid(), &version(name)).unwrap(),
            Some(base) => {
                self.store.draft_clone(&sid(), &version(name), &version(base), &mut Silent).unwrap();
            }
        }
        let owner = Owner { uid: 0, name: "root".to_owned() };
        let about = Version::new(version(name), parent.as_ref(), owner, None, 0);
        about.save(&self.layout, &sid()).unwrap();
        let published = self.store.publish(&sid(), &version(name), base.map(version).as_ref()).unwrap();
        assert_eq!(published, Published::Committed);
    }
}

impl Store for Busy {
    fn settle(&self, template: &TemplateName, may_go: &dyn Fn(&VersionId) -> bool) -> StoreResult<Settled> {
        self.commit_beside();
        self.store.settle(template, may_go)
    }
    fn look_at(
        &self,
        template: &TemplateName,
        version: &VersionId,
        look: &mut dyn FnMut(std::os::fd::BorrowedFd<'_>),
    ) -> StoreResult<()> {
        self.store.look_at(template, version, look)
    }
    fn kind(&self) -> StoreKind {
        self.store.kind()
    }
    fn name(&self) -> String {
        self.store.name()
    }
    fn init(&self) -> StoreResult<Vec<String>> {
        self.store.init()
    }
    fn space(&self) -> StoreResult<Space> {
        self.store.space()
    }
    fn templates(&self) -> StoreResult<Vec<TemplateName>> {
        self.store.templates()
    }
    fn heads(&self, template: &TemplateName) -> StoreResult<Vec<Head>> {
        let heads = self.store.heads(template);
        if self.early.take() {
            self.commit_beside();
        }
        heads
    }
    fn current(&self, template: &TemplateName) -> StoreResult<Option<VersionId>> {
        self.store.current(template)
    }
    fn draft_new(&self, template: &TemplateName, draft: &VersionId) -> StoreResult<()> {
        self.store.draft_new(template, draft)
    }
    fn draft_clone(
        &self,
        template: &TemplateName,
        draft: &VersionId,
        base: &VersionId,
        progress: &mut dyn Progress,
    ) -> StoreResult<()> {
        self.store.draft_clone(template, draft, base, progress)
    }
    fn draft_drop(&self, template: &TemplateName, draft: &VersionId) -> StoreResult<Outcome> {
        self.store.draft_drop(template, draft)
    }
    fn publish(
        &self,
        template: &TemplateName,
        draft: &VersionId,
        base: Option<&VersionId>,
    ) -> StoreResult<Published> {
        self.store.publish(template, draft, base)
    }
    fn session_clone(
        &self,
        template: &TemplateName,
        version: &VersionId,
        session: &SessionId,
    ) -> StoreResult<()> {
        self.store.session_clone(template, version, session)
    }
    fn session_drop(&self, session: &SessionId) -> StoreResult<Outcome> {
        self.store.session_drop(session)
    }
    fn sessions(&self) -> StoreResult<Vec<SessionTree>> {
        self.store.sessions()
    }
    fn mount(&self, tree: &Tree, at: &Path, options: MountOptions) -> StoreResult<()> {
        self.store.mount(tree, at, options)
    }
    fn used(&self, tree: &Tree) -> StoreResult<u64> {
        self.store.used(tree)
    }
}

impl Images for Busy {
    fn images(&self) -> StoreResult<Vec<ImageTree>> {
        self.store.images()
    }
    fn image_sessions(&self, image: &Digest) -> StoreResult<Vec<SessionId>> {
        self.store.image_sessions(image)
    }
    fn image_new(&self, image: &Digest) -> StoreResult<()> {
        self.store.image_new(image)
    }
    fn image_complete(&self, image: &Digest) -> StoreResult<Outcome> {
        self.store.image_complete(image)
    }
    fn image_drop(&self, image: &Digest) -> StoreResult<Outcome> {
        self.store.image_drop(image)
    }
    fn draft_from_image(
        &self,
        template: &TemplateName,
        draft: &VersionId,
        image: &Digest,
        progress: &mut dyn Progress,
    ) -> StoreResult<()> {
        self.store.draft_from_image(template, draft, image, progress)
    }
    fn session_from_image(&self, image: &Digest, session: &SessionId) -> StoreResult<()> {
        self.store.session_from_image(image, session)
    }
}

fn busy(beside: &[(&'static str, &'static str)]) -> (tempfile::TempDir, Busy) {
    let root = tempfile::tempdir().unwrap();
    let store = FakeStore::new(&root.path().join("trees"));
    store.init().unwrap();
    let busy = Busy { store, layout: Layout::new(root.path()), beside: beside.to_vec(), early: false.into() };
    busy.commit("v1", None);
    for (name, base) in [("v2", "v1"), ("v3", "v2"), ("v4", "v3")] {
        busy.commit(name, Some(base));
    }
    (root, busy)
}

fn left(busy: &Busy) -> Vec<String> {
    let heads = busy.store.heads(&sid()).unwrap();
    heads.into_iter().filter(|head| head.complete).map(|head| head.id.to_string()).collect()
}

#[test]
fn settle_keeps_the_current_version_and_keep_before_it() {
    for (keep, stay) in
        [(1, &["v3", "v4"][..]), (2, &["v2", "v3", "v4"]), (usize::MAX, &["v1", "v2", "v3", "v4"])]
    {
        let (_root, busy) = busy(&[]);
        Sources::new(Sessions::new(&busy.layout, &busy)).settle(&sid(), keep).unwrap();
        assert_eq!(left(&busy), stay, "keep {keep}");
    }
}

#[test]
fn settle_drops_nothing_that_was_committed_after_it_looked() {
    let (_root, busy) = busy(&[("v5", "v4"), ("v6", "v5"), ("v7", "v6")]);
    let settled = Sources::new(Sessions::new(&busy.layout, &busy)).settle(&sid(), 1).unwrap();
    assert_eq!(settled.dropped, ["v1", "v2"].map(version));
    assert_eq!(left(&busy), ["v3", "v4", "v5", "v6", "v7"]);
}

#[test]
fn settle_keeps_what_was_a_draft_when_it_saw_the_trees_and_is_no_more() {
    let (_root, busy) = busy(&[("v5", "v4"), ("v6", "v5")]);
    busy.store.draft_clone(&sid(), &version("v9"), &version("v4"), &mut Silent).unwrap();
    busy.early.set(true);
    Sources::new(Sessions::new(&busy.layout, &busy)).settle(&sid(), 2).unwrap();
    let left = left(&busy);
    for name in ["v4", "v5", "v6"] {
        assert!(left.iter().any(|it| it == name), "{name} went: {left:?}");
    }
}

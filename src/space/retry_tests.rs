//! Once more, after a sweep: what goes, what stays, and that nothing goes for any other reason.

use std::cell::Cell;
use std::path::Path;
use std::time::Duration;

use super::super::sweep::{KeepOf, Sweep};
use super::*;
use crate::session::Sessions;
use crate::source::{Keep, Version};
use crate::store::fake::FakeStore;
use crate::store::{
    Digest, Images, Layout, Outcome, SessionId, Silent, Space, Store, TemplateName, VersionId,
};
use crate::sys::lock::Lock;

/// Keeps the current version only.
#[derive(Debug)]
struct Last;

impl KeepOf for Last {
    fn keep(&self, _template: &TemplateName) -> Keep {
        Keep::from(1)
    }
}

struct House {
    _root: tempfile::TempDir,
    layout: Layout,
    store: FakeStore,
}

fn digest(byte: u8) -> Digest {
    Digest::from_bytes([byte; 32])
}

fn os(errno: i32) -> io::Error {
    io::Error::from_raw_os_error(errno)
}

impl House {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::new(root.path());
        let store = FakeStore::new(&root.path().join("trees"));
        store.init().unwrap();
        let house = Self { _root: root, layout, store };
        house.free(10);
        house
    }

    fn free(&self, available: u64) {
        self.store.set_space(Space { available, total: 100 });
    }

    fn image(&self, byte: u8) {
        self.store.image_new(&digest(byte)).unwrap();
        self.store.image_complete(&digest(byte)).unwrap();
    }

    fn images(&self) -> Vec<Digest> {
        self.store.images().unwrap().into_iter().map(|tree| tree.digest).collect()
    }

    fn sweep(&self) -> Sweep<'_> {
        let sessions = Sessions::new(&self.layout, &self.store);
        Sweep { sessions, grace: Duration::from_secs(600), keep: &Last }
    }
}

#[test]
fn what_met_no_room_is_tried_once_more_when_all_that_may_go_is_gone() {
    for errno in [libc::ENOSPC, libc::EDQUOT] {
        let house = House::new();
        (1..=3).for_each(|byte| house.image(byte));
        let told = Cell::new(0);
        let tell = |error: &io::Error, swept: &Swept| {
            assert_eq!(error.raw_os_error(), Some(errno));
            told.set(swept.gone.len());
        };
        let attempt = || if house.images().is_empty() { Ok(7) } else { Err(os(errno)) };
        let done = once_more(|| house.sweep().run(), |error| is_no_room(error), tell, attempt);
        assert_eq!((done.unwrap(), told.get()), (7, 3));
    }
}

#[test]
fn any_other_failure_evicts_nothing_and_is_not_tried_again() {
    let house = House::new();
    house.image(1);
    for errno in (1..=133).filter(|errno| ![libc::ENOSPC, libc::EDQUOT].contains(errno)) {
        let mut attempts = 0;
        let attempt = || {
            attempts += 1;
            Err::<(), _>(os(errno))
        };
        let swept = || -> Swept { panic!("swept for errno {errno}") };
        let failed = once_more(swept, |error| is_no_room(error), |_, _| {}, attempt);
        assert!(matches!(failed, Err(Failure::Other(error)) if error.raw_os_error() == Some(errno)));
        assert_eq!(attempts, 1);
    }
    let failed = once_more(
        || panic!("swept for a failure without an errno"),
        |error| is_no_room(error),
        |_, _| {},
        || Err::<(), _>(io::Error::other("No space left on device")),
    );
    assert!(matches!(failed, Err(Failure::Other(_))));
    assert_eq!(house.images(), [digest(1)]);
}

#[test]
fn it_is_tried_twice_and_never_a_third_time() {
    let house = House::new();
    let mut attempts = 0;
    let attempt = || {
        attempts += 1;
        house.free(10 + attempts);
        Err::<(), _>(os(libc::ENOSPC))
    };
    let failed = once_more(|| house.sweep().run(), |error| is_no_room(error), |_, _| {}, attempt);
    let Err(Failure::NoRoom { swept, .. }) = failed else { panic!("{failed:?}") };
    assert_eq!((attempts, swept.gone.len(), swept.freed()), (2, 0, 0));
    assert_eq!(swept.after.map(|space| space.available), Some(11));
    let mut second = [libc::ENOSPC, libc::EIO].into_iter();
    let failed = once_more(
        || house.sweep().run(),
        |error| is_no_room(error),
        |_, _| {},
        || Err::<(), _>(os(second.next().unwrap())),
    );
    assert!(matches!(failed, Err(Failure::Other(error)) if error.raw_os_error() == Some(libc::EIO)));
}

#[test]
fn no_room_is_found_wherever_it_stands_among_the_causes() {
    use crate::{session, source, store};
    let store = || store::Error::io("clone", "p/x", os(libc::EDQUOT));
    let undo = |cause: session::Error| session::Error::Undo {
        cause: Box::new(cause),
        undo: Box::new(session::Error::sys("unmount", "x", os(libc::EIO))),
    };
    assert!(is_no_room(&store()));
    assert!(is_no_room(&session::Error::from(store())));
    assert!(is_no_room(&undo(store().into())));
    assert!(is_no_room(&source::Error::Session(undo(store().into()))));
    assert!(is_no_room(&io::Error::other(session::Error::from(store()))));
    assert!(!is_no_room(&undo(session::Error::sys("mount", "x", os(libc::EBUSY)))));
    assert!(!is_no_room(&store::Error::new(store::ErrorKind::Other, "read", "p", "no memory of its own")));
}

#[test]
fn no_room_beside_the_store_is_none_of_the_store() {
    use crate::sys::file;
    use crate::{import, session, source, store};
    let house = House::new();
    let (layout, id) = (&house.layout, "s".parse::<SessionId>().unwrap());
    let beside = [layout.sweep_lock(), layout.mounts(), layout.mount(&id), layout.image_mount(&digest(1))];
    let within = [layout.mount(&id).join("etc/passwd"), layout.records().join("s.toml"), layout.images()];
    let all = |path: &Path| -> Vec<Box<dyn std::error::Error>> {
        let file = || file::Error { op: "make", path: path.to_owned(), source: os(libc::ENOSPC) };
        let session = || session::Error::from(file());
        vec![
            Box::new(file()),
            Box::new(session()),
            Box::new(session::Error::sys("mount", path.display(), os(libc::EDQUOT))),
            Box::new(session::Error::from(store::Error::from(file()))),
            Box::new(source::Error::from(file())),
            Box::new(source::Error::Session(session())),
            Box::new(store::Error::from(file())),
            Box::new(import::Error::from(file())),
            Box::new(io::Error::other(session())),
        ]
    };
    for path in beside {
        for error in all(&path) {
            assert!(!is_no_room(error.as_ref()), "{error:?}");
        }
    }
    for path in within {
        for error in all(&path) {
            assert!(is_no_room(error.as_ref()), "{error:?}");
        }
    }
}

/// Makes the next version of a template, of which something is known.
fn commit(house: &House, name: &str, base: Option<&str>) {
    let template: TemplateName = "sid".parse().unwrap();
    let version = |name: &str| -> VersionId { name.parse().unwrap() };
    match base {
        None => house.store.draft_new(&template, &version(name)).unwrap(),
        Some(base) => {
            house.store.draft_clone(&template, &version(name), &version(base), &mut Silent).unwrap();
        }
    }
    let owner = crate::session::Owner { uid: 0, name: "root".to_owned() };
    let parent = base.map(|base| Version::load(&house.layout, &template, &version(base)).unwrap().unwrap());
    Version::new(version(name), parent.as_ref(), owner, None, 0).save(&house.layout, &template).unwrap();
    house.store.publish(&template, &version(name), base.map(version).as_ref()).unwrap();
}

#[test]
fn a_sweep_takes_what_can_be_made_again_and_nothing_else() {
    let house = House::new();
    (1..=3).for_each(|byte| house.image(byte));
    let session: SessionId = "s".parse().unwrap();
    house.store.session_from_image(&digest(2), &session).unwrap();
    crate::sys::lock::make_folder(&house.layout.locks()).unwrap();
    let held = Lock::take(&house.layout.image_lock(&digest(3)), Duration::ZERO).unwrap().unwrap();
    commit(&house, "v1", None);
    commit(&house, "v2", Some("v1"));
    commit(&house, "v3", Some("v2"));

    let swept = house.sweep().run();
    let gone: Vec<String> = swept.gone.iter().map(|item| item.object.to_string()).collect();
    assert_eq!(house.images(), [digest(2), digest(3)], "one is in use, the other is being cloned");
    assert_eq!(gone.len(), 2, "{gone:?}");
    assert!(gone.iter().any(|line| line == "version sid/v1"), "{gone:?}");
    assert_eq!(swept.troubles, [] as [&str; 0]);
    let young = house.store.sessions().unwrap();
    assert_eq!(young.len(), 1, "no record refers to it, but it is young");
    drop(held);

    // A record that cannot be read may refer to anything; an image knows itself who needs it.
    crate::sys::file::make_dirs(&house.layout.records(), 0o755).unwrap();
    let damaged: &Path = &house.layout.records().join("x.toml");
    crate::sys::file::replace(damaged, "nonsense").unwrap();
    let swept = house.sweep().run();
    assert_eq!(house.images(), [digest(2)]);
    assert_eq!((swept.gone.len(), swept.troubles.len()), (1, 1), "{swept:?}");
    assert_eq!(house.store.session_drop(&session).unwrap(), Outcome::Changed);
}

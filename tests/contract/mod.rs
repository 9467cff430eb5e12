//! The contract of `trait Store`, as tests over `&dyn Store`.
//!
//! A [`Lab`] is a store that may be ruined. A test names its steps through a [`Bench`]. Every tree that the
//! suite makes carries its version's name in many places ([`write_stamp`]), so that a tree that is half of one
//! version and half of another is seen ([`read_stamp`]).

pub(crate) mod faults;
pub(crate) mod images;
pub(crate) mod labs;
pub(crate) mod pile;
pub(crate) mod races;
pub(crate) mod rules;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use zchroot::store::{
    Error, ErrorKind, Layout, MountOptions, Published, SessionId, Silent, Store, TemplateName, Tree,
    VersionId, pointer,
};

/// A store that may be ruined.
pub(crate) trait Lab: Sync {
    /// A handle of its own, as another process would open it.
    fn store(&self) -> Box<dyn Store>;
    /// Where pointers and the like lie.
    fn layout(&self) -> &Layout;
    /// An empty place for mount points.
    fn scratch(&self) -> &Path;
    /// Undoes a mount.
    fn unmount(&self, at: &Path);
    /// Whether mounts are the kernel's, with flags.
    fn has_real_mounts(&self) -> bool;
    /// What lies about that should not, after everything was settled.
    fn leftovers(&self) -> Vec<String>;
}

/// A mounted tree; unmounted when dropped, also by a failed test.
pub(crate) struct Mounted<'a> {
    lab: &'a dyn Lab,
    pub(crate) path: PathBuf,
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        self.lab.unmount(&self.path);
        let _ = fs::remove_dir(&self.path);
    }
}

/// A store at work on the template `sid`.
pub(crate) struct Bench<'a> {
    pub(crate) lab: &'a dyn Lab,
    pub(crate) store: Box<dyn Store>,
    pub(crate) sid: TemplateName,
}

pub(crate) fn version(text: &str) -> VersionId {
    text.parse().unwrap()
}

pub(crate) fn session(text: &str) -> SessionId {
    text.parse().unwrap()
}

/// Every version may go but these.
pub(crate) fn all_but(names: &[&str]) -> impl Fn(&VersionId) -> bool + use<> {
    let kept: BTreeSet<VersionId> = names.iter().map(|name| version(name)).collect();
    move |version| !kept.contains(version)
}

impl<'a> Bench<'a> {
    pub(crate) fn new(lab: &'a dyn Lab) -> Self {
        let store = lab.store();
        store.init().unwrap();
        Self { lab, store, sid: "sid".parse().unwrap() }
    }

    /// As new, with a handle of its own.
    pub(crate) fn again(&self) -> Bench<'a> {
        Bench { lab: self.lab, store: self.lab.store(), sid: self.sid.clone() }
    }

    pub(crate) fn draft(&self, name: &str) -> Tree {
        Tree::Draft(self.sid.clone(), version(name))
    }

    pub(crate) fn version(&self, name: &str) -> Tree {
        Tree::Version(self.sid.clone(), version(name))
    }

    pub(crate) fn mount(&self, tree: &Tree) -> Result<Mounted<'a>, Error> {
        self.mount_with(tree, MountOptions::default())
    }

    pub(crate) fn mount_with(&self, tree: &Tree, options: MountOptions) -> Result<Mounted<'a>, Error> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let path = self.lab.scratch().join(NEXT.fetch_add(1, Ordering::Relaxed).to_string());
        fs::create_dir(&path).unwrap();
        match self.store.mount(tree, &path, options) {
            Ok(()) => Ok(Mounted { lab: self.lab, path }),
            Err(error) => {
                fs::remove_dir(&path).unwrap();
                Err(error)
            }
        }
    }

    pub(crate) fn stamp(&self, tree: &Tree) -> String {
        let mounted = self.mount(tree).unwrap_or_else(|error| panic!("{tree:?}: {}", chain(&error)));
        read_stamp(&mounted.path)
    }

    /// A draft with its contents, and what is known of it.
    pub(crate) fn prepare(&self, name: &str, base: Option<&str>) {
        match base {
            None => self.store.draft_new(&self.sid, &version(name)).unwrap(),
            Some(base) => self
                .store
                .draft_clone(&self.sid, &version(name), &version(base), &mut Silent)
                .unwrap_or_else(|error| panic!("{}", chain(&error))),
        }
        let mounted = self.mount(&self.draft(name)).unwrap();
        write_stamp(&mounted.path, name);
        drop(mounted);
        self.describe(name);
    }

    /// Writes the file that says what is known of a version: who commits does it before the commit.
    pub(crate) fn describe(&self, name: &str) {
        let about = self.lab.layout().version(&self.sid, &version(name));
        fs::create_dir_all(about.parent().unwrap()).unwrap();
        fs::write(about, format!("version = \"{name}\"\n")).unwrap();
    }

    pub(crate) fn publish(&self, name: &str, base: Option<&str>) -> Result<Published, Error> {
        let base = base.map(version);
        let published = self.store.publish(&self.sid, &version(name), base.as_ref())?;
        if published == Published::Committed {
            pointer::write(self.lab.layout(), &self.sid, &version(name))?;
        }
        Ok(published)
    }

    pub(crate) fn commit(&self, name: &str, base: Option<&str>) {
        self.prepare(name, base);
        let published = self.publish(name, base).unwrap_or_else(|error| panic!("{}", chain(&error)));
        assert_eq!(published, Published::Committed);
    }

    /// Commits a version whose tree is that of an older one.
    pub(crate) fn roll_back(&self, name: &str, to: &str, base: &str) {
        self.store.draft_clone(&self.sid, &version(name), &version(to), &mut Silent).unwrap();
        self.describe(name);
        assert_eq!(self.publish(name, Some(base)).unwrap(), Published::Committed);
    }

    pub(crate) fn clone_session(&self, name: &str, of: &str) -> Result<Tree, Error> {
        let id = session(name);
        self.store.session_clone(&self.sid, &version(of), &id)?;
        Ok(Tree::Session(id))
    }

    pub(crate) fn settle(&self, keep: &[&str]) {
        self.store.settle(&self.sid, &all_but(keep)).unwrap();
    }

    pub(crate) fn current(&self) -> Option<String> {
        self.store.current(&self.sid).unwrap().map(|current| current.to_string())
    }

    /// `v1 v2+ v3`: heads in their order, `+` for a draft.
    pub(crate) fn heads(&self) -> String {
        let heads = self.store.heads(&self.sid).unwrap();
        let word =
            |head: &zchroot::store::Head| format!("{}{}", head.id, if head.complete { "" } else { "+" });
        heads.iter().map(word).collect::<Vec<_>>().join(" ")
    }

    pub(crate) fn session_names(&self) -> Vec<String> {
        self.store.sessions().unwrap().into_iter().map(|session| session.id.to_string()).collect()
    }
}

pub(crate) fn chain(error: &Error) -> String {
    let cause = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    format!("{error}: {cause}")
}

pub(crate) fn kind<T: std::fmt::Debug>(result: Result<T, Error>) -> ErrorKind {
    result.unwrap_err().kind()
}

const FOLDERS: usize = 4;
const FILES: usize = 3;

/// Makes a tree be version `stamp`: every file says it, some appear, some vanish, a folder is renamed.
pub(crate) fn write_stamp(top: &Path, stamp: &str) {
    for folder in 0..FOLDERS {
        let folder = top.join(format!("usr/{folder}"));
        fs::create_dir_all(&folder).unwrap();
        for file in 0..FILES {
            fs::write(folder.join(format!("file-{file}")), stamp).unwrap();
        }
    }
    for old in fs::read_dir(top).unwrap().map(|entry| entry.unwrap()) {
        if old.file_name().to_string_lossy().starts_with("only-") {
            fs::remove_dir_all(old.path()).unwrap();
        }
    }
    fs::create_dir(top.join(format!("only-{stamp}"))).unwrap();
    fs::write(top.join(format!("only-{stamp}/hard")), stamp).unwrap();
    fs::hard_link(top.join(format!("only-{stamp}/hard")), top.join(format!("only-{stamp}/link"))).unwrap();
    let _ = fs::remove_file(top.join("soft"));
    symlink(format!("only-{stamp}/hard"), top.join("soft")).unwrap();
}

/// Reads which version a tree is, and panics if it is not one as a whole.
pub(crate) fn read_stamp(top: &Path) -> String {
    let read = |path: PathBuf| {
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("half a tree: {}: {error}", path.display()))
    };
    let stamp = read(top.join("usr/0/file-0"));
    for folder in 0..FOLDERS {
        for file in 0..FILES {
            let path = top.join(format!("usr/{folder}/file-{file}"));
            assert_eq!(read(path.clone()), stamp, "half of one version: {}", path.display());
        }
    }
    assert_eq!(read(top.join("soft")), stamp);
    let only: Vec<String> = fs::read_dir(top)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with("only-"))
        .collect();
    assert_eq!(only, [format!("only-{stamp}")]);
    let inode = |name: &str| fs::metadata(top.join(format!("only-{stamp}/{name}"))).unwrap().ino();
    assert_eq!(inode("hard"), inode("link"), "a hard link was split");
    stamp
}

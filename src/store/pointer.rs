//! The pointer: which version of a template is current, for readers that take no lock.
//!
//! [`Layout::pointer`] is a relative symlink `versions/VID.toml`. It is only ever replaced by a rename, so that
//! a reader sees the old target or the new one. On the `dir` store it *is* the truth; on ZFS the truth is a
//! property of the pool and the pointer follows it.
//!
//! Following is done under a lock, inside of which the truth is read: of two who commit one after the other the
//! first may come to its pointer last, and must not turn it back. Who commits takes that lock before the commit and
//! keeps it until the pointer follows: while nobody has it, truth and pointer are the same, unless its last holder
//! crashed; then whoever takes it next makes them the same again.
//!
//! Crash rule: before the rename nothing changed; after it the new version is what everybody reads. The fsync
//! of the directory is repeated by a repeated [`write()`], also when there is nothing left to change.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Error, ErrorKind, Layout, Outcome, Result, Store, TemplateName, VersionId};
use crate::sys::file;
use crate::sys::lock::{self, Lock};

const FOLDER: &str = "versions/";
const SUFFIX: &str = ".toml";

/// Reads which version the pointer names; `None` if there is no pointer.
///
/// # Errors
/// The pointer cannot be read, is no symlink, or names no version; the error says which file.
pub fn read(layout: &Layout, template: &TemplateName) -> Result<Option<VersionId>> {
    let path = layout.pointer(template);
    match file::read_link_if_there(&path)? {
        None => Ok(None),
        Some(target) => parse(&target).map(Some).ok_or_else(|| {
            let why = format!("it points to {}, not to versions/VERSION.toml", target.display());
            Error::new(ErrorKind::Other, "read pointer", path.display().to_string(), why)
        }),
    }
}

/// Lets the pointer say, durably, what the store says is current, and gives that.
///
/// # Errors
/// [`ErrorKind::Busy`] if another process moves the pointer for longer than `patience`; the store cannot be read;
/// or as [`write()`].
pub fn follow(
    layout: &Layout,
    store: &dyn Store,
    template: &TemplateName,
    patience: Duration,
) -> Result<Option<VersionId>> {
    Held::take(layout, store, template, patience)?.follow()
}

/// The right to move the pointer of one template.
#[derive(Debug)]
pub struct Held<'a> {
    layout: &'a Layout,
    store: &'a dyn Store,
    template: &'a TemplateName,
    /// None where the pointer is the truth: the store moves it.
    _lock: Option<Lock>,
}

impl<'a> Held<'a> {
    /// Takes the lock; a store whose pointer is the truth has its own.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] if another process moves the pointer for longer than `patience`.
    pub fn take(
        layout: &'a Layout,
        store: &'a dyn Store,
        template: &'a TemplateName,
        patience: Duration,
    ) -> Result<Self> {
        if store.current_is_pointer() {
            return Ok(Self { layout, store, template, _lock: None });
        }
        lock::make_folder(&layout.locks())?;
        let path = layout.pointer_lock(template);
        let lock = Lock::take(&path, patience)?.ok_or_else(|| {
            let why = format!("somebody else kept it for {} s", patience.as_secs());
            Error::new(ErrorKind::Busy, "lock", path.display().to_string(), why)
        })?;
        Ok(Self { layout, store, template, _lock: Some(lock) })
    }

    /// Lets the pointer say, durably, what the store says is current, and gives that.
    ///
    /// # Errors
    /// The store cannot be read; or as [`write()`].
    pub fn follow(self) -> Result<Option<VersionId>> {
        let current = self.store.current(self.template)?;
        match &current {
            None => {}
            // Written here, it could undo a commit that came between the reading and the writing.
            Some(_) if self.store.current_is_pointer() => {
                file::sync_parent(&self.layout.pointer(self.template))?;
            }
            Some(current) => drop(write(self.layout, self.template, current)?),
        }
        Ok(current)
    }
}

/// Makes the pointer name `version`, at once and durably; a malformed pointer is replaced.
///
/// # Errors
/// A directory or the symlink cannot be made. The pointer is then as it was, or (if only the last fsync
/// failed) already new: [`read`] tells.
pub fn write(layout: &Layout, template: &TemplateName, version: &VersionId) -> Result<Outcome> {
    let path = layout.pointer(template);
    let target = PathBuf::from(format!("{FOLDER}{version}{SUFFIX}"));
    if matches!(file::read_link_if_there(&path), Ok(Some(there)) if there.as_os_str() == target.as_os_str()) {
        // Whoever wrote it may have crashed before the fsync.
        file::sync_parent(&path)?;
        return Ok(Outcome::Unchanged);
    }
    file::make_dirs(&layout.versions(template), 0o755)?;
    file::replace_symlink(&path, &target)?;
    Ok(Outcome::Changed)
}

fn parse(target: &Path) -> Option<VersionId> {
    let text = std::str::from_utf8(target.as_os_str().as_bytes()).ok()?;
    text.strip_prefix(FOLDER)?.strip_suffix(SUFFIX)?.parse().ok()
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests set files up by hand")]
mod tests {
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;
    use crate::store::Published;
    use crate::store::fake::FakeStore;
    use crate::sys::effect::{self, Mode, Plan};

    fn place() -> (tempfile::TempDir, Layout, TemplateName) {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::new(root.path());
        (root, layout, "sid".parse().unwrap())
    }

    fn id(text: &str) -> VersionId {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_written_is_read() {
        let (_root, layout, sid) = place();
        assert_eq!(read(&layout, &sid).unwrap(), None);
        assert_eq!(write(&layout, &sid, &id("v1")).unwrap(), Outcome::Changed);
        assert_eq!(write(&layout, &sid, &id("v1")).unwrap(), Outcome::Unchanged);
        assert_eq!(read(&layout, &sid).unwrap(), Some(id("v1")));
        assert_eq!(write(&layout, &sid, &id("v2")).unwrap(), Outcome::Changed);
        assert_eq!(read(&layout, &sid).unwrap(), Some(id("v2")));
        let target = std::fs::read_link(layout.pointer(&sid)).unwrap();
        assert_eq!(target, Path::new("versions/v2.toml"), "relative, so that the state can be moved");
    }

    #[test]
    fn who_comes_late_to_the_pointer_does_not_turn_it_back() {
        let (root, layout, sid) = place();
        let store = FakeStore::new(&root.path().join("pool"));
        std::fs::create_dir(root.path().join("pool")).unwrap();
        store.init().unwrap();
        let commit = |new: &str, base: Option<&VersionId>| {
            store.draft_new(&sid, &id(new)).unwrap();
            assert_eq!(store.publish(&sid, &id(new), base).unwrap(), Published::Committed);
        };
        let follow = || follow(&layout, &store, &sid, Duration::ZERO).unwrap();
        commit("v1", None);
        commit("v2", Some(&id("v1")));
        assert_eq!(follow(), Some(id("v2")), "the second committer, who was faster");
        assert_eq!(follow(), Some(id("v2")), "the first one");
        assert_eq!(read(&layout, &sid).unwrap(), Some(id("v2")));
    }

    #[test]
    fn a_pointer_that_another_moves_is_waited_for_and_then_left_alone() {
        let (root, layout, sid) = place();
        let store = FakeStore::new(root.path());
        std::fs::create_dir_all(layout.locks()).unwrap();
        let _other = Lock::take(&layout.pointer_lock(&sid), Duration::ZERO).unwrap().unwrap();
        let error = follow(&layout, &store, &sid, Duration::ZERO).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Busy);
        assert!(error.to_string().contains("pointer-sid"), "{error}");
    }

    #[test]
    fn where_the_pointer_is_the_truth_following_moves_nothing() {
        let (_root, layout, sid) = place();
        let store = crate::dir::DirStore::open(&layout);
        assert_eq!(follow(&layout, &store, &sid, Duration::ZERO).unwrap(), None);
        write(&layout, &sid, &id("v1")).unwrap();
        let before = std::fs::symlink_metadata(layout.pointer(&sid)).unwrap().ino();
        assert_eq!(follow(&layout, &store, &sid, Duration::ZERO).unwrap(), Some(id("v1")));
        assert_eq!(std::fs::symlink_metadata(layout.pointer(&sid)).unwrap().ino(), before);
    }

    #[test]
    fn a_malformed_pointer_is_an_error_that_names_the_file() {
        let targets = [
            "v1.toml",
            "versions/v1",
            "versions/.toml",
            "versions/../v1.toml",
            "versions/a/b.toml",
            "/versions/v1.toml",
            "versions/-v.toml",
            "versions/v1.toml/",
        ];
        for target in targets {
            let (_root, layout, sid) = place();
            std::fs::create_dir_all(layout.versions(&sid)).unwrap();
            symlink(target, layout.pointer(&sid)).unwrap();
            let error = read(&layout, &sid).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Other, "{target}");
            assert!(error.to_string().contains("templates/sid/current"), "{error}");
            assert_eq!(write(&layout, &sid, &id("v1")).unwrap(), Outcome::Changed, "{target}");
            assert_eq!(read(&layout, &sid).unwrap(), Some(id("v1")));
        }
    }

    #[test]
    fn a_pointer_that_is_a_file_cannot_be_read() {
        let (_root, layout, sid) = place();
        std::fs::create_dir_all(layout.versions(&sid)).unwrap();
        std::fs::write(layout.pointer(&sid), "v1").unwrap();
        let error = read(&layout, &sid).unwrap_err();
        assert_eq!(error.errno(), Some(libc::EINVAL));
    }

    #[test]
    fn a_fault_at_any_step_leaves_the_old_or_the_new_and_a_repeat_goes_through() {
        for mode in [Mode::Crash, Mode::Fail(libc::EIO)] {
            for at in 1.. {
                let (_root, layout, sid) = place();
                write(&layout, &sid, &id("v1")).unwrap();
                let (result, seen) = effect::run(Plan { at, mode }, || write(&layout, &sid, &id("v2")));
                let now = read(&layout, &sid).unwrap().unwrap();
                assert!(now == id("v1") || now == id("v2"), "{now} after {seen:?}");
                write(&layout, &sid, &id("v2")).unwrap();
                assert_eq!(read(&layout, &sid).unwrap(), Some(id("v2")));
                if matches!(result, Ok(Ok(_))) {
                    assert!(at > 3, "symlink, rename and fsync were each hit, but only {seen:?} seen");
                    break;
                }
            }
        }
    }
}

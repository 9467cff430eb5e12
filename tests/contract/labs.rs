//! The stores under test.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::mount::{UnmountFlags, unmount};
use tempfile::TempDir;
use zchroot::dir::DirStore;
use zchroot::store::fake::FakeStore;
use zchroot::store::{Layout, Store};

use super::Lab;

fn scratch(root: &TempDir) -> PathBuf {
    let path = root.path().join("at");
    fs::create_dir(&path).unwrap();
    path
}

/// The model in memory.
pub(crate) struct FakeLab {
    store: FakeStore,
    layout: Layout,
    scratch: PathBuf,
    _root: TempDir,
}

impl FakeLab {
    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir_in("/dev/shm").unwrap();
        let trees = root.path().join("trees");
        fs::create_dir(&trees).unwrap();
        let store = FakeStore::new(&trees);
        Self { store, layout: Layout::new(root.path()), scratch: scratch(&root), _root: root }
    }
}

impl Lab for FakeLab {
    fn store(&self) -> Box<dyn Store> {
        Box::new(self.store.clone())
    }

    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn scratch(&self) -> &Path {
        &self.scratch
    }

    fn unmount(&self, at: &Path) {
        self.store.unmount(at).unwrap();
    }

    fn has_real_mounts(&self) -> bool {
        false
    }

    fn leftovers(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Directories and overlayfs; needs root.
pub(crate) struct DirLab {
    layout: Layout,
    scratch: PathBuf,
    _root: TempDir,
}

impl DirLab {
    pub(crate) fn new() -> Self {
        Self::at(tempfile::tempdir().unwrap())
    }

    /// In memory, where a thousand commits cost no disk a thousand flushes.
    pub(crate) fn in_memory() -> Self {
        Self::at(tempfile::tempdir_in("/dev/shm").unwrap())
    }

    fn at(root: TempDir) -> Self {
        assert!(rustix::process::geteuid().is_root(), "the store on directories needs root");
        Self { layout: Layout::new(root.path()), scratch: scratch(&root), _root: root }
    }
}

impl Lab for DirLab {
    fn store(&self) -> Box<dyn Store> {
        Box::new(DirStore::open(&self.layout))
    }

    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn scratch(&self) -> &Path {
        &self.scratch
    }

    fn unmount(&self, at: &Path) {
        unmount(at, UnmountFlags::NOFOLLOW).unwrap();
    }

    fn has_real_mounts(&self) -> bool {
        true
    }

    fn leftovers(&self) -> Vec<String> {
        let store = self.layout.dir_store();
        let mut found = Vec::new();
        for folder in ["trash", "drafts/sid", "templates/sid"] {
            let Ok(entries) = fs::read_dir(store.join(folder)) else { continue };
            for entry in entries {
                let name = entry.unwrap().file_name().to_string_lossy().into_owned();
                if folder == "trash" || name.starts_with('.') {
                    found.push(format!("{folder}/{name}"));
                }
            }
        }
        found
    }
}

#[cfg(feature = "zfs")]
pub(crate) use zfs::ZfsLab;

#[cfg(feature = "zfs")]
mod zfs {
    use std::fs::File;
    use std::process::Command;
    use std::sync::atomic::{AtomicU64, Ordering};

    use zchroot::zfs::ZfsStore;

    use super::*;

    const GUARD: &str = "/etc/zchroot-test-vm";
    /// A small pool loses half of itself to the slop.
    const SIZE: u64 = 2 << 30;

    /// A pool of its own on a file; only in the test machine.
    pub(crate) struct ZfsLab {
        pool: String,
        layout: Layout,
        scratch: PathBuf,
        root: Option<TempDir>,
    }

    impl ZfsLab {
        pub(crate) fn new() -> Self {
            static NEXT: AtomicU64 = AtomicU64::new(0);
            assert!(
                Path::new(GUARD).exists(),
                "this test makes a ZFS pool, and this is not the test machine ({GUARD} is absent): cargo xtask vm"
            );
            let home = if Path::new("/scratch").is_dir() { "/scratch" } else { "/var/tmp" };
            let root = tempfile::tempdir_in(home).unwrap();
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let pool = format!("contract-{}-{number}", std::process::id());
            let vdev = root.path().join("vdev");
            File::create(&vdev).unwrap().set_len(SIZE).unwrap();
            let options = ["-f", "-o", "cachefile=none", "-O", "mountpoint=none"];
            zpool(&[&["create"], &options[..], &["--", &pool, vdev.to_str().unwrap()]].concat());
            let layout = Layout::new(root.path());
            Self { pool, layout, scratch: scratch(&root), root: Some(root) }
        }
    }

    fn zpool(args: &[&str]) {
        let output = Command::new("/sbin/zpool").args(args).output().unwrap();
        assert!(output.status.success(), "zpool {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    impl Drop for ZfsLab {
        fn drop(&mut self) {
            let _ = unmount(self.layout.state(), UnmountFlags::NOFOLLOW);
            let output = Command::new("/sbin/zpool").args(["destroy", "-f", "--", &self.pool]).output();
            if !output.is_ok_and(|output| output.status.success()) {
                // The vdev of a pool that is still there must stay.
                self.root.take().map(TempDir::keep);
            }
        }
    }

    impl Lab for ZfsLab {
        fn store(&self) -> Box<dyn Store> {
            Box::new(ZfsStore::open(&self.pool, &self.layout, 0).unwrap())
        }

        fn layout(&self) -> &Layout {
            &self.layout
        }

        fn scratch(&self) -> &Path {
            &self.scratch
        }

        fn unmount(&self, at: &Path) {
            unmount(at, UnmountFlags::NOFOLLOW).unwrap();
        }

        fn has_real_mounts(&self) -> bool {
            true
        }

        fn leftovers(&self) -> Vec<String> {
            Vec::new()
        }
    }
}

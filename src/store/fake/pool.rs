//! A pool as ZFS would have it: datasets, snapshots, clones with an origin, promote, deferred destroy.
//!
//! Each operation is one transaction group and one effect: a fault finds it done or not done. What the pool itself
//! does with bytes is nobody's effect ([`effect::elsewhere`]).
//!
//! As in ZFS a dataset that is given properties is made in two transaction groups: a crash between them leaves it
//! without them ([`Dataset::plain`]).

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::sys::tree::{self, CopyOptions};
use crate::sys::{effect, file, mountinfo};

/// A snapshot by its full name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SnapshotName {
    pub(super) dataset: String,
    pub(super) snapshot: String,
}

#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) name: String,
    pub(super) bytes: PathBuf,
    pub(super) created: SystemTime,
    /// Goes with its last clone.
    pub(super) deferred: bool,
}

#[derive(Debug)]
pub(super) struct Dataset {
    /// What is in it; `None` for a container that is never mounted.
    pub(super) bytes: Option<PathBuf>,
    /// The user property.
    pub(super) current: Option<String>,
    pub(super) origin: Option<SnapshotName>,
    /// In the order in which they were made.
    pub(super) snapshots: Vec<Snapshot>,
    pub(super) created: SystemTime,
    /// It was to have properties, which are not set yet.
    pub(super) plain: bool,
}

#[derive(Debug)]
pub(super) struct Pool {
    folder: PathBuf,
    next: u64,
    pub(super) datasets: BTreeMap<String, Dataset>,
    /// Symlinks that stand for mounts, and the bytes that they show.
    pub(super) mounts: BTreeMap<PathBuf, PathBuf>,
    /// Mounts are the kernel's.
    pub(super) real_mounts: bool,
}

fn errno(code: i32) -> io::Error {
    io::Error::from_raw_os_error(code)
}

impl Pool {
    pub(super) fn new(folder: &Path) -> Self {
        let (datasets, mounts) = (BTreeMap::new(), BTreeMap::new());
        Self { folder: folder.to_owned(), next: 0, datasets, mounts, real_mounts: false }
    }

    /// Whether these bytes are mounted: what is, is neither destroyed nor moved.
    fn refuse_mounted(&self, bytes: &Path) -> io::Result<()> {
        let by_kernel = || {
            // The table names a directory by its path in its file system: the end of ours is unique.
            let parts = [self.folder.parent(), Some(&self.folder), Some(bytes)];
            let end: PathBuf = parts.into_iter().flatten().filter_map(Path::file_name).collect();
            Ok::<_, io::Error>(
                mountinfo::own()
                    .map_err(|error| error.source)?
                    .iter()
                    .any(|it| it.source.root.ends_with(&end)),
            )
        };
        if self.mounts.values().any(|mounted| mounted == bytes) || (self.real_mounts && by_kernel()?) {
            return Err(errno(libc::EBUSY));
        }
        Ok(())
    }

    fn get(&self, name: &str) -> io::Result<&Dataset> {
        self.datasets.get(name).ok_or_else(|| errno(libc::ENOENT))
    }

    fn get_mut(&mut self, name: &str) -> io::Result<&mut Dataset> {
        self.datasets.get_mut(name).ok_or_else(|| errno(libc::ENOENT))
    }

    fn must_be_free(&self, name: &str) -> io::Result<()> {
        if self.datasets.contains_key(name) { Err(errno(libc::EEXIST)) } else { Ok(()) }
    }

    /// A snapshot, wherever below `container` promote has moved it.
    pub(super) fn find(&self, container: &str, snapshot: &str) -> Option<SnapshotName> {
        let below = format!("{container}/");
        let mut datasets = self.datasets.iter().filter(|(name, _)| name.starts_with(&below));
        datasets
            .find(|(_, dataset)| dataset.snapshots.iter().any(|it| it.name == snapshot))
            .map(|(name, _)| SnapshotName { dataset: name.clone(), snapshot: snapshot.to_owned() })
    }

    pub(super) fn snapshot(&self, name: &SnapshotName) -> io::Result<&Snapshot> {
        let mut snapshots = self.get(&name.dataset)?.snapshots.iter();
        snapshots.find(|it| it.name == name.snapshot).ok_or_else(|| errno(libc::ENOENT))
    }

    pub(super) fn clones(&self, name: &SnapshotName) -> Vec<&str> {
        let of = |dataset: &Dataset| dataset.origin.as_ref() == Some(name);
        self.datasets.iter().filter(|(_, dataset)| of(dataset)).map(|(name, _)| name.as_str()).collect()
    }

    pub(super) fn create_container(&mut self, name: &str) -> io::Result<bool> {
        if self.datasets.contains_key(name) {
            return Ok(false);
        }
        effect::point("zfs create")?;
        self.put(name, None, None);
        Ok(true)
    }

    /// Makes a container that has properties, or makes it again if its properties never came to be.
    pub(super) fn create_with_properties(&mut self, name: &str) -> io::Result<bool> {
        let below = format!("{name}/");
        let plain = self.datasets.get(name).is_some_and(|it| it.plain);
        if plain && !self.datasets.keys().any(|it| it.starts_with(&below)) {
            self.destroy(name)?;
        }
        if !self.create_container(name)? {
            return Ok(false);
        }
        self.get_mut(name)?.plain = true;
        effect::point("zfs set")?;
        self.get_mut(name)?.plain = false;
        Ok(true)
    }

    pub(super) fn create(&mut self, name: &str) -> io::Result<()> {
        self.must_be_free(name)?;
        effect::point("zfs create")?;
        let bytes = self.new_bytes(None, &mut |_| {})?;
        self.put(name, Some(bytes), None);
        Ok(())
    }

    pub(super) fn clone_snapshot(
        &mut self,
        origin: &SnapshotName,
        name: &str,
        progress: &mut dyn FnMut(u64),
    ) -> io::Result<()> {
        self.must_be_free(name)?;
        let from = self.snapshot(origin)?.bytes.clone();
        effect::point("zfs clone")?;
        let bytes = self.new_bytes(Some(&from), progress)?;
        self.put(name, Some(bytes), Some(origin.clone()));
        Ok(())
    }

    /// A clone of what a head holds now; the snapshot that it would hang on goes with it, so there is none here.
    pub(super) fn copy(&mut self, head: &str, name: &str) -> io::Result<()> {
        self.must_be_free(name)?;
        let from = self.get(head)?.bytes.clone();
        effect::point("zfs clone")?;
        let bytes = self.new_bytes(from.as_deref(), &mut |_| {})?;
        self.put(name, Some(bytes), None);
        Ok(())
    }

    /// The channel program of a commit: compare, snapshot, set; `false` if `base` is not current.
    pub(super) fn commit(&mut self, container: &str, version: &str, base: Option<&str>) -> io::Result<bool> {
        let head = format!("{container}/{version}");
        let from = self.get(&head)?.bytes.clone();
        if self.get(container)?.current.as_deref() != base {
            return Ok(false);
        }
        if self.find(container, version).is_some() {
            return Err(errno(libc::EEXIST));
        }
        effect::point("zfs program")?;
        let bytes = self.new_bytes(from.as_deref(), &mut |_| {})?;
        self.add_snapshot(&head, version, bytes)?;
        self.get_mut(container)?.current = Some(version.to_owned());
        Ok(true)
    }

    /// Takes a snapshot of what is in a dataset.
    pub(super) fn take_snapshot(&mut self, name: &str, snapshot: &str) -> io::Result<()> {
        let from = self.get(name)?.bytes.clone();
        effect::point("zfs snapshot")?;
        let bytes = self.new_bytes(from.as_deref(), &mut |_| {})?;
        self.add_snapshot(name, snapshot, bytes)
    }

    fn add_snapshot(&mut self, name: &str, snapshot: &str, bytes: PathBuf) -> io::Result<()> {
        let made = Snapshot { name: snapshot.to_owned(), bytes, created: SystemTime::now(), deferred: false };
        self.get_mut(name)?.snapshots.push(made);
        Ok(())
    }

    /// Makes a clone the owner of its origin: that snapshot and all before it move into it.
    pub(super) fn promote(&mut self, name: &str) -> io::Result<()> {
        let origin = self.get(name)?.origin.clone().ok_or_else(|| errno(libc::EINVAL))?;
        let from = self.get(&origin.dataset)?;
        let last = from.snapshots.iter().position(|it| it.name == origin.snapshot);
        let count = last.ok_or_else(|| errno(libc::ENOENT))? + 1;
        if from.snapshots.iter().take(count).any(|it| self.has(name, &it.name)) {
            return Err(errno(libc::EEXIST));
        }
        for moved in from.snapshots.iter().take(count) {
            self.refuse_mounted(&moved.bytes)?;
        }
        effect::point("zfs promote")?;
        let from = self.get_mut(&origin.dataset)?;
        let mut moved: Vec<Snapshot> = from.snapshots.drain(..count).collect();
        let former_origin = from.origin.replace(SnapshotName { dataset: name.to_owned(), ..origin.clone() });
        for dataset in self.datasets.values_mut() {
            if let Some(it) = dataset.origin.as_mut()
                && it.dataset == origin.dataset
                && moved.iter().any(|snapshot| snapshot.name == it.snapshot)
            {
                it.dataset = name.to_owned();
            }
        }
        let promoted = self.get_mut(name)?;
        moved.append(&mut promoted.snapshots);
        promoted.snapshots = moved;
        promoted.origin = former_origin;
        Ok(())
    }

    fn has(&self, dataset: &str, snapshot: &str) -> bool {
        self.datasets.get(dataset).is_some_and(|it| it.snapshots.iter().any(|own| own.name == snapshot))
    }

    /// Destroys a head: `EBUSY` if it is mounted, `EEXIST` if it has snapshots.
    pub(super) fn destroy(&mut self, name: &str) -> io::Result<()> {
        let dataset = self.get(name)?;
        if let Some(bytes) = &dataset.bytes {
            self.refuse_mounted(bytes)?;
        }
        if !dataset.snapshots.is_empty() {
            return Err(errno(libc::EEXIST));
        }
        effect::point("zfs destroy")?;
        self.remove(name);
        Ok(())
    }

    fn remove(&mut self, name: &str) {
        let Some(dataset) = self.datasets.remove(name) else { return };
        if let Some(bytes) = dataset.bytes {
            self.remove_bytes(&bytes);
        }
        if let Some(origin) = dataset.origin
            && self.clones(&origin).is_empty()
            && self.snapshot(&origin).is_ok_and(|snapshot| snapshot.deferred)
        {
            self.forget(&origin);
        }
    }

    /// The channel program that takes a former head away with its own snapshot, if that is all it has; `EBUSY` if
    /// something is cloned from it. Says whether it went.
    pub(super) fn retire(&mut self, name: &str, version: &str) -> io::Result<bool> {
        let snapshots = &self.get(name)?.snapshots;
        if snapshots.len() != 1 || !self.has(name, version) {
            return Ok(false);
        }
        let own = SnapshotName { dataset: name.to_owned(), snapshot: version.to_owned() };
        if !self.clones(&own).is_empty() || self.mounts.values().any(|mounted| mounted == name) {
            return Err(errno(libc::EBUSY));
        }
        effect::point("zfs program")?;
        self.forget(&own);
        self.remove(name);
        Ok(true)
    }

    /// Destroys a snapshot, or marks it to go with its last clone; says whether it is gone. `EBUSY` if it is
    /// mounted.
    pub(super) fn destroy_deferred(&mut self, name: &SnapshotName) -> io::Result<bool> {
        self.refuse_mounted(&self.snapshot(name)?.bytes)?;
        let has_clones = !self.clones(name).is_empty();
        if has_clones && self.snapshot(name)?.deferred {
            return Ok(false);
        }
        effect::point("zfs destroy -d")?;
        if has_clones {
            let snapshots = &mut self.get_mut(&name.dataset)?.snapshots;
            snapshots.iter_mut().filter(|it| it.name == name.snapshot).for_each(|it| it.deferred = true);
        } else {
            self.forget(name);
        }
        Ok(!has_clones)
    }

    fn forget(&mut self, name: &SnapshotName) {
        let Some(dataset) = self.datasets.get_mut(&name.dataset) else { return };
        let (gone, left) = dataset.snapshots.drain(..).partition(|it: &Snapshot| it.name == name.snapshot);
        dataset.snapshots = left;
        for snapshot in gone {
            self.remove_bytes(&snapshot.bytes);
        }
    }

    fn put(&mut self, name: &str, bytes: Option<PathBuf>, origin: Option<SnapshotName>) {
        let dataset = Dataset {
            bytes,
            current: None,
            origin,
            snapshots: Vec::new(),
            created: SystemTime::now(),
            plain: false,
        };
        self.datasets.insert(name.to_owned(), dataset);
    }

    /// A new directory, with a copy of `from`. Nobody knows of it before the model does.
    fn new_bytes(&mut self, from: Option<&Path>, progress: &mut dyn FnMut(u64)) -> io::Result<PathBuf> {
        self.next += 1;
        let path = self.folder.join(self.next.to_string());
        effect::elsewhere(|| {
            file::make_dirs(&path, 0o755).map_err(|error| error.source)?;
            if let Some(from) = from {
                let open = |path: &Path| file::open_dir(path).map_err(|error| error.source);
                tree::copy_tree(
                    open(from)?.as_fd(),
                    open(&path)?.as_fd(),
                    &CopyOptions::default(),
                    progress,
                )?;
            }
            Ok(())
        })
        .inspect_err(|_: &io::Error| self.remove_bytes(&path))?;
        Ok(path)
    }

    /// ZFS frees in the background: no fault here is a fault of the operation.
    fn remove_bytes(&self, path: &Path) {
        let name = path.file_name().unwrap_or(OsStr::new("."));
        let removed = effect::elsewhere(|| {
            let folder = file::open_dir(&self.folder).map_err(|error| error.source)?;
            tree::remove_tree(folder.as_fd(), name)
        });
        if let Err(error) = removed {
            tracing::debug!(path = %path.display(), "not freed: {error}");
        }
    }
}

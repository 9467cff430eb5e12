//! A pool in a pool. The outer one holds one file, which is the disk of the inner one; a snapshot of the outer pool
//! is that disk at one instant, as a power cut leaves it. The store is on the inner pool.
//!
//! Two pools of one id cannot be imported at once: the copies are looked at when the work is done and the inner pool
//! is exported.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use crate::harness::Installation;
use crate::state::{COLUMNS, Seen};
use crate::zfs_pool::{Pool, run};

/// A moment at which the power went.
#[derive(Debug, Clone)]
pub struct Cut {
    pub name: String,
    /// What was going on.
    pub place: String,
    /// It happened between these two.
    pub begun: Instant,
    pub done: Instant,
    /// In a collection: how much there was to collect when it began.
    pub garbage: Option<usize>,
}

/// The pools, and the installation whose store is on the inner one.
pub struct Rig {
    pub host: Installation,
    pub inner: String,
    cuts: AtomicUsize,
    /// Dropped last: everything else lies on it.
    outer: Pool,
}

impl Rig {
    pub fn new() -> Self {
        let outer = Pool::make();
        run("zfs", &["set", "sync=disabled", &outer.name]);
        let (live, at) = (format!("{}/live", outer.name), outer.mount_point("live"));
        run("zfs", &["create", "-o", &format!("mountpoint={}", at.display()), "-o", "recordsize=16k", &live]);
        let disk = at.join("disk");
        std::fs::File::create(&disk).unwrap().set_len(8 << 30).unwrap();
        let inner = format!("{}-in", outer.name);
        run(
            "zpool",
            &["create", "-O", "mountpoint=none", "-o", "cachefile=none", &inner, disk.to_str().unwrap()],
        );
        let host = Installation::empty();
        host.zchroot(["init", "--pool", &inner]).ok();
        host.configure(&config(&inner, "15m"));
        Self { host, inner, cuts: AtomicUsize::new(0), outer }
    }

    /// Cuts the power, without the work noticing.
    pub fn cut(&self, place: &str) -> Cut {
        let number = self.cuts.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}/live@{number}", self.outer.name);
        let begun = Instant::now();
        run("zfs", &["snapshot", &name]);
        Cut { name, place: place.to_owned(), begun, done: Instant::now(), garbage: None }
    }

    /// Lets the copies be imported: nothing of the work may run any more.
    pub fn put_away(&self) {
        self.host.clear();
        run("zpool", &["export", &self.inner]);
    }

    /// What the machine finds when the power is back. `config` is written into an installation of its own, whose
    /// `/run` is empty.
    pub fn copy(&self, cut: &Cut) -> Copy {
        let pool = format!("{}-cut", self.outer.name);
        let (dataset, at) = (format!("{}/copy", self.outer.name), self.outer.mount_point("copy"));
        run("zfs", &["clone", "-o", &format!("mountpoint={}", at.display()), &cut.name, &dataset]);
        let host = Installation::empty();
        let copy = Copy { host, pool, dataset };
        let disk: PathBuf = at.join("disk");
        let root = copy.host.path().to_str().unwrap();
        let place = ["-d", disk.to_str().unwrap(), "-R", root, "-o", "cachefile=none", "-N"];
        run("zpool", &[&["import"], &place[..], &["-t", &self.inner, &copy.pool]].concat());
        let etc = self.host.at("/etc/zchroot/templates.d");
        for entry in std::fs::read_dir(etc).unwrap().flatten() {
            let text = std::fs::read_to_string(entry.path()).unwrap();
            copy.host.write(&format!("/etc/zchroot/templates.d/{}", entry.file_name().display()), &text);
        }
        copy.host.configure(&config(&copy.pool, "0s"));
        copy
    }
}

/// Without digests: they are made in the background, and a pool that is read cannot be exported. What is left of one
/// is a clone without a record or a temp file, as of anything else.
pub fn config(pool: &str, grace: &str) -> String {
    format!(
        "version = 1\nstore = \"zfs\"\ngrace = \"{grace}\"\ndigests = \"never\"\n[zfs]\npool = \"{pool}\"\n"
    )
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.host.clear();
        // After put_away it is no more; its disk goes with the outer pool.
        let _ = std::process::Command::new("/usr/sbin/zpool").args(["export", "-f", &self.inner]).output();
    }
}

/// A pool as a power cut left it, imported under another name.
pub struct Copy {
    pub host: Installation,
    pub pool: String,
    dataset: String,
}

impl Copy {
    /// What there is of the store in it.
    pub fn look(&self) -> Seen {
        look(&self.pool, &self.host)
    }

    /// Mounts the state as the program does at its first use.
    pub fn mount_state(&self) {
        let at = self.host.at("/var/lib/zchroot");
        std::fs::create_dir_all(&at).unwrap();
        let state = format!("{}/zchroot/state", self.pool);
        rustix::mount::mount(state, &at, "zfs", rustix::mount::MountFlags::empty(), None).unwrap();
    }
}

/// Looks at the store in `pool`, whose state is mounted in `host`.
pub fn look(pool: &str, host: &Installation) -> Seen {
    let base = format!("{pool}/zchroot");
    let list = run("zfs", &["list", "-Hpr", "-t", "filesystem,snapshot", "-o", COLUMNS, &base]);
    let (state, mut files) = (host.at("/var/lib/zchroot"), BTreeMap::new());
    walk(&state, &state, &mut files);
    Seen::new(&base, &list, files)
}

/// Files with their text, symlinks with their target.
fn walk(top: &Path, folder: &Path, found: &mut BTreeMap<String, String>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        let name = path.strip_prefix(top).unwrap().display().to_string();
        match (std::fs::read_link(&path), path.is_dir()) {
            (Ok(target), _) => drop(found.insert(name, target.display().to_string())),
            (_, true) => walk(top, &path, found),
            (_, false) => {
                let bytes = std::fs::read(&path).unwrap();
                found.insert(name, String::from_utf8_lossy(&bytes).into_owned());
            }
        }
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        self.host.clear();
        let tidy = [("zpool", vec!["export", "-f", &self.pool]), ("zfs", vec!["destroy", &self.dataset])];
        for (program, words) in tidy {
            let output =
                std::process::Command::new(format!("/usr/sbin/{program}")).args(&words).output().unwrap();
            if !output.status.success() && !std::thread::panicking() {
                panic!("{program} {words:?}: {}", String::from_utf8_lossy(&output.stderr));
            }
        }
    }
}

//! An installation under a temporary root, with one of the two stores, in a mount namespace of its own.
//!
//! Nothing of a process is kept here: each operation gets handles of its own, as a new process would. What a crash
//! leaves in this process's name (temp files are called by the pid) is given another name, as if it had died.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::mount::MsFlags;
use rustix::mount::UnmountFlags;
use tempfile::TempDir;
use zchroot::dir::DirStore;
use zchroot::session::Sessions;
use zchroot::source::Sources;
use zchroot::store::fake::FakeStore;
use zchroot::store::{Layout, Store};
use zchroot::sys::mountinfo;

use crate::left;

/// The profile that all sessions have: something of each kind that a set-up does.
const PROFILE: &str = r#"version = 1
nss = ["group"]
[[mount]]
kind = "tmpfs"
target = "/made/for/setup"
[[mount]]
kind = "bind"
source = "/bin/busybox"
target = "/usr/bin/busybox"
[[file]]
source = "HOST/resolv.conf"
target = "/etc/resolv.conf"
"#;
pub(crate) const PROFILE_NAME: &str = "crash";

/// Which store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Backend {
    /// The model of ZFS.
    Fake,
    /// The real one on directories.
    Dir,
}

pub(crate) struct World {
    root: TempDir,
    pub(crate) layout: Layout,
    pub(crate) fake: Option<FakeStore>,
}

/// What a process has.
pub(crate) struct Handles<'a> {
    pub(crate) layout: &'a Layout,
    pub(crate) store: &'a dyn Store,
    pub(crate) sessions: Sessions<'a>,
    pub(crate) sources: Sources<'a>,
}

/// Says in an environment that it is inside.
const INSIDE: &str = "ZCHROOT_TEST_INSIDE";

/// Runs the test `name` once more, alone, in a mount and a pid namespace of its own: mounts and processes that a fault
/// leaves go with it, and looking through all processes is quick. `false` outside, where it has been run then.
pub(crate) fn inside(name: &str) -> bool {
    assert!(rustix::process::geteuid().is_root(), "these tests mount: they need root");
    if std::env::var_os(INSIDE).is_none() {
        let mut command = Command::new("unshare");
        // As a slave it keeps no mount of others: what they unmount goes here.
        command.args([
            "--mount",
            "--propagation",
            "slave",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
        ]);
        command.arg(std::env::current_exe().unwrap());
        command.args(["--exact", name, "--nocapture", "--test-threads=1"]).env(INSIDE, "1");
        let done = command.output().unwrap();
        print!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        let text = String::from_utf8_lossy(&done.stdout);
        assert!(done.status.success() && text.contains("1 passed"), "{name} failed, see above");
        return false;
    }
    left::leave_the_mounts_of_others();
    // As the program's own.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    // Mounts are shared, as on a host with systemd.
    nix::mount::mount(None::<&str>, "/", None::<&str>, MsFlags::MS_SHARED | MsFlags::MS_REC, None::<&str>)
        .unwrap();
    true
}

impl World {
    pub(crate) fn new(backend: Backend) -> Self {
        let root = tempfile::tempdir_in("/dev/shm").unwrap();
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let layout = Layout::new(root.path());
        let trees = root.path().join("trees");
        let fake = (backend == Backend::Fake).then(|| {
            fs::create_dir(&trees).unwrap();
            FakeStore::with_mounts(&trees)
        });
        let world = Self { root, layout, fake };
        let host = world.host();
        fs::create_dir_all(host.join("source/etc")).unwrap();
        fs::create_dir_all(host.join("source/usr/bin")).unwrap();
        symlink("usr/bin", host.join("source/bin")).unwrap();
        fs::write(host.join("source/etc/group"), "root:x:0:\n").unwrap();
        fs::write(host.join("resolv.conf"), "nameserver 192.0.2.1\n").unwrap();
        let profiles = world.layout.config_dir().join("profiles");
        fs::create_dir_all(&profiles).unwrap();
        let text = PROFILE.replace("HOST", host.to_str().unwrap());
        fs::write(profiles.join(format!("{PROFILE_NAME}.toml")), text).unwrap();
        world
    }

    /// The part of the host that no operation may change.
    pub(crate) fn host(&self) -> PathBuf {
        self.root.path().join("host")
    }

    /// The bytes of the fake store's trees.
    pub(crate) fn trees(&self) -> PathBuf {
        self.root.path().join("trees")
    }

    /// As a new process.
    pub(crate) fn process<T>(&self, body: impl FnOnce(&Handles<'_>) -> T) -> T {
        let store: Box<dyn Store> = match &self.fake {
            Some(fake) => Box::new(fake.clone()),
            None => Box::new(DirStore::open(&self.layout)),
        };
        let sessions = Sessions::new(&self.layout, &*store);
        body(&Handles { layout: &self.layout, store: &*store, sessions, sources: Sources::new(sessions) })
    }

    /// What a crash left is nobody's any more, and time goes by.
    pub(crate) fn after_crash(&self) {
        let ours = format!("-{}", std::process::id());
        for path in self.files(&[&self.layout.dir_store(), &self.layout.config_dir()]) {
            let name = path.file_name().unwrap().to_str().unwrap();
            if let Some(stem) = name.strip_suffix(&ours).filter(|name| name.starts_with(".tmp-")) {
                fs::rename(&path, path.with_file_name(format!("{stem}-dead"))).unwrap();
            }
        }
        let drafts = self.layout.dir_store().join("drafts");
        for template in list(&drafts) {
            for name in list(&drafts.join(&template)).iter().filter(|name| name.starts_with('.')) {
                let old = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
                let half_made = fs::File::open(drafts.join(&template).join(name)).unwrap();
                half_made.set_modified(old).unwrap();
            }
        }
    }

    /// What the kernel and /run know is gone.
    pub(crate) fn reboot(&self) {
        self.unmount_all();
        let _ = fs::remove_dir_all(self.layout.run());
    }

    fn unmount_all(&self) {
        let mut mounts = self.mounts();
        mounts.reverse();
        for mount in mounts {
            let flags = UnmountFlags::DETACH | UnmountFlags::NOFOLLOW;
            let _ = rustix::mount::unmount(&mount.point, flags);
        }
    }

    /// What is mounted anywhere below the root.
    pub(crate) fn mounts(&self) -> Vec<mountinfo::Mount> {
        let mut mounts = mountinfo::own().unwrap();
        mounts.retain(|mount| mount.point.starts_with(self.root.path()));
        mounts
    }

    /// All files below the root that lie in no mounted tree, the store's trees and `but` left out.
    pub(crate) fn files(&self, but: &[&Path]) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut waiting = vec![self.layout.state(), self.layout.run()];
        while let Some(dir) = waiting.pop() {
            if but.contains(&dir.as_path()) {
                continue;
            }
            for name in list(&dir) {
                let path = dir.join(name);
                let is_dir = fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_dir());
                if is_dir && dir != self.layout.mounts() {
                    waiting.push(path.clone());
                }
                found.push(path);
            }
        }
        found.sort();
        found
    }

    /// Everything that lasts, in words that can be compared: empty folders and locks say nothing.
    pub(crate) fn fingerprint(&self) -> BTreeMap<String, String> {
        let mut seen = BTreeMap::new();
        let store = self.layout.dir_store();
        for path in self.files(&[&store, &self.layout.locks()]) {
            let meta = fs::symlink_metadata(&path).unwrap();
            let what = if meta.is_symlink() {
                format!("link to {}", fs::read_link(&path).unwrap().display())
            } else if meta.is_file() {
                String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned()
            } else {
                continue;
            };
            seen.insert(self.relative(&path), what);
        }
        for folder in ["templates", "drafts", "sessions", "trash", "images"] {
            for name in list(&store.join(folder)) {
                let below = list(&store.join(folder).join(&name));
                if !below.is_empty() {
                    seen.insert(format!("store/{folder}/{name}"), below.join(" "));
                }
            }
        }
        for name in self.fake.iter().flat_map(FakeStore::datasets) {
            if name.matches('/').count() != 1 || !name.starts_with("templates") {
                seen.insert(format!("pool/{name}"), String::new());
            }
        }
        for mount in self.mounts() {
            *seen.entry(format!("mount {}", self.relative(&mount.point))).or_default() += &mount.kind;
        }
        seen
    }

    pub(crate) fn relative(&self, path: &Path) -> String {
        path.strip_prefix(self.root.path()).unwrap_or(path).display().to_string()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.unmount_all();
        left::remove_cgroups(fs::metadata(self.root.path()).unwrap().ino());
    }
}

/// The names in a directory, sorted; none if there is no such directory.
pub(crate) fn list(dir: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().to_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

/// Writes a stamp into a tree, in places that half a change would tell apart.
pub(crate) fn write_stamp(tree: &Path, stamp: u32) {
    let text = stamp.to_string();
    fs::create_dir_all(tree.join("etc")).unwrap();
    fs::create_dir_all(tree.join("srv")).unwrap();
    fs::write(tree.join("etc/stamp"), &text).unwrap();
    for name in list(&tree.join("srv")) {
        fs::remove_file(tree.join("srv").join(name)).unwrap();
    }
    fs::write(tree.join("srv").join(&text), &text).unwrap();
    let _ = fs::remove_file(tree.join("twin"));
    fs::hard_link(tree.join("srv").join(&text), tree.join("twin")).unwrap();
    let _ = fs::remove_file(tree.join("link"));
    symlink(format!("srv/{text}"), tree.join("link")).unwrap();
}

/// Reads it; an error if the places do not agree.
pub(crate) fn read_stamp(tree: &Path) -> Result<u32, String> {
    let read = |name: &str| {
        fs::read_to_string(tree.join(name)).map_err(|error| format!("{}/{name}: {error}", tree.display()))
    };
    let first = read("etc/stamp")?;
    let folder = list(&tree.join("srv"));
    let all = [read("twin")?, read("link")?, folder.join(" ")];
    if all.iter().any(|other| *other != first) {
        return Err(format!("{} is half {first} and half {all:?}", tree.display()));
    }
    first.parse().map_err(|_| format!("{} has the stamp {first:?}", tree.display()))
}

/// What is in a tree but for what a session's set-up writes, in words: names, modes, sizes.
pub(crate) fn describe(tree: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut waiting = vec![tree.to_owned()];
    while let Some(dir) = waiting.pop() {
        for name in list(&dir) {
            let path = dir.join(name);
            let meta = fs::symlink_metadata(&path).unwrap();
            lines.push(format!(
                "{} {:o} {} {}",
                path.strip_prefix(tree).unwrap().display(),
                meta.mode(),
                meta.uid(),
                if meta.is_dir() { 0 } else { meta.len() }
            ));
            if meta.is_dir() {
                waiting.push(path);
            }
        }
    }
    lines.sort();
    lines
}

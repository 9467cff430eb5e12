use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};

use super::*;
use crate::sys::effect::{self, Mode as FaultMode, Plan};
use crate::sys::mount::scratch::in_namespace;
use crate::sys::mount::{is_mount_root, mounts_below, unmount_all};
use crate::template::{HostFile, Mount, MountKind, NssDatabase};

mod hostile;
mod session;
mod source;

const WHO: SetupInfo<'static> = SetupInfo { template: "sid", session: "sid-1" };

/// A small tree at `dir/mount/ID`, and a host's /home with a marker that must never change.
struct Scene {
    dir: PathBuf,
    root: PathBuf,
}

impl Scene {
    fn new(dir: &Path) -> Self {
        let scene = Self { dir: dir.to_owned(), root: dir.join("mount/sid-1") };
        for name in ["etc", "proc", "sys", "dev", "home", "tmp", "usr/bin"] {
            fs::create_dir_all(scene.inside(name)).unwrap();
        }
        fs::create_dir_all(dir.join("home/outside")).unwrap();
        fs::write(dir.join("home/outside/marker"), "untouched").unwrap();
        fs::write(dir.join("resolv.conf"), "nameserver 192.0.2.1\n").unwrap();
        fs::write(scene.inside("etc/passwd"), "of the tree\n").unwrap();
        scene
    }

    fn inside(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    fn apply(&self, profile: &Profile, mode: Mode) -> Result<(), Error> {
        apply(&self.root, profile, mode, &WHO)
    }

    /// The shipped default profile, its binds and files from the scene's host.
    fn default_profile(&self) -> Profile {
        use NssDatabase::{Group, Gshadow, Hosts, Networks, Passwd, Protocols, Services, Shadow};
        Profile {
            name: "default".into(),
            description: String::new(),
            mounts: vec![
                mount("/proc", MountKind::Proc),
                mount("/sys", MountKind::Sys),
                mount("/dev", MountKind::Dev),
                mount("/dev/pts", MountKind::Devpts),
                mount("/home", MountKind::Bind { source: self.dir.join("home"), recursive: true }),
                mount("/tmp", MountKind::Bind { source: "/tmp".into(), recursive: false }),
            ],
            files: vec![self.resolv_conf()],
            nss: vec![Passwd, Shadow, Group, Gshadow, Services, Protocols, Networks, Hosts],
        }
    }

    fn resolv_conf(&self) -> HostFile {
        HostFile { source: self.dir.join("resolv.conf"), target: "/etc/resolv.conf".into(), optional: true }
    }

    /// The host's side is as it was made.
    fn check_host(&self) {
        assert_eq!(listing(&self.dir.join("home")).len(), 3);
        assert_eq!(fs::read_to_string(self.dir.join("home/outside/marker")).unwrap(), "untouched");
        assert_eq!(fs::read_to_string(self.dir.join("resolv.conf")).unwrap(), "nameserver 192.0.2.1\n");
    }
}

fn mount(target: &str, kind: MountKind) -> Mount {
    Mount { kind, target: target.into(), read_only: false, optional: false }
}

fn only(mounts: Vec<Mount>) -> Profile {
    Profile { mounts, ..Profile::default() }
}

/// Every path at or below `dir` with its mode and what is in it.
fn listing(dir: &Path) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![dir.to_owned()];
    while let Some(path) = waiting.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        let content = if meta.is_dir() {
            waiting.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            Vec::new()
        } else if meta.is_symlink() {
            fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes()
        } else if meta.is_file() {
            fs::read(&path).unwrap()
        } else {
            Vec::new()
        };
        found.insert(path, (meta.mode(), content));
    }
    found
}

fn errno_at(result: Result<(), Error>) -> (i32, String) {
    let error = result.unwrap_err();
    (error.errno(), error.to_string())
}

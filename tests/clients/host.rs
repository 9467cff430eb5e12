//! A host of its own for the clients: a mount namespace held by a process that sleeps. Its /etc, /run and /var/lib are
//! layers over the host's, so that the clients are installed there as they are here, and nothing here changes.
//!
//! Our program lies in the place of `/usr/bin/schroot`, setuid root, or Debian's schroot does its own work. There is an
//! ordinary user in the group sbuild.

use std::fs::Permissions;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::call::{Call, Told};
use crate::harness::program::{PATH, binary};

/// The ordinary user.
pub(crate) const BUILDER: &str = "builder";
pub(crate) const UID: u32 = 64010;

/// The namespace. Copies of mounts of other tests go first: a commit waits until its tree is mounted nowhere.
/// What sessions' overlays stand on must not be a layer itself.
const NEW_HOST: &str = r#"
set -e
grep -Eo ' [^ ]*/run/[sz]chroot/mount/[^ ]* ' /proc/self/mountinfo | while read -r at; do umount -l "$at" 2>/dev/null || true; done
cd "$1"
for folder in etc run var/lib; do
    mkdir -p "layers/$folder/upper" "layers/$folder/work"
    mount -t overlay clients -o "lowerdir=/$folder,upperdir=$1/layers/$folder/upper,workdir=$1/layers/$folder/work" "/$folder"
done
for folder in zchroot schroot sbuild; do
    mkdir -p "/var/lib/$folder" "lib/$folder"
    mount --bind "lib/$folder" "/var/lib/$folder"
done
! getent passwd sbuild >/dev/null || install -d -o sbuild -g sbuild -m 2770 /var/lib/sbuild /var/lib/sbuild/build
mkdir -p /var/lib/schroot/session /var/lib/schroot/unpack /var/lib/schroot/union/overlay /var/lib/schroot/union/underlay
rm -f /etc/schroot/chroot.d/*
echo "builder:x:64010:64010::$1/home:/bin/sh" >>/etc/passwd
echo "builder:!:19000:0:99999:7:::" >>/etc/shadow
echo "builder:x:64010:" >>/etc/group
sed -i 's/^\(sbuild:[^:]*:[^:]*:\).*/\1builder/' /etc/group
if [ -n "$LD_LIBRARY_PATH" ]; then
    echo "$LD_LIBRARY_PATH" | tr : '\n' >/etc/ld.so.conf.d/000-zchroot-test.conf
    /sbin/ldconfig -X
fi
mount --bind bin/schroot /usr/bin/schroot
mkdir chroot
[ ! -d "$2" ] || mount -t overlay clients -o "lowerdir=$2,upperdir=$1/layers/tree/upper,workdir=$1/layers/tree/work" chroot
echo ready
exec sleep infinity
"#;

pub(crate) struct Host {
    dir: PathBuf,
    /// The template or chroot, by a name that no other test's cgroups have; its aliases are those that sbuild tries.
    pub(crate) template: String,
    holder: Child,
    /// It goes when nothing has a mount of it any more.
    #[cfg(feature = "zfs")]
    pub(crate) pool: Option<crate::zfs_pool::Pool>,
}

impl Host {
    /// One where schroot is our program or Debian's; in `chroot` of its folder there is a copy of a tree.
    pub(crate) fn new(ours: bool, tree: &Path) -> Self {
        assert!(rustix::process::geteuid().is_root(), "this test needs real root");
        let dir = tempfile::Builder::new().prefix("zchroot-test-").tempdir().unwrap().keep();
        std::fs::set_permissions(&dir, Permissions::from_mode(0o755)).unwrap();
        for folder in ["bin", "home", "layers/tree/upper", "layers/tree/work"] {
            std::fs::create_dir_all(dir.join(folder)).unwrap();
        }
        std::fs::set_permissions(dir.join("layers/tree/upper"), Permissions::from_mode(0o755)).unwrap();
        chown(dir.join("home"), Some(UID), Some(UID)).unwrap();
        for name in ["zchroot", "schroot"] {
            let program = dir.join("bin").join(name);
            let from = if ours { tested() } else { PathBuf::from("/usr/bin/schroot") };
            std::fs::copy(from, &program).unwrap();
            std::fs::set_permissions(&program, Permissions::from_mode(0o4755)).unwrap();
        }
        let mut holder = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "--", "sh", "-c", NEW_HOST, "sh"])
            .args([dir.as_path(), tree])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(holder.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n", "the host was not made");
        let template = format!("t{}-{}", std::process::id(), holder.id());
        Self {
            dir,
            template,
            holder,
            #[cfg(feature = "zfs")]
            pool: None,
        }
    }

    /// What holds the namespace.
    pub(crate) fn holder(&self) -> u32 {
        self.holder.id()
    }

    /// Whether the store is on a pool, in a machine.
    pub(crate) fn is_on_a_pool(&self) -> bool {
        #[cfg(feature = "zfs")]
        return self.pool.is_some();
        #[cfg(not(feature = "zfs"))]
        return false;
    }

    /// The datasets and snapshots of the store on a pool, by what follows the name of its root.
    pub(crate) fn datasets(&self) -> Vec<String> {
        #[cfg(feature = "zfs")]
        if let Some(pool) = &self.pool {
            let root = format!("{}/zchroot", pool.name);
            let all = crate::zfs_pool::run("zfs", &["list", "-Hro", "name", "-t", "all", &root]);
            return all.lines().map(|name| name.strip_prefix(&root).unwrap().to_owned()).collect();
        }
        Vec::new()
    }

    fn history(&self) -> Vec<serde_json::Value> {
        let history = self.zchroot(&["history", &self.template, "--json"]).ok();
        let history: serde_json::Value = serde_json::from_str(history.text()).unwrap();
        history["versions"].as_array().unwrap().clone()
    }

    /// The versions of the template whose trees are there, the current one first.
    pub(crate) fn versions(&self) -> Vec<String> {
        let there = self.history().into_iter().filter(|version| version["tree"] != "gone");
        there.map(|version| version["id"].as_str().unwrap().to_owned()).collect()
    }

    /// The number of the current version.
    pub(crate) fn generation(&self) -> u64 {
        self.history()[0]["generation"].as_u64().unwrap()
    }

    /// The home of the ordinary user.
    pub(crate) fn home(&self) -> PathBuf {
        self.dir.join("home")
    }

    /// A folder for the test, in the host and here.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The namespace, as `nsenter` and setns(2) want it.
    pub(crate) fn namespace(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/ns/mnt", self.holder.id()))
    }

    /// The same path as the host's processes see it, seen from here.
    pub(crate) fn at(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.holder.id()))
    }

    /// Writes a file of the host as root.
    pub(crate) fn write(&self, path: &str, text: &str) {
        let (folder, _) = path.rsplit_once('/').unwrap();
        let script = "mkdir -p \"$1\" && printf %s \"$3\" >\"$2\"";
        self.root(&["sh", "-c", script, "sh", folder, path, text]).ok();
    }

    /// Puts something else into the place of `/usr/bin/schroot`.
    pub(crate) fn replace_schroot(&self, program: &Path) {
        self.root(&["mount", "--bind", program.to_str().unwrap(), "/usr/bin/schroot"]).ok();
    }

    fn call(&self, user: &[&str], home: &Path) -> Call {
        let mut enter =
            vec!["nsenter".to_owned(), format!("--mount={}", self.namespace().display()), "--".into()];
        enter.extend(user.iter().map(|word| (*word).to_owned()));
        let home = home.display();
        enter.extend(["env".to_owned(), format!("--chdir={home}"), format!("HOME={home}")]);
        enter.extend([format!("PATH={PATH}"), "LC_ALL=C.UTF-8".into()]);
        Call::new(&enter)
    }

    /// A call by root, not yet made.
    pub(crate) fn as_root(&self, words: &[&str]) -> Call {
        self.call(&[], Path::new("/root")).words(words.iter().copied())
    }

    /// A call by the ordinary user, from his home.
    pub(crate) fn as_builder(&self, words: &[&str]) -> Call {
        let user = ["setpriv", "--reuid", BUILDER, "--regid", BUILDER, "--init-groups"];
        let names = [format!("USER={BUILDER}"), format!("LOGNAME={BUILDER}"), "SHELL=/bin/sh".to_owned()];
        self.call(&user, &self.home()).words(names.iter().map(String::as_str)).words(words.iter().copied())
    }

    pub(crate) fn root(&self, words: &[&str]) -> Told {
        self.as_root(words).run()
    }

    pub(crate) fn builder(&self, words: &[&str]) -> Told {
        self.as_builder(words).run()
    }

    /// Our program under its own name, by root.
    pub(crate) fn zchroot(&self, words: &[&str]) -> Told {
        let program = self.dir.join("bin/zchroot");
        self.root(&[&[program.to_str().unwrap()], words].concat())
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        for group in self.cgroups() {
            let _ = std::fs::write(group.join("cgroup.kill"), "1");
        }
        for pid in self.processes() {
            let _ =
                nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
        }
        // The mounts go with the last process of the namespace.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
        std::thread::sleep(Duration::from_millis(100));
        for group in self.cgroups() {
            let _ = std::fs::remove_dir(group);
        }
        let _ = Command::new("rm").args(["-rf", "--one-file-system"]).arg(&self.dir).status();
    }
}

/// The program under test, as it is released if somebody built that.
pub(crate) fn tested() -> PathBuf {
    std::env::var_os("ZCHROOT_TEST_PROGRAM").map_or_else(binary, PathBuf::from)
}

/// Waits until a build says by a file that it has come so far.
#[track_caller]
pub(crate) fn wait_for(file: &Path) {
    let deadline = Instant::now() + Duration::from_secs(300);
    while !file.exists() {
        assert!(Instant::now() < deadline, "{} did not come", file.display());
        std::thread::sleep(Duration::from_millis(100));
    }
}

//! A host of its own for the installed program: a mount namespace whose /etc, /var/lib and /run are ours, held by a
//! process that sleeps; in it a setuid copy of the program and a template, at their real places. The host's own
//! files are neither seen nor touched.

use std::fs::Permissions;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::PathBuf;
use std::sync::Arc;

use nix::sched::CloneFlags;

use crate::harness::program::{Order, Running, binary};
use crate::harness::{Done, left, tree};

/// In `users`.
pub(crate) const ALICE: u32 = 64001;
/// In no list.
pub(crate) const BOB: u32 = 64002;
/// In `root-users`, also of the source.
pub(crate) const CAROL: u32 = 64003;
/// In no list, but a member of `HELPERS`, which is in `groups`, and in `rollback-groups` of the source.
pub(crate) const DAVE: u32 = 64004;
pub(crate) const HELPERS: u32 = 64100;

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh
alice:x:64001:64001::/:/bin/sh
bob:x:64002:64002::/:/bin/sh
carol:x:64003:64003::/:/bin/sh
dave:x:64004:64004::/:/bin/sh
nobody:x:65534:65534::/:/bin/sh
";
const GROUP: &str = "root:x:0:
alice:x:64001:
bob:x:64002:
carol:x:64003:
dave:x:64004:
helpers:x:64100:dave
nogroup:x:65534:
";
/// What a command does leaves a mark in /shared, which everybody may write to.
const PROFILE: &str = "version = 1
nss = [\"passwd\", \"group\"]
[[mount]]
kind = \"proc\"
[[mount]]
kind = \"dev\"
[[mount]]
kind = \"bind\"
source = \"/var/lib/shared\"
target = \"/shared\"
";
const TEMPLATE: &str = "version = 1
profile = \"shared\"
users = [\"alice\"]
groups = [\"helpers\"]
root-users = [\"carol\"]
[source]
root-users = [\"carol\"]
rollback-groups = [\"helpers\"]
";

/// Lays our folders over the host's. Copies of mounts of other tests, or of whoever uses the program on this host,
/// go first: a commit there waits until its tree is mounted nowhere. Where temporary files lie setuid bits may do
/// nothing; in our folder of programs they do. The loader takes no path from the environment
/// of a setuid program: where libzfs_core is not installed, our /etc tells it where that lies.
const NEW_WORLD: &str = "
set -e
grep -o ' [^ ]*/run/zchroot/mount/[^ ]* ' /proc/self/mountinfo | while read -r at; do umount -l \"$at\" || true; done
mount --bind \"$1/bin\" \"$1/bin\"
mount -o remount,bind,suid \"$1/bin\"
mount --bind \"$1/etc\" /etc
mount --bind \"$1/lib\" /var/lib
mount --bind \"$1/run\" /run
if [ -n \"$LD_LIBRARY_PATH\" ]; then
    echo \"$LD_LIBRARY_PATH\" | tr : '\\n' > /etc/ld.so.conf
    /sbin/ldconfig -X -i
fi
echo ready
exec sleep infinity
";

pub(crate) struct World {
    dir: PathBuf,
    /// The template, by a name that no other test's cgroups have.
    pub(crate) template: String,
    holder: Option<Running>,
    namespace: Arc<std::fs::File>,
}

impl World {
    /// A host on which nothing is installed but the program.
    pub(crate) fn empty() -> Self {
        assert!(rustix::process::geteuid().is_root(), "this test needs real root");
        let dir = tempfile::Builder::new().prefix("zchroot-test-").tempdir().unwrap().keep();
        std::fs::set_permissions(&dir, Permissions::from_mode(0o755)).unwrap();
        for folder in ["bin", "etc", "lib/zchroot", "lib/shared", "run"] {
            std::fs::create_dir_all(dir.join(folder)).unwrap();
        }
        std::fs::set_permissions(dir.join("lib/shared"), Permissions::from_mode(0o1777)).unwrap();
        std::fs::write(dir.join("etc/passwd"), PASSWD).unwrap();
        std::fs::write(dir.join("etc/group"), GROUP).unwrap();
        for (name, mode) in [("zchroot", 0o4755), ("schroot", 0o4755), ("plain", 0o755)] {
            let program = dir.join("bin").join(name);
            std::fs::copy(binary(), &program).unwrap();
            chown(&program, Some(0), Some(0)).unwrap();
            std::fs::set_permissions(&program, Permissions::from_mode(mode)).unwrap();
        }
        let unshare = ["--mount", "--propagation", "private", "--", "sh", "-c", NEW_WORLD, "sh"];
        let mut holder = Order::new("unshare").words(unshare).word(&dir).start();
        assert_eq!(holder.line(), "ready");
        let namespace = std::fs::File::open(format!("/proc/{}/ns/mnt", holder.pid())).unwrap();
        let template = format!("t{}-{}", std::process::id(), holder.pid());
        Self { dir, template, holder: Some(holder), namespace: Arc::new(namespace) }
    }

    /// A host with a template.
    pub(crate) fn new() -> Self {
        Self::empty().furnished(&["init"])
    }

    /// The same host with a template, once it is laid out.
    pub(crate) fn furnished(self, init: &[&str]) -> Self {
        let world = self;
        for folder in ["templates.d", "profiles"] {
            std::fs::create_dir_all(world.dir.join("etc/zchroot").join(folder)).unwrap();
        }
        std::fs::write(world.dir.join("etc/zchroot/profiles/shared.toml"), PROFILE).unwrap();
        let definition = format!("etc/zchroot/templates.d/{}.toml", world.template);
        std::fs::write(world.dir.join(definition), TEMPLATE).unwrap();
        let source = world.dir.join("source");
        tree::make(&source);
        // A mount point of its own, so that source sessions need to make none.
        std::fs::create_dir_all(source.join("shared")).unwrap();
        world.root(init).ok();
        world.root(&["-q", "create", &world.template, "--from", source.to_str().unwrap()]).ok();
        world
    }

    /// A program in this world, by its name in `bin`.
    pub(crate) fn program(&self, name: &str) -> Order {
        self.inside(&self.bin(name))
    }

    /// Where a program of ours lies.
    pub(crate) fn bin(&self, name: &str) -> PathBuf {
        self.dir.join("bin").join(name)
    }

    /// A program of the host in this world.
    pub(crate) fn inside(&self, program: &std::path::Path) -> Order {
        let namespace = Arc::clone(&self.namespace);
        Order::new(program)
            .before(move || Ok(nix::sched::setns(namespace.as_ref(), CloneFlags::CLONE_NEWNS)?))
    }

    /// A call by root.
    pub(crate) fn root(&self, words: &[&str]) -> Done {
        self.program("zchroot").words(words.iter().copied()).run()
    }

    /// A call by an ordinary user, not yet run.
    pub(crate) fn order(&self, uid: u32, words: &[&str]) -> Order {
        let groups: &'static [u32] = if uid == DAVE { &[HELPERS] } else { &[] };
        self.program("zchroot").user(uid, groups).words(words.iter().copied())
    }

    /// A call by an ordinary user.
    pub(crate) fn user(&self, uid: u32, words: &[&str]) -> Done {
        self.order(uid, words).run()
    }

    /// Writes a file of the configuration that only root may read.
    pub(crate) fn write_secret(&self, path: &str, text: &str) {
        let path = self.dir.join("etc/zchroot").join(path);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    }

    /// Writes a database of the host.
    pub(crate) fn write_etc(&self, name: &str, text: &str) {
        std::fs::write(self.dir.join("etc").join(name), text).unwrap();
    }

    /// A place in `/etc`.
    pub(crate) fn etc(&self, path: &str) -> PathBuf {
        self.dir.join("etc").join(path)
    }

    /// A place in `/var/lib`.
    pub(crate) fn lib(&self, path: &str) -> PathBuf {
        self.dir.join("lib").join(path)
    }

    /// What commands left in /shared: names and owners.
    pub(crate) fn marks(&self) -> Vec<(String, u32)> {
        let mut marks: Vec<(String, u32)> = std::fs::read_dir(self.lib("shared"))
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let uid = std::os::unix::fs::MetadataExt::uid(&entry.metadata().unwrap());
                (entry.file_name().into_string().unwrap(), uid)
            })
            .collect();
        marks.sort();
        marks
    }

    /// Fails if a session left anything.
    #[track_caller]
    pub(crate) fn assert_nothing_left(&self) {
        let mut found = Vec::new();
        for folder in ["sessions", "store/sessions", "store/trash"] {
            if let Ok(entries) = std::fs::read_dir(self.lib("zchroot").join(folder)) {
                found.extend(entries.map(|entry| entry.unwrap().path().display().to_string()));
            }
        }
        found.extend(self.mounts());
        found.extend(self.cgroups().iter().map(|path| path.display().to_string()));
        assert!(found.is_empty(), "left over: {found:#?}");
    }

    /// The mounts of sessions' trees.
    pub(crate) fn mounts(&self) -> Vec<String> {
        let pid = self.holder.as_ref().unwrap().pid();
        let table = std::fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap();
        let is_ours = |line: &&str| {
            line.split(' ').nth(4).is_some_and(|point| point.starts_with("/run/zchroot/mount/"))
        };
        table.lines().filter(is_ours).map(str::to_owned).collect()
    }

    fn cgroups(&self) -> Vec<PathBuf> {
        let tops = ["/sys/fs/cgroup/zchroot", "/sys/fs/cgroup/unified/zchroot"].iter();
        let all = tops.filter_map(|top| std::fs::read_dir(top).ok()).flatten();
        let paths = all.filter_map(|entry| Some(entry.ok()?.path()));
        paths
            .filter(|path| {
                path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&self.template))
            })
            .collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for group in self.cgroups() {
            let _ = std::fs::write(group.join("cgroup.kill"), "1");
        }
        for pid in left::processes(&self.dir) {
            let pid = nix::unistd::Pid::from_raw(pid.cast_signed());
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
        }
        // The mounts go with the last process and handle of the namespace.
        drop(self.holder.take());
        std::thread::sleep(std::time::Duration::from_millis(50));
        for group in self.cgroups() {
            let _ = std::fs::remove_dir(group);
        }
        if left::mounts(&self.dir).is_empty() {
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }
}

/// A limit for the program.
pub(crate) fn limit(which: libc::__rlimit_resource_t, soft: u64, hard: u64) -> std::io::Result<()> {
    let limit = libc::rlimit { rlim_cur: soft, rlim_max: hard };
    // SAFETY: reads the limit that it is given.
    nix::errno::Errno::result(unsafe { libc::setrlimit(which, &limit) })?;
    Ok(())
}

/// Closes standard input, output and error.
pub(crate) fn close_standard() -> std::io::Result<()> {
    for fd in [std::io::stdin().as_raw_fd(), std::io::stdout().as_raw_fd(), std::io::stderr().as_raw_fd()] {
        // SAFETY: between fork and exec nobody uses them any more.
        unsafe { libc::close(fd) };
    }
    Ok(())
}

//! A Debian of its own, as mmdebstrap makes one: a copy of the tree ([`tree`]) as the root of a mount namespace, in which
//! packages are installed. Nothing of it is this host's but the kernel, /dev and the network. The tree itself is at
//! `/srv/tree`, to be read.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::call::{Call, Told};
use crate::harness::program::PATH;
use crate::tree;

/// The ordinary user.
pub(crate) const BUILDER: &str = "builder";

/// What makes the tree a root, and stays.
const NEW_ROOT: &str = r#"
set -e
cd "$1"
mount --bind tree tree
cd tree
mount -t proc proc proc
mount --rbind /dev dev
mount --rbind /sys sys
mount -t tmpfs tmpfs run
mkdir srv/tree
mount --bind "$2" srv/tree
mount -o remount,bind,ro srv/tree
cat /etc/resolv.conf >etc/resolv.conf
cat /etc/hosts >etc/hosts
# Documents are to be installed, too.
sed -i /^path-exclude=/d etc/dpkg/dpkg.cfg.d/*
mkdir old
pivot_root . old
cd /
umount -l /old
rmdir /old
echo ready
exec sleep infinity
"#;

pub(crate) struct Fresh {
    dir: PathBuf,
    holder: Child,
    /// A name for a template that no other test's cgroups have.
    pub(crate) template: String,
}

impl Fresh {
    pub(crate) fn new() -> Self {
        assert!(rustix::process::geteuid().is_root(), "this test needs real root");
        let dir = tempfile::Builder::new().prefix("zchroot-test-").tempdir().unwrap().keep();
        std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o755)).unwrap();
        let copied =
            Command::new("cp").args(["-a", "--reflink=auto", "--"]).arg(tree::tree()).arg(&dir).status();
        assert!(copied.unwrap().success(), "the tree was not copied");
        let mut holder = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "--", "sh", "-c", NEW_ROOT, "sh"])
            .args([&dir, &tree::tree()])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(holder.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let template = format!("f{}-{}", std::process::id(), holder.id());
        let fresh = Self { dir, holder, template };
        assert_eq!(line, "ready\n", "the root was not made");
        fresh.root(&["apt-get", "-q", "update"]).ok();
        fresh.root(&["useradd", "--create-home", BUILDER]).ok();
        fresh
    }

    /// A path in it, seen from here.
    pub(crate) fn at(&self, path: &str) -> PathBuf {
        self.dir.join("tree").join(path.trim_start_matches('/'))
    }

    fn call(&self, user: &[&str], home: &str) -> Call {
        let namespace = format!("/proc/{}/ns/mnt", self.holder.id());
        let root = format!("/proc/{}/root", self.holder.id());
        let mut enter = vec!["nsenter".to_owned(), format!("--mount={namespace}"), format!("--root={root}")];
        enter.extend([format!("--wd={root}"), "--".to_owned()]);
        enter.extend(user.iter().map(|word| (*word).to_owned()));
        enter.extend(["env".to_owned(), format!("--chdir={home}"), format!("HOME={home}")]);
        enter.extend([
            format!("PATH={PATH}"),
            "LC_ALL=C.UTF-8".into(),
            "DEBIAN_FRONTEND=noninteractive".into(),
        ]);
        Call::new(&enter)
    }

    /// Runs a command as root.
    pub(crate) fn root(&self, words: &[&str]) -> Told {
        self.call(&[], "/root").words(words.iter().copied()).run()
    }

    /// Runs a shell script as root.
    pub(crate) fn script(&self, script: &str) -> Told {
        self.root(&["sh", "-ec", script])
    }

    /// Runs a command as the ordinary user, from his home.
    pub(crate) fn builder(&self, words: &[&str]) -> Told {
        let user = ["setpriv", "--reuid", BUILDER, "--regid", BUILDER, "--init-groups"];
        let names = [format!("USER={BUILDER}"), format!("LOGNAME={BUILDER}")];
        let call = self.call(&user, "/home/builder").words(names.iter().map(String::as_str));
        call.words(words.iter().copied()).run()
    }

    /// Installs packages, by name or by a path in it, and nothing that they only recommend.
    pub(crate) fn install(&self, packages: &[&str]) -> Told {
        self.root(&[&["apt-get", "-q", "-y", "--no-install-recommends", "install"], packages].concat())
    }

    /// Copies a file into it, to a folder that there is, and gives its path there.
    pub(crate) fn bring(&self, file: &Path, folder: &str) -> String {
        let name = file.file_name().unwrap().to_str().unwrap();
        std::fs::copy(file, self.at(folder).join(name)).unwrap();
        format!("{folder}/{name}")
    }

    /// Whether dpkg has a package installed, and not just its configuration.
    pub(crate) fn has(&self, package: &str) -> bool {
        let told = self.root(&["dpkg-query", "-W", "-f=${db:Status-Status}", package]);
        told.text() == "installed"
    }

    fn cgroups(&self) -> Vec<PathBuf> {
        let tops = ["/sys/fs/cgroup/zchroot", "/sys/fs/cgroup/unified/zchroot"];
        let all = tops.iter().flat_map(|top| std::fs::read_dir(top).into_iter().flatten().flatten());
        all.map(|entry| entry.path())
            .filter(|path| {
                path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&self.template))
            })
            .collect()
    }

    /// Who has the tree mounted, in it or in one of its sessions.
    fn processes(&self) -> Vec<i32> {
        let name = self.dir.file_name().unwrap().to_string_lossy().into_owned();
        let all = std::fs::read_dir("/proc").unwrap().flatten();
        let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        let inside = |pid: &i32| {
            let table = std::fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
            table.contains(&name)
        };
        pids.filter(inside).collect()
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        for group in self.cgroups() {
            let _ = std::fs::write(group.join("cgroup.kill"), "1");
        }
        for pid in self.processes() {
            let pid = nix::unistd::Pid::from_raw(pid);
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
        }
        // The mounts go with the last process of the namespace.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
        std::thread::sleep(std::time::Duration::from_millis(100));
        for group in self.cgroups() {
            let _ = std::fs::remove_dir(group);
        }
        let _ = Command::new("rm").args(["-rf", "--one-file-system"]).arg(&self.dir).status();
    }
}

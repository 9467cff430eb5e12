//! A host of its own for the clients: a mount namespace held by a process that sleeps. Its /etc, /run and /var/lib are
//! layers over the host's, so that the clients are installed there as they are here, and nothing here changes.
//!
//! In [`Host::ours`] our program lies in the place of `/usr/bin/schroot`, setuid root, with one template; in
//! [`Host::debians`] Debian's schroot does its own work, with the same tree below a union. In both there is an
//! ordinary user in the group sbuild.

use std::fs::Permissions;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::call::{Call, Told};
use crate::harness::program::{PATH, binary};
use crate::tree;

/// The ordinary user.
pub(crate) const BUILDER: &str = "builder";
pub(crate) const UID: u32 = 64010;

/// The namespace. Copies of mounts of other tests go first: a commit waits until its tree is mounted nowhere.
/// What sessions' overlays stand on must not be a layer itself.
const NEW_HOST: &str = r#"
set -e
grep -o ' [^ ]*/run/z\?s\?chroot/mount/[^ ]* ' /proc/self/mountinfo | while read -r at; do umount -l "$at" 2>/dev/null || true; done
cd "$1"
for folder in etc run var/lib; do
    mkdir -p "layers/$folder/upper" "layers/$folder/work"
    mount -t overlay clients -o "lowerdir=/$folder,upperdir=$1/layers/$folder/upper,workdir=$1/layers/$folder/work" "/$folder"
done
for folder in zchroot schroot sbuild; do
    mkdir -p "/var/lib/$folder" "lib/$folder"
    mount --bind "lib/$folder" "/var/lib/$folder"
done
install -d -o sbuild -g sbuild -m 2770 /var/lib/sbuild /var/lib/sbuild/build
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
mount -t overlay clients -o "lowerdir=$2,upperdir=$1/layers/tree/upper,workdir=$1/layers/tree/work" chroot
echo ready
exec sleep infinity
"#;

pub(crate) struct Host {
    dir: PathBuf,
    /// The template or chroot, by a name that no other test's cgroups have; its aliases are those that sbuild tries.
    pub(crate) template: String,
    holder: Child,
}

impl Host {
    /// One where our program is schroot, and has a template.
    pub(crate) fn ours() -> Self {
        let host = Self::without_template();
        let (suite, alias, name) = (tree::suite(), tree::alias(), &host.template);
        let text = format!(
            "version = 1\ndescription = \"Debian {suite} autobuilder\"\nprofile = \"sbuild\"\n\
             aliases = [\"{suite}\", \"{alias}\"]\ngroups = [\"sbuild\"]\nroot-groups = [\"sbuild\"]\n\
             [source]\nroot-groups = [\"sbuild\"]\n"
        );
        host.write(&format!("/etc/zchroot/templates.d/{name}.toml"), &text);
        host.zchroot(&["init"]).ok();
        host.zchroot(&["-q", "create", name, "--from", tree::tree().to_str().unwrap()]).ok();
        host
    }

    /// One where our program is schroot.
    pub(crate) fn without_template() -> Self {
        Self::new(true)
    }

    /// One where Debian's schroot is, and has a chroot.
    pub(crate) fn debians() -> Self {
        let host = Self::new(false);
        let (suite, alias, name) = (tree::suite(), tree::alias(), &host.template);
        let text = format!(
            "[{name}]\ndescription=Debian {suite} autobuilder\ntype=directory\ndirectory={}\nunion-type=overlay\n\
             profile=sbuild\naliases={suite},{alias}\ngroups=sbuild\nroot-groups=sbuild\n",
            tree::tree().display()
        );
        host.write(&format!("/etc/schroot/chroot.d/{name}"), &text);
        host
    }

    fn new(ours: bool) -> Self {
        assert!(rustix::process::geteuid().is_root(), "this test needs real root");
        let tree = tree::tree();
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
            .args([&dir, &tree])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(holder.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n", "the host was not made");
        let template = format!("t{}-{}", std::process::id(), holder.id());
        Self { dir, template, holder }
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

    /// Fails if a client or a session left anything: a record, a tree, a mount, a process, a cgroup, a file of a build.
    #[track_caller]
    pub(crate) fn assert_nothing_left(&self) {
        let mut found = Vec::new();
        // A client that was killed may still be at work.
        for _ in 0..100 {
            found = self.left();
            if found.is_empty() {
                return;
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        panic!("left over: {found:#?}");
    }

    fn left(&self) -> Vec<String> {
        let mut found = Vec::new();
        for folder in [
            "zchroot/sessions",
            "zchroot/store/sessions",
            "zchroot/store/trash",
            "schroot/session",
            "sbuild/build",
        ] {
            found.extend(
                entries(&self.dir.join("lib").join(folder)).iter().map(|path| path.display().to_string()),
            );
        }
        let table = std::fs::read_to_string(format!("/proc/{}/mountinfo", self.holder.id())).unwrap();
        let points = table.lines().filter_map(|line| line.split(' ').nth(4));
        let session = |point: &&str| point.contains("/zchroot/mount/") || point.contains("/schroot/mount/");
        found.extend(points.filter(session).map(|point| format!("mount {point}")));
        found.extend(self.cgroups().iter().map(|path| path.display().to_string()));
        found.extend(self.processes().iter().map(|pid| format!("process {pid} {}", command(*pid))));
        found
    }

    fn cgroups(&self) -> Vec<PathBuf> {
        let tops = ["/sys/fs/cgroup/zchroot", "/sys/fs/cgroup/unified/zchroot"];
        let mut all: Vec<PathBuf> = tops.iter().flat_map(|top| entries(Path::new(top))).collect();
        all.retain(|path| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&self.template))
        });
        all
    }

    /// Who is in the host, or in a session of its template.
    fn processes(&self) -> Vec<i32> {
        let namespace =
            |pid: i32| std::fs::metadata(format!("/proc/{pid}/ns/mnt")).map(|stat| stat.ino()).ok();
        let own = namespace(self.holder.id().cast_signed());
        let inside = |pid: &i32| {
            let table = std::fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
            let is_top = |line: &str| line.split(' ').nth(4) == Some("/") && line.contains(&self.template);
            namespace(*pid) == own && own.is_some() || table.lines().any(is_top)
        };
        let all = entries(Path::new("/proc")).into_iter();
        let pids = all.filter_map(|path| path.file_name()?.to_str()?.parse::<i32>().ok());
        pids.filter(|pid| pid.cast_unsigned() != self.holder.id() && inside(pid)).collect()
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

fn tested() -> PathBuf {
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

fn command(pid: i32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default().replace('\0', " ")
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    entries.filter_map(|entry| Some(entry.ok()?.path())).collect()
}

//! A host with schroot's configuration, on which schroot is Debian's or ours; what both see is the same.

use std::path::PathBuf;

use crate::call::Told;
use crate::harness::{tree, wait_until};
use crate::host::Host;

/// Who is schroot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    Debian,
    Ours,
}

/// Where the one and the other have mounts, and the records of sessions.
const PLACES: [(&str, &str); 2] =
    [("/run/schroot", "/var/lib/schroot/session"), ("/run/zchroot", "/var/lib/zchroot/sessions")];

/// Takes away what is mounted for sessions, and what is in /run for them, as a reboot does.
const REBOOT: &str = "tac /proc/self/mounts | cut -d' ' -f2 | grep -E '/(zchroot|schroot)/(mount|union)/' |
    while read -r at; do umount -l \"$at\"; done
umount -l /run/zchroot/mount 2>/dev/null
rm -rf /run/schroot /run/zchroot";

pub(crate) struct Lab {
    pub(crate) host: Host,
    pub(crate) who: Who,
    _tree: tempfile::TempDir,
}

impl Lab {
    pub(crate) fn new(who: Who) -> Self {
        let tree = tempfile::Builder::new().prefix("zchroot-test-").tempdir().unwrap();
        tree::make(tree.path());
        let host = Host::new(who == Who::Ours, tree.path());
        let lab = Self { host, who, _tree: tree };
        lab.write("/etc/schroot/schroot.conf", "# nothing here\n");
        // Who does not find the name of the host here may wait for seconds, and that is a scenario of its own.
        lab.shell("echo \"127.0.1.1 $(hostname)\" >>/etc/hosts");
        lab.profile("bare", "/proc /proc none rw,bind 0 0\n/dev /dev none rw,bind 0 0\n", "", "");
        lab
    }

    /// A folder of files for `profile=NAME`.
    pub(crate) fn profile(&self, name: &str, fstab: &str, copied: &str, databases: &str) {
        for (file, text) in [("fstab", fstab), ("copyfiles", copied), ("nssdatabases", databases)] {
            self.write(&format!("/etc/schroot/{name}/{file}"), text);
        }
    }

    /// A chroot of the profile `bare`, if it names none, that root may use: its keys, with `TREE` for its tree.
    /// Its full name, which no other test's control groups have.
    pub(crate) fn define(&self, keys: &str) -> String {
        let name = self.host.template.clone();
        let profile = if keys.contains("profile=") { "" } else { "profile=bare\n" };
        let keys = keys.replace("TREE", &self.tree());
        self.write("/etc/schroot/chroot.d/one", &format!("[{name}]\nroot-users=root\n{profile}{keys}"));
        name
    }

    /// One of type directory below a union, and who may use its source.
    pub(crate) fn define_union(&self, keys: &str) -> String {
        self.define(&format!(
            "type=directory\ndirectory=TREE\nunion-type=overlay\nsource-root-users=root\n{keys}"
        ))
    }

    /// Where the tree of chroots lies in the host.
    pub(crate) fn tree(&self) -> String {
        self.dir("chroot")
    }

    /// A path in the folder of the test.
    pub(crate) fn dir(&self, name: &str) -> String {
        self.host.dir().join(name).to_str().unwrap().to_owned()
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        self.host.write(path, text);
    }

    /// Puts a script beside those of schroot.
    pub(crate) fn script(&self, name: &str, text: &str) {
        let path = format!("/etc/schroot/setup.d/{name}");
        self.write(&path, &format!("#!/bin/sh\n{text}\n"));
        self.shell(&format!("chmod 755 {path}"));
    }

    /// What a shell of the host, in the folder of the test, prints.
    #[track_caller]
    pub(crate) fn shell(&self, script: &str) -> String {
        let words = ["sh", "-c", "cd \"$0\" && eval \"$1\"", &self.dir(""), script];
        self.host.root(&words).ok().text().to_owned()
    }

    pub(crate) fn schroot(&self, words: &[&str]) -> Told {
        self.host.root(&[&["schroot"], words].concat())
    }

    /// A command that does nothing for long, as no other test's does.
    pub(crate) fn sleep(&self) -> String {
        let number = self.host.template.rsplit('-').next().unwrap();
        format!("sleep 1000{number}")
    }

    /// That so many of those run.
    #[track_caller]
    pub(crate) fn sleeping(&self, count: usize) {
        let asked = format!("pgrep -cf '{}$' || true", self.sleep());
        wait_until("they sleep", || self.shell(&asked) == count.to_string());
    }

    /// How a call ends.
    pub(crate) fn status(&self, words: &[&str]) -> i32 {
        self.schroot(words).status.unwrap()
    }

    /// Begins a session that has to be begun; its name.
    #[track_caller]
    pub(crate) fn begin(&self, chroot: &str) -> String {
        let told = self.schroot(&["-b", "-c", chroot]).ok();
        assert!(!told.text().is_empty(), "{told}");
        told.text().to_owned()
    }

    /// A command in a session that has to end well.
    #[track_caller]
    pub(crate) fn run(&self, session: &str, script: &str) -> String {
        let words = ["-r", "-c", session, "-d", "/", "-u", "root", "--", "sh", "-c", script];
        self.schroot(&words).ok().text().to_owned()
    }

    /// Where the host sees a session.
    #[track_caller]
    pub(crate) fn location(&self, session: &str) -> String {
        self.schroot(&["--location", "-c", &format!("session:{session}")]).ok().text().to_owned()
    }

    /// How many sessions there are.
    #[track_caller]
    pub(crate) fn sessions(&self) -> usize {
        self.schroot(&["-l", "--all-sessions", "--exclude-aliases"]).ok().text().lines().count()
    }

    pub(crate) fn reboot(&self) {
        self.shell(REBOOT);
    }

    /// What there is of sessions: the kinds of things.
    pub(crate) fn left(&self) -> String {
        let (mounts, records) = PLACES[usize::from(self.who == Who::Ours)];
        let mut kinds = Vec::new();
        let is_there = |script: &str| !self.shell(script).is_empty();
        if is_there(&format!("ls -A {records} 2>/dev/null || true")) {
            kinds.push("record");
        }
        if is_there("ls -A /var/lib/schroot/union/*") && is_there("find /var/lib/schroot/union -mindepth 2") {
            kinds.push("overlay");
        }
        if is_there(&format!("cut -d' ' -f2 /proc/self/mounts | grep '^{mounts}/mount/' || true")) {
            kinds.push("mount");
        }
        if kinds.is_empty() { "nothing".to_owned() } else { kinds.join(" ") }
    }
}

/// What a scenario says of the one and of the other, once they were judged; with ours nothing is left.
#[track_caller]
pub(crate) fn both<T>(scenario: impl Fn(&Lab) -> T, judge: impl Fn(T, T)) {
    let lab = Lab::new(Who::Ours);
    let ours = scenario(&lab);
    judge(scenario(&Lab::new(Who::Debian)), ours);
    lab.host.assert_nothing_left();
    println!("defect-count: shown-by-schroot=1 held-by-zchroot=1");
}

/// That schroot has a defect, as the scenario says it, and ours does what is wanted.
#[track_caller]
pub(crate) fn mended(scenario: impl Fn(&Lab) -> String, defect: &str, wanted: &str) {
    both(scenario, |debian, ours| {
        let is_mended = "if Debian's schroot was mended, this is a defect no more";
        assert_eq!((debian.as_str(), ours.as_str()), (defect, wanted), "(schroot, zchroot); {is_mended}");
    });
}

/// A folder beside the chroot's tree.
pub(crate) fn folder(lab: &Lab, name: &str) -> PathBuf {
    let path = lab.host.dir().join(name);
    std::fs::create_dir(&path).unwrap();
    path
}

//! An installation, and its store from within: trees that no record knows of are made there, many of them in no time.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::path::Path;

use serde_json::Value;
use zchroot::dir::DirStore;
use zchroot::store::{Layout, MountOptions, SessionId, Store, TemplateName, Tree, VersionId};

use crate::harness::Done;
use crate::host::Host;

pub(crate) struct Lab {
    host: Host,
    store: Box<dyn Store + Send + Sync>,
    on_a_pool: bool,
}

impl Deref for Lab {
    type Target = Host;

    fn deref(&self) -> &Host {
        &self.host
    }
}

/// One line of gc.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) action: String,
    pub(crate) reason: String,
    pub(crate) bytes: Option<u64>,
}

impl Lab {
    pub(crate) fn on_directories() -> Self {
        let host = Host::on_directories();
        let store = Box::new(DirStore::open(&Layout::new(host.path())));
        Self { host, store, on_a_pool: false }.at_rest()
    }

    #[cfg(feature = "zfs")]
    pub(crate) fn on_a_pool() -> Self {
        let host = Host::on_a_pool();
        let config = host.read("/etc/zchroot/zchroot.toml");
        let pool = config.split("pool = \"").nth(1).unwrap().split('"').next().unwrap();
        let store = zchroot::zfs::ZfsStore::open(pool, &Layout::new(host.path()), 0).unwrap();
        Self { host, store: Box::new(store), on_a_pool: true }.at_rest()
    }

    /// What makes a digest looks at a clone of which nothing is known: none is made any more.
    fn at_rest(self) -> Self {
        crate::harness::wait_until("no digest is made", || self.digesting().is_empty());
        self.zchroot(["-q", "gc"]).ok();
        crate::harness::wait_until("no digest is made", || self.digesting().is_empty());
        let config = self.read("/etc/zchroot/zchroot.toml");
        self.configure(&config.replace("version = 1", "version = 1\ndigests = \"never\""));
        self
    }

    /// How old a thing has to be, in the configuration.
    pub(crate) fn grace(&self, seconds: u64) {
        let config = self.read("/etc/zchroot/zchroot.toml");
        let rest = config.lines().filter(|line| !line.starts_with("grace") && !line.starts_with("version"));
        let rest: Vec<&str> = rest.collect();
        self.configure(&format!("version = 1\ngrace = \"{seconds}s\"\n{}\n", rest.join("\n")));
    }

    /// A clone that no record knows of, as a crash leaves it, with so much in it.
    pub(crate) fn orphan(&self, name: &str, bytes: usize) {
        let (template, id): (TemplateName, SessionId) = ("demo".parse().unwrap(), name.parse().unwrap());
        let version: VersionId = self.current("demo").parse().unwrap();
        self.store.session_clone(&template, &version, &id).unwrap();
        if bytes == 0 {
            return;
        }
        let content = vec![7_u8; bytes];
        if !self.on_a_pool {
            let upper = self.at(&format!("/var/lib/zchroot/store/sessions/{name}/upper"));
            return std::fs::write(upper.join("content"), content).unwrap();
        }
        let at = self.at("/mnt");
        std::fs::create_dir_all(&at).unwrap();
        self.store.mount(&Tree::Session(id), &at, MountOptions::default()).unwrap();
        std::fs::write(at.join("content"), content).unwrap();
        nix::mount::umount(&at).unwrap();
    }

    /// The same of an image.
    pub(crate) fn clone_of_image(&self, digest: &str, name: &str) {
        self.store.session_from_image(&digest.parse().unwrap(), &name.parse().unwrap()).unwrap();
    }

    /// The trees of sessions that are there.
    pub(crate) fn trees(&self) -> Vec<String> {
        self.store.sessions().unwrap().into_iter().map(|tree| tree.id.to_string()).collect()
    }

    /// What the trees take, as the file system says: not asked of the program.
    pub(crate) fn sizes(&self) -> BTreeMap<String, u64> {
        if !self.on_a_pool {
            let folder = self.at("/var/lib/zchroot/store/sessions");
            return self
                .trees()
                .into_iter()
                .map(|name| (name.clone(), below(&folder.join(name).join("upper"))))
                .collect();
        }
        let config = self.read("/etc/zchroot/zchroot.toml");
        let pool = config.split("pool = \"").nth(1).unwrap().split('"').next().unwrap();
        let run = |program: &str, args: &[&str]| {
            let output =
                std::process::Command::new(format!("/usr/sbin/{program}")).args(args).output().unwrap();
            String::from_utf8(output.stdout).unwrap()
        };
        run("zpool", &["sync", pool]);
        let dataset = format!("{pool}/zchroot/sessions");
        let text = run("zfs", &["list", "-Hpr", "-d", "1", "-o", "name,used", &dataset]);
        let lines = text.lines().skip(1).map(|line| line.split_once('\t').unwrap());
        lines
            .map(|(name, used)| (name.rsplit('/').next().unwrap().to_owned(), used.parse().unwrap()))
            .collect()
    }

    /// What nobody of ours made, where ours lie: gone, or looked at, it would be missed.
    pub(crate) fn foreign(&self) -> Vec<std::path::PathBuf> {
        let folders = ["/run/zchroot/mount", "/run/zchroot/lock", "/var/lib/zchroot/sessions"];
        let mut paths: Vec<_> = folders.iter().map(|folder| self.at(folder).join("_not ours")).collect();
        if !self.on_a_pool {
            paths.push(self.at("/var/lib/zchroot/store/sessions/_not ours"));
        }
        for path in &paths {
            std::fs::create_dir_all(path).unwrap();
            std::fs::write(path.join("kept"), "x").unwrap();
        }
        paths
    }

    /// The lines of gc about trees of sessions, by their names.
    pub(crate) fn tree_lines(done: Done) -> BTreeMap<String, Line> {
        let json = done.json();
        let items = json["items"].as_array().unwrap().iter().filter(|item| item["kind"] == "session-tree");
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let line = |item: &Value| Line {
            action: text(&item["action"]),
            reason: text(&item["reason"]),
            bytes: item["bytes"].as_u64(),
        };
        items.map(|item| (text(&item["session"]), line(item))).collect()
    }
}

/// The bytes that a folder and all below it take on the disk, as du(1) counts them.
fn below(folder: &Path) -> u64 {
    let output = std::process::Command::new("du").args(["-s", "-B1"]).arg(folder).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_whitespace().next().unwrap().parse().unwrap()
}

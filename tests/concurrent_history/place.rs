//! Where a run takes place: an installation on a store whose room can be taken away, and what must be true of it
//! in the end.

use std::path::PathBuf;
use std::process::Command;

use super::harness::{Installation, tree};
use super::history::{FIRST, Log, Stamp};
use super::stamp;
#[cfg(feature = "zfs")]
use super::zfs_pool::{Pool, run};

/// How much the file system of the store on directories holds, in MiB.
const DISK: u64 = 512;
/// What is left to others while the ballast is in, in bytes.
const LEFT: u64 = 300 << 10;

/// An installation, and the pool below it.
pub(crate) struct Place {
    // Dropped first: the pool can go only when nothing of it is mounted.
    pub(crate) host: Installation,
    pub(crate) ballast: Ballast,
    pub(crate) store: &'static str,
    #[cfg(feature = "zfs")]
    pub(crate) pool: Option<Pool>,
}

/// Takes the room away and gives it back.
pub(crate) enum Ballast {
    File(PathBuf),
    #[cfg(feature = "zfs")]
    Dataset(String),
}

impl Place {
    /// On directories, on a small file system of its own.
    pub(crate) fn dir() -> Self {
        let host = Installation::empty();
        let (disk, state) = (host.at("/disk"), host.at("/var/lib/zchroot"));
        std::fs::File::create(&disk).unwrap().set_len(DISK << 20).unwrap();
        std::fs::create_dir_all(&state).unwrap();
        succeed(Command::new("mkfs.ext4").args(["-q", "-m", "0"]).arg(&disk));
        succeed(Command::new("mount").args(["-o", "loop,noatime"]).args([&disk, &state]));
        host.configure(&config(""));
        host.zchroot(["init"]).ok();
        let ballast = Ballast::File(state.join("ballast"));
        Self {
            host,
            ballast,
            store: "dir",
            #[cfg(feature = "zfs")]
            pool: None,
        }
    }

    /// On a pool of its own.
    #[cfg(feature = "zfs")]
    pub(crate) fn zfs() -> Self {
        let pool = Pool::make();
        let host = Installation::empty();
        host.configure(&config(&pool.name));
        host.zchroot(["init"]).ok();
        let ballast = format!("{}/ballast", pool.name);
        run("zfs", &["create", "-o", "mountpoint=none", &ballast]);
        Self { host, ballast: Ballast::Dataset(ballast), store: "zfs", pool: Some(pool) }
    }

    /// Makes templates whose first version is stamped.
    pub(crate) fn make(&self, templates: &[&str]) {
        let source = self.host.at("/source");
        tree::make(&source);
        stamp::first(&source);
        for name in templates {
            self.host.define(name, "version = 1\nprofile = \"minimal\"\nkeep = 3\n");
            let words = ["create", name, "--from", source.to_str().unwrap(), "-m", FIRST];
            self.host.zchroot(words).ok();
        }
    }

    /// Clears up as an administrator does, and fails if anything is left over.
    pub(crate) fn clear_up(&self) {
        self.host.configure(&self.host.read("/etc/zchroot/zchroot.toml").replace("20s", "0s"));
        self.host.zchroot(["recover"]).ok();
        let again = self.host.zchroot(["recover"]).ok();
        assert!(again.text().lines().all(|line| line.ends_with(": stands")), "{again}");
        self.host.zchroot(["end", "--all"]).ok();
        for session in sources(&self.host) {
            self.host.zchroot(["source", "abort", &session]).ok();
        }
        crate::harness::wait_until("all digests are made", || self.host.digesting().is_empty());
        self.host.zchroot(["gc"]).ok();
        let plan = self.host.zchroot(["gc", "--dry-run"]).ok();
        assert_eq!(plan.text(), "", "gc finds more to do: {plan}");
        assert_eq!(self.host.sessions(), Vec::<String>::new());
        self.host.assert_nothing_left();
    }

    /// Writes down what the histories say.
    pub(crate) fn in_the_end(&self, templates: &[&str], log: &Log) {
        for template in templates {
            let json = self.host.zchroot(["history", template, "--json"]).json();
            let versions = json["versions"].as_array().unwrap().iter().rev();
            let stamp = |version: &serde_json::Value| {
                Stamp::new(version["generation"].as_u64().unwrap(), version["message"].as_str().unwrap())
            };
            log.in_the_end(template, versions.map(stamp).collect());
        }
    }
}

/// The disk is small and is filled on purpose: without floors.
fn config(pool: &str) -> String {
    let space = "[space]\nhard-floor = \"0\"\nsoft-floor = \"0\"\nsoft-percent = 0\n";
    match pool {
        "" => format!("version = 1\ngrace = \"20s\"\n{space}"),
        pool => format!("version = 1\nstore = \"zfs\"\ngrace = \"20s\"\n{space}\n[zfs]\npool = \"{pool}\"\n"),
    }
}

/// The source sessions that there are.
pub(crate) fn sources(host: &Installation) -> Vec<String> {
    let json = host.zchroot(["list", "--sessions", "--json"]).json();
    let rows = json["list"]["sessions"].as_array().unwrap().iter();
    rows.filter(|row| row["kind"] == "source").map(|row| row["id"].as_str().unwrap().to_owned()).collect()
}

impl Ballast {
    /// Takes nearly all room. Others take some meanwhile: then it may not fit, and that is full as well.
    pub(crate) fn load(&self) {
        match self {
            Self::File(path) => {
                let file = std::fs::File::create(path).unwrap();
                let stat = rustix::fs::fstatvfs(&file).unwrap();
                let room = (stat.f_bavail * stat.f_frsize).saturating_sub(LEFT).max(1);
                let _ = rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, room);
            }
            #[cfg(feature = "zfs")]
            Self::Dataset(name) => {
                let room: u64 = run("zfs", &["get", "-Hpo", "value", "available", name]).parse().unwrap();
                let value = format!("reservation={}", room.saturating_sub(LEFT));
                let _ = Command::new("/usr/sbin/zfs").args(["set", &value, name]).status();
            }
        }
    }

    /// Gives it back.
    pub(crate) fn drop(&self) {
        match self {
            Self::File(path) => std::fs::remove_file(path).unwrap(),
            #[cfg(feature = "zfs")]
            Self::Dataset(name) => drop(run("zfs", &["set", "reservation=none", name])),
        }
    }
}

fn succeed(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

//! An installation in a temporary directory, used by real root with `--root DIR`.
//!
//! Whatever a test does to it, [`Installation`] takes it away when it is dropped, also when the test panics:
//! processes whose root is inside, mounts below it, its cgroups. Nothing outside the directory is touched.
//! Each test crate uses a part of what is here.
#![allow(dead_code, unreachable_pub, reason = "each test crate uses a part of the harness")]

pub mod both;
pub mod left;
pub mod once;
pub mod program;
pub mod tree;

use std::io::Write as _;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use program::{Done, Order};

/// What a template is defined as where a test does not care: as little as possible of the host.
pub const MINIMAL: &str = "version = 1\nprofile = \"minimal\"\n";

/// An installation of its own.
pub struct Installation {
    dir: PathBuf,
}

impl Installation {
    /// An empty one: nothing is configured and nothing laid out.
    pub fn empty() -> Self {
        assert!(rustix::process::geteuid().is_root(), "this test needs real root");
        let dir = tempfile::Builder::new().prefix("zchroot-test-").tempdir().unwrap();
        Self { dir: dir.keep() }
    }

    /// One that is laid out.
    pub fn new() -> Self {
        let made = Self::empty();
        made.zchroot(["init"]).ok();
        made
    }

    /// One with a template `demo` whose first version is the tree of [`tree::make`].
    pub fn with_demo() -> Self {
        let made = Self::new();
        made.define("demo", MINIMAL);
        made.create("demo");
        made
    }

    /// Makes the first version of a template that is defined.
    pub fn create(&self, template: &str) {
        let source = self.path().join("source");
        tree::make(&source);
        let source = source.to_str().unwrap();
        self.zchroot(["create", template, "--from", source, "-m", "first"]).ok();
    }

    /// Its root directory.
    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// A path in it, given as if it were the host's: `/etc/zchroot`.
    pub fn at(&self, path: &str) -> PathBuf {
        self.path().join(path.trim_start_matches('/'))
    }

    /// Writes the definition of a template.
    pub fn define(&self, name: &str, text: &str) {
        self.write(&format!("/etc/zchroot/templates.d/{name}.toml"), text);
    }

    /// Writes a profile.
    pub fn profile(&self, name: &str, text: &str) {
        self.write(&format!("/etc/zchroot/profiles/{name}.toml"), text);
    }

    /// Writes the host's configuration.
    pub fn configure(&self, text: &str) {
        self.write("/etc/zchroot/zchroot.toml", text);
    }

    /// Writes a file, and the folders above it.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.at(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// The text of a file.
    pub fn read(&self, path: &str) -> String {
        let path = self.at(path);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("read {}: {error}", path.display()))
    }

    /// A call of the program, not yet run.
    pub fn order<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> Order {
        Order::new(program::binary()).word("--root").word(self.path()).words(words)
    }

    /// Calls the program and waits for it.
    pub fn zchroot<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> Done {
        self.order(words).run()
    }

    /// The command of a throw-away session of `demo`, in `/`.
    pub fn run_in_demo(&self, script: &str) -> Done {
        self.zchroot(["run", "demo", "-d", "/", "--", "sh", "-c", script])
    }

    /// The names of the versions of a template, oldest first.
    pub fn versions(&self, template: &str) -> Vec<String> {
        let json = self.zchroot(["history", template, "--json"]).json();
        let mut names: Vec<String> = json["versions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|version| version["id"].as_str().unwrap().to_owned())
            .collect();
        names.reverse();
        names
    }

    /// The names of the sessions, as the program lists them.
    pub fn sessions(&self) -> Vec<String> {
        let json = self.zchroot(["list", "--sessions", "--json"]).json();
        let rows = json["list"]["sessions"].as_array().unwrap();
        rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
    }

    /// The version that the pointer names.
    pub fn current(&self, template: &str) -> String {
        let link = self.at(&format!("/var/lib/zchroot/templates/{template}/current"));
        let target = std::fs::read_link(link).unwrap();
        target.file_stem().unwrap().to_str().unwrap().to_owned()
    }

    /// The processes that make digests in the background, and that have a file of ours open.
    pub fn digesting(&self) -> Vec<i32> {
        let all = std::fs::read_dir("/proc").unwrap();
        let pids = all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        pids.filter(|pid: &i32| {
            let name = std::fs::read_to_string(format!("/proc/{pid}/comm"));
            let Ok(fds) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
            let ours =
                |link: PathBuf| std::fs::read_link(link).is_ok_and(|target| target.starts_with(self.path()));
            name.is_ok_and(|name| name == "zchroot-digest\n") && fds.flatten().any(|fd| ours(fd.path()))
        })
        .collect()
    }

    /// What a session left behind; nothing, if all is well.
    pub fn left_over(&self) -> Vec<String> {
        left::over(self.path())
    }

    /// Fails if anything is left over. What the kernel takes a moment for gets it.
    #[track_caller]
    pub fn assert_nothing_left(&self) {
        let mut found = self.left_over();
        for _ in 0..20 {
            if found.is_empty() {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
            found = self.left_over();
        }
        panic!("left over:\n  {}", found.join("\n  "));
    }

    /// Takes what runs and is mounted below it away by force, the state of a store on ZFS too; files stay.
    pub fn clear(&self) -> bool {
        left::clear(self.path(), self.inode())
    }

    /// The inode of the root directory, which its cgroups are named by.
    fn inode(&self) -> u64 {
        std::fs::metadata(self.path()).unwrap().ino()
    }
}

impl Drop for Installation {
    fn drop(&mut self) {
        // Never through a mount that stayed: a session may have the host's folders in it.
        if self.clear() {
            let _ = std::fs::remove_dir_all(self.path());
        } else {
            let _ =
                writeln!(std::io::stderr(), "{} stays: mounts below it would not go", self.path().display());
        }
    }
}

/// Waits until `is_so`, at most ten seconds.
#[track_caller]
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while !is_so() {
        assert!(std::time::Instant::now() < deadline, "waited 10 s in vain: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

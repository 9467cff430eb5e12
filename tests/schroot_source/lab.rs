//! A host with a template whose source some may change, on one of the two stores.

use std::path::Path;

use crate::harness::Done;
use crate::harness::program::Order;
pub(crate) use crate::harness::program::{gives, refuses};
use crate::world::World;
#[cfg(feature = "zfs")]
use crate::zfs_pool::Pool;

const DEFINITION: &str = "version = 1
profile = \"shared\"
aliases = [\"unstable\"]
users = [\"alice\", \"carol\"]
[source]
users = [\"alice\"]
root-users = [\"carol\"]
";

pub(crate) struct Lab {
    // In this order they are dropped: a pool can go only when nothing of it is mounted.
    pub(crate) world: World,
    #[cfg(feature = "zfs")]
    _pool: Option<Pool>,
    /// The template.
    pub(crate) name: String,
    /// Its source, in schroot's words.
    pub(crate) source: String,
}

impl Lab {
    pub(crate) fn on_directories() -> Self {
        let world = World::empty();
        std::fs::create_dir(world.etc("zchroot")).unwrap();
        world.write_etc("zchroot/zchroot.toml", "version = 1\ngrace = \"0s\"\ndigests = \"gc\"\n");
        let world = world.furnished(&["init"]);
        #[cfg(feature = "zfs")]
        return Self::of(world, None);
        #[cfg(not(feature = "zfs"))]
        Self::of(world)
    }

    #[cfg(feature = "zfs")]
    pub(crate) fn on_a_pool() -> Self {
        let (pool, world) = (Pool::make(), World::empty());
        std::fs::create_dir(world.etc("zchroot")).unwrap();
        let config = "version = 1\ngrace = \"0s\"\ndigests = \"gc\"\nstore = \"zfs\"\n[zfs]\n";
        world.write_etc("zchroot/zchroot.toml", &format!("{config}pool = \"{}\"\n", pool.name));
        let world = world.furnished(&["init", "--pool", &pool.name]);
        Self::of(world, Some(pool))
    }

    fn of(world: World, #[cfg(feature = "zfs")] pool: Option<Pool>) -> Self {
        let name = world.template.clone();
        let lab = Self {
            world,
            #[cfg(feature = "zfs")]
            _pool: pool,
            source: format!("source:{name}"),
            name,
        };
        lab.define("");
        lab
    }

    /// The definition, with more in its `[source]`.
    pub(crate) fn define(&self, more: &str) {
        let file = format!("zchroot/templates.d/{}.toml", self.name);
        self.world.write_etc(&file, &format!("{DEFINITION}{more}"));
    }

    /// Who may be root in the source may from now on be there as herself alone.
    pub(crate) fn demote_carol(&self) {
        let file = format!("zchroot/templates.d/{}.toml", self.name);
        let text = DEFINITION
            .replace("users = [\"alice\"]\nroot-users = [\"carol\"]", "users = [\"alice\", \"carol\"]");
        self.world.write_etc(&file, &text);
    }

    pub(crate) fn order(&self, uid: u32, words: &[&str]) -> Order {
        self.world.program("schroot").user(uid, &[]).words(words.iter().copied())
    }

    pub(crate) fn schroot(&self, uid: u32, words: &[&str]) -> Done {
        self.order(uid, words).run()
    }

    /// `schroot -r` in a session, as root, by `uid`.
    pub(crate) fn run(&self, uid: u32, session: &str, script: &str) -> Done {
        self.schroot(uid, &["-r", "-c", session, "-d", "/", "-u", "root", "--", "sh", "-c", script])
    }

    /// Begins a source session; its name.
    #[track_caller]
    pub(crate) fn begin(&self, uid: u32) -> String {
        let done = self.schroot(uid, &["-b", "-c", &self.source]).ok();
        assert!(done.stderr.is_empty(), "{done}");
        done.text()
    }

    /// A command around which a source session is made, by `uid` as root.
    pub(crate) fn around(&self, uid: u32, script: &str) -> Done {
        self.schroot(uid, &["-c", &self.source, "-d", "/", "-u", "root", "--", "sh", "-c", script])
    }

    /// What a new session finds in /etc/what.
    pub(crate) fn what(&self) -> String {
        let words =
            ["run", &self.name, "-d", "/", "--", "sh", "-c", "cat /etc/what 2>/dev/null || echo none"];
        self.world.root(&words).ok().text()
    }

    pub(crate) fn generation(&self) -> u64 {
        let history = self.world.root(&["history", &self.name, "--json"]).json();
        history["versions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it["generation"].as_u64().unwrap())
            .max()
            .unwrap()
    }

    /// The sessions, as zchroot tells root.
    pub(crate) fn sessions(&self) -> Vec<serde_json::Value> {
        let list = self.world.root(&["list", "--sessions", "--json"]).json();
        list["list"]["sessions"].as_array().unwrap().clone()
    }

    /// What a shell of the host says about the installation.
    pub(crate) fn shell(&self, script: &str) -> Done {
        self.world.inside(Path::new("/bin/sh")).words(["-c", script]).run().ok()
    }

    /// gc, which must not see the control groups of other tests: they have no records here.
    pub(crate) fn gc(&self, words: &[&str]) -> Done {
        let script = "mount -t tmpfs none /sys/fs/cgroup && exec \"$0\" gc \"$@\"";
        let unshare = self.world.inside(Path::new("unshare")).words(["--mount", "--", "sh", "-c", script]);
        unshare.word(self.world.bin("zchroot")).words(words.iter().copied()).run()
    }

    #[track_caller]
    pub(crate) fn nothing_left(&self) {
        assert!(self.sessions().is_empty(), "{:?}", self.sessions());
        self.shell("ls -A /var/lib/zchroot/sessions").prints("");
        let gone = self.gc(&[]).ok();
        assert!(!gone.text().contains("draft ") && !gone.text().contains("commands of "), "{gone}");
        self.world.assert_nothing_left();
    }
}

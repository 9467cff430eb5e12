//! A host with schroot's configuration and no template.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use crate::harness::program::Order;
pub(crate) use crate::harness::program::{gives, refuses};
use crate::harness::{Done, tree};
use crate::world::World;

pub(crate) const NO: &str = "E: Access not authorised\nI: You do not have permission to access the schroot service.\n\
I: This failure will be reported.\n";
const LISTS: &str = "users=alice\nroot-users=carol\ngroups=helpers\n";
const SOURCE: &str = "source-root-users=carol\nsource-users=alice\n";

pub(crate) struct Lab {
    pub(crate) world: World,
    /// The chroot.
    pub(crate) name: String,
}

impl Lab {
    /// A chroot with these keys, `TREE` in them for its tree.
    pub(crate) fn new(keys: &str) -> Self {
        Self::on(World::empty(), keys)
    }

    /// The same, on a host that is there already.
    pub(crate) fn on(world: World, keys: &str) -> Self {
        std::fs::create_dir_all(world.etc("schroot/chroot.d")).unwrap();
        std::fs::create_dir_all(world.etc("zchroot/profiles")).unwrap();
        std::fs::write(world.etc("zchroot/profiles/shared.toml"), PROFILE).unwrap();
        world.write_etc("schroot/schroot.conf", "# nothing here\n");
        let name = world.template.clone();
        let lab = Self { world, name };
        tree::make(&lab.tree());
        lab.define(keys);
        lab
    }

    pub(crate) fn define(&self, keys: &str) {
        let keys = keys.replace("TREE", &format!("/var/lib/trees/{}", self.name));
        let has_source = ["union-type", "=file", "-snapshot"].iter().any(|word| keys.contains(word));
        let source = if has_source { SOURCE } else { "" };
        let text = format!("[{}]\n{LISTS}{source}{keys}", self.name);
        self.world.write_etc("schroot/chroot.d/one", &text);
    }

    /// The tree of the chroot, from outside of its world.
    pub(crate) fn tree(&self) -> PathBuf {
        self.world.lib(&format!("trees/{}", self.name))
    }

    pub(crate) fn order(&self, uid: u32, words: &[&str]) -> Order {
        self.world.program("schroot").user(uid, &[]).words(words.iter().copied())
    }

    pub(crate) fn schroot(&self, uid: u32, words: &[&str]) -> Done {
        self.order(uid, words).run()
    }

    /// A command around which a session is made.
    pub(crate) fn around(&self, uid: u32, user: &str, script: &str) -> Done {
        self.schroot(uid, &["-c", &self.name, "-d", "/", "-u", user, "--", "sh", "-c", script])
    }

    /// The same, of the source.
    pub(crate) fn around_source(&self, uid: u32, script: &str) -> Done {
        let source = format!("source:{}", self.name);
        self.schroot(uid, &["-c", &source, "-d", "/", "-u", "root", "--", "sh", "-c", script])
    }

    /// A command in a session, as root.
    pub(crate) fn run(&self, uid: u32, session: &str, script: &str) -> Done {
        self.schroot(uid, &["-r", "-c", session, "-d", "/", "-u", "root", "--", "sh", "-c", script])
    }

    /// Begins a session; its name.
    #[track_caller]
    pub(crate) fn begin(&self, uid: u32, chroot: &str) -> String {
        let done = self.schroot(uid, &["-b", "-c", chroot]).ok();
        assert!(done.stderr.is_empty(), "{done}");
        done.text()
    }

    /// What a shell of the host says in this world.
    pub(crate) fn shell(&self, script: &str) -> Done {
        self.world.inside(std::path::Path::new("/bin/sh")).words(["-c", script]).run().ok()
    }

    /// Every path of the tree with what tells a change: to compare before and after.
    pub(crate) fn listing(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut todo = vec![self.tree()];
        while let Some(dir) = todo.pop() {
            for entry in std::fs::read_dir(&dir).unwrap() {
                let path = entry.unwrap().path();
                let meta = std::fs::symlink_metadata(&path).unwrap();
                let (mode, size) = (meta.mode(), if meta.is_dir() { 0 } else { meta.len() });
                lines.push(format!("{} {mode:o} {} {} {size}", path.display(), meta.uid(), meta.gid()));
                if meta.is_dir() {
                    todo.push(path);
                }
            }
        }
        lines.sort();
        lines
    }

    #[track_caller]
    pub(crate) fn nothing_left(&self) {
        self.schroot(0, &["-l", "--all-sessions", "--exclude-aliases"]).prints("");
        self.shell("ls -A /var/lib/zchroot/sessions 2>/dev/null || true").prints("");
        self.shell("ls -A /var/lib/schroot/union/overlay /var/lib/schroot/union/underlay /var/lib/schroot/unpack 2>/dev/null | grep -v : | grep . || true").prints("");
        self.world.assert_nothing_left();
    }
}

const PROFILE: &str = "version = 1
nss = [\"passwd\", \"group\"]
[[mount]]
kind = \"proc\"
[[mount]]
kind = \"dev\"
[[mount]]
kind = \"tmpfs\"
target = \"/build\"
[[mount]]
kind = \"bind\"
source = \"/var/lib/shared\"
target = \"/shared\"
";

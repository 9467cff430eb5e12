//! `zchroot adopt` on a pool: a dataset of schroot's becomes a template without a copy.

#![cfg(feature = "zfs")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests look at files and run the ZFS programs"
)]

mod harness;
mod zfs_pool;

use harness::{Installation, tree};
use rustix::mount::{MountFlags, UnmountFlags};
use zfs_pool::{Pool, run};

/// A store on a pool, and beside it the dataset `sid` that schroot.conf knows. Fields in this order: the state of the
/// store is mounted inside the installation, which goes before the pool.
struct World {
    host: Installation,
    pool: Pool,
}

impl World {
    fn new() -> Self {
        let (pool, host) = (Pool::make(), Installation::empty());
        host.configure(&format!(
            "version = 1\ndigests = \"never\"\nstore = \"zfs\"\n[zfs]\npool = \"{}\"\n",
            pool.name
        ));
        host.zchroot(["init"]).ok();
        let world = Self { host, pool };
        run("zfs", &["create", "-o", "mountpoint=legacy", &world.sid()]);
        world.change("1", true);
        let conf = |dataset: &str| format!("type=zfs-snapshot\nzfs-dataset={dataset}\nprofile=minimal\n");
        let text = format!(
            "[sid]\n{}[store]\n{}[far]\n{}[gone]\n{}",
            conf(&world.sid()),
            conf(&world.pool.dataset("templates")),
            conf("elsewhere/sid"),
            conf(&format!("{}/gone", world.pool.name)),
        );
        world.host.write("/etc/schroot/schroot.conf", &text);
        world
    }

    fn sid(&self) -> String {
        format!("{}/sid", self.pool.name)
    }

    /// Writes to the dataset itself, as schroot's source session would.
    fn change(&self, generation: &str, first: bool) {
        let at = self.pool.dir.path().join("sid");
        std::fs::create_dir_all(&at).unwrap();
        rustix::mount::mount(self.sid(), &at, "zfs", MountFlags::empty(), None).unwrap();
        if first {
            tree::make(&at);
        }
        std::fs::write(at.join("etc/generation"), format!("{generation}\n")).unwrap();
        rustix::mount::unmount(&at, UnmountFlags::empty()).unwrap();
    }

    fn generation(&self) -> harness::Done {
        self.host.zchroot(["run", "sid", "-d", "/", "--", "cat", "/etc/generation"])
    }

    fn snapshots(&self) -> String {
        run("zfs", &["list", "-Hrt", "snapshot", "-o", "name", &self.sid()])
    }
}

#[test]
fn zfs_adopt_clones_the_dataset_and_leaves_it_alone() {
    let world = World::new();
    let plan = world.host.zchroot(["adopt", "sid", "-n"]).ok();
    assert!(plan.text().contains(&format!("first version from {} (zfs-snapshot)", world.sid())), "{plan}");
    assert_eq!(world.snapshots().trim(), "", "a plan changes nothing");
    world.host.zchroot(["adopt", "sid"]).ok();
    world.change("2", false);
    world.generation().ok().prints("1");
    let used: u64 = run("zfs", &["get", "-Hpo", "value", "used", &world.pool.dataset("templates/sid")])
        .trim()
        .parse()
        .unwrap();
    assert!(used < 1 << 20, "{used} bytes were copied");
    // What is cloned from it keeps it; updates make versions of ours, one head as ever.
    for generation in ["3", "4"] {
        let script = format!("echo {generation} > /etc/generation");
        world.host.zchroot(["update", "sid", "--", "sh", "-c", &script]).ok();
        world.generation().ok().prints(generation);
    }
    world.host.zchroot(["gc"]).ok();
    let heads = run("zfs", &["list", "-Hro", "name,origin", "-d", "1", &world.pool.dataset("templates/sid")]);
    let origins: Vec<&str> =
        heads.lines().skip(1).filter_map(|line| line.split_whitespace().nth(1)).collect();
    assert_eq!(
        origins,
        [format!("{}@zchroot-adopted-sid", world.sid())],
        "one head, and where it comes from"
    );
    world.host.zchroot(["adopt", "--undo", "sid"]).ok();
    world.host.zchroot(["adopt", "sid"]).ok().says("has its versions still");
    world.generation().ok().prints("4");
    world.host.assert_nothing_left();
}

#[test]
fn zfs_adopt_takes_away_what_a_crash_left_and_leaves_nothing_when_it_fails() {
    let world = World::new();
    run("zfs", &["snapshot", &format!("{}@zchroot-adopted-sid", world.sid())]);
    run("zfs", &["snapshot", &format!("{}@mine", world.sid())]);
    world.host.zchroot(["adopt", "far"]).exits(1).says("it lies in another pool than the store");
    world.host.zchroot(["adopt", "gone"]).exits(4).says("there is no such dataset");
    world.host.zchroot(["adopt", "store"]).exits(1).says("it is of the store itself");
    world.change("2", false);
    world.host.zchroot(["adopt", "sid"]).ok();
    world.generation().ok().prints("2");
    let snapshots = world.snapshots();
    let names: Vec<&str> = snapshots.lines().map(|line| line.rsplit('@').next().unwrap()).collect();
    assert_eq!(names, ["mine", "zchroot-adopted-sid"], "an administrator's snapshot is his");
    let left = run("zfs", &["list", "-Ho", "name", "-d", "1", &world.pool.dataset("templates")]);
    assert_eq!(left.lines().count(), 2, "{left}");
    world.host.zchroot(["check"]).ok();
    world.host.assert_nothing_left();
}

#[test]
fn zfs_adopt_of_what_is_no_tree_leaves_nothing() {
    let world = World::new();
    run("zfs", &["create", "-o", "mountpoint=legacy", &format!("{}/gone", world.pool.name)]);
    world.host.zchroot(["adopt", "gone"]).exits(1).says("it is no root file system");
    let left = run("zfs", &["list", "-Hrt", "snapshot", "-o", "name", &format!("{}/gone", world.pool.name)]);
    assert_eq!(left.trim(), "", "no snapshot stays");
    assert!(!world.host.at("/etc/zchroot/templates.d/gone.toml").exists());
    world.host.assert_nothing_left();
}

//! Type `zfs-snapshot`: a clone of the dataset for each session, the dataset itself for its source.

use std::path::PathBuf;
use std::time::Duration;

use rustix::mount::{MountFlags, UnmountFlags};

use crate::harness::tree;
use crate::lab::{Lab, gives};
use crate::recover::kill_at_every_step;
use crate::world::{ALICE, CAROL, World};
use crate::zfs_pool::{Pool, run};

/// A host with a pool, a dataset `sid` on it, and the chroot of that. In this order they are dropped.
pub(crate) struct Datasets {
    pub(crate) lab: Lab,
    pub(crate) pool: Pool,
    /// The store is on the same pool.
    in_store: bool,
}

impl Datasets {
    /// One whose store is on the same pool, or in directories.
    pub(crate) fn new(in_store: bool, keys: &str) -> Self {
        let (pool, world) = (Pool::make(), World::empty());
        std::fs::create_dir_all(world.etc("zchroot")).unwrap();
        let store = if in_store {
            format!("store = \"zfs\"\n[zfs]\npool = \"{}\"\n", pool.name)
        } else {
            String::new()
        };
        world.write_etc(
            "zchroot/zchroot.toml",
            &format!("version = 1\ngrace = \"0s\"\ndigests = \"never\"\n{store}"),
        );
        world.root(&["init"]).ok();
        let parent = format!("{}/CHROOT", pool.name);
        run("zfs", &["create", &parent]);
        run("zfs", &["create", "-o", "mountpoint=legacy", &format!("{parent}/sid")]);
        let lab = Lab::on(world, "");
        let it = Self { lab, pool, in_store };
        let at = it.mounted();
        tree::make(&at);
        std::fs::create_dir_all(at.join("deeper")).unwrap();
        tree::make(&at.join("deeper"));
        it.unmount(&at);
        it.define(&it.sid(), keys);
        it
    }

    pub(crate) fn sid(&self) -> String {
        format!("{}/CHROOT/sid", self.pool.name)
    }

    fn define(&self, dataset: &str, keys: &str) {
        self.lab.define(&format!("type=zfs-snapshot\nzfs-dataset={dataset}\nprofile=shared\n{keys}"));
    }

    /// The names of what a session has.
    fn names(&self, id: &str) -> (String, String) {
        let clone = match self.in_store {
            true => self.pool.dataset(&format!("sessions/{id}")),
            false => format!("{}/CHROOT/zchroot-{id}", self.pool.name),
        };
        (format!("{}@zchroot-{id}", self.sid()), clone)
    }

    /// The dataset, mounted on the host.
    pub(crate) fn mounted(&self) -> PathBuf {
        let at = self.pool.mount_point("sid");
        rustix::mount::mount(self.sid(), &at, "zfs", MountFlags::empty(), None).unwrap();
        at
    }

    pub(crate) fn unmount(&self, at: &std::path::Path) {
        rustix::mount::unmount(at, UnmountFlags::empty()).unwrap();
    }

    /// What lies in the dataset itself.
    fn content(&self, path: &str) -> String {
        let at = self.mounted();
        let text = std::fs::read_to_string(at.join(path)).unwrap_or_default();
        self.unmount(&at);
        text.trim().to_owned()
    }

    /// All that there is beside the store: what is a session's is not to be among it.
    fn all(&self) -> Vec<String> {
        let text = run("zfs", &["list", "-Hro", "name", "-t", "all", &self.pool.name]);
        let is_store = |name: &&str| {
            let store = self.pool.dataset("");
            name.starts_with(&store) && !name.starts_with(&format!("{store}sessions/"))
        };
        let names = text
            .lines()
            .filter(|name| !is_store(name) && **name != *self.pool.dataset("").trim_end_matches('/'));
        names.map(|name| name.replace(&self.pool.name, "POOL")).collect()
    }

    #[track_caller]
    pub(crate) fn nothing_left(&self) {
        self.lab.nothing_left();
        assert_eq!(self.all(), ["POOL", "POOL/CHROOT", "POOL/CHROOT/sid"]);
    }

    fn reboot(&self) {
        self.lab.shell("umount -R -l /run/zchroot/mount && rm -r /run/zchroot");
    }
}

fn on_each(work: impl Fn(Datasets)) {
    for in_store in [true, false] {
        work(Datasets::new(in_store, ""));
    }
}

#[test]
fn zfs_schroot_conf_a_dataset_is_cloned_for_each_session_and_stays_as_it_is() {
    on_each(|it| {
        let lab = &it.lab;
        gives(lab.around(CAROL, "root", "echo x > /etc/what; cat /etc/generation; id -u"), "1\n0");
        it.nothing_left();
        let id = lab.begin(CAROL, &lab.name);
        gives(
            lab.run(
                CAROL,
                &id,
                "ls /etc/what 2>/dev/null; echo one > /etc/what; grep -c ' /build ' /proc/mounts",
            ),
            "1",
        );
        let (snapshot, clone) = it.names(&id);
        assert_eq!(run("zfs", &["get", "-Ho", "value", "origin", &clone]).trim(), snapshot);
        // Whatever becomes of the host and its records, the snapshot goes with its clone.
        assert_eq!(run("zfs", &["get", "-Ho", "value", "defer_destroy", &snapshot]).trim(), "on");
        assert_eq!(run("zfs", &["get", "-Ho", "value", "mountpoint", &clone]).trim(), "none");
        assert_eq!(run("zfs", &["get", "-Ho", "value", "com.sun:auto-snapshot", &clone]).trim(), "false");
        let other = lab.begin(CAROL, &lab.name);
        gives(lab.run(CAROL, &other, "cat /etc/what 2>/dev/null || echo none"), "none");
        gives(lab.schroot(CAROL, &["-e", "-c", &other]), "");
        lab.world.root(&["gc"]).ok();
        it.reboot();
        gives(lab.schroot(0, &["--recover-session", "-c", &id]), "");
        gives(lab.run(CAROL, &id, "cat /etc/what; grep -c ' /build ' /proc/mounts"), "one\n1");
        lab.schroot(ALICE, &["-e", "-c", &id]).exits(1).says("Access not authorised");
        gives(lab.schroot(CAROL, &["-e", "-c", &id]), "");
        assert_eq!(it.content("etc/what"), "");
        it.nothing_left();
        // The other way: it is ended as a reboot left it.
        let id = lab.begin(CAROL, &lab.name);
        it.reboot();
        gives(lab.schroot(CAROL, &["-e", "-c", &id]), "");
        it.nothing_left();
    });
}

#[test]
fn zfs_schroot_conf_the_source_of_a_dataset_is_the_dataset_itself() {
    on_each(|it| {
        let lab = &it.lab;
        gives(lab.around_source(CAROL, "ls -d /build; echo new > /etc/what; id -u"), "/build\n0");
        gives(lab.around(CAROL, "root", "cat /etc/what"), "new");
        let id = lab.begin(CAROL, &format!("source:{}", lab.name));
        gives(lab.run(CAROL, &id, "echo two > /etc/what"), "");
        let info = lab.schroot(CAROL, &["-i", "-c", &format!("session:{id}")]).ok().text();
        for line in ["Type zfs-snapshot", "Session Purged true", &format!("Mount Device {}", it.sid())] {
            assert!(words(&info).contains(&line.to_owned()), "{line}: {info}");
        }
        assert!(!info.contains("ZFS Clone"), "{info}");
        // Who begins meanwhile sees what there is.
        gives(lab.around(CAROL, "root", "cat /etc/what"), "two");
        it.reboot();
        gives(lab.schroot(0, &["--recover-session", "-c", &id]), "");
        gives(lab.run(CAROL, &id, "cat /etc/what; grep -c ' /build ' /proc/mounts"), "two\n1");
        gives(lab.schroot(CAROL, &["-e", "-c", &id]), "");
        assert_eq!(it.content("etc/what"), "two");
        lab.schroot(ALICE, &["-c", &format!("source:{}", lab.name), "-u", "root", "--", "true"]).exits(1);
        it.nothing_left();
    });
}

/// Lines with one blank between words.
fn words(text: &str) -> Vec<String> {
    text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

#[test]
fn zfs_schroot_conf_what_is_shown_and_told_of_a_session_is_as_schroot_has_it() {
    let keys = "mount-options=-o noatime\nzfs-snapshot-options=-o org.example:by=schroot\nlocation=/deeper\nmy.key=1\n";
    let it = Datasets::new(true, keys);
    let lab = &it.lab;
    std::fs::create_dir(lab.world.etc("schroot/setup.d")).unwrap();
    let script = lab.world.etc("schroot/setup.d/52env");
    std::fs::write(&script, "#!/bin/sh\nenv > /var/lib/env-$1\n").unwrap();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let id = lab.begin(CAROL, &lab.name);
    let (snapshot, clone) = it.names(&id);
    assert_eq!(run("zfs", &["get", "-Ho", "value", "org.example:by", &snapshot]).trim(), "schroot");
    gives(
        lab.run(
            CAROL,
            &id,
            "grep -c ' / zfs .*noatime' /proc/mounts; ls -d /deeper 2>/dev/null; cat /etc/generation",
        ),
        "1\n1",
    );
    let named = format!("session:{id}");
    let info = words(&lab.schroot(CAROL, &["-i", "-c", &named]).ok().text());
    for line in [
        "Type zfs-snapshot".to_owned(),
        "Session Purged true".to_owned(),
        format!("ZFS Snapshot Name {snapshot}"),
        format!("ZFS Clone Dataset {clone}"),
        format!("Mount Device {clone}"),
        "Mount Options -o noatime".to_owned(),
    ] {
        assert!(info.contains(&line), "{line}: {info:?}");
    }
    let config = lab.schroot(CAROL, &["--config", "-c", &named]).ok().text();
    for line in [
        "type=zfs-snapshot".to_owned(),
        format!("zfs-snapshot-name={snapshot}"),
        format!("zfs-clone-name={clone}"),
        format!("mount-device={clone}"),
        "mount-options=-o noatime".to_owned(),
    ] {
        assert!(config.lines().any(|it| it == line), "{line}: {config}");
    }
    gives(lab.schroot(CAROL, &["--location", "-c", &named]), &format!("/run/zchroot/mount/{id}"));
    gives(lab.schroot(CAROL, &["-e", "-c", &id]), "");
    for stage in ["start", "stop"] {
        let env = lab.shell(&format!("cat /var/lib/env-setup-{stage}")).text();
        for line in [
            "CHROOT_TYPE=zfs-snapshot".to_owned(),
            "CHROOT_SESSION_PURGE=true".to_owned(),
            format!("CHROOT_ZFS_DATASET={}", it.sid()),
            format!("CHROOT_ZFS_SNAPSHOT_NAME={snapshot}"),
            format!("CHROOT_ZFS_CLONE_NAME={clone}"),
            "CHROOT_ZFS_SNAPSHOT_OPTIONS=-o org.example:by=schroot".to_owned(),
            format!("CHROOT_MOUNT_DEVICE={clone}"),
        ] {
            assert!(env.lines().any(|it| it == line), "{line}: {env}");
        }
    }
    gives(lab.around_source(CAROL, "true"), "");
    let env = lab.shell("cat /var/lib/env-setup-start").text();
    assert!(env.contains("CHROOT_ZFS_DATASET=") && !env.contains("CHROOT_ZFS_CLONE"), "{env}");
    assert!(env.lines().any(|line| line == format!("CHROOT_MOUNT_DEVICE={}", it.sid())), "{env}");
    it.nothing_left();
}

#[test]
fn zfs_schroot_conf_what_is_not_to_be_had_is_said_and_nothing_is_left() {
    on_each(|it| {
        let lab = &it.lab;
        let refused = |dataset: &str, keys: &str, why: &str| {
            it.define(dataset, keys);
            let done = lab.schroot(CAROL, &["-b", "-c", &lab.name]).exits(1).prints("");
            done.says(why);
            it.nothing_left();
        };
        let sid = it.sid();
        refused(&format!("{sid}-gone"), "", &format!("cannot use {sid}-gone: there is no such dataset"));
        refused("nowhere/sid", "", "cannot use nowhere/sid: there is no pool nowhere (is it imported?)");
        refused(
            &sid,
            "mount-options=-o context=x\n",
            "mount-options: ‘context=x’ is not supported for a dataset",
        );
        refused(
            &sid,
            "zfs-snapshot-options=-o checksum=off\n",
            "zfs-snapshot-options ‘-o checksum=off’ is not supported",
        );
        refused(&sid, "location=/none\n", "cannot resolve /none: No such file or directory");
        if it.in_store {
            refused(&it.pool.dataset("templates"), "", "is of zchroot's own store");
        }
        // What an administrator has of the same name is his.
        it.define(&sid, "");
        let name = format!("{}-mine", lab.name);
        let (snapshot, clone) = it.names(&name);
        for (make, destroy) in [(vec!["snapshot", &snapshot], &snapshot), (vec!["create", &clone], &clone)] {
            run("zfs", &make);
            let done = lab.schroot(CAROL, &["-b", "-c", &lab.name, "-n", &name]).exits(1).prints("");
            done.says(&format!("{destroy}: it is there already, and not this session's"));
            assert!(run("zfs", &["list", "-Ho", "name", destroy]).trim() == *destroy);
            run("zfs", &["destroy", destroy]);
        }
        it.nothing_left();
    });
}

#[test]
fn zfs_schroot_conf_each_of_both_is_destroyed_whatever_becomes_of_the_other() {
    on_each(|it| {
        let lab = &it.lab;
        let end = |id: &str| lab.schroot(CAROL, &["-e", "-c", id]);
        // Somebody holds the snapshot, or has a clone of his own: it goes when he lets it go.
        let id = lab.begin(CAROL, &lab.name);
        let (snapshot, clone) = it.names(&id);
        run("zfs", &["hold", "mine", &snapshot]);
        gives(end(&id), "");
        run("zfs", &["release", "mine", &snapshot]);
        it.nothing_left();
        // The clone was destroyed by hand.
        let id = lab.begin(CAROL, &lab.name);
        let (_, clone_by_hand) = it.names(&id);
        it.reboot();
        run("zfs", &["destroy", &clone_by_hand]);
        gives(end(&id), "");
        it.nothing_left();
        // Somebody takes snapshots of all there is.
        let id = lab.begin(CAROL, &lab.name);
        run("zfs", &["snapshot", "-r", &format!("{}@daily", it.pool.name)]);
        gives(end(&id), "");
        run("zfs", &["destroy", "-r", &format!("{}@daily", it.pool.name)]);
        it.nothing_left();
        // It is mounted somewhere else, too: said, and tried again.
        let id = lab.begin(CAROL, &lab.name);
        let (_, busy) = it.names(&id);
        let at = it.pool.mount_point("busy");
        rustix::mount::mount(busy.clone(), &at, "zfs", MountFlags::empty(), None).unwrap();
        end(&id).exits(1).says(&format!("stage=setup-stop: cannot destroy {busy}: "));
        it.unmount(&at);
        gives(end(&id), "");
        it.nothing_left();
        // Who promotes a clone has the snapshots of the dataset in it.
        let id = lab.begin(CAROL, &lab.name);
        let (_, promoted) = it.names(&id);
        it.reboot();
        run("zfs", &["snapshot", &format!("{}@mine", it.sid())]);
        run("zfs", &["promote", &promoted]);
        end(&id).exits(1).says(&format!("cannot destroy {promoted}: it is no clone of "));
        run("zfs", &["promote", &it.sid()]);
        gives(end(&id), "");
        run("zfs", &["destroy", &format!("{}@mine", it.sid())]);
        it.nothing_left();
        drop(clone);
    });
}

#[test]
fn zfs_schroot_conf_a_snapshot_that_could_not_be_cloned_goes_again() {
    use zchroot::outside::{Clones, Origin, Outside};
    let it = Datasets::new(true, "");
    let origin = |parent: &str| Origin::Dataset {
        dataset: it.sid(),
        clones: Some(Clones::In(format!("{}/{parent}", it.pool.name))),
        properties: Vec::new(),
        options: Vec::new(),
        location: PathBuf::new(),
    };
    let outside = |parent: &str| Outside { overlays: None, is_source: false, origin: origin(parent) };
    let (id, staging) = ("s1".parse().unwrap(), it.pool.mount_point("x").join("staging"));
    let error = outside("none").checked(&id).unwrap_err();
    assert!(zchroot::sys::chain(&error).ends_with("/none"), "{}", zchroot::sys::chain(&error));
    // As if the parent went between the look and the clone.
    let error = outside("none").make(&id, &staging).unwrap_err();
    assert!(error.to_string().starts_with("cannot clone"), "{error}");
    assert!(it.all().contains(&"POOL/CHROOT/sid@zchroot-s1".to_owned()));
    for _ in 0..2 {
        outside("none").discard(&id, &staging).unwrap();
    }
    it.nothing_left();
}

#[test]
fn zfs_schroot_conf_a_session_whose_pool_is_not_imported_keeps_its_record() {
    let it = Datasets::new(false, "");
    let lab = &it.lab;
    let id = lab.begin(CAROL, &lab.name);
    it.reboot();
    let dir = it.pool.dir.path().to_str().unwrap();
    run("zpool", &["export", &it.pool.name]);
    let done = lab.schroot(CAROL, &["-e", "-c", &id]).exits(1);
    let back = lab.shell("ls /var/lib/zchroot/sessions").text();
    run("zpool", &["import", "-d", dir, "-o", "cachefile=none", &it.pool.name]);
    done.says(&format!("there is no pool {} (is it imported?)", it.pool.name));
    assert_eq!(back, format!("{id}.toml"));
    gives(lab.schroot(CAROL, &["-e", "-c", &id]), "");
    it.nothing_left();
}

#[test]
fn zfs_schroot_conf_wherever_a_begin_or_an_end_is_killed_recover_leaves_the_pool_as_it_was() {
    on_each(|it| {
        for source in ["", "source:"] {
            let chroot = format!("{source}{}", it.lab.name);
            kill_at_every_step(&it.lab, &chroot, Duration::from_millis(8), || it.nothing_left());
        }
        gives(it.lab.around(CAROL, "root", "cat /etc/generation"), "1");
    });
}

/// As schroot writes it, but for what is empty.
fn left_by_schroot(it: &Datasets, id: &str, device: &str) {
    let (sid, name) = (it.sid(), &it.lab.name);
    let text = format!(
        "[{id}]\nname={id}\ntype=zfs-snapshot\ndescription=(session chroot)\nroot-users=carol\nusers=\nlocation=\n\
         mount-device={device}\nmount-location=/var/run/schroot/mount/{id}\nmount-options=-o noatime\n\
         original-name={name}\nselected-name={name}\nprofile=minimal\nzfs-clone-name={sid}/schroot-{id}\n\
         zfs-snapshot-name={sid}@{id}\n"
    );
    let file = it.lab.world.lib(&format!("schroot/session/{id}"));
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(file, text).unwrap();
    // /run is the host's own, /var/run may not lead there in a test.
    it.lab.shell(&format!(
        "mkdir -p /var/run/schroot/mount/{id} && mount -t zfs {device} /var/run/schroot/mount/{id}"
    ));
}

#[test]
fn zfs_schroot_conf_clone_and_snapshot_that_schroot_left_are_destroyed_and_never_the_dataset() {
    let it = Datasets::new(true, "");
    let lab = &it.lab;
    let id = format!("{}-left", lab.name);
    let (snapshot, clone) = (format!("{}@{id}", it.sid()), format!("{}/schroot-{id}", it.sid()));
    run("zfs", &["snapshot", &snapshot]);
    run("zfs", &["clone", "-o", "mountpoint=legacy", &snapshot, &clone]);
    left_by_schroot(&it, &id, &clone);
    gives(lab.schroot(CAROL, &["-l", "--all-sessions"]), &format!("session:{id}"));
    let info = words(&lab.schroot(CAROL, &["-i", "-c", &format!("session:{id}")]).ok().text());
    for line in [format!("ZFS Snapshot Name {snapshot}"), format!("ZFS Clone Dataset {clone}")] {
        assert!(info.contains(&line), "{line}: {info:?}");
    }
    lab.schroot(ALICE, &["-e", "-c", &id]).exits(1).says("Access not authorised");
    gives(lab.schroot(CAROL, &["-e", "-c", &id]), "");
    it.nothing_left();
    // A clone that was destroyed half: what is left of it goes. And a source session, whose file names a clone.
    run("zfs", &["snapshot", &snapshot]);
    left_by_schroot(&it, &id, &it.sid());
    gives(lab.schroot(CAROL, &["-e", "-c", &id]), "");
    assert!(
        it.all().contains(&format!("POOL/CHROOT/sid@{id}")),
        "an administrator's snapshot of that name is his"
    );
    run("zfs", &["destroy", &snapshot]);
    it.nothing_left();
    lab.shell("ls -A /var/lib/schroot/session /var/run/schroot/mount | grep -v : | grep . || true")
        .prints("");
}

//! Sessions of a chroot of type zfs-snapshot, which is a template of ours once it is adopted.

use crate::lab::{Lab, Who, mended};
use crate::zfs_pool::Pool;

/// The dataset of the chroot. Fields in this order: the pool goes last.
struct Chroot<'a> {
    lab: &'a Lab,
    name: String,
    dataset: String,
    pool: Pool,
}

/// Of a dataset or snapshot.
const LONGEST_NAME: usize = 255;
const LONGEST_SESSION: usize = 64;

impl<'a> Chroot<'a> {
    fn new(lab: &'a Lab) -> Self {
        Self::of_length(lab, 40)
    }

    /// One whose dataset has a name of so many bytes.
    fn of_length(lab: &'a Lab, length: usize) -> Self {
        let pool = Pool::make();
        let dataset = format!("{}/{}", pool.name, "x".repeat(length - pool.name.len() - "/".len()));
        lab.shell(&format!(
            "zfs create -o mountpoint=legacy {dataset}; mkdir sid; mount -t zfs {dataset} sid; cp -a chroot/. sid; umount sid"
        ));
        let name = lab.define(&format!("type=zfs-snapshot\nzfs-dataset={dataset}\nsource-root-users=root\n"));
        if lab.who == Who::Ours {
            lab.write(
                "/etc/zchroot/zchroot.toml",
                &format!(
                    "version = 1\ndigests = \"never\"\nstore = \"zfs\"\n[zfs]\npool = \"{}\"\n",
                    pool.name
                ),
            );
            lab.host.zchroot(&["init"]).ok();
            lab.host.zchroot(&["-q", "adopt", &name]).ok();
        }
        Self { lab, name, dataset, pool }
    }

    /// All datasets and snapshots of the pool.
    fn all(&self) -> String {
        self.lab.shell(&format!("zfs list -Hrt all -o name {}", self.pool.name))
    }

    /// How many there are that were not there before.
    fn left(&self, before: &str) -> usize {
        self.all().lines().filter(|line| !before.lines().any(|old| old == *line)).count()
    }

    /// The snapshot that a session was cloned from.
    fn origin(&self, session: &str) -> String {
        let at = self.lab.location(session);
        self.lab.shell(&format!(
            "zfs get -Hpo value origin $(findmnt -nro SOURCE {})",
            at.replacen("/var/run", "/run", 1)
        ))
    }
}

impl Drop for Chroot<'_> {
    fn drop(&mut self) {
        if self.lab.who == Who::Ours {
            // The state of the store is mounted.
            self.lab.shell("umount -l /var/lib/zchroot");
        }
    }
}

fn the_dataset_while_there_is_a_session(lab: &Lab) -> String {
    let chroot = Chroot::new(lab);
    let id = lab.begin(&chroot.name);
    let children = lab.shell(&format!("zfs list -Hr -d 1 -o name {} | tail -n +2 | wc -l", chroot.dataset));
    let ended = lab.status(&["-e", "-c", &id]);
    format!("datasets below {children}, end {ended}")
}

#[test]
fn zfs_clients_defect_the_clone_of_a_session_is_not_below_the_dataset() {
    mended(the_dataset_while_there_is_a_session, "datasets below 1, end 0", "datasets below 0, end 0");
}

/// Somebody, a backup for instance, holds the snapshot while the session ends.
fn what_is_left_when_a_snapshot_is_held(lab: &Lab) -> String {
    let chroot = Chroot::new(lab);
    let before = chroot.all();
    let id = lab.begin(&chroot.name);
    let origin = chroot.origin(&id);
    lab.shell(&format!("zfs hold backup {origin}"));
    lab.schroot(&["-e", "-c", &id]);
    lab.shell(&format!("zfs release backup {origin}"));
    if lab.sessions() > 0 {
        lab.schroot(&["-e", "-c", &id]).ok();
    }
    format!("sessions {}, left in the pool {}", lab.sessions(), chroot.left(&before))
}

#[test]
fn zfs_clients_defect_a_snapshot_that_was_held_is_not_forgotten() {
    mended(
        what_is_left_when_a_snapshot_is_held,
        "sessions 0, left in the pool 1",
        "sessions 0, left in the pool 0",
    );
}

/// The longest name that a session may have, in a dataset of a long name: a snapshot of it can be made there, but no clone.
fn what_is_left_when_a_clone_fails(lab: &Lab) -> String {
    let chroot = Chroot::of_length(lab, LONGEST_NAME - LONGEST_SESSION - "@".len());
    let before = chroot.all();
    let id = format!("{}-{}", chroot.name, "n".repeat(LONGEST_SESSION - chroot.name.len() - 1));
    let begun = lab.status(&["-b", "-c", &chroot.name, "-n", &id]);
    lab.schroot(&["-e", "-c", &id]);
    format!("begin {begun}, left in the pool {}", chroot.left(&before))
}

#[test]
fn zfs_clients_defect_a_clone_that_cannot_be_made_leaves_no_snapshot() {
    mended(what_is_left_when_a_clone_fails, "begin 1, left in the pool 1", "begin 0, left in the pool 0");
}

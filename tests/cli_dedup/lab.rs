//! Stores on file systems that share blocks.

use std::path::PathBuf;

use crate::harness::{Installation, Order};
#[cfg(feature = "zfs")]
use crate::zfs_pool::{Pool, run};

pub(crate) const MIB: u64 = 1 << 20;
const CONFIG: &str = "version = 1\ngrace = \"0s\"\ndigests = \"never\"\n";
const FLOORS: &str = "[space]\nhard-floor = \"0\"\nsoft-floor = \"0\"\nsoft-percent = 0\n";

/// A store and what it lies on.
pub(crate) trait Lab {
    fn host(&self) -> &Installation;

    /// Bytes that are in use, all that was written being on the disk.
    fn used(&self) -> u64;

    /// Nothing is left of an image that was not unpacked to its end.
    fn assert_no_drafts(&self);
}

/// The store of directories on a file system of its own, in a file.
pub(crate) struct Disk {
    host: Installation,
}

impl Disk {
    pub(crate) fn make(kind: &str) -> Self {
        let host = Installation::empty();
        host.configure(&format!("{CONFIG}[dir]\nreserve = \"0\"\n{FLOORS}"));
        let disk = host.path().join("disk");
        std::fs::File::create(&disk).unwrap().set_len(512 * MIB).unwrap();
        let at = host.at("/var/lib/zchroot");
        std::fs::create_dir_all(&at).unwrap();
        let (disk, at) = (disk.to_str().unwrap(), at.to_str().unwrap());
        Order::new(format!("/sbin/mkfs.{kind}")).words(["-q", disk]).run().ok();
        // The loop device goes with the mount, and that with the installation.
        Order::new("/bin/mount").words(["-o", "loop", disk, at]).run().ok();
        host.zchroot(["init"]).ok();
        Self { host }
    }

    fn state(&self) -> PathBuf {
        self.host.at("/var/lib/zchroot")
    }
}

impl Lab for Disk {
    fn host(&self) -> &Installation {
        &self.host
    }

    fn used(&self) -> u64 {
        rustix::fs::syncfs(std::fs::File::open(self.state()).unwrap()).unwrap();
        let stat = rustix::fs::statvfs(self.state()).unwrap();
        (stat.f_blocks - stat.f_bfree) * stat.f_frsize
    }

    fn assert_no_drafts(&self) {
        let images = std::fs::read_dir(self.state().join("store/images")).unwrap();
        let mut names = images.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        assert_eq!(names.find(|name| name.starts_with('.')), None);
    }
}

/// The store on a pool.
#[cfg(feature = "zfs")]
pub(crate) struct OnPool {
    // In this order they are dropped: a pool can go only when nothing of it is mounted.
    host: Installation,
    pool: Pool,
}

#[cfg(feature = "zfs")]
impl OnPool {
    pub(crate) fn make() -> Self {
        Self::on(Pool::make())
    }

    /// A pool of a ZFS that knows no cloning.
    pub(crate) fn that_shares_nothing() -> Self {
        Self::on(Pool::make_with(&["-o", "feature@block_cloning=disabled"]))
    }

    /// A pool in which all is encrypted.
    pub(crate) fn encrypted() -> Self {
        let key = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(key.path(), "a passphrase").unwrap();
        let at = format!("keylocation=file://{}", key.path().display());
        Self::on(Pool::make_with(&["-O", "encryption=on", "-O", "keyformat=passphrase", "-O", &at]))
    }

    fn on(pool: Pool) -> Self {
        let host = Installation::empty();
        host.configure(&format!(
            "{CONFIG}store = \"zfs\"\n[zfs]\npool = \"{}\"\nreserve = \"0\"\n{FLOORS}",
            pool.name
        ));
        host.zchroot(["init"]).ok();
        Self { host, pool }
    }
}

#[cfg(feature = "zfs")]
impl Lab for OnPool {
    fn host(&self) -> &Installation {
        &self.host
    }

    fn used(&self) -> u64 {
        // What a dataset refers to counts shared blocks in full: only the pool tells.
        for _ in 0..3 {
            run("zpool", &["sync", &self.pool.name]);
        }
        run("zpool", &["get", "-Hpo", "value", "allocated", &self.pool.name]).parse().unwrap()
    }

    fn assert_no_drafts(&self) {
        let all = run("zfs", &["list", "-Hrt", "all", "-o", "name", &self.pool.dataset("images")]);
        let names: Vec<&str> = all.lines().skip(1).collect();
        for name in names.iter().filter(|name| !name.contains('@')) {
            assert!(names.contains(&format!("{name}@pristine").as_str()), "{name}");
        }
    }
}

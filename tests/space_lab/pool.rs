//! The store on a pool, full for lack of room in the pool (ENOSPC) or by a quota above the store (EDQUOT).
#![allow(dead_code, unreachable_pub, reason = "a module of one test crate")]

use crate::harness::Installation;
use crate::space_lab::{FLOORS, Lab};
use crate::zfs_pool::{Pool, run};

/// What ends the room.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    Pool,
    Quota,
}

/// A store on a pool of its own with a ballast dataset beside it. Fields in this order: the state of the store is
/// mounted inside the installation, which goes before the pool.
pub struct OnPool {
    host: Installation,
    pool: Pool,
    limit: Limit,
}

impl OnPool {
    pub fn make(limit: Limit) -> Self {
        Self::with_reserve(limit, "0")
    }

    pub fn with_reserve(limit: Limit, reserve: &str) -> Self {
        let pool = Pool::make();
        let host = Installation::empty();
        host.configure(&format!(
            "version = 1\ndigests = \"never\"\nstore = \"zfs\"\n[zfs]\npool = \"{}\"\nreserve = \"{reserve}\"\n{FLOORS}",
            pool.name
        ));
        host.zchroot(["init"]).ok();
        if limit == Limit::Quota {
            run("zfs", &["set", "quota=2G", &format!("{}/zchroot", pool.name)]);
        }
        let lab = Self { host, pool, limit };
        run("zfs", &["create", "-o", "mountpoint=none", &lab.ballast()]);
        lab
    }

    fn ballast(&self) -> String {
        match self.limit {
            Limit::Pool => format!("{}/ballast", self.pool.name),
            Limit::Quota => self.pool.dataset("ballast"),
        }
    }

    pub fn pool(&self) -> &Pool {
        &self.pool
    }
}

impl Lab for OnPool {
    fn host(&self) -> &Installation {
        &self.host
    }

    fn available(&self) -> u64 {
        self.pool.property("images", "available").parse().unwrap()
    }

    fn leave(&self, bytes: u64) {
        run("zfs", &["set", "refreservation=none", &self.ballast()]);
        for _ in 0..3 {
            run("zpool", &["sync", &self.pool.name]);
            let now: u64 =
                run("zfs", &["get", "-Hpo", "value", "refreservation", &self.ballast()]).parse().unwrap_or(0);
            let size = (now + self.available()).saturating_sub(bytes);
            run("zfs", &["set", &format!("refreservation={size}"), &self.ballast()]);
        }
        let left = self.available();
        assert!(left.abs_diff(bytes) < 1 << 20, "{left} left instead of {bytes}");
    }

    fn full(&self) -> &'static str {
        match self.limit {
            Limit::Pool => "No space left on device",
            Limit::Quota => "quota exceeded",
        }
    }

    fn assert_clean(&self) {
        self.host.assert_nothing_left();
        let all = run("zfs", &["list", "-Hrt", "all", "-o", "name", &self.pool.dataset("images")]);
        let prefix = format!("{}/", self.pool.dataset("images"));
        let names: Vec<&str> = all.lines().filter_map(|line| line.strip_prefix(&prefix)).collect();
        let drafts: Vec<&&str> = names
            .iter()
            .filter(|name| !name.contains('@') && !names.contains(&format!("{name}@pristine").as_str()))
            .collect();
        assert!(drafts.is_empty(), "{drafts:?}");
    }
}

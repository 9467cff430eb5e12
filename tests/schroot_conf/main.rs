//! Sessions of chroots that only schroot.conf defines, on the installed program: trees are used where they lie, and of
//! a session nothing is left, whenever it was ended.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "tests work on the host as it is"
)]

mod archive;
mod btrfs;
mod device;
mod directory;
#[path = "../harness/mod.rs"]
mod harness;
mod keys;
mod lab;
mod plain;
mod profile;
mod recover;
mod restricted;
mod scripts;
mod union;
#[path = "../cli_setuid/world.rs"]
#[allow(dead_code, reason = "a part of it is used")]
mod world;
#[cfg(feature = "zfs")]
mod zfs;
#[cfg(feature = "zfs")]
mod zfs_mk_sbuild;
#[cfg(feature = "zfs")]
#[path = "../zfs_pool/mod.rs"]
mod zfs_pool;

//! What is wrong with schroot 1.6.13, and is right here: each scenario runs through Debian's schroot, which shows the defect,
//! and through ours, on equal configuration ([`lab`]).
//!
//! A scenario tells what it saw, and a test says what that is with the one and with the other. So a schroot that has been
//! mended fails its test: then the defect is none any more, and goes from here. `docs/schroot-defects.md` lists them all.
//! Debian's schroot has to be there, so these are tests of the lane of clients, and those on a pool, of that of ZFS: the
//! machine has a schroot.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "tests work on the host as it is, and tell what they counted"
)]

mod begin;
#[path = "../clients/call.rs"]
#[allow(dead_code, reason = "a part of it is used")]
mod call;
mod configuration;
mod end;
#[path = "../harness/mod.rs"]
mod harness;
mod holders;
#[path = "../clients/host.rs"]
#[allow(dead_code, reason = "a part of it is used")]
mod host;
mod lab;
#[path = "../clients/left.rs"]
mod left;
mod listed;
mod name_service;
mod propagation;
mod sources;
mod written;
#[cfg(feature = "zfs")]
mod zfs;
#[cfg(feature = "zfs")]
#[path = "../zfs_pool/mod.rs"]
mod zfs_pool;

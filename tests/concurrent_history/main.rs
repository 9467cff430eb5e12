//! Concurrent histories: clients that begin, read, write, commit and abort beside each other, while somebody kills
//! and stops them and takes the room away. What each saw is written down; whether it can have been so is checked.
//!
//! `history`: what is written down. `checker`: the rules. `stamp`: what a version is known by. `clients`,
//! `nemesis`: who does what. `place`: on which store. `storm`, `race`, `late`, `held`, `long`: the tests.
//!
//! ZCHROOT_TEST_LONG=1 for ten minutes each, ZCHROOT_TEST_SEED=N for the deeds of an earlier run. The history of a
//! run that fails stays; where is said.
#![allow(clippy::print_stdout, reason = "counts are for people")]
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "tests work on the host as it is"
)]

#[path = "../harness/mod.rs"]
mod harness;
#[cfg(feature = "zfs")]
#[path = "../zfs_pool/mod.rs"]
mod zfs_pool;

mod call;
mod chance;
mod checker;
mod checker_tests;
mod clients;
mod count;
mod held;
mod history;
mod late;
mod long;
mod nemesis;
mod place;
mod race;
mod stamp;
mod storm;

/// Whether the tests take the time that the acceptance of the whole asks for.
fn is_long() -> bool {
    std::env::var_os("ZCHROOT_TEST_LONG").is_some()
}

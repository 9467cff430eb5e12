//! The real clients of schroot, unmodified, as Debian ships them: they call `/usr/bin/schroot`, and that is our program.
//!
//! Each test has a host of its own ([`host`]): a mount namespace in which the program lies in schroot's place, and
//! templates made of a Debian tree ([`tree`]) that mmdebstrap makes once. The packages are installed in a Debian of their own
//! ([`fresh`]), beside Debian's clients. What is left afterwards is looked for there.
//! The tests need a mirror of Debian and the packages of the clients, so they are a lane of their own.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "tests work on the host as it is, and tell what they counted"
)]

mod call;
mod concurrent;
mod configured;
mod fresh;
#[path = "../harness/mod.rs"]
mod harness;
mod host;
mod hosts;
mod installed;
mod left;
mod maintain;
mod mini_buildd;
mod notes;
mod numbers;
mod package;
#[cfg(feature = "zfs")]
mod pool;
mod replaced;
mod sbuild;
mod testers;
mod tree;
#[cfg(feature = "zfs")]
#[path = "../zfs_pool/mod.rs"]
mod zfs_pool;

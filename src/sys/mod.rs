//! The operating system: start-up, identity, files, mounts, namespaces, processes, logging.
//!
//! The lowest room of the house: it knows nothing of templates, stores or sessions. With `zfs/ffi.rs` it is
//! the only place where `unsafe` may stand, each with its `SAFETY`.
//!
//! Crash rule: every call here that changes something outside the process passes [`effect::point`] first, so
//! that tests can fail or stop the program at each one.

pub mod cgroup;
mod chain;
mod child;
mod clone;
pub mod detached;
pub mod effect;
pub mod enter;
#[cfg(test)]
mod enter_tests;
pub mod env;
pub mod file;
pub mod identity;
mod init;
pub mod inroot;
pub mod limit;
pub mod lock;
pub mod log;
pub mod mount;
pub mod mountinfo;
pub mod nss;
pub mod personality;
mod plan;
mod pointers;
pub mod privilege;
pub mod program;
pub mod reap;
#[cfg(test)]
mod reap_tests;
pub mod reflink;
mod report;
pub mod signals;
pub mod startup;
#[cfg(test)]
mod startup_tests;
pub mod subvolume;
pub mod term;
#[cfg(test)]
mod term_tests;
#[cfg(test)]
mod testing;
mod users_of;
mod wait;
pub mod whereabouts;

pub use cgroup::Cgroup;
pub use chain::chain;
pub use enter::{Directory, Ended, EnterError, Entry, Namespaces, Note, enter};
pub use env::Environment;
pub use identity::{Account, Caller};
pub use privilege::raised;
pub use startup::Process;
pub mod tree;
pub mod worker;

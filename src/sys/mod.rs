//! The operating system: start-up, identity, files, mounts, namespaces, processes, logging.
//!
//! The lowest room of the house: it knows nothing of templates, stores or sessions. With `zfs/ffi.rs` it is
//! the only place where `unsafe` may stand, each with its `SAFETY`.
//!
//! Crash rule: every call here that changes something outside the process passes [`effect::point`] first, so
//! that tests can fail or stop the program at each one.

pub mod effect;
pub mod file;
pub mod lock;
pub mod tree;
pub mod worker;

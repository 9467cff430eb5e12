//! The main job from the command line, on the store of directories: create, run, sessions, updates, recovery.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "tests work on the host as it is"
)]

#[path = "../harness/mod.rs"]
mod harness;

mod adopt;
mod create;
mod diff;
mod gc;
mod history;
mod output;
mod rebase;
mod recover;
mod rollback;
mod run;
mod sessions;
mod update;
mod verify;

//! zchroot: sessions of build chroots as clones, template updates as atomic commits.
//!
//! The house is drawn in `docs/architecture.md`. Dependencies run one way:
//! [`schroot`] -> [`cli`] -> [`session`], [`source`], [`import`], [`space`] -> [`template`], [`store`] -> (`zfs`, [`dir`], [`outside`]) -> [`sys`].

pub mod cli;
pub mod dir;
pub mod import;
pub mod outside;
pub mod schroot;
pub mod session;
pub mod source;
pub mod space;
pub mod store;
pub mod sys;
pub mod template;
#[cfg(feature = "zfs")]
pub mod zfs;

/// Runs the program by the name that it is called by.
#[must_use]
pub fn main(program: &std::ffi::OsStr) -> std::process::ExitCode {
    if schroot::is_name(program) { schroot::main() } else { cli::main(schroot::adopt) }
}

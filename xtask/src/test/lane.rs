//! The lanes: their names, their order, what each runs.

use anyhow::Result;
use clap::ValueEnum;

use super::tally::Tally;
use super::{checks, nextest};
use crate::demo;
use crate::vm::Machine;

/// One part of the gate. The order here is the order of the run: what is quick and fails often comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Lane {
    /// Formatting
    Fmt,
    /// Lints, with and without the store on ZFS
    Clippy,
    /// Licences, sources, bans and advisories of the dependencies
    Deny,
    /// The generated parts of the manual pages
    Man,
    /// All tests that need no ZFS, on this host as root
    Host,
    /// The demonstration on this host
    Demo,
    /// The tests that need ZFS, in the uml machine
    Zfs,
    /// The demonstration on a pool, in the uml machine
    DemoZfs,
    /// The contract of the store on the stock kernel, in the qemu machine
    Qemu,
    /// The demonstration on the stock kernel, in the qemu machine
    DemoQemu,
}

impl Lane {
    /// The lanes of a run that names none, in their order. The stock kernel's have to be named: without KVM they run
    /// under emulation, which takes long, and a busy emulator is no measure of a change.
    pub fn all() -> Vec<Self> {
        let named_only = [Self::Qemu, Self::DemoQemu];
        Self::value_variants().iter().copied().filter(|lane| !named_only.contains(lane)).collect()
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Fmt => "fmt",
            Self::Clippy => "clippy",
            Self::Deny => "deny",
            Self::Man => "man",
            Self::Host => "host",
            Self::Demo => "demo",
            Self::Zfs => "zfs",
            Self::DemoZfs => "demo-zfs",
            Self::Qemu => "qemu",
            Self::DemoQemu => "demo-qemu",
        }
    }

    /// What is about to happen, in a few words.
    pub fn what(self) -> &'static str {
        match self {
            Self::Fmt => "cargo fmt --check",
            Self::Clippy => "cargo clippy, all targets, with and without the feature zfs",
            Self::Deny => "cargo deny check",
            Self::Man => "cargo xtask man --check",
            Self::Host => "the tests that need no ZFS, on this host",
            Self::Demo => "cargo xtask demo, the store in directories",
            Self::Zfs => "the tests that need ZFS, in the uml machine",
            Self::DemoZfs => "cargo xtask demo --zfs, in the uml machine",
            Self::Qemu => "the store's contract on the stock kernel, in the qemu machine",
            Self::DemoQemu => "cargo xtask demo --zfs, in the qemu machine",
        }
    }

    /// Whether a filter of test names makes sense.
    pub fn has_tests(self) -> bool {
        matches!(self, Self::Host | Self::Zfs | Self::Qemu)
    }

    /// Runs it.
    ///
    /// # Errors
    /// When it could not be run to its end.
    pub fn run(self, filter: Option<&str>) -> Result<Tally> {
        match self {
            Self::Fmt => checks::fmt(),
            Self::Clippy => checks::clippy(),
            Self::Deny => checks::deny(),
            Self::Man => checks::man(),
            Self::Host => nextest::host(filter),
            Self::Demo => told(self, demo::on_host),
            Self::Zfs => nextest::machine(Machine::Uml, filter),
            Self::DemoZfs => told(self, || demo::on_zfs(Machine::Uml)),
            Self::Qemu => nextest::machine(Machine::Qemu, Some(filter.unwrap_or("binary:store_contract"))),
            Self::DemoQemu => told(self, || demo::on_zfs(Machine::Qemu)),
        }
    }
}

/// The demonstration counts as one test.
fn told(lane: Lane, story: impl FnOnce() -> Result<u8>) -> Result<Tally> {
    Ok(Tally::one(lane.name(), story()? == 0))
}

//! The lanes: their names, their order, what each runs.

use anyhow::Result;
use clap::ValueEnum;

use super::checks;
use super::effort::Effort;
use super::nextest::{self, Tests};
use super::select::Kind;
use super::tally::Tally;
use crate::crash;
use crate::demo;
use crate::program;
use crate::recipe;
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
    /// The tests that need no ZFS, on this host as root
    Host,
    /// The demonstration on this host
    Demo,
    /// The real clients of schroot, and its defects, on this host as root
    Clients,
    /// The tests that need ZFS, in the uml machine
    Zfs,
    /// The real clients of schroot on a pool, in the uml machine
    ClientsZfs,
    /// The demonstration on a pool and the recipes (a full one, two images in one), in the uml machine
    DemoZfs,
    /// Crashes at every step, of the program and of the machine, on both stores
    Crash,
    /// Histories of many clients beside commits, checked, on both stores
    History,
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
            Self::Clients => "clients",
            Self::Zfs => "zfs",
            Self::ClientsZfs => "clients-zfs",
            Self::DemoZfs => "demo-zfs",
            Self::Crash => "crash",
            Self::History => "history",
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
            Self::Clients => {
                "sbuild, autopkgtest and piuparts on the program called as schroot, and schroot's defects, on this host"
            }
            Self::Zfs => "the tests that need ZFS, in the uml machine",
            Self::ClientsZfs => "sbuild, autopkgtest and piuparts on a pool, in the uml machine",
            Self::DemoZfs => "cargo xtask demo --zfs, recipe enospc and recipe dedup, in the uml machine",
            Self::Crash => "crashes at every step, on this host and in the uml machine",
            Self::History => "histories of many clients, on this host and in the uml machine",
            Self::Qemu => "the store's contract on the stock kernel, in the qemu machine",
            Self::DemoQemu => "cargo xtask demo --zfs, in the qemu machine",
        }
    }

    /// The lanes that a word of a test's name chooses from.
    pub fn tests() -> [Self; 6] {
        [Self::Host, Self::Clients, Self::Zfs, Self::ClientsZfs, Self::Crash, Self::History]
    }

    /// Whether a filter of test names makes sense.
    pub fn has_tests(self) -> bool {
        Self::tests().contains(&self) || self == Self::Qemu
    }

    /// Runs it.
    ///
    /// # Errors
    /// When it could not be run to its end.
    pub fn run(self, filter: Option<&str>, effort: Effort) -> Result<Tally> {
        let tests = |kind| Tests { kind, filter, effort };
        match self {
            Self::Fmt => checks::fmt(),
            Self::Clippy => checks::clippy(),
            Self::Deny => checks::deny(),
            Self::Man => checks::man(),
            Self::Host => nextest::host(tests(Kind::Plain)),
            Self::Demo => told(self, demo::on_host),
            Self::Clients => nextest::host(tests(Kind::Clients)),
            Self::Zfs => nextest::machine(Machine::Uml, tests(Kind::Plain)),
            Self::ClientsZfs => nextest::machine(Machine::Uml, tests(Kind::Clients)),
            Self::DemoZfs => Ok(self.parts(&[
                &|| told(self, || demo::on_zfs(Machine::Uml)),
                &|| Ok(Tally::one("recipe-enospc", recipe::enospc(Machine::Uml)? == 0)),
                &|| Ok(Tally::one("recipe-dedup", recipe::dedup(Machine::Uml)? == 0)),
            ])),
            Self::Crash => Ok(self.parts(&[
                &|| nextest::host(tests(Kind::Crash)),
                &|| nextest::machine(Machine::Uml, tests(Kind::Crash)),
                &|| Self::kills(filter, effort),
            ])),
            Self::History => Ok(self.parts(&[&|| nextest::host(tests(Kind::History)), &|| {
                nextest::machine(Machine::Uml, tests(Kind::History))
            }])),
            Self::Qemu => {
                let filter = Some(filter.unwrap_or("binary:store_contract"));
                nextest::machine(Machine::Qemu, Tests { filter, ..tests(Kind::Plain) })
            }
            Self::DemoQemu => told(self, || demo::on_zfs(Machine::Qemu)),
        }
    }

    /// What is driven from outside the machines, if no filter chooses tests by name. The stock kernel takes half a
    /// minute for each boot, so it has its turn with `--long` only.
    fn kills(filter: Option<&str>, effort: Effort) -> Result<Tally> {
        let mut tally = Tally::default();
        if filter.is_none() {
            tally.add(crash::run(Machine::Uml, effort)?);
            if effort.long {
                tally.add(crash::run(Machine::Qemu, effort)?);
            }
        }
        Ok(tally)
    }

    /// One part after the other; one that could not be run is a failure and does not stop the others.
    fn parts(self, parts: &[&dyn Fn() -> Result<Tally>]) -> Tally {
        let mut tally = Tally::default();
        for part in parts.iter().take_while(|_| program::check_interrupt().is_ok()) {
            tally.add(part().unwrap_or_else(|error| {
                eprintln!("xtask: {}: {error:#}", self.name());
                Tally::failed(self.name())
            }));
        }
        tally
    }
}

/// The demonstration counts as one test.
fn told(lane: Lane, story: impl FnOnce() -> Result<u8>) -> Result<Tally> {
    Ok(Tally::one(lane.name(), story()? == 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_cannot_be_run_fails_the_lane_and_the_next_one_is_run() {
        let good = || Ok(Tally::one("x", true));
        let bad = || anyhow::bail!("no machine");
        assert_eq!(Lane::Crash.parts(&[&bad, &good]).line(), "1 passed, 1 failed, 0 skipped");
    }

    #[test]
    fn the_whole_gate_has_crashes_and_histories_but_not_the_stock_kernel() {
        let all = Lane::all();
        assert!(all.contains(&Lane::Crash) && all.contains(&Lane::History) && !all.contains(&Lane::Qemu));
    }
}

//! Kills of a whole machine, from outside, while clients work in it: the other half of the power cuts (the tests
//! `zfs_crash_power_cut_*` are the first).
//!
//! A machine with a pool on a disk that outlives it is booted, works, and its process is killed at a random moment; what
//! it had not flushed is lost. Booted again with the same disk it shows what is there, repairs it, looks at everything,
//! and goes on working until the next kill ([`BOOT`]). What it had reported was on its console and is known here
//! ([`history`]): all of it has to be there. Kills are counted by the states that they left on the disk.

mod history;
#[allow(dead_code, reason = "the tests use the rest of it")]
#[path = "../../../tests/power_cut/state.rs"]
mod state;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::debian::libzfs;
use crate::program::{self, step};
use crate::test::effort::Effort;
use crate::test::tally::Tally;
use crate::vm::{self, Job, Machine};
use history::History;

const BOOT: &str = include_str!("../../crash/boot.sh");
/// In the normal run as many kills as fit in this time.
const PATIENCE: Duration = Duration::from_secs(75);
const LONG_KILLS: usize = 100;
/// The stock kernel under emulation takes half a minute to boot.
const QEMU_KILLS: usize = 10;
/// A machine is killed in its first commits, so that the host's load does not decide what a kill hits: after fewer than
/// these many of them are done ...
const ARM: u64 = 3;
/// ... and at most so much later; emulation is ten times as slow.
const WORK: Duration = Duration::from_millis(1500);
const QEMU_WORK: Duration = Duration::from_secs(20);
/// How long a machine may take to come to work.
const LIMIT: Duration = Duration::from_secs(300);
/// The same where every instruction is emulated.
const QEMU_LIMIT: Duration = Duration::from_secs(1200);
/// What random kills cannot miss; with `--long`, since a few may.
const WANTED: [&str; 5] =
    ["source.ready", "commit.version-file", "begin.ready", "run.clone", "settle.not-promoted"];

/// What the kills of one machine showed.
#[derive(Debug, Default)]
pub struct Outcome {
    pub kills: usize,
    /// Commits that were reported before a kill.
    pub commits: usize,
    pub states: BTreeMap<&'static str, usize>,
    pub violations: Vec<String>,
}

/// Kills the machine again and again; counts as one test, with the kills by the states that they left.
///
/// # Errors
/// When a machine cannot be built, or does not come up with the disk that a kill left.
pub fn run(machine: Machine, effort: Effort) -> Result<Tally> {
    let (begun, seed) = (Instant::now(), effort.seed.unwrap_or_default());
    step(format!("killing the {} machine again and again, seed {seed}", machine.name()));
    let outcome = kill_again_and_again(machine, effort.long, seed)?;
    step(format!("{} kills in {:.0} s", outcome.kills, begun.elapsed().as_secs_f64()));
    let wanted = WANTED.iter().filter(|_| effort.long && machine == Machine::Uml);
    let missed: Vec<_> = wanted.filter(|state| !outcome.states.contains_key(**state)).collect();
    for violation in &outcome.violations {
        eprintln!("violation: {violation}");
    }
    for state in &missed {
        eprintln!("no kill left the state {state}");
    }
    let name = format!("kills of the {} machine", machine.name());
    let mut tally = Tally::one(&name, outcome.violations.is_empty() && missed.is_empty());
    let lines = outcome.lines();
    println!("{lines}");
    tally.counts.read(&name, &lines);
    Ok(tally)
}

impl Outcome {
    fn lines(&self) -> String {
        let states: Vec<String> = self.states.iter().map(|(name, count)| format!("{name}={count}")).collect();
        let (kills, commits, violations) = (self.kills, self.commits, self.violations.len());
        let first = format!("crash-count: kills={kills} commits-reported={commits} violations={violations}");
        format!("{first}\ncrash-count: states {}", states.join(" "))
    }
}

fn kill_again_and_again(machine: Machine, long: bool, seed: u64) -> Result<Outcome> {
    let dir = libzfs::target_dir().join("vm/crash");
    fs::create_dir_all(&dir)?;
    let _lock = program::lock(&dir.join("lock"), "crash")?;
    let disk = dir.join("disk.img");
    let _ = fs::remove_file(&disk);
    let zchroot = build(&dir)?;
    let result = kills(machine, long, seed, &dir, &zchroot);
    let good = matches!(&result, Ok(outcome) if outcome.violations.is_empty());
    if good {
        fs::remove_file(&disk).context("remove the machines' disk")?;
    } else {
        step(format!("the disk as the last kill left it: {}", disk.display()));
    }
    result
}

fn kills(machine: Machine, long: bool, seed: u64, dir: &Path, zchroot: &Path) -> Result<Outcome> {
    let (begun, mut random) = (Instant::now(), Random::new(seed));
    let (mut outcome, mut history) = (Outcome::default(), History::default());
    loop {
        let last = match (machine, long) {
            (Machine::Qemu, _) => outcome.kills >= QEMU_KILLS,
            (Machine::Uml, true) => outcome.kills >= LONG_KILLS,
            (Machine::Uml, false) => begun.elapsed() > PATIENCE,
        };
        let work = if machine == Machine::Qemu { QEMU_WORK } else { WORK };
        let number = outcome.kills;
        let mut job = Job::new(script(number, last, random.below(ARM)), dir.join("results"));
        job.files_in = vec![(zchroot.to_owned(), PathBuf::from("zchroot"))];
        job.scratch = Some(dir.join("disk.img"));
        job.timeout = if machine == Machine::Qemu { QEMU_LIMIT } else { LIMIT };
        job.quiet = true;
        job.cut_after = Some(random.time(work));
        let status = vm::run(machine, &job)?;
        let log = fs::read(dir.join("results/console.log"))?;
        let boot = history.boot(&String::from_utf8_lossy(&log))?;
        if number > 0 {
            boot.states.iter().for_each(|state| *outcome.states.entry(state).or_default() += 1);
        }
        let place = |what: String| format!("after kill {number}: {what}");
        outcome.violations.extend(boot.violations.into_iter().map(place));
        outcome.commits = history.reported();
        match (last, status) {
            (true, 0) => return Ok(outcome),
            // What follows from it says nothing new; the disk is kept.
            _ if !outcome.violations.is_empty() => return Ok(outcome),
            (false, vm::CUT) => outcome.kills += 1,
            _ => bail!(
                "boot {number} ended by itself with {status}: {}",
                program::tail(&String::from_utf8_lossy(&log))
            ),
        }
    }
}

fn script(number: usize, last: bool, arm: u64) -> String {
    let last = u8::from(last);
    format!("NUMBER={number} LAST={last} ARM={arm} COLUMNS='{}'\n{BOOT}", state::COLUMNS)
}

fn build(dir: &Path) -> Result<PathBuf> {
    step("building zchroot");
    let target = libzfs::target_dir();
    let mut cargo = std::process::Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "--package", "zchroot", "--bin", "zchroot"]);
    cargo.current_dir(libzfs::workspace()).env("CARGO_TARGET_DIR", &target).envs(libzfs::provide()?);
    program::logged(&mut cargo, &dir.join("build.log"))?;
    let copy = dir.join("zchroot");
    fs::copy(target.join("debug/zchroot"), &copy)?;
    Ok(copy)
}

/// xorshift64: the same moments for the same seed.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        // Seeds are small numbers, and 0 is none.
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn time(&mut self, limit: Duration) -> Duration {
        Duration::from_micros(self.below(u64::try_from(limit.as_micros()).unwrap_or(u64::MAX)))
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_moments_again_and_they_are_spread() {
        let moments = |seed| {
            let mut random = Random::new(seed);
            (0..100).map(|_| random.time(WORK)).collect::<Vec<_>>()
        };
        assert_eq!(moments(7), moments(7));
        assert_ne!(moments(7), moments(8));
        let early = moments(7).iter().filter(|moment| **moment < WORK / 2).count();
        assert!((20..80).contains(&early), "{early} of 100 in the first half");
    }
}

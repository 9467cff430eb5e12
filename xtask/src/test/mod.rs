//! `cargo xtask test`: the whole gate, one lane after the other, and one line at the end that counts everything.
//!
//! A lane is a check (formatting, lints, dependencies, the demonstration) or a set of tests in one place (this host, a
//! machine). A check counts as one test, a test as one. A lane that fails does not stop the others. What is skipped is
//! named with its reason, and has to be listed in `tests/skips.toml`, else the run fails.

mod checks;
mod clients;
mod counts;
pub mod effort;
mod lane;
pub mod nextest;
pub mod select;
mod skips;
pub mod tally;

use std::io::Write;
use std::time::Instant;

use anyhow::{Result, bail};

use crate::program::{self, step};
use effort::Effort;
use lane::Lane;
use skips::Allowed;
use tally::Tally;

/// Run the whole gate: format, lints, dependencies, tests on the host and in machines, demonstration
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Run this lane alone (can be repeated)
    #[arg(long, value_enum, value_name = "LANE")]
    lane: Vec<Lane>,
    /// Run only tests with this text in their name; without --lane that means all lanes of tests
    filter: Option<String>,
    #[command(flatten)]
    effort: Effort,
}

/// Runs the lanes and gives 0 if nothing failed.
///
/// # Errors
/// When we are interrupted, or `tests/skips.toml` cannot be read. What goes wrong in a lane is a failure of that lane.
pub fn run(args: &Args) -> Result<u8> {
    let allowed = Allowed::read()?;
    let effort = args.effort.seeded();
    step(format!("the seed is {}", effort.seed.unwrap_or_default()));
    let mut total = Tally::default();
    for lane in choose(args)? {
        total.add(run_lane(lane, args.filter.as_deref(), effort)?);
    }
    if args.filter.is_some() && total.is_empty() {
        bail!("no test matches {:?}", args.filter.as_deref().unwrap_or_default());
    }
    let good = total.print(&allowed, &mut std::io::stderr().lock())?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", total.line())?;
    out.flush()?;
    Ok(u8::from(!good))
}

fn choose(args: &Args) -> Result<Vec<Lane>> {
    let lanes = if !args.lane.is_empty() {
        args.lane.clone()
    } else if args.filter.is_some() {
        Lane::tests().to_vec()
    } else {
        Lane::all()
    };
    if let Some(lane) = lanes.iter().find(|lane| args.filter.is_some() && !lane.has_tests()) {
        bail!("the lane {} has no tests to choose from: leave the filter out", lane.name());
    }
    Ok(lanes)
}

fn run_lane(lane: Lane, filter: Option<&str>, effort: Effort) -> Result<Tally> {
    step(format!("{}: {}", lane.name(), lane.what()));
    let begun = Instant::now();
    let result = lane.run(filter, effort);
    program::check_interrupt()?;
    let tally = result.unwrap_or_else(|error| {
        eprintln!("xtask: {}: {error:#}", lane.name());
        Tally::failed(lane.name())
    });
    tally.counts.print(&format!("the lane {}", lane.name()), &mut std::io::stderr().lock())?;
    step(format!("{}: {} ({:.1} s)", lane.name(), tally.line(), begun.elapsed().as_secs_f64()));
    Ok(tally)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(lane: &[Lane], filter: Option<&str>) -> Args {
        Args { lane: lane.to_vec(), filter: filter.map(str::to_owned), effort: Effort::default() }
    }

    #[test]
    fn a_filter_alone_runs_the_lanes_that_have_tests() {
        assert_eq!(choose(&args(&[], Some("x"))).unwrap(), Lane::tests());
        assert_eq!(choose(&args(&[], None)).unwrap(), Lane::all());
        assert_eq!(choose(&args(&[Lane::Zfs], Some("x"))).unwrap(), [Lane::Zfs]);
    }

    #[test]
    fn a_filter_for_a_lane_without_tests_is_refused() {
        assert!(choose(&args(&[Lane::Fmt], Some("x"))).unwrap_err().to_string().contains("fmt"));
    }
}

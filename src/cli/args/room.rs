//! `zchroot gc`, `zchroot reserve`, and how much a session may write.

use clap::{Args, ValueEnum};

use super::Json;
use crate::template::Size;

/// `zchroot gc`.
#[derive(Debug, Args)]
#[command(
    after_help = "A thing goes only when no record refers to it and it is older than the grace time (zchroot.toml, grace)."
)]
pub struct Gc {
    /// Only say what would go, and why
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    #[command(flatten)]
    /// Machine-readable output.
    pub json: Json,
}

/// `zchroot reserve`.
#[derive(Debug, Args)]
#[command(
    after_help = "Room that nobody else can have. A commit, the end of a session and gc give it up when there is too little to \
work in; it is laid again by gc and commits, when there is room for it twice over.\n\
Its size is reserve in zchroot.toml, table dir or zfs.\n\
Example:  zchroot reserve release       a full store can be written to again"
)]
pub struct Reserve {
    /// What to do
    #[arg(value_enum, default_value = "status")]
    pub step: ReserveStep,
    #[command(flatten)]
    /// Machine-readable output.
    pub json: Json,
}

/// What to do with the reserve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ReserveStep {
    /// Say how much is laid
    Status,
    /// Give it up
    Release,
    /// Lay it again, if there is room twice over
    Lay,
}

/// Below this a session could not even start a shell.
const LEAST_QUOTA: Size = Size::new(1 << 20);

pub(super) fn quota(text: &str) -> Result<Size, String> {
    match text.parse::<Size>().map_err(|error| error.to_string())? {
        size if size >= LEAST_QUOTA => Ok(size),
        _ => Err("less than 1M is not enough for anything".to_owned()),
    }
}

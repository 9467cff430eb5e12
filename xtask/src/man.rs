//! `cargo xtask man`: the generated parts of the manual pages.

mod pages;

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use clap::CommandFactory as _;

const PAGES: [&str; 3] = ["zchroot.8", "zchroot.toml.5", "zchroot-templates.5"];

/// Write the generated parts of the manual pages anew
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Write nothing; fail if a page is not as it would be written
    #[arg(long)]
    pub check: bool,
}

/// Rewrites the pages under `man/`, or says which are out of date.
///
/// # Errors
/// A page cannot be read or written, a region is wrong, or (with `--check`) a page is out of date.
pub fn run(args: &Args) -> Result<()> {
    let mut root = zchroot::cli::Cli::command();
    root.build();
    let mut stale = Vec::new();
    for name in PAGES {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../man").join(name);
        let old = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let new = pages::rewrite(&old, &root).with_context(|| format!("page {name}"))?;
        if new == old {
            continue;
        }
        stale.push(name);
        if !args.check {
            std::fs::write(&path, &new).with_context(|| format!("write {}", path.display()))?;
            println!("wrote man/{name}");
        }
    }
    if args.check && !stale.is_empty() {
        bail!("out of date: {}; run `cargo xtask man`", stale.join(", "));
    }
    Ok(())
}

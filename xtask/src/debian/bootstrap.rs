//! mmdebstrap: a Debian as an archive.

use std::path::Path;

use anyhow::Result;

use super::sources::Source;
use crate::program;

/// Makes one of a source; a name that ends in `.zst` is packed. Its result and `build.log` go into `work`.
///
/// # Errors
/// It cannot be made; the end of the log is in the error.
pub fn run(work: &Path, source: &Source, args: &[&str], result: &str) -> Result<()> {
    let mut programs = vec!["mmdebstrap", "zstd"];
    if !super::is_root() {
        // It then works in a user namespace, for which it needs newuidmap.
        programs.push("uidmap");
    }
    super::ensure_packages(&programs)?;
    let mut command = program::command("mmdebstrap");
    command.args(["--aptopt=Acquire::Languages \"none\"", "--aptopt=Acquire::Retries \"3\""]);
    command.args(args).arg(&source.suite).arg(work.join(result)).arg(source.line());
    command.env("LC_ALL", "C.UTF-8").env("DEBIAN_FRONTEND", "noninteractive");
    program::logged(&mut command, &work.join("build.log"))
}

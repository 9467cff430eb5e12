//! The words of the commands that look at trees: diff, verify, source rebase.

use clap::Args;

use super::Json;
use crate::source::VersionSpec;
use crate::store::SessionId;

/// `zchroot diff`.
#[derive(Debug, Args)]
#[command(after_help = "A line for each entry that differs:  + added  - removed  M changed, and in what.\n\
Then a line for each package, if both trees have a dpkg status. Differences are no failure: the exit status is 0.\n\
Examples: zchroot diff sid                 what the last update changed\n          \
zchroot diff sid 3               generation 3 against the current version\n          \
zchroot diff sid 3 5 --packages  only which packages were added, removed, upgraded\n          \
zchroot diff my-session          what was changed in a session\n          \
zchroot diff sid 7d              against what was current a week ago")]
pub struct Diff {
    /// A template, or a session, which is compared with the version that it was cloned from
    #[arg(value_name = "TEMPLATE|SESSION")]
    pub name: String,
    /// The older version; the one before the newer one, if not given
    #[arg(value_name = "A")]
    pub from: Option<VersionSpec>,
    /// The newer version; the current one, if not given
    #[arg(value_name = "B")]
    pub to: Option<VersionSpec>,
    /// Only the packages; the trees are not walked
    #[arg(long, conflicts_with = "stat")]
    pub packages: bool,
    /// Only the packages and how many entries differ
    #[arg(long)]
    pub stat: bool,
    /// Compare every byte, also of files that are known not to have been touched
    #[arg(long, conflicts_with = "packages")]
    pub full: bool,
    #[command(flatten)]
    /// Machine-readable output.
    pub json: Json,
}

/// `zchroot source rebase`.
#[derive(Debug, Args)]
#[command(
    after_help = "For a source session whose commit was refused as a conflict. Nothing is replayed: a new source \
session is begun on the current version, and what was changed in the old one, by others, and by both is listed. The old \
session stays until it is aborted.\n\
Example:  zchroot source rebase work -n work2; zchroot source exec work2; zchroot source commit work2; zchroot source abort work"
)]
pub struct SourceRebase {
    /// The source session that was refused
    pub session: SessionId,
    /// The new session's name; one is made if not given
    #[arg(short, long, value_name = "NAME")]
    pub name: Option<SessionId>,
    #[command(flatten)]
    /// Machine-readable output.
    pub json: Json,
}

/// `zchroot verify`.
#[derive(Debug, Args)]
#[command(
    after_help = "A digest of each version's tree is made after its commit: paths, types, modes, owners, times, \
extended attributes, link targets, devices, hard links and contents. This reads the tree again and names the first \
difference; a version that has no digest yet gets one. Exits with 1 if a version differs or cannot be read.\n\
Examples: zchroot verify sid       all versions that are kept\n          \
zchroot verify sid@7     generation 7"
)]
pub struct Verify {
    /// A template, or one version of it
    #[arg(value_name = "TEMPLATE[@VERSION]")]
    pub target: String,
    #[command(flatten)]
    /// Machine-readable output.
    pub json: Json,
}

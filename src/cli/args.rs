//! The command line: every command, option and help text.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::Status;
use crate::store::{Digest, SessionId, TemplateName, VersionId};

/// Sessions of build chroots as clones, with atomic template updates
#[derive(Debug, Parser)]
#[command(
    name = "zchroot",
    version,
    max_term_width = 100,
    disable_help_subcommand = true,
    after_help = "\
A template is a named chroot; a session is a private, writable clone of its current version.
Try:  zchroot create demo --from bootstrap:trixie     make a template's first version
      zchroot run demo -- cat /etc/os-release         run a command in a throw-away session
      zchroot update demo -- apt-get -y upgrade       make a new version, all at once
Manual: zchroot(8), zchroot.toml(5), zchroot-templates(5)"
)]
pub struct Cli {
    /// Options that every command knows.
    #[command(flatten)]
    pub globals: Globals,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options that every command knows.
#[derive(Debug, Clone, Args)]
pub struct Globals {
    /// Say more on stderr (can be repeated)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Show no progress and no notes, only data and errors
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Use DIR as the root of configuration and state (real root only; for tests and demonstrations)
    #[arg(long, global = true, value_name = "DIR")]
    pub root: Option<PathBuf>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Lay out the store, and say what was changed
    Init(Init),
    /// Make the first version of a template
    Create(Create),
    /// List templates and sessions
    List(List),
    /// Show one template or session
    Info(Info),
    /// Show the versions of a template
    History(History),
    /// Run a command, or a login shell, in a throw-away session
    Run(Run),
    /// Begin a named session and print its name
    Begin(Begin),
    /// Run a command, or a login shell, in a named session
    Exec(Exec),
    /// End sessions
    End(End),
    /// Keep unpacked archives, to clone templates and sessions from
    Image(Image),
    /// Change a template: commit if the command succeeds, abort if not
    Update(Update),
    /// Change a template in steps
    Source(Source),
    /// Bring every session to ready or ended after a crash or a reboot
    Recover(Recover),
    /// Reclaim what nothing refers to
    Gc(Gc),
    /// Check the configuration
    Check(Check),
}

/// Machine-readable output.
#[derive(Debug, Clone, Copy, Args)]
pub struct Json {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `zchroot init`.
#[derive(Debug, Args)]
#[command(after_help = "Idempotent: what is already so is left so.\n\
Example:  zchroot init --pool tank      writes store = \"zfs\" to zchroot.toml if there is no such file")]
pub struct Init {
    /// Keep trees in this ZFS pool or dataset
    #[arg(long, value_name = "POOL")]
    pub pool: Option<String>,
}

/// `zchroot create`.
#[derive(Debug, Args)]
#[command(after_help = "SOURCE is one of\n  \
bootstrap:SUITE[,VARIANT][,MIRROR]   a Debian tree made by mmdebstrap (VARIANT: minbase, buildd, ...)\n  \
a directory                          copied, hard links and extended attributes included\n  \
a squashfs image                     packed by gzip, xz, zstd, lzo or lz4\n  \
a tar archive                        plain or compressed by gzip, xz, zstd or bzip2\n  \
oci:DIR[:TAG]                        a container image in an OCI layout\n  \
docker-archive:FILE                  a container image that docker save wrote\n\
An archive becomes an image first, as by `zchroot image import`; the template is cloned from that.\n\
Without a definition in templates.d a commented one is written, which lets root alone use the template.\n\
Examples: zchroot create trixie --from bootstrap:trixie,buildd\n          \
zchroot create sid --from /srv/chroot/sid.tar.zst -m 'from the old host'")]
pub struct Create {
    /// The template
    pub template: TemplateName,
    /// Where its tree comes from
    #[arg(long, value_name = "SOURCE")]
    pub from: String,
    /// What the history says of the version
    #[arg(short, long, value_name = "TEXT")]
    pub message: Option<String>,
}

/// `zchroot list`.
#[derive(Debug, Args)]
pub struct List {
    /// Only templates
    #[arg(long, conflicts_with = "sessions")]
    pub templates: bool,
    /// Only sessions
    #[arg(long)]
    pub sessions: bool,
    #[command(flatten)]
    /// Machine-readable output.
    pub json: Json,
}

/// `zchroot info`.
#[derive(Debug, Args)]
pub struct Info {
    /// A session or a template; a session's name is looked up first
    pub name: String,
    #[command(flatten)]
    /// Machine-readable output.
    pub json: Json,
}

/// `zchroot history`.
#[derive(Debug, Args)]
pub struct History {
    /// The template
    pub template: TemplateName,
    #[command(flatten)]
    /// Machine-readable output.
    pub json: Json,
}

/// How a command is run inside.
#[derive(Debug, Clone, Args)]
pub struct Inside {
    /// Be this user inside; you, if not given
    #[arg(short, long, value_name = "USER")]
    pub user: Option<String>,
    /// Start in this directory of the tree; the one where you are, if not given
    #[arg(short, long, value_name = "DIR")]
    pub directory: Option<PathBuf>,
    /// Keep the environment, but for what could harm
    #[arg(short, long)]
    pub preserve_environment: bool,
    /// Network: `none` leaves only lo
    #[arg(long, value_name = "NET")]
    pub net: Option<Net>,
    /// Give the command process ids of its own
    #[arg(long)]
    pub pid: bool,
    /// Give the command System V IPC and message queues of its own
    #[arg(long)]
    pub ipc: bool,
    /// Give the command a host name of its own, the template's
    #[arg(long)]
    pub uts: bool,
}

/// Which network a command sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Net {
    /// The host's.
    Host,
    /// Only lo.
    None,
}

/// `zchroot run`.
#[derive(Debug, Args)]
#[command(
    after_help = "The exit status is the command's; 128+n if signal n killed it; 127 if it was not found, \
126 if it could not be executed, 125 if zchroot failed.\n\
Examples: zchroot run sid                                 a login shell\n          \
zchroot run sid -u root -d / -- apt-get -s upgrade\n          \
zchroot run sid --net none -- make check          no network but lo\n          \
zchroot run --image sid.sqsh -- cat /etc/os-release   straight from an archive"
)]
pub struct Run {
    /// The template, by name or alias
    #[arg(required_unless_present = "image", conflicts_with = "image")]
    pub template: Option<TemplateName>,
    /// Run in a clone of this image: a digest or its beginning, or an archive, which is imported if it is not there
    #[arg(long, value_name = "IMAGE", conflicts_with = "at")]
    pub image: Option<String>,
    /// How it is run.
    #[command(flatten)]
    pub inside: Inside,
    /// Begin from this version, not from the current one
    #[arg(long, value_name = "VERSION")]
    pub at: Option<VersionId>,
    /// The command and its arguments; a login shell if there is none
    #[arg(last = true, value_name = "CMD")]
    pub command: Vec<OsString>,
}

/// `zchroot begin`.
#[derive(Debug, Args)]
#[command(after_help = "Prints the session's name on stdout, nothing else.\n\
Example:  s=$(zchroot begin sid); zchroot exec $s -- make; zchroot end $s")]
pub struct Begin {
    /// The template, by name or alias
    pub template: TemplateName,
    /// The session's name; one is made if not given
    #[arg(short, long, value_name = "NAME")]
    pub name: Option<SessionId>,
    /// Begin from this version, not from the current one
    #[arg(long, value_name = "VERSION")]
    pub at: Option<VersionId>,
}

/// `zchroot exec`.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit statuses are those of `zchroot run`. Any number of commands may run in a session at a time."
)]
pub struct Exec {
    /// The session
    pub session: SessionId,
    /// How it is run.
    #[command(flatten)]
    pub inside: Inside,
    /// The command and its arguments; a login shell if there is none
    #[arg(last = true, value_name = "CMD")]
    pub command: Vec<OsString>,
}

/// `zchroot end`.
#[derive(Debug, Args)]
#[command(
    after_help = "Every process of the session is ended, its mounts and its tree go. Can be repeated after a failure."
)]
pub struct End {
    /// The sessions
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    pub sessions: Vec<SessionId>,
    /// All sessions that are yours to end, but source sessions
    #[arg(long)]
    pub all: bool,
}

/// `zchroot update`.
#[derive(Debug, Args)]
#[command(
    after_help = "The command runs as root in a source session, a private copy of the current version. Others see the old \
version until it is committed, the new one from then on, never anything between.\n\
Examples: zchroot update sid -m 'security fixes' -- sh -c 'apt-get update && apt-get -y dist-upgrade'\n          \
zchroot update sid            a root shell; `exit 0` commits, `exit 1` aborts"
)]
pub struct Update {
    /// The template, by name or alias
    pub template: TemplateName,
    /// What the history says of the version
    #[arg(short, long, value_name = "TEXT")]
    pub message: Option<String>,
    /// Keep the session when the command fails
    #[arg(long)]
    pub keep: bool,
    /// The command and its arguments; a root shell if there is none
    #[arg(last = true, value_name = "CMD")]
    pub command: Vec<OsString>,
}

/// `zchroot source`.
#[derive(Debug, Args)]
pub struct Source {
    /// Which step.
    #[command(subcommand)]
    pub step: SourceStep,
}

/// A step of a source session.
#[derive(Debug, Subcommand)]
pub enum SourceStep {
    /// Begin a source session and print its name
    Begin(SourceBegin),
    /// Run a command as root, or a root shell, in a source session
    Exec(SourceExec),
    /// Make its tree the template's current version, all at once
    Commit(SourceCommit),
    /// Throw it away
    Abort(SourceAbort),
}

/// `zchroot source begin`.
#[derive(Debug, Args)]
pub struct SourceBegin {
    /// The template, by name or alias
    pub template: TemplateName,
    /// The session's name; one is made if not given
    #[arg(short, long, value_name = "NAME")]
    pub name: Option<SessionId>,
}

/// `zchroot source exec`.
#[derive(Debug, Args)]
pub struct SourceExec {
    /// The source session
    pub session: SessionId,
    /// How it is run.
    #[command(flatten)]
    pub inside: Inside,
    /// The command and its arguments; a root shell if there is none
    #[arg(last = true, value_name = "CMD")]
    pub command: Vec<OsString>,
}

/// `zchroot source commit`.
#[derive(Debug, Args)]
#[command(
    after_help = "If somebody else committed since the session was begun this is a conflict: exit status 3, nothing \
changes, and the session is kept."
)]
pub struct SourceCommit {
    /// The source session
    pub session: SessionId,
    /// What the history says of the version
    #[arg(short, long, value_name = "TEXT")]
    pub message: Option<String>,
}

/// `zchroot source abort`.
#[derive(Debug, Args)]
pub struct SourceAbort {
    /// The source session
    pub session: SessionId,
}

/// `zchroot image`.
#[derive(Debug, Args)]
pub struct Image {
    /// What to do with images.
    #[command(subcommand)]
    pub what: ImageCommand,
}

/// What to do with images.
#[derive(Debug, Subcommand)]
pub enum ImageCommand {
    /// Unpack an archive, unless it is there, and print its digest
    Import(ImageImport),
    /// List images
    List(ImageList),
    /// Remove images that nothing is cloned from
    Remove(ImageRemove),
}

/// `zchroot image import`.
#[derive(Debug, Args)]
#[command(after_help = "SOURCE is a squashfs image, a tar archive, oci:DIR[:TAG] or docker-archive:FILE.\n\
An archive is unpacked once under its digest, however often and by however many it is imported.\n\
The digest of a container image is that of its configuration, of anything else that of the file.")]
pub struct ImageImport {
    /// The archive
    pub source: String,
    /// Refuse it unless this is its digest, or that of its manifest
    #[arg(long, value_name = "SHA256")]
    pub digest: Option<Digest>,
}

/// `zchroot image list`.
#[derive(Debug, Args)]
#[command(
    after_help = "live: something is cloned from it; warm: nothing is, but it was used lately (zchroot.toml, \
images.warm); cold: it may go."
)]
pub struct ImageList {
    #[command(flatten)]
    /// Machine-readable output.
    pub json: Json,
}

/// `zchroot image remove`.
#[derive(Debug, Args)]
pub struct ImageRemove {
    /// Digests, or beginnings of at least 8 digits
    #[arg(required = true, value_name = "IMAGE")]
    pub images: Vec<String>,
}

/// `zchroot recover`.
#[derive(Debug, Args)]
#[command(after_help = "Safe at any time, also while sessions run; run it once at boot.")]
pub struct Recover {
    #[command(flatten)]
    /// Machine-readable output.
    pub json: Json,
}

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

/// `zchroot check`.
#[derive(Debug, Args)]
#[command(
    after_help = "Exits with 1 if there is an error among the findings; warnings alone are no failure."
)]
pub struct Check {
    #[command(flatten)]
    /// Machine-readable output.
    pub json: Json,
}

/// Parses the process's own words. `Err` is the status to end with: help was asked for, or usage is wrong.
pub(super) fn parse() -> Result<Cli, Status> {
    let mut words = std::env::args_os().peekable();
    if words.peek().is_none() {
        // An empty argv is somebody's attack (CVE-2021-4034), not a call.
        return Err(Status::Usage);
    }
    Cli::try_parse_from(words).map_err(|error| {
        let usage = error.use_stderr();
        // To a closed pipe the text is lost, the status is not.
        let _ = error.print();
        if usage { Status::Usage } else { Status::Ok }
    })
}

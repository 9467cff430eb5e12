//! The command line: every command, option and help text.

mod adopt;
mod image;
mod look;
mod room;
mod source;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use adopt::Adopt;
pub(super) use image::{Image, ImageCommand, ImageImport, ImageList, ImageRemove};
pub(super) use look::{Diff, SourceRebase, Verify};
use room::quota;
pub(super) use room::{Gc, Reserve, ReserveStep};
pub(super) use source::{Source, SourceAbort, SourceBegin, SourceCommit, SourceExec, SourceStep};

use super::Status;
use crate::source::{SpecError, VersionSpec};
use crate::store::{NameError, SessionId, TemplateName};
use crate::template::{Period, Size};

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
    /// Make a template of a chroot that schroot.conf defines
    Adopt(Adopt),
    /// List templates and sessions
    List(List),
    /// Show one template or session
    Info(Info),
    /// Show the versions of a template
    History(History),
    /// Show what differs between two versions, or between a session and its base
    Diff(Diff),
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
    /// Make an older version current again, as a new version
    Rollback(Rollback),
    /// Keep a version for good
    Pin(Pin),
    /// Let a pinned version go when nothing else keeps it
    Unpin(Unpin),
    /// Change a template in steps
    Source(Source),
    /// Check that versions still are what was committed
    Verify(Verify),
    /// Bring every session to ready or ended after a crash or a reboot
    Recover(Recover),
    /// Reclaim what nothing refers to
    Gc(Gc),
    /// Show, give up or lay the room that is kept back for clearing up
    Reserve(Reserve),
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
Example:  zchroot init --pool tank      writes store = \"zfs\" to zchroot.toml unless that decides already")]
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
    #[arg(short, long, value_name = "TEXT", value_parser = message)]
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
#[command(
    after_help = "Newest first. DELTA is how much more (or less) it holds than the version it was made from. KEPT says why its \
tree is still there: current, pinned, sessions, within keep or keep-for of the template; being settled: nothing keeps \
it, the next commit or gc drops it; gone: only this line of it is left.\n\
Examples: zchroot history sid\n          \
zchroot history sid --at '2026-11-20 14:00'      what was current then\n          \
zchroot run sid --at 7 -- gcc --version          generation 7, if it is not gone"
)]
pub struct History {
    /// The template, by name or alias
    pub template: TemplateName,
    /// Show only this version: a generation, a name or its beginning, a time
    #[arg(long, value_name = "VERSION")]
    pub at: Option<VersionSpec>,
    #[command(flatten)]
    /// Machine-readable output.
    pub json: Json,
}

/// How a command is run inside.
#[derive(Debug, Clone, Default, Args)]
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

impl Inside {
    /// Nothing but no network.
    pub fn without_network() -> Self {
        Self { net: Some(Net::None), ..Self::default() }
    }
}

/// `zchroot run`.
#[derive(Debug, Args)]
#[command(
    after_help = "The exit status is the command's; 128+n if signal n killed it; 127 if it was not found, \
126 if it could not be executed, 125 if zchroot failed.\n\
Examples: zchroot run sid                                 a login shell\n          \
zchroot run sid -u root -d / -- apt-get -s upgrade\n          \
zchroot run sid --net none -- make check          no network but lo\n          \
zchroot run sid --at yesterday -- make check      in what was current then\n          \
zchroot run --image sid.sqsh -- cat /etc/os-release   straight from an archive\n\n\
VERSION is a generation (7), a version's name or its beginning, a time (2026-11-20, '2026-11-20 14:00', yesterday), \
a time ago (3d, 12h), current or previous; zchroot history shows what there is."
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
    /// Begin from this version, not from the current one: a generation, a name or its beginning, a time
    #[arg(long, value_name = "VERSION")]
    pub at: Option<VersionSpec>,
    /// Let the session write at most so much: bytes, or with K, M, G or T; never more than the template says
    #[arg(long, value_name = "SIZE", value_parser = quota)]
    pub quota: Option<Size>,
    /// The command and its arguments; a login shell if there is none
    #[arg(last = true, value_name = "CMD")]
    pub command: Vec<OsString>,
}

/// `zchroot begin`.
#[derive(Debug, Args)]
#[command(after_help = "Prints the session's name on stdout, nothing else.\n\
Examples: s=$(zchroot begin sid); zchroot exec $s -- make; zchroot end $s\n          \
zchroot begin sid -n then --at '2026-11-20 14:00'      from what was current then")]
pub struct Begin {
    /// The template, by name or alias
    pub template: TemplateName,
    /// The session's name; one is made if not given
    #[arg(short, long, value_name = "NAME")]
    pub name: Option<SessionId>,
    /// Begin from this version, not from the current one: a generation, a name or its beginning, a time
    #[arg(long, value_name = "VERSION")]
    pub at: Option<VersionSpec>,
    /// Let the session write at most so much: bytes, or with K, M, G or T; never more than the template says
    #[arg(long, value_name = "SIZE", value_parser = quota)]
    pub quota: Option<Size>,
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
zchroot update sid            a root shell; `exit 0` commits, `exit 1` aborts\n          \
zchroot update sid --if-older 7d -- apt-get -y dist-upgrade      for a timer: at most once a week\n          \
zchroot update sid --test 'gcc --version && make -C /usr/src/selftest' -- apt-get -y install gcc"
)]
pub struct Update {
    /// The template, by name or alias
    pub template: TemplateName,
    /// What the history says of the version
    #[arg(short, long, value_name = "TEXT", value_parser = message)]
    pub message: Option<String>,
    /// Keep the session when the command fails
    #[arg(long)]
    pub keep: bool,
    /// Run `sh -c CMD` as root in a session on a clone of the result, and abort if it fails
    #[arg(long, value_name = "CMD")]
    pub test: Option<OsString>,
    /// Do nothing if the current version is not older than so many s, m, h or d
    #[arg(long, value_name = "AGE")]
    pub if_older: Option<Period>,
    /// The command and its arguments; a root shell if there is none
    #[arg(last = true, value_name = "CMD")]
    pub command: Vec<OsString>,
}

/// `zchroot rollback`.
#[derive(Debug, Args)]
#[command(
    after_help = "The new version has the tree of the older one; the history only grows, and a rollback can be rolled back.\n\
VERSION is a generation (7), a version's name or its beginning, a time (2026-11-20, '2026-11-20 14:00', yesterday), \
a time ago (3d, 12h) or previous.\n\
Nobody's session changes; new ones get the older tree. Who may: [source] in zchroot-templates(5).\n\
Examples: zchroot rollback sid -m 'gcc 15.2 miscompiles'      the version before the current one\n          \
zchroot rollback sid 7                                generation 7"
)]
pub struct Rollback {
    /// The template, by name or alias
    pub template: TemplateName,
    /// The version to go back to
    #[arg(default_value = "previous", hide_default_value = true)]
    pub version: VersionSpec,
    /// What the history says of it; the generation that it goes back to, if not given
    #[arg(short, long, value_name = "TEXT", value_parser = message)]
    pub message: Option<String>,
    #[command(flatten)]
    /// Machine-readable output.
    pub json: Json,
}

/// `zchroot pin`.
#[derive(Debug, Args)]
#[command(
    after_help = "A pinned version is never settled, swept or collected, whatever the template's keep and keep-for say.\n\
VERSION is TEMPLATE@VERSION, where VERSION is a generation (7), a name or its beginning, a time, current or previous; or a \
version's name alone.\n\
Examples: zchroot pin sid@7 -m 'release 4.2 was built with it'\n          \
zchroot pin 20261121-094124-123-x7k2"
)]
pub struct Pin {
    /// The version
    pub version: VersionName,
    /// What the history says of the pin
    #[arg(short, long, value_name = "WHY", value_parser = message)]
    pub message: Option<String>,
    #[command(flatten)]
    /// Machine-readable output.
    pub json: Json,
}

/// `zchroot unpin`.
#[derive(Debug, Args)]
#[command(
    after_help = "The version stays as long as the template's keep and keep-for and its sessions keep it.\n\
Example:  zchroot unpin sid@7"
)]
pub struct Unpin {
    /// The version, as for zchroot pin
    pub version: VersionName,
    #[command(flatten)]
    /// Machine-readable output.
    pub json: Json,
}

/// A version of a template that is named, or of the one that has it.
#[derive(Debug, Clone)]
pub struct VersionName {
    /// The template, by name or alias, if it is named.
    pub template: Option<TemplateName>,
    /// Which of its versions.
    pub version: VersionSpec,
}

impl std::str::FromStr for VersionName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (template, version) = match text.split_once('@') {
            Some((template, version)) => {
                (Some(template.parse().map_err(|error: NameError| error.to_string())?), version)
            }
            None => (None, text),
        };
        let version: VersionSpec = version.parse().map_err(|error: SpecError| error.to_string())?;
        if template.is_none() && !version.is_name() {
            return Err(format!("which template's? Write TEMPLATE@{text}"));
        }
        Ok(Self { template, version })
    }
}

/// The longest text that a history keeps: a file with more in it would not be read again.
const LONGEST_MESSAGE: usize = 4096;

/// Text for the history.
fn message(text: &str) -> Result<String, String> {
    if text.len() > LONGEST_MESSAGE {
        return Err(format!("it is longer than {LONGEST_MESSAGE} bytes"));
    }
    Ok(text.to_owned())
}

/// `zchroot recover`.
#[derive(Debug, Args)]
#[command(after_help = "Safe at any time, also while sessions run; run it once at boot.")]
pub struct Recover {
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

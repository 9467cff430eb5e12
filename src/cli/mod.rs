//! zchroot's own commands, one file each; printing; exit statuses.
//!
//! The story of every call: harden the process, parse the words (without privilege), open the installation,
//! run the command, print its error.

mod admit;
pub(crate) mod args;
mod check;
pub(crate) mod context;
pub(crate) mod create;
mod diff;
mod end;
pub(crate) mod error;
mod exec;
pub(crate) mod exit;
mod gc;
mod history;
mod image;
mod info;
mod init;
mod list;
pub(crate) mod output;
mod pin;
pub(crate) mod policy;
mod progress;
mod rebased;
mod recover;
mod reserve;
mod rollback;
mod room;
pub(crate) mod run;
pub(crate) mod source;
mod update;
mod verify;

use std::process::ExitCode;

pub(crate) use args::Globals;
pub use args::{Cli, Command};
pub use error::Error;
pub use exit::Status;

use crate::sys::{log, startup};
use context::Context;

/// The one command that knows schroot's configuration, whose room stands on this one.
pub(crate) type RunAdopt = fn(&args::Adopt, &Context) -> Result<Status, Error>;

/// Runs the program.
#[must_use]
pub(crate) fn main(adopt: RunAdopt) -> ExitCode {
    let process = match startup::harden() {
        Ok(process) => process,
        Err(error) => return end(Err(Error::new(Status::Failed, error))),
    };
    let cli = match args::parse() {
        Ok(cli) => cli,
        Err(status) => return status.into(),
    };
    log::init(cli.globals.verbose);
    end(Context::open(process, cli.globals).and_then(|context| dispatch(cli.command, &context, adopt)))
}

fn dispatch(command: Command, context: &Context, adopt: RunAdopt) -> Result<Status, Error> {
    match command {
        Command::Init(args) => init::run(&args, context),
        Command::Create(args) => create::run(&args, context),
        Command::Adopt(args) => adopt(&args, context),
        Command::List(args) => list::run(&args, context),
        Command::Info(args) => info::run(&args, context),
        Command::History(args) => history::run(&args, context),
        Command::Diff(args) => diff::run(&args, context),
        Command::Run(args) => run::run(&args, context),
        Command::Begin(args) => exec::begin(&args, context),
        Command::Exec(args) => exec::run(&args, context),
        Command::End(args) => end::run(&args, context),
        Command::Image(args) => admit::image(&args, context),
        Command::Update(args) => update::run(&args, context),
        Command::Rollback(args) => rollback::run(&args, context),
        Command::Pin(args) => pin::pin(&args, context),
        Command::Unpin(args) => pin::unpin(&args, context),
        Command::Source(args) => source::run(&args, context),
        Command::Verify(args) => verify::run(&args, context),
        Command::Recover(args) => recover::run(&args, context),
        Command::Gc(args) => gc::run(&args, context),
        Command::Reserve(args) => reserve::run(&args, context),
        Command::Check(args) => check::run(&args, context),
    }
}

fn end(result: Result<Status, Error>) -> ExitCode {
    match result {
        Ok(status) => status.into(),
        Err(error) => {
            error.print();
            error.status().into()
        }
    }
}

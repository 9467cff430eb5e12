//! The project's own tools: `cargo xtask help`.
//!
//! One file (or folder) for each command. They run as the developer, never with more rights than that, except where
//! a step says that it calls `sudo apt-get`.

mod bench;
mod completions;
mod crash;
mod debian;
mod demo;
mod dist;
mod man;
mod mutate;
mod program;
mod recipe;
mod test;
mod vm;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "The project's own tools", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build and use the virtual machines that have ZFS
    #[command(subcommand)]
    Vm(vm::cli::Command),
    Test(test::Args),
    Mutate(mutate::Args),
    Demo(demo::Args),
    Recipe(recipe::Args),
    Man(man::Args),
    Bench(bench::Args),
    Dist(dist::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = program::catch_signals().and_then(|()| match cli.command {
        Command::Vm(command) => vm::cli::run(command),
        Command::Test(args) => test::run(&args),
        Command::Mutate(args) => mutate::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Recipe(args) => recipe::run(&args),
        Command::Man(args) => man::run(&args).map(|()| 0),
        Command::Bench(args) => bench::run(&args).map(|()| 0),
        Command::Dist(args) => dist::run(&args).map(|()| 0),
    });
    match result {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

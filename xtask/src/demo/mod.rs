//! `cargo xtask demo`: the main job on a real Debian tree, for a newcomer to watch, and for the gate to check.
//!
//! There is one story, `demo/story.sh`. [`host`] runs it on this host, with the store in directories below
//! `target/demo`; [`machine`] runs it as the job of a machine, with the store on a real pool. A [`Stage`] is what differs.

mod host;
mod machine;

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::debian::sources::{self, Source};
use crate::debian::{self, libzfs};
use crate::program::{self, step};
use crate::vm::Machine;

const STORY: &str = include_str!("../../demo/story.sh");
/// Debian's release in the demonstration.
const SUITE: &str = "trixie";
/// A package that needs nothing but libc.
const PACKAGE: &str = "hello";
/// Packages of a larger Debian.
const MORE: &str = "less,nano";

/// Show the main job on a real Debian tree: sessions, an update, nothing left over
///
/// Without --zfs on this host as root, with the trees in directories below target/demo, over the network; with --zfs on
/// a pool in a virtual machine, which needs neither root nor a network.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Keep trees on ZFS, in a virtual machine
    #[arg(long)]
    zfs: bool,
    /// Which machine
    #[arg(long, value_enum, default_value = "uml", requires = "zfs")]
    machine: Machine,
    /// Leave the store standing, and say how to go on with it and how to remove it
    #[arg(long, conflicts_with = "zfs")]
    keep: bool,
}

/// Runs the story and gives 0 if everything was as it says.
///
/// # Errors
/// When the program or the machine cannot be built, or there is no tree. What the story finds wrong is a status.
pub fn run(args: &Args) -> Result<u8> {
    if args.zfs { on_zfs(args.machine) } else { host::run(args.keep) }
}

/// The story on this host; nothing stays.
pub fn on_host() -> Result<u8> {
    host::run(false)
}

/// The story in a machine.
pub fn on_zfs(machine: Machine) -> Result<u8> {
    machine::run(machine)
}

/// Where Debian comes from: the host's mirror.
///
/// # Errors
/// When there is no keyring with the keys of our release, and none can be installed.
pub fn source() -> Result<Source> {
    Ok(Source {
        uri: sources::debian_mirror(),
        suite: SUITE.to_owned(),
        components: vec!["main".to_owned()],
        signed_by: Some(debian::keyring(SUITE)?.display().to_string()),
    })
}

/// The directory with `tree.tar`, a small Debian, which is made first if need be.
pub fn tree() -> Result<PathBuf> {
    machine::tree().ensure()
}

/// The directory with `tree.tar`, a Debian of the same release with some packages more, made by another run.
///
/// # Errors
/// When it cannot be made.
pub fn larger_tree() -> Result<PathBuf> {
    machine::larger_tree().ensure()
}

/// What the story is told with.
struct Stage<'a> {
    program: &'a str,
    /// `dir` or `zfs`.
    store: &'a str,
    pool: &'a str,
    from: &'a str,
    install: &'a str,
    /// Configuration and state lie here; empty for the root of the file system.
    root: &'a str,
    work: &'a str,
}

impl Stage<'_> {
    /// The whole script.
    fn script(&self) -> String {
        let options =
            if self.root.is_empty() { String::new() } else { format!("--root {}", quoted(self.root)) };
        let variables = [
            ("ZCHROOT", self.program),
            ("STORE", self.store),
            ("POOL", self.pool),
            ("FROM", self.from),
            ("INSTALL", self.install),
            ("ROOT", self.root),
            ("WORK", self.work),
        ];
        let mut script = format!("PREFIX=({options})\n");
        for (name, value) in variables {
            script.push_str(&format!("{name}={}\n", quoted(value)));
        }
        script + STORY
    }
}

/// A word as the shell takes it for itself.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Builds the program. The development profile: it is built already where somebody works on it, and nothing in the story
/// waits for it rather than for a disk.
///
/// # Errors
/// It does not build, or cannot be copied.
pub fn build(features: &[&str], environment: Vec<(&'static str, std::ffi::OsString)>) -> Result<PathBuf> {
    let target = libzfs::target_dir();
    step(format!("building zchroot {}", features.join(" ")).trim_end());
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "--package", "zchroot", "--bin", "zchroot"]).args(features);
    cargo.current_dir(libzfs::workspace()).env("CARGO_TARGET_DIR", &target).envs(environment);
    std::fs::create_dir_all(target.join("demo"))?;
    program::logged(&mut cargo, &target.join("demo/build.log"))?;
    // The next build puts another program there.
    let copy = target.join("demo/zchroot");
    std::fs::copy(target.join("debug/zchroot"), &copy)?;
    Ok(copy)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage<'a>(root: &'a str, install: &'a str) -> Stage<'a> {
        Stage { program: "/z", store: "dir", pool: "", from: "f", install, root, work: "/w" }
    }

    #[test]
    fn what_differs_reaches_the_story_as_it_is() {
        let nasty = "it's $HOME `id` \\ \"x\"";
        let script =
            stage("/a b", nasty).script().replace(STORY, "printf '%s|' \"${PREFIX[@]}\" \"$INSTALL\"");
        let output = program::output(Command::new("bash").arg("-c").arg(script)).unwrap();
        assert_eq!(output, format!("--root|/a b|{nasty}|"));
    }

    #[test]
    fn without_a_root_there_is_no_option() {
        let script = stage("", "x").script().replace(STORY, "echo ${#PREFIX[@]}");
        assert_eq!(program::output(Command::new("bash").arg("-c").arg(script)).unwrap(), "0\n");
    }

    #[test]
    fn the_story_is_a_script_that_bash_can_read() {
        program::output(Command::new("bash").args(["-n", "-c", STORY])).unwrap();
    }
}

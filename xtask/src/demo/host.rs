//! The story on this host: a store in directories, in a fresh root below `target/demo`.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{PACKAGE, SUITE, Stage, build};
use crate::debian::{self, libzfs, sources};
use crate::program::{self, step};

/// apt asks nothing, there is nobody to answer.
const QUIET: &str = "DEBIAN_FRONTEND=noninteractive";
/// What is mounted below the root goes first; then the root, unless something is mounted there still.
const REMOVE: &str = r#"
set -eu
awk -v at="$1/" 'index($5, at) == 1 { print $5 }' /proc/self/mountinfo | tac | while read -r mount; do
    umount -l -- "$(printf %b "$mount")"
done
rm -rf --one-file-system -- "$1" "$2"
"#;

/// Runs it and gives its status.
///
/// # Errors
/// When we cannot be root, or the program does not build.
pub fn run(keep: bool) -> Result<u8> {
    debian::ensure_packages(&["mmdebstrap"])?;
    debian::keyring(SUITE)?;
    // Without libzfs there is one thing less that a newcomer has to have.
    let program = build(&["--no-default-features"], Vec::new())?;
    let dir = libzfs::target_dir().join("demo");
    let (root, work) = (dir.join("root"), dir.join("work"));
    let _lock = program::lock(&dir.join("lock"), "demo")?;
    remove(&root, &work)?;
    make_root(&root)?;
    let told = tell(&program, &root, &work);
    if keep && told.as_ref().is_ok_and(|status| *status == 0) {
        say_how_to_go_on(&program, &root);
        return told;
    }
    remove(&root, &work).context("remove what the demo made")?;
    if matches!(told, Ok(0)) {
        say_how_to_begin();
    }
    told
}

fn tell(program: &Path, root: &Path, work: &Path) -> Result<u8> {
    let text = |path: &Path| {
        path.to_str().map(str::to_owned).with_context(|| format!("{} is no UTF-8", path.display()))
    };
    let (program, root, work) = (text(program)?, text(root)?, text(work)?);
    let stage = Stage {
        program: &program,
        store: "dir",
        pool: "",
        from: &format!("bootstrap:{SUITE},minbase,{}", sources::debian_mirror()),
        install: &format!(
            "{QUIET} apt-get -q update && {QUIET} apt-get -qqy -o Dpkg::Use-Pty=0 install {PACKAGE}"
        ),
        root: &root,
        work: &work,
    };
    let script = libzfs::target_dir().join("demo/story.sh");
    fs::write(&script, stage.script())?;
    step("the story begins; the first tree takes about a minute");
    let status = program::shown(as_root("bash")?.arg(&script))?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

/// The root belongs to root: the program trusts nobody else's configuration.
fn make_root(root: &Path) -> Result<()> {
    program::output(as_root("install")?.args(["-d", "-m", "755", "-o", "root", "-g", "root"]).arg(root))
        .map(drop)
}

fn remove(root: &Path, work: &Path) -> Result<()> {
    program::output(as_root("sh")?.args(["-c", REMOVE, "sh"]).arg(root).arg(work)).map(drop)
}

/// A command as root: we are it, or ask sudo, which may ask for a password.
fn as_root(name: &str) -> Result<Command> {
    if debian::is_root() {
        return Ok(program::command(name));
    }
    let Some(sudo) = program::which("sudo") else {
        bail!("the demo on this host needs root, and there is no sudo")
    };
    let mut command = Command::new(sudo);
    command.arg(program::which(name).with_context(|| format!("there is no {name}"))?);
    Ok(command)
}

fn say_how_to_go_on(program: &Path, root: &Path) {
    let call = format!("{} --root {}", program.display(), root.display());
    println!("\nThe store is still there. Go on as root, with the template demo:");
    println!("    {call} list\n    {call} run demo -d /                 # a shell in a throw-away session");
    println!("    {call} update demo                   # a root shell; exit 0 commits, exit 1 aborts");
    println!("    {call} history demo");
    println!(
        "Remove it, with no session left in it:\n    {call} end --all && rm -rf --one-file-system {}",
        root.display()
    );
}

fn say_how_to_begin() {
    println!(
        "\nThe store of the demo is removed. To keep it and go on by hand:\n    cargo xtask demo --keep"
    );
    println!("The same on ZFS, in a virtual machine:\n    cargo xtask demo --zfs\n    cargo xtask vm shell");
}

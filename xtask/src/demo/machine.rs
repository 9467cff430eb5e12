//! The story in a machine: a store on a real pool. The guest has no network, so the tree comes as a tar archive that
//! mmdebstrap made on the host, and the package as a file; both are kept with the machines.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;

use super::{MORE, PACKAGE, SUITE, Stage, build};
use crate::debian::archive::Archive;
use crate::debian::sources::Source;
use crate::debian::{bootstrap, libzfs};
use crate::program::step;
use crate::vm::cache::Layer;
use crate::vm::{self, Job, Machine};

/// Where the package lies in the tree.
const PLACE: &str = "/root/package.deb";
const POOL: &str = "tank";
const LIMIT: Duration = Duration::from_secs(1500);
/// Before the story. The kernel keeps its remarks to itself, unless it panics.
const SET_UP: &str = "\
set -e\n\
echo 1 >/proc/sys/kernel/printk\n\
truncate -s 6G /scratch/tank.img\n\
zpool create -O mountpoint=none tank /scratch/tank.img\n\
set +e\n";

/// Runs it and gives its status.
///
/// # Errors
/// When the program, the tree or the machine cannot be made.
pub fn run(machine: Machine) -> Result<u8> {
    let tree = tree().ensure()?;
    let program = build(&[], libzfs::provide()?)?;
    let stage = Stage {
        program: "/in/zchroot",
        store: "zfs",
        pool: POOL,
        from: "/in/tree.tar",
        install: &format!("dpkg --install {PLACE}"),
        root: "",
        work: "/scratch/demo",
    };
    let results = libzfs::target_dir().join("vm").join(format!("demo-{}", machine.name()));
    let mut job = Job::new(format!("{SET_UP}{}", stage.script()), results);
    job.timeout = LIMIT;
    job.files_in =
        vec![(program, PathBuf::from("zchroot")), (tree.join("tree.tar"), PathBuf::from("tree.tar"))];
    step(format!("the story begins, in the {} machine", machine.name()));
    let status = vm::run(machine, &job)?;
    if status == 0 {
        println!(
            "\nThe machine is gone, and the pool with it. Another one, with a shell:\n    cargo xtask vm shell"
        );
    }
    Ok(vm::cli::exit_status(status))
}

/// The tree, with the package lying in it, not yet installed.
pub fn tree() -> Layer {
    Layer::new("demo", &[SUITE, PACKAGE, PLACE], |work| {
        let source = super::source()?;
        let archive = Archive::open(&work.join("apt"), std::slice::from_ref(&source))?;
        let deb = archive.download(PACKAGE, &archive.newest(PACKAGE, SUITE)?, work)?;
        step(format!("Debian {SUITE} by mmdebstrap (about a minute)"));
        let upload = format!("--customize-hook=upload {} {PLACE}", deb.display());
        bootstrap(work, &source, &upload)?;
        Ok(std::fs::remove_dir_all(work.join("apt"))?)
    })
}

/// The same with some packages more, by a run of its own.
pub fn larger_tree() -> Layer {
    Layer::new("demo-larger", &[SUITE, MORE], |work| {
        step(format!("Debian {SUITE} with {MORE} by mmdebstrap (about a minute)"));
        bootstrap(work, &super::source()?, &format!("--include={MORE}"))
    })
}

fn bootstrap(work: &Path, source: &Source, more: &str) -> Result<()> {
    bootstrap::run(work, source, &["--variant=minbase", more], "tree.tar")
}

//! `zchroot image import` on this host, against what unpacks the same archive to the same file system.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::host::{HOST, as_root, file_system};
use super::memory::{self, Peak};
use super::samples::{Samples, Spread};
use super::table::{NO_PROFILE, Target};
use super::{Lane, build, results_dir, script, text, work_dir};
use crate::debian::{self, libzfs};
use crate::program::{self, step};

pub const STAGE: &str = include_str!("../../bench/import.sh");
/// One run takes seconds, and there are thirty cases.
pub const MOST_ROUNDS: u32 = 6;
const TARGETS: [Target; 8] = [
    target("import-tar", "tar"),
    target("import-targz", "tar"),
    target("import-tarzst", "tar"),
    target("import-squashfs", "unsquashfs"),
    target("again-xfs-tar", "tar"),
    target("again-xfs-squashfs", "unsquashfs"),
    target("again-btrfs-tar", "tar"),
    target("again-btrfs-squashfs", "unsquashfs"),
];
const MOST_MEMORY: u64 = 200 << 20;

pub const fn target(operation: &'static str, other: &'static str) -> Target {
    Target { operation, profile: NO_PROFILE, other, at_most: 1.0 / 1.3, aim: 1.0 }
}

/// Measures.
///
/// # Errors
/// When we cannot be root, the program does not build, or a case fails.
pub fn measure(tree: &Path, runs: u32) -> Result<Lane> {
    let programs = ["hyperfine", "squashfs-tools", "umoci", "zstd", "xfsprogs", "btrfs-progs"];
    debian::ensure_packages(&programs)?;
    build(&["--bin", "zchroot"])?;
    let work = work_dir()?;
    let _lock = program::lock(&work.join("lock"), "bench")?;
    let program = work.join("zchroot");
    std::fs::copy(libzfs::target_dir().join("release/zchroot"), &program)?;
    let results = results_dir("import")?;
    let rounds = runs.min(MOST_ROUNDS);
    let script = script(
        &[
            ("WORK", text(&work.join("trees"))?),
            ("RESULTS", text(&results)?),
            ("ZCHROOT", text(&program)?),
            ("TREE", text(tree)?),
            ("RUNS", "1"),
            ("ROUNDS", &rounds.to_string()),
        ],
        &format!("{HOST}\n{STAGE}"),
    )?;
    let file = work.join("import.sh");
    std::fs::write(&file, script)?;
    step(format!("{rounds} rounds with each case, on this host"));
    let status = program::shown(as_root("bash")?.arg(&file))?;
    if !status.success() {
        bail!("measuring: {status} (see {})", results.display());
    }
    let peaks = [memory::measure(&program, &work)?, memory::measure_sharing(&program, &work)?];
    Ok(Lane {
        name: "import",
        about: about(rounds, &results)?,
        targets: &TARGETS,
        samples: Samples::read(&results)?,
        more: about_memory(&peaks),
    })
}

fn about(rounds: u32, results: &Path) -> Result<String> {
    let load = std::fs::read_to_string(results.join("load")).context("read what the load was")?;
    let load = load.lines().filter_map(|line| line.split(' ').next()?.parse().ok());
    let load = Spread::of(load).context("the load was not written down")?;
    let line = |command: &mut Command| -> Result<String> {
        Ok(program::output(command)?.lines().next().unwrap_or_default().trim().to_owned())
    };
    let versions = ["squashfs-tools", "umoci"].map(|name| {
        let version = line(Command::new("dpkg-query").args(["-W", "-f=${Version}", name]));
        format!("{name} {}", version.unwrap_or_else(|_| "?".to_owned()))
    });
    Ok(format!(
        "## Imports, on a host\n\n{}, Linux {}, {} CPUs, load {:.1} to {:.1} over the run, {}, {}, {}, {}. {rounds} runs of each \
         case.\n\n\
         A Debian tree (minbase), packed by GNU tar, mksquashfs (gzip) and umoci, unpacked by `zchroot image import` (release \
         build) and by the program that is there for it, to the same file system, in turns, with priority over whatever else \
         runs (nice -15). The archive is in memory. zchroot \
         does more: it reads the archive twice, once for its SHA-256, by which the image is called; of container images it \
         checks the digest of each layer, packed and unpacked; it unpacks in a confined child; and it ends when the image is on \
         the disk (syncfs, the record fsynced). The others end when all is in memory, so they stand there a second time with \
         `sync -f` after them. unsquashfs has a thread for each CPU, the others have one (and a process that decompresses).\n\n\
         A second image that shares most files: the tree some time later, in a store of its own on XFS and on btrfs (loop devices \
         on files) that has the first one. {}",
        line(Command::new("date").args(["-u", "+%Y-%m-%d"]))?,
        line(Command::new("uname").arg("-rm"))?,
        std::thread::available_parallelism()?,
        load.min,
        load.max,
        file_system(&work_dir()?)?,
        line(Command::new("tar").arg("--version"))?,
        versions.join(", "),
        line(program::command("hyperfine").arg("--version"))?,
        about_sharing(results)?,
    ))
}

/// What the reader must know of second images.
///
/// # Errors
/// When it was not written down what was shared.
pub fn about_sharing(results: &Path) -> Result<String> {
    let shared = std::fs::read_to_string(results.join("shared")).context("read what was shared")?;
    let shared = shared_in(&shared).context("nothing was shared")?;
    Ok(format!(
        "zchroot clones each file that it has and reads all of it to compare it with the archive ({shared}), and ends when all is \
         on the disk; the others write everything, to memory. The floor is what cloning all files of the first tree and reading \
         them back takes when it is done one after the other, without an archive: cp -a --reflink=always, and cat of what is \
         larger than 3.5 KiB.\n"
    ))
}

/// `13.2 MiB of 20 MiB shared`, as the program said it of its first such import.
fn shared_in(text: &str) -> Option<String> {
    let line = text.lines().find(|line| line.contains(" shared with other images"))?;
    let (said, _) = line.split_once(" with other images")?;
    Some(said.rsplit_once("unpacked, ").map_or(said, |(_, said)| said).to_owned())
}

fn about_memory([peak, sharing]: &[Peak; 2]) -> String {
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    format!(
        "{}\nWith another image in the store, on XFS, and {} files of 4 KiB in each, a tenth of them the same: {:.0} s, {} processes, {:.1} MiB \
         together, at most {:.0} MiB: {}; {:.0} MiB were shared.\n",
        about_one(peak),
        sharing.files,
        sharing.seconds,
        sharing.processes,
        mib(sharing.bytes),
        mib(MOST_MEMORY),
        verdict(sharing),
        mib(sharing.shared),
    )
}

fn verdict(peak: &Peak) -> &'static str {
    if peak.bytes <= MOST_MEMORY { "met" } else { "**missed**" }
}

fn about_one(peak: &Peak) -> String {
    let verdict = verdict(peak);
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    format!(
        "\nMemory: an archive of {} files in {} directories (tar, zstd, made as a stream) was imported in {:.0} s. The peaks \
         (VmHWM) of its {} processes are {:.1} MiB together, at most {:.0} MiB were aimed at: {verdict}.\n",
        peak.files,
        peak.directories,
        peak.seconds,
        peak.processes,
        mib(peak.bytes),
        mib(MOST_MEMORY),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_shared_is_read_from_what_the_program_says() {
        let text = "0a1b2c: unpacked, 13.20 MiB of 20.00 MiB shared with other images\nmore";
        assert_eq!(shared_in(text).as_deref(), Some("13.20 MiB of 20.00 MiB shared"));
        assert_eq!(shared_in("0a1b2c: unpacked, 20.00 MiB"), None);
    }

    #[test]
    fn the_memory_has_a_verdict() {
        let peak =
            |bytes| Peak { files: 10, directories: 1, seconds: 2.0, processes: 2, bytes, shared: 9 << 20 };
        let about = |one, other| about_memory(&[peak(one), peak(other)]);
        assert!(about(13 << 20, 0).contains("are 13.0 MiB together"));
        assert!(about(0, 14 << 20).contains("2 processes, 14.0 MiB together"));
        assert_eq!(about(MOST_MEMORY, MOST_MEMORY).matches(": met").count(), 2);
        assert!(about(MOST_MEMORY + 1, 0).contains(": **missed**"));
        assert!(about(0, MOST_MEMORY + 1).contains(": **missed**; 9 MiB were shared"));
    }
}

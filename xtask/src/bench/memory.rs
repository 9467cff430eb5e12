//! How much memory an import takes: the peaks of all processes of one call, added up.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::host::as_root;
use crate::program::{self, step};

const FILES: u64 = 1_000_000;
const FILES_OF_A_DIRECTORY: u64 = 500;
/// A peak is kept by the kernel: what is missed is the last moment of a process only.
const LOOK: Duration = Duration::from_millis(20);

/// What an import took.
pub struct Peak {
    pub files: u64,
    pub directories: u64,
    pub seconds: f64,
    pub processes: usize,
    /// The sum of the peaks, so no less than the peak of the sum.
    pub bytes: u64,
}

/// Imports a million files into a store below `work`, which is removed.
///
/// # Errors
/// When the archive cannot be made, or the import fails.
pub fn measure(program: &Path, work: &Path) -> Result<Peak> {
    let (archive, root) = (work.join("million.tar.zst"), work.join("million"));
    step(format!("an archive of {FILES} files"));
    pack(File::create(&archive)?, FILES).with_context(|| format!("write {}", archive.display()))?;
    let remove = || program::output(as_root("rm")?.args(["-rf", "--one-file-system", "--"]).arg(&root));
    remove()?;
    program::output(as_root("install")?.args(["-d", "-m", "755", "-o", "root", "-g", "root"]).arg(&root))?;
    let zchroot = |words: &[&str]| -> Result<_> {
        let mut command = as_root(super::text(program)?)?;
        command.arg("--root").arg(&root).arg("-q").args(words);
        Ok(command)
    };
    program::output(&mut zchroot(&["init"])?)?;
    step("its import");
    let peak = watched(&mut zchroot(&["image", "import", super::text(&archive)?])?);
    step("what it made is removed");
    let mounts = root.join("run/zchroot/mount");
    program::output(as_root("umount")?.arg(&mounts))?;
    remove()?;
    std::fs::remove_file(&archive)?;
    peak
}

/// Runs it to its end, and looks at it and all its children meanwhile.
fn watched(command: &mut std::process::Command) -> Result<Peak> {
    let begun = Instant::now();
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().context("start an import")?;
    let mut peaks = BTreeMap::new();
    let status = loop {
        look(child.id(), &mut peaks);
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if let Err(error) = program::check_interrupt() {
            end(child);
            return Err(error);
        }
        std::thread::sleep(LOOK);
    };
    if !status.success() {
        bail!("an import of many files: {status}");
    }
    Ok(Peak {
        files: FILES,
        directories: FILES / FILES_OF_A_DIRECTORY,
        seconds: begun.elapsed().as_secs_f64(),
        processes: peaks.len(),
        bytes: peaks.values().sum(),
    })
}

fn end(mut child: Child) {
    let _ = std::process::Command::new("kill").arg(child.id().to_string()).status();
    let _ = child.wait();
}

/// The peak so far of a process and of all below it.
fn look(pid: u32, peaks: &mut BTreeMap<u32, u64>) {
    let read = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    if let Some(peak) = peak_in(&read("status")) {
        peaks.insert(pid, peak);
    }
    let children = read(&format!("task/{pid}/children"));
    for child in children.split_whitespace().filter_map(|child| child.parse().ok()) {
        look(child, peaks);
    }
}

/// `VmHWM: N kB`; a process that has ended has none.
fn peak_in(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib << 10)
}

/// A tar archive of so many small files, by zstd.
fn pack(into: impl Write, files: u64) -> io::Result<()> {
    let mut builder = tar::Builder::new(zstd::Encoder::new(into, 1)?);
    let mut header = tar::Header::new_ustar();
    header.set_mtime(1_700_000_000);
    for file in 0..files {
        let folder = format!("usr/{}", file / FILES_OF_A_DIRECTORY);
        if file % FILES_OF_A_DIRECTORY == 0 {
            header.set_entry_type(tar::EntryType::Directory);
            header.set_mode(0o755);
            header.set_size(0);
            builder.append_data(&mut header, format!("{folder}/"), io::empty())?;
        }
        let content = format!("{file}\n");
        header.set_entry_type(tar::EntryType::Regular);
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        builder.append_data(&mut header, format!("{folder}/{file}"), content.as_bytes())?;
    }
    builder.into_inner()?.finish()?.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_archive_has_as_many_files_as_it_should() {
        let mut bytes = Vec::new();
        pack(&mut bytes, 1_001).unwrap();
        let mut archive = tar::Archive::new(zstd::Decoder::new(&bytes[..]).unwrap());
        let kinds: Vec<bool> =
            archive.entries().unwrap().map(|entry| entry.unwrap().header().entry_type().is_file()).collect();
        assert_eq!((kinds.len(), kinds.iter().filter(|file| **file).count()), (1_004, 1_001));
    }

    #[test]
    fn the_peaks_of_a_process_and_of_its_children_are_seen() {
        assert_eq!(peak_in("Name:\tx\nVmHWM:\t    8468 kB\nVmRSS:\t 1 kB\n"), Some(8468 << 10));
        assert_eq!(peak_in("Name:\tx\nState:\tZ (zombie)\n"), None);
        let script = "head -c 20000000 /dev/zero | tail -c 19000000 >/dev/null";
        let mut command = std::process::Command::new("sh");
        let peak = watched(command.args(["-c", script])).unwrap();
        assert!(peak.processes >= 1 && peak.bytes > 1 << 20, "{} of {}", peak.bytes, peak.processes);
        assert!(watched(std::process::Command::new("sh").args(["-c", "exit 3"])).is_err());
    }
}

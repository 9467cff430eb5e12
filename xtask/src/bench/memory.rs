//! How much memory an import takes: the peaks of all processes of one call, added up.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::host::as_root;
use crate::program::{self, step};

const FILES: u64 = 1_000_000;
const FILES_OF_A_DIRECTORY: u64 = 500;
/// How long a file is whose content nobody looks at; shorter ones than 4 KiB are not looked up in other images.
const SMALL: usize = 7;
const SHARED: usize = 4096;
/// For two images of such files; what is not written takes no room.
const DISK: u64 = 24 << 30;
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
    /// Bytes that share the blocks of another image.
    pub shared: u64,
}

/// Imports a million files into a store below `work`, which is removed.
///
/// # Errors
/// When the archive cannot be made, or the import fails.
pub fn measure(program: &Path, work: &Path) -> Result<Peak> {
    let (archive, root) = (work.join("million.tar.zst"), work.join("million"));
    step(format!("an archive of {FILES} files"));
    pack(File::create(&archive)?, FILES, SMALL, 0).with_context(|| format!("write {}", archive.display()))?;
    let remove = || program::output(as_root("rm")?.args(["-rf", "--one-file-system", "--"]).arg(&root));
    remove()?;
    let store = Store::make(program, &root)?;
    step("its import");
    let peak = watched(&mut store.zchroot(&["image", "import", super::text(&archive)?])?);
    step("what it made is removed");
    program::output(as_root("umount")?.arg(root.join("run/zchroot/mount")))?;
    remove()?;
    std::fs::remove_file(&archive)?;
    peak
}

/// Imports a million files into a store on XFS that has an image with all of them already.
///
/// # Errors
/// As [`measure`]; when there is no loop device, or nothing was shared.
pub fn measure_sharing(program: &Path, work: &Path) -> Result<Peak> {
    let (disk, at) = (work.join("million.disk"), work.join("million"));
    let archives = [0, 1].map(|time| work.join(format!("million-{time}.tar.zst")));
    for (archive, time) in archives.iter().zip([0, 1]) {
        step(format!("an archive of {FILES} files of {SHARED} bytes"));
        let file = File::create(archive)?;
        pack(file, FILES, SHARED, time).with_context(|| format!("write {}", archive.display()))?;
    }
    std::fs::create_dir_all(&at)?;
    File::create(&disk)?.set_len(DISK)?;
    program::output(program::command("mkfs.xfs").args(["-q", "-f"]).arg(&disk))?;
    program::output(as_root("mount")?.args(["-o", "loop"]).arg(&disk).arg(&at))?;
    let peak = import_again(program, &at.join("root"), &archives);
    step("what they made is removed");
    program::output(as_root("umount")?.arg("-R").arg(&at))?;
    std::fs::remove_dir(&at)?;
    for file in archives.iter().chain([&disk]) {
        std::fs::remove_file(file)?;
    }
    peak
}

fn import_again(program: &Path, root: &Path, [first, second]: &[PathBuf; 2]) -> Result<Peak> {
    let store = Store::make(program, root)?;
    step("the import of the first");
    program::output(&mut store.zchroot(&["image", "import", super::text(first)?])?)?;
    step("the import of the second");
    let peak = watched(&mut store.zchroot(&["image", "import", super::text(second)?])?)?;
    let list = program::output(&mut store.zchroot(&["image", "list", "--json"])?)?;
    let list: serde_json::Value = serde_json::from_str(&list)?;
    let saved = list["images"].as_array().into_iter().flatten().filter_map(|image| image["saved"].as_u64());
    let shared = saved.max().filter(|shared| *shared > 0).context("nothing was shared")?;
    Ok(Peak { shared, ..peak })
}

/// A store that is measured.
struct Store<'a> {
    program: &'a Path,
    root: &'a Path,
}

impl<'a> Store<'a> {
    fn make(program: &'a Path, root: &'a Path) -> Result<Self> {
        let install = ["-d", "-m", "755", "-o", "root", "-g", "root"];
        program::output(as_root("install")?.args(install).arg(root))?;
        let store = Self { program, root };
        program::output(&mut store.zchroot(&["init"])?)?;
        Ok(store)
    }

    fn zchroot(&self, words: &[&str]) -> Result<Command> {
        let mut command = as_root(super::text(self.program)?)?;
        command.arg("--root").arg(self.root).arg("-q").args(words);
        Ok(command)
    }
}

/// Runs it to its end, and looks at it and all its children meanwhile.
fn watched(command: &mut Command) -> Result<Peak> {
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
        shared: 0,
    })
}

fn end(mut child: Child) {
    let _ = Command::new("kill").arg(child.id().to_string()).status();
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

/// A tar archive of so many files of a length, each with another content, by zstd. Another time makes another archive.
fn pack(into: impl Write, files: u64, length: usize, time: u64) -> io::Result<()> {
    let mut builder = tar::Builder::new(zstd::Encoder::new(into, 1)?);
    let mut header = tar::Header::new_ustar();
    header.set_mtime(1_700_000_000 + time);
    for file in 0..files {
        let folder = format!("usr/{}", file / FILES_OF_A_DIRECTORY);
        if file % FILES_OF_A_DIRECTORY == 0 {
            header.set_entry_type(tar::EntryType::Directory);
            header.set_mode(0o755);
            header.set_size(0);
            builder.append_data(&mut header, format!("{folder}/"), io::empty())?;
        }
        let mut content = format!("{file:06}\n").repeat(length.div_ceil(SMALL));
        content.truncate(length);
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
        pack(&mut bytes, 1_001, SMALL, 0).unwrap();
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
        let mut command = Command::new("sh");
        let peak = watched(command.args(["-c", script])).unwrap();
        assert!(peak.processes >= 1 && peak.bytes > 1 << 20, "{} of {}", peak.bytes, peak.processes);
        assert!(watched(Command::new("sh").args(["-c", "exit 3"])).is_err());
    }
}

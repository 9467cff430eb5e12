//! A file system on a block device, or in a file by a loop device. Which it is mount(8) finds out, as with schroot: the
//! words of `mount-options` are words for it.

use std::io;
use std::path::Path;

use rustix::fs::FileType;

use super::{distrust, failed};
use crate::store::{Error, ErrorKind, Result};
use crate::sys::mount::Inert;
use crate::sys::program::{self, HostProgram};

/// Whether there is such a device, or file.
pub(super) fn check(path: &Path, looped: bool) -> Result<()> {
    let stat = rustix::fs::stat(path).map_err(|error| failed("open", path)(error.into()))?;
    let refuse = |why| Err(Error::new(ErrorKind::Other, "use", path.display().to_string(), why));
    match (FileType::from_raw_mode(stat.st_mode), looped) {
        (FileType::BlockDevice, _) => Ok(()),
        (FileType::RegularFile, true) => distrust(stat.st_uid, stat.st_mode).map_or(Ok(()), refuse),
        (_, true) => refuse("it is no file"),
        (_, false) => refuse("it is no block device"),
    }
}

/// Mounts it. What is mounted from the same file already shares its loop device: two would write over each other.
pub(super) fn mount(path: &Path, looped: bool, options: &[String], at: &Path) -> Result<()> {
    let mut mount = HostProgram::new(program::MOUNT);
    if looped && !is_block_device(path) {
        mount = mount.args(["-o", "loop"]);
    }
    let mount = mount.args(options).arg("--").arg(path).arg(at);
    mount.run().map(drop).map_err(|error| failed("mount", path)(io::Error::other(error)))
}

/// What has no effect on what is mounted with these words. Words that let users mount take setuid bits and devices away.
pub(super) fn inert(options: &[String]) -> Inert {
    let words = words(options);
    let has = |names: &[&str]| words.iter().any(|word| names.contains(&word.as_str()));
    let for_users = has(&["user", "users", "owner", "group"]);
    Inert { setuid: for_users || has(&["nosuid"]), devices: for_users || has(&["nodev"]) }
}

/// The options in words for mount(8), one by one; words that are none of `-o` are as they are.
pub(super) fn words(options: &[String]) -> Vec<String> {
    let of_word = |word: &str| -> Vec<String> {
        let word = word.strip_prefix("--options").map_or(word, |rest| rest.trim_start_matches('='));
        let word = word.strip_prefix("-o").unwrap_or(word);
        word.split(',').map(str::to_owned).collect()
    };
    options.iter().flat_map(|word| of_word(word)).collect()
}

fn is_block_device(path: &Path) -> bool {
    rustix::fs::stat(path).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::BlockDevice)
}

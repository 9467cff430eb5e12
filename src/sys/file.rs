//! Files that the program keeps: small, root-only, replaced whole.
//!
//! Every error carries its path. Every change announces itself to [`effect`](super::effect).
//! Durability is the caller's word: [`replace`] fsyncs the file and its directory, [`replace_volatile`] does
//! not (for what a power cut may take).

#![expect(clippy::disallowed_methods, reason = "this is the wrapper that the bans point to")]

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::fd::BorrowedFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::effect;

/// A failed operation on a path.
#[derive(Debug, thiserror::Error)]
#[error("cannot {op} {}", path.display())]
pub struct Error {
    /// What was tried, as a verb: "read", "rename".
    pub op: &'static str,
    /// On what.
    pub path: PathBuf,
    /// Why it failed.
    #[source]
    pub source: io::Error,
}

impl Error {
    /// The errno, 0 if the error has none.
    #[must_use]
    pub fn errno(&self) -> i32 {
        self.source.raw_os_error().unwrap_or(0)
    }

    /// Whether the path was not there.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.source.kind() == io::ErrorKind::NotFound
    }
}

/// The result of an operation on a path.
pub type Result<T> = std::result::Result<T, Error>;

/// Gives an I/O result its operation and path.
pub fn at<T>(op: &'static str, path: &Path, result: io::Result<T>) -> Result<T> {
    result.map_err(|source| Error { op, path: path.to_owned(), source })
}

/// Reads a whole text file of at most `limit` bytes.
///
/// # Errors
/// The file is absent, unreadable, longer than `limit` or not UTF-8.
pub fn read_text(path: &Path, limit: u64) -> Result<String> {
    at("read", path, File::open(path).and_then(|file| read_limited(file, limit)))
}

/// As [`read_text`], `None` if there is no such file.
///
/// # Errors
/// As [`read_text`], but for absence.
pub fn read_text_if_there(path: &Path, limit: u64) -> Result<Option<String>> {
    absent_is_none(read_text(path, limit))
}

/// Reads at most `limit` bytes of text from an open file.
///
/// # Errors
/// The file is longer, or not UTF-8.
pub fn read_limited(file: impl Read, limit: u64) -> io::Result<String> {
    // Room for most files at once; without it the first reads are of 32 bytes.
    let mut text = String::with_capacity(4096);
    file.take(limit + 1).read_to_string(&mut text)?;
    if text.len() as u64 > limit {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("more than {limit} bytes")));
    }
    Ok(text)
}

/// Replaces `path` by `text`, durably: temp file, fsync, rename, fsync of the directory.
///
/// # Errors
/// Any step failed; `path` is then as it was, or already new.
pub fn replace(path: &Path, text: &str) -> Result<()> {
    replace_for(PUBLIC, path, text)
}

/// As [`replace`]; the file is for root alone.
///
/// # Errors
/// As [`replace`].
pub fn replace_secret(path: &Path, text: &str) -> Result<()> {
    replace_for(SECRET, path, text)
}

const PUBLIC: u32 = 0o644;
const SECRET: u32 = 0o600;

fn replace_for(mode: u32, path: &Path, text: &str) -> Result<()> {
    let temp = temp_beside(path);
    or_remove(&temp, write_temp(&temp, text, mode, true).and_then(|()| rename(&temp, path)))?;
    sync_parent(path)
}

/// As [`replace`] without the fsyncs: whole for every reader, but a power cut may take it.
///
/// # Errors
/// As [`replace`].
pub fn replace_volatile(path: &Path, text: &str) -> Result<()> {
    replace_volatile_for(PUBLIC, path, text)
}

/// As [`replace_volatile`]; the file is for root alone.
///
/// # Errors
/// As [`replace`].
pub fn replace_secret_volatile(path: &Path, text: &str) -> Result<()> {
    replace_volatile_for(SECRET, path, text)
}

fn replace_volatile_for(mode: u32, path: &Path, text: &str) -> Result<()> {
    let temp = temp_beside(path);
    or_remove(&temp, write_temp(&temp, text, mode, false).and_then(|()| exchange_or_rename(&temp, path)))
}

/// A rename over a file makes ext4 write the new one to the disk at once; an exchange leaves both in memory, where
/// most of them end.
fn exchange_or_rename(temp: &Path, path: &Path) -> Result<()> {
    match at("exchange", path, effect::point("rename").and_then(|()| exchange(temp, path))) {
        Ok(()) => remove(temp),
        Err(error) if matches!(error.errno(), libc::ENOENT | libc::EINVAL | libc::ENOSYS) => {
            rename(temp, path)
        }
        Err(error) => Err(error),
    }
}

/// As [`replace`] with what `fill` writes to the new file.
///
/// # Errors
/// Any step failed, that of `fill` among them (which is called "write"); `path` is then as it was, or already new.
pub fn replace_by<T>(path: &Path, fill: impl FnOnce(&mut File) -> io::Result<T>) -> Result<T> {
    let temp = temp_beside(path);
    let filled = effect::point("write").and_then(|()| {
        // A left-over of our own pid from before a reboot may stand here.
        let options = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temp);
        let mut file = options?;
        let value = fill(&mut file)?;
        effect::point("fsync").and_then(|()| file.sync_all())?;
        Ok(value)
    });
    let value = match at("write", &temp, filled) {
        Ok(value) => value,
        Err(error) => {
            // What went wrong first is what matters.
            let _ = remove(&temp);
            return Err(error);
        }
    };
    rename(&temp, path)?;
    sync_parent(path)?;
    Ok(value)
}

/// Opens a file to read it, `None` if there is none; a last symlink is refused.
///
/// # Errors
/// As open(2), but ENOENT.
pub fn open_if_there(path: &Path) -> Result<Option<File>> {
    let flags = libc::O_CLOEXEC | libc::O_NOFOLLOW | libc::O_NONBLOCK;
    absent_is_none(at("open", path, OpenOptions::new().read(true).custom_flags(flags).open(path)))
}

/// Makes `link` a symlink to `target`, replacing a former one at once and durably.
///
/// # Errors
/// Any step failed; `link` is then as it was, or already new.
pub fn replace_symlink(link: &Path, target: &Path) -> Result<()> {
    let temp = temp_beside(link);
    let made = effect::point("symlink").and_then(|()| symlink_afresh(target, &temp));
    or_remove(&temp, at("make symlink", &temp, made).and_then(|()| rename(&temp, link)))?;
    sync_parent(link)
}

/// The target of a symlink, `None` if there is no such file.
///
/// # Errors
/// It is not a symlink or cannot be read.
pub fn read_link_if_there(path: &Path) -> Result<Option<PathBuf>> {
    absent_is_none(at("read link", path, fs::read_link(path)))
}

/// Renames a file or directory.
///
/// # Errors
/// As rename(2).
pub fn rename(from: &Path, to: &Path) -> Result<()> {
    at("rename", from, effect::point("rename").and_then(|()| fs::rename(from, to)))
}

/// Gives an open file without a name the name `path`, which must be free.
///
/// # Errors
/// As linkat(2).
pub fn link_open(file: BorrowedFd<'_>, path: &Path) -> Result<()> {
    use rustix::fs::{AtFlags, CWD, linkat};
    let linked = effect::point("link").and_then(|()| Ok(linkat(file, "", CWD, path, AtFlags::EMPTY_PATH)?));
    at("link", path, linked)
}

/// Makes an empty file that was not there.
///
/// # Errors
/// As open(2).
pub fn make_empty(path: &Path) -> Result<()> {
    let options = || OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map(drop);
    at("make", path, effect::point("create").and_then(|()| options()))
}

/// Fsyncs the directory that holds `path`.
///
/// # Errors
/// As open(2), fsync(2).
pub fn sync_parent(path: &Path) -> Result<()> {
    sync_dir(path.parent().unwrap_or(Path::new("/")))
}

/// Fsyncs a directory.
///
/// # Errors
/// As open(2), fsync(2).
pub fn sync_dir(path: &Path) -> Result<()> {
    at("sync", path, effect::point("fsync dir").and_then(|()| File::open(path)?.sync_all()))
}

/// Removes a file; absence is success.
///
/// # Errors
/// As unlink(2), but ENOENT.
pub fn remove(path: &Path) -> Result<()> {
    absent_is_none(at("remove", path, effect::point("unlink").and_then(|()| fs::remove_file(path))))
        .map(|_| ())
}

/// Removes an empty directory; absence is success.
///
/// # Errors
/// As rmdir(2), but ENOENT.
pub fn remove_dir(path: &Path) -> Result<()> {
    absent_is_none(at("remove", path, effect::point("rmdir").and_then(|()| fs::remove_dir(path)))).map(|_| ())
}

/// Makes a directory; `false` if it was there.
///
/// # Errors
/// As mkdir(2), but EEXIST.
pub fn make_dir(path: &Path, mode: u32) -> Result<bool> {
    match effect::point("mkdir").and_then(|()| mkdir(path, mode)) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => at("make directory", path, Err(error)),
    }
}

fn mkdir(path: &Path, mode: u32) -> io::Result<()> {
    with_all_modes(|| fs::DirBuilder::new().mode(mode).create(path))
}

/// Makes something with just the mode that is asked for, in one step: were it given the bits that the umask took away
/// in a second one, a crash between the two would leave it closed, and whoever finds it there leaves it as it is.
/// The umask is the process's, which has one thread; tests have many.
pub(crate) fn with_all_modes<T>(make: impl FnOnce() -> T) -> T {
    static UMASK: Mutex<()> = Mutex::new(());
    let _ours = UMASK.lock().unwrap_or_else(PoisonError::into_inner);
    let umask = rustix::process::umask(rustix::fs::Mode::empty());
    let made = make();
    rustix::process::umask(umask);
    made
}

/// Makes a directory and those above it, each with `mode`; `false` if it was there.
///
/// # Errors
/// As mkdir(2), but EEXIST.
pub fn make_dirs(path: &Path, mode: u32) -> Result<bool> {
    match make_dir(path, mode) {
        Err(error) if error.is_not_found() => {
            if let Some(parent) = path.parent() {
                make_dirs(parent, mode)?;
            }
            make_dir(path, mode)
        }
        other => other,
    }
}

/// The names in a directory, sorted; none if the directory is absent. Temp files are left out.
///
/// # Errors
/// The directory cannot be read.
pub fn list(dir: &Path) -> Result<Vec<String>> {
    names(dir, |name| !is_temp(name))
}

/// The names of the temp files in a directory, sorted; none if the directory is absent.
///
/// # Errors
/// The directory cannot be read.
pub fn list_temps(dir: &Path) -> Result<Vec<String>> {
    names(dir, is_temp)
}

fn names(dir: &Path, wanted: fn(&str) -> bool) -> Result<Vec<String>> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => at("list", dir, other)?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = at("list", dir, entry)?.file_name();
        if let Some(name) = name.to_str().filter(|name| wanted(name)) {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// What stat(2) says without following a last symlink, `None` if there is no such file.
///
/// # Errors
/// As lstat(2), but ENOENT.
pub fn stat(path: &Path) -> Result<Option<fs::Metadata>> {
    absent_is_none(at("stat", path, fs::symlink_metadata(path)))
}

/// Opens a directory as a handle for fd-relative calls.
///
/// # Errors
/// As open(2).
pub fn open_dir(path: &Path) -> Result<File> {
    let flags = libc::O_DIRECTORY | libc::O_CLOEXEC | libc::O_NOFOLLOW;
    at("open", path, OpenOptions::new().read(true).custom_flags(flags).open(path))
}

/// Whether a name is that of a temp file of ours, left by a crash and nobody's.
#[must_use]
pub fn is_temp(name: &str) -> bool {
    name.starts_with(".tmp-")
}

fn exchange(one: &Path, other: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    Ok(renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE)?)
}

fn temp_beside(path: &Path) -> PathBuf {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("file");
    path.with_file_name(format!(".tmp-{name}-{}", std::process::id()))
}

/// What failed leaves no temp file behind; if even that fails, the first failure is the one that counts, and gc takes
/// the file.
fn or_remove(temp: &Path, result: Result<()>) -> Result<()> {
    result.inspect_err(|_| {
        if let Err(error) = remove(temp) {
            tracing::debug!(path = %temp.display(), "a temp file stays: {}", error.source);
        }
    })
}

fn write_temp(temp: &Path, text: &str, mode: u32, durable: bool) -> Result<()> {
    at(
        "write",
        temp,
        effect::point("write").and_then(|()| write_all(temp, text, mode)).and_then(|file| {
            if durable { effect::point("fsync").and_then(|()| file.sync_all()) } else { Ok(()) }
        }),
    )
}

fn write_all(temp: &Path, text: &str, mode: u32) -> io::Result<File> {
    // A left-over of our own pid from before a reboot may stand here.
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(temp)?;
    file.set_permissions(Permissions::from_mode(mode))?;
    file.write_all(text.as_bytes())?;
    Ok(file)
}

fn symlink_afresh(target: &Path, temp: &Path) -> io::Result<()> {
    match std::os::unix::fs::symlink(target, temp) {
        // A left-over of our own pid from before a crash; the name is ours alone.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::remove_file(temp)?;
            std::os::unix::fs::symlink(target, temp)
        }
        other => other,
    }
}

fn absent_is_none<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volatile_file_is_made_and_replaced_and_nothing_lies_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("record");
        for text in ["one", "two"] {
            replace_volatile(&path, text).unwrap();
            assert_eq!(read_text(&path, 10).unwrap(), text);
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_volatile_file_is_not_made_where_there_is_no_directory() {
        let dir = tempfile::tempdir().unwrap();
        let error = replace_volatile(&dir.path().join("none/record"), "text").unwrap_err();
        assert!(error.is_not_found(), "{error}");
    }
}

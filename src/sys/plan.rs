//! The parent's preparations for a child that may not allocate: every string, list and number that it needs.

use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::fs::{Gid, Mode, OFlags, Uid};

use super::child::{Candidate, Choice, Plan};
use super::enter::{Directory, EnterError, Entry, Program, setup};
use super::env::{USER_PATH, Variable};
use super::mount;
use super::pointers::{Pointers, c_string};
use super::privilege::raised;

/// Everything that the child needs: it may neither allocate nor look anything up.
pub(super) fn plan<'a>(entry: &'a Entry<'_>) -> Result<Plan<'a>, EnterError> {
    let target = entry.target;
    let mut groups: Vec<_> = target.groups().iter().map(|group| group.as_raw()).collect();
    groups.sort_unstable();
    groups.dedup();
    let (held, root_id) = setup("look at the mounted tree", raised(|| hold(entry.root)))?;
    setup("make sure of the mounted tree", (entry.confirm.0)())?;
    let (candidates, choice) = setup("prepare the program", candidates(entry))?;
    let directories = setup("prepare the directory", directories(&entry.directory))?;
    Ok(Plan {
        root: setup("prepare the tree", c_string(entry.root))?,
        held: Some(held),
        root_id,
        namespaces: entry.namespaces,
        hostname: entry.hostname.as_deref(),
        uid: Uid::from_raw(target.uid().as_raw()),
        gid: Gid::from_raw(target.gid().as_raw()),
        groups_back: vec![0; groups.len() + 1],
        groups: groups.into_iter().map(Gid::from_raw).collect(),
        no_new_privs: entry.no_new_privs,
        inert: entry.inert,
        directories,
        candidates,
        choice,
        environment: setup("prepare the environment", environment(&entry.environment))?,
        saved: entry.process.saved(),
    })
}

/// Device and inode of the tree's top, which must be a mount point.
/// A handle of the tree and what it is told by. While the handle is open no other file system can get that device
/// number, so whatever the child finds under it is this tree.
fn hold(root: &Path) -> io::Result<(OwnedFd, (u64, u64))> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let held = rustix::fs::open(root, flags, Mode::empty())?;
    if !mount::is_root_of_mount(held.as_fd())? {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    let stat = rustix::fs::fstat(&held)?;
    Ok((held, (stat.st_dev, stat.st_ino)))
}

fn directories(directory: &Directory) -> io::Result<Vec<CString>> {
    match directory {
        Directory::Given(path) | Directory::Caller(path) => Ok(vec![c_string(path)?]),
        Directory::Login(paths) => paths.iter().map(c_string).collect(),
    }
}

fn environment(variables: &[Variable]) -> io::Result<Pointers> {
    let joined = variables.iter().map(|(name, value)| {
        let mut pair = name.clone();
        pair.push("=");
        pair.push(value);
        c_string(pair)
    });
    Ok(Pointers::new(joined.collect::<io::Result<_>>()?))
}

fn candidates(entry: &Entry<'_>) -> io::Result<(Vec<Candidate>, Choice)> {
    match &entry.program {
        Program::Argv(words) => {
            let c_words = words.iter().map(c_string).collect::<io::Result<_>>()?;
            let words_for_all = Rc::new(Pointers::new(c_words));
            let paths = search(words.first(), &entry.environment);
            let candidate =
                |path: PathBuf| Ok(Candidate { path: c_string(path)?, words: words_for_all.clone() });
            Ok((paths.into_iter().map(candidate).collect::<io::Result<_>>()?, Choice::Search))
        }
        Program::Shell { candidates, login } => {
            let candidate = |path: &PathBuf| {
                let words = Rc::new(Pointers::new(vec![shell_name(path, *login)?]));
                Ok(Candidate { path: c_string(path)?, words })
            };
            Ok((candidates.iter().map(candidate).collect::<io::Result<_>>()?, Choice::Fallback))
        }
    }
}

/// The files that a command word may mean. Only absolute directories of `PATH` count: the others would mean
/// the directory that one happens to be in.
fn search(word: Option<&OsString>, environment: &[Variable]) -> Vec<PathBuf> {
    let Some(word) = word.filter(|word| !word.is_empty()) else { return Vec::new() };
    if word.as_bytes().contains(&b'/') {
        return vec![PathBuf::from(word)];
    }
    let path = environment.iter().find(|(name, _)| name == "PATH").map(|(_, value)| value.as_bytes());
    path.unwrap_or(USER_PATH.as_bytes())
        .split(|byte| *byte == b':')
        .filter(|directory| directory.starts_with(b"/"))
        .map(|directory| Path::new(OsStr::from_bytes(directory)).join(word))
        .collect()
}

/// A login shell is told by a `-` before its name.
fn shell_name(path: &Path, login: bool) -> io::Result<CString> {
    if !login {
        return c_string(path);
    }
    let mut name = OsString::from("-");
    name.push(path.file_name().unwrap_or(path.as_os_str()));
    c_string(name)
}

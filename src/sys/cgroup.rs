//! One control group (v2) for each session, so that all its processes can be ended at once.
//!
//! Layout: `zchroot/NAME` in the v2 hierarchy. No controller is used and none enabled. Where the host has no
//! v2 hierarchy, or one that cannot be written, there is no [`Cgroup`], and callers look for processes one
//! by one instead. A group without a process survives a crash and is found again by its name.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::{Mode, OFlags};

use super::privilege::raised;
use super::{effect, file};

const OURS: &str = "zchroot";
const PATIENCE: Duration = Duration::from_secs(2);
const LARGEST: u64 = 64 << 10;

/// A control group of ours.
#[derive(Debug)]
pub struct Cgroup {
    path: PathBuf,
    dir: std::fs::File,
}

impl Cgroup {
    /// Makes the group of this name, or opens it if it is there; `None` if this host has no place for it.
    ///
    /// # Errors
    /// The hierarchy is there and writable, but refuses.
    pub fn make(name: &str) -> io::Result<Option<Self>> {
        raised(|| {
            let Some(top) = top() else { return Ok(None) };
            let path = top.join(name);
            match file::make_dirs(&path, 0o755).and_then(|_| file::open_dir(&path)) {
                Ok(dir) => Ok(Some(Self { path, dir })),
                Err(error) if means_no_place(&error.source) => Ok(None),
                Err(error) => Err(error.source),
            }
        })
    }

    /// Opens the group of this name if it is there.
    ///
    /// # Errors
    /// It is there and cannot be opened.
    pub fn open(name: &str) -> io::Result<Option<Self>> {
        raised(|| {
            let Some(top) = top() else { return Ok(None) };
            let path = top.join(name);
            match file::open_dir(&path) {
                Ok(dir) => Ok(Some(Self { path, dir })),
                Err(error) if error.is_not_found() => Ok(None),
                Err(error) => Err(error.source),
            }
        })
    }

    /// The names of all groups that there are, each with the time of its last change.
    ///
    /// # Errors
    /// The hierarchy cannot be read.
    pub fn all() -> io::Result<Vec<(String, SystemTime)>> {
        raised(|| {
            let Some(top) = top() else { return Ok(Vec::new()) };
            let mut found = Vec::new();
            for name in file::list(top).map_err(|error| error.source)? {
                // Gone meanwhile, or one of the files of our own group.
                let Some(stat) = file::stat(&top.join(&name)).map_err(|error| error.source)? else {
                    continue;
                };
                if stat.is_dir() {
                    found.push((name, stat.modified()?));
                }
            }
            Ok(found)
        })
    }

    /// Its directory, for `CLONE_INTO_CGROUP`.
    #[must_use]
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// Kills every process in it and below it, also those that are being forked.
    ///
    /// # Errors
    /// The kernel has no `cgroup.kill` (before 5.14), or refuses.
    pub fn kill(&self) -> io::Result<()> {
        effect::point("cgroup kill")?;
        raised(|| {
            let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            let kill = rustix::fs::openat(&self.dir, "cgroup.kill", flags, Mode::empty())?;
            rustix::io::write(&kill, b"1")?;
            Ok(())
        })
    }

    /// Whether a living process is in it or below it.
    ///
    /// # Errors
    /// The group is gone or cannot be read.
    pub fn is_populated(&self) -> io::Result<bool> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let events = raised(|| rustix::fs::openat(&self.dir, "cgroup.events", flags, Mode::empty()))?;
        let text = file::read_limited(std::fs::File::from(events), LARGEST)?;
        Ok(text.lines().any(|line| line == "populated 1"))
    }

    /// Waits until no living process is left; `false` if there still was one after `patience`.
    ///
    /// # Errors
    /// As [`Cgroup::is_populated`].
    pub fn wait_until_empty(&self, patience: Duration) -> io::Result<bool> {
        let deadline = Instant::now() + patience;
        let mut pause = Duration::from_micros(200);
        while self.is_populated()? {
            if Instant::now() >= deadline {
                return Ok(false);
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(20));
        }
        Ok(true)
    }

    /// Removes the group and those that were made below it.
    ///
    /// # Errors
    /// A process is still in it.
    pub fn remove(self) -> io::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        raised(|| {
            loop {
                match remove_below(&self.path) {
                    // A process that has just died counts for a moment longer.
                    Err(error) if error.errno() == libc::EBUSY && Instant::now() < deadline => {
                        std::thread::sleep(Duration::from_millis(5));
                    }
                    other => return other.map_err(|error| error.source),
                }
            }
        })
    }
}

/// Children first; the files of a group are not removed, they go with it.
fn remove_below(path: &Path) -> file::Result<()> {
    // Nearly always there are none: no need to look at each of its two dozen files.
    match file::remove_dir(path) {
        Err(error) if matches!(error.errno(), libc::EBUSY | libc::ENOTEMPTY) => {}
        other => return other,
    }
    for name in file::list(path)? {
        let child = path.join(name);
        if file::stat(&child)?.is_some_and(|stat| stat.is_dir()) {
            remove_below(&child)?;
        }
    }
    file::remove_dir(path)
}

/// Our directory in the v2 hierarchy, looked up once.
fn top() -> Option<&'static Path> {
    static TOP: OnceLock<Option<PathBuf>> = OnceLock::new();
    TOP.get_or_init(find_top).as_deref()
}

fn find_top() -> Option<PathBuf> {
    const PLACES: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
    let is_v2 = |place: &&str| {
        rustix::fs::statfs(*place).is_ok_and(|found| found.f_type == libc::CGROUP2_SUPER_MAGIC)
    };
    PLACES.into_iter().find(is_v2).map(|place| Path::new(place).join(OURS))
}

fn means_no_place(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EROFS | libc::EACCES | libc::EPERM | libc::ENOENT))
}

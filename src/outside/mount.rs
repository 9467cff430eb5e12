//! Mounts of trees that lie somewhere on the host, and the place where what has to be mounted first is.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use super::failed;
use crate::dir;
use crate::store::{MountOptions, Result};
use crate::sys::file;
use crate::sys::inroot::Root;
use crate::sys::mount::{Access, Detached, How, unmount_all};

/// Where in the staging place something is mounted.
const POINT: &str = "tree";

/// Opens a directory that the administrator named, also by a symlink.
pub(super) fn open(path: &Path) -> Result<File> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = rustix::fs::open(path, flags, Mode::empty()).map(File::from);
    opened.map_err(|error| failed("open", path)(error.into()))
}

/// Shows a directory of the host at another place. What is mounted below it is not shown.
pub(super) fn bind(path: &Path, at: &Path, options: MountOptions) -> Result<()> {
    dir::bind(open(path)?.as_fd(), at, options, false).map_err(failed("mount", path))
}

/// As [`bind`] with what is mounted below; but for `ours`, the folder of sessions' mounts, of which a copy would keep them.
pub(super) fn bind_all(path: &Path, at: &Path, ours: Option<&Path>, options: MountOptions) -> Result<()> {
    let tree = open(path)?;
    let point = file::open_dir(at)?;
    let access = Access { allow_suid: !options.nosuid, allow_dev: !options.nodev, ..Access::default() };
    Detached::bind_open_with_all_below(tree.as_fd(), access)
        .and_then(|mount| mount.attach(point.as_fd()))
        .map_err(failed("mount", path))?;
    if let Some(inside) = ours.and_then(|ours| ours.strip_prefix(path).ok()) {
        unmount_all(&at.join(inside), How::Lazy)?;
    }
    Ok(())
}

/// Shows a directory inside a tree, over whatever is at `at`; no symlink in the tree leads out of it.
pub(super) fn bind_inside(tree: &Path, location: &Path, at: &Path) -> Result<()> {
    let top = Root::open(tree)?.resolve(location)?;
    let inert = MountOptions { nosuid: true, nodev: true, ..MountOptions::default() };
    dir::bind(top.as_fd(), at, inert, false).map_err(failed("mount", location))
}

/// Mounts something in `staging` for as long as `work` takes: whatever `work` made of it holds what it needs. It is closed
/// to others, for setuid bits and devices have an effect on what is mounted there.
pub(super) fn staged(
    staging: &Path,
    fill: impl FnOnce(&Path) -> Result<()>,
    work: impl FnOnce(&Path) -> Result<()>,
) -> Result<()> {
    clear_staging(staging)?;
    file::make_dir(staging, 0o700)?;
    let point = staging.join(POINT);
    file::make_dir(&point, 0o700)?;
    let done = fill(&point).and_then(|()| work(&point));
    let cleared = clear_staging(staging);
    done.and(cleared)
}

/// Takes away what a crash left at `staging`.
pub(super) fn clear_staging(staging: &Path) -> Result<()> {
    let point = staging.join(POINT);
    unmount_all(&point, How::Lazy)?;
    file::remove_dir(&point)?;
    file::remove_dir(staging)?;
    Ok(())
}

//! Mounts of trees that lie somewhere on the host.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use super::failed;
use crate::store::{MountOptions, Result};
use crate::sys::file;
use crate::sys::mount::{Access, Detached};

/// Opens a directory that the administrator named, also by a symlink.
pub(super) fn open(path: &Path) -> Result<File> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = rustix::fs::open(path, flags, Mode::empty()).map(File::from);
    opened.map_err(|error| failed("open", path)(error.into()))
}

/// Shows a directory of the host at another place. What is mounted below it is not shown.
pub(super) fn bind(path: &Path, at: &Path, options: MountOptions) -> Result<()> {
    let tree = open(path)?;
    attach(tree.as_fd(), at, options).map_err(failed("mount", path))
}

fn attach(tree: BorrowedFd<'_>, at: &Path, options: MountOptions) -> std::io::Result<()> {
    let mount = Detached::bind_open(tree, access(options))?;
    let point = file::open_dir(at).map_err(|error| error.source)?;
    mount.attach(point.as_fd()).map(drop)
}

fn access(options: MountOptions) -> Access {
    Access { allow_suid: !options.nosuid, allow_dev: !options.nodev, ..Access::default() }
}

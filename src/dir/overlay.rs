//! The overlay of a session, and why its options are as they are.
//!
//! - `redirect_dir=on`: a directory of the version can be renamed. Without it rename(2) gives EXDEV, which
//!   mv(1) works around and a build's own code does not. The redirects are `trusted.` attributes of the upper
//!   directory, which nobody can set through the mount.
//! - `index=on`: a file of the version with several links stays one file when it is written to; without it
//!   the first write splits the links (git, perl and python in a build tree, `cp -al`). A second mount of the
//!   same upper directory is then refused by the kernel instead of being undefined. Where the file system has
//!   no file handles the kernel goes on with `index=off` and says so in its log.
//! - `metacopy=off`: chown(1) and chmod(1) copy the file up whole. With it a tree whose upper directory is
//!   looked at or moved alone has files without contents.
//! - `xino` is left alone: version and session lie on one file system, so inode numbers are stable anyhow.
//! - `volatile`, if asked for: no sync at unmount and none by fsync(2). **A volatile session can be mounted
//!   once**: the kernel leaves `work/work/incompat/volatile` and refuses the next mount (EINVAL), since after a
//!   crash the upper directory may be anything. Nothing here removes that mark.

use std::ffi::CString;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{CWD, StatVfsMountFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags, UnmountFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount, unmount,
};

use crate::store::MountOptions;
use crate::sys::limit::{self, or_limit};

/// The longest string that fsconfig(2) takes.
const LONGEST_VALUE: usize = 255;
/// What mount(2) takes: one page, which ends with a NUL.
const LONGEST_DATA: usize = 4095;
const FIXED: [(&str, &str); 3] = [("redirect_dir", "on"), ("index", "on"), ("metacopy", "off")];

/// The directories of an overlay.
#[derive(Debug)]
pub(crate) struct Layers<'a> {
    pub(crate) lower: &'a Path,
    pub(crate) upper: &'a Path,
    pub(crate) work: &'a Path,
}

impl Layers<'_> {
    fn options(&self) -> io::Result<Vec<(&'static str, &str)>> {
        let mut options = FIXED.to_vec();
        for (key, path) in [("lowerdir", self.lower), ("upperdir", self.upper), ("workdir", self.work)] {
            let text = path.to_str().filter(|text| !text.contains([',', ':', '\\']));
            let why = "overlayfs takes no path with a comma, a colon, a backslash or what is not UTF-8";
            options.push((key, text.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidFilename, why))?));
        }
        Ok(options)
    }
}

/// Mounts an overlay at `at`.
pub(crate) fn mount(layers: &Layers<'_>, at: &Path, options: MountOptions) -> io::Result<()> {
    let list = layers.options()?;
    if list.iter().any(|(_, value)| value.len() > LONGEST_VALUE) {
        mount_by_string(&list, at, options)?;
    } else {
        match mount_by_calls(&list, at, options) {
            // A seccomp filter older than the calls.
            Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => mount_by_string(&list, at, options)?,
            other => other?,
        }
    }
    refuse_read_only(at)
}

/// Where the kernel has no room for its own directories in `work` it mounts read-only, which only its log says.
fn refuse_read_only(at: &Path) -> io::Result<()> {
    let is_read_only = rustix::fs::statvfs(at).map(|fs| fs.f_flag.contains(StatVfsMountFlags::RDONLY));
    if matches!(is_read_only, Ok(false)) {
        return Ok(());
    }
    unmount(at, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)?;
    Err(is_read_only.err().unwrap_or(Errno::NOSPC).into())
}

fn mount_by_calls(list: &[(&str, &str)], at: &Path, options: MountOptions) -> io::Result<()> {
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(context.as_fd(), "source", "zchroot")?;
    for (key, value) in list {
        fsconfig_set_string(context.as_fd(), *key, *value)?;
    }
    if options.volatile {
        fsconfig_set_flag(context.as_fd(), "volatile")?;
    }
    fsconfig_create(context.as_fd())?;
    let mut attributes = MountAttrFlags::empty();
    attributes.set(MountAttrFlags::MOUNT_ATTR_NOSUID, options.nosuid);
    attributes.set(MountAttrFlags::MOUNT_ATTR_NODEV, options.nodev);
    let mounted = fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)
        .map_err(|error| or_limit(error, limit::MOUNT_NAMESPACES))?;
    move_mount(mounted.as_fd(), c"", CWD, at, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .map_err(|error| or_limit(error, limit::MOUNTS))
}

fn mount_by_string(list: &[(&str, &str)], at: &Path, options: MountOptions) -> io::Result<()> {
    let mut words: Vec<String> = list.iter().map(|(key, value)| format!("{key}={value}")).collect();
    if options.volatile {
        words.push("volatile".to_owned());
    }
    let data = words.join(",");
    // The kernel would cut it off there without a word.
    if data.len() > LONGEST_DATA {
        return Err(Errno::NAMETOOLONG.into());
    }
    let data = CString::new(data).map_err(|_| Errno::INVAL)?;
    let mut flags = MountFlags::empty();
    flags.set(MountFlags::NOSUID, options.nosuid);
    flags.set(MountFlags::NODEV, options.nodev);
    let at = CString::new(at.as_os_str().as_bytes()).map_err(|_| Errno::INVAL)?;
    Ok(rustix::mount::mount("zchroot", &at, "overlay", flags, data.as_c_str())?)
}

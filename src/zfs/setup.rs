//! Laying the store out, and mounting: its state, and the trees.

use std::io;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags};
use rustix::mount::MountFlags;

use super::ZfsStore;
use super::engine::{Property, no_pool};
use super::listing::Laid;
use crate::store::{Error, ErrorKind, MountOptions, Outcome, Result, Tree};
use crate::sys::lock::{self, Lock};
use crate::sys::{effect, file};

const LAID: &str = include_str!("programs/laid.lua");

/// What is set on the root, and inherited by all. The last one first: whether it is there tells whether the
/// second of the two transactions that make a dataset with properties happened.
const ROOT: [(&str, Property); 6] = [
    ("mountpoint", Property::Text("none")),
    ("canmount", Property::Number(0)),
    ("atime", Property::Number(0)),
    ("xattr", Property::Number(2)),
    ("acltype", Property::Number(1)),
    ("com.sun:auto-snapshot", Property::Text("false")),
];
/// What a session writes need not survive a power cut.
const SESSIONS: [(&str, Property); 1] = [("sync", Property::Number(2))];

/// How long another may take to lay or release the reserve.
const RESERVE_PATIENCE: Duration = Duration::from_secs(60);

impl ZfsStore {
    pub(super) fn lay_out(&self) -> Result<Vec<String>> {
        let names = &self.names;
        self.require_base()?;
        let mut lines = Vec::new();
        lines.extend(self.ensure(names.root(), &ROOT)?);
        for plain in [names.state(), names.images(), names.templates()] {
            lines.extend(self.ensure(&plain, &[])?);
        }
        lines.extend(self.ensure(&names.sessions(), &SESSIONS)?);
        lines.extend(self.ensure_reserve()?);
        if self.ensure_state_mounted()? == Outcome::Changed {
            lines.push(format!("mounted {} at {}", names.state(), self.layout.state().display()));
        }
        Ok(lines)
    }

    fn require_base(&self) -> Result<()> {
        let names = &self.names;
        let refuse = |why| Err(Error::new(ErrorKind::Other, "lay out", names.root(), why));
        if !self.engine.exists(names.pool()) {
            return refuse(no_pool(names.pool()));
        }
        if !self.engine.exists(names.base()) {
            return refuse(format!("there is no dataset {}", names.base()));
        }
        Ok(())
    }

    pub(super) fn laid(&self, dataset: &str, property: &str) -> Result<Option<Laid>> {
        let text = self.engine.read(dataset, LAID, &[("d", dataset), ("p", property)])?;
        super::decoded(dataset, Laid::decode(&text))
    }

    /// Makes a dataset of the layout. One that was cut in half, made and empty but without its properties, is
    /// made again; one whose properties somebody has changed since is left as it is.
    fn ensure(&self, dataset: &str, properties: &[(&str, Property)]) -> Result<Option<String>> {
        let asked = properties.last().map_or("", |(name, _)| name);
        match self.laid(dataset, asked)? {
            None => {
                self.make(dataset, properties)?;
                Ok(Some(format!("created {dataset}")))
            }
            Some(Laid { own: None, children: 0 }) if !properties.is_empty() => {
                self.unmake(dataset)?;
                self.make(dataset, properties)?;
                Ok(Some(format!("created {dataset} again: it was half made")))
            }
            Some(_) => Ok(None),
        }
    }

    fn make(&self, dataset: &str, properties: &[(&str, Property)]) -> Result<()> {
        let made = if properties.is_empty() {
            self.engine.create(dataset)
        } else {
            self.engine.create_with(dataset, properties)
        };
        match made {
            // Somebody else lays the store out at the same time.
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(()),
            other => other.map_err(|error| Error::io("create", dataset, error)),
        }
    }

    pub(super) fn unmake(&self, dataset: &str) -> Result<()> {
        match self.engine.destroy(dataset) {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
            other => other.map_err(|error| Error::io("destroy", dataset, error)),
        }
    }

    /// The reserve is made in two steps and never seen between them by who makes or unmakes it himself.
    pub(super) fn alone_with(&self, reserve: &str) -> Result<Lock> {
        lock::make_folder(&self.layout.locks())?;
        Lock::take(&self.layout.reserve_lock(), RESERVE_PATIENCE)?
            .ok_or_else(|| Error::new(ErrorKind::Busy, "lock", reserve, "somebody lays or releases it"))
    }

    /// Lays the reserve, or lays it anew if its size is not the one that is configured.
    pub(super) fn ensure_reserve(&self) -> Result<Option<String>> {
        let dataset = self.names.reserve();
        let _alone = self.alone_with(&dataset)?;
        let laid = self.laid(&dataset, "refreservation")?;
        let size = laid.as_ref().and_then(|laid| laid.own.as_deref()?.parse().ok()).unwrap_or(0_u64);
        if size == self.reserve && (laid.is_some() || self.reserve == 0) {
            return Ok(None);
        }
        if laid.is_some() {
            self.unmake(&dataset)?;
        }
        if self.reserve > 0 {
            self.make(&dataset, &[("refreservation", Property::Number(self.reserve))])?;
        }
        Ok(Some(format!("reserved {} bytes in {dataset}", self.reserve)))
    }

    /// Mounts the state where the layout wants it, unless something is mounted there.
    ///
    /// # Errors
    /// The directory cannot be made, or the state cannot be mounted there.
    pub fn ensure_state_mounted(&self) -> Result<Outcome> {
        let at = self.layout.state();
        file::make_dirs(&at, 0o755)?;
        if is_mount_root(&at)? {
            return Ok(Outcome::Unchanged);
        }
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        match mount_zfs(&self.names.state(), &at, flags) {
            Ok(()) => Ok(Outcome::Changed),
            // Somebody else was faster: ZFS does not mount the same dataset twice at one place.
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => Ok(Outcome::Unchanged),
            Err(error) => Err(Error::io("mount", self.names.state(), error)),
        }
    }

    pub(super) fn mount_tree(&self, tree: &Tree, at: &Path, options: MountOptions) -> Result<()> {
        if file::stat(at)?.is_none() {
            let object = at.display().to_string();
            return Err(Error::new(
                ErrorKind::Other,
                "mount a tree at",
                object,
                "there is no such directory",
            ));
        }
        // `volatile` asks for nothing here: all sessions' datasets inherit sync=disabled.
        let mut flags = MountFlags::empty();
        flags.set(MountFlags::NOSUID, options.nosuid);
        flags.set(MountFlags::NODEV, options.nodev);
        let writable = |dataset: String| {
            mount_zfs(&dataset, at, flags).map_err(|error| Error::io("mount", dataset, error))
        };
        match tree {
            Tree::Session(id) => writable(self.names.session(id)),
            Tree::Draft(template, draft) => writable(self.names.head(template, draft)),
            Tree::Image(image) => self.mount_image(image, at, flags),
            Tree::Version(template, version) => {
                let flags = flags | MountFlags::RDONLY;
                self.at_version("mount", template, version, |snapshot| mount_zfs(snapshot, at, flags))
            }
        }
    }
}

/// mount(2) itself: it takes mountpoint=none as it is, and costs a tenth of mount(8) or `zfs mount`.
pub(super) fn mount_zfs(dataset: &str, at: &Path, flags: MountFlags) -> io::Result<()> {
    effect::point("mount")?;
    Ok(rustix::mount::mount(dataset, at, "zfs", flags, None)?)
}

fn is_mount_root(path: &Path) -> Result<bool> {
    let stat = rustix::fs::statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::empty());
    let stat = stat.map_err(|error| Error::io("stat", path.display().to_string(), error.into()))?;
    Ok(stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_root_is_told_from_a_plain_directory() {
        assert!(is_mount_root(Path::new("/proc")).unwrap());
        assert!(!is_mount_root(Path::new("/proc/self")).unwrap());
        assert_eq!(is_mount_root(Path::new("/nowhere")).unwrap_err().kind(), ErrorKind::Gone);
    }
}

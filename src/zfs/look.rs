//! Looking at a version while others go on.
//!
//! A snapshot that is mounted cannot be promoted away nor destroyed, not even deferred (EBUSY), so a look at one
//! would hold settling up. A clone of it holds nothing up: that is what sessions are. So a look is a clone among
//! the sessions, mounted read-only where nobody sees it, and destroyed afterwards. It has no record: what a crash
//! leaves is what gc takes for an orphan, as it is.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string,
    fsmount, fsopen,
};

use super::{PATIENCE, ZfsStore};
use crate::store::{Error, ErrorKind, Result, SessionId, Store, TemplateName, VersionId};
use crate::sys::effect;

/// What looks are called, before the time.
const MARK: &str = "look";

impl ZfsStore {
    pub(super) fn show_clone(
        &self,
        template: &TemplateName,
        version: &VersionId,
        look: &mut dyn FnMut(BorrowedFd<'_>),
    ) -> Result<()> {
        let named = MARK.parse().map_err(|_| io::Error::from_raw_os_error(libc::EINVAL));
        let id = named
            .and_then(|mark| SessionId::generate(&mark))
            .map_err(|error| Error::io("name a look at", format!("{template} {version}"), error))?;
        self.session_clone(template, version, &id)?;
        let dataset = self.names.session(&id);
        let shown = mount_detached(&dataset)
            .map(|top| look(top.as_fd()))
            .map_err(|error| Error::io("mount", dataset.clone(), error));
        match (shown, self.engine.destroy_patiently(&dataset, PATIENCE)) {
            (Err(error), _) => Err(error),
            // What was seen is good; the rest is gc's.
            (Ok(()), Err(error)) if error.kind() == ErrorKind::Busy => {
                tracing::warn!(dataset, "left to the next gc: {error}");
                Ok(())
            }
            (Ok(()), dropped) => dropped.map(|_| ()),
        }
    }
}

/// A mount that is attached nowhere: no other process finds it, and it goes with the descriptor.
pub(super) fn mount_detached(dataset: &str) -> io::Result<OwnedFd> {
    effect::point("mount")?;
    let context = fsopen("zfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(context.as_fd(), "source", dataset)?;
    fsconfig_set_flag(context.as_fd(), "ro")?;
    fsconfig_create(context.as_fd())?;
    let inert = MountAttrFlags::MOUNT_ATTR_RDONLY
        | MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    Ok(fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, inert)?)
}

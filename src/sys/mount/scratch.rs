//! For tests: a mount namespace of one's own, so that nothing can be left mounted.

use std::panic::resume_unwind;
use std::path::Path;

use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::thread::UnshareFlags;

/// Runs `body` on a thread of its own in a new mount namespace, with an empty directory on a tmpfs of its
/// own. The kernel takes all mounts away when the thread is gone, also by a failed assertion.
pub(crate) fn in_namespace<T: Send>(body: impl FnOnce(&Path) -> T + Send) -> T {
    let dir = tempfile::tempdir().unwrap();
    let result = std::thread::scope(|scope| {
        scope
            .spawn(|| {
                // SAFETY: the namespace is this thread's alone; the open files stay shared.
                unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }.unwrap();
                mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).unwrap();
                mount("tmpfs", dir.path(), "tmpfs", MountFlags::empty(), None).unwrap();
                body(dir.path())
            })
            .join()
    });
    result.unwrap_or_else(|panic| resume_unwind(panic))
}

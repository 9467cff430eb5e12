//! ENOSPC from a call that writes nowhere: a limit of the kernel's, and no disk is full.

use std::io;

/// How many mount namespaces a user may have; a mount that is nowhere attached yet has one of its own.
pub const MOUNT_NAMESPACES: &str = "user.max_mnt_namespaces";
/// How many mounts a mount namespace may have.
pub const MOUNTS: &str = "fs.mount-max";

/// The error of a call that meets `limit` and no other want of room. It has no errno then: whoever sees ENOSPC makes
/// room, and here that would be in vain.
pub fn or_limit(error: impl Into<io::Error>, limit: &str) -> io::Error {
    let error = error.into();
    match error.raw_os_error() {
        Some(libc::ENOSPC) => io::Error::other(format!("the kernel allows no more of them ({limit})")),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_of_the_kernel_has_no_errno_and_other_errors_keep_theirs() {
        let of = |errno| or_limit(io::Error::from_raw_os_error(errno), MOUNTS);
        assert_eq!(of(libc::ENOSPC).raw_os_error(), None);
        assert_eq!(of(libc::ENOSPC).to_string(), "the kernel allows no more of them (fs.mount-max)");
        assert_eq!(of(libc::EPERM).raw_os_error(), Some(libc::EPERM));
    }
}

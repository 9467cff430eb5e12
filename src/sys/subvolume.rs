//! Subvolumes of btrfs: a snapshot is one call, and so is taking it away. By handles and one name, so that nobody can put
//! something else into the way.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;

use super::effect;

/// `_IOW(0x94, 15, struct btrfs_ioctl_vol_args)`
const SNAP_DESTROY: libc::Ioctl = 0x5000_940f_u32 as libc::Ioctl;
/// `_IOW(0x94, 23, struct btrfs_ioctl_vol_args_v2)`
const SNAP_CREATE_V2: libc::Ioctl = 0x5000_9417_u32 as libc::Ioctl;
const LONGEST: usize = 255;

/// `struct btrfs_ioctl_vol_args`
#[repr(C)]
struct Destroy {
    fd: i64,
    name: [u8; 4088],
}

/// `struct btrfs_ioctl_vol_args_v2`
#[repr(C)]
struct Create {
    fd: i64,
    transid: u64,
    flags: u64,
    unused: [u64; 4],
    name: [u8; 4040],
}

/// Makes `name` in `parent` a writable snapshot of the subvolume `source`.
///
/// # Errors
/// `EINVAL` or `ENOTTY` if it is none, `EXDEV` if they lie on two file systems, or as mkdir(2).
pub fn snapshot(source: BorrowedFd<'_>, parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    effect::point("snapshot subvolume")?;
    let fd = i64::from(source.as_raw_fd());
    let args = Create { fd, transid: 0, flags: 0, unused: [0; 4], name: filled(name)? };
    // SAFETY: the call reads one `btrfs_ioctl_vol_args_v2`, which `args` is laid out as and which lives through the call;
    // its name ends with a zero byte.
    let done = unsafe { libc::ioctl(parent.as_raw_fd(), SNAP_CREATE_V2, &raw const args) };
    nix::errno::Errno::result(done)?;
    Ok(())
}

/// Takes the subvolume `name` in `parent` away, with all that is in it but subvolumes; absence is success.
///
/// # Errors
/// `ENOTEMPTY` if there are subvolumes in it, `EINVAL` or `ENOTTY` if it is none.
pub fn destroy(parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    effect::point("destroy subvolume")?;
    let args = Destroy { fd: 0, name: filled(name)? };
    // SAFETY: the call reads one `btrfs_ioctl_vol_args`, which `args` is laid out as and which lives through the call; its
    // name ends with a zero byte.
    let done = unsafe { libc::ioctl(parent.as_raw_fd(), SNAP_DESTROY, &raw const args) };
    match nix::errno::Errno::result(done) {
        Err(nix::errno::Errno::ENOENT) => Ok(()),
        other => Ok(other.map(drop)?),
    }
}

/// A name with zero bytes after it.
fn filled<const N: usize>(name: &OsStr) -> io::Result<[u8; N]> {
    let bytes = name.as_bytes();
    let is_name = !bytes.is_empty() && !bytes.contains(&b'/') && !bytes.contains(&0);
    if !is_name || bytes.len() > LONGEST {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    let mut filled = [0; N];
    for (to, from) in filled.iter_mut().zip(bytes) {
        *to = *from;
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn the_kernel_is_handed_as_many_bytes_as_it_takes() {
        assert_eq!((size_of::<Destroy>(), size_of::<Create>()), (4096, 4096));
    }

    #[test]
    fn what_is_no_name_and_what_is_no_subvolume_is_refused() {
        for bad in ["", "a/b", "a\0b", &"n".repeat(256)] {
            assert_eq!(filled::<4088>(OsStr::new(bad)).unwrap_err().raw_os_error(), Some(libc::EINVAL));
        }
        let null = std::io::stdin();
        let error = destroy(null.as_fd(), OsStr::new("x")).unwrap_err();
        assert!(matches!(error.raw_os_error(), Some(libc::ENOTTY | libc::EINVAL | libc::EBADF)), "{error}");
    }
}

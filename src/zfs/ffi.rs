//! The calls of libzfs_core that libzetta lacks. All `unsafe` of the store on ZFS is here.
//!
//! Every call takes the [`ZfsLzc`] engine as proof that `libzfs_core_init` has run: without it the library
//! aborts the process. Errors are the errno that the kernel gave, untouched. Argument lists belong to libnv's
//! [`NvList`], which frees them; no call here hands one back.

use std::ffi::CString;
use std::io;

use libzetta::libnv::nvpair::NvList;
use libzetta::zfs::ZfsLzc;
use libzetta_zfs_core_sys as sys;

fn done(errno: libc::c_int) -> io::Result<()> {
    if errno == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(errno)) }
}

fn c_name(name: &str) -> io::Result<CString> {
    CString::new(name).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
}

/// Makes the file system `name` with `properties` (numbers for indexed ones, as the kernel wants them).
/// Two transactions: a power cut between them leaves it without the properties.
pub(super) fn create(_engine: &ZfsLzc, name: &str, properties: &NvList) -> io::Result<()> {
    let name = c_name(name)?;
    let kind = sys::lzc_dataset_type::LZC_DATSET_TYPE_ZFS;
    // SAFETY: the name is NUL-terminated and the list a valid nvlist, both alive for the whole call, which
    // only reads them; a null key of length 0 means "no encryption key".
    done(unsafe { sys::lzc_create(name.as_ptr(), kind, properties.as_ptr(), std::ptr::null_mut(), 0) })
}

/// Makes `name` a clone of the snapshot `origin`: one transaction without properties, two with.
pub(super) fn clone(
    _engine: &ZfsLzc,
    name: &str,
    origin: &str,
    properties: Option<&NvList>,
) -> io::Result<()> {
    let (name, origin) = (c_name(name)?, c_name(origin)?);
    let properties = properties.map_or(std::ptr::null_mut(), |list| list.as_ptr());
    // SAFETY: both names are NUL-terminated and the list a valid nvlist, all alive for the whole call, which only
    // reads them; a null list means "no properties".
    done(unsafe { sys::lzc_clone(name.as_ptr(), origin.as_ptr(), properties) })
}

/// Swaps the clone `name` with the dataset that it was cloned from.
pub(super) fn promote(_engine: &ZfsLzc, name: &str) -> io::Result<()> {
    let name = c_name(name)?;
    // SAFETY: the name is NUL-terminated and alive for the whole call; with a null buffer of length 0 the
    // library does not report the name of a conflicting snapshot.
    done(unsafe { sys::lzc_promote(name.as_ptr(), std::ptr::null_mut(), 0) })
}

/// Destroys the file system `name`, which has neither children nor snapshots.
pub(super) fn destroy(_engine: &ZfsLzc, name: &str) -> io::Result<()> {
    let name = c_name(name)?;
    // SAFETY: the name is NUL-terminated and alive for the whole call.
    done(unsafe { sys::lzc_destroy(name.as_ptr()) })
}

/// Waits until a transaction group that was open when the call began is on disk.
pub(super) fn sync(_engine: &ZfsLzc, pool: &str) -> io::Result<()> {
    let pool = c_name(pool)?;
    let mut args = NvList::default();
    // The kernel insists on being told; false is what `zpool sync` says.
    args.insert_boolean_value("force", false).map_err(io::Error::other)?;
    // SAFETY: the name is NUL-terminated and the list a valid nvlist, both alive for the whole call; a null
    // result pointer means that no list comes back.
    done(unsafe { sys::lzc_sync(pool.as_ptr(), args.as_ptr(), std::ptr::null_mut()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_a_nul_byte_is_an_invalid_argument() {
        assert_eq!(c_name("a\0b").unwrap_err().raw_os_error(), Some(libc::EINVAL));
        assert_eq!(c_name("tank/a").unwrap().as_bytes(), b"tank/a");
    }

    #[test]
    fn the_errno_of_the_kernel_comes_through_untouched() {
        assert!(done(0).is_ok());
        assert_eq!(done(libc::EDQUOT).unwrap_err().raw_os_error(), Some(libc::EDQUOT));
    }
}

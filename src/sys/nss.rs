//! The host's users and groups, all of them, through the C library and whatever nsswitch.conf names.
//!
//! The library loads its modules from the host, so this is done before anything enters a session's tree
//! (CVE-2025-32463). Its cursors are one per process: a lock keeps callers apart.

use std::ffi::{CStr, c_char};
use std::io;
use std::sync::{Mutex, PoisonError};

static CURSOR: Mutex<()> = Mutex::new(());

/// An entry of passwd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The login name.
    pub name: Vec<u8>,
    /// `x`, or a hash.
    pub password: Vec<u8>,
    /// The number.
    pub uid: u32,
    /// The number of the primary group.
    pub gid: u32,
    /// Full name and the like.
    pub gecos: Vec<u8>,
    /// The home directory.
    pub home: Vec<u8>,
    /// The login shell.
    pub shell: Vec<u8>,
}

/// An entry of group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// The name.
    pub name: Vec<u8>,
    /// `x`, or a hash.
    pub password: Vec<u8>,
    /// The number.
    pub gid: u32,
    /// The login names of its members.
    pub members: Vec<Vec<u8>>,
}

/// An entry of shadow without its hash, which is not read out of the library at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shadow {
    /// The login name.
    pub name: Vec<u8>,
    /// Last change, minimum, maximum, warning, inactivity, expiry, in days; `None` where nothing stands.
    pub days: [Option<libc::c_long>; 6],
}

/// All users.
///
/// # Errors
/// There are none, which no host has: a service of nsswitch.conf failed.
pub fn users() -> io::Result<Vec<User>> {
    let _alone = CURSOR.lock().unwrap_or_else(PoisonError::into_inner);
    let mut found = Vec::new();
    // SAFETY: the lock keeps others from the cursor and from the static entry that it points to; each entry
    // is copied before the next call.
    unsafe {
        libc::setpwent();
        while let Some(entry) = libc::getpwent().as_ref() {
            found.push(User {
                name: bytes(entry.pw_name),
                password: bytes(entry.pw_passwd),
                uid: entry.pw_uid,
                gid: entry.pw_gid,
                gecos: bytes(entry.pw_gecos),
                home: bytes(entry.pw_dir),
                shell: bytes(entry.pw_shell),
            });
        }
        libc::endpwent();
    }
    some(found)
}

/// All groups.
///
/// # Errors
/// As [`users`].
pub fn groups() -> io::Result<Vec<Group>> {
    let _alone = CURSOR.lock().unwrap_or_else(PoisonError::into_inner);
    let mut found = Vec::new();
    // SAFETY: as in `users`.
    unsafe {
        libc::setgrent();
        while let Some(entry) = libc::getgrent().as_ref() {
            found.push(Group {
                name: bytes(entry.gr_name),
                password: bytes(entry.gr_passwd),
                gid: entry.gr_gid,
                members: list(entry.gr_mem),
            });
        }
        libc::endgrent();
    }
    some(found)
}

/// All entries of shadow.
///
/// # Errors
/// There are none: only root may read them.
pub fn shadows() -> io::Result<Vec<Shadow>> {
    let _alone = CURSOR.lock().unwrap_or_else(PoisonError::into_inner);
    let mut found = Vec::new();
    let days = |number: libc::c_long| (number >= 0).then_some(number);
    // SAFETY: as in `users`.
    unsafe {
        libc::setspent();
        while let Some(entry) = libc::getspent().as_ref() {
            found.push(Shadow {
                name: bytes(entry.sp_namp),
                days: [
                    entry.sp_lstchg,
                    entry.sp_min,
                    entry.sp_max,
                    entry.sp_warn,
                    entry.sp_inact,
                    entry.sp_expire,
                ]
                .map(days),
            });
        }
        libc::endspent();
    }
    some(found)
}

/// An empty enumeration is a failed one, and written into a tree it would lock everybody out.
fn some<T>(found: Vec<T>) -> io::Result<Vec<T>> {
    if !found.is_empty() {
        return Ok(found);
    }
    let error = io::Error::last_os_error();
    Err(if error.raw_os_error() == Some(0) { io::Error::from_raw_os_error(libc::ENOENT) } else { error })
}

/// # Safety
/// `text` is null or a C string.
unsafe fn bytes(text: *const c_char) -> Vec<u8> {
    if text.is_null() {
        return Vec::new();
    }
    // SAFETY: the caller's word.
    unsafe { CStr::from_ptr(text) }.to_bytes().to_vec()
}

/// # Safety
/// `first` is null or the start of a null-terminated array of C strings.
unsafe fn list(first: *const *mut c_char) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    let mut next = first;
    // SAFETY: the caller's word; the walk ends at the terminator.
    unsafe {
        while let Some(text) = next.as_ref().filter(|text| !text.is_null()) {
            found.push(bytes(*text));
            next = next.add(1);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_among_the_users_and_groups_of_the_host() {
        let users = users().unwrap();
        let root = users.iter().find(|user| user.name == b"root").unwrap();
        assert_eq!((root.uid, root.gid), (0, 0));
        assert!(groups().unwrap().iter().any(|group| group.name == b"root" && group.gid == 0));
    }

    #[test]
    fn sys_root_the_ages_of_passwords_are_those_of_the_file() {
        let found = shadows().unwrap();
        let root = found.iter().find(|entry| entry.name == b"root").unwrap();
        let fd =
            rustix::fs::open("/etc/shadow", rustix::fs::OFlags::RDONLY, rustix::fs::Mode::empty()).unwrap();
        let text = crate::sys::file::read_limited(std::fs::File::from(fd), 1 << 20).unwrap();
        let line = text.lines().find(|line| line.starts_with("root:")).unwrap();
        let days: Vec<_> = line.split(':').skip(2).take(6).map(|field| field.parse().ok()).collect();
        assert_eq!(root.days.to_vec(), days);
    }

    #[test]
    fn an_empty_enumeration_is_a_failure() {
        assert!(some(Vec::<User>::new()).is_err());
    }
}

//! Lists of strings as execve(2) takes them.

use std::ffi::{CString, OsStr, c_char};
use std::io;
use std::os::unix::ffi::OsStrExt;

/// Strings and the pointers to them, with a null pointer at the end.
#[derive(Debug)]
pub(super) struct Pointers {
    /// Each string has a block of its own, so the pointers hold wherever this list is moved.
    _strings: Vec<CString>,
    pointers: Vec<*const c_char>,
}

impl Pointers {
    pub(super) fn new(strings: Vec<CString>) -> Self {
        let ends = std::iter::once(std::ptr::null());
        let pointers = strings.iter().map(|string| string.as_ptr()).chain(ends).collect();
        Self { _strings: strings, pointers }
    }

    pub(super) fn as_ptr(&self) -> *const *const c_char {
        self.pointers.as_ptr()
    }
}

/// A string for the kernel; one with a NUL byte in it is an invalid argument.
pub(super) fn c_string(text: impl AsRef<OsStr>) -> io::Result<CString> {
    CString::new(text.as_ref().as_bytes()).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
}

#[cfg(test)]
mod tests {
    use std::ffi::CStr;

    use super::*;

    #[test]
    fn the_list_ends_with_a_null_pointer_and_survives_a_move() {
        let list = Pointers::new(vec![c_string("a").unwrap(), c_string("bc").unwrap()]);
        let moved = Box::new(list);
        // SAFETY: the list has two strings and an end.
        unsafe {
            assert_eq!(CStr::from_ptr(*moved.as_ptr()).to_bytes(), b"a");
            assert_eq!(CStr::from_ptr(*moved.as_ptr().add(1)).to_bytes(), b"bc");
            assert!((*moved.as_ptr().add(2)).is_null());
        }
    }

    #[test]
    fn a_nul_byte_is_refused() {
        assert_eq!(c_string("a\0b").unwrap_err().raw_os_error(), Some(libc::EINVAL));
    }
}

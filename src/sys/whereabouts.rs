//! Where a worker is, told without a word: a number in memory that it shares with its parent.
//!
//! A worker that stands in a system call says nothing, so it has to be known beforehand which kind of call that is. The
//! number grows with each change of place and is odd inside the store: one that is odd and stays the same is a worker
//! that stands in one and the same piece of work there.

use std::io;
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};

const SIZE: usize = size_of::<AtomicU64>();

/// The number; copies are the same one, also in a child that was forked.
#[derive(Debug, Clone)]
pub struct Whereabouts(Rc<Page>);

/// Where a piece of work happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Files are made and written.
    Store,
    /// Anywhere else: something is read, computed, waited for.
    Elsewhere,
}

/// A piece of work in one place; with its end the worker is back where it was.
#[derive(Debug)]
pub struct Work {
    page: Rc<Page>,
    moved: bool,
}

#[derive(Debug)]
struct Page(NonNull<AtomicU64>);

impl Whereabouts {
    /// Of somebody who is elsewhere.
    ///
    /// # Errors
    /// As mmap(2).
    pub fn new() -> io::Result<Self> {
        let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
        // SAFETY: an anonymous mapping at an address of the kernel's choice touches no memory of ours.
        let page = unsafe { libc::mmap(std::ptr::null_mut(), SIZE, access, kind, -1, 0) };
        if page == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let page = NonNull::new(page.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self(Rc::new(Page(page))))
    }

    /// The number as it is now.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.0.number().load(Ordering::Relaxed)
    }

    /// Where somebody is who has this number.
    #[must_use]
    pub fn place_of(number: u64) -> Place {
        if number % 2 == 1 { Place::Store } else { Place::Elsewhere }
    }

    /// From here on we are at `place`, until what is returned is dropped.
    #[must_use]
    pub fn at(&self, place: Place) -> Work {
        let moved = Self::place_of(self.number()) != place;
        if moved {
            self.0.step();
        }
        Work { page: self.0.clone(), moved }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if self.moved {
            self.page.step();
        }
    }
}

impl Page {
    fn number(&self) -> &AtomicU64 {
        // SAFETY: the mapping is page-aligned, zeroed, as long as one AtomicU64, and stands until self is dropped; both
        // processes touch it by atomic operations only, and any bits are a number.
        unsafe { self.0.as_ref() }
    }

    fn step(&self) {
        self.number().fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, nothing refers to it any more, and a child has its own.
        unsafe { libc::munmap(self.0.as_ptr().cast(), SIZE) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::worker::Worker;

    #[test]
    fn a_parent_sees_where_its_worker_is() {
        let seen = Whereabouts::new().unwrap();
        assert_eq!(Whereabouts::place_of(seen.number()), Place::Elsewhere);
        let (read, write) = rustix::pipe::pipe().unwrap();
        let (wait, go) = rustix::pipe::pipe().unwrap();
        let keep = [std::os::fd::AsFd::as_fd(&write), std::os::fd::AsFd::as_fd(&wait)];
        let worker = Worker::fork(&keep, || {
            let _work = seen.at(Place::Store);
            let told = rustix::io::write(&write, b"x").is_ok();
            let mut byte = [0];
            u8::from(!told || rustix::io::read(&wait, &mut byte).is_err())
        });
        rustix::io::read(&read, &mut [0_u8]).unwrap();
        let stands = seen.number();
        assert_eq!(Whereabouts::place_of(stands), Place::Store);
        assert_eq!(seen.number(), stands);
        rustix::io::write(&go, b"x").unwrap();
        assert_eq!(worker.unwrap().wait().unwrap().exit_status(), Some(0));
        assert_eq!(seen.number(), stands + 1, "its work there is done");
    }

    #[test]
    fn work_within_work_comes_back_to_where_it_was() {
        let seen = Whereabouts::new().unwrap();
        let place = || Whereabouts::place_of(seen.number());
        {
            let _outer = seen.at(Place::Store);
            let first = seen.number();
            {
                let _same = seen.at(Place::Store);
                assert_eq!(seen.number(), first, "nothing changes");
            }
            {
                let _read = seen.at(Place::Elsewhere);
                assert_eq!(place(), Place::Elsewhere);
            }
            assert_eq!(place(), Place::Store);
            assert_ne!(seen.number(), first, "this is another piece of work");
        }
        assert_eq!(place(), Place::Elsewhere);
    }
}

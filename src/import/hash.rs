//! Digests of what is read, while it is read.

use std::cell::RefCell;
use std::io::{self, Read};
use std::rc::Rc;

use sha2::{Digest as _, Sha256};

use super::unpack::broken;
use crate::store::Digest;

/// The digest of a text.
pub(super) fn of(bytes: &[u8]) -> Digest {
    Digest::from_bytes(Sha256::digest(bytes).into())
}

/// Counts and digests all that a reader passes; its clones are one sum.
#[derive(Debug, Clone, Default)]
pub(super) struct Sum(Rc<RefCell<Sha256>>);

/// A reader that is summed up.
pub(super) struct Summed<R> {
    inner: R,
    sum: Sum,
}

impl Sum {
    pub(super) fn over<R: Read>(&self, inner: R) -> Summed<R> {
        Summed { inner, sum: self.clone() }
    }

    /// The digest of what was read so far.
    pub(super) fn digest(&self) -> Digest {
        Digest::from_bytes(self.0.borrow().clone().finalize().into())
    }

    /// Refuses what is not what was promised.
    pub(super) fn check(&self, promised: &Digest, what: &str) -> io::Result<()> {
        let found = self.digest();
        if found == *promised {
            return Ok(());
        }
        Err(broken(&format!("{what} has the digest {found}, and {promised} was promised")))
    }
}

impl<R: Read> Read for Summed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.sum.0.borrow_mut().update(buffer.get(..read).unwrap_or_default());
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_is_of_what_was_read_and_says_what_it_should_have_been() {
        let sum = Sum::default();
        io::copy(&mut sum.over(&b"abc"[..]), &mut io::sink()).unwrap();
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".parse().unwrap();
        assert_eq!((sum.digest(), of(b"abc")), (abc, sum.digest()));
        sum.check(&of(b"abc"), "it").unwrap();
        let error = sum.check(&of(b"abd"), "a layer").unwrap_err().to_string();
        assert!(
            error.contains("a layer has the digest ba7816bf") && error.contains("was promised"),
            "{error}"
        );
    }
}

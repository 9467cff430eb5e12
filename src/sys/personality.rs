//! What the kernel pretends to be to programs: personality(2).

use std::io;

use serde::{Deserialize, Serialize};

const PER_LINUX: libc::c_ulong = 0;
const PER_LINUX32: libc::c_ulong = 8;

/// One that Linux still knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Personality {
    /// The usual one.
    Linux,
    /// A 32-bit machine.
    Linux32,
}

impl Personality {
    /// The one of a name in schroot.conf; none for those of systems that Linux does not play any more.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        match word {
            "linux" => Some(Self::Linux),
            "linux32" | "linux_32bit" => Some(Self::Linux32),
            _ => None,
        }
    }

    /// Makes it that of this process, and of those that it starts, until what is returned is dropped.
    ///
    /// # Errors
    /// As personality(2).
    pub fn assume(self) -> io::Result<Assumed> {
        let wanted = match self {
            Self::Linux => PER_LINUX,
            Self::Linux32 => PER_LINUX32,
        };
        set(wanted).map(Assumed)
    }
}

/// A personality that is ours for a time; dropped, the one before is.
#[derive(Debug)]
pub struct Assumed(libc::c_ulong);

impl Drop for Assumed {
    fn drop(&mut self) {
        if let Err(error) = set(self.0) {
            tracing::warn!("the personality stays: {error}");
        }
    }
}

/// The one before.
fn set(wanted: libc::c_ulong) -> io::Result<libc::c_ulong> {
    // SAFETY: the call takes a number and touches no memory of ours.
    let before = unsafe { libc::personality(wanted) };
    libc::c_ulong::try_from(before).map_err(|_| io::Error::last_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_of_a_system_that_linux_does_not_play_is_none() {
        assert_eq!(Personality::of_word("linux"), Some(Personality::Linux));
        assert_eq!(Personality::of_word("linux32"), Some(Personality::Linux32));
        assert_eq!(Personality::of_word("solaris"), None);
    }

    #[test]
    fn one_that_was_assumed_is_given_back() {
        let assumed = Personality::Linux32.assume().unwrap();
        assert_eq!(set(PER_LINUX32).unwrap(), PER_LINUX32);
        drop(assumed);
        assert_eq!(set(PER_LINUX).unwrap(), PER_LINUX);
    }
}

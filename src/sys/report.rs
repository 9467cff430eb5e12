//! What a child tells its parent through a pipe: why it did not start, what it did otherwise, how it ended.
//!
//! A record is 16 bytes, so that a write is whole or not at all. The pipe closes when the command is executed;
//! the init of a process namespace keeps it and reports what only it can see. Reading trusts nothing: root
//! inside could get at the pipe of that init.

use std::os::fd::BorrowedFd;

const LENGTH: usize = 16;

/// The steps of the way in, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Step {
    Propagation,
    Tree,
    Pivot,
    Unlock,
    Proc,
    Loopback,
    Hostname,
    Descriptors,
    Bounding,
    Groups,
    Ids,
    Verify,
    Capabilities,
    NoNewPrivs,
    Init,
    Directory,
    Limits,
    Signals,
    Exec,
}

const STEPS: [(Step, &str); 19] = [
    (Step::Propagation, "make the mounts of the command private"),
    (Step::Tree, "find the mounted tree again"),
    (Step::Pivot, "make the tree the root"),
    (Step::Unlock, "let setuid bits and devices work in the tree"),
    (Step::Proc, "mount a new /proc"),
    (Step::Loopback, "start the loopback network"),
    (Step::Hostname, "set the host name"),
    (Step::Descriptors, "close open files"),
    (Step::Bounding, "drop capabilities from the bounding set"),
    (Step::Groups, "set the groups"),
    (Step::Ids, "change the user"),
    (Step::Verify, "verify that root was given up"),
    (Step::Capabilities, "drop capabilities"),
    (Step::NoNewPrivs, "forbid new privileges"),
    (Step::Init, "start the first process of the namespace"),
    (Step::Directory, "change the directory"),
    (Step::Limits, "restore resource limits"),
    (Step::Signals, "restore signals"),
    (Step::Exec, "execute the program"),
];

impl Step {
    pub(super) fn text(self) -> &'static str {
        STEPS.iter().find(|(step, _)| *step == self).map_or("enter the tree", |(_, text)| text)
    }

    fn of(number: u32) -> Option<Self> {
        STEPS.iter().map(|(step, _)| *step).find(|step| *step as u32 == number)
    }
}

/// A record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Report {
    /// The command did not start.
    Failed(Failure),
    /// A directory was refused, the next is tried.
    DirectoryRefused { which: u32, errno: i32 },
    /// A shell was refused, the next is tried.
    ShellRefused { which: u32, errno: i32 },
    /// The command was stopped by a signal (from an init).
    Stopped { signal: i32 },
    /// The command ended with this wait status (from an init).
    Ended { status: i32 },
}

/// Where the way in ended: at which step, of its several objects at which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) step: Step,
    pub(super) which: u32,
    pub(super) errno: i32,
}

impl Report {
    fn encode(self) -> [u8; LENGTH] {
        let words = match self {
            Self::Failed(failure) => [1, failure.step as u32, failure.which, failure.errno.cast_unsigned()],
            Self::DirectoryRefused { which, errno } => [2, 0, which, errno.cast_unsigned()],
            Self::ShellRefused { which, errno } => [3, 0, which, errno.cast_unsigned()],
            Self::Stopped { signal } => [4, 0, 0, signal.cast_unsigned()],
            Self::Ended { status } => [5, 0, 0, status.cast_unsigned()],
        };
        let mut bytes = [0; LENGTH];
        for (place, word) in bytes.chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_ne_bytes());
        }
        bytes
    }

    fn decode(bytes: &[u8; LENGTH]) -> Option<Self> {
        let mut words = [0_u32; 4];
        for (word, chunk) in words.iter_mut().zip(bytes.chunks_exact(4)) {
            *word = u32::from_ne_bytes(chunk.try_into().ok()?);
        }
        let [kind, step, which, value] = words;
        let value = value.cast_signed();
        Some(match kind {
            1 => Self::Failed(Failure { step: Step::of(step)?, which, errno: value }),
            2 => Self::DirectoryRefused { which, errno: value },
            3 => Self::ShellRefused { which, errno: value },
            4 => Self::Stopped { signal: value },
            5 => Self::Ended { status: value },
            _ => return None,
        })
    }

    /// Sends it; allocates nothing. A parent that is gone needs no report.
    pub(super) fn send(self, pipe: BorrowedFd<'_>) {
        let bytes = self.encode();
        while rustix::io::write(pipe, &bytes) == Err(rustix::io::Errno::INTR) {}
    }
}

/// What one read of the pipe gave.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// A record.
    Report(Report),
    /// Nothing at the moment.
    Nothing,
    /// The other end is closed (or talks nonsense).
    End,
}

/// Takes the next record from a pipe that does not block.
pub(super) fn receive(pipe: BorrowedFd<'_>) -> Received {
    let mut bytes = [0; LENGTH];
    match rustix::io::read(pipe, &mut bytes) {
        Ok(LENGTH) => Report::decode(&bytes).map_or(Received::End, Received::Report),
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Received::Nothing,
        Ok(_) | Err(_) => Received::End,
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use rustix::pipe::{PipeFlags, pipe_with};

    use super::*;

    const ALL: [Report; 5] = [
        Report::Failed(Failure { step: Step::Exec, which: 3, errno: 13 }),
        Report::DirectoryRefused { which: 1, errno: 2 },
        Report::ShellRefused { which: 0, errno: 8 },
        Report::Stopped { signal: 20 },
        Report::Ended { status: 0x0700 },
    ];

    #[test]
    fn records_arrive_as_they_were_sent_and_then_the_end() {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).unwrap();
        assert_eq!(receive(read.as_fd()), Received::Nothing);
        for report in ALL {
            report.send(write.as_fd());
        }
        for report in ALL {
            assert_eq!(receive(read.as_fd()), Received::Report(report));
        }
        drop(write);
        assert_eq!(receive(read.as_fd()), Received::End);
    }

    #[test]
    fn nonsense_ends_the_conversation() {
        for bytes in
            [vec![0xff; LENGTH], vec![1; 3], [[1_u8, 0, 0, 0], [99, 0, 0, 0], [0; 4], [0; 4]].concat()]
        {
            let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).unwrap();
            rustix::io::write(&write, &bytes).unwrap();
            assert_eq!(receive(read.as_fd()), Received::End, "{bytes:?}");
        }
    }

    #[test]
    fn every_step_has_its_number_and_its_words() {
        for (step, text) in STEPS {
            assert_eq!(Step::of(step as u32), Some(step));
            assert_eq!(step.text(), text);
        }
    }
}

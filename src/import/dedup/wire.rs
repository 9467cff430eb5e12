//! What the worker that unpacks and its parent say to each other: one question, one answer.
//!
//! Each is one datagram. A question is the number of a source and a path in it, and comes with the empty file that is
//! to be like the one at that path. The worker handles a hostile archive: its questions are taken for no more than
//! wishes.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};

/// The number of a source, and a path.
const LONGEST: usize = 1 + 4096;

/// What became of a wish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// The file shares the blocks of what was asked for.
    Shared,
    /// It is a copy of it: nothing is saved by that, now or later.
    Copied,
    /// There is no such file.
    Nothing,
    /// That source has gone.
    SourceGone,
    /// Blocks cannot be shared here.
    Never,
    /// It failed with this errno, and so does the import.
    Failed(i32),
}

/// The two ends of a new wire.
pub(super) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC;
    Ok(rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?)
}

/// Asks for the file `path` of a source and waits for the answer.
pub(super) fn ask(wire: impl AsFd, source: u8, path: &[u8], file: BorrowedFd<'_>) -> io::Result<Answer> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut along = SendAncillaryBuffer::new(&mut space);
    let files = [file];
    along.push(SendAncillaryMessage::ScmRights(&files));
    let source = [source];
    let parts = [IoSlice::new(&source), IoSlice::new(path)];
    retry(|| rustix::net::sendmsg(&wire, &parts, &mut along, SendFlags::NOSIGNAL))?;
    let mut answer = [0; 5];
    let (_, length) = retry(|| rustix::net::recv(&wire, &mut answer, RecvFlags::empty()))?;
    if length != answer.len() {
        return Err(Errno::PIPE.into());
    }
    Answer::decode(answer)
}

/// The next question: a source, a path, a file. `None` if the other end is closed or makes no sense.
pub(super) fn hear(wire: impl AsFd) -> io::Result<Option<(u8, Vec<u8>, OwnedFd)>> {
    let mut bytes = vec![0; LONGEST];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut along = RecvAncillaryBuffer::new(&mut space);
    let received = retry(|| {
        let mut parts = [IoSliceMut::new(&mut bytes)];
        rustix::net::recvmsg(&wire, &mut parts, &mut along, RecvFlags::CMSG_CLOEXEC)
    })?;
    let mut file = None;
    for message in along.drain() {
        if let RecvAncillaryMessage::ScmRights(files) = message {
            file = files.last();
        }
    }
    bytes.truncate(received.bytes);
    let Some((source, path)) = bytes.split_first() else { return Ok(None) };
    Ok(file.map(|file| (*source, path.to_vec(), file)))
}

/// Answers.
pub(super) fn answer(wire: impl AsFd, answer: Answer) -> io::Result<()> {
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    retry(|| rustix::net::send(&wire, &answer.encode(), flags)).map(drop)
}

fn retry<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            other => return Ok(other?),
        }
    }
}

impl Answer {
    fn encode(self) -> [u8; 5] {
        let (tag, errno) = match self {
            Self::Shared => (1, 0),
            Self::Copied => (2, 0),
            Self::Nothing => (3, 0),
            Self::SourceGone => (4, 0),
            Self::Never => (5, 0),
            Self::Failed(errno) => (6, errno),
        };
        let [one, two, three, four] = i32::to_le_bytes(errno);
        [tag, one, two, three, four]
    }

    fn decode([tag, one, two, three, four]: [u8; 5]) -> io::Result<Self> {
        Ok(match tag {
            1 => Self::Shared,
            2 => Self::Copied,
            3 => Self::Nothing,
            4 => Self::SourceGone,
            5 => Self::Never,
            6 => Self::Failed(i32::from_le_bytes([one, two, three, four])),
            _ => return Err(Errno::PROTO.into()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::os::unix::fs::FileExt as _;

    #[test]
    fn a_question_comes_with_its_file_and_has_its_answer() {
        let (ours, theirs) = pair().unwrap();
        let file = tempfile::tempfile().unwrap();
        let answers = [
            Answer::Shared,
            Answer::Copied,
            Answer::Nothing,
            Answer::SourceGone,
            Answer::Never,
            Answer::Failed(28),
        ];
        let asker = std::thread::spawn(move || {
            let long = [b'x'; 4096];
            let heard = answers.map(|_| ask(&theirs, 7, &long, file.as_fd()).unwrap());
            (heard, file)
        });
        for wanted in answers {
            let (source, path, file) = hear(&ours).unwrap().unwrap();
            assert_eq!((source, path.len()), (7, 4096));
            std::fs::File::from(file).write_all(b"x").unwrap();
            answer(&ours, wanted).unwrap();
        }
        let (heard, file) = asker.join().unwrap();
        assert_eq!(heard, answers);
        file.read_exact_at(&mut [0; 6], 0).unwrap();
    }

    #[test]
    fn nonsense_is_no_question_and_an_end_that_closed_is_an_error_or_none() {
        let (ours, theirs) = pair().unwrap();
        rustix::net::send(&theirs, b"\x01no file", SendFlags::empty()).unwrap();
        assert!(hear(&ours).unwrap().is_none());
        rustix::net::send(&ours, b"\x09....", SendFlags::empty()).unwrap();
        let file = tempfile::tempfile().unwrap();
        assert_eq!(ask(&theirs, 1, b"x", file.as_fd()).unwrap_err().raw_os_error(), Some(libc::EPROTO));
        drop(theirs);
        hear(&ours).unwrap();
        assert!(hear(&ours).unwrap().is_none());
        let (ours, theirs) = pair().unwrap();
        drop(ours);
        assert_eq!(ask(&theirs, 1, b"x", file.as_fd()).unwrap_err().raw_os_error(), Some(libc::EPIPE));
    }
}

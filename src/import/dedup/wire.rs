//! What the worker that unpacks and its parent say to each other: questions, and an answer to each, in their order.
//!
//! A question is one message: the number of a source and a path in it, with the empty file that is to be like the one
//! at that path. An empty path is a complaint: what was cloned from that source cannot be read. Answers come several in
//! one message. It is a stream, for sockets that keep messages apart take no more than ten of them
//! (`net.unix.max_dgram_qlen`); nothing reads past a message with a file, so they do not run together. The worker may ask
//! [`MOST_ASKED`] times before it has to listen. It handles a hostile archive: its questions are taken for no more than
//! wishes.

use std::collections::VecDeque;
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
/// Questions that may wait for their answers.
pub(super) const MOST_ASKED: usize = 64;
const ANSWER: usize = 5;

/// What came over the wire.
#[derive(Debug)]
pub(super) enum Heard {
    /// A source, a path, a file.
    Question(u8, Vec<u8>, OwnedFd),
    /// There is no question now.
    Nothing,
    /// The other end is closed, or makes no sense.
    End,
}

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
    Ok(rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)?)
}

/// Asks for the file `path` of a source.
pub(super) fn ask(wire: impl AsFd, source: u8, path: &[u8], file: BorrowedFd<'_>) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut along = SendAncillaryBuffer::new(&mut space);
    let files = [file];
    along.push(SendAncillaryMessage::ScmRights(&files));
    let source = [source];
    let parts = [IoSlice::new(&source), IoSlice::new(path)];
    retry(|| rustix::net::sendmsg(&wire, &parts, &mut along, SendFlags::NOSIGNAL)).map(drop)
}

/// Waits for answers, and adds them to those that came before.
pub(super) fn listen(wire: impl AsFd, answers: &mut VecDeque<Answer>) -> io::Result<()> {
    let mut bytes = [0; MOST_ASKED * ANSWER];
    let (_, length) = retry(|| rustix::net::recv(&wire, &mut bytes, RecvFlags::empty()))?;
    let (whole, rest) = bytes.get(..length).ok_or(Errno::PROTO)?.as_chunks::<ANSWER>();
    if whole.is_empty() || !rest.is_empty() {
        return Err(Errno::PIPE.into());
    }
    for answer in whole {
        answers.push_back(Answer::decode(*answer)?);
    }
    Ok(())
}

/// The next question, if there is one.
pub(super) fn hear(wire: impl AsFd) -> io::Result<Heard> {
    let mut bytes = vec![0; LONGEST];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut along = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let received = retry(|| {
        let mut parts = [IoSliceMut::new(&mut bytes)];
        rustix::net::recvmsg(&wire, &mut parts, &mut along, flags)
    });
    let received = match received {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Heard::Nothing),
        other => other?,
    };
    let mut file = None;
    for message in along.drain() {
        if let RecvAncillaryMessage::ScmRights(files) = message {
            file = files.last();
        }
    }
    bytes.truncate(received.bytes);
    Ok(match (bytes.split_first(), file) {
        (Some((source, path)), Some(file)) => Heard::Question(*source, path.to_vec(), file),
        _ => Heard::End,
    })
}

/// Answers; what is sent is gone from `answers`. `false` if the other end does not listen now.
pub(super) fn answer(wire: impl AsFd, answers: &mut Vec<Answer>) -> io::Result<bool> {
    while !answers.is_empty() {
        let now = answers.len().min(MOST_ASKED);
        let bytes: Vec<u8> = answers.iter().take(now).flat_map(|answer| answer.encode()).collect();
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        match retry(|| rustix::net::send(&wire, &bytes, flags)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            other => drop(other?),
        }
        answers.drain(..now);
    }
    Ok(true)
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
    fn encode(self) -> [u8; ANSWER] {
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

    fn decode([tag, one, two, three, four]: [u8; ANSWER]) -> io::Result<Self> {
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

    const ANSWERS: [Answer; 6] = [
        Answer::Shared,
        Answer::Copied,
        Answer::Nothing,
        Answer::SourceGone,
        Answer::Never,
        Answer::Failed(28),
    ];

    fn question(wire: &OwnedFd) -> (u8, usize, std::fs::File) {
        match hear(wire).unwrap() {
            Heard::Question(source, path, file) => (source, path.len(), file.into()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn questions_come_with_their_files_and_have_their_answers_in_order_also_several_at_once() {
        let (ours, theirs) = pair().unwrap();
        assert!(matches!(hear(&ours).unwrap(), Heard::Nothing));
        let file = tempfile::tempfile().unwrap();
        let mut heard = VecDeque::new();
        for batch in [1, 5, 2] {
            for _ in 0..batch {
                ask(&theirs, 7, &[b'x'; 4096], file.as_fd()).unwrap();
            }
            for _ in 0..batch {
                let (source, length, mut file) = question(&ours);
                assert_eq!((source, length), (7, 4096));
                file.write_all(b"x").unwrap();
            }
            let mut answers = ANSWERS.into_iter().cycle().take(batch).collect();
            assert!(answer(&ours, &mut answers).unwrap() && answers.is_empty());
            listen(&theirs, &mut heard).unwrap();
        }
        let wanted: Vec<Answer> = [&ANSWERS[..1], &ANSWERS[..5], &ANSWERS[..2]].concat();
        assert_eq!(heard, wanted);
        file.read_exact_at(&mut [0; 8], 0).unwrap();
    }

    #[test]
    fn answers_that_nobody_listens_to_are_kept_and_come_later() {
        let (ours, theirs) = pair().unwrap();
        let mut sent = 0;
        let mut answers = loop {
            let mut answers = vec![Answer::Nothing];
            if !answer(&ours, &mut answers).unwrap() {
                break answers;
            }
            sent += 1;
        };
        assert!(sent >= MOST_ASKED, "{sent}");
        answers.extend([Answer::Failed(5); MOST_ASKED + 1]);
        let mut heard = VecDeque::new();
        while heard.len() < sent {
            listen(&theirs, &mut heard).unwrap();
        }
        assert!(answer(&ours, &mut answers).unwrap());
        while heard.len() < sent + MOST_ASKED + 2 {
            listen(&theirs, &mut heard).unwrap();
        }
        assert_eq!((heard[sent], heard[sent + 1]), (Answer::Nothing, Answer::Failed(5)));
    }

    #[test]
    fn as_many_questions_as_one_may_ask_are_under_way_without_an_answer() {
        let (ours, theirs) = pair().unwrap();
        let file = tempfile::tempfile().unwrap();
        for number in 0..u8::try_from(MOST_ASKED).unwrap() {
            ask(&theirs, number, b"usr/share/some/path", file.as_fd()).unwrap();
        }
        for number in 0..u8::try_from(MOST_ASKED).unwrap() {
            assert_eq!(question(&ours).0, number);
        }
    }

    #[test]
    fn nonsense_is_no_question_and_an_end_that_closed_is_an_error_or_an_end() {
        let (ours, theirs) = pair().unwrap();
        rustix::net::send(&theirs, b"\x01no file", SendFlags::empty()).unwrap();
        assert!(matches!(hear(&ours).unwrap(), Heard::End));
        let mut heard = VecDeque::new();
        let errno = |error: io::Error| error.raw_os_error();
        for (bytes, wanted) in [(&b"\x09...."[..], libc::EPROTO), (b"\x01...", libc::EPIPE)] {
            rustix::net::send(&ours, bytes, SendFlags::empty()).unwrap();
            assert_eq!(errno(listen(&theirs, &mut heard).unwrap_err()), Some(wanted), "{bytes:?}");
        }
        drop(theirs);
        assert!(matches!(hear(&ours).unwrap(), Heard::End));
        assert_eq!(answer(&ours, &mut vec![Answer::Shared]).unwrap_err().raw_os_error(), Some(libc::EPIPE));
        let (ours, theirs) = pair().unwrap();
        drop(ours);
        let file = tempfile::tempfile().unwrap();
        assert_eq!(errno(ask(&theirs, 1, b"x", file.as_fd()).unwrap_err()), Some(libc::EPIPE));
        assert_eq!(errno(listen(&theirs, &mut heard).unwrap_err()), Some(libc::EPIPE));
    }
}

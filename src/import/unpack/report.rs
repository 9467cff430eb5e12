//! What the worker tells its parent, through a pipe.
//!
//! Frames of at most 4096 bytes (so that each write is whole): a tag, a length of two bytes, a payload. The
//! worker handles a hostile archive, so the parent takes nothing that it says for granted.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Write};
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::sys::whereabouts::{Place, Whereabouts, Work};

const LONGEST_FRAME: usize = 4096;
const LONGEST_TEXT: usize = 1200;
const BEAT: Duration = Duration::from_millis(100);
/// Room before the text of a [`Message::Failed`] in its frame.
const FAILED_HEAD: usize = 7;

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::import) enum Message {
    /// So many bytes of the archive were read, all in all.
    Progress(u64),
    /// Something for people that is no failure.
    Note(String),
    /// So many bytes share the blocks of other images.
    Saved(u64),
    /// All is unpacked.
    Done { bytes: u64, files: u64 },
    /// It ended here.
    Failed(Failure),
}

/// Why the worker gave up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::import) struct Failure {
    /// 0 if there is none.
    pub(in crate::import) errno: i32,
    /// The archive ends too early.
    pub(in crate::import) cut_off: bool,
    /// The entry, escaped; empty if it is the archive as a whole.
    pub(in crate::import) entry: String,
    /// For people, if there is no errno.
    pub(in crate::import) text: String,
}

impl Failure {
    pub(in crate::import) fn new(entry: &[u8], error: &io::Error) -> Self {
        Self {
            errno: error.raw_os_error().unwrap_or(0),
            cut_off: error.kind() == io::ErrorKind::UnexpectedEof,
            entry: escape(entry),
            text: error.to_string(),
        }
    }

    /// The worker ended without a word.
    pub(in crate::import) fn silent() -> Self {
        Self { errno: 0, cut_off: false, entry: String::new(), text: String::new() }
    }

    pub(in crate::import) fn is_silent(&self) -> bool {
        self.errno == 0 && self.text.is_empty()
    }

    /// The cause, as the parent's error has it.
    pub(in crate::import) fn cause(&self) -> io::Error {
        match (self.errno, self.cut_off) {
            (1.., _) => io::Error::from_raw_os_error(self.errno),
            (_, true) => io::Error::new(io::ErrorKind::UnexpectedEof, self.text.clone()),
            (_, false) => io::Error::new(io::ErrorKind::InvalidData, self.text.clone()),
        }
    }
}

/// A name that may hold anything, fit for a terminal and a log.
pub(in crate::import) fn escape(name: &[u8]) -> String {
    let text = String::from_utf8_lossy(name).escape_debug().take(LONGEST_TEXT).collect::<String>();
    text.replace("\\'", "'")
}

impl Message {
    fn encode(&self) -> Vec<u8> {
        let (tag, payload) = match self {
            Self::Progress(read) => (1, read.to_le_bytes().to_vec()),
            Self::Note(text) => (2, shortened(text).into()),
            Self::Done { bytes, files } => (3, [bytes.to_le_bytes(), files.to_le_bytes()].concat()),
            Self::Saved(bytes) => (5, bytes.to_le_bytes().to_vec()),
            Self::Failed(failure) => (4, encode_failure(failure)),
        };
        let length = u16::try_from(payload.len()).unwrap_or(u16::MAX);
        [&[tag], length.to_le_bytes().as_slice(), &payload].concat()
    }

    /// The first message in `buffer` and how many bytes it takes; `None` if it is not whole yet.
    ///
    /// # Errors
    /// That is no message.
    pub(in crate::import) fn decode(buffer: &[u8]) -> io::Result<Option<(Self, usize)>> {
        let Some(([tag, low, high], rest)) = buffer.split_first_chunk() else { return Ok(None) };
        let length = usize::from(u16::from_le_bytes([*low, *high]));
        if length > LONGEST_FRAME {
            return Err(nonsense());
        }
        let Some(payload) = rest.get(..length) else { return Ok(None) };
        let message = match (tag, payload) {
            (1, payload) => Self::Progress(u64::from_le_bytes(payload.try_into().map_err(|_| nonsense())?)),
            (2, text) => Self::Note(printable(text)),
            (3, payload) => {
                let (bytes, files) = payload.split_first_chunk::<8>().ok_or_else(nonsense)?;
                let files = files.try_into().map_err(|_| nonsense())?;
                Self::Done { bytes: u64::from_le_bytes(*bytes), files: u64::from_le_bytes(files) }
            }
            (5, payload) => Self::Saved(u64::from_le_bytes(payload.try_into().map_err(|_| nonsense())?)),
            (4, payload) => Self::Failed(decode_failure(payload).ok_or_else(nonsense)?),
            _ => return Err(nonsense()),
        };
        Ok(Some((message, length + 3)))
    }
}

fn encode_failure(failure: &Failure) -> Vec<u8> {
    let entry = shortened(&failure.entry);
    let length = u16::try_from(entry.len()).unwrap_or(u16::MAX);
    let mut payload = failure.errno.to_le_bytes().to_vec();
    payload.push(u8::from(failure.cut_off));
    payload.extend(length.to_le_bytes());
    payload.extend(entry.as_bytes());
    payload.extend(shortened(&failure.text).as_bytes());
    payload
}

fn decode_failure(payload: &[u8]) -> Option<Failure> {
    let (head, texts) = payload.split_first_chunk::<FAILED_HEAD>()?;
    let [e0, e1, e2, e3, cut_off, low, high] = *head;
    let (entry, text) = texts.split_at_checked(usize::from(u16::from_le_bytes([low, high])))?;
    Some(Failure {
        errno: i32::from_le_bytes([e0, e1, e2, e3]),
        cut_off: cut_off != 0,
        entry: printable(entry),
        text: printable(text),
    })
}

fn nonsense() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the worker that unpacks said something that is no message")
}

fn shortened(text: &str) -> &str {
    text.get(..text.floor_char_boundary(LONGEST_TEXT)).unwrap_or_default()
}

fn printable(text: &[u8]) -> String {
    String::from_utf8_lossy(text).chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// The worker's end of the pipe: messages, and a sign of life with the progress every 100 ms. And where it is, which it
/// shows without a word.
#[derive(Clone)]
pub(in crate::import) struct Beat(Rc<RefCell<State>>, Whereabouts);

struct State {
    pipe: File,
    read: u64,
    last: Instant,
}

impl Beat {
    pub(in crate::import) fn new(pipe: File, whereabouts: Whereabouts) -> Self {
        Self(Rc::new(RefCell::new(State { pipe, read: 0, last: Instant::now() })), whereabouts)
    }

    /// A piece of work at a place begins; it ends with what is returned.
    pub(in crate::import) fn at(&self, place: Place) -> Work {
        self.1.at(place)
    }

    /// So many bytes more of the archive were read.
    pub(in crate::import) fn read(&self, bytes: u64) -> io::Result<()> {
        self.0.borrow_mut().read += bytes;
        self.alive()
    }

    /// The work goes on.
    pub(in crate::import) fn alive(&self) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        if state.last.elapsed() < BEAT {
            return Ok(());
        }
        state.last = Instant::now();
        let frame = Message::Progress(state.read).encode();
        state.pipe.write_all(&frame)
    }

    /// Says something; before the last word the progress is brought up to date.
    pub(in crate::import) fn say(&self, message: &Message) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        if matches!(message, Message::Done { .. }) {
            let frame = Message::Progress(state.read).encode();
            state.pipe.write_all(&frame)?;
        }
        state.pipe.write_all(&message.encode())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(entry: &str, text: &str) -> Message {
        Message::Failed(Failure { errno: 28, cut_off: false, entry: entry.to_owned(), text: text.to_owned() })
    }

    #[test]
    fn messages_survive_the_pipe_also_byte_by_byte() {
        let messages = [
            Message::Progress(u64::MAX),
            Message::Note("a note".to_owned()),
            Message::Saved(3),
            Message::Done { bytes: 1, files: 2 },
            failure("etc/passwd", "no"),
            failure("", ""),
        ];
        for message in messages {
            let frame = message.encode();
            for end in 0..frame.len() {
                assert_eq!(Message::decode(&frame[..end]).unwrap(), None, "{message:?} cut at {end}");
            }
            let more = [frame.as_slice(), &[9]].concat();
            assert_eq!(Message::decode(&more).unwrap(), Some((message, frame.len())));
        }
    }

    #[test]
    fn what_is_no_message_is_refused() {
        let frames: [&[u8]; 8] = [
            &[0, 0, 0],
            &[5, 0, 0],
            &[6, 0, 0],
            &[1, 1, 0, 7],
            &[3, 2, 0, 7, 7],
            &[4, 1, 0, 7],
            &[4, 8, 0, 0, 0, 0, 0, 0, 9, 9, 9],
            &[2, 255, 255],
        ];
        for frame in frames {
            assert!(Message::decode(frame).is_err(), "{frame:?}");
        }
    }

    #[test]
    fn long_and_wild_texts_are_cut_and_tamed() {
        let frame = failure(&"ü".repeat(5000), &"x".repeat(5000)).encode();
        assert!(frame.len() <= LONGEST_FRAME);
        assert!(Message::decode(&frame).unwrap().is_some());
        let (message, _) =
            Message::decode(&Message::Note("a\x1b[2J\nb".to_owned()).encode()).unwrap().unwrap();
        assert_eq!(message, Message::Note("a?[2J?b".to_owned()));
        assert_eq!(escape(b"a\x1b\n'\xff\"b"), "a\\u{1b}\\n'\u{fffd}\\\"b");
    }

    #[test]
    fn a_failure_keeps_its_errno_or_its_kind() {
        let of = |error: io::Error| Failure::new(b"x", &error).cause();
        assert_eq!(of(io::Error::from_raw_os_error(28)).raw_os_error(), Some(28));
        let cut = of(io::Error::new(io::ErrorKind::UnexpectedEof, "cut"));
        assert_eq!((cut.kind(), cut.to_string().as_str()), (io::ErrorKind::UnexpectedEof, "cut"));
        assert_eq!(of(io::Error::other("bad")).kind(), io::ErrorKind::InvalidData);
    }
}

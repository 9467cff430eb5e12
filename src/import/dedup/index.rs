//! The index of an image: which files it has, by what is in them.
//!
//! ```text
//! names      of each file its path, behind a length of two bytes
//! records    sorted: of each file its key, and where its name stands
//! the end    a mark, how many records there are, where they begin
//! ```
//!
//! A key is the beginning of the digest of a file's size and of as much of its content as [`HEAD`] says: for most
//! files that is all of it. It only finds; whether two files are the same is seen by comparing them. So nothing of an
//! index has to be right, and it is written by the worker that unpacks the image, and read by that of another one.
//!
//! It is searched in the file, with pread(2): of a million files nothing is kept in memory but, while it is written,
//! 16 bytes for each.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::rc::Rc;

use sha2::{Digest as _, Sha256};

/// So much of a file's content is digested.
pub(in crate::import) const HEAD: usize = 16 << 10;
/// Files beyond so many are not in an index.
const MOST: usize = 2 << 20;
/// And no more names than fit into these.
const MOST_BYTES: u64 = 256 << 20;
const MARK: [u8; 8] = *b"zchroot2";
const RECORD: usize = 16;
const END: u64 = 24;
/// Names are written, and records, so many bytes at once.
const PIECE: usize = 64 << 10;
/// Records that are read at once.
const WINDOW: u64 = 64;
const LONGEST_NAME: usize = 4095;

/// What a file is found by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::import) struct Key(u64);

impl Key {
    /// The key of a file of `size` bytes that begins so.
    pub(in crate::import) fn of(size: u64, head: &[u8]) -> Self {
        let sum = Sha256::new_with_prefix(size.to_le_bytes()).chain_update(head).finalize();
        Self(u64::from_le_bytes(sum.as_slice().first_chunk().copied().unwrap_or_default()))
    }
}

/// An index that is being written.
#[derive(Debug)]
pub(super) struct Writer {
    out: Rc<File>,
    at: u64,
    buffer: Vec<u8>,
    records: Vec<(Key, u64)>,
}

impl Writer {
    pub(super) fn new(out: Rc<File>) -> Self {
        Self { out, at: 0, buffer: Vec::new(), records: Vec::new() }
    }

    /// Adds a file.
    pub(super) fn add(&mut self, key: Key, path: &[u8]) -> io::Result<()> {
        let Some(length) = u16::try_from(path.len()).ok().filter(|_| path.len() <= LONGEST_NAME) else {
            return Ok(());
        };
        if self.records.len() >= MOST || self.at >= MOST_BYTES {
            return Ok(());
        }
        self.records.push((key, self.at + self.buffer.len() as u64));
        self.buffer.extend(length.to_le_bytes());
        self.buffer.extend(path);
        if self.buffer.len() >= PIECE { self.flush() } else { Ok(()) }
    }

    /// Writes what makes it an index.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.flush()?;
        let start = self.at;
        let mut records = std::mem::take(&mut self.records);
        records.sort_unstable();
        for part in records.chunks(PIECE / RECORD) {
            for (Key(key), at) in part {
                self.buffer.extend(key.to_le_bytes());
                self.buffer.extend(at.to_le_bytes());
            }
            self.flush()?;
        }
        self.buffer.extend(MARK);
        self.buffer.extend((records.len() as u64).to_le_bytes());
        self.buffer.extend(start.to_le_bytes());
        self.flush()
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.write_all_at(&self.buffer, self.at)?;
        self.at += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

/// An index to look into.
#[derive(Debug)]
pub(super) struct Index {
    file: Rc<File>,
    start: u64,
    count: u64,
}

impl Index {
    /// `None` if that is no index, or none that was written to its end.
    pub(super) fn open(file: Rc<File>) -> io::Result<Option<Self>> {
        let size = file.metadata()?.len();
        let Some(at) = size.checked_sub(END) else { return Ok(None) };
        let mut end = [0; END as usize];
        file.read_exact_at(&mut end, at)?;
        let (words, _) = end.as_chunks::<8>();
        let [mark, count, start] = words else { return Ok(None) };
        let (count, start) = (u64::from_le_bytes(*count), u64::from_le_bytes(*start));
        let fits = count.checked_mul(RECORD as u64).and_then(|length| length.checked_add(start)) == Some(at);
        Ok((*mark == MARK && fits).then_some(Self { file, start, count }))
    }

    /// The path of a file of this key.
    ///
    /// Keys are spread evenly, so where one stands is guessed from what it is; an index in which that is not so is
    /// halved after a few guesses.
    pub(super) fn find(&self, key: Key) -> io::Result<Option<Vec<u8>>> {
        let (mut from, mut to) = (0, self.count);
        let (mut low, mut high) = (0_u64, u64::MAX);
        for guesses in 0_u32.. {
            let length = (to - from).min(WINDOW);
            if length == 0 {
                break;
            }
            let guess = if guesses < 8 { share(to - from, key.0, low, high) } else { (to - from) / 2 };
            let at = from + guess.saturating_sub(length / 2).min(to - from - length);
            let records = self.records(at, length)?;
            if let Some((_, name)) = records.iter().find(|(found, _)| *found == key) {
                return self.name(*name);
            }
            match (records.first(), records.last()) {
                (Some((first, _)), _) if key < *first => (to, high) = (at, first.0),
                (_, Some((last, _))) if key > *last => (from, low) = (at + length, last.0),
                _ => break,
            }
        }
        Ok(None)
    }

    fn records(&self, at: u64, count: u64) -> io::Result<Vec<(Key, u64)>> {
        let mut bytes = vec![0; usize::try_from(count).unwrap_or(0) * RECORD];
        self.file.read_exact_at(&mut bytes, self.start + at * RECORD as u64)?;
        let (words, _) = bytes.as_chunks::<8>();
        let (pairs, _) = words.as_chunks::<2>();
        Ok(pairs.iter().map(|[key, at]| (Key(u64::from_le_bytes(*key)), u64::from_le_bytes(*at))).collect())
    }

    fn name(&self, at: u64) -> io::Result<Option<Vec<u8>>> {
        let mut length = [0; 2];
        if at.checked_add(2).is_none_or(|past| past > self.start) {
            return Ok(None);
        }
        self.file.read_exact_at(&mut length, at)?;
        let length = u16::from_le_bytes(length);
        if usize::from(length) > LONGEST_NAME || at + 2 + u64::from(length) > self.start {
            return Ok(None);
        }
        let mut name = vec![0; length.into()];
        self.file.read_exact_at(&mut name, at + 2)?;
        Ok(Some(name))
    }
}

/// How far into `length` records between the keys `low` and `high` one should look for `key`.
fn share(length: u64, key: u64, low: u64, high: u64) -> u64 {
    let (part, whole) = (u128::from(key.saturating_sub(low)), u128::from(high.saturating_sub(low)).max(1));
    u64::try_from(u128::from(length) * part / whole).unwrap_or(length).min(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(files: &[(Key, &[u8])]) -> Rc<File> {
        let file = Rc::new(tempfile::tempfile().unwrap());
        let mut writer = Writer::new(file.clone());
        for (key, path) in files {
            writer.add(*key, path).unwrap();
        }
        writer.finish().unwrap();
        file
    }

    #[test]
    fn a_file_is_found_by_its_key_among_none_one_and_many() {
        for count in [0_u64, 1, 2, 63, 64, 65, 1000, 50_000] {
            let names: Vec<String> = (0..count).map(|number| format!("usr/share/{number}")).collect();
            let key = |number: u64| Key::of(number, &number.to_le_bytes());
            let files: Vec<(Key, &[u8])> =
                names.iter().enumerate().map(|(n, name)| (key(n as u64), name.as_bytes())).collect();
            let index = Index::open(written(&files)).unwrap().unwrap();
            for number in (0..count).step_by(usize::try_from(count / 500 + 1).unwrap()) {
                let found = index.find(key(number)).unwrap().unwrap();
                assert_eq!(found, format!("usr/share/{number}").as_bytes(), "{count}");
            }
            for number in count..count + 100 {
                assert_eq!(index.find(key(number)).unwrap(), None, "{count}");
            }
        }
    }

    #[test]
    fn keys_that_are_not_spread_at_all_are_found_too() {
        let numbers = (0..10_000_u64).chain([u64::MAX - 1, u64::MAX]);
        let files: Vec<(Key, &[u8])> = numbers.clone().map(|number| (Key(number), &b"x"[..])).collect();
        let index = Index::open(written(&files)).unwrap().unwrap();
        for number in numbers {
            assert!(index.find(Key(number)).unwrap().is_some(), "{number}");
        }
        assert_eq!(index.find(Key(10_000)).unwrap(), None);
        let same: Vec<(Key, &[u8])> = (0..1000).map(|_| (Key(7), &b"y"[..])).collect();
        let index = Index::open(written(&same)).unwrap().unwrap();
        assert_eq!([6, 7, 8].map(|key| index.find(Key(key)).unwrap().is_some()), [false, true, false]);
    }

    #[test]
    fn a_key_is_of_the_size_and_of_the_content() {
        let keys = [Key::of(1, b"a"), Key::of(2, b"a"), Key::of(1, b"b")];
        assert!(keys[0] != keys[1] && keys[0] != keys[2] && keys[0] == Key::of(1, b"a"));
    }

    #[test]
    fn what_is_no_index_finds_nothing_and_a_lying_one_no_harm() {
        let open = |bytes: &[u8]| {
            let file = tempfile::tempfile().unwrap();
            file.write_all_at(bytes, 0).unwrap();
            Index::open(Rc::new(file)).unwrap()
        };
        let end = |count: u64, start: u64| [MARK, count.to_le_bytes(), start.to_le_bytes()].concat();
        assert!(open(b"").is_none() && open(&[0; 24]).is_none() && open(&[7; 100]).is_none());
        assert!(
            open(&end(1, 0)).is_none() && open(&end(0, 1)).is_none() && open(&end(u64::MAX, 16)).is_none()
        );
        assert!(open(&end(0, 0)).unwrap().find(Key(1)).unwrap().is_none());
        let record = |key: u64, at: u64| [key.to_le_bytes(), at.to_le_bytes()].concat();
        // Names outside, too long, in the records.
        for at in [u64::MAX, u64::MAX - 1, 4, 3, 1 << 40] {
            let lying = [&[9, 0, 1, 1][..], &record(5, at), &end(1, 4)].concat();
            assert_eq!(open(&lying).unwrap().find(Key(5)).unwrap(), None, "{at}");
        }
        let long = [&[9, 0, 1, 1][..], &record(5, 0), &end(1, 4)].concat();
        assert_eq!(open(&long).unwrap().find(Key(5)).unwrap(), None);
        // Records in no order: the search ends.
        let keys = (0..5000_u64).map(|number| record(number.wrapping_mul(0x9e37_79b9_7f4a_7c15), 0));
        let wild = [&[0, 0][..], &keys.collect::<Vec<_>>().concat(), &end(5000, 2)].concat();
        let wild = open(&wild).unwrap();
        for key in [0, 1, u64::MAX / 2, u64::MAX] {
            wild.find(Key(key)).unwrap();
        }
    }

    #[test]
    fn names_too_long_for_a_path_are_left_out() {
        let long = vec![b'x'; LONGEST_NAME + 1];
        let index = Index::open(written(&[(Key(1), &long), (Key(2), &long[1..])])).unwrap().unwrap();
        assert_eq!(
            (index.find(Key(1)).unwrap(), index.find(Key(2)).unwrap()),
            (None, Some(long[1..].to_vec()))
        );
    }
}

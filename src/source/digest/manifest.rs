//! The form of a digest: one line of text for each entry of a tree, in the order of a walk, compressed with zstd.
//!
//! ```text
//! zchroot-digest 1 TEMPLATE VERSION
//! TYPE MODE UID GID SIZE MTIME XATTRS CONTENT PATH       for each entry, the top first
//! root SHA256 ENTRIES BYTES
//! ```
//!
//! TYPE is find(1)'s letter. XATTRS is `-`, or SHA-256 over each attribute in the order of names: the name, a NUL,
//! the length of the value as eight bytes, the lowest first, the value. CONTENT is, of a file, SHA-256 of its bytes
//! (what sha256sum(1) says), or `=PATH` if it is a further link of that file; of a symlink `>TARGET`; of a device
//! `MAJOR:MINOR`; else `-`. Paths begin with a slash and are escaped like the target: `\xNN` for each byte that is no
//! printable ASCII, for a blank and for the backslash. MTIME is in there because a version never changes, and make(1)
//! looks at it. The last line has SHA-256 of all that stands before it.

use std::io::{self, BufRead, Write};

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::super::diff::{Aspect, escape, escape_bytes};
use crate::store::{TemplateName, VersionId};
use crate::sys::tree::{Entry, Time, Type};

const HEAD: &str = "zchroot-digest 1";
/// A path may be longer than what the kernel takes at once, if the tree is deep enough.
const LONGEST: u64 = 16 << 20;

/// What a digest says of a tree as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Root {
    /// SHA-256 over the lines of all entries, in hexadecimal digits.
    pub sha256: String,
    /// How many entries there are.
    pub entries: u64,
    /// How many bytes were digested.
    pub bytes: u64,
}

/// What a digest says of one entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) kind: Type,
    pub(super) path: Vec<u8>,
    mode: u32,
    uid: u32,
    gid: u32,
    size: u64,
    mtime: Time,
    xattrs: Option<String>,
    content: String,
}

impl Line {
    /// The line of an entry; `digest` is called for the bytes of a file.
    pub(super) fn of(entry: &Entry, digest: impl FnOnce() -> io::Result<[u8; 32]>) -> io::Result<Self> {
        let content = match (entry.kind, &entry.first_link, &entry.target, entry.device) {
            (_, Some(first), ..) => format!("={}", escape(first)),
            (Type::File, ..) => hex(&digest()?),
            (_, _, Some(target), _) => format!(">{}", escape_bytes(target)),
            (.., Some((major, minor))) => format!("{major}:{minor}"),
            _ => "-".to_owned(),
        };
        Ok(Self {
            kind: entry.kind,
            path: entry.path.clone(),
            mode: entry.mode,
            uid: entry.uid,
            gid: entry.gid,
            size: entry.size,
            mtime: entry.mtime,
            xattrs: xattrs(entry),
            content,
        })
    }

    fn text(&self) -> String {
        let Self { mode, uid, gid, size, content, .. } = self;
        let (letter, path, xattrs) =
            (self.kind.letter(), escape(&self.path), self.xattrs.as_deref().unwrap_or("-"));
        let Time { seconds, nanos } = self.mtime;
        format!("{letter} {mode:04o} {uid} {gid} {size} {seconds}.{nanos:09} {xattrs} {content} {path}\n")
    }

    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let letter = words.next()?;
        let (kind, ..) = Type::ALL.into_iter().find(|(_, of, _)| letter.chars().eq([*of]))?;
        let mode = u32::from_str_radix(words.next()?, 8).ok()?;
        let (uid, gid) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let size = words.next()?.parse().ok()?;
        let (seconds, nanos) = words.next()?.split_once('.')?;
        let mtime = Time { seconds: seconds.parse().ok()?, nanos: nanos.parse().ok()? };
        let xattrs = Some(words.next()?).filter(|word| *word != "-").map(str::to_owned);
        let content = words.next()?.to_owned();
        let path = unescape(words.next()?.strip_prefix('/')?)?;
        words.next().is_none().then_some(Self { kind, path, mode, uid, gid, size, mtime, xattrs, content })
    }

    /// In what an entry differs from what it was.
    pub(super) fn differs(&self, now: &Self) -> Vec<Aspect> {
        if self.kind != now.kind {
            return vec![Aspect::Type { old: self.kind.name(), new: now.kind.name() }];
        }
        let mut found = Vec::new();
        let is_link = |line: &Self| line.content.starts_with('=');
        if self.content != now.content || self.size != now.size {
            let bare = |line: &Self| line.content.trim_start_matches('>').to_owned();
            found.push(match self.kind {
                _ if is_link(self) || is_link(now) => Aspect::Links,
                Type::Symlink => Aspect::Target { old: bare(self), new: bare(now) },
                Type::Character | Type::Block => Aspect::Device { old: bare(self), new: bare(now) },
                _ => Aspect::Content,
            });
        }
        if self.mode != now.mode {
            let (old, new) = (format!("{:04o}", self.mode), format!("{:04o}", now.mode));
            found.push(Aspect::Mode { old, new });
        }
        if (self.uid, self.gid) != (now.uid, now.gid) {
            let text = |line: &Self| format!("{}:{}", line.uid, line.gid);
            found.push(Aspect::Owner { old: text(self), new: text(now) });
        }
        if self.xattrs != now.xattrs {
            found.push(Aspect::Xattrs { names: Vec::new() });
        }
        if self.mtime != now.mtime {
            found.push(Aspect::Time);
        }
        found
    }
}

fn xattrs(entry: &Entry) -> Option<String> {
    if entry.xattrs.is_empty() {
        return None;
    }
    let mut hash = Sha256::new();
    for (name, value) in &entry.xattrs {
        hash.update(name);
        hash.update([0]);
        hash.update((value.len() as u64).to_le_bytes());
        hash.update(value);
    }
    Some(hex(&hash.finalize().into()))
}

fn hex(bytes: &[u8; 32]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut parts = text.split('\\');
    bytes.extend_from_slice(parts.next()?.as_bytes());
    for part in parts {
        let (digits, rest) = part.strip_prefix('x')?.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    Some(bytes)
}

fn head(template: &TemplateName, version: &VersionId) -> String {
    format!("{HEAD} {template} {version}\n")
}

/// Adds up what a digest says.
pub(super) struct Sum {
    hash: Sha256,
    entries: u64,
    bytes: u64,
}

impl Sum {
    fn new() -> Self {
        Self { hash: Sha256::new(), entries: 0, bytes: 0 }
    }

    fn add(&mut self, line: &Line) -> String {
        let text = line.text();
        self.hash.update(&text);
        self.entries += 1;
        if line.kind == Type::File && !line.content.starts_with('=') {
            self.bytes = self.bytes.saturating_add(line.size);
        }
        text
    }

    fn root(self) -> Root {
        Root { sha256: hex(&self.hash.finalize().into()), entries: self.entries, bytes: self.bytes }
    }
}

/// Writes a digest.
pub(super) struct Writer<W> {
    out: W,
    sum: Sum,
}

impl<W: Write> Writer<W> {
    pub(super) fn new(mut out: W, template: &TemplateName, version: &VersionId) -> io::Result<Self> {
        out.write_all(head(template, version).as_bytes())?;
        Ok(Self { out, sum: Sum::new() })
    }

    pub(super) fn line(&mut self, line: &Line) -> io::Result<()> {
        let text = self.sum.add(line);
        self.out.write_all(text.as_bytes())
    }

    pub(super) fn finish(mut self) -> io::Result<(Root, W)> {
        let root = self.sum.root();
        self.out.write_all(tail(&root).as_bytes())?;
        Ok((root, self.out))
    }
}

fn tail(root: &Root) -> String {
    format!("root {} {} {}\n", root.sha256, root.entries, root.bytes)
}

/// Reads a digest, line by line; it ends with the root, which must be that of the lines.
pub(super) struct Reader<R> {
    from: R,
    sum: Option<Sum>,
    buffer: Vec<u8>,
}

/// What a reader gives.
pub(super) enum Next {
    Line(Line),
    Root(Root),
}

impl<R: BufRead> Reader<R> {
    pub(super) fn new(from: R, template: &TemplateName, version: &VersionId) -> io::Result<Self> {
        let mut reader = Self { from, sum: Some(Sum::new()), buffer: Vec::new() };
        if reader.read()? != head(template, version).trim_end() {
            return Err(io::Error::other("it does not begin as the digest of this version does"));
        }
        Ok(reader)
    }

    pub(super) fn next(&mut self) -> io::Result<Next> {
        let text = self.read()?.to_owned();
        let damaged = || io::Error::other("a line of it is damaged");
        let Some(sum) = &mut self.sum else { return Err(damaged()) };
        if let Some(line) = Line::parse(&text) {
            if sum.add(&line).trim_end() != text {
                return Err(damaged());
            }
            return Ok(Next::Line(line));
        }
        let root = self.sum.take().ok_or_else(damaged)?.root();
        if tail(&root).trim_end() != text {
            return Err(io::Error::other("its last line is not that of the others"));
        }
        Ok(Next::Root(root))
    }

    fn read(&mut self) -> io::Result<&str> {
        self.buffer.clear();
        io::Read::take(&mut self.from, LONGEST).read_until(b'\n', &mut self.buffer)?;
        let Some(line) = self.buffer.strip_suffix(b"\n") else {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it ends too early"));
        };
        std::str::from_utf8(line).map_err(|_| io::Error::other("it is no text"))
    }
}

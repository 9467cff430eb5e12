//! What a template's first version is made from, and opening it.
//!
//! [`Source::open`] comes first and with the caller's effective identity: whoever names a path reads it with
//! his own rights, and a wrong path makes nothing. [`fill`](super::fill) works on what was opened, as root.

use std::fmt;
use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use rustix::fs::{CWD, FileType, Mode, OFlags};

use super::error::{Error, Result};
use super::{bootstrap, squashfs};

/// The mirror that a bootstrap uses when none is named.
pub const DEFAULT_MIRROR: &str = "http://deb.debian.org/debian";
/// The variant that a bootstrap makes when none is named: the essential packages and apt.
pub const DEFAULT_VARIANT: &str = "minbase";
const LONGEST_WORD: usize = 64;

/// Where the tree of a template's first version comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A new installation, made by mmdebstrap: `bootstrap:SUITE[,VARIANT][,MIRROR]`.
    Bootstrap {
        /// The release: `trixie`, `sid`.
        suite: String,
        /// Which set of packages, else [`DEFAULT_VARIANT`].
        variant: Option<String>,
        /// Where packages come from, else [`DEFAULT_MIRROR`].
        mirror: Option<String>,
    },
    /// A directory of the host or an archive: which of them is decided on what is really opened.
    Path(PathBuf),
}

/// A text that is no source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a source: {why}")]
pub struct SourceError {
    text: String,
    why: &'static str,
}

/// A source that was opened: it is there, it can be read, and it cannot be exchanged any more.
#[derive(Debug)]
pub struct Opened(pub(super) Input);

/// What was opened. A new kind of source (squashfs, OCI) is a new line here and a file beside this one.
#[derive(Debug)]
pub(super) enum Input {
    Bootstrap(bootstrap::Order),
    Directory(File),
    Tar { archive: File, size: u64 },
    Squashfs { image: File, size: u64 },
}

impl Source {
    /// Opens the source with the effective identity of the caller.
    ///
    /// # Errors
    /// It is not there, may not be read, or is of no kind that can be imported; mmdebstrap is not installed.
    pub fn open(&self) -> Result<Opened> {
        match self {
            Self::Bootstrap { suite, variant, mirror } => {
                bootstrap::Order::new(suite, variant.as_deref(), mirror.as_deref())
                    .map(|order| Opened(Input::Bootstrap(order)))
            }
            Self::Path(path) => open_path(path).map(Opened),
        }
    }
}

/// Opens what a path names. `O_NONBLOCK`: a fifo that nobody writes to must not hang us.
fn open_path(path: &Path) -> Result<Input> {
    let name = path.display().to_string();
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let open = rustix::fs::openat(CWD, path, flags, Mode::empty());
    let file = open.map(File::from).map_err(|error| Error::failed("open", &name, error))?;
    let stat = rustix::fs::fstat(&file).map_err(|error| Error::failed("stat", &name, error))?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => directory_allowed(&name).map(|()| Input::Directory(file)),
        FileType::RegularFile => {
            let size = u64::try_from(stat.st_size).unwrap_or(0);
            if is_squashfs(&file, &name)? {
                return Ok(Input::Squashfs { image: file, size });
            }
            Ok(Input::Tar { archive: file, size })
        }
        other => Err(Error::NotASource {
            object: name,
            why: format!("it is a {}; name a directory, or an archive as a file", describe(other)),
        }),
    }
}

/// The copy is made as root: what the caller may not read in it must not become readable in a template.
fn directory_allowed(name: &str) -> Result<()> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    Err(Error::NotASource {
        object: name.to_owned(),
        why: "only root may copy a directory, since everything in it is read as root; \
              make a tar archive of what you may read and import that"
            .to_owned(),
    })
}

fn is_squashfs(file: &File, name: &str) -> Result<bool> {
    let mut magic = [0_u8; 4];
    let read = rustix::io::pread(file.as_fd(), &mut magic, 0);
    Ok(read.map_err(|error| Error::failed("read", name, error))? == 4 && magic == squashfs::MAGIC)
}

fn describe(kind: FileType) -> &'static str {
    match kind {
        FileType::Fifo => "fifo",
        FileType::Socket => "socket",
        FileType::CharacterDevice | FileType::BlockDevice => "device",
        _ => "file of an unknown kind",
    }
}

impl FromStr for Source {
    type Err = SourceError;

    fn from_str(text: &str) -> std::result::Result<Self, SourceError> {
        let refuse = |why| SourceError { text: text.to_owned(), why };
        match text.strip_prefix("bootstrap:") {
            Some(order) => parse_bootstrap(order).map_err(refuse),
            None if text.is_empty() => Err(refuse("it is empty")),
            None if text.contains('\0') => Err(refuse("a path has no NUL in it")),
            None => Ok(Self::Path(PathBuf::from(text))),
        }
    }
}

fn parse_bootstrap(order: &str) -> std::result::Result<Source, &'static str> {
    let mut fields = order.split(',');
    let suite = fields.next().unwrap_or_default();
    if !is_word(suite) {
        return Err("the suite must be a word of a-z 0-9 . - that begins with a letter or digit");
    }
    let (mut variant, mut mirror) = (None, None);
    for field in fields {
        if mirror.is_some() {
            return Err("nothing may follow the mirror");
        }
        if field.contains(':') {
            check_mirror(field)?;
            mirror = Some(field.to_owned());
        } else if variant.is_some() {
            return Err("it is bootstrap:SUITE[,VARIANT][,MIRROR]: a mirror looks like http://host/path");
        } else if is_word(field) {
            variant = Some(field.to_owned());
        } else {
            return Err("the variant must be a word of a-z 0-9 . - that begins with a letter or digit");
        }
    }
    Ok(Source::Bootstrap { suite: suite.to_owned(), variant, mirror })
}

fn is_word(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    text.len() <= LONGEST_WORD
        && text.bytes().next().is_some_and(plain)
        && text.bytes().all(|byte| plain(byte) || b".-".contains(&byte))
}

/// A mirror becomes a part of a line of sources.list: no white space, no options in brackets.
fn check_mirror(mirror: &str) -> std::result::Result<(), &'static str> {
    let rest = ["http://", "https://", "file:///", "copy:///"]
        .iter()
        .find_map(|scheme| mirror.strip_prefix(scheme))
        .ok_or("the mirror must begin with http://, https://, file:/// or copy:///")?;
    if rest.is_empty() || !mirror.bytes().all(|byte| byte.is_ascii_graphic() && !b"[]'\"\\".contains(&byte)) {
        return Err("the mirror must be one address without white space, brackets or quotes");
    }
    Ok(())
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.display().fmt(f),
            Self::Bootstrap { suite, variant, mirror } => {
                write!(f, "bootstrap:{suite}")?;
                [variant, mirror].into_iter().flatten().try_for_each(|field| write!(f, ",{field}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bootstrap(suite: &str, variant: Option<&str>, mirror: Option<&str>) -> Source {
        Source::Bootstrap {
            suite: suite.to_owned(),
            variant: variant.map(str::to_owned),
            mirror: mirror.map(str::to_owned),
        }
    }

    #[test]
    fn sources_parse_as_in_the_table_and_print_as_they_were_written() {
        let good = [
            ("bootstrap:sid", bootstrap("sid", None, None)),
            ("bootstrap:trixie,buildd", bootstrap("trixie", Some("buildd"), None)),
            (
                "bootstrap:sid,http://m.example/debian",
                bootstrap("sid", None, Some("http://m.example/debian")),
            ),
            (
                "bootstrap:bookworm-backports,apt,https://m.example:8080/d",
                bootstrap("bookworm-backports", Some("apt"), Some("https://m.example:8080/d")),
            ),
            ("bootstrap:sid,file:///srv/mirror", bootstrap("sid", None, Some("file:///srv/mirror"))),
            ("bootstrap:sid,copy:///srv/mirror", bootstrap("sid", None, Some("copy:///srv/mirror"))),
            ("/srv/chroot/sid", Source::Path("/srv/chroot/sid".into())),
            ("sid.tar.zst", Source::Path("sid.tar.zst".into())),
            ("./bootstrap:sid", Source::Path("./bootstrap:sid".into())),
            ("a b,c", Source::Path("a b,c".into())),
        ];
        for (text, source) in good {
            assert_eq!(text.parse::<Source>().unwrap(), source, "{text:?}");
            assert_eq!(source.to_string(), text);
        }
    }

    #[test]
    fn what_is_no_source_is_refused_with_the_reason() {
        let bad = [
            ("", "empty"),
            ("a\0b", "NUL"),
            ("bootstrap:", "suite"),
            ("bootstrap:-sid", "suite"),
            ("bootstrap:Sid", "suite"),
            ("bootstrap:../sid", "suite"),
            ("bootstrap:sid ", "suite"),
            ("bootstrap:sid,", "variant"),
            ("bootstrap:sid,--hook", "variant"),
            ("bootstrap:sid,a,b", "SUITE[,VARIANT][,MIRROR]"),
            ("bootstrap:sid,ftp://x", "must begin with"),
            ("bootstrap:sid,file://relative", "must begin with"),
            ("bootstrap:sid,http://", "one address"),
            ("bootstrap:sid,http://a b", "one address"),
            ("bootstrap:sid,http://a\nb", "one address"),
            ("bootstrap:sid,http://[trusted=yes]", "one address"),
            ("bootstrap:sid,http://a,b", "nothing may follow"),
        ];
        for (text, why) in bad {
            let error = text.parse::<Source>().unwrap_err();
            assert!(error.why.contains(why), "{text:?}: {error}");
        }
        let long = format!("bootstrap:{}", "s".repeat(65));
        assert!(long.parse::<Source>().is_err());
    }
}

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
use super::{bootstrap, oci, squashfs};

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
    /// An image in an OCI layout: `oci:DIR[:TAG]`.
    Oci {
        /// The layout.
        dir: PathBuf,
        /// The image in it, else its only one.
        tag: Option<String>,
    },
    /// An image that docker save wrote: `docker-archive:FILE`.
    DockerArchive(PathBuf),
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
    Oci(oci::Image),
    Tar { archive: File, size: u64 },
    Squashfs { image: File, size: u64 },
}

impl Opened {
    /// Whether an image can be made from it: it is an archive.
    #[must_use]
    pub fn is_archive(&self) -> bool {
        !matches!(self.0, Input::Bootstrap(_) | Input::Directory(_))
    }
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
            Self::Oci { dir, tag } => oci::open_layout(dir, tag.as_deref(), &self.to_string())
                .map(|image| Opened(Input::Oci(image))),
            Self::DockerArchive(path) => open_docker(path, &self.to_string()).map(Opened),
            Self::Path(path) => open_path(path).map(Opened),
        }
    }

    /// The source with its path, if it has one, made another: absolute, for one.
    ///
    /// # Errors
    /// That of `change`.
    pub fn map_path<E>(
        self,
        change: impl FnOnce(&Path) -> std::result::Result<PathBuf, E>,
    ) -> std::result::Result<Self, E> {
        Ok(match self {
            Self::Bootstrap { .. } => self,
            Self::Oci { dir, tag } => Self::Oci { dir: change(&dir)?, tag },
            Self::DockerArchive(path) => Self::DockerArchive(change(&path)?),
            Self::Path(path) => Self::Path(change(&path)?),
        })
    }
}

/// Opens what a path names. `O_NONBLOCK`: a fifo that nobody writes to must not hang us.
fn open_file(path: &Path, name: &str) -> Result<(File, FileType, u64)> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let open = rustix::fs::openat(CWD, path, flags, Mode::empty());
    let file = open.map(File::from).map_err(|error| Error::failed("open", name, error))?;
    let stat = rustix::fs::fstat(&file).map_err(|error| Error::failed("stat", name, error))?;
    Ok((file, FileType::from_raw_mode(stat.st_mode), u64::try_from(stat.st_size).unwrap_or(0)))
}

fn open_path(path: &Path) -> Result<Input> {
    let name = path.display().to_string();
    let (file, kind, size) = open_file(path, &name)?;
    match kind {
        FileType::Directory => directory_allowed(&name).map(|()| Input::Directory(file)),
        FileType::RegularFile if is_squashfs(&file, &name)? => Ok(Input::Squashfs { image: file, size }),
        FileType::RegularFile => Ok(Input::Tar { archive: file, size }),
        other => Err(Error::NotASource {
            object: name,
            why: format!("it is a {}; name a directory, or an archive as a file", describe(other)),
        }),
    }
}

fn open_docker(path: &Path, name: &str) -> Result<Input> {
    let (file, kind, size) = open_file(path, name)?;
    if kind != FileType::RegularFile {
        return Err(Error::NotASource { object: name.to_owned(), why: "it is no file".to_owned() });
    }
    oci::open_docker(file, size, name).map(Input::Oci)
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
        if text.contains('\0') {
            return Err(refuse("a path has no NUL in it"));
        }
        if let Some(layout) = text.strip_prefix("oci:") {
            return parse_oci(layout).map_err(refuse);
        }
        match (text.strip_prefix("bootstrap:"), text.strip_prefix("docker-archive:")) {
            (Some(order), _) => parse_bootstrap(order).map_err(refuse),
            (_, Some("")) => Err(refuse("no file is named")),
            (_, Some(file)) => Ok(Self::DockerArchive(PathBuf::from(file))),
            _ if text.is_empty() => Err(refuse("it is empty")),
            _ => Ok(Self::Path(PathBuf::from(text))),
        }
    }
}

fn parse_oci(text: &str) -> std::result::Result<Source, &'static str> {
    let (dir, tag) = match text.rsplit_once(':') {
        // A colon in a directory's name, and no tag: a tag has no slash.
        Some((_, tag)) if tag.contains('/') => (text, None),
        Some((dir, tag)) => (dir, Some(tag)),
        None => (text, None),
    };
    if dir.is_empty() {
        return Err("it is oci:DIR[:TAG]");
    }
    if tag.is_some_and(|tag| tag.is_empty() || tag.len() > 255 || tag.contains(char::is_control)) {
        return Err("the tag must be a word");
    }
    Ok(Source::Oci { dir: PathBuf::from(dir), tag: tag.map(str::to_owned) })
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
            Self::DockerArchive(path) => write!(f, "docker-archive:{}", path.display()),
            Self::Oci { dir, tag: None } => write!(f, "oci:{}", dir.display()),
            Self::Oci { dir, tag: Some(tag) } => write!(f, "oci:{}:{tag}", dir.display()),
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
            ("oci:/srv/sid", Source::Oci { dir: "/srv/sid".into(), tag: None }),
            ("oci:sid:latest", Source::Oci { dir: "sid".into(), tag: Some("latest".to_owned()) }),
            ("oci:a:b/c", Source::Oci { dir: "a:b/c".into(), tag: None }),
            ("docker-archive:x.tar", Source::DockerArchive("x.tar".into())),
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
            ("oci:", "DIR"),
            ("oci::x", "DIR"),
            ("oci:x:", "tag"),
            ("docker-archive:", "no file"),
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

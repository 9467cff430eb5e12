//! One member of a tar archive: what its header and extensions say about it.

use std::io;

use tar::{EntryType, Header};

use super::acl;
use super::pax::{self, Record};
use crate::import::unpack::broken;
use crate::import::unpack::member::{Attributes, Kind, Member};

/// What PAX records say about holes.
#[derive(Debug, Default)]
pub(super) struct PaxSparse {
    pub(super) real: Option<u64>,
    pub(super) numbers: Vec<u64>,
    pub(super) map_in_data: bool,
}

/// A field of nothing but NULs and spaces is 0, as GNU tar has it.
fn unless_blank<T: Default>(field: &[u8], value: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    if field.iter().all(|byte| matches!(byte, 0 | b' ')) { Ok(T::default()) } else { value() }
}

impl Member {
    pub(super) fn from_header(header: &Header) -> io::Result<Self> {
        let link = || header.link_name_bytes().map(|name| name.into_owned()).unwrap_or_default();
        let device = || -> io::Result<(u32, u32)> {
            let missing = || broken("a device node without numbers");
            let major = header.device_major()?.ok_or_else(missing)?;
            Ok((major, header.device_minor()?.ok_or_else(missing)?))
        };
        let kind = match header.entry_type() {
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => Kind::File,
            EntryType::Directory => Kind::Directory,
            EntryType::Symlink => Kind::Symlink(link()),
            EntryType::Link => Kind::HardLink(link()),
            EntryType::Char => device().map(|(major, minor)| Kind::Char(major, minor))?,
            EntryType::Block => device().map(|(major, minor)| Kind::Block(major, minor))?,
            EntryType::Fifo => Kind::Fifo,
            // A directory with a listing of it, of incremental archives; the label of a volume.
            other => match other.as_byte() {
                b'D' => Kind::Directory,
                b'V' => Kind::Nothing,
                _ => return Err(broken("a member of a kind that is not known")),
            },
        };
        let old = header.as_old();
        let attributes = Attributes {
            mode: unless_blank(&old.mode, || header.mode())? & 0o7777,
            uid: unless_blank(&old.uid, || header.uid())?,
            gid: unless_blank(&old.gid, || header.gid())?,
            // Before 1970 it is the two's complement, of which the crate gives the low 64 bits.
            mtime: (unless_blank(&old.mtime, || header.mtime())?.cast_signed(), 0),
            ..Attributes::default()
        };
        Ok(Self { path: header.path_bytes().into_owned(), kind, attributes, size: 0, sparse: None })
    }

    /// BSD's tar wrote a directory as a file whose name ends in a slash; GNU's reads it so in every format.
    pub(super) fn old_directory(&mut self) {
        if self.kind == Kind::File && self.path.ends_with(b"/") {
            self.kind = Kind::Directory;
        }
    }

    /// Takes over what a global header says of all members; it cannot name one.
    pub(super) fn apply_global(&mut self, records: &[Record<'_>]) -> io::Result<()> {
        for record in records {
            match record.key {
                b"path" | b"linkpath" | b"size" => {
                    return Err(broken("a global header that names members"));
                }
                key => self.attributes.apply(key, record.value)?,
            };
        }
        Ok(())
    }

    /// Takes over what an extended header says, and returns what it says about holes.
    pub(super) fn apply(&mut self, records: &[Record<'_>]) -> io::Result<Option<PaxSparse>> {
        let mut sparse: Option<PaxSparse> = None;
        let mut sparse_name = None;
        for Record { key, value } in records {
            match (*key, &mut self.kind) {
                (b"path", _) => self.path = value.to_vec(),
                (b"linkpath", Kind::Symlink(link) | Kind::HardLink(link)) => *link = value.to_vec(),
                (b"GNU.sparse.name", _) => sparse_name = Some(value.to_vec()),
                _ => match key.strip_prefix(b"GNU.sparse.") {
                    Some(key) => sparse.get_or_insert_default().apply(key, value)?,
                    None => self.attributes.apply(key, value)?,
                },
            }
        }
        if let Some(name) = sparse_name {
            self.path = name;
        }
        Ok(sparse)
    }
}

impl Attributes {
    fn apply(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        match key {
            b"uid" => self.uid = pax::number(value)?,
            b"gid" => self.gid = pax::number(value)?,
            b"mtime" => self.mtime = pax::time(value)?,
            b"SCHILY.acl.access" => self.add_acl(b"system.posix_acl_access", value),
            b"SCHILY.acl.default" => self.add_acl(b"system.posix_acl_default", value),
            _ => {
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                    self.xattrs.push((name.to_vec(), value.to_vec()));
                }
            }
        }
        Ok(())
    }

    fn add_acl(&mut self, name: &[u8], text: &[u8]) {
        match acl::value(text) {
            Some(value) => self.xattrs.push((name.to_vec(), value)),
            None => self.text_acl = true,
        }
    }
}

impl PaxSparse {
    fn apply(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        match key {
            b"size" | b"realsize" => self.real = Some(pax::number(value)?),
            b"offset" | b"numbytes" => self.numbers.push(pax::number(value)?),
            b"map" if value.is_empty() => {}
            b"map" => {
                self.numbers =
                    value.split(|byte| *byte == b',').map(pax::number).collect::<io::Result<_>>()?;
            }
            b"major" => self.map_in_data = pax::number(value)? >= 1,
            // minor, numblocks: nothing that the map itself does not say.
            _ => {}
        }
        Ok(())
    }
}

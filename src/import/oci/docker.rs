//! What `docker save` writes: a tar archive of layers, with a `manifest.json` that names them.
//!
//! Layers are unpacked from where they lie in it, so it must not be compressed as a whole.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::rc::Rc;

use super::json::{self, Config, Saved};
use super::{Image, Layer, check_count, document, not_an_image};
use crate::import::error::{Error, Result};
use crate::import::hash;
use crate::import::tar::archive::Archive;
use crate::import::tar::stream::Piece;
use crate::import::unpack::member::Kind;
use crate::import::unpack::tree::clean;

/// Far more than 127 layers and their files.
const MOST_MEMBERS: usize = 10_000;
const MOST_LINKS: usize = 8;

/// What the archive has at a name.
enum Found {
    File { at: u64, size: u64 },
    Link(Vec<u8>),
}

type Members = BTreeMap<Vec<u8>, Found>;

/// Opens the only image in an archive of docker save.
///
/// # Errors
/// It is no such archive, or holds several images.
pub(in crate::import) fn open(file: File, size: u64, name: &str) -> Result<Image> {
    let file = Rc::new(file);
    let listed = list(&file, size).map_err(|error| Error::failed("read", name, error));
    let members = listed?;
    let read = |path: &str| -> Result<Vec<u8>> {
        let (at, size) = find(&members, path, name)?;
        document(&file, at, size, name)
    };
    let saved: Vec<Saved> = json::parse(&read("manifest.json")?, "manifest.json", name)?;
    let [saved] = saved.as_slice() else {
        let tags: Vec<&String> =
            saved.iter().filter_map(|one| one.repo_tags.as_ref()).flatten().take(20).collect();
        return Err(not_an_image(
            name,
            format!("it holds several images or none ({tags:?}); save one alone"),
        ));
    };
    let config = read(&saved.config)?;
    let parsed: Config = json::parse(&config, "configuration", name)?;
    check_count(name, saved.layers.len(), parsed.rootfs.diff_ids.len())?;
    let layer = |(path, plain): (&String, &String)| {
        let (at, size) = find(&members, path, name)?;
        Ok(Layer { file: file.clone(), at, size, stored: None, plain: json::digest(plain, name)? })
    };
    let layers = saved.layers.iter().zip(&parsed.rootfs.diff_ids).map(layer).collect::<Result<_>>()?;
    Ok(Image { id: hash::of(&config), manifest: None, architecture: parsed.architecture, layers })
}

fn list(file: &Rc<File>, size: u64) -> io::Result<Members> {
    let position = Rc::new(Cell::new(0));
    let mut archive =
        Archive::new(Counted { inner: Piece::new(file.clone(), 0, size), position: position.clone() });
    let mut members = Members::new();
    while let Some(member) = archive.next()? {
        let found = match member.kind {
            Kind::File if member.sparse.is_none() => Found::File { at: position.get(), size: member.size },
            // Relative to its own place, as symlinks are, and to the archive, as hard links are.
            Kind::Symlink(target) => Found::Link([parent(&member.path), &target].concat()),
            Kind::HardLink(target) => Found::Link(target),
            _ => continue,
        };
        if members.len() == MOST_MEMBERS {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "it has too many members for what docker saves",
            ));
        }
        members.insert(resolved(&member.path), found);
    }
    Ok(members)
}

/// With the slash at its end.
fn parent(path: &[u8]) -> &[u8] {
    let slash = path.iter().rposition(|byte| *byte == b'/');
    slash.and_then(|slash| path.get(..=slash)).unwrap_or_default()
}

/// A name in the archive, without `.` and `..`; nothing is opened by it.
fn resolved(path: &[u8]) -> Vec<u8> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    clean(&parts.join(&b'/')).unwrap_or_default()
}

fn find(members: &Members, path: &str, name: &str) -> Result<(u64, u64)> {
    let mut at = resolved(path.as_bytes());
    for _ in 0..MOST_LINKS {
        match members.get(&at) {
            Some(Found::File { at, size }) => return Ok((*at, *size)),
            Some(Found::Link(target)) => at = resolved(target),
            None => break,
        }
    }
    Err(not_an_image(name, format!("there is no {path:?} in it; is it a file that docker save wrote?")))
}

/// How far a reader is.
struct Counted<R> {
    inner: R,
    position: Rc<Cell<u64>>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.position.set(self.position.get() + read as u64);
        Ok(read)
    }
}

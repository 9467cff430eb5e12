//! Layers become a tree, each over the former ones.
//!
//! A file `.wh.NAME` says that NAME of the layers below is gone, `.wh..wh..opq` that everything in its directory
//! is: never what the layer itself brings, in whatever order it brings it. So of each layer the paths that it
//! made are remembered, as hashes: eight bytes for each. The hash is keyed anew each time, so that nobody can
//! make two names meet.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::io;

use super::Layer;
use crate::import::hash::Sum;
use crate::import::tar::archive::Archive;
use crate::import::tar::stream::{Input, Piece, Stream};
use crate::import::unpack::member::{Kind, Member};
use crate::import::unpack::report::Beat;
use crate::import::unpack::tree::{clean, split};
use crate::import::unpack::{Site, broken};

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
/// What aufs kept for itself.
const RESERVED: &[u8] = b".wh..wh.";

/// The worker's work.
pub(super) fn unpack(layers: &[Layer], site: &mut Site) -> io::Result<()> {
    for (number, layer) in layers.iter().enumerate() {
        apply(layer, number, site)?;
    }
    Ok(())
}

/// Reads layers to their ends and makes nothing: are they what they should be?
pub(super) fn check(layers: &[Layer], beat: &Beat) -> io::Result<()> {
    layers.iter().try_for_each(|layer| checked(layer, beat, |_| Ok(())))
}

fn apply(layer: &Layer, number: usize, site: &mut Site) -> io::Result<()> {
    // Below the first layer there is nothing to white out.
    let mut made = (number > 0).then(Made::default);
    checked(layer, &site.beat.clone(), |plain| {
        let mut archive = Archive::new(plain);
        while let Some(member) = archive.next()? {
            site.entry.clone_from(&member.path);
            entry(&member, made.as_mut(), site, &mut archive)?;
            site.entry.clear();
        }
        Ok(())
    })
}

/// Reads a layer, what `read` leaves of it too, and compares it with what was promised.
fn checked(
    layer: &Layer,
    beat: &Beat,
    read: impl FnOnce(&mut dyn io::Read) -> io::Result<()>,
) -> io::Result<()> {
    let (stored, plain) = (Sum::default(), Sum::default());
    let piece = Piece::new(layer.file.clone(), layer.at, layer.size);
    let input = match &layer.stored {
        Some(_) => Input::over(Box::new(stored.over(piece)), beat.clone()),
        None => Input::over(Box::new(piece), beat.clone()),
    };
    let mut stream = plain.over(Stream::new(input)?);
    read(&mut stream)?;
    io::copy(&mut stream, &mut io::sink())?;
    if let Some(promised) = &layer.stored {
        stored.check(promised, "a layer")?;
    }
    plain.check(&layer.plain, "a layer, unpacked,")
}

fn entry(
    member: &Member,
    made: Option<&mut Made>,
    site: &mut Site,
    archive: &mut Archive<impl io::Read>,
) -> io::Result<()> {
    let path = clean(&member.path)?;
    let (directory, name) = split(&path);
    if let Some(hidden) = name.strip_prefix(WHITEOUT) {
        let Some(made) = made else { return Ok(()) };
        return white_out(directory, name, hidden, made, site);
    }
    if let Some(made) = made {
        // What is no directory takes the place of one with all that is in it.
        if !matches!(member.kind, Kind::Directory | Kind::Nothing) && !path.is_empty() && !made.has(&path) {
            site.tree.clear_directory(&path, &|_| false)?;
        }
        made.add(&path);
    }
    site.tree.write(member, &mut archive.data())
}

fn white_out(directory: &[u8], name: &[u8], hidden: &[u8], made: &Made, site: &mut Site) -> io::Result<()> {
    if name == OPAQUE {
        return site.tree.clear_directory(directory, &|path| made.has(path));
    }
    if name.starts_with(RESERVED) {
        return Ok(());
    }
    if matches!(hidden, b"" | b"." | b"..") {
        return Err(broken("a whiteout of nothing"));
    }
    let mut path = directory.to_vec();
    if !path.is_empty() {
        path.push(b'/');
    }
    path.extend(hidden);
    site.tree.remove_all(&path, &|path| made.has(path))
}

/// The paths that a layer made, and the directories above them.
#[derive(Default)]
struct Made {
    state: RandomState,
    hashes: HashSet<u64>,
}

impl Made {
    fn add(&mut self, path: &[u8]) {
        let mut path = path;
        while !path.is_empty() && self.hashes.insert(self.state.hash_one(path)) {
            path = split(path).0;
        }
    }

    fn has(&self, path: &[u8]) -> bool {
        self.hashes.contains(&self.state.hash_one(path))
    }
}

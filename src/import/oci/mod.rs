//! Container images: a row of layers, each a tar archive that changes what the former ones made.
//!
//! ```text
//! layout.rs  oci:DIR[:TAG], an OCI layout: index, manifest, configuration, layers
//! docker.rs  docker-archive:FILE, what docker save writes
//! json.rs    the few of their keys that matter
//! layers.rs  the worker's part: layers become a tree
//! ```
//!
//! An image is called by the digest of its configuration, which names the digest of each layer as it is
//! unpacked. All that is read is checked: the documents when they are opened, the layers while they are
//! unpacked. A layer that is not what was promised ends the import, and the tree is thrown away.

mod docker;
mod json;
mod layers;
mod layout;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::rc::Rc;

pub(super) use docker::open as open_docker;
pub(super) use layout::open as open_layout;

use super::Filled;
use super::dedup::Lender;
use super::error::{Error, Result};
use super::unpack::{Aside, Site, Unpacking};
use crate::store::{Digest, Progress};

/// Larger documents are none.
const LONGEST_DOCUMENT: u64 = 4 << 20;
/// Docker has 127 at most; each is an open file.
const MOST_LAYERS: usize = 256;

/// An image whose layers are open.
#[derive(Debug)]
pub(super) struct Image {
    /// The digest of its configuration.
    pub(super) id: Digest,
    /// The digest of its manifest, where there is one.
    pub(super) manifest: Option<Digest>,
    /// What it runs on, as its configuration says.
    pub(super) architecture: String,
    layers: Vec<Layer>,
}

/// One layer: a part of a file.
#[derive(Debug)]
struct Layer {
    file: Rc<File>,
    at: u64,
    size: u64,
    /// Of the bytes as they are stored.
    stored: Option<Digest>,
    /// Of the tar archive in them.
    plain: Digest,
}

/// Unpacks the layers of the image `name` into the mounted empty tree `root`.
///
/// # Errors
/// A layer is wrong or there is no room: an error that names the entry.
pub(super) fn fill(
    image: &Image,
    name: &str,
    root: &Path,
    lender: Option<&mut Lender<'_>>,
    progress: &mut dyn Progress,
) -> Result<Filled> {
    work(image, ("unpack", name), root, lender, progress, |site| layers::unpack(&image.layers, site))
}

/// Reads all layers, to show that whoever names the image has them; `root` is an empty directory.
///
/// # Errors
/// A layer is not what it should be.
pub(super) fn prove(image: &Image, name: &str, root: &Path, progress: &mut dyn Progress) -> Result<()> {
    let check = |site: &mut Site| layers::check(&image.layers, &site.beat);
    work(image, ("check", name), root, None, progress, check).map(drop)
}

fn work(
    image: &Image,
    (word, name): (&str, &str),
    root: &Path,
    mut lender: Option<&mut Lender<'_>>,
    progress: &mut dyn Progress,
    job: impl FnOnce(&mut Site) -> io::Result<()>,
) -> Result<Filled> {
    let mut keep: Vec<_> = image.layers.iter().map(|layer| layer.file.as_fd()).collect();
    keep.dedup_by_key(|fd| std::os::fd::AsRawFd::as_raw_fd(fd));
    let total = image.layers.iter().map(|layer| layer.size).sum();
    let unpacking = Unpacking::start(&keep, name, root, lender.as_deref_mut(), job)?;
    progress.start(&format!("{word} {name}"), Some(total));
    let filled = unpacking.finish(progress, lender.map(|lender| lender as &mut dyn Aside));
    progress.finish();
    filled
}

/// Reads a document of an image.
fn document(file: &File, at: u64, size: u64, name: &str) -> Result<Vec<u8>> {
    let wrong = |why: &str| Err(not_an_image(name, why));
    let length = match usize::try_from(size) {
        Ok(length) if size <= LONGEST_DOCUMENT => length,
        _ => return wrong("it is longer than 4 MiB"),
    };
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, at).map_err(|error| Error::failed("read", name, error))?;
    Ok(bytes)
}

fn not_an_image(name: &str, why: impl Into<String>) -> Error {
    Error::NotASource { object: name.to_owned(), why: why.into() }
}

fn check_count(name: &str, layers: usize, promised: usize) -> Result<()> {
    if layers != promised {
        let why = format!("its configuration names {promised} layers and its manifest {layers}");
        return Err(not_an_image(name, why));
    }
    if layers > MOST_LAYERS {
        return Err(not_an_image(name, format!("it has {layers} layers; {MOST_LAYERS} are the most")));
    }
    Ok(())
}

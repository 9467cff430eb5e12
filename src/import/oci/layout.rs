//! An OCI layout: `index.json`, and everything else under `blobs/sha256` by its digest.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::rc::Rc;

use rustix::fs::{CWD, FileType, Mode, OFlags};

use super::json::{self, Config, Descriptor, Index, Manifest};
use super::{Image, Layer, check_count, document, not_an_image};
use crate::import::error::{Error, Result};
use crate::import::hash;
use crate::store::Digest;

/// An index in an index in an index names nothing that anybody made.
const DEEPEST: usize = 4;

struct Layout<'a> {
    dir: BorrowedFd<'a>,
    name: &'a str,
}

/// Opens the image `tag` of the layout at `dir`, or its only one.
///
/// # Errors
/// It is no layout, has no such image, or something in it is not what its digest says.
pub(in crate::import) fn open(dir: &Path, tag: Option<&str>, name: &str) -> Result<Image> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = rustix::fs::openat(CWD, dir, flags, Mode::empty());
    let dir = dir.map_err(|error| Error::failed("open", name, error))?;
    let layout = Layout { dir: dir.as_fd(), name };
    let descriptor = layout.choose(tag)?;
    let manifest = layout.blob(&descriptor)?;
    let parsed: Manifest = json::parse(&manifest, "manifest", name)?;
    let config: Config = json::parse(&layout.blob(&parsed.config)?, "configuration", name)?;
    check_count(name, parsed.layers.len(), config.rootfs.diff_ids.len())?;
    let pairs = parsed.layers.iter().zip(&config.rootfs.diff_ids);
    let layers = pairs.map(|(stored, plain)| layout.layer(stored, plain)).collect::<Result<_>>()?;
    Ok(Image {
        id: parsed.config.digest(name)?,
        manifest: Some(hash::of(&manifest)),
        architecture: config.architecture,
        layers,
    })
}

impl Layout<'_> {
    /// The manifest that is meant: by its tag, else the only one, and for this host where there are several.
    fn choose(&self, tag: Option<&str>) -> Result<Descriptor> {
        let (file, size) = self.open("index.json")?;
        let mut index: Index = json::parse(&document(&file, 0, size, self.name)?, "index", self.name)?;
        match tag {
            Some(tag) => index.manifests.retain(|found| found.tag() == Some(tag)),
            None => self.refuse_several(&index)?,
        }
        for _ in 0..DEEPEST {
            let found = self.for_host(&index)?;
            if !found.is_index() {
                return Ok(found);
            }
            index = json::parse(&self.blob(&found)?, "index", self.name)?;
        }
        Err(not_an_image(self.name, "its indexes name each other and no image"))
    }

    fn refuse_several(&self, index: &Index) -> Result<()> {
        let tags: BTreeSet<&str> = index.manifests.iter().filter_map(Descriptor::tag).collect();
        if tags.len() < 2 {
            return Ok(());
        }
        let tags: Vec<&str> = tags.into_iter().take(20).collect();
        Err(not_an_image(self.name, format!("it holds several images; name one of {tags:?} after a colon")))
    }

    fn for_host(&self, index: &Index) -> Result<Descriptor> {
        if let [only] = index.manifests.as_slice() {
            return Ok(only.clone());
        }
        let why = if index.manifests.is_empty() {
            "it has no image of that name".to_owned()
        } else {
            format!("it has no image for linux on {}", json::host())
        };
        let found = index.manifests.iter().find(|found| found.fits_host());
        found.cloned().ok_or_else(|| not_an_image(self.name, why))
    }

    /// A document, checked.
    fn blob(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        let digest = descriptor.digest(self.name)?;
        let (file, size) = self.open(&path_of(&digest))?;
        let bytes = document(&file, 0, size, self.name)?;
        if hash::of(&bytes) != digest {
            return Err(not_an_image(self.name, format!("blob {digest} in it is damaged")));
        }
        Ok(bytes)
    }

    fn layer(&self, descriptor: &Descriptor, plain: &str) -> Result<Layer> {
        let stored = descriptor.digest(self.name)?;
        let (file, size) = self.open(&path_of(&stored))?;
        if size != descriptor.size {
            return Err(not_an_image(
                self.name,
                format!("layer {stored} is not as long as its manifest says"),
            ));
        }
        let plain = json::digest(plain, self.name)?;
        Ok(Layer { file: Rc::new(file), at: 0, size, stored: Some(stored), plain })
    }

    fn open(&self, path: &str) -> Result<(File, u64)> {
        let named = || format!("{path} of {}", self.name);
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = rustix::fs::openat(self.dir, path, flags, Mode::empty());
        let file = File::from(file.map_err(|error| Error::failed("open", named(), error))?);
        let stat = rustix::fs::fstat(&file).map_err(|error| Error::failed("stat", named(), error))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(not_an_image(self.name, format!("{path} in it is no file")));
        }
        Ok((file, u64::try_from(stat.st_size).unwrap_or(0)))
    }
}

fn path_of(digest: &Digest) -> String {
    format!("blobs/sha256/{digest}")
}

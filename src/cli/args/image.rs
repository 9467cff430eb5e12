//! The words of `zchroot image`.

use clap::{Args, Subcommand};

use super::Json;
use crate::store::Digest;

/// `zchroot image`.
#[derive(Debug, Args)]
pub struct Image {
    /// What to do with images.
    #[command(subcommand)]
    pub what: ImageCommand,
}

/// What to do with images.
#[derive(Debug, Subcommand)]
pub enum ImageCommand {
    /// Unpack an archive, unless it is there, and print its digest
    Import(ImageImport),
    /// List images
    List(ImageList),
    /// Remove images that nothing is cloned from
    Remove(ImageRemove),
}

/// `zchroot image import`.
#[derive(Debug, Args)]
#[command(after_help = "SOURCE is a squashfs image, a tar archive, oci:DIR[:TAG] or docker-archive:FILE.\n\
An archive is unpacked once under its digest, however often and by however many it is imported.\n\
The digest of a container image is that of its configuration, of anything else that of the file.\n\
Whoever imports an image may use it; one that root imports is for all whom zchroot.toml lets use images.")]
pub struct ImageImport {
    /// The archive
    pub source: String,
    /// Refuse it unless this is its digest, or that of its manifest
    #[arg(long, value_name = "SHA256")]
    pub digest: Option<Digest>,
    #[command(flatten)]
    /// Machine-readable output.
    pub json: Json,
}

/// `zchroot image list`.
#[derive(Debug, Args)]
#[command(
    after_help = "live: something is cloned from it; warm: nothing is, but it was used lately (zchroot.toml, \
images.warm); cold: it may go.\nListed are the images that the caller imported, those that root imported, and for root \
all."
)]
pub struct ImageList {
    #[command(flatten)]
    /// Machine-readable output.
    pub json: Json,
}

/// `zchroot image remove`.
#[derive(Debug, Args)]
pub struct ImageRemove {
    /// Digests, or beginnings of at least 8 digits
    #[arg(required = true, value_name = "IMAGE")]
    pub images: Vec<String>,
    #[command(flatten)]
    /// Machine-readable output.
    pub json: Json,
}

impl Image {
    /// Whether it makes an image, if there is none yet.
    pub fn makes_something(&self) -> bool {
        matches!(self.what, ImageCommand::Import(_))
    }
}

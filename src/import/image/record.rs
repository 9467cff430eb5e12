//! What is known of an image: `images/SHA256.toml`, written before the image is complete.
//!
//! A record without an image means nothing, an image without a record is cold. That one was used is written
//! without waiting for the disk: a power cut makes an image look older, and no more.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::store::{Digest, Layout};
use crate::sys::file;

const LONGEST: u64 = 64 * 1024;
const FORMAT: u32 = 1;

/// What an image was made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// A squashfs image.
    Squashfs,
    /// A tar archive.
    Tar,
    /// An OCI layout.
    Oci,
    /// What docker save writes.
    DockerArchive,
}

/// An image, as it is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ImageRecord {
    format: u32,
    /// What it is called by.
    pub digest: Digest,
    /// What it was made from.
    pub kind: Origin,
    /// As it was named when it was imported.
    pub origin: String,
    /// The digest of its manifest, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<Digest>,
    /// What it runs on, if it says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub architecture: Option<String>,
    /// Bytes of file content.
    pub bytes: u64,
    /// Entries of all kinds.
    pub files: u64,
    /// When it was imported.
    pub imported: Timestamp,
    /// When something was last cloned from it, or it was imported again.
    pub last_used: Timestamp,
}

/// What a new record is made from.
#[derive(Debug, Clone)]
pub(super) struct NewImage {
    pub(super) digest: Digest,
    pub(super) kind: Origin,
    pub(super) origin: String,
    pub(super) manifest: Option<Digest>,
    pub(super) architecture: Option<String>,
}

impl ImageRecord {
    pub(super) fn new(new: NewImage, bytes: u64, files: u64) -> Self {
        let now = Timestamp::now();
        Self {
            format: FORMAT,
            digest: new.digest,
            kind: new.kind,
            origin: new.origin,
            manifest: new.manifest,
            architecture: new.architecture,
            bytes,
            files,
            imported: now,
            last_used: now,
        }
    }

    /// Reads one; `None` if there is none, or none that can be made sense of: it is only for information.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn load(layout: &Layout, digest: &Digest) -> file::Result<Option<Self>> {
        let path = layout.image(digest);
        let Some(text) = file::read_text_if_there(&path, LONGEST)? else { return Ok(None) };
        match toml::from_str::<Self>(&text) {
            Ok(record) if record.format == FORMAT && record.digest == *digest => Ok(Some(record)),
            Ok(_) => Ok(None),
            Err(error) => {
                tracing::warn!(path = %path.display(), "a damaged record: {}", error.message());
                Ok(None)
            }
        }
    }

    pub(super) fn save(&self, layout: &Layout, durably: bool) -> file::Result<()> {
        let path = layout.image(&self.digest);
        file::make_dirs(&layout.images(), 0o755)?;
        let text = toml::to_string(self).map_err(std::io::Error::other);
        let text = file::at("write", &path, text)?;
        if durably { file::replace(&path, &text) } else { file::replace_volatile(&path, &text) }
    }
}

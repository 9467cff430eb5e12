//! What is known of an image: `images/SHA256.toml`, written before the image is complete.
//!
//! A record without an image means nothing, an image without a record is cold. That one was used is written
//! without waiting for the disk: a power cut makes an image look older, and no more.
//!
//! It also says whose the image is: whoever imported it has had the whole archive, so it tells him nothing that he
//! did not know; what root imported is for all who may use images. The content of one that was made on the way to
//! a template alone is guarded by that template's lists, and so are its name and origin.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::import::Filled;
use crate::store::{Digest, Layout};
use crate::sys::file;

const LONGEST: u64 = 4 << 20;
const MOST_IMPORTERS: usize = 512;
const LONGEST_ORIGIN: usize = 1024;
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

/// Somebody who imported an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Importer {
    /// His user id; that of root makes it an image for all who may use images.
    pub uid: u32,
    /// As he named the archive.
    pub origin: String,
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
    /// As it was named when it was unpacked.
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
    /// Of the bytes, those that share the blocks of images which were there before it.
    #[serde(default)]
    pub saved: u64,
    /// When it was imported.
    pub imported: Timestamp,
    /// When something was last cloned from it, or it was imported again.
    pub last_used: Timestamp,
    /// Those who imported it, besides what was made of it otherwise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub importers: Vec<Importer>,
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
    pub(super) fn new(new: NewImage, filled: &Filled) -> Self {
        let now = Timestamp::now();
        Self {
            format: FORMAT,
            digest: new.digest,
            kind: new.kind,
            origin: shortened(&new.origin),
            manifest: new.manifest,
            architecture: new.architecture,
            bytes: filled.bytes,
            files: filled.files,
            saved: filled.saved,
            imported: now,
            last_used: now,
            importers: Vec::new(),
        }
    }

    /// Whether a user may know of it and use it, if he may use images at all.
    #[must_use]
    pub fn is_for(&self, uid: u32) -> bool {
        uid == 0 || self.importers.iter().any(|importer| importer.uid == uid || importer.uid == 0)
    }

    /// Its origin as a user may see it: his own word for it, else root's. Of others' he learns nothing.
    #[must_use]
    pub fn origin_for(&self, uid: u32) -> Option<&str> {
        let by = |uid| self.importers.iter().find(|importer| importer.uid == uid);
        let seen = by(uid).or_else(|| by(0)).map(|importer| importer.origin.as_str());
        seen.or_else(|| (uid == 0).then_some(self.origin.as_str()))
    }

    /// Remembers an importer; of too many, the one who has not imported it for the longest time is forgotten, but
    /// never root.
    pub(super) fn add(&mut self, uid: u32, origin: &str) {
        self.importers.retain(|importer| importer.uid != uid);
        self.importers.push(Importer { uid, origin: shortened(origin) });
        if self.importers.len() > MOST_IMPORTERS
            && let Some(oldest) = self.importers.iter().position(|importer| importer.uid != 0)
        {
            self.importers.remove(oldest);
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
        // The names in it are digests, and of others' images nobody learns even that.
        file::make_dirs(&layout.images(), 0o700)?;
        let text = toml::to_string(self).map_err(std::io::Error::other);
        let text = file::at("write", &path, text)?;
        if durably { file::replace(&path, &text) } else { file::replace_volatile(&path, &text) }
    }
}

fn shortened(origin: &str) -> String {
    origin.chars().take(LONGEST_ORIGIN).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> ImageRecord {
        let new = NewImage {
            digest: "a".repeat(64).parse().unwrap(),
            kind: Origin::Tar,
            origin: "/root/first.tar".to_owned(),
            manifest: None,
            architecture: None,
        };
        ImageRecord::new(new, &Filled { bytes: 1, files: 1, ..Filled::default() })
    }

    #[test]
    fn an_image_is_for_those_who_imported_it_and_for_all_once_root_did() {
        let mut record = record();
        let seen = |record: &ImageRecord, uid| record.origin_for(uid).map(str::to_owned);
        assert_eq!([0, 7, 8].map(|uid| record.is_for(uid)), [true, false, false]);
        assert_eq!((seen(&record, 0).as_deref(), seen(&record, 7)), (Some("/root/first.tar"), None));
        record.add(7, "/home/seven.tar");
        record.add(7, "/home/seven-again.tar");
        assert_eq!([0, 7, 8].map(|uid| record.is_for(uid)), [true, true, false]);
        assert_eq!(record.importers.len(), 1);
        assert_eq!(seen(&record, 0).as_deref(), Some("/root/first.tar"), "an importer's word is his own");
        record.add(0, "/srv/all.tar");
        assert_eq!([0, 7, 8].map(|uid| record.is_for(uid)), [true; 3]);
        let words = [0, 7, 8].map(|uid| seen(&record, uid).unwrap());
        assert_eq!(words, ["/srv/all.tar", "/home/seven-again.tar", "/srv/all.tar"]);
    }

    #[test]
    fn a_record_with_as_many_importers_as_there_may_be_can_still_be_read_and_root_is_never_forgotten() {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::new(root.path());
        let mut record = record();
        record.add(0, "/srv/all.tar");
        for uid in 1..=600 {
            record.add(uid, &"\u{1}".repeat(5000));
        }
        record.save(&layout, false).unwrap();
        let again = ImageRecord::load(&layout, &record.digest).unwrap().unwrap();
        assert_eq!(again, record);
        assert_eq!(again.importers.len(), 512);
        assert!(again.is_for(9999) && again.importers.iter().all(|importer| importer.uid != 1));
    }
}

//! The documents of container images, as far as they matter here.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::not_an_image;
use crate::import::error::Result;
use crate::store::Digest;

/// What a tag is written to.
pub(super) const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// `index.json`, and an index below it.
#[derive(Debug, Deserialize)]
pub(super) struct Index {
    pub(super) manifests: Vec<Descriptor>,
}

/// What names another document or a layer.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    #[serde(default)]
    pub(super) media_type: String,
    pub(super) digest: String,
    pub(super) size: u64,
    pub(super) platform: Option<Platform>,
    #[serde(default)]
    pub(super) annotations: BTreeMap<String, String>,
}

/// What an image runs on.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Platform {
    pub(super) architecture: String,
    pub(super) os: String,
}

/// An image: its configuration and its layers, the lowest first.
#[derive(Debug, Deserialize)]
pub(super) struct Manifest {
    pub(super) config: Descriptor,
    pub(super) layers: Vec<Descriptor>,
}

/// The configuration of an image.
#[derive(Debug, Deserialize)]
pub(super) struct Config {
    #[serde(default)]
    pub(super) architecture: String,
    pub(super) rootfs: RootFs,
}

/// The layers as they are unpacked.
#[derive(Debug, Deserialize)]
pub(super) struct RootFs {
    pub(super) diff_ids: Vec<String>,
}

/// An image in what docker save writes.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Saved {
    pub(super) config: String,
    pub(super) repo_tags: Option<Vec<String>>,
    pub(super) layers: Vec<String>,
}

impl Descriptor {
    pub(super) fn digest(&self, name: &str) -> Result<Digest> {
        digest(&self.digest, name)
    }

    /// Whether it names a list of images and no image.
    pub(super) fn is_index(&self) -> bool {
        self.media_type.contains("image.index") || self.media_type.contains("manifest.list")
    }

    /// Whether it may name an image for this host.
    pub(super) fn fits_host(&self) -> bool {
        self.platform.as_ref().is_none_or(|found| found.os == "linux" && found.architecture == host())
    }

    pub(super) fn tag(&self) -> Option<&str> {
        self.annotations.get(REF_NAME).map(String::as_str)
    }
}

pub(super) fn digest(text: &str, name: &str) -> Result<Digest> {
    let refuse =
        || not_an_image(name, format!("{text:?} in it is no digest of a kind that is known (sha256)"));
    text.strip_prefix("sha256:").and_then(|digits| digits.parse().ok()).ok_or_else(refuse)
}

pub(super) fn parse<T: DeserializeOwned>(text: &[u8], what: &str, name: &str) -> Result<T> {
    serde_json::from_slice(text).map_err(|error| not_an_image(name, format!("its {what}: {error}")))
}

/// This host's architecture, as container images call it.
pub(super) fn host() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "x86" => "386",
        "aarch64" => "arm64",
        "powerpc64" => "ppc64le",
        "loongarch64" => "loong64",
        other => other,
    }
}

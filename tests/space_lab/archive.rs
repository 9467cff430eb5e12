//! Archives of a root file system with a file of random bytes in it, which no compression makes smaller.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::MIB;
use crate::harness::{Installation, tree};

/// A tar archive beside the store, which takes `mib` and the few of busybox.
pub fn tar(host: &Installation, name: &str, mib: u64) -> PathBuf {
    let folder = host.path().join(format!("tree-{name}"));
    tree::make(&folder);
    let mut bytes = Vec::new();
    std::fs::File::open("/dev/urandom").unwrap().take(mib * MIB).read_to_end(&mut bytes).unwrap();
    std::fs::write(folder.join("usr/big"), bytes).unwrap();
    let archive = host.path().join(format!("{name}.tar"));
    tree::pack(&folder, &archive);
    std::fs::remove_dir_all(&folder).unwrap();
    archive
}

/// The same as an OCI layout of one layer.
pub fn oci(host: &Installation, name: &str, mib: u64) -> PathBuf {
    let layer = tar(host, name, mib);
    let dir = host.path().join(format!("oci-{name}"));
    let blobs = dir.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).unwrap();
    let size = std::fs::metadata(&layer).unwrap().len();
    let digest = sha256(&layer);
    std::fs::rename(&layer, blobs.join(&digest)).unwrap();
    let blob = |text: String| {
        let path = blobs.join("new");
        std::fs::write(&path, &text).unwrap();
        let digest = sha256(&path);
        std::fs::rename(&path, blobs.join(&digest)).unwrap();
        (digest, text.len())
    };
    let (config, length) = blob(format!(
        r#"{{"architecture":"amd64","os":"linux","rootfs":{{"type":"layers","diff_ids":["sha256:{digest}"]}}}}"#
    ));
    let (manifest, manifest_length) = blob(format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:{config}","size":{length}}},"layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"sha256:{digest}","size":{size}}}]}}"#
    ));
    std::fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    let index = format!(
        r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:{manifest}","size":{manifest_length}}}]}}"#
    );
    std::fs::write(dir.join("index.json"), index).unwrap();
    dir
}

/// The sum that an image of a plain archive is called by.
pub fn sha256(path: &Path) -> String {
    let output = Command::new("sha256sum").arg(path).output().unwrap();
    String::from_utf8(output.stdout).unwrap()[..64].to_owned()
}

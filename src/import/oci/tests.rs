//! Images that umoci and skopeo make unpack as umoci unpacks them; layers by hand change what is below them.

#![expect(clippy::disallowed_methods, reason = "fixtures are made with the tools and paths that users have")]

mod hostile;
mod real;

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::*;
use crate::import::fixture::{run, text, told};
use crate::import::hash;
use crate::import::{Source, fill as fill_any};
use crate::store::Silent;
use ::tar::{EntryType, Header};

/// A layer by hand.
#[derive(Default)]
struct Tar(Vec<u8>);

impl Tar {
    fn add(mut self, kind: EntryType, name: &str, link: &str, data: &[u8]) -> Self {
        let mut header = Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(0o755);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_000_000_000);
        header.set_size(data.len() as u64);
        header.set_cksum();
        self.0.extend(header.as_bytes());
        self.0.extend(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn dir(self, name: &str) -> Self {
        self.add(EntryType::Directory, name, "", b"")
    }

    fn file(self, name: &str, data: &str) -> Self {
        self.add(EntryType::Regular, name, "", data.as_bytes())
    }

    fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

/// A layout by hand.
struct Layout {
    dir: tempfile::TempDir,
}

impl Layout {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("blobs/sha256")).unwrap();
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn blob(&self, bytes: &[u8]) -> String {
        let digest = hash::of(bytes);
        std::fs::write(self.path(&format!("blobs/sha256/{digest}")), bytes).unwrap();
        format!("\"digest\": \"sha256:{digest}\", \"size\": {}", bytes.len())
    }

    /// A manifest of layers, each as stored and as it is unpacked; its descriptor.
    fn manifest(&self, layers: &[(Vec<u8>, Vec<u8>)]) -> String {
        let plain: Vec<_> =
            layers.iter().map(|(_, plain)| format!("\"sha256:{}\"", hash::of(plain))).collect();
        let rootfs = format!("\"rootfs\": {{\"type\": \"layers\", \"diff_ids\": [{}]}}", plain.join(","));
        let config = self.blob(format!("{{\"architecture\": \"amd64\", {rootfs}}}").as_bytes());
        let stored: Vec<_> = layers.iter().map(|(stored, _)| format!("{{{}}}", self.blob(stored))).collect();
        self.blob(format!("{{\"config\": {{{config}}}, \"layers\": [{}]}}", stored.join(",")).as_bytes())
    }

    fn index(&self, manifests: &[String]) {
        let index = format!("{{\"schemaVersion\": 2, \"manifests\": [{}]}}", manifests.join(","));
        std::fs::write(self.path("index.json"), index).unwrap();
    }

    /// A layout of one image whose layers are not compressed.
    fn of(layers: &[Vec<u8>]) -> Self {
        let layout = Self::new();
        let pairs: Vec<_> = layers.iter().map(|layer| (layer.clone(), layer.clone())).collect();
        let manifest = layout.manifest(&pairs);
        layout.index(&[format!("{{{manifest}}}")]);
        layout
    }

    fn unpack(&self, tag: &str) -> (PathBuf, Result<Filled>) {
        let root = self.path("root");
        std::fs::create_dir_all(&root).unwrap();
        (root.clone(), unpack(&format!("oci:{}{tag}", text(self.dir.path())), &root))
    }
}

fn unpack(source: &str, root: &Path) -> Result<Filled> {
    let source: Source = source.parse().unwrap();
    let opened = source.open()?;
    fill_any(&source, opened, root, &mut Silent)
}

/// The files of a tree and what is in them; directories end in a slash.
fn contents(root: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut pending = vec![root.to_owned()];
    while let Some(dir) = pending.pop() {
        for entry in std::fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().display().to_string();
            let meta = std::fs::symlink_metadata(&path).unwrap();
            if meta.is_dir() {
                found.insert(format!("{name}/"), String::new());
                pending.push(path);
            } else if meta.is_symlink() {
                found.insert(name, format!("-> {}", std::fs::read_link(&path).unwrap().display()));
            } else {
                found.insert(name, std::fs::read_to_string(&path).unwrap());
            }
        }
    }
    found
}

fn names(root: &Path) -> Vec<String> {
    contents(root).into_keys().collect()
}

#[test]
fn dir_import_layers_change_what_is_below_them() {
    let lower = Tar::default()
        .dir("usr")
        .file("usr/keep", "lower")
        .file("usr/gone", "x")
        .file("usr/changed", "old")
        .dir("opaque")
        .file("opaque/old", "x")
        .dir("opaque/dir")
        .file("opaque/dir/old", "x")
        .dir("tree")
        .dir("tree/deep")
        .file("tree/deep/file", "x")
        .dir("was-dir")
        .file("was-dir/file", "x")
        .file("was-file", "x")
        .file("linked", "same")
        .end();
    let upper = Tar::default()
        .file("usr/.wh.gone", "")
        .file("usr/changed", "new")
        .file("opaque/new", "n")
        .file("opaque/dir/new", "n")
        .file("opaque/.wh..wh..opq", "")
        .file(".wh.tree", "")
        .file("was-dir", "now a file")
        .dir("was-file")
        .file("was-file/in", "i")
        .add(EntryType::Link, "second", "linked", b"")
        .file(".wh.never-was", "")
        .file("nowhere/.wh.x", "")
        .file(".wh..wh.plnk", "")
        .end();
    let layout = Layout::of(&[lower, upper]);
    let (root, result) = layout.unpack("");
    result.unwrap();
    let expected = [
        ("usr/", ""),
        ("usr/keep", "lower"),
        ("usr/changed", "new"),
        ("opaque/", ""),
        ("opaque/new", "n"),
        ("opaque/dir/", ""),
        ("opaque/dir/new", "n"),
        ("was-dir", "now a file"),
        ("was-file/", ""),
        ("was-file/in", "i"),
        ("linked", "same"),
        ("second", "same"),
    ];
    let expected: BTreeMap<_, _> = expected.iter().map(|(n, c)| ((*n).to_owned(), (*c).to_owned())).collect();
    assert_eq!(contents(&root), expected);
    let inode =
        |name: &str| std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(root.join(name)).unwrap());
    assert_eq!(inode("linked"), inode("second"), "a hard link across layers");
}

#[test]
fn dir_import_a_whiteout_never_hits_its_own_layer_in_whatever_order_it_comes() {
    let lower = Tar::default().dir("a").file("a/old", "x").file("b", "old").dir("c").file("c/old", "x").end();
    let upper = Tar::default()
        .file("a/new", "x")
        .file("a/.wh..wh..opq", "")
        .file("a/later", "x")
        .file("b", "new")
        .file(".wh.b", "")
        .file(".wh.c", "")
        .dir("c")
        .file("c/new", "x")
        .end();
    let (root, result) = {
        let layout = Layout::of(&[lower, upper]);
        let (root, result) = layout.unpack("");
        result.unwrap();
        (layout, root)
    };
    assert_eq!(names(&result), ["a/", "a/later", "a/new", "b", "c/", "c/new"]);
    assert_eq!(std::fs::read(result.join("b")).unwrap(), b"new");
    drop(root);
}

#[test]
fn dir_import_whiteouts_in_the_lowest_layer_hide_nothing_and_leave_nothing() {
    let layout =
        Layout::of(&[Tar::default().file("x", "x").file(".wh.x", "").file(".wh..wh..opq", "").end()]);
    let (root, result) = layout.unpack("");
    result.unwrap();
    assert_eq!(names(&root), ["x"]);
}

#[test]
fn dir_import_layers_may_be_packed_by_gzip_and_zstd_and_tags_and_platforms_choose() {
    let tar = |name: &str| Tar::default().file(name, "x").end();
    let gzip = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut encoder, bytes).unwrap();
        encoder.finish().unwrap()
    };
    let layout = Layout::new();
    let (one, two, other) = (tar("one"), tar("two"), tar("other"));
    let zstd = zstd::bulk::compress(&two, 1).unwrap();
    let host = layout.manifest(&[(gzip(&one), one), (zstd, two)]);
    let foreign = layout.manifest(&[(other.clone(), other)]);
    let on = |manifest: &str, arch: &str| {
        format!("{{{manifest}, \"platform\": {{\"os\": \"linux\", \"architecture\": \"{arch}\"}}}}")
    };
    let (foreign, host) = (on(&foreign, "z80"), on(&host, json::host()));
    let nested = layout.blob(format!("{{\"manifests\": [{foreign}, {host}]}}").as_bytes());
    let kind = "\"mediaType\": \"application/vnd.oci.image.index.v1+json\"";
    let tagged = |what: &str, tag: &str| {
        let inner = what.trim_start_matches('{').trim_end_matches('}').to_owned();
        format!("{{{inner}, \"annotations\": {{\"{}\": \"{tag}\"}}}}", json::REF_NAME)
    };
    let list = tagged(&format!("{{{kind}, {nested}}}"), "list");
    let bare = foreign.split(", \"platform\"").next().unwrap().to_owned();
    layout.index(&[list, tagged(&bare, "z80")]);
    for (tag, expected) in [(":list", &["one", "two"][..]), (":z80", &["other"])] {
        let (root, result) = layout.unpack(tag);
        result.unwrap();
        assert_eq!(names(&root), expected, "{tag}");
        std::fs::remove_dir_all(root).unwrap();
    }
    let error = layout.unpack("").1.unwrap_err().to_string();
    assert!(error.contains("several images") && error.contains("\"z80\""), "{error}");
    let error = layout.unpack(":none").1.unwrap_err().to_string();
    assert!(error.contains("no image of that name"), "{error}");
}

//! Images on file systems that share blocks, and what goes wrong on the way.

#![expect(clippy::disallowed_methods, reason = "fixtures")]

mod errors;
mod faithful;
mod lending;

use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use crate::dir::DirStore;
use crate::import::fixture::{run, text};
use crate::import::image::{Asked, Images, Ready};
use crate::import::{Result, Source as Archive};
use crate::session::Sessions;
use crate::store::{Digest, Layout, Silent, Store as _};
use crate::sys::mount::{self, How};

/// Files of these sizes are in every archive: below what is cloned, of one block, more than what is digested, large.
const SIZES: [usize; 8] = [1, 4095, 4096, 10_000, 65_536, 65_537, 300_000, 3_000_000];

/// A store on a file system of its own.
struct Lab {
    root: tempfile::TempDir,
    layout: Layout,
    store: DirStore,
}

impl Lab {
    fn on(kind: &str) -> Self {
        let root = tempfile::tempdir().unwrap();
        let (disk, at) = (root.path().join("disk"), root.path().join("var/lib/zchroot"));
        std::fs::File::create(&disk).unwrap().set_len(400 << 20).unwrap();
        std::fs::create_dir_all(&at).unwrap();
        run(&format!("mkfs.{kind}"), &["-q", text(&disk)]);
        run("mount", &["-o", "loop", text(&disk), text(&at)]);
        let layout = Layout::new(root.path());
        let store = DirStore::open(&layout);
        store.init().unwrap();
        Self { root, layout, store }
    }

    fn xfs() -> Self {
        Self::on("xfs")
    }

    fn images(&self) -> Images<'_> {
        Images::new(Sessions::new(&self.layout, &self.store))
    }

    fn import(&self, archive: &Path) -> Result<Ready> {
        self.import_as(archive, &Asked { importer: Some(0), sharing: Some(0), ..Asked::default() })
    }

    fn import_as(&self, archive: &Path, asked: &Asked<'_>) -> Result<Ready> {
        self.import_from(archive.to_str().unwrap(), asked)
    }

    fn import_from(&self, archive: &str, asked: &Asked<'_>) -> Result<Ready> {
        let archive: Archive = archive.parse().unwrap();
        self.images().ensure(&archive, archive.open()?, asked, &mut Silent)
    }

    fn remove(&self, ready: Ready) {
        let digest = ready.digest.clone();
        drop(ready);
        self.images().remove(digest.as_str()).unwrap();
    }

    fn tree(&self, digest: &Digest) -> PathBuf {
        self.layout.dir_store().join("images").join(digest.as_str())
    }

    /// A tree of files of [`SIZES`], of random content that the seed says, and one file more that says who it is.
    fn source(&self, name: &str, seed: u64) -> PathBuf {
        let tree = self.root.path().join(name);
        std::fs::create_dir_all(tree.join("usr/share")).unwrap();
        for size in SIZES {
            std::fs::write(tree.join(format!("usr/share/{size}")), noise(size, seed)).unwrap();
        }
        std::fs::write(tree.join("usr/name"), name).unwrap();
        tree
    }

    fn pack(&self, tree: &Path) -> PathBuf {
        let archive = tree.with_extension("tar");
        run("tar", &["--sort=name", "--xattrs", "--acls", "-C", text(tree), "-cf", text(&archive), "."]);
        archive
    }

    /// An archive of [`Lab::source`].
    fn archive(&self, name: &str, seed: u64) -> PathBuf {
        self.pack(&self.source(name, seed))
    }

    /// What is left in the store and beside it of images.
    fn left(&self) -> Vec<String> {
        let folders = [self.layout.images(), self.layout.dir_store().join("images"), self.layout.mounts()];
        let entries = folders.iter().filter_map(|folder| std::fs::read_dir(folder).ok()).flatten();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = mount::unmount_all(&self.layout.mounts(), How::Lazy);
        let _ = mount::unmount_all(&self.layout.state(), How::Lazy);
    }
}

/// What files of [`SIZES`] save when all of them are cloned.
fn all() -> u64 {
    SIZES.iter().filter(|size| **size >= 4096).map(|size| *size as u64).sum()
}

/// Bytes that look random.
fn noise(size: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_add(size as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut bytes: Vec<u8> = std::iter::repeat_with(&mut next).take(size / 8 + 1).flatten().collect();
    bytes.truncate(size);
    bytes
}

/// Changes one byte of a file.
fn change(path: &Path, offset: u64) {
    let file = std::fs::File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[!byte[0]], offset).unwrap();
    file.sync_all().unwrap();
}

//! A squashfs image becomes a tree.
//!
//! ```text
//! superblock.rs  where the tables are
//! metadata.rs    metadata blocks, and cursors in them
//! codec.rs       gzip, xz, zstd, lz4 and lzo.rs
//! directory.rs   entries;  inode.rs  what they are;  xattr.rs  their extended attributes
//! content.rs     what is in files
//! ```
//!
//! The tables are read in place, through caches of a fixed size, and the tree is walked without recursion: a
//! million entries take no more memory than ten. What does grow with the image is the row of directories that
//! were seen (eight bytes each: an image in which one directory stands in two places has no end) and the names of
//! files with several links.

mod codec;
mod content;
mod directory;
mod inode;
mod lzo;
mod metadata;
mod superblock;
#[cfg(test)]
mod tests;
mod xattr;

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use self::content::Contents;
use self::directory::Directory;
use self::inode::{Content, Inode, What};
use self::metadata::Blocks;
use super::Filled;
use super::dedup::Lender;
use super::error::Result;
use super::unpack::member::{Attributes, Kind, Member};
use super::unpack::{Aside, Site, Unpacking, broken};
use crate::store::Progress;

/// The first bytes of an image.
pub(super) const MAGIC: [u8; 4] = *b"hsqs";

/// Unpacks the image `name` of `size` bytes into the mounted empty tree `root`.
///
/// # Errors
/// The image is wrong or there is no room: an error that names the entry.
pub(super) fn fill(
    image: &File,
    size: u64,
    name: &str,
    root: &Path,
    mut lender: Option<&mut Lender<'_>>,
    progress: &mut dyn Progress,
) -> Result<Filled> {
    let job = |site: &mut Site| unpack(image, site);
    let unpacking = Unpacking::start(&[image.as_fd()], name, root, lender.as_deref_mut(), job)?;
    progress.start(&format!("unpack {name}"), Some(size));
    let filled = unpacking.finish(progress, lender.map(|lender| lender as &mut dyn Aside));
    progress.finish();
    filled
}

fn unpack(image: &File, site: &mut Site) -> io::Result<()> {
    let blocks = Blocks::open(image.try_clone()?, site.beat.clone())?;
    let root = Inode::read(&blocks, blocks.superblock.root)?;
    let What::Directory(listing) = root.what else { return Err(broken("the root is no directory")) };
    let mut walk = Walk {
        blocks: &blocks,
        contents: Contents::new(&blocks),
        open: Vec::new(),
        seen: HashSet::from([blocks.superblock.root]),
        links: HashMap::new(),
        site,
    };
    walk.enter(Vec::new(), root.attributes, listing)?;
    while walk.step()? {}
    Ok(())
}

/// A directory that is not at its end.
struct Open {
    path: Vec<u8>,
    /// `None` if there is nothing in it.
    rest: Option<Directory>,
}

struct Walk<'a> {
    blocks: &'a Blocks,
    contents: Contents<'a>,
    /// From the root to where we are.
    open: Vec<Open>,
    /// References of all directories so far.
    seen: HashSet<u64>,
    /// The first names of files with several links, by reference.
    links: HashMap<u64, Vec<u8>>,
    site: &'a mut Site,
}

impl Walk<'_> {
    /// Makes the next entry; false at the end.
    fn step(&mut self) -> io::Result<bool> {
        let Some(top) = self.open.last_mut() else { return Ok(false) };
        let next = top.rest.as_mut().map(|rest| rest.next(self.blocks)).transpose()?.flatten();
        let Some(entry) = next else {
            // Its own attributes last: what is made in it changes its times.
            let done = self.open.pop().map(|open| open.path).unwrap_or_default();
            self.site.entry.clone_from(&done);
            self.site.tree.close_directory(&done)?;
            return Ok(true);
        };
        let mut path = top.path.clone();
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend(&entry.name);
        self.site.entry.clone_from(&path);
        let inode = Inode::read(self.blocks, entry.inode)?;
        match inode.what {
            What::Directory(listing) => {
                if !self.seen.insert(entry.inode) {
                    return Err(broken("a directory that stands in two places"));
                }
                self.enter(path, inode.attributes, listing)?;
            }
            What::File(_) | What::Other(_) => self.leaf(path, entry.inode, inode)?,
        }
        Ok(true)
    }

    /// What is no directory may have several names: all but the first are links.
    fn leaf(&mut self, path: Vec<u8>, reference: u64, inode: Inode) -> io::Result<()> {
        if inode.links > 1 {
            if let Some(first) = self.links.get(&reference) {
                return self.make(path, Kind::HardLink(first.clone()), Attributes::default());
            }
            self.links.insert(reference, path.clone());
        }
        match inode.what {
            What::File(content) => self.file(&path, &inode.attributes, content),
            What::Other(kind) => self.make(path, kind, inode.attributes),
            What::Directory(_) => Ok(()),
        }
    }

    fn enter(&mut self, path: Vec<u8>, attributes: Attributes, listing: inode::Listing) -> io::Result<()> {
        let rest = Directory::open(self.blocks, listing)?;
        self.make(path.clone(), Kind::Directory, attributes)?;
        self.open.push(Open { path, rest });
        Ok(())
    }

    fn make(&mut self, path: Vec<u8>, kind: Kind, attributes: Attributes) -> io::Result<()> {
        let member = Member { path, kind, attributes, size: 0, sparse: None };
        self.site.tree.write(&member, &mut io::empty())
    }

    fn file(&mut self, path: &[u8], attributes: &Attributes, mut content: Content) -> io::Result<()> {
        let tree = &mut self.site.tree;
        let file = tree.new_file(path, content.size)?;
        self.contents.write(&mut content, tree, &file)?;
        tree.close_file(file, attributes)
    }
}

//! Images: what is done with them, and what must be so. An image is known by the stamp in its tree, which is the name
//! of the archive too.

use std::collections::BTreeSet;
use std::path::PathBuf;

use zchroot::import::Source;
use zchroot::import::image::{Asked, Images};
use zchroot::session::{Kind, Request};
use zchroot::store::{Digest, MountOptions, Silent, Tree};

use crate::act::{Trouble, new_record, told};
use crate::check::{CURRENT, Checked, NOTHING_LEFT, ONLY_OURS, Violation, hold, must};
use crate::model::Model;
use crate::world::{Handles, World, list, read_stamp, write_stamp};

fn archive(world: &World, stamp: u32) -> PathBuf {
    world.host().join(format!("{stamp}.tar"))
}

/// Packs the archive that an import is to find; once, for another one would have another digest.
pub(crate) fn pack(world: &World, stamp: u32) {
    let path = archive(world, stamp);
    if path.exists() {
        return;
    }
    let source = world.host().join("source");
    write_stamp(&source, stamp);
    let mut builder = tar::Builder::new(std::fs::File::create(path).unwrap());
    builder.follow_symlinks(false);
    builder.append_dir_all(".", source).unwrap();
    builder.finish().unwrap();
}

impl Handles<'_> {
    fn images(&self) -> Images<'_> {
        Images::new(self.sessions)
    }

    pub(crate) fn image_import(&self, world: &World, stamp: u32) -> Result<(), Trouble> {
        let source = Source::Path(archive(world, stamp));
        let opened = source.open().map_err(told)?;
        let asked = Asked { importer: Some(0), sharing: Some(0), ..Asked::default() };
        self.images().ensure(&source, opened, &asked, &mut Silent).map(drop).map_err(told)
    }

    fn image(&self, stamp: u32) -> Result<Digest, Trouble> {
        let images = self.images().list(0).map_err(told)?;
        let found = images.into_iter().find(|image| {
            let origin = image.record.as_ref().map(|record| record.origin.as_str()).unwrap_or_default();
            origin.ends_with(&format!("/{stamp}.tar"))
        });
        found.map(|image| image.tree.digest).ok_or_else(|| format!("no image {stamp}"))
    }

    pub(crate) fn image_remove(&self, stamp: u32) -> Result<(), Trouble> {
        self.images().remove(self.image(stamp)?.as_str()).map(drop).map_err(told)
    }

    pub(crate) fn image_run(&self, stamp: u32, id: &str) -> Result<(), Trouble> {
        let ready = self.images().find(self.image(stamp)?.as_str(), 0).map_err(told)?;
        let mut new = new_record("image", id, Kind::Ephemeral);
        new.image = Some(ready.digest.clone());
        let request = Request { new, profile: &self.profile(), at: None };
        let begun = self.sessions.begin(request).map_err(told)?;
        drop(ready);
        let ran = self.exec(id);
        self.sessions.end(begun).map_err(told)?;
        ran
    }
}

/// The images that there are, each whole.
pub(crate) fn observe(it: &Handles<'_>) -> Checked<BTreeSet<u32>> {
    let mut stamps = BTreeSet::new();
    for tree in must(ONLY_OURS, "list the images", it.store.images())? {
        let digest = tree.digest.clone();
        hold(ONLY_OURS, tree.complete, || format!("half of an image: {digest}"))?;
        let known = must(CURRENT, "read a record", it.images().known(tree))?;
        let unknown = || Violation { rule: CURRENT, what: format!("nothing is known of image {digest}") };
        let record = known.record.ok_or_else(unknown)?;
        let stamp = stamp_in(it, &digest)?;
        let named = record.origin.ends_with(&format!("/{stamp}.tar")) && record.is_for(1);
        hold(CURRENT, named, || format!("{record:?} has the stamp {stamp}"))?;
        stamps.insert(stamp);
    }
    Ok(stamps)
}

fn stamp_in(it: &Handles<'_>, digest: &Digest) -> Checked<u32> {
    let at = tempfile::tempdir_in("/dev/shm").unwrap();
    let mounted = it.store.mount(&Tree::Image(digest.clone()), at.path(), MountOptions::default());
    must(CURRENT, "mount an image", mounted)?;
    let stamp = read_stamp(at.path());
    rustix::mount::unmount(at.path(), rustix::mount::UnmountFlags::DETACH).unwrap();
    must(CURRENT, &format!("image {digest}"), stamp)
}

/// Records, trees and locks are those of the images that there are.
pub(crate) fn nothing_left(world: &World, seen: &Model) -> Checked {
    let trees = world.process(|it| must(ONLY_OURS, "list the images", it.store.images()))?;
    hold(ONLY_OURS, trees.len() == seen.images.len(), || format!("{trees:?}, not {:?}", seen.images))?;
    let digests: BTreeSet<&str> = trees.iter().map(|tree| tree.digest.as_str()).collect();
    for (folder, before, after) in [
        (world.layout.images(), "", ".toml"),
        (world.layout.dir_store().join("images"), "", ""),
        (world.layout.locks(), "image-", ""),
    ] {
        for name in list(&folder).iter().filter(|name| name.starts_with(before)) {
            let digits = name.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
            let is_known = digits.is_some_and(|digits| digests.contains(digits));
            hold(NOTHING_LEFT, is_known, || format!("of no image: {}/{name}", world.relative(&folder)))?;
        }
    }
    Ok(())
}

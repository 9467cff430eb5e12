//! What an import may clone from other images: which images, and the index that it leaves for the next one.
//!
//! Only images that the importer may use are asked, so he learns of no other one, neither by what is saved nor by how
//! long it takes. Nothing here is an error: what cannot be cloned is unpacked.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::rc::Rc;

use rustix::fs::{CWD, Mode, OFlags};

use super::{Images, Result};
use crate::import::dedup::{self, Lender, Source};
use crate::store::Digest;
use crate::sys::reflink::{self, Way};
use crate::sys::{chain, effect, file};

/// So many images are asked for a file: those that were used last.
const MOST_SOURCES: usize = 8;

impl<'a> Images<'a> {
    /// Whoever lends files to the import of `draft`, which is mounted at `at`; `None` if it is not to be, or if files
    /// cannot share blocks there.
    pub(super) fn lender(&self, draft: &Digest, uid: Option<u32>, at: &Path) -> Option<Lender<'a>> {
        let lender = self.try_lender(draft, uid?, at);
        lender.unwrap_or_else(|error| {
            tracing::warn!(image = %draft, "nothing is cloned from other images: {}", chain(&error));
            None
        })
    }

    fn try_lender(&self, draft: &Digest, uid: u32, at: &Path) -> Result<Option<Lender<'a>>> {
        let possible = file::open_dir(at)
            .and_then(|dir| file::at("try to share blocks in", at, reflink::is_possible(dir.as_fd())));
        if !possible? {
            return Ok(None);
        }
        let way = self.store().image_write_count(draft);
        let way = way.map_err(|error| self.failed("look at", draft, error))?.map_or(Way::Clone, Way::Counted);
        file::make_dirs(&self.layout().images(), 0o700)?;
        let out = file::at("make a file in", &self.layout().images(), nameless(&self.layout().images()))?;
        let mut sources = self.list(uid)?;
        sources.sort_by_key(|image| std::cmp::Reverse(image.record.as_ref().map(|record| record.last_used)));
        let sources = sources.into_iter().filter_map(|image| {
            let path = self.layout().image_index(&image.tree.digest);
            file::open_if_there(&path).ok().flatten().map(|index| Source::new(image.tree.digest, index))
        });
        Ok(Some(Lender::new(self.store(), sources.take(MOST_SOURCES).collect(), uid, way, out)))
    }

    /// Gives the index of a new image its name, under the lock.
    pub(super) fn keep_index(&self, digest: &Digest, index: &Rc<File>) {
        if !dedup::is_index(index) {
            return;
        }
        let path = self.layout().image_index(digest);
        let kept = file::remove(&path).and_then(|()| file::link_open(index.as_fd(), &path));
        if let Err(error) = kept {
            tracing::warn!(image = %digest, "the next import cannot clone from it: {}", chain(&error));
        }
    }

    /// Takes the index of an image away: whoever clones from it lets go of it. Under the lock.
    pub(super) fn drop_index(&self, digest: &Digest) -> Result<()> {
        Ok(file::remove(&self.layout().image_index(digest))?)
    }
}

/// A file that goes if it gets no name.
fn nameless(folder: &Path) -> io::Result<File> {
    effect::point("make temp file")?;
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::openat(CWD, folder, flags, Mode::RUSR | Mode::WUSR)?))
}

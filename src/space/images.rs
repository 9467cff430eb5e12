//! What gc does with images: drafts that nobody unpacks, images that have not been used for long, and what a crash
//! left of either.
//!
//! Whoever makes, uses or removes an image holds its lock. So what the plan says is looked at again under the lock,
//! and what somebody works on, or has used since, stays.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use super::gc::{Action, Gc, Item, Object};
use crate::import::image::{Images, Listed, State};
use crate::source::Error;
use crate::store::{Digest, ImageTree, Store};
use crate::sys::file;

const LOCK: &str = "image-";
const MOUNT: &str = ".image-";
const RECORD: &str = ".toml";
const INDEX: &str = ".files";

impl Gc<'_> {
    fn image_store(&self) -> Images<'_> {
        Images::new(self.sessions)
    }

    /// An image that a crash left aside while it was being removed stands where it did: it is none that may go.
    pub(super) fn mend_images(&self) -> Result<(), Error> {
        for tree in self.sessions.store().images()? {
            self.image_store().mend_unless_held(&tree.digest)?;
        }
        Ok(())
    }

    /// The lines about images, if sessions go as `others` says: one that only they are cloned from goes with them.
    pub(super) fn image_items(&self, others: &[Item]) -> Result<Vec<Item>, Error> {
        let mut items = Vec::new();
        for (image, made) in self.named(&self.layout().mounts(), |name| name.strip_prefix(MOUNT))? {
            items.push(self.unless_in_use(Object::ImageMount { image }, made)?);
        }
        let trees = self.sessions.store().images()?;
        for tree in &trees {
            items.extend(self.image_item(tree, others)?);
        }
        // Read after the trees: one that came between the two has its tree, or its lock is held.
        let known: BTreeSet<&Digest> = trees.iter().map(|tree| &tree.digest).collect();
        let mut seen = BTreeSet::new();
        for (image, made) in self.named(&self.layout().images(), strip_record)? {
            if !known.contains(&image) && seen.insert(image.clone()) {
                items.push(self.unless_in_use(Object::ImageRecord { image }, made)?);
            }
        }
        for (image, made) in self.named(&self.layout().locks(), |name| name.strip_prefix(LOCK))? {
            if !known.contains(&image) {
                items.push(self.unless_in_use(Object::ImageLock { image }, made)?);
            }
        }
        Ok(items)
    }

    /// A draft always has a line, an image only if it may go.
    fn image_item(&self, tree: &ImageTree, others: &[Item]) -> Result<Option<Item>, Error> {
        let image = tree.digest.clone();
        if !tree.complete {
            return self.unless_in_use(Object::ImageDraft { image }, tree.created).map(Some);
        }
        let clones = clones_that_stay(self.sessions.store(), tree, others)?;
        let listed = self.image_store().known(ImageTree { clones, ..tree.clone() })?;
        if listed.state(self.warm) != State::Cold {
            return Ok(None);
        }
        let object = Object::Image { image };
        let used = last_used(&listed);
        let (age, unknown) = (age_of(used), listed.record.is_none());
        let what = if unknown { "nothing is known of it" } else { "nothing is cloned from it" };
        let (action, reason) = if age < self.grace {
            (Action::Keep, format!("{what}, but it was used only {} s ago", age.as_secs()))
        } else {
            (Action::Remove, format!("{what}, last used {} s ago", age.as_secs()))
        };
        Ok(Some(self.unless_held(Item { object, action, reason, bytes: None })?))
    }

    fn unless_in_use(&self, object: Object, made: SystemTime) -> Result<Item, Error> {
        self.unless_held(self.judge(object, false, made))
    }

    fn unless_held(&self, mut item: Item) -> Result<Item, Error> {
        if let Some(image) = item.object.image()
            && self.image_store().is_being_made(image)?
        {
            (item.action, item.reason) = (Action::Keep, "somebody works on it just now".to_owned());
        }
        Ok(item)
    }

    /// Removes what the plan says of an image; `false` if somebody works on it, or has used it since.
    pub(super) fn remove_of_image(&self, object: &Object) -> Result<bool, Error> {
        let Some(image) = object.image() else { return Ok(true) };
        let may_go = |listed: Option<&Listed>| match (object, listed) {
            (Object::Image { .. }, Some(listed)) => {
                listed.tree.complete
                    && listed.state(self.warm) == State::Cold
                    && age_of(last_used(listed)) >= self.grace
            }
            // A mount point is of whatever image there is.
            (Object::ImageMount { .. }, _) => true,
            (Object::ImageDraft { .. }, Some(listed)) => !listed.tree.complete,
            (Object::ImageRecord { .. } | Object::ImageLock { .. }, listed) => listed.is_none(),
            _ => false,
        };
        let images = self.image_store();
        Ok(match object {
            Object::ImageMount { .. } => images.clear_mount_point(image)?,
            _ => images.remove_if(image, &may_go)?,
        })
    }

    /// The images that files in a folder are named after, and when those were changed.
    fn named(
        &self,
        folder: &std::path::Path,
        digits: impl Fn(&str) -> Option<&str>,
    ) -> Result<Vec<(Digest, SystemTime)>, Error> {
        let mut found = Vec::new();
        for name in file::list(folder)? {
            let Some(image) = digits(&name).and_then(|digits| digits.parse::<Digest>().ok()) else {
                continue;
            };
            if let Some(meta) = file::stat(&folder.join(&name))? {
                found.push((image, meta.modified().unwrap_or_else(|_| SystemTime::now())));
            }
        }
        Ok(found)
    }
}

/// The index is a part of the record.
fn strip_record(name: &str) -> Option<&str> {
    name.strip_suffix(RECORD).or_else(|| name.strip_suffix(INDEX))
}

/// One that nothing is known of counts from when it was made.
fn last_used(listed: &Listed) -> SystemTime {
    listed.record.as_ref().map_or(listed.tree.created, |record| SystemTime::from(record.last_used))
}

/// A clock that went backwards makes things look new: they stay.
fn age_of(time: SystemTime) -> Duration {
    SystemTime::now().duration_since(time).unwrap_or(Duration::ZERO)
}

impl Object {
    /// The image that it is of, if it is of one.
    fn image(&self) -> Option<&Digest> {
        match self {
            Self::Image { image }
            | Self::ImageDraft { image }
            | Self::ImageRecord { image }
            | Self::ImageLock { image }
            | Self::ImageMount { image } => Some(image),
            _ => None,
        }
    }
}

/// Orphans keep no image: they go before it.
pub(super) fn clones_that_stay(
    store: &dyn Store,
    tree: &ImageTree,
    others: &[Item],
) -> Result<u64, crate::store::Error> {
    let goes =
        |item: &&Item| item.action == Action::Remove && matches!(item.object, Object::SessionTree { .. });
    if tree.clones == 0 || !others.iter().any(|item| goes(&item)) {
        return Ok(tree.clones);
    }
    let sessions = store.image_sessions(&tree.digest)?;
    let gone = others.iter().filter(goes).filter_map(|item| item.object.session());
    let gone = gone.filter(|session| sessions.contains(session)).count() as u64;
    Ok(tree.clones.saturating_sub(gone))
}

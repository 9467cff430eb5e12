//! Sweep: makes room now, by evicting all that may be evicted.
//!
//! That is what gc would take, and every image that nothing is cloned from, however lately it was used: all of it
//! can be made again. Never a current version, a session, a draft that a record names, or a version that something
//! keeps. An image that somebody unpacks or is about to clone is locked by him and stays.
//!
//! A sweep does not fail: what would not go is told, and what comes of it shows when the caller tries again.

use std::time::Duration;

use super::gc::{Action, Collected, Gc, Item, Object};
use crate::import::image::{Images, Listed};
use crate::session::Sessions;
use crate::source::Keep;
use crate::store::{Digest, ErrorKind, Space, TemplateName};
use crate::sys::chain;
use crate::template::Warm;

/// How long a store may take until what was deleted is free for others.
const PATIENCE: Duration = Duration::from_secs(60);

/// How a sweep is done.
#[derive(Debug, Clone, Copy)]
pub struct Sweep<'a> {
    /// Where.
    pub sessions: Sessions<'a>,
    /// How old a thing must be that nothing refers to.
    pub grace: Duration,
    /// Which versions a template keeps.
    pub keep: &'a dyn KeepOf,
}

/// Which versions each template keeps.
pub trait KeepOf: std::fmt::Debug {
    /// How many, and for how long.
    fn keep(&self, template: &TemplateName) -> Keep;
}

/// What a sweep did.
#[derive(Debug)]
pub struct Swept {
    /// What went.
    pub gone: Vec<Item>,
    /// What did not, and why.
    pub troubles: Vec<String>,
    /// Room before it, if it could be read.
    pub before: Option<Space>,
    /// Room after it, once all was free, if it could be read.
    pub after: Option<Space>,
}

impl Swept {
    /// How much more room there was after it.
    #[must_use]
    pub fn freed(&self) -> u64 {
        let available = |space: Option<Space>| space.map(|space| space.available);
        match (available(self.before), available(self.after)) {
            (Some(before), Some(after)) => after.saturating_sub(before),
            _ => 0,
        }
    }
}

impl Sweep<'_> {
    /// Evicts, and waits until the room is really there.
    #[must_use]
    pub fn run(&self) -> Swept {
        let store = self.sessions.store();
        let before = store.space().ok();
        let mut swept = Swept { gone: Vec::new(), troubles: Vec::new(), before, after: None };
        // How long an image is kept warm is not asked: below, all go that nothing is cloned from.
        let gc = Gc::new(self.sessions, self.grace, Warm::default());
        match gc.run(|template| self.keep.keep(template)) {
            Ok(Collected { items, troubles, waiting: _ }) => {
                swept.gone.extend(items.into_iter().filter(|item| item.action == Action::Remove));
                swept.troubles.extend(troubles);
            }
            // What a record that cannot be read refers to is not known. An image knows itself who needs it.
            Err(error) => swept.troubles.push(chain(&error)),
        }
        self.evict_images(&mut swept);
        if let Err(error) = store.wait_freed(PATIENCE) {
            swept.troubles.push(chain(&error));
        }
        swept.after = store.space().ok();
        swept
    }

    fn evict_images(&self, swept: &mut Swept) {
        let trees = match self.sessions.store().images() {
            Ok(trees) => trees,
            Err(error) => return swept.troubles.push(chain(&error)),
        };
        let images = Images::new(self.sessions);
        for tree in trees.into_iter().filter(|tree| tree.complete && tree.clones == 0) {
            let is_unused = |listed: Option<&Listed>| listed.is_some_and(Listed::is_unused);
            match images.remove_if(&tree.digest, &is_unused) {
                Ok(true) => swept.gone.push(evicted(tree.digest)),
                // Somebody has it, or has just cloned it.
                Ok(false) => {}
                Err(error) if error.kind() == ErrorKind::Busy => {}
                Err(error) => {
                    swept.troubles.push(format!("image {}: {}", tree.digest.short(), chain(&error)))
                }
            }
        }
    }
}

fn evicted(image: Digest) -> Item {
    Item {
        object: Object::Image { image },
        action: Action::Remove,
        reason: "nothing is cloned from it, and there is no room".to_owned(),
    }
}

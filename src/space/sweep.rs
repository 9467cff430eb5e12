//! Sweep: makes room now, by evicting all that may be evicted.
//!
//! That is what gc would take, and every image that nothing is cloned from, however lately it was used: all of it
//! can be made again. Never a current version, a session, a draft that a record names, or a version that something
//! keeps. What cannot be evicted for lack of room to work in, is with the reserve. An image that somebody unpacks or is about to clone is locked by him and stays.
//!
//! A sweep does not fail: what would not go is told, and what comes of it shows when the caller tries again.

use std::time::Duration;

use super::gc::{Action, Collected, Gc, Item, Object};
use super::retry::is_no_room;
use crate::import::image::{Images, Listed};
use crate::session::Sessions;
use crate::source::Keep;
use crate::store::{Digest, ErrorKind, Outcome, Space, TemplateName};
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
    /// The reserve was given up, for there was no room to evict anything in.
    pub released: bool,
}

impl Swept {
    /// Of one that was not done.
    #[must_use]
    pub fn nothing() -> Self {
        Self { gone: Vec::new(), troubles: Vec::new(), before: None, after: None, released: false }
    }

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
        let mut swept =
            Swept { gone: Vec::new(), troubles: Vec::new(), before, after: None, released: false };
        // Where nothing is written in place even what goes needs some room: that is what the reserve is for.
        if self.evict(&mut swept) && matches!(store.release_reserve(), Ok(Outcome::Changed)) {
            swept.released = true;
            swept.troubles.clear();
            self.wait(&mut swept);
            self.evict(&mut swept);
        }
        self.wait(&mut swept);
        swept.after = store.space().ok();
        swept
    }

    fn wait(&self, swept: &mut Swept) {
        if let Err(error) = self.sessions.store().wait_freed(PATIENCE) {
            swept.troubles.push(chain(&error));
        }
    }

    /// Whether something would not go for lack of room to work in.
    fn evict(&self, swept: &mut Swept) -> bool {
        // How long an image is kept warm is not asked: below, all go that nothing is cloned from.
        let gc = Gc::new(self.sessions, self.grace, Warm::default());
        let mut stuck = match gc.run(|template| self.keep.keep(template)) {
            Ok(Collected { items, troubles, waiting: _, stuck }) => {
                swept.gone.extend(items.into_iter().filter(|item| item.action == Action::Remove));
                swept.troubles.extend(troubles);
                stuck
            }
            // What a record that cannot be read refers to is not known. An image knows itself who needs it.
            Err(error) => {
                swept.troubles.push(chain(&error));
                is_no_room(&error)
            }
        };
        let trees = match self.sessions.store().images() {
            Ok(trees) => trees,
            Err(error) => {
                swept.troubles.push(chain(&error));
                return stuck;
            }
        };
        for tree in trees.into_iter().filter(|tree| tree.complete && tree.clones == 0) {
            stuck |= self.evict_image(&tree.digest, swept);
        }
        stuck
    }

    /// Whether it would not go for lack of room to work in.
    fn evict_image(&self, image: &Digest, swept: &mut Swept) -> bool {
        let is_unused = |listed: Option<&Listed>| listed.is_some_and(Listed::is_unused);
        match Images::new(self.sessions).remove_if(image, &is_unused) {
            Ok(true) => swept.gone.push(evicted(image.clone())),
            // Somebody has it, or has just cloned it.
            Ok(false) => {}
            Err(error) if error.kind() == ErrorKind::Busy => {}
            Err(error) => {
                swept.troubles.push(format!("image {}: {}", image.short(), chain(&error)));
                return error.kind() == ErrorKind::NoRoom;
            }
        }
        false
    }
}

fn evicted(image: Digest) -> Item {
    Item {
        object: Object::Image { image },
        action: Action::Remove,
        reason: "nothing is cloned from it, and there is no room".to_owned(),
        bytes: None,
    }
}

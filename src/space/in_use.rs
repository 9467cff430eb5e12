//! What gc finds out of a tree besides its age: who is in it, and what it takes.

use super::gc::{Action, Gc, Item, Object};
use crate::session;
use crate::source::Error;
use crate::store::Tree;
use crate::sys::reap;

impl Gc<'_> {
    /// Nobody's tree goes under him, also if nothing is known of his session: it stays, with its mount.
    pub(super) fn unless_used(&self, mut item: Item) -> Result<Item, Error> {
        if item.action == Action::Keep {
            return Ok(item);
        }
        let (Object::Mount { session } | Object::SessionTree { session }) = &item.object else {
            return Ok(item);
        };
        let user = reap::user_of(&self.layout().mount(session))
            .map_err(|error| session::Error::sys("find who uses", session, error))?;
        if let Some(user) = user {
            let reason = format!("no record refers to it, but process {} ({}) uses it", user.pid, user.name);
            (item.action, item.reason) = (Action::Keep, reason);
        }
        Ok(item)
    }

    /// Notes what goes with it: what it alone takes. Versions share what they hold, so of them and of drafts nothing can
    /// be said.
    pub(super) fn weigh(&self, items: &mut [Item]) {
        for item in items.iter_mut().filter(|item| item.action == Action::Remove) {
            let tree = match &item.object {
                Object::SessionTree { session } => Tree::Session(session.clone()),
                Object::Image { image } | Object::ImageDraft { image } => Tree::Image(image.clone()),
                _ => continue,
            };
            // It is for people: what cannot be measured goes all the same.
            item.bytes = self.sessions.store().used(&tree).ok();
        }
    }
}

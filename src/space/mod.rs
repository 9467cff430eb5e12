//! Room: what nothing refers to is reclaimed.

mod gc;
mod versions;

pub use gc::{Action, Gc, Item, Object};

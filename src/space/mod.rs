//! Room: what nothing refers to is reclaimed.

mod gc;
mod images;
mod versions;

pub use gc::{Action, Collected, Gc, Item, Object};

//! Room: what nothing refers to is reclaimed.

mod gc;

pub use gc::{Action, Gc, Item, Object};

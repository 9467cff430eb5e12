//! Room: what nothing refers to is reclaimed, and where there is too little it is made.
//!
//! ```text
//! admission.rs  whether there is enough to begin something
//! gc.rs         what nothing refers to; versions.rs, the versions among it; in_use.rs, what is in use all the same
//! sweep.rs      all that may be evicted, at once
//! pressure.rs   images beyond their share of a quota
//! reserve.rs    room to clear up in
//! retry.rs      what met no room is tried once more after a sweep
//! ```

mod admission;
mod found;
mod gc;
mod images;
mod in_use;
mod kept;
mod pressure;
mod reserve;
mod retry;
mod sweep;
mod versions;

pub use admission::{Admission, Level, Promises, admit, classify};
pub use gc::{Action, Collected, Gc, Item, Object};
pub use pressure::{Weighed, evicted_by_pressure, pressure, relieve};
pub use reserve::{Laying, lay};
pub use retry::{Failure, is_no_room, is_quota, once_more};
pub use sweep::{KeepOf, Sweep, Swept};

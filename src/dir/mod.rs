//! The store on directories.

use crate::store::Layout;

/// The store on directories.
#[derive(Debug, Clone)]
pub struct DirStore {
    layout: Layout,
}

impl DirStore {
    /// The store of an installation. Nothing is touched before the first call.
    #[must_use]
    pub fn open(layout: &Layout) -> Self {
        Self { layout: layout.clone() }
    }
}

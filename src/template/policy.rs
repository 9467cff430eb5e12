//! Who may do what: schroot's lists, without its passwords.
//!
//! The decision rests on the real uid and on the groups that the process really has, both from the kernel:
//! an edit of /etc/group counts after the next login, newgrp(1) counts at once. Nobody is asked for a
//! password: who is not let in by a list is refused.

use std::fmt;

use serde::Serialize;

use super::account::{AccountName, Accounts};
use super::definition::Access;

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Who {
    /// The real uid.
    pub uid: u32,
    /// The real gid.
    pub gid: u32,
    /// The supplementary groups.
    pub groups: Vec<u32>,
    /// The name that the host gives to `uid`.
    pub name: String,
}

/// What was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Let in.
    Allowed(Grant),
    /// Turned away.
    Denied(Refusal),
}

/// Why somebody was let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Grant {
    /// The caller is root.
    Superuser,
    /// A list holds the caller, who stays who he is.
    Oneself,
    /// `root-users` or `root-groups` holds the caller, who becomes root.
    BecomesRoot,
}

/// Why somebody was turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Refusal {
    /// No list holds the caller.
    NotListed,
    /// The caller may work only as himself, and asked for root.
    NotAsRoot,
    /// The caller asked for a user who is neither himself nor root.
    NotAsOther,
    /// The uid that means "no change" to setresuid(2) is nobody's (CVE-2019-14287).
    NoSuchUser,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotListed => "the caller is in none of users, groups, root-users and root-groups",
            Self::NotAsRoot => "only who is in root-users or root-groups may become root",
            Self::NotAsOther => "only root may become another user",
            Self::NoSuchUser => "there can be no user with that number",
        })
    }
}

/// Decides whether `who` may work as `target` where `access` says who may.
#[must_use]
pub fn decide(access: &Access, who: &Who, target: u32, accounts: &dyn Accounts) -> Verdict {
    if target == u32::MAX || who.uid == u32::MAX {
        return Verdict::Denied(Refusal::NoSuchUser);
    }
    if who.uid == 0 {
        return Verdict::Allowed(Grant::Superuser);
    }
    let as_root = is_listed(&access.root_users, &access.root_groups, who, accounts);
    let listed = as_root || is_listed(&access.users, &access.groups, who, accounts);
    match (listed, as_root, target) {
        (false, _, _) => Verdict::Denied(Refusal::NotListed),
        (true, _, target) if target == who.uid => Verdict::Allowed(Grant::Oneself),
        (true, true, 0) => Verdict::Allowed(Grant::BecomesRoot),
        (true, false, 0) => Verdict::Denied(Refusal::NotAsRoot),
        (true, _, _) => Verdict::Denied(Refusal::NotAsOther),
    }
}

/// Who may use a session that `who` begins where `access` let him in: he alone, as what he could be there.
/// Root needs no list.
#[must_use]
pub fn of_session(access: &Access, who: &Who, accounts: &dyn Accounts) -> Access {
    let Ok(name) = who.name.parse::<AccountName>() else { return Access::default() };
    if is_listed(&access.root_users, &access.root_groups, who, accounts) {
        Access { root_users: vec![name], ..Access::default() }
    } else {
        Access { users: vec![name], ..Access::default() }
    }
}

fn is_listed(users: &[AccountName], groups: &[AccountName], who: &Who, accounts: &dyn Accounts) -> bool {
    let has = |gid: u32| who.gid == gid || who.groups.contains(&gid);
    users.iter().any(|user| user.as_str() == who.name)
        || groups.iter().any(|group| accounts.gid(group).is_some_and(has))
}

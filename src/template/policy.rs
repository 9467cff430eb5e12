//! Who may do what: schroot's lists, without its passwords.
//!
//! The decision rests on the real uid, on the groups that the process really has and on those that the host's
//! database gives its user: newgrp(1) and an edit of /etc/group both count at once. Nobody is asked for a
//! password: who is not let in by a list is refused.

use std::fmt;

use serde::Serialize;

use super::account::{AccountName, Accounts};
use super::definition::{Access, SourceAccess};

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

/// Whether `who` may make an older version current again, pin and unpin: root, who may change the template as
/// root, and who is listed for just this. To be let into sessions does not count.
#[must_use]
pub fn may_roll_back(source: &SourceAccess, who: &Who, accounts: &dyn Accounts) -> bool {
    matches!(decide(&source.access, who, 0, accounts), Verdict::Allowed(_))
        || (who.uid != u32::MAX && is_listed(&source.rollback_users, &source.rollback_groups, who, accounts))
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

#[cfg(test)]
mod tests {
    use super::super::fixture::FewAccounts;
    use super::*;

    const ROOT: u32 = 0;
    const ALICE: u32 = 1001;
    const BOB: u32 = 1002;

    fn names(list: &[&str]) -> Vec<AccountName> {
        list.iter().map(|name| name.parse().unwrap()).collect()
    }

    fn who(name: &str, uid: u32, gid: u32, groups: &[u32]) -> Who {
        Who { uid, gid, groups: groups.to_vec(), name: name.to_owned() }
    }

    fn access(users: &[&str], groups: &[&str], root_users: &[&str], root_groups: &[&str]) -> Access {
        Access {
            users: names(users),
            groups: names(groups),
            root_users: names(root_users),
            root_groups: names(root_groups),
        }
    }

    #[test]
    fn to_roll_back_is_for_root_for_who_changes_the_template_and_for_who_is_listed_for_it() {
        let alice = who("alice", ALICE, 1001, &[130]);
        let may = |access: Access, users: &[&str], groups: &[&str], who: &Who| {
            let (rollback_users, rollback_groups) = (names(users), names(groups));
            let source = SourceAccess { access, rollback_users, rollback_groups, ..SourceAccess::default() };
            may_roll_back(&source, who, &FewAccounts)
        };
        let (nobody, as_root) = (access(&[], &[], &[], &[]), access(&[], &[], &["alice"], &[]));
        let as_self = access(&["alice"], &["sbuild"], &[], &[]);
        assert!(
            may(nobody.clone(), &["alice"], &[], &alice) && may(nobody.clone(), &[], &["sbuild"], &alice)
        );
        assert!(may(as_root.clone(), &[], &[], &alice) && !may(nobody.clone(), &[], &[], &alice));
        assert!(!may(nobody.clone(), &["bob"], &["sudo", "ghosts"], &alice));
        assert!(!may(as_self, &[], &[], &alice), "to work in the source as oneself changes nothing of it");
        assert!(may(nobody, &[], &[], &who("root", ROOT, 0, &[])));
        assert!(!may(as_root, &["alice"], &[], &who("alice", u32::MAX, 1001, &[])));
    }

    #[test]
    fn the_whole_matrix_of_lists_and_targets() {
        use Grant::{BecomesRoot, Oneself};
        use Refusal::{NotAsOther, NotAsRoot, NotListed};
        use Verdict::{Allowed, Denied};

        let alone = who("alice", ALICE, 1001, &[]);
        let in_sbuild = who("alice", ALICE, 1001, &[100, 130]);
        let now_sbuild = who("alice", ALICE, 130, &[]);
        let user = [Allowed(Oneself), Denied(NotAsRoot), Denied(NotAsOther)];
        let root = [Allowed(Oneself), Allowed(BecomesRoot), Denied(NotAsOther)];
        let none = [Denied(NotListed); 3];
        let rows = [
            ("nobody listed", access(&[], &[], &[], &[]), &alone, none),
            ("somebody else listed", access(&["bob"], &["sudo"], &["bob"], &["sudo"]), &in_sbuild, none),
            ("in users", access(&["bob", "alice"], &[], &[], &[]), &alone, user),
            ("in groups", access(&[], &["sbuild"], &[], &[]), &in_sbuild, user),
            ("in groups by the real gid", access(&[], &["sbuild"], &[], &[]), &now_sbuild, user),
            ("not in groups", access(&[], &["sbuild"], &[], &[]), &alone, none),
            ("in root-users", access(&[], &[], &["alice"], &[]), &alone, root),
            ("in root-groups", access(&[], &[], &[], &["sbuild"]), &in_sbuild, root),
            ("in root-groups by the real gid", access(&[], &[], &[], &["sbuild"]), &now_sbuild, root),
            ("not in root-groups", access(&[], &[], &[], &["sbuild"]), &alone, none),
            ("in users and root-groups", access(&["alice"], &[], &[], &["sbuild"]), &in_sbuild, root),
            ("in groups and root-users", access(&[], &["sbuild"], &["alice"], &[]), &in_sbuild, root),
            ("in users, another in root-users", access(&["alice"], &[], &["bob"], &[]), &alone, user),
            ("a group the host does not know", access(&[], &["ghosts"], &[], &["ghosts"]), &alone, none),
            ("a user name is no group name", access(&["sbuild"], &["alice"], &[], &[]), &in_sbuild, none),
        ];
        for (row, access, who, expected) in rows {
            let verdicts = [ALICE, ROOT, BOB].map(|target| decide(&access, who, target, &FewAccounts));
            assert_eq!(verdicts, expected, "{row}");
        }
    }

    #[test]
    fn root_may_do_everything_and_needs_no_list() {
        for target in [ROOT, ALICE, 65_534] {
            let verdict = decide(&Access::default(), &who("root", ROOT, 0, &[]), target, &FewAccounts);
            assert_eq!(verdict, Verdict::Allowed(Grant::Superuser));
        }
    }

    #[test]
    fn only_the_uid_makes_a_caller_root() {
        let impostor = who("root", ALICE, 0, &[0]);
        let verdict = decide(&Access::default(), &impostor, ROOT, &FewAccounts);
        assert_eq!(verdict, Verdict::Denied(Refusal::NotListed));
    }

    #[test]
    fn a_caller_without_a_name_is_in_no_list_of_names() {
        let nameless = who("", 4711, 4711, &[]);
        let verdict = decide(&access(&["alice"], &[], &["bob"], &[]), &nameless, 4711, &FewAccounts);
        assert_eq!(verdict, Verdict::Denied(Refusal::NotListed));
        assert!(of_session(&access(&[], &["users"], &[], &[]), &nameless, &FewAccounts).is_empty());
    }

    #[test]
    fn the_uid_that_means_no_change_is_nobody_even_for_root() {
        for (caller, target) in [(ROOT, u32::MAX), (u32::MAX, u32::MAX), (u32::MAX, ROOT)] {
            let verdict = decide(&Access::default(), &who("root", caller, 0, &[]), target, &FewAccounts);
            assert_eq!(verdict, Verdict::Denied(Refusal::NoSuchUser));
        }
    }

    #[test]
    fn a_session_belongs_to_who_began_it_as_what_he_could_be() {
        let alice = who("alice", ALICE, 1001, &[130]);
        let as_root = of_session(&access(&["alice"], &[], &[], &["sbuild"]), &alice, &FewAccounts);
        assert_eq!(as_root, access(&[], &[], &["alice"], &[]));
        let as_user = of_session(&access(&["bob"], &["sbuild"], &["bob"], &[]), &alice, &FewAccounts);
        assert_eq!(as_user, access(&["alice"], &[], &[], &[]));
        let bob = who("bob", BOB, 1002, &[130]);
        assert_eq!(decide(&as_user, &bob, BOB, &FewAccounts), Verdict::Denied(Refusal::NotListed));
    }

    #[test]
    fn each_refusal_says_what_would_be_needed() {
        let said = [Refusal::NotListed, Refusal::NotAsRoot, Refusal::NotAsOther, Refusal::NoSuchUser]
            .map(|refusal| refusal.to_string());
        assert!(said[0].contains("users, groups, root-users and root-groups"));
        assert!(said[1].contains("root-users or root-groups"));
        assert!(said[2].contains("another user"));
        assert!(said[3].contains("no user"));
    }
}

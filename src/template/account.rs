//! Names of the host's users and groups, and the host's account database behind a trait.
//!
//! The database is the host's only: nothing here may be called once the process has its root inside a
//! session's tree (CVE-2025-32463: the tree's own NSS modules would run as root).

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

const LONGEST: usize = 256;

/// The name of a user or group of the host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct AccountName(String);

/// A string that cannot be the name of a user or group.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not the name of a user or group: {why}")]
pub struct AccountNameError {
    text: String,
    why: &'static str,
}

impl AccountName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AccountName {
    type Err = AccountNameError;

    /// Wider than useradd(8) since directories such as LDAP have names with `@`, `\` or upper case; narrow
    /// enough that a name can stand in passwd(5), in a comma separated list and on a terminal.
    fn from_str(text: &str) -> Result<Self, AccountNameError> {
        let refuse = |why| Err(AccountNameError { text: text.chars().take(LONGEST).collect(), why });
        if text.is_empty() {
            return refuse("it is empty");
        }
        if text.len() > LONGEST {
            return refuse("it is longer than 256 bytes");
        }
        if text.starts_with('-') {
            return refuse("it starts with a dash");
        }
        if text.chars().any(|c| c.is_whitespace() || c.is_control() || ":,/".contains(c)) {
            return refuse("blanks, control characters and : , / may not stand in it");
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for AccountName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Looks users and groups up.
pub trait Accounts {
    /// The uid of a user, `None` if there is none of that name.
    fn uid(&self, user: &AccountName) -> Option<u32>;

    /// The gid of a group, `None` if there is none of that name.
    fn gid(&self, group: &AccountName) -> Option<u32>;
}

/// The account database of the host: passwd(5), group(5) and whatever nsswitch.conf(5) adds.
#[derive(Debug, Clone, Copy, Default)]
pub struct HostAccounts;

impl Accounts for HostAccounts {
    fn uid(&self, user: &AccountName) -> Option<u32> {
        users::get_user_by_name(user.as_str()).map(|user| user.uid())
    }

    fn gid(&self, group: &AccountName) -> Option<u32> {
        users::get_group_by_name(group.as_str()).map(|group| group.gid())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn account_names_follow_the_table() {
        for text in ["root", "sbuild", "Debian-exim", "user@example.org", "DOM\\user", "a.b", "zoë", "1000"]
        {
            assert_eq!(text.parse::<AccountName>().unwrap().to_string(), text);
        }
        let bad = [
            ("", "it is empty"),
            ("-x", "it starts with a dash"),
            ("a b", "blanks"),
            ("a:b", "blanks"),
            ("a,b", "blanks"),
            ("a/b", "blanks"),
            ("a\n", "blanks"),
            ("a\u{1b}[0m", "blanks"),
            (&"x".repeat(257), "it is longer"),
        ];
        for (text, why) in bad {
            let error = text.parse::<AccountName>().unwrap_err().to_string();
            assert!(error.contains(why), "{text:?}: {error}");
        }
    }

    #[test]
    fn the_host_knows_root_and_not_a_stranger() {
        let root = "root".parse().unwrap();
        assert_eq!((HostAccounts.uid(&root), HostAccounts.gid(&root)), (Some(0), Some(0)));
        let stranger = "zchroot-no-such-account".parse().unwrap();
        assert_eq!((HostAccounts.uid(&stranger), HostAccounts.gid(&stranger)), (None, None));
    }
}

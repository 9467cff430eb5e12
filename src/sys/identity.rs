//! Who calls and who is entered as: from the kernel and the host's databases, never from the environment.
//!
//! All lookups happen before a tree is entered: the name service of a tree would be code of the tree, run as
//! root (CVE-2025-32463).

use std::ffi::CString;
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Uid, getgrouplist, getgroups, getresgid, getresuid};
use users::os::unix::UserExt;

/// A user that is not there or that nobody may be.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such name.
    #[error("user ‘{0}’ not found")]
    NoName(String),
    /// No such id.
    #[error("user with id {0} not found")]
    NoId(u32),
    /// The id -1 means "leave it as it is" to the kernel (CVE-2019-14287).
    #[error("user ‘{0}’ has an id that nobody may have")]
    Reserved(String),
    /// A name that is not UTF-8.
    #[error("the name of the user with id {0} is not text")]
    NotText(u32),
    /// The system refused to tell.
    #[error("cannot {op}")]
    System {
        /// What was asked.
        op: &'static str,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
}

/// A user of this host, with all groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    name: String,
    uid: Uid,
    gid: Gid,
    groups: Vec<Gid>,
    home: PathBuf,
    shell: PathBuf,
}

impl Account {
    /// Looks a user up by name in the host's databases.
    ///
    /// # Errors
    /// There is none, or it has an id or name that nobody may have.
    pub fn by_name(name: &str) -> Result<Self, Error> {
        let user = users::get_user_by_name(name).ok_or_else(|| Error::NoName(name.to_owned()))?;
        Self::of(&user)
    }

    /// Looks a user up by id in the host's databases.
    ///
    /// # Errors
    /// As [`Account::by_name`].
    pub fn by_uid(uid: Uid) -> Result<Self, Error> {
        let user = users::get_user_by_uid(uid.as_raw()).ok_or(Error::NoId(uid.as_raw()))?;
        Self::of(&user)
    }

    fn of(user: &users::User) -> Result<Self, Error> {
        let name = user.name().to_str().ok_or(Error::NotText(user.uid()))?.to_owned();
        let (uid, gid) = ids_of(&name, user.uid(), user.primary_group_id())?;
        let c_name = CString::new(name.as_str()).map_err(|_| Error::NotText(uid.as_raw()))?;
        let groups = getgrouplist(&c_name, gid)
            .map_err(|errno| Error::System { op: "read the groups of a user", source: errno.into() })?;
        if groups.iter().any(|group| group.as_raw() == u32::MAX) {
            return Err(Error::Reserved(name));
        }
        let home = or_default(user.home_dir(), "/");
        let shell = or_default(user.shell(), "/bin/sh");
        Ok(Self { name, uid, gid, groups, home, shell })
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The user id.
    #[must_use]
    pub fn uid(&self) -> Uid {
        self.uid
    }

    /// The primary group.
    #[must_use]
    pub fn gid(&self) -> Gid {
        self.gid
    }

    /// All groups, the primary one among them.
    #[must_use]
    pub fn groups(&self) -> &[Gid] {
        &self.groups
    }

    /// The home directory, `/` if the database has none.
    #[must_use]
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// The login shell, `/bin/sh` if the database has none.
    #[must_use]
    pub fn shell(&self) -> &Path {
        &self.shell
    }

    /// Whether this is root.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.uid.is_root()
    }
}

/// Who runs the program: the real user, and the groups that the database or the kernel says it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    account: Account,
    gid: Gid,
    groups: Vec<Gid>,
}

impl Caller {
    /// The caller, by the real user id of this process.
    ///
    /// # Errors
    /// The host does not know the user.
    pub fn of_this_process() -> Result<Self, Error> {
        let system = |op| move |errno: nix::Error| Error::System { op, source: errno.into() };
        let uid = getresuid().map_err(system("read the user ids"))?.real;
        let gid = getresgid().map_err(system("read the group ids"))?.real;
        let account = Account::by_uid(uid)?;
        let mut groups = getgroups().map_err(system("read the supplementary groups"))?;
        groups.extend_from_slice(account.groups());
        groups.push(gid);
        groups.sort_unstable_by_key(|group| group.as_raw());
        groups.dedup();
        Ok(Self { account, gid, groups })
    }

    /// The caller's account on the host.
    #[must_use]
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.account.name()
    }

    /// The real user id.
    #[must_use]
    pub fn uid(&self) -> Uid {
        self.account.uid()
    }

    /// The real group id, which newgrp(1) may have changed.
    #[must_use]
    pub fn gid(&self) -> Gid {
        self.gid
    }

    /// All groups, sorted.
    #[must_use]
    pub fn groups(&self) -> &[Gid] {
        &self.groups
    }

    /// Whether the caller is real root.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.uid().is_root()
    }

    /// Whether the caller belongs to a group of the host, by its name. Nobody belongs to a group that is not there.
    #[must_use]
    pub fn is_member(&self, group: &str) -> bool {
        group_id(group).is_some_and(|gid| self.groups.contains(&gid))
    }
}

/// The id of a group of the host.
#[must_use]
pub fn group_id(name: &str) -> Option<Gid> {
    let group = users::get_group_by_name(name)?;
    (group.gid() != u32::MAX).then(|| Gid::from_raw(group.gid()))
}

/// The name of a group of the host.
#[must_use]
pub fn group_name(gid: Gid) -> Option<String> {
    users::get_group_by_gid(gid.as_raw())?.name().to_str().map(str::to_owned)
}

fn ids_of(name: &str, uid: u32, gid: u32) -> Result<(Uid, Gid), Error> {
    if uid == u32::MAX || gid == u32::MAX {
        return Err(Error::Reserved(name.to_owned()));
    }
    Ok((Uid::from_raw(uid), Gid::from_raw(gid)))
}

fn or_default(path: &Path, default: &str) -> PathBuf {
    if path.as_os_str().is_empty() { PathBuf::from(default) } else { path.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sys_root_is_found_with_its_groups() {
        let root = Account::by_name("root").unwrap();
        assert!(root.is_root());
        assert!(root.groups().contains(&Gid::from_raw(0)));
        assert_eq!(root, Account::by_uid(Uid::from_raw(0)).unwrap());
    }

    #[test]
    fn unknown_users_are_named_in_the_error() {
        for name in ["no-such-user", "", "a:b", "a\0b", "-1", "4294967295"] {
            let error = Account::by_name(name).unwrap_err();
            assert_eq!(error.to_string(), format!("user ‘{name}’ not found"));
        }
        let error = Account::by_uid(Uid::from_raw(u32::MAX)).unwrap_err();
        assert_eq!(error.to_string(), "user with id 4294967295 not found");
    }

    #[test]
    fn the_id_that_means_no_change_is_refused() {
        assert!(matches!(ids_of("evil", u32::MAX, 0), Err(Error::Reserved(_))));
        assert!(matches!(ids_of("evil", 0, u32::MAX), Err(Error::Reserved(_))));
        assert!(ids_of("good", 1000, 1000).is_ok());
    }

    #[test]
    fn empty_fields_get_the_defaults_of_passwd() {
        assert_eq!(or_default(Path::new(""), "/bin/sh"), Path::new("/bin/sh"));
        assert_eq!(or_default(Path::new("/bin/zsh"), "/bin/sh"), Path::new("/bin/zsh"));
    }

    #[test]
    fn the_caller_is_the_real_user_and_a_member_of_its_groups() {
        let caller = Caller::of_this_process().unwrap();
        assert_eq!(caller.uid(), getresuid().unwrap().real);
        assert!(caller.groups().contains(&caller.gid()));
        let group = group_name(caller.gid()).unwrap();
        assert!(caller.is_member(&group));
        assert!(!caller.is_member("no-such-group"));
    }
}

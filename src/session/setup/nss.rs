//! The host's databases, written into a session's tree so that users and groups are the same on both sides.
//!
//! Users, groups and shadow are enumerated through the C library, so those of LDAP or systemd come too.
//! gshadow, services, protocols, networks and hosts are the host's files: the library has no way to list
//! some of them, and nobody keeps them elsewhere. A host without such a file leaves the tree's.
//!
//! No password hash leaves the host: `*` stands in the place of each, and only `x` ("see shadow") stays. An
//! entry that would break its line, or smuggle in another, is left out with a warning.

use std::path::Path;

use super::files::{self, Content};
use super::{Error, Setup};
use crate::sys::inroot::Owner;
use crate::sys::nss;
use crate::template::NssDatabase;

/// The group `shadow` in every Debian system.
const SHADOW_GROUP: u32 = 42;

impl Setup<'_> {
    /// Writes the databases, each of the host's read once.
    pub(super) fn databases(&self, wanted: &[NssDatabase]) -> Result<(), Error> {
        if wanted.is_empty() {
            return Ok(());
        }
        let groups = nss::groups().map_err(|source| Error::Database { database: "group", source })?;
        let shadow =
            groups.iter().find(|group| group.name == b"shadow").map_or(SHADOW_GROUP, |group| group.gid);
        let secret = Owner { uid: 0, gid: shadow, mode: 0o640 };
        let open = Owner::root(0o644);
        for database in wanted {
            match database {
                NssDatabase::Passwd => self.database("passwd", &passwd()?, open)?,
                NssDatabase::Group => self.database("group", &group(&groups), open)?,
                NssDatabase::Shadow => self.database("shadow", &shadows()?, secret)?,
                NssDatabase::Gshadow => {
                    if let Some(Content { bytes, .. }) = files::read(Path::new("/etc/gshadow"))? {
                        self.database("gshadow", &without_hashes(&bytes), secret)?;
                    }
                }
                NssDatabase::Services => self.same_file("services")?,
                NssDatabase::Protocols => self.same_file("protocols")?,
                NssDatabase::Networks => self.same_file("networks")?,
                NssDatabase::Hosts => self.same_file("hosts")?,
            }
        }
        Ok(())
    }

    fn database(&self, name: &str, text: &[u8], owner: Owner) -> Result<(), Error> {
        self.write(&Path::new("/etc").join(name), text, owner).map(|_| ())
    }

    fn same_file(&self, name: &str) -> Result<(), Error> {
        let path = Path::new("/etc").join(name);
        match files::read(&path)? {
            Some(content) => self.database(name, &content.bytes, Owner::root(0o644)),
            None => Ok(()),
        }
    }
}

fn passwd() -> Result<Vec<u8>, Error> {
    let users = nss::users().map_err(|source| Error::Database { database: "passwd", source })?;
    let mut text = Vec::new();
    for user in &users {
        let (uid, gid) = (user.uid.to_string(), user.gid.to_string());
        let fields = [
            &user.name,
            masked(&user.password),
            uid.as_bytes(),
            gid.as_bytes(),
            &user.gecos,
            &user.home,
            &user.shell,
        ];
        push_line(&mut text, "passwd", &fields);
    }
    Ok(text)
}

fn group(groups: &[nss::Group]) -> Vec<u8> {
    let mut text = Vec::new();
    for group in groups {
        let (gid, members) = (group.gid.to_string(), group.members.join(&b','));
        push_line(&mut text, "group", &[&group.name, masked(&group.password), gid.as_bytes(), &members]);
    }
    text
}

fn shadows() -> Result<Vec<u8>, Error> {
    let entries = nss::shadows().map_err(|source| Error::Database { database: "shadow", source })?;
    let mut text = Vec::new();
    for entry in &entries {
        let days = entry.days.map(|days| days.map_or_else(String::new, |days| days.to_string()));
        let mut fields = vec![entry.name.as_slice(), b"*"];
        fields.extend(days.iter().map(String::as_bytes));
        // The reserved field.
        fields.push(b"");
        push_line(&mut text, "shadow", &fields);
    }
    Ok(text)
}

/// gshadow(5) with `*` for each second field.
fn without_hashes(text: &[u8]) -> Vec<u8> {
    let mut masked = Vec::new();
    for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let mut fields: Vec<&[u8]> = line.split(|byte| *byte == b':').collect();
        match fields.get_mut(1) {
            Some(hash) => *hash = b"*",
            // Not an entry: whatever stands here is not for the session.
            None => continue,
        }
        push_line(&mut masked, "gshadow", &fields);
    }
    masked
}

fn masked(password: &[u8]) -> &[u8] {
    if password == b"x" { b"x" } else { b"*" }
}

fn push_line(text: &mut Vec<u8>, database: &str, fields: &[&[u8]]) {
    if fields.iter().any(|field| field.iter().any(|byte| matches!(byte, b':' | b'\n'))) {
        let name =
            String::from_utf8_lossy(fields.first().copied().unwrap_or_default()).escape_debug().to_string();
        tracing::warn!(database, name, "entry of the host is left out: a colon or line break is in it");
        return;
    }
    text.extend_from_slice(&fields.join(&b':'));
    text.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_masked_wherever_it_stands() {
        assert_eq!(masked(b"x"), b"x");
        for hash in [&b""[..], b"!", b"*", b"$6$salt$hash", b"xx"] {
            assert_eq!(masked(hash), b"*");
        }
        let text = b"sudo:!::alice,bob\nops:$6$hash:carol:dave\n\nnonsense\na:b\n";
        assert_eq!(without_hashes(text), b"sudo:*::alice,bob\nops:*:carol:dave\na:*\n");
    }

    #[test]
    fn an_entry_that_would_smuggle_in_another_is_left_out() {
        let mut text = Vec::new();
        push_line(
            &mut text,
            "passwd",
            &[b"eve", b"x", b"1", b"1", b"\nroot2::0:0::/:/bin/sh", b"/", b"/bin/sh"],
        );
        push_line(&mut text, "passwd", &[b"eve:x:0", b"x"]);
        assert!(text.is_empty());
        let members = vec![b"a".to_vec(), b"b".to_vec()];
        let one = nss::Group { name: b"g".into(), password: b"$1$h".into(), gid: 7, members };
        assert_eq!(group(&[one]), b"g:*:7:a,b\n");
    }
}

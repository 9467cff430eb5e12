//! The tarball of a release.
//!
//! ```text
//! zchroot-VERSION/INSTALL, README.md, CHANGELOG.md, LICENSE-*
//! zchroot-VERSION/root/usr/...      what is installed, as it lies below /; bin/zchroot is setuid root
//! ```
//!
//! Only files and links are in it, so that unpacking over / leaves the directories there as they are. Owner is root,
//! the time is that of the last commit, the order is by name: the same commit gives the same tarball.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::Release;
use super::files::{DOC, Entry, Kind, read};

const DOCUMENTS: [&str; 4] = ["README.md", "CHANGELOG.md", "LICENSE-MIT", "LICENSE-APACHE"];

/// Packs `zchroot-VERSION-ARCH-linux.tar.zst`.
///
/// # Errors
/// A file cannot be read or written.
pub fn write(release: &Release, installed: &[Entry], dist: &Path) -> Result<PathBuf> {
    let version = &release.version;
    let name = file_name(version, release.no_zfs);
    let mut all = vec![Entry::plain("INSTALL", install_text(version, &name))];
    for document in DOCUMENTS {
        let content = read(&release.root.join(document))?;
        all.push(Entry::plain(document, content.clone()));
        if !installed.iter().any(|entry| entry.path == format!("{DOC}/{document}")) {
            all.push(Entry::plain(format!("root/{DOC}/{document}"), content));
        }
    }
    let below_root = |entry: &Entry| Entry { path: format!("root/{}", entry.path), kind: entry.kind.clone() };
    all.extend(installed.iter().map(below_root));
    all.sort();
    let path = dist.join(&name);
    let packed = pack(&all, &format!("zchroot-{version}"), release.commit.time)?;
    fs::write(&path, packed).with_context(|| format!("write {}", path.display()))?;
    Ok(path)
}

fn file_name(version: &str, no_zfs: bool) -> String {
    let variant = if no_zfs { "-nozfs" } else { "" };
    format!("zchroot-{version}-{}-linux{variant}.tar.zst", std::env::consts::ARCH)
}

fn pack(entries: &[Entry], top: &str, mtime: u64) -> Result<Vec<u8>> {
    let mut tar = tar::Builder::new(zstd::Encoder::new(Vec::new(), 19)?);
    for entry in entries {
        let mut header = tar::Header::new_ustar();
        header.set_uid(0);
        header.set_gid(0);
        header.set_username("root")?;
        header.set_groupname("root")?;
        header.set_mtime(mtime);
        let path = format!("{top}/{}", entry.path);
        match &entry.kind {
            Kind::File { mode, content } => {
                header.set_mode(*mode);
                header.set_size(content.len() as u64);
                tar.append_data(&mut header, path, content.as_slice())?;
            }
            Kind::Link { to } => {
                header.set_mode(0o777);
                header.set_size(0);
                header.set_entry_type(tar::EntryType::Symlink);
                tar.append_link(&mut header, path, to)?;
            }
            Kind::Dir => {}
        }
    }
    Ok(tar.into_inner()?.finish()?)
}

fn install_text(version: &str, tarball: &str) -> String {
    format!(
        "zchroot {version}\n\n\
         Everything below root/ is installed as it lies; bin/zchroot is setuid root, as it has to be.\n\n\
         \x20   sudo tar -C / --strip-components=2 -xf {tarball} zchroot-{version}/root\n\
         \x20   sudo zchroot init                                   # or: init --pool POOL, with ZFS\n\
         \x20   sudo systemctl daemon-reload\n\
         \x20   sudo systemctl enable zchroot-recover.service       # at boot\n\
         \x20   sudo systemctl enable --now zchroot-gc.timer        # daily\n\n\
         It needs a Linux kernel of 5.14 or later; mmdebstrap for `create --from bootstrap:SUITE`; for the store\n\
         on ZFS the zfs module, 2.1 or later, and zpool(8) and zfs(8) for your own work. libzfs_core is in the program.\n\n\
         sbuild 0.89 takes a schroot that is not in /usr/bin, with this line in sbuild.conf or ~/.sbuildrc:\n\
         $schroot = '/usr/libexec/zchroot/unschroot/schroot';\n\n\
         Examples of the configuration are in /usr/share/doc/zchroot/examples. To remove it, end all sessions\n\
         (`zchroot end --all`, as root), then remove what `tar -tf {tarball}` lists.\n"
    )
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;
    use crate::dist::files::{PLAIN, SETUID_ROOT};

    #[test]
    fn a_packed_file_is_root_s_with_its_mode_and_the_same_each_time() {
        let entries = [
            Entry::file("root/usr/bin/zchroot", SETUID_ROOT, "elf"),
            Entry::plain("INSTALL", "text"),
            Entry::dir("root/etc"),
        ];
        let packed = pack(&entries, "zchroot-1", 7).unwrap();
        assert_eq!(packed, pack(&entries, "zchroot-1", 7).unwrap());
        let mut archive = tar::Archive::new(zstd::Decoder::new(packed.as_slice()).unwrap());
        let mut seen = Vec::new();
        for member in archive.entries().unwrap() {
            let mut member = member.unwrap();
            let (mode, uid) = (member.header().mode().unwrap(), member.header().uid().unwrap());
            let path = member.path().unwrap().display().to_string();
            let mut text = String::new();
            member.read_to_string(&mut text).unwrap();
            seen.push((path, mode, uid, text));
        }
        let expected =
            [("zchroot-1/root/usr/bin/zchroot", SETUID_ROOT, "elf"), ("zchroot-1/INSTALL", PLAIN, "text")]
                .map(|(path, mode, text)| (path.to_owned(), mode, 0, text.to_owned()));
        assert_eq!(seen, expected);
    }

    #[test]
    fn a_link_leads_where_it_did() {
        let packed = pack(&[Entry::link("root/a/schroot", "../bin/zchroot")], "top", 7).unwrap();
        let mut archive = tar::Archive::new(zstd::Decoder::new(packed.as_slice()).unwrap());
        let member = archive.entries().unwrap().next().unwrap().unwrap();
        assert_eq!(member.link_name().unwrap().unwrap().to_str(), Some("../bin/zchroot"));
    }
}

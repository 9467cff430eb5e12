//! What a definition says of a tree, as the room of such trees takes it.

use crate::outside::{Clones, Origin, Outside};
use crate::schroot::definition::{Kind, Mountable, Union};
use crate::template::StoreConfig;

/// Where schroot unpacks archives, too.
pub(super) const UNPACKED: &str = "/var/lib/schroot/unpack";

/// The tree of a chroot, or of its source.
///
/// # Errors
/// Sessions of this type, or with these keys, are not to be had.
pub(super) fn of(kind: &Kind, is_source: bool, store: &StoreConfig) -> Result<Outside, String> {
    let origin = match kind {
        Kind::ZfsSnapshot { dataset, options, mount } => {
            zfs(dataset, options, mount, (!is_source).then_some(store))?
        }
        other => origin(other)?,
    };
    Ok(Outside { overlays: overlays(kind.union())?, is_source, origin })
}

fn words(mount: &Mountable) -> Vec<String> {
    mount.options.split_whitespace().map(str::to_owned).collect()
}

/// A dataset, and where sessions' clones of it lie: in the store, if that is on the same pool.
fn zfs(
    dataset: &str,
    options: &str,
    mount: &Mountable,
    store: Option<&StoreConfig>,
) -> Result<Origin, String> {
    let pool = |name: &str| name.split_once('/').map_or(name, |(pool, _)| pool).to_owned();
    let clones = store.map(|store| match store {
        StoreConfig::Zfs { pool: base, .. } if pool(base.as_str()) == pool(dataset) => {
            Clones::In(format!("{}/zchroot/sessions", base.as_str()))
        }
        _ => Clones::Beside,
    });
    if let Some(StoreConfig::Zfs { pool: base, .. }) = store {
        let root = format!("{}/zchroot", base.as_str());
        if dataset == root || dataset.starts_with(&format!("{root}/")) {
            return Err(format!("zfs-dataset ‘{dataset}’ is of zchroot's own store"));
        }
    }
    Ok(Origin::Dataset {
        dataset: dataset.to_owned(),
        properties: if clones.is_some() { properties(options)? } else { Vec::new() },
        clones,
        options: words(mount),
        location: mount.location.clone().into(),
    })
}

/// What `zfs-snapshot-options` sets: words `-o PROPERTY=VALUE` for zfs(8). A snapshot has no properties of its own but
/// the user's.
fn properties(options: &str) -> Result<Vec<(String, String)>, String> {
    let mut found = Vec::new();
    let mut words = options.split_whitespace();
    while let Some(word) = words.next() {
        let refuse = || {
            Err(format!(
                "zfs-snapshot-options ‘{options}’ is not supported: only words -o MODULE:PROPERTY=VALUE are,                  for a snapshot has no other properties that could be set"
            ))
        };
        let Some(rest) = word.strip_prefix("-o") else { return refuse() };
        let setting = if rest.is_empty() { words.next().unwrap_or_default() } else { rest };
        match setting.split_once('=') {
            Some((name, value)) if name.contains(':') => found.push((name.to_owned(), value.to_owned())),
            _ => return refuse(),
        }
    }
    Ok(found)
}

fn origin(kind: &Kind) -> Result<Origin, String> {
    let location = kind.location().into();
    Ok(match kind {
        // chroot(2) shows what is mounted below, and nothing else mounts anything there. schroot's script does not.
        Kind::Plain { directory } => Origin::Directory { path: directory.into(), with_mounts: true },
        Kind::Directory { directory, .. } => Origin::Directory { path: directory.into(), with_mounts: false },
        Kind::File { file, .. } => Origin::Archive {
            file: file.into(),
            unpacked: UNPACKED.into(),
            location,
            seen: None,
            packed: None,
        },
        Kind::Loopback { file, mount, .. } => {
            Origin::Device { path: file.into(), looped: true, options: words(mount), location }
        }
        Kind::BlockDevice { device, mount, .. } => {
            Origin::Device { path: device.into(), looped: false, options: words(mount), location }
        }
        Kind::BtrfsSnapshot { source, snapshots } => {
            Origin::Subvolume { source: source.into(), snapshots: snapshots.into() }
        }
        other => return Err(unsupported(other)),
    })
}

fn unsupported(kind: &Kind) -> String {
    format!("Sessions of chroots of type ‘{}’ are not supported", kind.word())
}

/// Whatever the union is called, it is overlayfs: the others are in no kernel any more.
fn overlays(union: Option<&Union>) -> Result<Option<std::path::PathBuf>, String> {
    match union {
        Some(union) if !union.mount_options.is_empty() => {
            Err("union-mount-options are not supported: they would take the place of the layers".to_owned())
        }
        Some(union) => Ok(Some((&union.overlay).into())),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_given_the_properties_of_users_and_no_others() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(properties("").unwrap(), []);
        assert_eq!(
            properties("-o org.example:by=sbuild -oa:b=c=d").unwrap(),
            [pair("org.example:by", "sbuild"), pair("a:b", "c=d")]
        );
        for bad in ["-r", "-o checksum=off", "-o", "-o a:b", "a:b=c"] {
            assert!(properties(bad).unwrap_err().contains("is not supported"), "{bad}");
        }
    }
}

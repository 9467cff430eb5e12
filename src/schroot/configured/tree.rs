//! What a definition says of a tree, as the room of such trees takes it.

use crate::outside::{Origin, Outside};
use crate::schroot::definition::{Kind, Mountable, Union};

/// Where schroot unpacks archives, too.
pub(super) const UNPACKED: &str = "/var/lib/schroot/unpack";

/// The tree of a chroot, or of its source.
///
/// # Errors
/// Sessions of this type, or with these keys, are not to be had.
pub(super) fn of(kind: &Kind, is_source: bool) -> Result<Outside, String> {
    let origin = origin(kind)?;
    Ok(Outside { overlays: overlays(kind.union())?, is_source, origin })
}

fn origin(kind: &Kind) -> Result<Origin, String> {
    let words = |mount: &Mountable| mount.options.split_whitespace().map(str::to_owned).collect();
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

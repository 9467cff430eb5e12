//! What a definition says of a tree, as the room of such trees takes it.

use crate::cli::context::Context;
use crate::outside::{Origin, Outside};
use crate::schroot::definition::{Definition, Kind, Union};
use crate::template::{self, Profile};

/// The tree of a chroot, or of its source.
///
/// # Errors
/// Sessions of this type, or with these keys, are not to be had.
pub(super) fn of(kind: &Kind, is_source: bool) -> Result<Outside, String> {
    match kind {
        Kind::Plain { directory } => Ok(Outside {
            overlays: None,
            is_source: false,
            origin: Origin::Directory { path: directory.into() },
        }),
        Kind::Directory { directory, union } => {
            let overlays = overlays(union.as_ref())?;
            Ok(Outside { overlays, is_source, origin: Origin::Directory { path: directory.into() } })
        }
        other => Err(unsupported(other)),
    }
}

fn unsupported(kind: &Kind) -> String {
    let word = kind.word();
    let never = matches!(kind, Kind::LvmSnapshot { .. } | Kind::Custom { .. });
    let yet = if never { "" } else { " yet" };
    format!("Sessions of chroots of type ‘{word}’ are not supported{yet}")
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

/// How sessions of a chroot are set up.
///
/// # Errors
/// There is no such profile.
pub(super) fn profile(context: &Context, definition: &Definition) -> Result<Profile, String> {
    if !definition.script_config.is_empty() {
        return Err("script-config is not supported: name a profile in its place".to_owned());
    }
    let name = &definition.profile;
    let missing = |why: String| format!("profile {name}: {why}");
    let name = name.parse().map_err(|error: crate::store::NameError| missing(error.to_string()))?;
    template::profile(&context.layout, &name).map_err(|error| missing(crate::sys::chain(&error)))
}

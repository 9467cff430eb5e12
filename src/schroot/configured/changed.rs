//! What the words of one call make of a chroot: keys that its user may set (`-o`), and how much is said.

use crate::schroot::act::Act;
use crate::schroot::chroot::Chroot;
use crate::schroot::definition::Definition;
use crate::schroot::order::Verbosity;
use crate::schroot::say::Trouble;

/// The chroot as this order has it.
///
/// # Errors
/// A key that the caller may not set.
pub(super) fn changed(act: &Act<'_>, chroot: &Chroot) -> Result<Chroot, Trouble> {
    let options = &act.order.options;
    let is_root = act.context.process.caller().is_root();
    if let Some((key, _)) = options.iter().find(|(key, _)| !may_set(&chroot.definition, key, is_root)) {
        return Err(act.refused_key(key));
    }
    let mut chroot = chroot.clone();
    // The first of several values of a key counts.
    let values = options.iter().rev().cloned();
    chroot.definition.user_data.extend(values);
    if act.order.verbosity != Verbosity::Normal {
        chroot.definition.verbosity = act.order.verbosity;
    }
    Ok(chroot)
}

fn may_set(definition: &Definition, key: &str, is_root: bool) -> bool {
    let has = |keys: &[String]| keys.iter().any(|one| one == key);
    has(&definition.user_keys) || (is_root && has(&definition.root_keys))
}

//! `zchroot adopt`.

use clap::Args;

use super::Json;

/// `zchroot adopt`.
#[derive(Debug, Args)]
#[command(after_help = "\
CHROOT is a chroot that /etc/schroot/schroot.conf or chroot.d defines, of type directory, plain, btrfs-snapshot,\n\
file or zfs-snapshot. Its tree is copied, unpacked or cloned into the store as the first version; what schroot.conf says of who may use\n\
it, of its aliases and its profile becomes a definition in templates.d, which from then on stands in its place.\n\
Neither the tree nor schroot.conf is touched. --undo takes the definition away again, so that schroot.conf has the\n\
word; the versions stay in the store, and another adopt takes them up.\n\
Nobody should work in the chroot while it is copied.\n\
Examples: zchroot adopt sid-amd64-sbuild --dry-run\n          \
zchroot adopt sid-amd64-sbuild")]
pub struct Adopt {
    /// The chroot, by its name in schroot.conf
    pub chroot: String,
    /// Only say what would be done
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Give the chroot back to schroot.conf
    #[arg(long, conflicts_with = "dry_run")]
    pub undo: bool,
    #[command(flatten)]
    /// Machine-readable output.
    pub json: Json,
}

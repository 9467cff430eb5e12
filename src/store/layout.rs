//! Where things lie on the host.
//!
//! ```text
//! /etc/zchroot/zchroot.toml  templates.d/NAME.toml  profiles/NAME.toml      configuration
//! /var/lib/zchroot/sessions/ID.toml                                         records
//! /var/lib/zchroot/sessions/ID.runs/                                        commands of a source session that did not end well
//! /var/lib/zchroot/templates/NAME/current -> versions/VID.toml              pointers and what is known of each version
//! /var/lib/zchroot/templates/NAME/pins/VID.toml                             what keeps a version for good
//! /var/lib/zchroot/templates/NAME/digests/VID.zst                           what each version's tree is made of
//! /var/lib/zchroot/images/SHA256.toml                                       what is known of each image
//! /var/lib/zchroot/images/SHA256.files                                      what its files are found by
//! /var/lib/zchroot/store/                                                   trees of the `dir` store
//! /run/zchroot/mount/ID                                                     where a session's tree is mounted
//! /run/zchroot/lock/                                                        locks, gone with a reboot
//! ```

use std::path::{Path, PathBuf};

use super::digest::Digest;
use super::name::{SessionId, TemplateName, VersionId};

/// The paths of one installation; `root` is `/` but for tests and demonstrations (`--root DIR`).
#[derive(Debug, Clone)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// What the folder of a session's commands has after the session's name.
    pub const RUNS: &'static str = ".runs";

    /// The layout under `root`.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// The alternative root, `/` in an installed system.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// `/etc/zchroot`.
    #[must_use]
    pub fn config_dir(&self) -> PathBuf {
        self.root.join("etc/zchroot")
    }

    /// `/var/lib/zchroot`: on ZFS the mount point of the dataset `state`.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.root.join("var/lib/zchroot")
    }

    /// The folder of session records.
    #[must_use]
    pub fn records(&self) -> PathBuf {
        self.state().join("sessions")
    }

    /// The record of one session.
    #[must_use]
    pub fn record(&self, id: &SessionId) -> PathBuf {
        self.records().join(format!("{id}.toml"))
    }

    /// What is noted of the commands that were run in a source session.
    #[must_use]
    pub fn runs(&self, id: &SessionId) -> PathBuf {
        self.records().join(format!("{id}{}", Self::RUNS))
    }

    /// The folder of all templates' pointers.
    #[must_use]
    pub fn templates(&self) -> PathBuf {
        self.state().join("templates")
    }

    /// The pointer that readers follow without a lock.
    #[must_use]
    pub fn pointer(&self, template: &TemplateName) -> PathBuf {
        self.templates().join(template.as_str()).join("current")
    }

    /// What is known of one version.
    #[must_use]
    pub fn version(&self, template: &TemplateName, version: &VersionId) -> PathBuf {
        self.versions(template).join(format!("{version}.toml"))
    }

    /// The folder of what is known of a template's versions.
    #[must_use]
    pub fn versions(&self, template: &TemplateName) -> PathBuf {
        self.templates().join(template.as_str()).join("versions")
    }

    /// The folder of a template's pins.
    #[must_use]
    pub fn pins(&self, template: &TemplateName) -> PathBuf {
        self.templates().join(template.as_str()).join("pins")
    }

    /// What keeps one version for good.
    #[must_use]
    pub fn pin(&self, template: &TemplateName, version: &VersionId) -> PathBuf {
        self.pins(template).join(format!("{version}.toml"))
    }

    /// The folder of the digests of a template's versions.
    #[must_use]
    pub fn digests(&self, template: &TemplateName) -> PathBuf {
        self.templates().join(template.as_str()).join("digests")
    }

    /// The digest of one version's tree.
    #[must_use]
    pub fn digest(&self, template: &TemplateName, version: &VersionId) -> PathBuf {
        self.digests(template).join(format!("{version}.zst"))
    }

    /// Held while digests of a template's versions are made.
    #[must_use]
    pub fn digest_lock(&self, template: &TemplateName) -> PathBuf {
        self.locks().join(format!("digest-{template}"))
    }

    /// The trees of the `dir` store.
    #[must_use]
    pub fn dir_store(&self) -> PathBuf {
        self.state().join("store")
    }

    /// `/run/zchroot`.
    #[must_use]
    pub fn run(&self) -> PathBuf {
        self.root.join("run/zchroot")
    }

    /// The private mount under which all sessions' trees are mounted.
    #[must_use]
    pub fn mounts(&self) -> PathBuf {
        self.run().join("mount")
    }

    /// Where one session's tree is mounted.
    #[must_use]
    pub fn mount(&self, id: &SessionId) -> PathBuf {
        self.mounts().join(id.as_str())
    }

    /// The folder of lock files.
    #[must_use]
    pub fn locks(&self) -> PathBuf {
        self.run().join("lock")
    }

    /// The lock of a template: one settles it at a time.
    #[must_use]
    pub fn template_lock(&self, template: &TemplateName) -> PathBuf {
        self.locks().join(format!("template-{template}"))
    }

    /// Held while the pointer of a template follows what its store says.
    #[must_use]
    pub fn pointer_lock(&self, template: &TemplateName) -> PathBuf {
        self.locks().join(format!("pointer-{template}"))
    }

    /// Held while the folder of mounts is made a mount of its own.
    #[must_use]
    pub fn mounts_lock(&self) -> PathBuf {
        self.locks().join("mounts")
    }

    /// Held while a session that schroot itself began is ended.
    #[must_use]
    pub fn left_lock(&self) -> PathBuf {
        self.locks().join("left")
    }

    /// The folder of what is known of images.
    #[must_use]
    pub fn images(&self) -> PathBuf {
        self.state().join("images")
    }

    /// What is known of one image.
    #[must_use]
    pub fn image(&self, digest: &Digest) -> PathBuf {
        self.images().join(format!("{digest}.toml"))
    }

    /// What one image's files are found by, for others to clone them.
    #[must_use]
    pub fn image_index(&self, digest: &Digest) -> PathBuf {
        self.images().join(format!("{digest}.files"))
    }

    /// Where an image is mounted while it is unpacked. No session can have the name.
    #[must_use]
    pub fn image_mount(&self, digest: &Digest) -> PathBuf {
        self.mounts().join(format!(".image-{digest}"))
    }

    /// The lock of an image: held while it is made or dropped, and until what it was made for is cloned from it.
    #[must_use]
    pub fn image_lock(&self, digest: &Digest) -> PathBuf {
        self.locks().join(format!("image-{digest}"))
    }

    /// The lock of who promises room to a session.
    #[must_use]
    pub fn promises_lock(&self) -> PathBuf {
        self.locks().join("promises")
    }

    /// Where who fills the store waits for those who do so too.
    #[must_use]
    pub fn makers_lock(&self) -> PathBuf {
        self.locks().join("makers")
    }

    /// The lock of who lays or releases the reserve.
    #[must_use]
    pub fn reserve_lock(&self) -> PathBuf {
        self.locks().join("reserve")
    }

    /// The lock of who sweeps, and tries again what met no room.
    #[must_use]
    pub fn sweep_lock(&self) -> PathBuf {
        self.locks().join("sweep")
    }

    /// The lock of a session: held while its state changes, and by `run` for its whole life.
    #[must_use]
    pub fn session_lock(&self, id: &SessionId) -> PathBuf {
        self.locks().join(format!("session-{id}"))
    }
}

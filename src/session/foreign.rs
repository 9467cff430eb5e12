//! Sessions of trees that are not the store's: the chroots that schroot.conf defines.
//!
//! They live as all sessions do, by record, lock, mount and cgroup; what is different stands here. Where the tree is
//! changed in place there may be other sessions of it, and whoever works on the host: none of them is ended with this
//! one. A *bare* session is no more than a mount around one command.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::begin::Begun;
use super::record::{Kind, NewRecord, Record, State};
use super::scripts::{Part, Stage};
use super::setup;
use super::{Error, Sessions};
use crate::outside::Outside;
use crate::store::{MountOptions, SessionId};
use crate::sys::personality::Personality;
use crate::sys::{chain, file};
use crate::template::Profile;

/// How much is said of what is done in a session.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verbosity {
    /// Nothing that is no error.
    Quiet,
    /// What is worth a remark.
    #[default]
    Normal,
    /// Each command, too.
    Verbose,
}

impl Verbosity {
    fn is_normal(&self) -> bool {
        *self == Self::Normal
    }
}

/// What a session is that has no version: fixed at begin, whatever happens to the definition later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Foreign {
    /// Words that come before every command.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command_prefix: Vec<String>,
    /// Variables that never reach a command, besides the usual ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub environment_filter: Vec<String>,
    /// What the kernel pretends to be to commands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub personality: Option<Personality>,
    /// The name by which the chroot was chosen.
    pub selected: String,
    /// What scripts of the administrator are told of it; none runs for it if there is nothing.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub told: BTreeMap<String, String>,
    /// Keys of the definition that who began it set, with their values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub keys: BTreeMap<String, String>,
    /// How much is said of commands in it, if they do not say it themselves.
    #[serde(default, skip_serializing_if = "Verbosity::is_normal")]
    pub verbosity: Verbosity,
    /// Its tree.
    pub tree: Outside,
    /// How the tree is set up; none: not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<Profile>,
}

impl Record {
    /// Whether nothing is set up in its tree, and nobody ended with it.
    pub(super) fn is_bare(&self) -> bool {
        self.foreign.as_ref().is_some_and(|foreign| foreign.profile.is_none())
    }

    /// What commands are told it is called: a bare session is its chroot.
    #[must_use]
    pub fn told_name(&self) -> &str {
        if self.is_bare() { self.template.as_str() } else { self.id.as_str() }
    }

    /// The name by which what it is of was chosen.
    #[must_use]
    pub fn selected_name(&self) -> &str {
        self.foreign.as_ref().map_or(self.template.as_str(), |foreign| &foreign.selected)
    }

    /// Whether others may work in the same tree.
    pub(super) fn is_shared(&self) -> bool {
        self.foreign.as_ref().is_some_and(|foreign| foreign.tree.is_shared())
    }

    /// Whether its end changes the archive that its tree came from.
    pub(super) fn is_packed_again(&self) -> bool {
        self.foreign.as_ref().is_some_and(|foreign| foreign.tree.is_packed_again())
    }

    /// Whether what was made in its tree for the set-up has to go from it again.
    pub(super) fn has_changed_source(&self) -> bool {
        self.foreign.as_ref().is_some_and(|foreign| foreign.tree.is_source)
    }
}

impl Sessions<'_> {
    /// Begins a session of a tree that is not the store's: afterwards it is ready. On failure nothing of it is left.
    /// An archive is unpacked by `unpack`: what, and where to.
    ///
    /// # Errors
    /// The name is taken, there is no such tree, or the system refused.
    pub fn begin_foreign(
        &self,
        new: NewRecord,
        foreign: Foreign,
        unpack: impl FnOnce(&Path, &Path) -> Result<(), Error>,
    ) -> Result<Begun, Error> {
        let id = new.id.clone();
        if self.records().stands(&id)? {
            return Err(Error::Exists(id));
        }
        // Before there is a record: what has a record is removed with it.
        let tree = foreign.tree.checked(&id)?;
        let profile = foreign.profile.clone().unwrap_or_default();
        let mut record = Record::planned(new, None, None);
        record.foreign = Some(Foreign { tree: tree.clone(), ..foreign });
        self.prepare_mounts()?;
        self.begin_draft(record, &profile, State::Ready, || match tree.make(&id, &self.staging(&id))? {
            Some((archive, empty)) => unpack(archive, &empty),
            None => Ok(()),
        })
    }

    /// Where something is mounted for a moment that a session's tree is made of.
    pub(super) fn staging(&self, id: &SessionId) -> PathBuf {
        self.layout().mounts().join(format!(".staging-{id}"))
    }

    /// Packs what a source session has changed, where that is how it is kept. If it cannot be, the session stands as a
    /// named one, so that nothing is lost.
    pub(super) fn pack_again(&self, record: &mut Record) -> Result<(), Error> {
        let Some(foreign) = record.foreign.clone().filter(|foreign| foreign.tree.is_packed_again()) else {
            return Ok(());
        };
        if record.state == State::Ending {
            return Ok(());
        }
        record.kind = Kind::Named;
        self.mark(record, State::Unmounted)?;
        let packed = self
            .run_scripts(record, Stage::ending(record), Part::AfterMounts)
            .and_then(|()| self.take_down(record))
            .and_then(|()| Ok(foreign.tree.clone().pack(&record.id)?))
            .and_then(|tree| {
                record.foreign = Some(Foreign { tree: tree.clone(), ..foreign.clone() });
                self.records().save(record)?;
                Ok(tree.put_in_place(&record.id)?)
            });
        packed.map_err(|error| {
            let profile = foreign.profile.clone().unwrap_or_default();
            error.after(self.restore(record, &profile))
        })
    }

    /// Takes away what a session had outside of the store.
    pub(super) fn discard_foreign(&self, id: &SessionId, record: &Record) -> Result<(), Error> {
        match &record.foreign {
            Some(foreign) => Ok(foreign.tree.discard(id, &self.staging(id))?),
            None => Ok(()),
        }
    }

    /// Takes what the set-up made out of a tree that stays. What another session of the tree still uses is left to that
    /// one: the note of it stays in the tree.
    pub(super) fn undo_set_up(&self, record: &Record) {
        let undone = self.mount_to_undo(record).and_then(|()| {
            let at = self.layout().mount(&record.id);
            Ok(setup::undo_source(&at).map(drop)?)
        });
        if matches!(&undone, Err(Error::Setup(error)) if error.errno() == libc::EBUSY) {
            tracing::debug!(session = %record.id, "another session uses what was made for mounts");
        } else if let Err(error) = undone {
            tracing::warn!(session = %record.id, "what was made for mounts stays in the tree: {}", chain(&error));
        }
    }

    /// After a reboot nothing is mounted, and what was made is there still.
    fn mount_to_undo(&self, record: &Record) -> Result<(), Error> {
        let Some(foreign) = &record.foreign else { return Ok(()) };
        if self.is_mounted(record)? {
            return Ok(());
        }
        self.prepare_mounts()?;
        let at = self.layout().mount(&record.id);
        file::make_dir(&at, 0o755)?;
        let options = MountOptions { nosuid: true, nodev: true, ..MountOptions::default() };
        Ok(foreign.tree.mount(&record.id, &at, &self.staging(&record.id), options)?)
    }
}

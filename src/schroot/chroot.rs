//! A chroot as it is selected and shown: a definition in one of three roles.

use std::path::Path;

use super::definition::{Definition, Kind, Lists};

/// A namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Space {
    Chroot,
    Session,
    Source,
}

impl Space {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Chroot => "chroot",
            Self::Session => "session",
            Self::Source => "source",
        }
    }

    pub(super) fn of_word(word: &str) -> Option<Self> {
        [Self::Chroot, Self::Session, Self::Source].into_iter().find(|space| space.word() == word)
    }
}

/// What a session adds to the definition it was begun from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SessionFacts {
    pub(super) mount_location: String,
    /// The chroot's own name, and the one by which it was chosen.
    pub(super) original: String,
    pub(super) selected: String,
    /// What is written in it goes with it.
    pub(super) purged: bool,
    /// The dataset that is mounted, if it is one.
    pub(super) device: String,
    /// What it is cloned from and the clone, where that is a dataset.
    pub(super) snapshot: String,
    pub(super) clone: String,
}

/// What a chroot is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Role {
    Chroot,
    Source,
    Session(SessionFacts),
}

/// Who serves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// `schroot.conf` or `chroot.d`.
    Configured,
    /// A template or session of zchroot.
    Ours,
    /// A session that schroot itself began.
    Left,
}

/// A chroot, a source or a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chroot {
    pub(super) definition: Definition,
    pub(super) role: Role,
    pub(super) origin: Origin,
}

impl Chroot {
    /// The chroot of a definition.
    pub(super) fn of(definition: Definition, origin: Origin) -> Self {
        Self { definition, role: Role::Chroot, origin }
    }

    /// The source beside it, if there is one.
    pub(super) fn source(&self) -> Option<Self> {
        let source = self.definition.source.as_ref().filter(|source| source.offered)?;
        let definition = Definition {
            description: described(&self.definition.description, "(source chroot)"),
            lists: source.lists.clone(),
            kind: self.definition.kind.of_source(),
            source: None,
            ..self.definition.clone()
        };
        Some(Self { definition, role: Role::Source, origin: self.origin })
    }

    pub(super) fn space(&self) -> Space {
        match self.role {
            Role::Chroot => Space::Chroot,
            Role::Source => Space::Source,
            Role::Session(_) => Space::Session,
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.definition.name
    }

    pub(super) fn is_plain(&self) -> bool {
        matches!(self.definition.kind, Kind::Plain { .. })
    }

    /// `Session Managed`, `Session Cloned`, `Session Purged`.
    pub(super) fn flags(&self) -> [bool; 3] {
        match &self.role {
            Role::Chroot => [!self.is_plain(), self.definition.source.is_some(), false],
            Role::Source => [true, false, false],
            Role::Session(facts) => [false, false, facts.purged],
        }
    }

    /// The tree as the host sees it; empty where there is none before a session.
    pub(super) fn path(&self) -> String {
        let location = self.definition.kind.location();
        match (&self.role, &self.definition.kind) {
            (_, Kind::Plain { directory }) => directory.clone(),
            (Role::Session(facts), _) => format!("{}{location}", facts.mount_location),
            (_, _) => location.to_owned(),
        }
    }
}

/// A description with what the thing is; an empty one leaves its blank.
pub(super) fn described(description: &str, what: &str) -> String {
    format!("{description} {what}")
}

/// A session of ours begun from a chroot or a source of ours.
pub(super) fn session(from: &Chroot, id: &str, owner: Lists, at: &Path, facts: SessionFacts) -> Chroot {
    let definition = Definition {
        name: id.to_owned(),
        description: described(&from.definition.description, "(session chroot)"),
        aliases: Vec::new(),
        lists: owner,
        ..from.definition.clone()
    };
    let facts = SessionFacts { mount_location: at.display().to_string(), ..facts };
    Chroot { definition, role: Role::Session(facts), origin: Origin::Ours }
}

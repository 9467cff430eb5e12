//! All chroots by name: three namespaces, aliases, and which of them an order means.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::chroot::{Chroot, Space};
use super::order::{Action, Order};
use super::say::{Line, Trouble};

/// All that can be named.
#[derive(Debug, Default)]
pub(super) struct Catalogue {
    chroots: Vec<Chroot>,
    names: BTreeMap<(Space, String), Name>,
    /// What is odd.
    pub(super) warnings: Vec<Line>,
}

#[derive(Debug, Clone, Copy)]
struct Name {
    /// The index of what it names.
    of: usize,
    is_alias: bool,
}

/// One thing that was selected, and the word that selects it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Selected<'a> {
    pub(super) word: &'a str,
    pub(super) chroot: &'a Chroot,
    /// It was meant as a session.
    pub(super) through_session: bool,
}

impl Catalogue {
    /// Chroots with their sources and aliases. A name wins over an alias, and the first of two aliases.
    pub(super) fn new(chroots: Vec<Chroot>) -> Self {
        let mut made = Self::default();
        for chroot in chroots {
            let plain = chroot.is_plain().then(|| chroot.name().to_owned());
            let source = chroot.source();
            let index = made.add(chroot);
            // A session of a plain chroot is the chroot itself.
            if let Some(name) = plain {
                let _ = made.alias(Space::Session, name, index);
            }
            if let Some(source) = source {
                made.add(source);
            }
        }
        made.add_aliases();
        made
    }

    fn add(&mut self, chroot: Chroot) -> usize {
        let of = self.chroots.len();
        self.names.insert((chroot.space(), chroot.name().to_owned()), Name { of, is_alias: false });
        self.chroots.push(chroot);
        of
    }

    /// Whether the alias was free, or what has it.
    fn alias(&mut self, space: Space, name: String, of: usize) -> Result<(), usize> {
        match self.names.entry((space, name)) {
            Entry::Occupied(taken) => Err(taken.get().of),
            Entry::Vacant(free) => {
                free.insert(Name { of, is_alias: true });
                Ok(())
            }
        }
    }

    fn add_aliases(&mut self) {
        let aliases = |(of, chroot): (usize, &Chroot)| {
            let all = chroot.definition.aliases.clone();
            all.into_iter().map(move |alias| (of, alias)).collect::<Vec<_>>()
        };
        let all: Vec<(usize, String)> = self.chroots.iter().enumerate().flat_map(aliases).collect();
        for (of, alias) in all {
            let space = self.chroots.get(of).map_or(Space::Chroot, Chroot::space);
            let added = self.alias(space, alias.clone(), of);
            if space == Space::Source {
                // Taken or not, there is nothing more to it.
                let _ = self.alias(Space::Chroot, format!("{alias}-source"), of);
            } else if let Err(other) = added {
                self.warn_of_alias(of, other, &alias);
            }
        }
    }

    fn warn_of_alias(&mut self, of: usize, other: usize, alias: &str) {
        if let (Some(chroot), Some(other)) = (self.chroots.get(of), self.chroots.get(other)) {
            let (name, line, other) = (chroot.name(), chroot.definition.aliases_line, other.name());
            self.warnings.push(Line::Warning(format!(
                "line {line} [{name}] aliases: Alias ‘{alias}’ already associated with ‘{other}’ chroot"
            )));
        }
    }

    /// Adds a session.
    pub(super) fn add_session(&mut self, session: Chroot) {
        self.add(session);
    }

    /// Whether there is any chroot.
    pub(super) fn is_empty(&self) -> bool {
        self.chroots.is_empty()
    }

    /// The chroot of a word as it is typed, `None` if there is none.
    ///
    /// # Errors
    /// The word names no namespace.
    fn find<'a>(&'a self, word: &'a str, default: Space) -> Result<Option<Selected<'a>>, Trouble> {
        let (space, name) = match word.split_once(':') {
            None => (default, word),
            Some(("", name)) => (default, name),
            Some((space, name)) => {
                let known = Space::of_word(space);
                (known.ok_or_else(|| Trouble::error(format!("{space}: No such namespace")))?, name)
            }
        };
        let found = self.names.get(&(space, name.to_owned()));
        let chroot = found.and_then(|name| self.chroots.get(name.of));
        Ok(chroot.map(|chroot| Selected { word, chroot, through_session: space == Space::Session }))
    }

    /// What the words of an order select, in their order.
    ///
    /// # Errors
    /// A word names nothing.
    pub(super) fn named<'a>(&'a self, order: &'a Order) -> Result<Vec<Selected<'a>>, Trouble> {
        let default = match order.action {
            Action::Run | Action::End | Action::Recover => Space::Session,
            _ => Space::Chroot,
        };
        let mut selected = Vec::new();
        let mut missing: Vec<&str> = Vec::new();
        for word in &order.chroots {
            match self.find(word, default)? {
                Some(one) => selected.push(one),
                None => missing.push(word),
            }
        }
        match missing.as_slice() {
            [] => Ok(selected),
            [one] => Err(Trouble::error(format!("{one}: Chroot not found"))),
            several => Err(Trouble::error(format!("{}: Chroots not found", several.join(", ")))),
        }
    }

    /// All names in a namespace, sorted, each as `namespace:name`.
    pub(super) fn names(&self, space: Space, with_aliases: bool) -> impl Iterator<Item = String> {
        self.names
            .iter()
            .filter(move |((of, _), name)| *of == space && (with_aliases || !name.is_alias))
            .map(|((space, name), _)| format!("{}:{name}", space.word()))
    }

    /// All chroots of a namespace, sorted by name.
    pub(super) fn all(&self, space: Space) -> impl Iterator<Item = Selected<'_>> {
        let own = self.names.iter().filter(move |((of, _), name)| *of == space && !name.is_alias);
        own.filter_map(move |((_, word), name)| {
            let chroot = self.chroots.get(name.of)?;
            Some(Selected { word, chroot, through_session: space == Space::Session })
        })
    }
}

/// The namespaces that an order without names selects, in the order in which they are shown.
pub(super) fn spaces(order: &Order) -> Vec<Space> {
    let all = order.all;
    if all.any() {
        let wanted =
            [(Space::Chroot, all.chroots), (Space::Session, all.sessions), (Space::Source, all.sources)];
        return wanted.into_iter().filter(|(_, wanted)| *wanted).map(|(space, _)| space).collect();
    }
    match order.action {
        Action::List | Action::Info => vec![Space::Chroot, Space::Source],
        Action::Config | Action::Location => vec![Space::Chroot],
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests;

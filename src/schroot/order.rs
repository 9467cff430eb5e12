//! What is asked for: one action with its options. A pure function from the words of the command line.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::grammar::{self, Given};
use super::options::Key;
use super::say::{Line, Trouble};
pub(super) use crate::session::Verbosity;

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Help,
    Version,
    List,
    Info,
    Config,
    Location,
    Automatic,
    Begin,
    Run,
    End,
    Recover,
}

/// Which chroots are meant, if none is named.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct All {
    pub(super) chroots: bool,
    pub(super) sessions: bool,
    pub(super) sources: bool,
}

impl All {
    pub(super) fn any(self) -> bool {
        self.chroots || self.sessions || self.sources
    }
}

/// An order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) action: Action,
    /// As they were typed.
    pub(super) chroots: Vec<String>,
    pub(super) all: All,
    pub(super) exclude_aliases: bool,
    pub(super) directory: Option<PathBuf>,
    pub(super) shell: Option<PathBuf>,
    pub(super) user: Option<String>,
    pub(super) preserve_environment: bool,
    /// `-o KEY=VALUE`.
    pub(super) options: Vec<(String, String)>,
    pub(super) session_name: Option<String>,
    pub(super) verbosity: Verbosity,
    pub(super) isolate_network: bool,
    /// What cannot be kept goes: schroot itself never looks at it.
    pub(super) force: bool,
    pub(super) command: Vec<OsString>,
    /// What is to be said before anything is done.
    pub(super) notes: Vec<Line>,
}

impl Order {
    /// Whether `-o` gives the key a value.
    pub(super) fn sets(&self, key: &str) -> bool {
        self.options.iter().any(|(one, _)| one == key)
    }

    /// The order that the words after `program` give.
    ///
    /// # Errors
    /// They break the grammar, or contradict each other.
    pub(super) fn from_words(program: &OsStr, words: &[OsString]) -> Result<Self, Trouble> {
        let given = grammar::parse(words).map_err(|complaint| Trouble::error(complaint.to_string()))?;
        let given = Words { program, given };
        let action = given.action()?;
        let mut order = given.order(action);
        given.check(&mut order)?;
        Ok(order)
    }

    /// Whether sessions that exist can be meant.
    pub(super) fn knows_sessions(&self) -> bool {
        !matches!(self.action, Action::Automatic | Action::Begin)
    }

    /// Whether it only looks.
    pub(super) fn is_look(&self) -> bool {
        matches!(self.action, Action::List | Action::Info | Action::Config | Action::Location)
    }
}

struct Words<'a> {
    program: &'a OsStr,
    given: Vec<Given>,
}

impl Words<'_> {
    fn has(&self, key: Key) -> bool {
        self.given.iter().any(|one| one.key == key)
    }

    fn values(&self, key: Key) -> impl Iterator<Item = &OsString> {
        self.given.iter().filter(move |one| one.key == key).filter_map(|one| one.value.as_ref())
    }

    /// A value that was given and is not empty: an empty one is as none.
    fn value(&self, key: Key) -> Option<&OsString> {
        self.values(key).next().filter(|value| !value.is_empty())
    }

    fn text(&self, key: Key) -> Option<String> {
        self.value(key).map(|value| value.to_string_lossy().into_owned())
    }

    /// The one action. Its contradictions are found in two steps, with the check of `--debug` between them.
    fn action(&self) -> Result<Action, Trouble> {
        let first = [(Key::Help, Action::Help), (Key::Version, Action::Version)];
        let second = [
            (Key::List, Action::List),
            (Key::Info, Action::Info),
            (Key::Config, Action::Config),
            (Key::Location, Action::Location),
            (Key::AutomaticSession, Action::Automatic),
            (Key::BeginSession, Action::Begin),
            (Key::RecoverSession, Action::Recover),
            (Key::RunSession, Action::Run),
            (Key::EndSession, Action::End),
        ];
        let chosen = self.one_of(None, &first)?;
        let levels = ["none", "notice", "info", "warning", "critical"];
        if let Some(level) = self.values(Key::Debug).next()
            && !levels.iter().any(|known| known.as_bytes() == level.as_bytes())
        {
            return Err(self.usage("Invalid debug level"));
        }
        Ok(self.one_of(chosen, &second)?.unwrap_or(Action::Automatic))
    }

    fn one_of(&self, mut chosen: Option<Action>, of: &[(Key, Action)]) -> Result<Option<Action>, Trouble> {
        for (key, action) in of {
            if self.has(*key) && chosen.replace(*action).is_some() {
                return Err(self.usage("Only one action may be specified"));
            }
        }
        Ok(chosen)
    }

    fn order(&self, action: Action) -> Order {
        let all = self.has(Key::All);
        let verbosity = match (self.has(Key::Quiet), self.has(Key::Verbose)) {
            // With both schroot says that it is verbose, and is quiet.
            (true, _) => Verbosity::Quiet,
            (false, true) => Verbosity::Verbose,
            (false, false) => Verbosity::Normal,
        };
        Order {
            action,
            chroots: self.values(Key::Chroot).map(|name| name.to_string_lossy().into_owned()).collect(),
            all: All {
                chroots: all || self.has(Key::AllChroots),
                sessions: all || self.has(Key::AllSessions),
                sources: all || self.has(Key::AllSourceChroots),
            },
            exclude_aliases: self.has(Key::ExcludeAliases),
            directory: self.value(Key::Directory).map(PathBuf::from),
            shell: self.value(Key::Shell).map(PathBuf::from),
            user: self.text(Key::User),
            preserve_environment: self.has(Key::PreserveEnvironment),
            options: self.values(Key::Option).map(key_and_value).collect(),
            session_name: self.text(Key::SessionName),
            verbosity,
            isolate_network: self.has(Key::IsolateNetwork),
            force: self.has(Key::Force),
            command: self.values(Key::Command).cloned().collect(),
            notes: Vec::new(),
        }
    }

    /// What schroot itself refuses or remarks, in its order.
    fn check(&self, order: &mut Order) -> Result<(), Trouble> {
        if self.has(Key::Quiet) && self.has(Key::Verbose) {
            note(order, "--quiet and --verbose may not be used at the same time", "Using verbose output");
        }
        if !order.chroots.is_empty() && order.all.any() {
            note(order, "--chroot and --all may not be used at the same time", "Using --chroots only");
            order.all = All::default();
        }
        self.check_action(order).map_err(|trouble| trouble.after(order.notes.clone()))?;
        if order.action == Action::Automatic {
            if order.chroots.is_empty() && !order.all.any() {
                order.chroots.push("default".to_owned());
            }
            order.all.sessions = false;
        }
        Ok(())
    }

    fn check_action(&self, order: &Order) -> Result<(), Trouble> {
        if order.action == Action::Begin {
            if order.chroots.len() != 1 || order.all.any() {
                return Err(self.usage("Exactly one chroot must be specified when beginning a session"));
            }
            return match &order.session_name {
                Some(name) if !is_name(name) => Err(self.usage("Invalid session name")),
                _ => Ok(()),
            };
        }
        match (&order.session_name, order.action) {
            (None, _) => Ok(()),
            (Some(_), Action::Run | Action::End | Action::Recover) => Err(self.usage(
                "--session-name is not permitted for the specified action; did you mean to use --chroot?",
            )),
            (Some(_), _) => Err(self.usage("--session-name is not permitted for the specified action")),
        }
    }

    fn usage(&self, text: &str) -> Trouble {
        Trouble::usage(text, self.program)
    }
}

fn note(order: &mut Order, warning: &str, info: &str) {
    order.notes.extend([Line::Warning(warning.to_owned()), Line::Info(info.to_owned())]);
}

/// `KEY=VALUE`; without `=` the value is the whole word, as in the real program.
fn key_and_value(word: &OsString) -> (String, String) {
    let word = word.to_string_lossy();
    match word.split_once('=') {
        Some((key, value)) => (key.to_owned(), value.to_owned()),
        None => (word.clone().into_owned(), word.into_owned()),
    }
}

/// schroot's rule for names of chroots, aliases, sessions and files: as [`crate::store`]'s, of any length.
pub(super) fn is_name(name: &str) -> bool {
    let leftovers = ["dpkg-old", "dpkg-dist", "dpkg-new", "dpkg-tmp"];
    name.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
        && !leftovers.iter().any(|end| name.ends_with(end))
}

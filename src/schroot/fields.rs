//! The values of one group of schroot.conf: each taken once, with schroot's words for what is wrong with it.

use std::collections::BTreeSet;

use super::keyfile::{Group, Value};
use super::order::{Verbosity, is_name};
use super::say::Line;

/// A definition that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub(super) struct Fault {
    pub(super) text: String,
    /// Said on a line of its own.
    pub(super) reason: Option<String>,
}

impl Fault {
    pub(super) fn new(text: String) -> Self {
        Self { text, reason: None }
    }

    pub(super) fn because(text: String, reason: &str) -> Self {
        Self { text, reason: Some(reason.to_owned()) }
    }
}

/// The values of one group.
pub(super) struct Fields<'a> {
    name: &'a str,
    group: &'a Group,
    taken: BTreeSet<&'static str>,
    pub(super) warnings: Vec<Line>,
}

impl<'a> Fields<'a> {
    pub(super) fn new(name: &'a str, group: &'a Group) -> Self {
        Self { name, group, taken: BTreeSet::new(), warnings: Vec::new() }
    }

    fn take(&mut self, key: &'static str) -> Option<&'a Value> {
        self.taken.insert(key);
        self.group.values.get(key)
    }

    /// A fault of the value of a key.
    pub(super) fn fault(&self, key: &str, text: &str) -> Fault {
        Fault::new(format!("line {} [{}] {key}: {text}", self.line(key), self.name))
    }

    pub(super) fn warn(&mut self, warning: String, info: Option<&str>) {
        self.warnings.push(Line::Warning(warning));
        self.warnings.extend(info.map(|info| Line::Info(info.to_owned())));
    }

    /// The line of a key, or of the group.
    pub(super) fn line(&self, key: &str) -> usize {
        self.group.values.get(key).map_or(self.group.line, |value| value.line)
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.group.values.contains_key(key)
    }

    pub(super) fn text(&mut self, key: &'static str) -> Option<String> {
        self.take(key).map(|value| value.text.clone())
    }

    pub(super) fn text_or_none(&mut self, key: &'static str) -> String {
        self.text(key).unwrap_or_default()
    }

    /// A list: commas between, blanks around the items are no part of them, empty ones do not count.
    pub(super) fn list(&mut self, key: &'static str) -> Vec<String> {
        let text = self.text_or_none(key);
        text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
    }

    pub(super) fn names(&mut self, key: &'static str) -> Result<Vec<String>, Fault> {
        let names = self.list(key);
        match names.iter().find(|name| !is_name(name)) {
            None => Ok(names),
            Some(name) => {
                let fault = self.fault(key, &format!("{name}: Invalid name"));
                Err(Fault::because(fault.text, naming_rule(name)))
            }
        }
    }

    /// A truth value; one that is none is remarked and does not count.
    pub(super) fn truth(&mut self, key: &'static str) -> Option<bool> {
        let value = self.take(key)?;
        match value.text.as_str() {
            "true" | "yes" | "1" => Some(true),
            "false" | "no" | "0" => Some(false),
            other => {
                let line = value.line;
                self.warn(
                    format!("line {line} [{}] {key}: Could not parse value ‘{other}’", self.name),
                    None,
                );
                None
            }
        }
    }

    /// A path, which is absolute.
    pub(super) fn path(&mut self, key: &'static str, what: &str) -> Result<Option<String>, Fault> {
        match self.text(key) {
            Some(path) if !path.starts_with('/') => {
                Err(self.fault(key, &format!("{path}: {what} must have an absolute path")))
            }
            path => Ok(path),
        }
    }

    /// As [`Fields::path`]; an empty one is as none.
    pub(super) fn path_if_any(&mut self, key: &'static str, what: &str) -> Result<String, Fault> {
        if self.group.values.get(key).is_some_and(|value| value.text.is_empty()) {
            self.take(key);
            return Ok(String::new());
        }
        Ok(self.path(key, what)?.unwrap_or_default())
    }

    pub(super) fn required_path(&mut self, key: &'static str, what: &str) -> Result<String, Fault> {
        self.path(key, what)?.ok_or_else(|| self.missing(key))
    }

    pub(super) fn required(&mut self, key: &'static str) -> Result<String, Fault> {
        self.text(key).ok_or_else(|| self.missing(key))
    }

    fn missing(&self, key: &str) -> Fault {
        let (name, line) = (self.name, self.group.line);
        Fault::new(format!("[{name}] {key}: line {line} [{name}]: Required key ‘{key}’ is missing"))
    }

    pub(super) fn verbosity(&mut self) -> Result<Verbosity, Fault> {
        let key = "message-verbosity";
        match self.text(key).as_deref() {
            None | Some("normal") => Ok(Verbosity::Normal),
            Some("quiet") => Ok(Verbosity::Quiet),
            Some("verbose") => Ok(Verbosity::Verbose),
            Some(other) => Err(self.fault(key, &format!("{other}: Message verbosity is invalid"))),
        }
    }

    /// Keys that once meant something.
    pub(super) fn obsolete(&mut self, keys: &[&'static str]) {
        for key in keys {
            if let Some(line) = self.take(key).map(|value| value.line) {
                let text = format!("line {line} [{}]: Obsolete key ‘{key}’ used", self.name);
                self.warn(text, Some("This option has been removed, and no longer has any effect"));
            }
        }
    }

    pub(super) fn deprecated(&mut self, key: &'static str) {
        if let Some(line) = self.group.values.get(key).map(|value| value.line) {
            let text = format!("line {line} [{}]: Deprecated key ‘{key}’ used", self.name);
            let info = "This option will be removed in the future; please update your configuration";
            self.warn(text, Some(info));
        }
    }

    /// Keys that only the file of a session may have.
    pub(super) fn refuse(&self, keys: &[&str]) -> Result<(), Fault> {
        match keys.iter().find_map(|key| self.group.values.get(*key).map(|value| (key, value.line))) {
            None => Ok(()),
            Some((key, line)) => {
                let text = format!("line {line} [{}]: Disallowed key ‘{key}’ used", self.name);
                Err(self.fault(key, &text))
            }
        }
    }

    /// What is left when all known keys are taken, sorted.
    pub(super) fn others(&self) -> Vec<(&'a str, &'a Value)> {
        let taken = |key: &str| self.taken.contains(key);
        self.group
            .values
            .iter()
            .map(|(key, value)| (key.as_str(), value))
            .filter(|(key, _)| !taken(key))
            .collect()
    }
}

/// Why a name is none.
pub(super) fn naming_rule(name: &str) -> &'static str {
    if name.contains(':') {
        "Namespace separator ‘:’ may not be used in a chroot name"
    } else {
        "Naming restrictions are documented in schroot.conf(5)"
    }
}

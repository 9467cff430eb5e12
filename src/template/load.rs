//! Loads what the administrator wrote: only what is asked for, and each file for itself.

use std::path::PathBuf;

use crate::store::{Layout, NameError, TemplateName};
use crate::sys::file;

use super::config::Config;
use super::definition::Template;
use super::diagnostic::{Diagnostic, Finding, Severity};
use super::profile::{Profile, ProfileName, built_in};
use super::read::{ConfigDir, Source};

pub(super) const CONFIG: &str = "zchroot.toml";
pub(super) const TEMPLATES: &str = "templates.d";
pub(super) const PROFILES: &str = "profiles";
const ROOT: u32 = 0;

/// Why something of the configuration could not be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be opened or read.
    #[error(transparent)]
    File(#[from] file::Error),
    /// A file that somebody else than root could have written.
    #[error("{} is not to be trusted: {why}", path.display())]
    Untrusted {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A file that says something wrong.
    #[error("{0}")]
    Invalid(Box<Diagnostic>),
    /// What was asked for is no name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// No template has that name or alias.
    #[error("there is no template {name}")]
    NoTemplate {
        /// What was asked for.
        name: TemplateName,
        /// Files that could not be read: it may stand in one of them.
        broken: Vec<Finding>,
    },
    /// Two templates have that alias.
    #[error("{alias} is an alias of both {first} and {second}")]
    Ambiguous {
        /// What was asked for.
        alias: TemplateName,
        /// One that has it.
        first: TemplateName,
        /// The other.
        second: TemplateName,
    },
    /// There is no such profile, neither as a file nor built in.
    #[error("there is no profile {name}")]
    NoProfile {
        /// What was asked for.
        name: ProfileName,
    },
}

impl From<Diagnostic> for Error {
    fn from(diagnostic: Diagnostic) -> Self {
        Self::Invalid(Box::new(diagnostic))
    }
}

impl Error {
    /// The error as a finding about a file.
    #[must_use]
    pub fn into_finding(self, file: PathBuf) -> Finding {
        let diagnostic = match self {
            Self::Invalid(diagnostic) => *diagnostic,
            Self::Untrusted { path, why } => {
                Diagnostic { file: path, place: None, message: format!("is not to be trusted: {why}") }
            }
            Self::File(error) => {
                let message = format!("cannot {}: {}", error.op, error.source);
                Diagnostic { file: error.path, place: None, message }
            }
            other => Diagnostic { file, place: None, message: other.to_string() },
        };
        Finding { severity: Severity::Error, diagnostic }
    }
}

/// All templates that could be loaded, and what kept the others from it.
#[derive(Debug, Default)]
pub struct Loaded {
    /// Sorted by name.
    pub templates: Vec<Template>,
    /// One for each broken file, sorted by file.
    pub broken: Vec<Finding>,
}

/// The host's configuration, the defaults if there is none.
///
/// # Errors
/// The file cannot be read, is not to be trusted or says something wrong.
pub fn load(layout: &Layout) -> Result<Config, Error> {
    Loader::new(layout).config()
}

/// All templates; one broken file does not stop the others.
///
/// # Errors
/// The directory itself cannot be read or is not to be trusted.
pub fn templates(layout: &Layout) -> Result<Loaded, Error> {
    Loader::new(layout).templates()
}

/// The template of a name, else the one that has it as an alias.
///
/// # Errors
/// As [`templates`]; there is none, its file is broken, or two have the alias.
pub fn template(layout: &Layout, name_or_alias: &str) -> Result<Template, Error> {
    Loader::new(layout).template(name_or_alias)
}

/// Whether the caller himself could read the definition of a template.
///
/// # Errors
/// The directory is not to be trusted.
pub fn may_caller_read(layout: &Layout, name: &TemplateName) -> Result<bool, Error> {
    let dir = Loader::new(layout).dir(TEMPLATES)?;
    Ok(dir.is_some_and(|dir| dir.may_caller_read(&format!("{name}.toml"))))
}

/// A profile: its file, else the one built in.
///
/// # Errors
/// There is none, or its file is broken.
pub fn profile(layout: &Layout, name: &ProfileName) -> Result<Profile, Error> {
    Loader::new(layout).profile(name)
}

/// The stem of a file name that may define something called by it; others are left alone, as are an
/// editor's backups and what dpkg left over.
pub(super) fn stem<N: std::str::FromStr>(file_name: &str) -> Option<N> {
    file_name.strip_suffix(".toml").and_then(|stem| stem.parse().ok())
}

pub(super) struct Loader<'a> {
    layout: &'a Layout,
    /// Whose files are to be trusted: root's, but in tests.
    owner: u32,
}

impl<'a> Loader<'a> {
    pub(super) fn new(layout: &'a Layout) -> Self {
        Self { layout, owner: ROOT }
    }

    #[cfg(test)]
    pub(super) fn trusting(layout: &'a Layout, owner: u32) -> Self {
        Self { layout, owner }
    }

    pub(super) fn top(&self) -> Result<Option<ConfigDir>, Error> {
        ConfigDir::open(self.layout, self.owner)
    }

    pub(super) fn config_dir(&self) -> PathBuf {
        self.layout.config_dir()
    }

    fn dir(&self, name: &str) -> Result<Option<ConfigDir>, Error> {
        self.top()?.map_or(Ok(None), |top| top.sub(name))
    }

    pub(super) fn config(&self) -> Result<Config, Error> {
        let Some(top) = self.top()? else { return Ok(Config::default()) };
        match top.read(CONFIG)? {
            Some(file) => shown(&file, Config::from_text(&file.text, &top.path_of(CONFIG))),
            None => Ok(Config::default()),
        }
    }

    pub(super) fn templates(&self) -> Result<Loaded, Error> {
        let mut loaded = Loaded::default();
        let Some(dir) = self.dir(TEMPLATES)? else { return Ok(loaded) };
        for file_name in dir.names()? {
            let Some(name) = stem::<TemplateName>(&file_name) else { continue };
            match read_template(&dir, &name) {
                Ok(Some(template)) => loaded.templates.push(template),
                // Gone since the directory was listed.
                Ok(None) => {}
                Err(error) => loaded.broken.push(error.into_finding(dir.path_of(&file_name))),
            }
        }
        loaded.templates.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(loaded)
    }

    pub(super) fn template(&self, name_or_alias: &str) -> Result<Template, Error> {
        let name: TemplateName = name_or_alias.parse()?;
        if let Some(dir) = self.dir(TEMPLATES)?
            && let Some(template) = read_template(&dir, &name)?
        {
            return Ok(template);
        }
        let Loaded { templates, broken } = self.templates()?;
        let mut having = templates.into_iter().filter(|template| template.aliases.contains(&name));
        match (having.next(), having.next()) {
            (Some(template), None) => Ok(template),
            (Some(first), Some(second)) => {
                Err(Error::Ambiguous { alias: name, first: first.name, second: second.name })
            }
            (None, _) => Err(Error::NoTemplate { name, broken }),
        }
    }

    pub(super) fn profile(&self, name: &ProfileName) -> Result<Profile, Error> {
        let file_name = format!("{name}.toml");
        if let Some(dir) = self.dir(PROFILES)?
            && let Some(file) = dir.read(&file_name)?
        {
            return shown(&file, Profile::from_text(name, &file.text, &dir.path_of(&file_name)));
        }
        let text = built_in(name).ok_or_else(|| Error::NoProfile { name: name.clone() })?;
        Ok(Profile::from_text(name, text, &built_in_place(name))?)
    }
}

/// What stands for the file of a profile that is built in.
pub(super) fn built_in_place(name: &ProfileName) -> PathBuf {
    PathBuf::from(format!("(built in)/profiles/{name}.toml"))
}

fn read_template(dir: &ConfigDir, name: &TemplateName) -> Result<Option<Template>, Error> {
    let file_name = format!("{name}.toml");
    let Some(file) = dir.read(&file_name)? else { return Ok(None) };
    shown(&file, Template::from_text(name.clone(), &file.text, &dir.path_of(&file_name))).map(Some)
}

/// Shows the caller nothing of a file that he could not read himself.
fn shown<T>(file: &Source, result: Result<T, Diagnostic>) -> Result<T, Error> {
    result.map_err(|fault| if file.public { fault } else { fault.hidden() }.into())
}

#[cfg(test)]
mod tests;

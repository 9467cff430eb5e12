//! `zchroot check`: reads everything and says what does not work, or was probably not meant.
//!
//! An error is what makes a command fail sooner or later; a warning works, but hardly as it was meant; a
//! note is only worth knowing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::store::{Kind, Layout, TemplateName};
use crate::sys::file;

use super::account::{AccountName, Accounts};
use super::definition::{Access, Template};
use super::diagnostic::{Diagnostic, Fault, Finding, Severity};
use super::document;
use super::load::{CONFIG, Error, Loader, PROFILES, TEMPLATES, built_in_place, stem};
use super::profile::{MountKind, Profile, ProfileName, built_in};
use super::read::{ConfigDir, Source};

/// Checks the whole configuration; the findings are sorted by file and place.
#[must_use]
pub fn check(layout: &Layout, accounts: &dyn Accounts) -> Vec<Finding> {
    check_with(&Loader::new(layout), accounts)
}

fn check_with(loader: &Loader<'_>, accounts: &dyn Accounts) -> Vec<Finding> {
    let mut report = Report::default();
    if let Some(top) = report.fine(loader.top(), &loader.config_dir()).flatten() {
        report.top(&top);
        let config = report.fine(loader.config(), &top.path_of(CONFIG));
        let store = config.map(|config| config.store.kind());
        let on_zfs = store == Some(Kind::Zfs);
        let templates = report.templates(&top);
        report.profiles(&top, &templates);
        for file in &templates {
            report.lists(file, accounts);
            report.profile_of(loader, file);
            if on_zfs && document::find(&file.text, &["overlay"]).is_some() {
                report.say(Severity::Note, file, &["overlay"], "overlay: has no effect with the store zfs");
            }
        }
        for file in templates.iter().filter(|file| !on_zfs && file.value.quota.is_some()) {
            let message = "quota: the store dir cannot limit what a session writes, so none can be begun; \
                           the store zfs can, and so does overlay-size with overlay = \"tmpfs\"";
            report.say(Severity::Error, file, &["quota"], message);
        }
        report.aliases(&templates);
    }
    report.sorted()
}

/// A file that was parsed, with what is needed to point into it.
struct Parsed<T> {
    value: T,
    path: PathBuf,
    text: String,
    /// The caller himself could read it.
    public: bool,
}

#[derive(Default)]
struct Report {
    findings: Vec<Finding>,
}

impl Report {
    fn sorted(mut self) -> Vec<Finding> {
        let line = |finding: &Finding| finding.diagnostic.place.as_ref().map_or(0, |place| place.line);
        self.findings.sort_by(|one, other| {
            (&one.diagnostic.file, line(one)).cmp(&(&other.diagnostic.file, line(other)))
        });
        // What may not be shown looks alike.
        self.findings.dedup();
        self.findings
    }

    /// The value, or a finding that there is none.
    fn fine<T>(&mut self, result: Result<T, Error>, file: &Path) -> Option<T> {
        result.map_err(|error| self.findings.push(error.into_finding(file.to_owned()))).ok()
    }

    fn say<T>(&mut self, severity: Severity, file: &Parsed<T>, at: &[&str], message: impl Into<String>) {
        let fault = Fault { span: document::find(&file.text, at), message: message.into() };
        self.found(severity, fault.in_file(&file.path, &file.text), file.public);
    }

    /// Nothing is quoted of what the caller could not read himself.
    fn found(&mut self, severity: Severity, diagnostic: Diagnostic, public: bool) {
        let diagnostic = if public { diagnostic } else { diagnostic.hidden() };
        self.findings.push(Finding { severity, diagnostic });
    }

    fn say_of_file(&mut self, severity: Severity, file: PathBuf, message: &str) {
        let diagnostic = Diagnostic { file, place: None, message: message.to_owned() };
        self.findings.push(Finding { severity, diagnostic });
    }

    fn top(&mut self, top: &ConfigDir) {
        let names = self.fine(top.names(), &top.path_of("")).unwrap_or_default();
        for name in names.iter().filter(|name| ![CONFIG, TEMPLATES, PROFILES].contains(&name.as_str())) {
            self.skipped(top.path_of(name), name, "nothing reads it");
        }
    }

    fn skipped(&mut self, path: PathBuf, name: &str, why: &str) {
        // An editor or dpkg left it; whatever else it is, somebody may wonder why it has no effect.
        let left_over = name.starts_with('.') || name.ends_with('~') || name.contains(".dpkg-");
        let severity = if left_over { Severity::Note } else { Severity::Warning };
        self.say_of_file(severity, path, &format!("is skipped: {why}"));
    }

    /// All files of one directory that can be parsed.
    fn files<N, T>(
        &mut self,
        top: &ConfigDir,
        dir: &str,
        parse: impl Fn(N, &str) -> Result<T, Fault>,
    ) -> Vec<Parsed<T>>
    where
        N: std::str::FromStr,
    {
        let mut parsed = Vec::new();
        let Some(dir) = self.fine(top.sub(dir), &top.path_of(dir)).flatten() else { return parsed };
        for file_name in self.fine(dir.names(), &dir.path_of("")).unwrap_or_default() {
            let path = dir.path_of(&file_name);
            let Some(name) = stem::<N>(&file_name) else {
                self.skipped(path, &file_name, "its name is not of the form NAME.toml");
                continue;
            };
            let Some(file) = self.fine(dir.read(&file_name), &path).flatten() else { continue };
            let Source { text, public } = file;
            match parse(name, &text) {
                Ok(value) => parsed.push(Parsed { value, path, text, public }),
                Err(fault) => self.found(Severity::Error, fault.in_file(&path, &text), public),
            }
        }
        parsed
    }

    fn templates(&mut self, top: &ConfigDir) -> Vec<Parsed<Template>> {
        self.files(top, TEMPLATES, Template::parse)
    }

    /// Every profile that is a file, and of those built in the ones that a template uses.
    fn profiles(&mut self, top: &ConfigDir, templates: &[Parsed<Template>]) {
        let files = self.files(top, PROFILES, |name, text| Profile::parse(&name, text));
        let mut used: BTreeSet<&ProfileName> = templates.iter().map(|file| &file.value.profile).collect();
        for file in &files {
            used.retain(|name| name.as_str() != file.value.name);
            self.sources(file);
        }
        for name in used {
            let Some(text) = built_in(name) else { continue };
            // A file of that name that is broken has its own finding already.
            if let Ok(value) = Profile::parse(name, text) {
                self.sources(&Parsed {
                    value,
                    path: built_in_place(name),
                    text: text.to_owned(),
                    public: true,
                });
            }
        }
    }

    /// Whether the host has what a profile takes from it.
    fn sources(&mut self, file: &Parsed<Profile>) {
        let mounts = file.value.mounts.iter().enumerate().filter_map(|(at, mount)| match &mount.kind {
            MountKind::Bind { source, .. } if !mount.optional => Some(("mount", at, source)),
            _ => None,
        });
        let files = file.value.files.iter().enumerate().filter(|(_, file)| !file.optional);
        let files = files.map(|(at, file)| ("file", at, &file.source));
        for (list, at, source) in mounts.chain(files) {
            let why = match file::stat(source) {
                Ok(Some(_)) => continue,
                Ok(None) => "is not on this host; with optional = true it would be left out".to_owned(),
                Err(error) => format!("cannot be looked at: {}", error.source),
            };
            let message = format!("{list}.source: {} {why}", source.display());
            self.say(Severity::Warning, file, &[list, &at.to_string(), "source"], message);
        }
    }

    fn profile_of(&mut self, loader: &Loader<'_>, file: &Parsed<Template>) {
        // A profile that is there but broken has its own finding.
        if let Err(Error::NoProfile { name }) = loader.profile(&file.value.profile) {
            self.say(Severity::Error, file, &["profile"], format!("profile: there is no profile {name}"));
        }
    }

    fn lists(&mut self, file: &Parsed<Template>, accounts: &dyn Accounts) {
        if file.value.access.is_empty() {
            let message =
                "nobody but root may use this template: users, groups, root-users and root-groups are empty";
            self.say(Severity::Warning, file, &[], message);
        }
        self.unknown(file, &[], &file.value.access, accounts);
        self.unknown(file, &["source"], &file.value.source.access, accounts);
        let source = &file.value.source;
        let lists =
            [("rollback-users", &source.rollback_users), ("rollback-groups", &source.rollback_groups)];
        self.unknown_in(file, &["source"], lists, accounts);
    }

    fn unknown(&mut self, file: &Parsed<Template>, table: &[&str], access: &Access, accounts: &dyn Accounts) {
        self.unknown_in(file, table, [("users", &access.users), ("groups", &access.groups)], accounts);
        let as_root = [("root-users", &access.root_users), ("root-groups", &access.root_groups)];
        self.unknown_in(file, table, as_root, accounts);
    }

    /// The names in a list of users and one of groups that the host does not know.
    fn unknown_in(
        &mut self,
        file: &Parsed<Template>,
        table: &[&str],
        [users, groups]: [(&str, &Vec<AccountName>); 2],
        accounts: &dyn Accounts,
    ) {
        let uid = |user: &AccountName| accounts.uid(user);
        let gid = |group: &AccountName| accounts.gid(group);
        let mut look = |(key, names): (&str, &Vec<AccountName>),
                        what: &str,
                        id: &dyn Fn(&AccountName) -> Option<u32>| {
            for (at, name) in names.iter().enumerate().filter(|(_, name)| id(name).is_none()) {
                let at = at.to_string();
                let path = [table, &[key, &at]].concat();
                let shown = [table, &[key]].concat().join(".");
                self.say(Severity::Warning, file, &path, format!("{shown}: this host has no {what} {name}"));
            }
        };
        look(users, "user", &uid);
        look(groups, "group", &gid);
    }

    /// A name is found before an alias, and of two equal aliases neither is found.
    fn aliases(&mut self, templates: &[Parsed<Template>]) {
        let names: BTreeSet<&TemplateName> = templates.iter().map(|file| &file.value.name).collect();
        let mut taken: BTreeMap<&TemplateName, &TemplateName> = BTreeMap::new();
        for file in templates {
            let name = &file.value.name;
            for (at, alias) in file.value.aliases.iter().enumerate() {
                let (severity, why) = if alias == name {
                    (Severity::Warning, "is the template's own name".to_owned())
                } else if names.contains(alias) {
                    (Severity::Error, "is the name of another template".to_owned())
                } else {
                    match taken.insert(alias, name) {
                        None => continue,
                        Some(other) if other == name => (Severity::Warning, "stands there twice".to_owned()),
                        Some(other) => (Severity::Error, format!("is an alias of {other} too")),
                    }
                };
                let path = ["aliases", &at.to_string()];
                self.say(severity, file, &path, format!("aliases: {alias} {why}"));
            }
        }
    }
}

#[cfg(test)]
mod tests;

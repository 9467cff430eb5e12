//! The packages of a tree, from its `var/lib/dpkg/status`, and what became of them.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::BorrowedFd;

use serde::Serialize;

use super::{escape_bytes, order};
use crate::sys::tree::open_beneath;

const STATUS: &std::ffi::CStr = c"var/lib/dpkg/status";
/// All of Debian installed at once has a tenth of that; more is somebody's mischief.
const LONGEST: u64 = 256 << 20;
const LONGEST_LINE: u64 = 1 << 20;

/// An installed package, by name and architecture.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its architecture.
    pub architecture: String,
}

/// What became of a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PackageChange {
    /// Which.
    #[serde(flatten)]
    pub package: Package,
    /// `added`, `removed`, `upgraded` or `downgraded`.
    pub change: &'static str,
    /// The version that was installed.
    pub old: Option<String>,
    /// The version that is.
    pub new: Option<String>,
}

/// The packages that are installed in a tree, with their versions; `None` if it has no dpkg status.
///
/// # Errors
/// The file cannot be read.
pub fn read(top: BorrowedFd<'_>) -> io::Result<Option<BTreeMap<Package, String>>> {
    let Some(file) = open_beneath(top, STATUS)? else { return Ok(None) };
    parse(BufReader::with_capacity(64 << 10, file.take(LONGEST))).map(Some)
}

fn parse(mut from: impl BufRead) -> io::Result<BTreeMap<Package, String>> {
    let mut packages = BTreeMap::new();
    let mut stanza = Stanza::default();
    let mut line = Vec::new();
    loop {
        line.clear();
        if from.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line)? == 0 {
            stanza.finish(&mut packages);
            return Ok(packages);
        }
        match line.trim_ascii_end() {
            [] => std::mem::take(&mut stanza).finish(&mut packages),
            line => stanza.take(line),
        }
    }
}

#[derive(Default)]
struct Stanza {
    name: Option<String>,
    architecture: Option<String>,
    version: Option<String>,
    status: Option<String>,
}

impl Stanza {
    fn take(&mut self, line: &[u8]) {
        let fields = [
            (&b"Package:"[..], &mut self.name),
            (b"Architecture:", &mut self.architecture),
            (b"Version:", &mut self.version),
            (b"Status:", &mut self.status),
        ];
        for (label, field) in fields {
            if let Some(value) = line.strip_prefix(label) {
                // A tree may say anything: what a terminal would obey is escaped.
                let words = value.trim_ascii().split(|byte| *byte == b' ').map(escape_bytes);
                *field = Some(words.collect::<Vec<_>>().join(" "));
            }
        }
    }

    fn finish(self, packages: &mut BTreeMap<Package, String>) {
        let (Some(name), Some(version), Some(status)) = (self.name, self.version, self.status) else {
            return;
        };
        // `want flag state`: what left only its configuration is not installed.
        if matches!(status.rsplit(' ').next(), Some("not-installed" | "config-files")) {
            return;
        }
        packages.insert(Package { name, architecture: self.architecture.unwrap_or_default() }, version);
    }
}

/// What became of the packages, by name.
#[must_use]
pub fn summary(old: &BTreeMap<Package, String>, new: &BTreeMap<Package, String>) -> Vec<PackageChange> {
    let mut all: Vec<&Package> = old.keys().chain(new.keys()).collect();
    all.sort();
    all.dedup();
    all.into_iter().filter_map(|package| became(package, old.get(package), new.get(package))).collect()
}

fn became(package: &Package, old: Option<&String>, new: Option<&String>) -> Option<PackageChange> {
    let change = match (old, new) {
        (None, None) => return None,
        (None, Some(_)) => "added",
        (Some(_), None) => "removed",
        (Some(old), Some(new)) if old == new => return None,
        (Some(old), Some(new)) => match order::compare(old, new) {
            Ordering::Greater => "downgraded",
            Ordering::Less | Ordering::Equal => "upgraded",
        },
    };
    Some(PackageChange { package: package.clone(), change, old: old.cloned(), new: new.cloned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "\
Package: base-files
Status: install ok installed
Architecture: amd64
Version: 13.8
Description: x
 Package: not this one

Package: gone
Status: install ok installed
Architecture: all
Version: 1

Package: left
Status: deinstall ok config-files
Architecture: all
Version: 1

Package: libc6
Status: install ok installed
Architecture: amd64
Version: 2.41-12

Package: libc6
Status: install ok installed
Architecture: i386
Version: 2.41-12
";

    #[test]
    fn packages_are_added_removed_upgraded_and_downgraded() {
        let old = parse(OLD.as_bytes()).unwrap();
        assert_eq!(old.len(), 4, "{old:?}");
        let text = OLD
            .replace("Package: gone", "Package: come")
            .replacen("2.41-12", "2.41-12+deb13u1", 1)
            .replace("Version: 13.8", "Version: 13.8~rc1");
        let new = parse(text.as_bytes()).unwrap();
        let lines: Vec<String> = summary(&old, &new)
            .iter()
            .map(|it| {
                format!(
                    "{}:{} {} {:?} {:?}",
                    it.package.name, it.package.architecture, it.change, it.old, it.new
                )
            })
            .collect();
        insta::assert_snapshot!(lines.join("\n"), @r#"
        base-files:amd64 downgraded Some("13.8") Some("13.8~rc1")
        come:all added None Some("1")
        gone:all removed Some("1") None
        libc6:amd64 upgraded Some("2.41-12") Some("2.41-12+deb13u1")
        "#);
        assert_eq!(summary(&old, &old), []);
    }

    #[test]
    fn what_a_terminal_would_obey_is_escaped() {
        let text = b"Package: a\x1b[2J\nStatus: install ok installed\nVersion: 1\n";
        let packages = parse(&text[..]).unwrap();
        assert_eq!(packages.keys().next().unwrap().name, "a\\x1b[2J");
    }
}

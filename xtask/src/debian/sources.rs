//! Reads the host's apt sources, in the one-line and the deb822 form, to learn which mirror and suite it uses.

use std::fs;
use std::path::Path;

/// Where to look when the host does not say.
const DEFAULT_URI: &str = "http://deb.debian.org/debian";

/// One place to fetch binary packages from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    pub uri: String,
    pub suite: String,
    pub components: Vec<String>,
    pub signed_by: Option<String>,
}

impl Source {
    /// The source as a line of sources.list.
    pub fn line(&self) -> String {
        let options = self.signed_by.as_ref().map(|path| format!("[signed-by={path}] ")).unwrap_or_default();
        format!("deb {options}{} {} {}", self.uri, self.suite, self.components.join(" "))
    }
}

/// The mirror of Debian's main archive that the host uses, or the public one.
pub fn debian_mirror() -> String {
    host_sources()
        .into_iter()
        .find(|source| is_main_archive(source) && source.uri.trim_end_matches('/').ends_with("/debian"))
        .map_or_else(|| DEFAULT_URI.to_owned(), |source| source.uri.trim_end_matches('/').to_owned())
}

/// The source of the host's own release: its mirror, suite and key.
pub fn host_release() -> Option<Source> {
    let codename = os_release(&fs::read_to_string("/etc/os-release").ok()?, "VERSION_CODENAME");
    let sources: Vec<Source> = host_sources().into_iter().filter(is_main_archive).collect();
    let own = sources.iter().find(|source| codename.as_ref() == Some(&source.suite));
    let rolling = ["stable", "testing", "unstable", "sid"];
    own.or_else(|| sources.iter().find(|source| rolling.contains(&source.suite.as_str()))).cloned()
}

/// Everything that the host fetches packages from.
fn host_sources() -> Vec<Source> {
    let mut sources =
        fs::read_to_string("/etc/apt/sources.list").map(|text| one_line(&text)).unwrap_or_default();
    let mut files: Vec<_> = fs::read_dir("/etc/apt/sources.list.d")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    files.sort();
    for file in files {
        let Ok(text) = fs::read_to_string(&file) else { continue };
        match file.extension().and_then(|end| end.to_str()) {
            Some("list") => sources.extend(one_line(&text)),
            Some("sources") => sources.extend(deb822(&text)),
            _ => {}
        }
    }
    sources
}

/// A whole release with the component main: no updates, no security, no vendor's repository.
fn is_main_archive(source: &Source) -> bool {
    !source.suite.contains(['-', '/'])
        && !source.uri.contains("security")
        && source.components.iter().any(|component| component == "main")
        && ["http://", "https://", "file:", "copy:", "ftp://"]
            .iter()
            .any(|scheme| source.uri.starts_with(scheme))
        && Path::new(&source.uri).file_name().is_some_and(|name| name == "debian" || name == "ubuntu")
}

/// Reads `deb [options] uri suite component...` lines.
fn one_line(text: &str) -> Vec<Source> {
    text.lines()
        .filter_map(|line| {
            let line = line.split('#').next()?.trim().strip_prefix("deb")?;
            let line = line.strip_prefix([' ', '\t'])?.trim_start();
            let (options, rest) = match line.strip_prefix('[') {
                Some(inside) => inside.split_once(']')?,
                None => ("", line),
            };
            let mut words = rest.split_whitespace().map(str::to_owned);
            Some(Source {
                uri: words.next()?,
                suite: words.next()?,
                components: words.collect(),
                signed_by: options
                    .split_whitespace()
                    .find_map(|option| option.strip_prefix("signed-by="))
                    .map(str::to_owned),
            })
        })
        .collect()
}

/// Reads paragraphs of `Types:`, `URIs:`, `Suites:`, `Components:`.
fn deb822(text: &str) -> Vec<Source> {
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    lines.split(|line| line.trim().is_empty()).flat_map(paragraph).collect()
}

fn paragraph(lines: &[&str]) -> Vec<Source> {
    let words =
        |key: &str| -> Vec<String> { field(lines, key).split_whitespace().map(str::to_owned).collect() };
    if field(lines, "enabled").trim().eq_ignore_ascii_case("no")
        || !words("types").iter().any(|kind| kind == "deb")
    {
        return Vec::new();
    }
    // A key can be given inline: that is of no use to us.
    let signed_by = Some(field(lines, "signed-by").trim().to_owned()).filter(|path| path.starts_with('/'));
    let (suites, components) = (words("suites"), words("components"));
    words("uris")
        .into_iter()
        .flat_map(|uri| suites.iter().map(move |suite| (uri.clone(), suite.clone())))
        .map(|(uri, suite)| Source {
            uri,
            suite,
            components: components.clone(),
            signed_by: signed_by.clone(),
        })
        .collect()
}

/// The value of a field with its continuation lines.
fn field(lines: &[&str], key: &str) -> String {
    let mut value = String::new();
    let mut inside = false;
    for line in lines {
        if line.starts_with([' ', '\t']) {
            if inside {
                value.push(' ');
                value.push_str(line.trim());
            }
        } else if let Some((name, rest)) = line.split_once(':') {
            inside = name.trim().eq_ignore_ascii_case(key);
            if inside {
                value.push_str(rest.trim());
            }
        }
    }
    value
}

fn os_release(text: &str, key: &str) -> Option<String> {
    text.lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
        .map(|value| value.trim_matches('"').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(uri: &str, suite: &str, components: &[&str], signed_by: Option<&str>) -> Source {
        Source {
            uri: uri.into(),
            suite: suite.into(),
            components: components.iter().map(ToString::to_string).collect(),
            signed_by: signed_by.map(str::to_owned),
        }
    }

    #[test]
    fn one_line_sources_are_read() {
        let text = "# a comment\ndeb http://ftp.de.debian.org/debian/ bookworm main contrib # why\n\
                    deb [arch=amd64 signed-by=/usr/share/keyrings/x.gpg] https://m/debian sid main\n\
                    deb-src http://ftp.de.debian.org/debian bookworm main\ndebris x y z\n#deb http://off/debian sid main\n";
        assert_eq!(
            one_line(text),
            [
                source("http://ftp.de.debian.org/debian/", "bookworm", &["main", "contrib"], None),
                source("https://m/debian", "sid", &["main"], Some("/usr/share/keyrings/x.gpg")),
            ]
        );
    }

    #[test]
    fn deb822_sources_are_read() {
        let text = "Types: deb deb-src\n# a comment\nURIs: http://a/debian\n http://b/debian\nSuites: trixie trixie-updates\n\
                    Components: main\nSigned-By: /k.gpg\n\n\nTypes: deb\nEnabled: no\nURIs: http://c/debian\nSuites: sid\n\
                    Components: main\n\nTypes: deb-src\nURIs: http://d/debian\nSuites: sid\nComponents: main\n";
        let found = deb822(text);
        assert_eq!(found.len(), 4);
        assert_eq!(found[0], source("http://a/debian", "trixie", &["main"], Some("/k.gpg")));
        assert_eq!(found[3], source("http://b/debian", "trixie-updates", &["main"], Some("/k.gpg")));
    }

    #[test]
    fn only_a_whole_release_of_the_main_archive_counts() {
        let good = source("http://a/debian", "trixie", &["main"], None);
        assert!(is_main_archive(&good));
        for (uri, suite, component) in [
            ("http://a/debian", "trixie-updates", "main"),
            ("http://a/debian-security", "trixie", "main"),
            ("http://a/debian", "trixie", "contrib"),
            ("cdrom:[x]/debian", "trixie", "main"),
            ("https://deb.example.org/node", "trixie", "main"),
        ] {
            assert!(!is_main_archive(&source(uri, suite, &[component], None)), "{uri} {suite} {component}");
        }
    }

    #[test]
    fn a_source_is_written_as_it_was_read() {
        let line = "deb [signed-by=/k.gpg] http://a/debian trixie main contrib";
        assert_eq!(one_line(line)[0].line(), line);
    }

    #[test]
    fn the_codename_is_read_with_and_without_quotes() {
        assert_eq!(os_release("ID=debian\nVERSION_CODENAME=trixie\n", "VERSION_CODENAME").unwrap(), "trixie");
        assert_eq!(os_release("VERSION_CODENAME=\"noble\"\n", "VERSION_CODENAME").unwrap(), "noble");
    }
}

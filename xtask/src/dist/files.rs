//! What is installed where: the same files in the tarball and in the package `zchroot`.

use std::fmt;
use std::fs;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};

use crate::completions;

pub const SETUID_ROOT: u32 = 0o4755;
pub const PLAIN: u32 = 0o644;
/// Where the documents lie, below `/`.
pub const DOC: &str = "usr/share/doc/zchroot";
/// The page of the program in the place of schroot: that of schroot itself may lie there.
const FACE_PAGE: &str = "schroot.1";
/// sbuild passes `--isolate-network` to a schroot with `unschroot` in its path.
const UNSCHROOT: &str = "usr/libexec/zchroot/unschroot/schroot";

/// One thing that is installed. Its path has no leading `/`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    pub path: String,
    pub kind: Kind,
}

/// What it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    File { mode: u32, content: Vec<u8> },
    Link { to: String },
    Dir,
}

impl Entry {
    pub fn file(path: impl Into<String>, mode: u32, content: impl Into<Vec<u8>>) -> Self {
        Self { path: path.into(), kind: Kind::File { mode, content: content.into() } }
    }

    pub fn plain(path: impl Into<String>, content: impl Into<Vec<u8>>) -> Self {
        Self::file(path, PLAIN, content)
    }

    pub fn link(path: impl Into<String>, to: impl Into<String>) -> Self {
        Self { path: path.into(), kind: Kind::Link { to: to.into() } }
    }

    pub fn dir(path: impl Into<String>) -> Self {
        Self { path: path.into(), kind: Kind::Dir }
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::File { mode, content } => write!(f, "{:>9}  {mode:04o}  {}", content.len(), self.path),
            Kind::Link { to } => write!(f, "{:>9}  link  {} -> {to}", 0, self.path),
            Kind::Dir => write!(f, "{:>9}  dir   {}", 0, self.path),
        }
    }
}

/// What every installation has, by path.
///
/// # Errors
/// A file of the work tree cannot be read.
pub fn installed(root: &Path, binary: Vec<u8>, notices: &str) -> Result<Vec<Entry>> {
    let mut all = vec![
        Entry::file("usr/bin/zchroot", SETUID_ROOT, binary),
        Entry::link(UNSCHROOT, "../../../bin/zchroot"),
        Entry::plain(format!("{DOC}/README.md"), read(&root.join("README.md"))?),
        Entry::plain(format!("{DOC}/third-party.gz"), gzip(notices.as_bytes())?),
    ];
    for (name, content) in files(&root.join("man"))? {
        if name != FACE_PAGE {
            all.push(page(&name, &content)?);
        }
    }
    for (path, text) in completions::all() {
        all.push(Entry::plain(path, text));
    }
    for (from, to) in [
        ("docs", format!("{DOC}/docs")),
        ("etc/profiles", format!("{DOC}/examples/profiles")),
        ("etc/templates.d", format!("{DOC}/examples/templates.d")),
        ("etc/systemd", "usr/lib/systemd/system".to_owned()),
        ("etc/tmpfiles.d", "usr/lib/tmpfiles.d".to_owned()),
    ] {
        for (name, content) in files(&root.join(from))? {
            all.push(Entry::plain(format!("{to}/{name}"), content));
        }
    }
    all.push(Entry::plain(format!("{DOC}/examples/zchroot.toml"), read(&root.join("etc/zchroot.toml"))?));
    all.sort();
    Ok(all)
}

/// What makes the program schroot.
///
/// # Errors
/// A file of the work tree cannot be read.
pub fn face(root: &Path) -> Result<Vec<Entry>> {
    Ok(vec![
        Entry::dir("etc/schroot/chroot.d"),
        Entry::link("usr/bin/schroot", "zchroot"),
        page(FACE_PAGE, &read(&root.join("man").join(FACE_PAGE))?)?,
    ])
}

fn page(name: &str, content: &[u8]) -> Result<Entry> {
    let section = name.rsplit('.').next().unwrap_or_default();
    Ok(Entry::plain(format!("usr/share/man/man{section}/{name}.gz"), gzip(content)?))
}

/// The files right in a folder, by name.
fn files(folder: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))? {
        let path = entry?.path();
        if path.is_file() {
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
                bail!("{} has no name", path.display());
            };
            found.push((name.to_owned(), read(&path)?));
        }
    }
    ensure!(!found.is_empty(), "{} has no files", folder.display());
    found.sort();
    Ok(found)
}

/// As `gzip -n9`: no name and no time in it.
pub fn gzip(content: &[u8]) -> Result<Vec<u8>> {
    let mut gzip = flate2::GzBuilder::new().mtime(0).write(Vec::new(), flate2::Compression::best());
    gzip.write_all(content)?;
    Ok(gzip.finish()?)
}

pub fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn root() -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
    }

    #[test]
    fn gzip_keeps_the_content_and_nothing_else() {
        let packed = gzip(b"page").unwrap();
        assert_eq!(packed, gzip(b"page").unwrap());
        let mut text = String::new();
        flate2::read::GzDecoder::new(packed.as_slice()).read_to_string(&mut text).unwrap();
        assert_eq!(text, "page");
    }

    #[test]
    fn an_empty_folder_is_an_error() {
        assert!(files(&root().join("no-such-folder")).is_err());
    }

    #[test]
    fn the_program_alone_is_setuid() {
        let all = [installed(&root(), b"elf".to_vec(), "").unwrap(), face(&root()).unwrap()].concat();
        let odd: Vec<&str> = all
            .iter()
            .filter(|entry| matches!(&entry.kind, Kind::File { mode, .. } if *mode != PLAIN))
            .map(|entry| entry.path.as_str())
            .collect();
        assert_eq!(odd, ["usr/bin/zchroot"]);
    }

    #[test]
    fn what_would_lie_in_schroot_s_place_is_not_in_every_installation() {
        let all = installed(&root(), Vec::new(), "").unwrap();
        assert!(all.iter().any(|entry| entry.path == "usr/share/man/man8/zchroot.8.gz"));
        assert!(!all.iter().any(|entry| entry.path.contains("schroot.1") || entry.path == "usr/bin/schroot"));
        let face: Vec<String> = face(&root()).unwrap().into_iter().map(|entry| entry.path).collect();
        assert_eq!(face, ["etc/schroot/chroot.d", "usr/bin/schroot", "usr/share/man/man1/schroot.1.gz"]);
    }

    #[test]
    fn each_unit_and_page_is_installed_once() {
        let all = installed(&root(), Vec::new(), "").unwrap();
        let paths: Vec<&str> = all.iter().map(|entry| entry.path.as_str()).collect();
        assert!(paths.windows(2).all(|pair| pair[0] < pair[1]), "{paths:#?}");
        for path in ["usr/lib/systemd/system/zchroot-recover.service", "usr/lib/tmpfiles.d/zchroot.conf"] {
            assert!(paths.contains(&path), "{path}");
        }
    }
}

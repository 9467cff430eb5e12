//! Whose work is linked into the program, and under what terms: every licence asks that its text goes with a copy.
//!
//! What is linked is asked of `cargo metadata`; the texts are those that lie in the crates themselves. Texts that several
//! crates share are given once.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::files::read;
use crate::debian::libzfs;
use crate::program;

/// How files with licences are called, in capital letters.
const NAMES: [&str; 6] = ["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE", "UNLICENSE"];

/// The text.
///
/// # Errors
/// cargo does not say what is linked, or a file cannot be read.
pub fn text(root: &Path, no_zfs: bool) -> Result<String> {
    let mut cargo = program::command("cargo");
    cargo.args(["metadata", "--locked", "--format-version", "1", "--filter-platform", &platform()?]);
    if no_zfs {
        cargo.arg("--no-default-features");
    }
    let metadata = program::output(cargo.current_dir(root))?;
    let metadata: Value = serde_json::from_str(&metadata).context("read cargo's metadata")?;
    let mut texts: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut lines = String::new();
    for krate in linked(&metadata).context("cargo's metadata does not say what zchroot depends on")? {
        lines += &format!("{}: {}\n", krate.name, krate.licence);
        for text in licences(krate.manifest.parent().context("a crate is nowhere")?)? {
            texts.entry(text).or_default().insert(krate.name.clone());
        }
    }
    if !no_zfs {
        for (package, text) in libzfs::copyrights()? {
            lines += &format!("{package} (of Debian): see below\n");
            texts.entry(text).or_default().insert(package);
        }
    }
    let mut all = format!("What is linked into the program zchroot, and its licences.\n\n{lines}");
    for (text, names) in texts {
        let names: Vec<String> = names.into_iter().collect();
        all += &format!("\n{}\n{}\n\n{}\n", "=".repeat(79), names.join(", "), text.trim_end());
    }
    Ok(all)
}

fn platform() -> Result<String> {
    let rustc = program::output(program::command("rustc").arg("-vV"))?;
    let host = rustc.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc -vV names no host")
}

/// A crate.
#[derive(Debug, PartialEq, Eq)]
struct Crate<'a> {
    /// Its name and version.
    name: String,
    licence: &'a str,
    manifest: &'a Path,
}

/// The crates that `zchroot` depends on for what it does, not to be built or tested, by name.
fn linked(metadata: &Value) -> Option<Vec<Crate<'_>>> {
    let packages = metadata["packages"].as_array()?;
    let by_id = |id: &str| packages.iter().find(|package| package["id"] == id);
    let root = packages.iter().find(|package| package["name"] == "zchroot")?["id"].as_str()?;
    let nodes = metadata["resolve"]["nodes"].as_array()?;
    let (mut seen, mut left) = (BTreeSet::from([root]), vec![root]);
    while let Some(id) = left.pop() {
        let node = nodes.iter().find(|node| node["id"] == id)?;
        for dependency in node["deps"].as_array()? {
            let normal = dependency["dep_kinds"].as_array()?.iter().any(|kind| kind["kind"].is_null());
            let id = dependency["pkg"].as_str()?;
            let macros =
                by_id(id)?["targets"].as_array()?.iter().any(|target| target["kind"][0] == "proc-macro");
            if normal && !macros && seen.insert(id) {
                left.push(id);
            }
        }
    }
    seen.remove(root);
    let mut crates = seen.into_iter().map(|id| Crate::of(by_id(id)?)).collect::<Option<Vec<_>>>()?;
    crates.sort_by(|one, other| one.name.cmp(&other.name));
    Some(crates)
}

impl<'a> Crate<'a> {
    fn of(package: &'a Value) -> Option<Self> {
        let name = format!("{} {}", package["name"].as_str()?, package["version"].as_str()?);
        let licence = package["license"].as_str().unwrap_or("see its text");
        Some(Self { name, licence, manifest: Path::new(package["manifest_path"].as_str()?) })
    }
}

/// The texts that lie in a crate, by name.
fn licences(folder: &Path) -> Result<Vec<String>> {
    let mut paths: Vec<_> = fs::read_dir(folder)
        .with_context(|| format!("read {}", folder.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.is_file() && is_licence(&path.file_name().unwrap_or_default().to_string_lossy()))
        .collect();
    paths.sort();
    let text = |path: &std::path::PathBuf| Ok(String::from_utf8_lossy(&read(path)?).replace('\r', ""));
    paths.iter().map(text).collect()
}

fn is_licence(name: &str) -> bool {
    let name = name.to_uppercase();
    NAMES.iter().any(|known| name.starts_with(known)) && !name.ends_with(".RS")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_builds_or_tests_is_not_linked() {
        let package = |name: &str, kind: &str| {
            serde_json::json!({"id": name, "name": name, "version": "1.0.0", "license": "MIT",
                "manifest_path": format!("/c/{name}/Cargo.toml"), "targets": [{"kind": [kind]}]})
        };
        let on =
            |name: &str, kind: Option<&str>| serde_json::json!({"pkg": name, "dep_kinds": [{"kind": kind}]});
        let metadata = serde_json::json!({
            "packages": [package("zchroot", "lib"), package("tar", "lib"), package("libc", "lib"),
                package("cc", "lib"), package("insta", "lib"), package("derive", "proc-macro")],
            "resolve": {"nodes": [
                {"id": "zchroot", "deps": [on("tar", None), on("insta", Some("dev")), on("derive", None)]},
                {"id": "tar", "deps": [on("libc", None), on("cc", Some("build"))]},
                {"id": "libc", "deps": []},
            ]},
        });
        let linked = linked(&metadata).unwrap();
        let names: Vec<&str> = linked.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["libc 1.0.0", "tar 1.0.0"]);
        assert_eq!((linked[0].licence, linked[0].manifest), ("MIT", Path::new("/c/libc/Cargo.toml")));
    }

    #[test]
    fn licences_are_known_by_their_names() {
        for name in ["LICENSE", "license-mit", "COPYING.md", "UNLICENSE", "NOTICE.txt"] {
            assert!(is_licence(name), "{name}");
        }
        assert!(!is_licence("license.rs") && !is_licence("Cargo.toml"));
    }

    #[test]
    fn what_cargo_does_not_say_is_not_guessed() {
        assert_eq!(linked(&serde_json::json!({"packages": []})), None);
    }
}

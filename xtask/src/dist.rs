//! `cargo xtask dist`: the tarball of a release.
//!
//! ```text
//! zchroot-VERSION/INSTALL, README.md, CHANGELOG.md, LICENSE-*
//! zchroot-VERSION/root/usr/...      what is installed, as it lies below /; bin/zchroot is setuid root
//! ```
//!
//! Only files are in it, so that unpacking over / leaves the directories there as they are. Owner is root,
//! the time is that of the last commit, the order is by name: the same commit gives the same tarball.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use sha2::{Digest as _, Sha256};

use crate::completions;
use crate::debian::libzfs;

const SETUID_ROOT: u32 = 0o4755;
const PLAIN: u32 = 0o644;
const DOC: &str = "root/usr/share/doc/zchroot";

/// Build the tarball of a release
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Leave the store on ZFS out: nothing links libzfs_core
    #[arg(long)]
    no_zfs: bool,
}

/// One file of the tarball.
struct Entry {
    path: String,
    mode: u32,
    content: Vec<u8>,
}

/// Builds the program and packs `target/dist/zchroot-VERSION-ARCH-linux.tar.zst`.
///
/// # Errors
/// The program cannot be built, or a file cannot be read or written.
pub fn run(args: &Args) -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize()?;
    let version = version(&root)?;
    let target = target_dir(&root);
    let binary = build(&root, &target, args.no_zfs)?;
    let entries = entries(&root, &binary, &version)?;
    let dist = target.join("dist");
    fs::create_dir_all(&dist).with_context(|| format!("make {}", dist.display()))?;
    let name = file_name(&version, args.no_zfs);
    let path = dist.join(&name);
    let packed = pack(&entries, &format!("zchroot-{version}"), commit_time(&root)?)?;
    fs::write(&path, &packed).with_context(|| format!("write {}", path.display()))?;
    let sum = hex(&Sha256::digest(&packed));
    fs::write(dist.join(format!("{name}.sha256")), format!("{sum}  {name}\n"))?;
    for entry in &entries {
        println!("{:>9}  {:04o}  {}", entry.content.len(), entry.mode, entry.path);
    }
    println!("{}\n{} bytes, sha256 {sum}", path.display(), packed.len());
    Ok(())
}

fn file_name(version: &str, no_zfs: bool) -> String {
    let variant = if no_zfs { "-nozfs" } else { "" };
    format!("zchroot-{version}-{}-linux{variant}.tar.zst", std::env::consts::ARCH)
}

fn version(root: &Path) -> Result<String> {
    let manifest: toml::Table = read_text(&root.join("Cargo.toml"))?.parse()?;
    let version = manifest.get("package").and_then(|package| package.get("version"));
    Ok(version.and_then(|version| version.as_str()).context("Cargo.toml says no version")?.to_owned())
}

fn target_dir(root: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from)
}

/// The release binary, stripped by the linker, with libzfs_core in it.
fn build(root: &Path, target: &Path, no_zfs: bool) -> Result<PathBuf> {
    let strip = "profile.release.strip = \"symbols\"";
    let words = ["--release", "--locked", "--package", "zchroot", "--bin", "zchroot", "--config", strip];
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    if no_zfs {
        cargo.arg("build").args(words).arg("--no-default-features");
    } else {
        cargo.args(libzfs::program_of(&words)).envs(libzfs::provide_static()?);
    }
    let status = cargo.env("CARGO_TARGET_DIR", target).current_dir(root).status().context("run cargo")?;
    ensure!(status.success(), "cargo ended with {status}");
    Ok(target.join("release/zchroot"))
}

fn commit_time(root: &Path) -> Result<u64> {
    let git = Command::new("git").args(["log", "-1", "--format=%ct"]).current_dir(root).output();
    let git = git.context("run git log")?;
    ensure!(git.status.success(), "git log ended with {}", git.status);
    Ok(String::from_utf8(git.stdout)?.trim().parse()?)
}

fn entries(root: &Path, binary: &Path, version: &str) -> Result<Vec<Entry>> {
    let mut all = vec![
        Entry { path: "root/usr/bin/zchroot".into(), mode: SETUID_ROOT, content: read(binary)? },
        Entry::plain("INSTALL", install_text(version).into_bytes()),
    ];
    for name in ["README.md", "CHANGELOG.md", "LICENSE-MIT", "LICENSE-APACHE"] {
        all.push(Entry::plain(name, read(&root.join(name))?));
        all.push(Entry::plain(format!("{DOC}/{name}"), read(&root.join(name))?));
    }
    for (name, content) in files(&root.join("man"))? {
        let section = name.rsplit('.').next().unwrap_or_default();
        all.push(Entry::plain(format!("root/usr/share/man/man{section}/{name}.gz"), gzip(&content)?));
    }
    for (path, text) in completions::all() {
        all.push(Entry::plain(format!("root/{path}"), text));
    }
    for (from, to) in [
        ("docs", format!("{DOC}/docs")),
        ("etc/profiles", format!("{DOC}/examples/profiles")),
        ("etc/templates.d", format!("{DOC}/examples/templates.d")),
        ("etc/systemd", "root/usr/lib/systemd/system".to_owned()),
        ("etc/tmpfiles.d", "root/usr/lib/tmpfiles.d".to_owned()),
    ] {
        for (name, content) in files(&root.join(from))? {
            all.push(Entry::plain(format!("{to}/{name}"), content));
        }
    }
    let config = read(&root.join("etc/zchroot.toml"))?;
    all.push(Entry::plain(format!("{DOC}/examples/zchroot.toml"), config));
    all.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(all)
}

impl Entry {
    fn plain(path: impl Into<String>, content: Vec<u8>) -> Self {
        Self { path: path.into(), mode: PLAIN, content }
    }
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

fn pack(entries: &[Entry], top: &str, mtime: u64) -> Result<Vec<u8>> {
    let mut tar = tar::Builder::new(zstd::Encoder::new(Vec::new(), 19)?);
    for entry in entries {
        let mut header = tar::Header::new_ustar();
        header.set_mode(entry.mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_username("root")?;
        header.set_groupname("root")?;
        header.set_mtime(mtime);
        header.set_size(entry.content.len() as u64);
        tar.append_data(&mut header, format!("{top}/{}", entry.path), entry.content.as_slice())?;
    }
    Ok(tar.into_inner()?.finish()?)
}

/// As `gzip -n`: no name and no time in it.
fn gzip(content: &[u8]) -> Result<Vec<u8>> {
    let mut gzip = flate2::GzBuilder::new().mtime(0).write(Vec::new(), flate2::Compression::best());
    gzip.write_all(content)?;
    Ok(gzip.finish()?)
}

fn install_text(version: &str) -> String {
    let tarball = file_name(version, false);
    format!(
        "zchroot {version}\n\n\
         Everything below root/ is installed as it lies; bin/zchroot is setuid root, as it has to be.\n\n\
         \x20   sudo tar -C / --strip-components=2 -xf {tarball} zchroot-{version}/root\n\
         \x20   sudo zchroot init                                   # or: init --pool POOL, with ZFS\n\
         \x20   sudo systemctl daemon-reload\n\
         \x20   sudo systemctl enable zchroot-recover.service       # at boot\n\
         \x20   sudo systemctl enable --now zchroot-gc.timer        # daily\n\n\
         It needs a Linux kernel of 5.14 or later; mmdebstrap for `create --from bootstrap:SUITE`; for the store\n\
         on ZFS the zfs module, 2.1 or later, and zpool(8) and zfs(8) for your own work. libzfs_core is in the program.\n\n\
         Examples of the configuration are in /usr/share/doc/zchroot/examples. To remove it, end all sessions\n\
         (`zchroot end --all`, as root), then remove what `tar -tf {tarball}` lists.\n"
    )
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("read {}", path.display()))
}

fn read_text(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("read {}", path.display()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn a_packed_file_is_root_s_with_its_mode_and_the_same_each_time() {
        let entries = [
            Entry { path: "root/usr/bin/zchroot".into(), mode: SETUID_ROOT, content: b"elf".to_vec() },
            Entry::plain("INSTALL", b"text".to_vec()),
        ];
        let packed = pack(&entries, "zchroot-1", 7).unwrap();
        assert_eq!(packed, pack(&entries, "zchroot-1", 7).unwrap());
        let mut archive = tar::Archive::new(zstd::Decoder::new(packed.as_slice()).unwrap());
        let mut seen = Vec::new();
        for member in archive.entries().unwrap() {
            let mut member = member.unwrap();
            let (mode, uid) = (member.header().mode().unwrap(), member.header().uid().unwrap());
            let path = member.path().unwrap().display().to_string();
            let mut text = String::new();
            member.read_to_string(&mut text).unwrap();
            seen.push((path, mode, uid, text));
        }
        let expected =
            [("zchroot-1/root/usr/bin/zchroot", SETUID_ROOT, "elf"), ("zchroot-1/INSTALL", PLAIN, "text")]
                .map(|(path, mode, text)| (path.to_owned(), mode, 0, text.to_owned()));
        assert_eq!(seen, expected);
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
    fn the_version_is_the_package_s() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        assert!(version(&root).unwrap().split('.').count() == 3);
    }

    #[test]
    fn an_empty_folder_is_an_error() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        assert!(files(&root.join("no-such-folder")).is_err());
    }
}

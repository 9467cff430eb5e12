//! libzfs_core for cargo, on a host that has no libzfslinux-dev.
//!
//! The packages come from the host's own release (component contrib), so that the library runs with the host's libc,
//! and are unpacked below `target/libzfs`; nothing is installed and no apt source is edited.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::archive::{self, Archive};
use super::sources;
use crate::program::{self, step};

const DEV: &str = "libzfslinux-dev";
/// What a program with libzfs_core in it is linked with. Nothing of libzfs is used; a crate asks for it all the same.
const ARCHIVES: [&str; 4] = ["libzfs_core", "libnvpair", "libzfs", "libtirpc"];
/// The packages that bring them.
const PACKAGES: [&str; 2] = [DEV, "libtirpc-dev"];

/// The environment that a cargo invocation needs to find libzfs_core; empty when the host has it.
///
/// # Errors
/// When the host's release or mirror has no such package.
pub fn provide() -> Result<Vec<(&'static str, OsString)>> {
    if Command::new("pkg-config")
        .args(["--exists", "libzfs_core"])
        .status()
        .is_ok_and(|status| status.success())
    {
        return Ok(Vec::new());
    }
    super::ensure_packages(&["pkg-config"])?;
    let dir = target_dir().join("libzfs");
    let root = dir.join("root");
    if !root.is_dir() {
        fs::create_dir_all(&dir)?;
        let _lock = program::lock(&dir.join("lock"), "libzfs")?;
        if !root.is_dir() {
            unpack(&dir, &root).context("provide libzfs_core from Debian's packages")?;
        }
    }
    environment(&root)
}

/// Where cargo builds, as far as we can tell without asking it.
pub fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), PathBuf::from)
}

/// The root of the work tree.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(|| PathBuf::from("."), Path::to_owned)
}

/// As [`provide`], for a program that has the library in itself: a setuid program that starts with libc alone starts
/// sooner and trusts less. To be used with [`program_of`].
///
/// # Errors
/// When the host's release or mirror has no such packages.
pub fn provide_static() -> Result<Vec<(&'static str, OsString)>> {
    Ok(vec![("LIBZFS_CORE_LIBDIR", archives()?.into())])
}

/// What the packages that bring the archives say of whose they are: name and version of the package, and the text.
///
/// # Errors
/// When the host's release or mirror has no such packages.
pub fn copyrights() -> Result<Vec<(String, String)>> {
    let archives = archives()?;
    let read = |package: &str| {
        let text = fs::read_to_string(archives.join(format!("{package}.copyright")));
        let version = fs::read_to_string(archives.join(format!("{package}.version")));
        let name = format!("{package} {}", version?.trim());
        Ok((name, text?))
    };
    PACKAGES.iter().map(|package| read(package)).collect()
}

/// The folder with the archives.
fn archives() -> Result<PathBuf> {
    let dir = target_dir().join("libzfs");
    let archives = dir.join("archives");
    if !archives.is_dir() {
        fs::create_dir_all(&dir)?;
        let _lock = program::lock(&dir.join("lock"), "libzfs")?;
        if !archives.is_dir() {
            collect_archives(&dir, &archives).context("provide libzfs_core.a from Debian's packages")?;
        }
    }
    Ok(archives)
}

/// The words after `cargo` that build one target with the library in it.
pub fn program_of<'a>(build: &[&'a str]) -> Vec<&'a str> {
    // libnvpair writes XDR, which glibc has given up; no crate knows that.
    [program_without(build), vec!["-C", "link-arg=-ltirpc"]].concat()
}

/// The words after `cargo` that build one target as it is released, but for the library.
pub fn program_without<'a>(build: &[&'a str]) -> Vec<&'a str> {
    // The path is relative to the workspace, in which cargo runs the compiler. Relocations that are packed are fewer pages to
    // read at each start; glibc does that since 2.36.
    let link = ["-L", "native=xtask/link", "-C", "link-arg=-Wl,-z,pack-relative-relocs"];
    [&["rustc"], build, &["--"], &link].concat()
}

/// Takes the archives alone: beside a shared library the linker would take that.
fn collect_archives(dir: &Path, archives: &Path) -> Result<()> {
    step("unpacking libzfs_core's archives from Debian's packages below the target directory");
    let (source, suite) = open(dir)?;
    let (tree, new) = (dir.join("static.tree"), dir.join("static.new"));
    for left in [&tree, &new] {
        if left.exists() {
            fs::remove_dir_all(left)?;
        }
    }
    fs::create_dir_all(&new)?;
    for package in PACKAGES {
        let version = source.newest(package, &suite)?;
        archive::unpack(&source.download(package, &version, &dir.join("debs"))?, &tree)?;
        let copyright = tree.join("usr/share/doc").join(package).join("copyright");
        fs::copy(&copyright, new.join(format!("{package}.copyright")))
            .with_context(|| format!("copy {}", copyright.display()))?;
        fs::write(new.join(format!("{package}.version")), version)?;
    }
    for library in pkg_config_dirs(&tree)?.iter().filter_map(|dir| dir.parent()) {
        for name in ARCHIVES.map(|name| format!("{name}.a")) {
            let file = library.join(&name);
            if file.is_file() {
                fs::copy(&file, new.join(&name)).with_context(|| format!("copy {}", file.display()))?;
            }
        }
    }
    if let Some(name) = ARCHIVES.iter().find(|name| !new.join(format!("{name}.a")).is_file()) {
        bail!("no package brought {name}.a");
    }
    fs::remove_dir_all(&tree)?;
    Ok(fs::rename(&new, archives)?)
}

/// Opens the host's own release, the components with libzfs among them.
fn open(dir: &Path) -> Result<(Archive, String)> {
    let mut source = sources::host_release().context("no apt source of this host serves its own release")?;
    for component in ["main", "contrib"] {
        if !source.components.iter().any(|have| have == component) && !source.uri.contains("ubuntu") {
            source.components.push(component.to_owned());
        }
    }
    let suite = source.suite.clone();
    Ok((Archive::open(&dir.join("apt"), &[source])?, suite))
}

fn unpack(dir: &Path, root: &Path) -> Result<()> {
    step("libzfs_core is not on this host: unpacking Debian's packages below the target directory");
    let (archive, suite) = open(dir)?;
    let new = dir.join("root.new");
    if new.exists() {
        fs::remove_dir_all(&new)?;
    }
    // The -dev package depends on the libraries by the names that they have in this release.
    let libraries =
        archive.depends(DEV)?.into_iter().filter(|name| name.starts_with("lib") && name.ends_with("linux"));
    for package in std::iter::once(DEV.to_owned()).chain(libraries) {
        let version = archive.newest(&package, &suite)?;
        archive::unpack(&archive.download(&package, &version, &dir.join("debs"))?, &new)?;
    }
    relocate(&new, &new, root)?;
    for file in
        pkg_config_dirs(&new)?.iter().flat_map(|dir| fs::read_dir(dir).into_iter().flatten().flatten())
    {
        let text = fs::read_to_string(file.path())?;
        fs::write(file.path(), relocated_pc(&text, root, &new))?;
    }
    Ok(fs::rename(&new, root)?)
}

/// Points absolute symlinks into the tree: the -dev links name `/lib/...`, which the host does not have.
fn relocate(dir: &Path, tree: &Path, root: &Path) -> Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let kind = path.symlink_metadata()?.file_type();
        if kind.is_dir() {
            relocate(&path, tree, root)?;
        } else if kind.is_symlink()
            && let Ok(inside) = fs::read_link(&path)?.strip_prefix("/")
        {
            fs::remove_file(&path)?;
            if tree.join(inside).symlink_metadata().is_ok() {
                std::os::unix::fs::symlink(root.join(inside), &path)?;
            }
        }
    }
    Ok(())
}

/// A .pc file with its directories moved into the root. `libdir` becomes the directory of the -dev links, which on some
/// releases is not the one that the file names.
fn relocated_pc(text: &str, root: &Path, tree: &Path) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let line = match line.split_once('=') {
            Some(("libdir", dir)) if dir.starts_with("/lib/") && tree.join(format!("usr{dir}")).is_dir() => {
                format!("libdir={}/usr{dir}", root.display())
            }
            Some((key, dir)) if dir.starts_with('/') => format!("{key}={}{dir}", root.display()),
            _ => line.to_owned(),
        };
        out.push_str(&line);
        out.push('\n');
    }
    out
}

fn environment(root: &Path) -> Result<Vec<(&'static str, OsString)>> {
    let libraries: Vec<PathBuf> = pkg_config_dirs(root)?
        .iter()
        .filter_map(|dir| dir.parent())
        .flat_map(|dir| {
            let multiarch = dir.file_name().unwrap_or_default();
            [dir.to_owned(), root.join("lib").join(multiarch)]
        })
        .filter(|dir| dir.is_dir())
        .collect();
    Ok(vec![
        ("PKG_CONFIG_PATH", joined("PKG_CONFIG_PATH", pkg_config_dirs(root)?)?),
        ("LD_LIBRARY_PATH", joined("LD_LIBRARY_PATH", libraries)?),
    ])
}

/// Our directories before those of the environment.
fn joined(variable: &str, ours: Vec<PathBuf>) -> Result<OsString> {
    let theirs = std::env::var_os(variable).unwrap_or_default();
    let theirs: Vec<PathBuf> =
        std::env::split_paths(&theirs).filter(|dir| !dir.as_os_str().is_empty()).collect();
    Ok(std::env::join_paths(ours.into_iter().chain(theirs))?)
}

/// The directories with .pc files, `usr/lib/TRIPLET/pkgconfig`.
fn pkg_config_dirs(root: &Path) -> Result<Vec<PathBuf>> {
    let lib = root.join("usr/lib");
    let mut dirs = Vec::new();
    for entry in fs::read_dir(&lib).with_context(|| format!("read {}", lib.display()))? {
        let dir = entry?.path().join("pkgconfig");
        if dir.is_dir() {
            dirs.push(dir);
        }
    }
    Ok(dirs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pc_file_is_moved_into_the_root() {
        let text = "prefix=/usr\nexec_prefix=${prefix}\nlibdir=/usr/lib/x86_64-linux-gnu\nLibs: -L${libdir} -lzfs_core\n";
        let moved = relocated_pc(text, Path::new("/t/root"), Path::new("/nowhere"));
        assert_eq!(
            moved,
            "prefix=/t/root/usr\nexec_prefix=${prefix}\nlibdir=/t/root/usr/lib/x86_64-linux-gnu\nLibs: -L${libdir} -lzfs_core\n"
        );
    }
}

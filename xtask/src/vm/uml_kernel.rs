//! The kernel of the uml machine: Debian's newest kernel source that the zfs of our release supports, built with
//! ARCH=um, and zfs as modules for it. No source is patched.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::cache::{self, Layer};
use super::image::RELEASE;
use crate::debian;
use crate::debian::archive::{self, Archive};
use crate::debian::sources::{self, Source};
use crate::program::{self, step};

/// What is added to the kernel's own `defconfig`.
const CONFIG: &str = include_str!("../../vm/uml.config");
/// Part of the recipe: raise it when what this file does changes what comes out.
const REVISION: &str = "1";
const TOOLS: &[&str] =
    &["build-essential", "flex", "bison", "bc", "m4", "kmod", "cpio", "libelf-dev", "xz-utils", "util-linux"];

/// The kernel `linux` and its `modules.tar`.
pub fn layer() -> Layer {
    Layer::new("uml-kernel", &[REVISION, RELEASE, CONFIG], build)
}

fn build(work: &Path) -> Result<()> {
    if debian::architecture()? != "amd64" {
        bail!("the uml machine can be built on amd64 only");
    }
    debian::ensure_packages(TOOLS)?;
    let sources = fetch(work)?;
    let tree = Tree {
        log: work.join("build.log"),
        linux: work.join("linux"),
        obj: work.join("obj"),
        zfs: sources.zfs,
    };
    step(format!("unpacking {}", sources.linux.file_name().unwrap_or_default().to_string_lossy()));
    fs::create_dir_all(&tree.linux)?;
    fs::create_dir_all(&tree.obj)?;
    tree.run(
        Command::new("tar")
            .args(["--strip-components=1", "-xJf"])
            .arg(&sources.linux)
            .arg("-C")
            .arg(&tree.linux),
    )?;
    tree.configure()?;
    step("building the kernel (about five minutes on two CPUs)");
    tree.run(tree.make().args(["linux", "modules"]))?;
    step("building zfs for it (about two minutes)");
    tree.build_zfs()?;
    tree.install(work)?;
    for rest in ["linux", "obj", "deb"] {
        fs::remove_dir_all(work.join(rest))?;
    }
    fs::rename(work.join("linux.bin"), work.join("linux"))?;
    Ok(())
}

struct Sources {
    /// The kernel's source, a tar.xz.
    linux: PathBuf,
    /// The unpacked source of zfs.
    zfs: PathBuf,
}

/// Downloads and unpacks the packages with the two sources.
fn fetch(work: &Path) -> Result<Sources> {
    let suites = [RELEASE.to_owned(), format!("{RELEASE}-backports")];
    let keyring = debian::keyring(RELEASE)?.display().to_string();
    let sources = suites.clone().map(|suite| Source {
        uri: sources::debian_mirror(),
        suite,
        components: vec!["main".to_owned(), "contrib".to_owned()],
        signed_by: Some(keyring.clone()),
    });
    let archive = Archive::open(&cache::base()?.join("apt"), &sources)?;
    let unpacked = work.join("deb");
    let get = |package: &str, suite: &str| -> Result<()> {
        let deb = archive.download(package, &archive.newest(package, suite)?, &cache::downloads()?)?;
        archive::unpack(&deb, &unpacked)
    };
    get("zfs-dkms", RELEASE)?;
    let zfs = only_entry(&unpacked.join("usr/src"), "zfs-")?;
    let meta = fs::read_to_string(zfs.join("META"))?;
    let maximum = meta_field(&meta, "Linux-Maximum").context("zfs's META has no Linux-Maximum")?;
    let (package, suite) = newest_kernel(&archive, &suites, maximum)?;
    step(format!(
        "zfs {} supports Linux up to {maximum}: {package}",
        meta_field(&meta, "Version").unwrap_or("?")
    ));
    get(&package, &suite)?;
    Ok(Sources { linux: only_entry(&unpacked.join("usr/src"), "linux-source-")?, zfs })
}

/// The linux-source package with the highest version that zfs supports, and its suite.
fn newest_kernel(archive: &Archive, suites: &[String], maximum: &str) -> Result<(String, String)> {
    let mut best: Option<(String, String)> = None;
    for package in archive.names("^linux-source-[0-9.]+$")? {
        let version = package.trim_start_matches("linux-source-");
        let better = match &best {
            None => true,
            Some((other, _)) => archive::at_most(other.trim_start_matches("linux-source-"), version)?,
        };
        if better && archive::at_most(version, maximum)? {
            // Backports roll: the lists may name what the archive no longer has in any suite that we read.
            if let Some(suite) = suites.iter().find(|suite| archive.newest(&package, suite).is_ok()) {
                best = Some((package, suite.clone()));
            }
        }
    }
    best.with_context(|| format!("no linux-source package is at most {maximum}"))
}

fn meta_field<'a>(meta: &'a str, key: &str) -> Option<&'a str> {
    meta.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).map(str::trim)
}

/// The one entry of a directory that begins so.
fn only_entry(dir: &Path, prefix: &str) -> Result<PathBuf> {
    let names = fs::read_dir(dir).with_context(|| format!("read {}", dir.display()))?;
    names
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix)))
        .with_context(|| format!("{} has no {prefix}*", dir.display()))
}

/// Where the kernel and zfs are built.
struct Tree {
    log: PathBuf,
    linux: PathBuf,
    obj: PathBuf,
    zfs: PathBuf,
}

impl Tree {
    fn run(&self, command: &mut Command) -> Result<()> {
        program::logged(command, &self.log)
    }

    /// `make` for the kernel.
    fn make(&self) -> Command {
        let mut command = plain("make");
        let jobs = std::thread::available_parallelism().map_or(2, usize::from);
        command.arg("-C").arg(&self.linux).arg(format!("O={}", self.obj.display()));
        command.arg("ARCH=um").arg(format!("-j{jobs}"));
        command
    }

    fn configure(&self) -> Result<()> {
        step("configuring the kernel");
        self.run(self.make().arg("defconfig"))?;
        let path = self.obj.join(".config");
        let config = fs::read_to_string(&path)?;
        fs::write(&path, config + CONFIG)?;
        self.run(self.make().arg("olddefconfig"))?;
        let lost = lost_options(&fs::read_to_string(&path)?, CONFIG);
        if !lost.is_empty() {
            bail!("this kernel does not take these options: {}", lost.join(", "));
        }
        Ok(())
    }

    fn build_zfs(&self) -> Result<()> {
        let mut configure = plain("./configure");
        configure.arg("--with-config=kernel").env("ARCH", "um").current_dir(&self.zfs);
        configure.arg(format!("--with-linux={}", self.linux.display()));
        configure.arg(format!("--with-linux-obj={}", self.obj.display()));
        self.run(&mut configure)?;
        let jobs = std::thread::available_parallelism().map_or(2, usize::from);
        self.run(plain("make").arg("ARCH=um").arg(format!("-j{jobs}")).current_dir(&self.zfs))
    }

    /// Puts `linux` (under a name that is free) and `modules.tar` into the layer.
    fn install(&self, work: &Path) -> Result<()> {
        let mut query = self.make();
        let release = program::output(query.args(["-s", "--no-print-directory", "kernelrelease"]))?;
        let release = release.lines().last().context("make kernelrelease says nothing")?.trim().to_owned();
        let staged = work.join("staged");
        self.run(self.make().arg("modules_install").arg(format!("INSTALL_MOD_PATH={}", staged.display())))?;
        let modules = staged.join("lib/modules");
        let extra = modules.join(&release).join("extra");
        fs::create_dir_all(&extra)?;
        for name in ["spl.ko", "zfs.ko"] {
            fs::copy(self.zfs.join("module").join(name), extra.join(name))?;
        }
        self.run(program::command("depmod").arg("-b").arg(&staged).arg(&release))?;
        self.run(
            Command::new("tar")
                .args(["--exclude=build", "--exclude=source", "-cf"])
                .arg(work.join("modules.tar"))
                .arg("-C")
                .arg(&modules)
                .arg(&release),
        )?;
        fs::copy(self.obj.join("linux"), work.join("linux.bin"))?;
        Ok(fs::remove_dir_all(staged)?)
    }
}

/// A command that the developer's build flags do not reach.
fn plain(name: &str) -> Command {
    let mut command = Command::new(name);
    for variable in
        ["CFLAGS", "CXXFLAGS", "CPPFLAGS", "LDFLAGS", "MAKEFLAGS", "MAKELEVEL", "CROSS_COMPILE", "O"]
    {
        command.env_remove(variable);
    }
    command.env("LC_ALL", "C.UTF-8");
    command
}

/// The lines of `wanted` that do not hold in a finished .config.
fn lost_options(config: &str, wanted: &str) -> Vec<String> {
    let holds = |line: &str| match line.strip_prefix("# ").and_then(|rest| rest.strip_suffix(" is not set")) {
        // An option that the kernel does not have at all is not set either.
        Some(name) => !config.lines().any(|have| have.starts_with(&format!("{name}="))),
        None => !line.starts_with("CONFIG_") || config.lines().any(|have| have == line),
    };
    wanted.lines().filter(|line| !holds(line)).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_that_the_kernel_dropped_is_named() {
        let config = "CONFIG_A=y\nCONFIG_B=m\n# CONFIG_C is not set\nCONFIG_D=y\n";
        let wanted = "# a comment\nCONFIG_A=y\nCONFIG_B=y\n# CONFIG_C is not set\n# CONFIG_D is not set\n\
                      # CONFIG_E is not set\nCONFIG_F=y\n";
        assert_eq!(lost_options(config, wanted), ["CONFIG_B=y", "# CONFIG_D is not set", "CONFIG_F=y"]);
    }

    #[test]
    fn a_field_of_meta_is_read() {
        let meta = "Name:          zfs\nVersion:       2.3.9\nLinux-Maximum: 7.2\n";
        assert_eq!(meta_field(meta, "Linux-Maximum"), Some("7.2"));
        assert_eq!(meta_field(meta, "Linux-Minimum"), None);
    }
}

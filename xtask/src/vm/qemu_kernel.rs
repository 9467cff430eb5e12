//! The kernel of the qemu machine: Debian's own cloud kernel, with zfs built by dkms, as an administrator would get it.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::cache::Layer;
use super::image::{self, RELEASE};
use crate::program::{self, step};

/// Part of the recipe: raise it when what this file does changes what comes out.
const REVISION: &str = "1";
const PACKAGES: &str = "linux-image-cloud-amd64,linux-headers-cloud-amd64,zfs-dkms,initramfs-tools,kmod,zstd";
/// Only what is needed to reach the root disk: an emulated CPU takes long to unpack an initrd with every driver.
const INITRD: &str = "echo MODULES=list >/etc/initramfs-tools/conf.d/zchroot; \
                      printf \"virtio_pci\\nvirtio_blk\\next4\\n\" >>/etc/initramfs-tools/modules; \
                      update-initramfs -u -k all; modinfo -k $(ls /lib/modules) zfs";

/// `vmlinuz`, `initrd.img` and the kernel's `modules.tar`.
pub fn layer() -> Layer {
    Layer::new("qemu-kernel", &[REVISION, RELEASE, PACKAGES, INITRD], build)
}

fn build(work: &Path) -> Result<()> {
    step("Debian's cloud kernel with zfs by dkms, in a mmdebstrap chroot (about five minutes on two CPUs)");
    let path =
        |name: &str| work.join(name).to_str().map(str::to_owned).context("the cache's path is no UTF-8");
    let hooks = [
        format!("--include={PACKAGES}"),
        format!("--customize-hook=chroot \"$1\" sh -ec '{INITRD}'"),
        format!("--customize-hook=tar-out /boot {}", path("boot.tar")?),
        format!("--customize-hook=tar-out /usr/lib/modules {}", path("all-modules.tar")?),
    ];
    // The chroot itself is of no use any more.
    let args: Vec<&str> = hooks.iter().map(String::as_str).chain(["--format=null"]).collect();
    image::mmdebstrap(work, &args, "unused")?;
    unpack_boot(work)?;
    strip_prefix(work)
}

/// Takes the kernel and the initrd out of `boot.tar`.
fn unpack_boot(work: &Path) -> Result<()> {
    let boot = work.join("boot");
    fs::create_dir(&boot)?;
    program::output(program::command("tar").arg("-xf").arg(work.join("boot.tar")).arg("-C").arg(&boot))?;
    for (prefix, name) in [("vmlinuz-", "vmlinuz"), ("initrd.img-", "initrd.img")] {
        let found = fs::read_dir(boot.join("boot"))
            .or_else(|_| fs::read_dir(&boot))?
            .flatten()
            .find(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
            .with_context(|| format!("the chroot has no /boot/{prefix}*"))?;
        fs::rename(found.path(), work.join(name))?;
    }
    fs::remove_dir_all(boot)?;
    Ok(fs::remove_file(work.join("boot.tar"))?)
}

/// Makes `modules.tar` (of `VERSION/`) from a tar that may have leading directories.
fn strip_prefix(work: &Path) -> Result<()> {
    let (tree, from) = (work.join("modules"), work.join("all-modules.tar"));
    fs::create_dir(&tree)?;
    program::output(program::command("tar").arg("-xf").arg(&from).arg("-C").arg(&tree))?;
    let inner = [tree.join("usr/lib/modules"), tree.join("modules"), tree.clone()];
    let top = inner.iter().find(|dir| dir.is_dir()).unwrap_or(&tree);
    let mut command = program::command("tar");
    command.args(["--exclude=build", "--exclude=source", "-cf"]).arg(work.join("modules.tar"));
    program::output(command.arg("-C").arg(top).arg("."))?;
    fs::remove_dir_all(tree)?;
    Ok(fs::remove_file(from)?)
}

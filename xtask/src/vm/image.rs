//! The root file system of the machines: Debian 13's user land (one for both), a kernel's modules and the guest's init.

use std::fs::{self, File};
use std::path::Path;

use anyhow::Result;

use super::cache::Layer;
use super::{Machine, qemu_kernel, uml_kernel};
use crate::debian::sources::{self, Source};
use crate::debian::{self, bootstrap};
use crate::program::{self, step};

/// Debian's release in the guest.
pub const RELEASE: &str = "trixie";
const INIT: &str = include_str!("../../vm/init.sh");
const SCRIPT: &str = include_str!("../../vm/image.sh");
const IMAGE_SIZE: &str = "3G";
const SCRATCH_SIZE: &str = "8G";
const PACKAGES: &str = "zfsutils-linux,mount,util-linux,passwd,login,kmod,iproute2,procps,psmisc,lsof,strace,less,file,\
                        e2fsprogs,xfsprogs,btrfs-progs,squashfs-tools,xz-utils,zstd,bzip2,acl,attr,python3-minimal,\
                        hyperfine,schroot,mmdebstrap,busybox-static,sbuild,autopkgtest,\
                        piuparts";
/// Runs in the chroot when all packages are there. alice and bob may use chroots as schroot's `sbuild` group does, carol and
/// dave may not, and mallory means no good.
const USERS: &str = "groupadd --system --force sbuild; \
                     for user in alice bob carol dave mallory; do useradd --create-home --shell /bin/bash $user; done; \
                     gpasswd --members alice,bob sbuild";

/// The finished machine: `root.img` and what its kernel's layer has.
pub fn layer(machine: Machine) -> Layer {
    let (kernel, userland) = (kernel(machine), userland());
    let hashes = [kernel.hash().to_owned(), userland.hash().to_owned()];
    Layer::new(machine.name(), &[INIT, SCRIPT, IMAGE_SIZE, &hashes[0], &hashes[1]], move |work| {
        let (kernel, userland) = (kernel.ensure()?, userland.ensure()?);
        for entry in fs::read_dir(&kernel)? {
            let file = entry?;
            if file.file_name() != "modules.tar" && file.file_name() != "build.log" {
                fs::hard_link(file.path(), work.join(file.file_name()))?;
            }
        }
        make_image(work, &kernel.join("modules.tar"), &userland.join("rootfs.tar"))
    })
}

fn kernel(machine: Machine) -> Layer {
    match machine {
        Machine::Uml => uml_kernel::layer(),
        Machine::Qemu => qemu_kernel::layer(),
    }
}

fn make_image(work: &Path, modules: &Path, rootfs: &Path) -> Result<()> {
    debian::ensure_packages(&["e2fsprogs"])?;
    step("making the image of the root file system");
    let (tree, init) = (work.join("tree"), work.join("init.sh"));
    fs::create_dir(&tree)?;
    fs::write(&init, INIT)?;
    let mut command = if debian::is_root() {
        program::command("sh")
    } else {
        debian::ensure_packages(&["fakeroot"])?;
        let mut command = program::command("fakeroot");
        command.arg("sh");
        command
    };
    command.args(["-c", SCRIPT]).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("size", IMAGE_SIZE);
    command.env("tree", &tree).env("rootfs", rootfs).env("modules", modules);
    command.env("init", &init).env("image", work.join("root.img"));
    program::logged(&mut command, &work.join("build.log"))?;
    fs::remove_file(init)?;
    Ok(fs::remove_dir_all(tree)?)
}

/// Debian's user land as a tar, without a kernel.
fn userland() -> Layer {
    Layer::new("userland", &[RELEASE, PACKAGES, USERS], |work| {
        step(format!("Debian {RELEASE} with zfsutils-linux by mmdebstrap"));
        let hook = format!("--customize-hook=chroot \"$1\" sh -ec '{USERS}'");
        mmdebstrap(work, &[&format!("--include={PACKAGES}"), &hook], "rootfs.tar")
    })
}

/// Runs mmdebstrap for our release; its result goes to a file in `work`.
pub fn mmdebstrap(work: &Path, args: &[&str], result: &str) -> Result<()> {
    let source = Source {
        uri: sources::debian_mirror(),
        suite: RELEASE.to_owned(),
        components: vec!["main".to_owned(), "contrib".to_owned()],
        signed_by: None,
    };
    let keyring = format!("--keyring={}", debian::keyring(RELEASE)?.display());
    let ours = ["--variant=apt", "--architectures=amd64", "--components=main,contrib", &keyring];
    bootstrap::run(work, &source, &[&ours[..], args].concat(), result)
}

/// Makes an empty scratch disk, sparse.
pub fn make_scratch(path: &Path) -> Result<()> {
    File::create(path)?;
    let mut command = program::command("mke2fs");
    command.args(["-q", "-t", "ext4", "-E", "lazy_itable_init=1,lazy_journal_init=1,nodiscard"]);
    program::output(command.arg(path).arg(SCRATCH_SIZE)).map(|_| ())
}

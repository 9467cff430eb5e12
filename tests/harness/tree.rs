//! A root file system of one program: busybox, which package busybox-static has as a static one.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

const PLACES: [&str; 2] = ["/bin/busybox", "/usr/bin/busybox"];
const FOLDERS: [&str; 12] =
    ["dev", "etc", "home", "proc", "root", "run", "srv", "sys", "tmp", "usr/bin", "usr/sbin", "var/tmp"];
const NAMES: [&str; 44] = [
    "awk", "basename", "cat", "chmod", "cmp", "cp", "cut", "date", "dd", "df", "dirname", "echo", "env",
    "false", "find", "grep", "head", "hostname", "id", "ip", "kill", "ln", "ls", "mkdir", "mknod", "mount",
    "mv", "nproc", "ps", "pwd", "readlink", "rm", "sed", "setsid", "sh", "sleep", "sort", "stat", "test",
    "touch", "true", "umount", "uniq", "wc",
];

/// Makes it at `path`; what is there is left.
pub fn make(path: &Path) {
    let busybox = PLACES.iter().find(|place| Path::new(place).is_file());
    let busybox = busybox.expect("this test needs the package busybox-static");
    for folder in FOLDERS {
        std::fs::create_dir_all(path.join(folder)).unwrap();
    }
    for (folder, mode) in [("tmp", 0o1777), ("var/tmp", 0o1777), ("root", 0o700), ("", 0o755)] {
        std::fs::set_permissions(path.join(folder), std::fs::Permissions::from_mode(mode)).unwrap();
    }
    std::fs::copy(busybox, path.join("usr/bin/busybox")).unwrap();
    for name in NAMES {
        let _ = symlink("busybox", path.join("usr/bin").join(name));
    }
    for name in ["bin", "sbin"] {
        let _ = symlink(format!("usr/{name}"), path.join(name));
    }
    std::fs::write(path.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n").unwrap();
    std::fs::write(path.join("etc/group"), "root:x:0:\n").unwrap();
    std::fs::write(path.join("etc/generation"), "1\n").unwrap();
}

/// Packs it into a tar archive.
pub fn pack(tree: &Path, archive: &Path) {
    let mut builder = tar::Builder::new(std::fs::File::create(archive).unwrap());
    builder.follow_symlinks(false);
    builder.append_dir_all(".", tree).unwrap();
    builder.finish().unwrap();
}

//! Source packages of nothing: they need no build dependency, and build what their rules say.

use std::path::{Path, PathBuf};
use std::process::Command;

const RULES: &str = "#!/usr/bin/make -f
clean:
\trm -rf debian/tmp debian/files
build build-arch build-indep:
\t@BUILD@
binary binary-arch: build
\tmkdir -p debian/tmp/DEBIAN debian/tmp/usr/share/@NAME@
\techo @NAME@ >debian/tmp/usr/share/@NAME@/name
\tdpkg-gencontrol -Pdebian/tmp
\tdpkg-deb --root-owner-group -b debian/tmp ..
binary-indep:
";
const CONTROL: &str = "Source: @NAME@
Section: misc
Priority: optional
Maintainer: A Builder <builder@example.org>
Standards-Version: 4.7.0
Rules-Requires-Root: no

Package: @NAME@
Architecture: any
Description: package of nothing
 For tests.
";
const CHANGELOG: &str = "@NAME@ (1) unstable; urgency=low

  * First.

 -- A Builder <builder@example.org>  Mon, 01 Jan 2024 00:00:00 +0000
";

/// Packs a source package in `dir` whose build is the shell command `build`, and gives its .dsc.
pub(crate) fn source(dir: &Path, name: &str, build: &str) -> PathBuf {
    let tree = dir.join(format!("{name}-1"));
    std::fs::create_dir_all(tree.join("debian/source")).unwrap();
    let fill = |text: &str| text.replace("@BUILD@", build).replace("@NAME@", name);
    for (file, text) in [
        ("control", CONTROL),
        ("changelog", CHANGELOG),
        ("rules", RULES),
        ("source/format", "3.0 (native)\n"),
    ] {
        std::fs::write(tree.join("debian").join(file), fill(text)).unwrap();
    }
    run(Command::new("chmod").arg("+x").arg(tree.join("debian/rules")));
    run(Command::new("dpkg-source").arg("-b").arg(&tree).current_dir(dir));
    dir.join(format!("{name}_1.dsc"))
}

/// Packs a binary package in `dir`.
pub(crate) fn binary(dir: &Path, name: &str) -> PathBuf {
    pack(dir, name, "")
}

/// Packs one that depends on others.
pub(crate) fn needing(dir: &Path, name: &str, depends: &str) -> PathBuf {
    pack(dir, name, &format!("Depends: {depends}\n"))
}

fn pack(dir: &Path, name: &str, fields: &str) -> PathBuf {
    let (tree, deb) = (dir.join(format!("{name}-tree")), dir.join(format!("{name}.deb")));
    std::fs::create_dir_all(tree.join("DEBIAN")).unwrap();
    std::fs::create_dir_all(tree.join("usr/share").join(name)).unwrap();
    std::fs::write(tree.join("usr/share").join(name).join("name"), name).unwrap();
    let control = format!(
        "Package: {name}\nVersion: 1\nArchitecture: all\nMaintainer: A Builder <builder@example.org>\n\
         {fields}Description: package of nothing\n For tests.\n"
    );
    std::fs::write(tree.join("DEBIAN/control"), control).unwrap();
    run(Command::new("dpkg-deb").args(["--root-owner-group", "-b"]).args([&tree, &deb]));
    deb
}

#[track_caller]
fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

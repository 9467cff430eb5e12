//! The packages that `cargo xtask dist` packs, in a Debian of their own ([`fresh`](crate::fresh)): with its sbuild, in the
//! place of its schroot, and what of them goes and stays.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::call::Told;
use crate::fresh::{BUILDER, Fresh};
use crate::{package, sbuild, tree};

/// The packages, `zchroot` and `zchroot-schroot`.
fn packages() -> [PathBuf; 2] {
    let folder =
        std::env::var_os("ZCHROOT_TEST_PACKAGES").expect("cargo xtask test --lane clients packs them");
    let mut found: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.extension().is_some_and(|end| end == "deb"));
    found.sort_by_key(|path| path.file_name().unwrap().to_str().unwrap().contains("schroot_"));
    found.try_into().unwrap()
}

/// Brings them there.
fn bring(fresh: &Fresh) -> [String; 2] {
    packages().map(|package| fresh.bring(&package, "/srv"))
}

/// Gives it a template, made of a tree of Debian.
fn template(fresh: &Fresh) {
    let (suite, alias, name) = (tree::suite(), tree::alias(), &fresh.template);
    let text = format!(
        "version = 1\nprofile = \"sbuild\"\naliases = [\"{suite}\", \"{alias}\"]\ngroups = [\"sbuild\"]\n\
         root-groups = [\"sbuild\"]\n"
    );
    std::fs::write(fresh.at(&format!("/etc/zchroot/templates.d/{name}.toml")), text).unwrap();
    fresh.root(&["zchroot", "init"]).ok().says("made");
    fresh.root(&["zchroot", "-q", "create", name, "--from", "/srv/tree"]).ok();
}

/// Builds a package of nothing, as the ordinary user, and gives the log.
fn build(fresh: &Fresh, name: &str, command: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    package::source(dir.path(), name, command);
    for file in [format!("{name}_1.dsc"), format!("{name}_1.tar.xz")] {
        fresh.bring(&dir.path().join(file), "/home/builder");
    }
    let told = fresh.builder(&sbuild::words(&tree::suite(), &format!("{name}_1.dsc")));
    let log = fresh.builder(&["sh", "-c", "cat \"$0\"_*.build", &format!("{name}_1")]).stdout;
    assert_eq!(told.status, Some(0), "{told}\n{log}");
    assert!(log.contains("Status: successful"), "{log}");
    let deb = format!("/home/builder/{name}_1_{}.deb", tree::architecture());
    assert!(fresh.at(&deb).is_file(), "{log}");
    log
}

/// The same package with a higher version.
fn newer(fresh: &Fresh, package: &str) -> String {
    let to = format!("{}-newer.deb", package.trim_end_matches(".deb"));
    let script = format!(
        "dpkg-deb -R {package} /srv/new; sed -i '/^Version:/s/$/+1/; s/zchroot (= \\([^)]*\\))/zchroot (= \\1+1)/' \
         /srv/new/DEBIAN/control; dpkg-deb -Znone --root-owner-group -b /srv/new {to}; rm -r /srv/new"
    );
    fresh.script(&script).ok();
    to
}

#[test]
fn clients_package_serves_the_sbuild_of_a_fresh_debian_and_leaves_what_is_the_user_s() {
    let fresh = Fresh::new();
    let [program, face] = bring(&fresh);
    let needing = package::needing(fresh.at("/srv").as_path(), "needing", "schroot (>= 1.6.13)");
    let needing = format!("/srv/{}", needing.file_name().unwrap().to_str().unwrap());
    let told = fresh.install(&[&program, &face, &needing, "sbuild"]).ok();
    assert!(fresh.has("sbuild") && fresh.has("needing") && !fresh.has("schroot"), "{told}");
    // Whoever wants schroot has it, and nobody wants to have ours away.
    let wanted = ["sbuild", "buildd", "piuparts", "autopkgtest"];
    let told =
        fresh.root(&[&["apt-get", "-s", "--install-recommends", "install"], &wanted[..]].concat()).ok();
    let ours = told.stdout.lines().filter(|line| line.contains("schroot ")).collect::<Vec<_>>();
    assert!(ours.is_empty(), "{ours:#?}");
    as_installed(&fresh);
    template(&fresh);
    fresh.root(&["usermod", "-aG", "sbuild", BUILDER]).ok();
    build(&fresh, "plain", "true");
    let config = "$chroot_mode = 'schroot';\n$schroot = '/usr/libexec/zchroot/unschroot/schroot';\n";
    std::fs::write(fresh.at("/home/builder/.sbuildrc"), config).unwrap();
    build(&fresh, "isolated", "test $$(tail -n +3 /proc/net/dev | wc -l) = 1");
    upgraded_and_removed(&fresh, &program, &face);
}

/// What is there after the installation, before anything was laid out.
fn as_installed(fresh: &Fresh) {
    let modes = fresh.root(&["stat", "-c", "%a %U %N", "/usr/bin/zchroot", "/usr/bin/schroot"]).ok();
    assert_eq!(modes.text(), "4755 root '/usr/bin/zchroot'\n777 root '/usr/bin/schroot' -> 'zchroot'");
    fresh.root(&["dpkg", "--verify", "zchroot", "zchroot-schroot"]).quiet();
    let conffiles = fresh.root(&["dpkg-query", "-W", "-f=${Conffiles}", "zchroot"]).ok();
    assert!(conffiles.text().trim().starts_with("/etc/zchroot/zchroot.toml "), "{conffiles}");
    assert_eq!(units(fresh), ["zchroot-gc.timer", "zchroot-recover.service"]);
    // The units run where nobody has begun to use it.
    for command in ["recover", "gc"] {
        fresh.root(&["zchroot", command]).quiet();
    }
    fresh.root(&["zchroot", "check"]).ok();
    fresh.builder(&["schroot", "--version"]).quiet().says("1.6.13");
    for page in ["man8/zchroot.8.gz", "man1/schroot.1.gz"] {
        assert!(fresh.at("/usr/share/man").join(page).is_file(), "{page}");
    }
}

/// The units that are enabled.
fn units(fresh: &Fresh) -> Vec<String> {
    let script = "cd /etc/systemd/system; find . -name 'zchroot*' -type l -printf '%f\\n' | sort";
    fresh.script(script).ok().text().lines().map(str::to_owned).collect()
}

fn upgraded_and_removed(fresh: &Fresh, program: &str, face: &str) {
    let session = fresh.root(&["zchroot", "begin", &fresh.template]).ok().text().to_owned();
    let stands = || fresh.root(&["zchroot", "exec", &session, "-d", "/", "--", "true"]).quiet();
    // What the administrator changed stays so.
    let conffile = "/etc/zchroot/zchroot.toml";
    fresh.script(&format!("echo '# ours' >>{conffile}; rm /etc/systemd/system/*/zchroot-gc.timer")).ok();
    fresh.install(&[&newer(fresh, program), &newer(fresh, face)]).ok();
    stands();
    assert_eq!(units(fresh), ["zchroot-recover.service"]);
    fresh.script(&format!("tail -1 {conffile} | grep -x '# ours'")).ok();
    let told = fresh.root(&["apt-get", "-q", "-y", "remove", "zchroot"]).ok();
    let told = told.says(&format!("session {session} still stands")).says("stay, in /var/lib/zchroot");
    assert!(!fresh.has("zchroot-schroot") && fresh.has("sbuild"), "{told}");
    let definition = format!("/etc/zchroot/templates.d/{}.toml", fresh.template);
    let gone = ["/usr/bin/zchroot", "/usr/bin/schroot", "/usr/lib/systemd/system/zchroot-gc.timer"];
    assert!(gone.iter().all(|path| !fresh.at(path).exists()), "{told}");
    assert!([conffile, &definition].iter().all(|path| fresh.at(path).exists()), "{told}");
    // All that was there is there again with it, and an older version is no hindrance.
    fresh.install(&["--allow-downgrades", program, face]).ok();
    stands();
    fresh.root(&["zchroot", "end", &session]).quiet();
    let told = fresh.root(&["apt-get", "-q", "-y", "purge", "zchroot", "zchroot-schroot"]).ok();
    let told = told.says("nothing of the store was removed").says("/etc/zchroot/templates.d");
    let store = format!("/var/lib/zchroot/store/templates/{}", fresh.template);
    assert!([definition, store].iter().all(|path| fresh.at(path).exists()), "{told}");
    assert!(!fresh.at(conffile).exists() && units(fresh).is_empty(), "{told}");
    let left = fresh.root(&["find", "/var/lib/systemd", "-name", "zchroot*"]).ok();
    assert_eq!(left.text(), "", "{told}");
}

#[test]
fn clients_package_takes_the_place_of_debian_s_schroot_and_gives_it_back() {
    let fresh = Fresh::new();
    let [program, face] = bring(&fresh);
    fresh.install(&["schroot"]).ok();
    crate::harness::tree::make(&fresh.at("/srv/old"));
    let name = &fresh.template;
    let text = format!("[{name}]\ntype=directory\ndirectory=/srv/old\nprofile=minimal\nusers={BUILDER}\n");
    std::fs::write(fresh.at("/etc/schroot/chroot.d/old"), text).unwrap();
    let script = "echo '# ours' >>/etc/schroot/schroot.conf; touch /var/lib/schroot/session/other-1";
    fresh.script(script).ok();
    let files = || fresh.script("find /etc/schroot -type f | sort | xargs md5sum").ok().stdout;
    let before = files();
    // dpkg alone does it, without apt's help.
    let told = fresh.root(&["dpkg", "-i", &program, &face]).ok();
    let told = told.says(&format!("/etc/schroot, which stays in use: {name}")).says("zchroot adopt NAME");
    let told =
        told.says("schroot left sessions in /var/lib/schroot/session: `schroot -e -c session:NAME' ends one");
    assert!(fresh.has("zchroot-schroot") && !fresh.has("schroot"), "{told}");
    assert_eq!(files(), before, "{told}");
    let listed = fresh.builder(&["schroot", "-l"]).quiet();
    assert!(listed.text().lines().any(|line| line == format!("chroot:{name}")), "{listed}");
    fresh.root(&["zchroot", "adopt", name]).ok();
    fresh.builder(&["schroot", "-c", name, "-d", "/", "--", "true"]).quiet();
    fresh.root(&["zchroot", "adopt", name, "--undo"]).ok();
    // The way back.
    let told = fresh.install(&["schroot"]).ok();
    assert!(fresh.has("schroot") && !fresh.has("zchroot-schroot") && fresh.has("zchroot"), "{told}");
    assert_eq!(files(), before, "{told}");
    let version = fresh.root(&["schroot", "--version"]).ok();
    assert!(!version.text().contains("zchroot"), "{version}");
}

#[test]
fn clients_package_gives_lintian_nothing_to_say() {
    let mut lintian = Command::new("lintian");
    lintian.args(["--allow-root", "--fail-on", "error,warning", "--"]).args(packages());
    lintian.env("LC_ALL", "C.UTF-8").stdout(Stdio::piped()).stderr(Stdio::piped());
    let told = Told::of(lintian.spawn().unwrap()).quiet();
    assert_eq!(told.text(), "", "{told}");
}

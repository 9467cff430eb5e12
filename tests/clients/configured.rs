//! What sbuild-createchroot writes into /etc/schroot/chroot.d.

use crate::host::Host;
use crate::tree;

#[test]
fn clients_what_sbuild_createchroot_writes_is_read_without_a_warning() {
    let host = Host::without_template();
    let (suite, mirror) = (tree::suite(), tree::mirror());
    let (tree, tarball) = (host.dir().join("chroot"), host.dir().join("made.tar.gz"));
    let tree = tree.to_str().unwrap();
    let create = |prefix: &str, more: &[&str]| {
        let prefix = format!("--chroot-prefix={prefix}");
        let words =
            [&["sbuild-createchroot", "--setup-only", prefix.as_str()], more, &[&suite, tree, &mirror]];
        host.root(&words.concat())
            .ok()
            .says("I: schroot chroot configuration written to /etc/schroot/chroot.d/");
    };
    create("plain", &["--alias=other-sbuild"]);
    create("packed", &[&format!("--make-sbuild-tarball={}", tarball.display())]);
    let listed = host.builder(&["schroot", "-l"]).quiet();
    let architecture = tree::architecture();
    let packed = format!("packed-{architecture}-sbuild");
    let names = ["other-sbuild", &packed, &format!("plain-{architecture}-sbuild")];
    for name in names {
        assert!(listed.text().lines().any(|line| line == format!("chroot:{name}")), "{name}: {listed}");
    }
    let told = host.builder(&["schroot", "--config", "-c", &packed]).quiet();
    let keys = ["type=file", "groups=root,sbuild", "root-groups=root,sbuild", "profile=sbuild"];
    assert!(keys.iter().all(|key| told.text().lines().any(|line| line == *key)), "{told}");
    host.builder(&["schroot", "-i", "-c", "other-sbuild"]).quiet();
    // Who makes one of the same name is told so, from our list.
    let again = ["sbuild-createchroot", "--setup-only", "--chroot-prefix=packed", &suite, tree, &mirror];
    host.root(&again).says(&format!("chroot with name {packed} already exists"));
    // It looks the file up by what we say of the chroot.
    let told = host.root(&["sbuild-destroychroot", "packed"]).ok();
    told.says(&format!("rm {}", tarball.display())).says(&format!("rm /etc/schroot/chroot.d/{packed}-"));
    host.assert_nothing_left();
}

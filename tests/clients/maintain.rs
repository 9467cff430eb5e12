//! sbuild-update and sbuild-shell: what they do goes into the template, through `source:`.

use crate::host::Host;
use crate::tree;

fn generation(host: &Host) -> u64 {
    let history = host.zchroot(&["history", &host.template, "--json"]).ok();
    let history: serde_json::Value = serde_json::from_str(history.text()).unwrap();
    history["versions"][0]["generation"].as_u64().unwrap()
}

#[test]
fn clients_sbuild_update_and_sbuild_shell_commit_what_they_changed() {
    let (host, suite) = (Host::ours(), tree::suite());
    assert_eq!(generation(&host), 1);
    let told = host.builder(&["sbuild-update", "-udcar", &suite]).ok().says("Performing update.");
    assert_eq!(generation(&host), 2, "{told}");
    host.assert_nothing_left();
    let look = |words: &[&str]| host.builder(&[&["schroot", "-c", &suite, "-d", "/", "--"], words].concat());
    // update leaves lists of packages, clean leaves no packages.
    look(&["sh", "-c", "ls /var/lib/apt/lists | grep -q Packages"]).ok();
    // The shell is that of whoever calls it, and root's can write.
    host.root(&["sh", "-c", "echo 'echo shelled >/etc/shelled' | sbuild-shell \"$0\"", &suite]).ok();
    assert_eq!(look(&["cat", "/etc/shelled"]).ok().text(), "shelled");
    assert_eq!(generation(&host), 3);
    host.assert_nothing_left();
}

//! sbuild-update and sbuild-shell: what they do goes into the template, through `source:`.

use crate::harness::both::on_both;
use crate::host::Host;
use crate::tree;

on_both! { Host:
    clients_sbuild_update_and_sbuild_shell_commit_what_they_changed
        zfs_clients_sbuild_update_and_sbuild_shell_commit_what_they_changed
        update_and_shell;
    clients_what_is_changed_in_schroots_words_is_committed_at_once_and_in_pieces
        zfs_clients_what_is_changed_in_schroots_words_is_committed_at_once_and_in_pieces
        at_once_and_in_pieces;
}

fn update_and_shell(host: &Host) {
    let suite = tree::suite();
    assert_eq!(host.generation(), 1);
    let told = host.builder(&["sbuild-update", "-udcar", &suite]).ok().says("Performing update.");
    assert_eq!(host.generation(), 2, "{told}");
    host.assert_nothing_left();
    let look = |words: &[&str]| host.builder(&[&["schroot", "-c", &suite, "-d", "/", "--"], words].concat());
    // update leaves lists of packages, clean leaves no packages.
    look(&["sh", "-c", "ls /var/lib/apt/lists | grep -q Packages"]).ok();
    // The shell is that of whoever calls it, and root's can write.
    host.root(&["sh", "-c", "echo 'echo shelled >/etc/shelled' | sbuild-shell \"$0\"", &suite]).ok();
    assert_eq!(look(&["cat", "/etc/shelled"]).ok().text(), "shelled");
    assert_eq!(host.generation(), 3);
    host.assert_nothing_left();
}

fn at_once_and_in_pieces(host: &Host) {
    let (suite, source) = (tree::suite(), format!("source:{}", host.template));
    let schroot = |words: &[&str]| host.builder(&[&["schroot"], words].concat());
    let change = |select: &[&str], text: &str| {
        let words = ["-d", "/", "-u", "root", "--", "sh", "-c", "echo \"$0\" >>/etc/changed", text];
        schroot(&[select, &words[..]].concat()).quiet();
    };
    let changed = || schroot(&["-c", &suite, "-d", "/", "--", "cat", "/etc/changed"]);
    change(&["-c", &source], "once");
    assert_eq!((host.generation(), changed().quiet().text()), (2, "once"));
    host.assert_nothing_left();
    let session = schroot(&["-b", "-c", &source]).quiet();
    for text in ["first", "second"] {
        change(&["-r", "-c", session.text()], text);
    }
    assert_eq!((host.generation(), changed().quiet().text()), (2, "once"));
    schroot(&["-e", "-c", session.text()]).quiet();
    assert_eq!((host.generation(), changed().quiet().text()), (3, "once\nfirst\nsecond"));
    host.assert_nothing_left();
}

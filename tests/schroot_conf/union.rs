//! Type `directory` with a union: what is written goes with the session; the source is the tree itself.

use crate::lab::{Lab, gives, refuses};
use crate::world::{ALICE, CAROL};

const KEYS: &str = "type=directory\ndirectory=TREE\nprofile=shared\nunion-type=overlay\n";

#[test]
fn dir_schroot_conf_what_is_written_over_a_union_goes_with_the_session() {
    for kind in ["overlay", "overlayfs", "aufs", "unionfs"] {
        let lab = Lab::new(&KEYS.replace("=overlay", &format!("={kind}")));
        let before = lab.listing();
        gives(lab.around(CAROL, "root", "echo x > /etc/what; rm /etc/generation; id -u; ls /etc"), LS);
        let id = lab.begin(CAROL, &lab.name);
        gives(lab.run(CAROL, &id, "echo one > /etc/what"), "");
        gives(lab.run(CAROL, &id, "cat /etc/what"), "one");
        let info = lab.schroot(CAROL, &["-i", "-c", &format!("session:{id}")]).ok().text();
        let says = |key: &str, value: &str| {
            let line = info.lines().find(|line| line.trim_start().starts_with(key)).unwrap();
            assert_eq!(line.trim_start().strip_prefix(key).unwrap().trim(), value, "{info}");
        };
        says("Session Purged", "true");
        says("Filesystem Union Type", kind);
        says("Filesystem Union Overlay Directory", &format!("/var/lib/schroot/union/overlay/{id}"));
        gives(lab.schroot(CAROL, &["-e", "-c", &id]), "");
        assert_eq!(lab.listing(), before);
        lab.nothing_left();
    }
}

const LS: &str = "0\ndebian_chroot\ngroup\npasswd\nwhat";

#[test]
fn dir_schroot_conf_the_source_of_a_union_is_the_tree_and_the_set_up_stays_out_of_it() {
    let lab = Lab::new(KEYS);
    let before = lab.listing();
    gives(
        lab.around_source(
            CAROL,
            "ls -d /build; grep -q ' /proc ' /proc/mounts && id -u; cat /etc/passwd | wc -l",
        ),
        "/build\n0\n1",
    );
    assert_eq!(lab.listing(), before, "what the set-up made is gone");
    let id = lab.begin(CAROL, &format!("source:{}", lab.name));
    gives(lab.run(CAROL, &id, "echo new > /etc/what"), "");
    // There is no moment at which it comes to be there: whoever looks sees it.
    gives(lab.around(CAROL, "root", "cat /etc/what"), "new");
    let info = lab.schroot(CAROL, &["-i", "-c", &format!("session:{id}")]).ok().text();
    assert!(info.contains("(source chroot) (session chroot)"), "{info}");
    // Two at once: the one that ends first leaves alone what the other has mounted.
    let second = lab.begin(CAROL, &format!("source:{}", lab.name));
    gives(lab.schroot(CAROL, &["-e", "-c", &id]), "");
    gives(lab.run(CAROL, &second, "grep -q ' /build ' /proc/mounts && echo there"), "there");
    gives(lab.schroot(CAROL, &["-e", "-c", &second]), "");
    std::fs::remove_file(lab.tree().join("etc/what")).unwrap();
    assert_eq!(lab.listing(), before);
    // Alice may be there as herself alone.
    let source = format!("source:{}", lab.name);
    lab.schroot(ALICE, &["-c", &source, "-d", "/", "-u", "root", "--", "true"]).exits(1);
    gives(lab.schroot(ALICE, &["-c", &source, "-d", "/", "--", "id", "-u"]), "64001");
    lab.nothing_left();
}

#[test]
fn dir_schroot_conf_overlays_lie_where_the_chroot_says_and_what_lies_there_already_is_left() {
    let lab = Lab::new(&format!("{KEYS}union-overlay-directory=/var/lib/over\n"));
    let name = format!("{}-n", lab.name);
    let begin = ["-b", "-c", &lab.name, "-n", &name];
    gives(lab.schroot(CAROL, &begin), &name);
    lab.shell("ls /var/lib/over").prints(&name);
    gives(lab.schroot(CAROL, &["-e", "-c", &name]), "");
    lab.shell(&format!(
        "ls -A /var/lib/over && mkdir /var/lib/over/{name} && echo kept > /var/lib/over/{name}/file"
    ));
    let done = lab.schroot(CAROL, &begin).exits(1);
    assert!(done.stderr.contains("it is there already, and not this session's"), "{done}");
    lab.shell(&format!("cat /var/lib/over/{name}/file")).prints("kept");
    lab.shell("chmod 777 /var/lib/over");
    let done = lab.schroot(CAROL, &["-b", "-c", &lab.name]).exits(1);
    assert!(done.stderr.contains("cannot use /var/lib/over: everybody may write it"), "{done}");
    lab.nothing_left();
}

#[test]
fn dir_schroot_conf_options_of_a_union_are_refused_when_it_is_used() {
    let lab = Lab::new(&format!("{KEYS}union-mount-options=lowerdir=/x\n"));
    let name = &lab.name;
    gives(lab.schroot(CAROL, &["-l"]), &format!("chroot:{name}\nsource:{name}"));
    let why = "union-mount-options are not supported: they would take the place of the layers";
    refuses(lab.around(CAROL, "root", "true"), &format!("E: {name}: {why}\n"));
}

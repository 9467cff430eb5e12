//! What the set-up writes into a tree: nowhere else, and whole or not at all.

use crate::lab::{Lab, folder, mended};

/// Whoever was root in the tree has left symlinks that lead out of it.
fn through_symlinks(lab: &Lab) -> String {
    let outside = folder(lab, "outside");
    let outside = outside.to_str().unwrap();
    lab.profile("linked", "", "", "group\n");
    let name = lab.define_union("profile=linked\n");
    // The same way leads somewhere inside.
    lab.shell(&format!("mkdir -p chroot{outside}"));
    lab.shell("for file in debian_chroot group; do rm -f chroot/etc/$file; ln -s $PWD/outside/$file chroot/etc/$file; done");
    let id = lab.begin(&name);
    let inside = lab.run(&id, "cat /etc/debian_chroot; grep -c ^root: /etc/group; true");
    let inside = inside.replace(&name, "named");
    lab.schroot(&["-e", "-c", &id]).ok();
    let written = lab.shell(&format!("ls {outside}")).replace('\n', " ");
    format!("outside: {written:?}, inside: {inside:?}")
}

#[test]
fn clients_defect_no_symlink_of_the_tree_leads_the_setup_outside() {
    mended(
        through_symlinks,
        "outside: \"debian_chroot group\", inside: \"\"",
        "outside: \"\", inside: \"named\\n1\"",
    );
}

/// Who has read half of a database goes on with the same.
fn while_it_is_read(lab: &Lab) -> String {
    lab.profile("copying", "", "", "passwd\n");
    let name = lab.define("type=directory\ndirectory=TREE\nprofile=copying\n");
    lab.write(&format!("{}/etc/passwd", lab.tree()), "root:x:0:0:the old one:/root:/bin/sh\n");
    let script = format!(
        "exec 3<chroot/etc/passwd; id=$(schroot -b -c {name}) || exit; cat <&3 >read; schroot -e -c $id"
    );
    lab.shell(&script);
    assert_eq!(lab.shell("grep -c ^builder: chroot/etc/passwd"), "1", "it is not the host's");
    format!("read: {}", lab.shell("grep -c 'the old one' read || true"))
}

#[test]
fn clients_defect_a_database_is_replaced_and_not_rewritten() {
    mended(while_it_is_read, "read: 0", "read: 1");
}

/// A tree in which there is no room any more.
fn without_room(lab: &Lab) -> String {
    lab.shell(
        "mkdir full && mount -t tmpfs -o size=8M full full && cp -a chroot/. full
        for i in $(seq 1000); do echo \"u$i:x:$((64000 + i)):64010::/:/bin/sh\"; done >>/etc/passwd
        for i in $(seq 10000); do echo \"a new line of the host $i\"; done >/etc/copied
        echo old >full/etc/copied
        tail -c 9 /etc/passwd >passwd.end
        dd if=/dev/zero of=full/fill bs=4k 2>/dev/null; ! echo more >full/more",
    );
    lab.profile("copying", "", "/etc/copied\n", "");
    lab.profile("databases", "", "", "passwd\n");
    let mut seen = Vec::new();
    for (file, profile) in [("copied", "copying"), ("passwd", "databases")] {
        let name = lab.define(&format!("type=directory\ndirectory={}\nprofile={profile}\n", lab.dir("full")));
        lab.shell(&format!("cp full/etc/{file} before"));
        let told = lab.schroot(&["-c", &name, "-d", "/", "--", "true"]);
        assert_eq!(told.status, Some(1), "{told}");
        let after = lab.shell(&format!(
            "test -e full/etc/{file} || echo gone; ! cmp -s full/etc/{file} before || echo whole"
        ));
        seen.push(format!("{file} {}", if after.is_empty() { "torn" } else { &after }));
    }
    lab.shell("umount full");
    seen.join(", ")
}

#[test]
fn clients_defect_a_file_that_has_no_room_stays_as_it_was() {
    mended(without_room, "copied torn, passwd torn", "copied whole, passwd whole");
}

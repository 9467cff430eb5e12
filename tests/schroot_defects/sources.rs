//! Source sessions: that a session is one, and what others see of what is done in it.

use crate::lab::{Lab, Who, mended};

fn what_scripts_are_told(lab: &Lab) -> String {
    let name = lab.define_union("");
    lab.script("04note", &format!("echo $1 $CHROOT_SESSION_SOURCE >>{}", lab.dir("notes")));
    let id = lab.begin(&format!("source:{name}"));
    lab.reboot();
    lab.schroot(&["--recover-session", "-c", &id]);
    lab.schroot(&["-e", "-c", &id]).ok();
    lab.shell("cat notes").replace('\n', ", ")
}

#[test]
fn clients_defect_a_source_session_is_one_until_its_end() {
    mended(
        what_scripts_are_told,
        "setup-start true, setup-recover false, setup-stop false",
        "setup-start true, setup-recover true, setup-stop true",
    );
}

/// Both halves of a change, seen by a session that is begun between them and by one that is begun afterwards.
fn half_a_change(lab: &Lab) -> String {
    let name = lab.define_union("");
    lab.shell("echo 1 >chroot/etc/one; echo 1 >chroot/etc/two");
    if lab.who == Who::Ours {
        // A tree that is changed where it lies has no versions: that is what adopting it is for.
        lab.host.zchroot(&["init"]).ok();
        lab.host.zchroot(&["-q", "adopt", &name]).ok();
    }
    let look = ["-c", &name, "-d", "/", "--", "cat", "/etc/one", "/etc/two"];
    let look = || lab.schroot(&look).ok().text().replace('\n', " and ");
    let id = lab.begin(&format!("source:{name}"));
    lab.run(&id, "echo 2 >/etc/one");
    let between = look();
    lab.run(&id, "echo 2 >/etc/two");
    lab.schroot(&["-e", "-c", &id]).ok();
    format!("{between}, then {}", look())
}

#[test]
fn clients_defect_a_session_sees_no_half_of_a_change_of_its_source() {
    mended(half_a_change, "2 and 1, then 2 and 2", "1 and 1, then 2 and 2");
}

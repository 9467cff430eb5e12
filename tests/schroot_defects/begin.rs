//! A session cannot be begun: that is said, and nothing of it is left.

use crate::lab::{Lab, mended};

fn of_a_missing_image(lab: &Lab) -> String {
    let name = lab.define("type=loopback\nfile=/srv/missing.img\n");
    let begun = lab.schroot(&["-b", "-c", &name]);
    let run = lab.status(&["-c", &name, "-d", "/", "--", "false"]);
    format!("begin {} {:?}, run {run}", begun.status.unwrap(), begun.text())
}

#[test]
fn clients_defect_begin_of_a_missing_image_fails() {
    mended(of_a_missing_image, "begin 0 \"\", run 0", "begin 1 \"\", run 1");
}

fn that_fails_half_way(lab: &Lab) -> String {
    let name = lab.define_union("profile=broken\n");
    lab.profile("broken", "tmpfs /home tmpfs rw 0 0\n/srv/missing /srv none rw,bind 0 0\n", "", "");
    assert_eq!(lab.status(&["-b", "-c", &name, "-n", &format!("{name}-n")]), 1);
    let left = lab.left();
    lab.profile("broken", "", "", "");
    let again = lab.status(&["-b", "-c", &name, "-n", &format!("{name}-n")]);
    lab.schroot(&["-e", "-c", &format!("{name}-n")]);
    format!("left: {left}, again {again}")
}

#[test]
fn clients_defect_a_begin_that_fails_half_way_leaves_nothing() {
    mended(that_fails_half_way, "left: record overlay mount, again 1", "left: nothing, again 0");
}

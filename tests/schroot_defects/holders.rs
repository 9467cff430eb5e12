//! Who keeps a session's tree busy without having it as its root.

use crate::lab::{Lab, mended};

/// Ends a session while something holds its tree: whether it went.
fn with(lab: &Lab, name: &str, hold: impl Fn(&str, &str)) -> bool {
    let id = lab.begin(name);
    hold(&id, &lab.location(&id));
    let before = lab.sessions();
    lab.schroot(&["-e", "-c", &id]);
    lab.sessions() < before
}

fn by_processes(lab: &Lab) -> String {
    let name = lab.define_union("");
    let sleep = format!("{} </dev/null >/dev/null 2>&1 &", lab.sleep());
    let directory = with(lab, &name, |_, at| {
        lab.shell(&format!("cd {at}/etc && {sleep}"));
        lab.sleeping(1);
    });
    lab.shell(&format!("pkill -f '{}$' || true", lab.sleep()));
    let file = with(lab, &name, |_, at| {
        lab.shell(&format!("exec 3<{at}/etc/passwd; {sleep}"));
        lab.sleeping(1);
    });
    lab.shell(&format!("pkill -f '{}$' || true", lab.sleep()));
    let root = with(lab, &name, |id, _| {
        lab.run(id, &format!("mkdir /sub; cp /bin/busybox /sub; busybox chroot /sub /busybox {sleep}"));
        lab.sleeping(1);
    });
    format!("directory {directory}, file {file}, root below {root}")
}

#[test]
fn clients_defect_processes_that_hold_the_tree_otherwise_are_found() {
    mended(
        by_processes,
        "directory false, file false, root below false",
        "directory true, file true, root below true",
    );
}

/// A loop device on a file in the tree: no process has it.
fn by_the_kernel(lab: &Lab) -> String {
    let name = lab.define_union("");
    let ended = with(lab, &name, |_, at| {
        lab.shell(&format!("truncate -s 1M {at}/image && losetup --find --show {at}/image >loop"));
    });
    lab.shell("losetup --detach \"$(cat loop)\"");
    format!("ended {ended}")
}

#[test]
fn clients_defect_a_busy_tree_is_taken_out_of_sight() {
    mended(by_the_kernel, "ended false", "ended true");
}

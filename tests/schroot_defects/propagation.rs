//! What is mounted in a session is seen in it: on a host whose mounts are shared, as systemd makes them.

use crate::lab::{Lab, mended};

/// What root mounts in a session: how many mounts of it the host has, and a service that was there before.
fn of_what_root_mounts(lab: &Lab) -> String {
    let name = lab.define_union("");
    lab.shell("mount --make-rshared /; unshare --mount --propagation slave sleep 1000 </dev/null >/dev/null 2>&1 & echo $! >service");
    lab.shell("until [ \"$(readlink /proc/$(cat service)/ns/mnt)\" != \"$(readlink /proc/self/ns/mnt)\" ]; do sleep 0.1; done");
    let id = lab.begin(&name);
    lab.run(&id, "mount -t tmpfs mark-of-a-session /srv");
    let seen = lab.shell("for at in self $(cat service); do grep -c mark-of-a-session /proc/$at/mountinfo; done || true");
    lab.schroot(&["-e", "-c", &id]).ok();
    lab.shell("kill $(cat service)");
    format!("host and service: {}", seen.replace('\n', " "))
}

#[test]
fn clients_defect_what_is_mounted_in_a_session_is_not_seen_outside() {
    mended(of_what_root_mounts, "host and service: 1 1", "host and service: 0 0");
}

//! What is mounted in a session is seen in it: on a host whose mounts are shared, as systemd makes them.

use crate::lab::{Lab, mended};

/// A service with a mount namespace of its own, begun before there was any session.
const SERVICE: &str = "mount --make-rshared /
unshare --mount --propagation slave sh -c 'touch began; exec sleep 100000' </dev/null >/dev/null 2>&1 &
echo $! >service
until [ -e began ]; do sleep 0.1; done";

/// How many mounts with a word in them the host has, and the service.
fn mounts(lab: &Lab, word: &str) -> String {
    let script =
        format!("for at in self $(cat service); do grep -c '{word}' /proc/$at/mountinfo; done || true");
    lab.shell(&script).replace('\n', " ")
}

/// What root mounts in a session.
fn of_what_root_mounts(lab: &Lab) -> String {
    let name = lab.define_union("");
    lab.shell(SERVICE);
    let id = lab.begin(&name);
    lab.run(&id, "mount -t tmpfs mark-of-a-session /srv");
    let seen = mounts(lab, "mark-of-a-session");
    lab.schroot(&["-e", "-c", &id]).ok();
    lab.shell("kill $(cat service)");
    format!("host and service: {seen}")
}

#[test]
fn clients_defect_what_is_mounted_in_a_session_is_not_seen_outside() {
    mended(of_what_root_mounts, "host and service: 1 1", "host and service: 0 0");
}

//! A store that takes nothing any more: its file system is frozen (FIFREEZE) while an import writes to it. Whoever writes
//! then stands in the kernel, cannot be killed, and goes on when it thaws.
#![allow(dead_code, unreachable_pub, reason = "a module of one test crate")]

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::small::Small;
use super::stalls::{alive, impatient, worker_of};
use super::{Lab, MIB, archive, images};
use crate::harness::program::Running;

/// Thaws when it is told to, when its caller ends, however that happens, and after so many seconds in any case.
const THAW: &str = "read -t 45; exec fsfreeze -u \"$1\"";

/// A frozen file system; it thaws when this is dropped.
struct Frozen(Child);

impl Frozen {
    fn freeze(at: &Path) -> Self {
        // First who thaws, in a group of its own, so that it outlives whatever ends us.
        let mut thaw = Command::new("bash");
        thaw.args(["-c", THAW, "thaw"]).arg(at).stdin(Stdio::piped()).process_group(0);
        let frozen = Self(thaw.spawn().unwrap());
        assert!(Command::new("fsfreeze").arg("-f").arg(at).status().unwrap().success());
        frozen
    }

    fn thaw(self) {}
}

impl Drop for Frozen {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// Freezes the store under the worker of a running import, once `last` has gone; the worker stands in it.
fn freeze_under(lab: &Small, running: &Running, last: Option<Pid>) -> (Pid, Frozen) {
    let worker = worker_of(running.pid(), last);
    kill(worker, Signal::SIGSTOP).unwrap();
    let frozen = Frozen::freeze(&lab.state());
    kill(worker, Signal::SIGCONT).unwrap();
    until("the worker stands in the store", || stat(worker).contains(") D "));
    (worker, frozen)
}

fn stat(pid: Pid) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default()
}

fn is_killed(pid: Pid) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let pending = status.lines().filter_map(|line| line.split_once("Pnd:\t"));
    pending.filter_map(|(_, mask)| u64::from_str_radix(mask, 16).ok()).any(|mask| mask & 1 << 8 != 0)
}

#[track_caller]
fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// With room enough: the watchdog fires in bounded time, the program ends though its worker cannot be ended, waits for
/// nothing in the store, says what stays, and evicts nothing. What stays goes when the store answers again.
pub fn a_writer_in_a_frozen_store_is_given_up(lab: &Small, free: Option<u64>) {
    let host = lab.host();
    impatient(host);
    let config = host.read("/etc/zchroot/zchroot.toml");
    host.configure(&config.replace("version = 1", "version = 1\ngrace = \"0s\""));
    let (warm, plain) = (archive::tar(host, "warm", 1), archive::tar(host, "plain", 20));
    host.zchroot(["image", "import", warm.to_str().unwrap()]).ok();
    let kept = images(lab);
    if let Some(free) = free {
        lab.leave(free);
    }
    let running = host.order(["image", "import", plain.to_str().unwrap()]).start();
    let (worker, frozen) = freeze_under(lab, &running, None);
    let began = Instant::now();
    let failed = running.finish().exits(1);
    let took = began.elapsed();
    assert!(took > Duration::from_secs(1) && took < Duration::from_secs(40), "{took:?}: {failed}");
    let failed = failed
        .says(&format!(
            "cannot unpack {}; its worker, process {worker}, waits for the store",
            plain.display()
        ))
        .says("what it made stays until the store answers: it came no further")
        .says("what it is written to stalls")
        .says("zchroot gc");
    assert!(!failed.stderr.contains("swept") && !failed.stderr.contains("no room"), "{failed}");
    assert!(stat(worker).contains(") D "), "{}", stat(worker));
    frozen.thaw();
    until("the worker goes", || !alive(worker));
    assert_eq!(images(lab), kept, "nothing was evicted");
    let draft = lab.state().join(format!("store/images/.making-{}", archive::sha256(&plain)));
    assert!(draft.exists());
    let gone = host.zchroot(["gc"]).ok();
    assert!(!draft.exists(), "{gone}");
    lab.assert_clean();
    host.zchroot(["image", "import", plain.to_str().unwrap()]).ok();
    lab.assert_clean();
}

/// Nearly full, and the worker can be ended: that is what no room looks like. It is swept and tried once more, and with
/// nothing to evict it fails, says the sum, and leaves nothing.
pub fn a_writer_that_stands_in_a_full_store_is_out_of_room(lab: &Small) {
    let host = lab.host();
    impatient(host);
    let (warm, new) = (archive::tar(host, "warm", 20), archive::tar(host, "new", 18));
    let third = archive::tar(host, "third", 18);
    host.zchroot(["image", "import", warm.to_str().unwrap()]).ok();
    lab.leave(24 * MIB);
    let import = |path: &Path, stalls: u32| {
        let running = host.order(["image", "import", path.to_str().unwrap()]).start();
        let mut last = None;
        for _ in 0..stalls {
            let (worker, frozen) = freeze_under(lab, &running, last);
            until("the watchdog fires", || is_killed(worker));
            frozen.thaw();
            last = Some(worker);
        }
        running.finish()
    };
    let done = import(&new, 1).ok();
    let mut rest = done.stderr.as_str();
    for step in ["no room to keep the image", lab.full(), "swept image ", "trying once more", "unpacked"] {
        let at = rest.find(step).unwrap_or_else(|| panic!("no {step:?} in {rest:?}: {done}"));
        rest = &rest[at..];
    }
    assert_eq!(images(lab), [&archive::sha256(&new)[..12]]);
    lab.assert_clean();

    host.zchroot(["image", "remove", &archive::sha256(&new)]).ok();
    lab.leave(24 * MIB);
    let failed = import(&third, 2).exits(1);
    let failed = failed.says("zchroot: no room to keep the image: ").says("a sweep evicted nothing");
    assert_eq!(failed.stderr.matches(lab.full()).count(), 2, "two attempts: {failed}");
    assert_eq!(images(lab), [] as [&str; 0]);
    lab.assert_clean();
}

/// A template whose first tree is being installed: the session that it is made in stays, and `recover` ends it.
pub fn a_template_that_is_made_in_a_frozen_store_is_given_up(lab: &Small) {
    let host = lab.host();
    impatient(host);
    let tree = archive::tar(host, "tree", 1);
    let script = format!("#!/bin/sh\nexec cat {}\n", tree.display());
    super::stalls::stand_in(host, &script);
    host.define("made", crate::harness::MINIMAL);
    let running =
        super::stalls::order_with_stand_in(host, &["create", "made", "--from", "bootstrap:sid"]).start();
    let (worker, frozen) = freeze_under(lab, &running, None);
    let failed = running.finish().exits(1);
    let failed = failed.says("cannot unpack bootstrap:sid; its worker, process ").says("zchroot recover");
    assert!(!failed.stderr.contains("swept"), "{failed}");
    frozen.thaw();
    until("the worker goes", || !alive(worker));
    host.zchroot(["recover"]).ok();
    host.zchroot(["gc"]).ok();
    assert!(host.sessions().is_empty());
    lab.assert_clean();
}

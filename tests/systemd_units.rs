//! The units of systemd: systemd accepts them, and what they take away from gc it does not need.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "tests work on the host as it is"
)]

mod harness;

use std::path::Path;
use std::process::Command;

use harness::{Installation, Order};

fn unit(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("etc/systemd").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The value of a key that stands once.
fn value<'a>(unit: &'a str, key: &str) -> &'a str {
    let mut values = unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    let value = values.next().unwrap_or_else(|| panic!("no {key}"));
    assert_eq!(values.next(), None, "{key} twice");
    value
}

#[test]
fn dir_systemd_finds_nothing_wrong_with_the_units() {
    let dir = tempfile::tempdir().unwrap();
    let names = ["zchroot-gc.service", "zchroot-gc.timer", "zchroot-recover.service"];
    let mut verify = Command::new("systemd-analyze");
    verify.args(["verify", "--man=no"]);
    for name in names {
        // The program need not be installed where this is tested.
        let text = unit(name).replace("/usr/bin/zchroot", "/bin/true");
        std::fs::write(dir.path().join(name), text).unwrap();
        verify.arg(dir.path().join(name));
    }
    let output = verify.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let ours: Vec<&str> = said.lines().filter(|line| line.contains("zchroot")).collect();
    assert!(output.status.success() && ours.is_empty(), "{said}");
}

#[test]
fn dir_the_timer_starts_gc_once_a_day_also_what_was_missed() {
    let (timer, service) = (unit("zchroot-gc.timer"), unit("zchroot-gc.service"));
    assert_eq!((value(&timer, "OnCalendar"), value(&timer, "Persistent")), ("daily", "true"));
    assert_eq!(value(&timer, "WantedBy"), "timers.target");
    assert_eq!((value(&service, "Type"), value(&service, "ExecStart")), ("oneshot", "/usr/bin/zchroot gc"));
    // Mounts of its own would keep it from unmounting what the host sees.
    for key in [
        "Protect",
        "PrivateTmp",
        "PrivateDevices",
        "PrivateMounts",
        "ReadOnly",
        "TemporaryFileSystem",
        "RootDirectory",
        "MountFlags",
    ] {
        assert!(service.lines().all(|line| !line.starts_with(key)), "{key}");
    }
}

#[test]
fn dir_gc_does_all_of_its_work_with_what_the_service_leaves_it() {
    let host = Installation::with_demo();
    host.configure("version = 1\ngrace = \"0s\"\n[dir]\nreserve = \"1M\"\n");
    host.zchroot(["update", "demo", "--", "touch", "/etc/two"]).ok();
    host.zchroot(["begin", "demo", "-n", "lost"]).ok();
    host.zchroot(["begin", "demo", "-n", "kept"]).ok();
    host.zchroot(["source", "begin", "demo", "-n", "draft"]).ok();
    for name in ["lost", "draft"] {
        std::fs::remove_file(host.at(&format!("/var/lib/zchroot/sessions/{name}.toml"))).unwrap();
    }
    let service = unit("zchroot-gc.service");
    let capabilities: Vec<String> = value(&service, "CapabilityBoundingSet")
        .split(' ')
        .map(|name| format!("+{}", name.strip_prefix("CAP_").unwrap().to_lowercase()))
        .collect();
    let set = format!("-all,{}", capabilities.join(","));
    assert_eq!(value(&service, "NoNewPrivileges"), "yes");
    let gc = Order::new("setpriv")
        .words(["--bounding-set", &set, "--inh-caps", "-all", "--no-new-privs", "--"])
        .word(harness::program::binary())
        .word("--root")
        .word(host.path())
        .word("gc")
        .run()
        .ok();
    for what in ["session tree lost", "mount lost", "cgroup lost", "draft demo/", "mount draft"] {
        assert!(gc.text().contains(&format!("removed {what}")), "{what}: {gc}");
    }
    assert!(gc.text().contains("kept session tree kept: a record refers to it"), "{gc}");
    host.zchroot(["exec", "kept", "-d", "/", "--", "ls", "/etc/two"]).ok();
    host.zchroot(["end", "kept"]).ok();
    host.assert_nothing_left();
}

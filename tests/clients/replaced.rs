//! Sessions that Debian's schroot began are seen and ended by ours, which took its place meanwhile.

use std::path::PathBuf;
use std::process::Child;

use crate::call::Told;
use crate::harness;
use crate::host::Host;

const SESSIONS: &str = "/var/lib/schroot/session";
/// Told by a script of the administrator when a session ends.
const SCRIPT: &str = "#!/bin/sh\n[ $1 != setup-stop ] || env | sort >/var/lib/schroot/told-$SESSION_ID\n";

/// Our host, and Debian's schroot beside it.
struct Both {
    host: Host,
    debians: String,
}

impl Both {
    fn new() -> Self {
        let host = Host::without_template();
        let debians = host.dir().join("bin/debians");
        std::fs::copy("/usr/bin/schroot", &debians).unwrap();
        std::fs::set_permissions(&debians, std::os::unix::fs::PermissionsExt::from_mode(0o4755)).unwrap();
        let it = Self { debians: debians.display().to_string(), host };
        harness::tree::make(&it.tree());
        harness::tree::pack(&it.tree(), &it.host.dir().join("sid.tar"));
        it.host.write("/etc/schroot/schroot.conf", "# nothing here\n");
        it.host.write("/etc/schroot/setup.d/52told", SCRIPT);
        it.host.root(&["chmod", "755", "/etc/schroot/setup.d/52told"]).ok();
        it
    }

    fn tree(&self) -> PathBuf {
        self.host.dir().join("sid")
    }

    /// A chroot; `DIR` in its keys is a folder of the test's.
    fn define(&self, name: &str, keys: &str) {
        let keys = keys.replace("DIR", self.host.dir().to_str().unwrap());
        let lists = "description=one of these\nusers=builder\nroot-groups=builder\nprofile=minimal\n";
        self.host.write(&format!("/etc/schroot/chroot.d/{name}"), &format!("[{name}]\n{lists}{keys}\n"));
    }

    fn debians(&self, words: &[&str]) -> Told {
        self.host.builder(&[&[self.debians.as_str()], words].concat())
    }

    fn ours(&self, words: &[&str]) -> Told {
        self.host.builder(&[&["schroot"], words].concat())
    }

    /// Begins a session by Debian's, with somebody in it.
    fn begin(&self, chroot: &str, id: &str) -> Child {
        self.debians(&["-b", "-c", chroot, "-n", id]).ok();
        self.debians(&["-r", "-c", id, "-d", "/", "-u", "root", "--", "sh", "-c", "echo one >/etc/what"])
            .ok();
        let words = [self.debians.as_str(), "-r", "-c", id, "-d", "/", "--", "sleep", "944"];
        let inside = self.host.as_builder(&words).start();
        let find = "for i in $(seq 100); do pgrep -f '^sleep 944' && exit; sleep 0.1; done; exit 1";
        self.host.root(&["sh", "-c", find]).ok();
        inside
    }

    fn script(&self, script: &str) -> String {
        self.host.root(&["sh", "-c", script]).ok().text().to_owned()
    }

    /// Nothing of a session is there.
    #[track_caller]
    fn is_gone(&self, id: &str, mut inside: Child) {
        let ended = inside.wait().unwrap();
        assert!(!ended.success(), "{id}: who was in it is there still");
        self.nothing_of(id);
    }

    #[track_caller]
    fn nothing_of(&self, id: &str) {
        let left = self.script(&format!(
            "ls -d {SESSIONS}/{id} /run/schroot/mount/{id} /var/lib/schroot/union/*/{id} /var/lib/schroot/unpack/{id} \
             2>/dev/null; grep {id} /proc/self/mounts; true"
        ));
        assert_eq!(left, "", "{id}");
    }
}

const KINDS: [(&str, &str); 6] = [
    ("dir", "type=directory\ndirectory=DIR/sid"),
    ("union", "type=directory\ndirectory=DIR/sid\nunion-type=overlay"),
    ("file", "type=file\nfile=DIR/sid.tar"),
    ("loop", "type=loopback\nfile=DIR/sid.img\nmount-options=-o noatime\nlocation=/top"),
    ("loopunion", "type=loopback\nfile=DIR/sid.img\nlocation=/top\nunion-type=overlay"),
    ("block", "type=block-device\ndevice=LOOP\nunion-type=none"),
];

#[test]
fn clients_sessions_that_debian_s_schroot_began_are_ended_by_ours_and_nothing_is_left() {
    let it = Both::new();
    it.script(&format!(
        "cd {} && mkdir top && cp -a sid top/top && cp -a sid/. top && truncate -s 64M sid.img && \
         mkfs.ext4 -q -d top sid.img && cp sid.img block.img",
        it.host.dir().display()
    ));
    let device = it.script(&format!("losetup -f --show {}/block.img", it.host.dir().display()));
    for (name, keys) in KINDS {
        it.define(name, &keys.replace("LOOP", &device));
        let id = format!("{}-{name}", it.host.template);
        let inside = it.begin(name, &id);
        let named = format!("session:{id}");
        // They are shown as schroot shows them.
        for words in [&["-i", "-c", &named][..], &["--location", "-c", &named], &["-l", "--all-sessions"]] {
            assert_eq!(it.ours(words).quiet().stdout, it.debians(words).ok().stdout, "{words:?}");
        }
        let config = |told: Told| told.ok().text().lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
        let words = ["--config", "-c", &named];
        let (ours, theirs) = (config(it.ours(&words)), config(it.debians(&words)));
        // Of the source of a session it speaks only once it has read its own file again; ours never says `file-repack`.
        let known = |line: &&String| line.starts_with("source-") || line.starts_with("file-repack=");
        let lacking: Vec<_> = theirs.iter().filter(|line| !ours.contains(line) && !known(line)).collect();
        assert!(lacking.is_empty(), "{lacking:?}: {ours:?}");
        let refused = it.ours(&["-r", "-c", &id, "--", "true"]).exits(1);
        refused
            .says("E: ")
            .says("Schroot itself began this session: it can only be ended")
            .says(&format!("I: ‘schroot -e -c session:{id}’ ends it"));
        it.ours(&["--recover-session", "-c", &id]).exits(1).says("it can only be ended");
        let other = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "schroot"];
        for words in [&["-e", "-c", id.as_str()][..], &["-e", "--all-sessions"]] {
            it.host.root(&[&other[..], words].concat()).exits(1).says("E: Access not authorised");
        }
        it.ours(&["-e", "-c", &named]).quiet();
        it.is_gone(&id, inside);
        it.ours(&["-e", "-c", &named]).exits(1).says("Chroot not found");
        let told = it.script(&format!("cat /var/lib/schroot/told-{id}; rm /var/lib/schroot/told-{id}"));
        for line in
            [format!("SESSION_ID={id}"), format!("CHROOT_NAME={name}"), "AUTH_RUSER=builder".to_owned()]
        {
            assert!(told.lines().any(|it| it == line), "{line}: {told}");
        }
    }
    let what = it.tree().join("etc/what");
    assert_eq!(std::fs::read_to_string(what).unwrap(), "one\n", "of a directory alone it stays");
    it.script(&format!("losetup -d {device}"));
    let loops =
        "for i in $(seq 50); do losetup -a | grep -q \"$0\" || exit 0; sleep 0.2; done; losetup -a; exit 1";
    it.host.root(&["sh", "-c", loops, it.host.dir().to_str().unwrap()]).ok();
    it.host.assert_nothing_left();
}

#[test]
fn clients_all_sessions_that_debian_s_schroot_left_are_ended_after_a_reboot_and_half_ended_too() {
    let it = Both::new();
    let id = |name: &str| format!("{}-{name}", it.host.template);
    let mut inside = Vec::new();
    for (name, keys) in KINDS.iter().take(3) {
        it.define(name, keys);
        inside.push((id(name), it.begin(name, &id(name))));
    }
    // One that was ended half; the definitions are gone.
    it.script(&format!("umount /run/schroot/mount/{}/proc", id("union")));
    it.script("rm /etc/schroot/chroot.d/*");
    it.ours(&["-e", "--all-sessions"]).quiet();
    for (id, inside) in inside {
        it.is_gone(&id, inside);
    }
    for (name, keys) in KINDS.iter().take(3) {
        it.define(name, keys);
        it.debians(&["-b", "-c", name, "-n", &id(name)]).ok();
    }
    // Mounts go with a reboot, and so does /run; at boot all are recovered.
    it.script(
        "for at in /run/schroot/mount/*; do umount -R $at; done; umount /var/lib/schroot/union/underlay/*; \
         rm -r /run/schroot",
    );
    it.host.root(&["schroot", "--recover-session", "--all-sessions"]).quiet();
    it.host.root(&["schroot", "-e", "--all-sessions"]).quiet();
    for (name, _) in KINDS.iter().take(3) {
        it.nothing_of(&id(name));
    }
    it.host.assert_nothing_left();
}

#[test]
fn clients_what_a_source_session_of_debian_s_schroot_changed_in_an_archive_is_not_thrown_away_unasked() {
    let it = Both::new();
    it.define("file", &format!("{}\nsource-users=builder\nsource-root-users=builder", KINDS[2].1));
    let archive = std::fs::read(it.host.dir().join("sid.tar")).unwrap();
    let id = format!("{}-source", it.host.template);
    let inside = it.begin("source:file", &id);
    let refused = it.ours(&["-e", "-c", &id]).exits(1);
    refused.says("which only schroot does").says(&format!(
        "I: It lies in /var/lib/schroot/unpack/{id}; ‘schroot -f -e -c session:{id}’ ends it"
    ));
    it.debians(&["-r", "-c", &id, "-d", "/", "--", "cat", "/etc/what"]).ok().says("one");
    it.ours(&["-f", "-e", "-c", &id]).quiet();
    it.is_gone(&id, inside);
    assert_eq!(std::fs::read(it.host.dir().join("sid.tar")).unwrap(), archive);
    it.host.assert_nothing_left();
}

#[test]
fn clients_a_snapshot_of_btrfs_that_debian_s_schroot_made_goes_with_its_session() {
    let it = Both::new();
    it.script(&format!(
        "cd {} && truncate -s 256M btr.img && mkfs.btrfs -q btr.img && mkdir btr && mount -o loop btr.img btr && \
         btrfs subvolume create btr/sid && mkdir btr/snapshots && cp -a sid/. btr/sid",
        it.host.dir().display()
    ));
    let keys =
        "type=btrfs-snapshot\nbtrfs-source-subvolume=DIR/btr/sid\nbtrfs-snapshot-directory=DIR/btr/snapshots";
    it.define("btr", keys);
    let id = format!("{}-btr", it.host.template);
    let inside = it.begin("btr", &id);
    let words = ["-i", "-c", &format!("session:{id}")];
    assert_eq!(it.ours(&words).quiet().stdout, it.debians(&words).ok().stdout);
    it.ours(&["-e", "-c", &id]).quiet();
    it.is_gone(&id, inside);
    let list = it.script(&format!("cd {}/btr && ls snapshots sid/etc/what; true", it.host.dir().display()));
    it.script(&format!("umount {}/btr", it.host.dir().display()));
    assert_eq!(list, "snapshots:");
    it.host.assert_nothing_left();
}

#[test]
fn clients_a_session_file_that_cannot_be_used_is_said_and_stays() {
    let it = Both::new();
    it.define("dir", KINDS[0].1);
    let id = format!("{}-dir", it.host.template);
    let inside = it.begin("dir", &id);
    let file = format!("{SESSIONS}/{id}");
    let refused = |why: &str| {
        let told = it.ours(&["-e", "-c", &id]).exits(1);
        told.says(&format!("E: {id}: Chroot not found")).says(&format!("W: {SESSIONS}/{id}: {why}"));
    };
    it.script(&format!("chmod 666 {file}"));
    refused("everybody may write it (mode 0666)");
    it.script(&format!("chmod 644 {file}; chown 64010 {file}"));
    refused("it belongs to user 64010, not to 0");
    it.script(&format!("chown 0 {file}; sed -i 's,^mount-location=.*,mount-location=/etc,' {file}"));
    refused("‘/etc’ is not where session");
    it.script(&format!("sed -i 's,^mount-location=.*,mount-location=/var/run/schroot/mount/{id},' {file}"));
    for (kind, why) in [
        ("lvm-snapshot\\ndevice=/dev/vg/sid\\nlvm-snapshot-options=", "remove /dev/vg/sid with lvremove(8)"),
        ("custom", "undo what its own scripts made"),
    ] {
        it.script(&format!("cp {file} /tmp/was-{id}; sed -i '/^directory=/d;s,^type=.*,type={kind},' {file}; sed -i '/^union-/d' {file}"));
        let told = it.ours(&["-e", "-c", &id]).exits(1);
        told.says("is not supported: unmount what is at").says(why);
        it.script(&format!("test -e {file} && cp /tmp/was-{id} {file}"));
    }
    // A script that fails keeps it.
    it.host.write("/etc/schroot/setup.d/52told", "#!/bin/sh\nexit 3\n");
    it.ours(&["-e", "-c", &id]).exits(1).says("cannot stop by script 52told: it failed with status 3");
    it.host.write("/etc/schroot/setup.d/52told", "#!/bin/sh\n");
    it.ours(&["-e", "-c", &id]).quiet();
    it.is_gone(&id, inside);
    it.script(&format!("rm /tmp/was-{id}"));
    it.host.assert_nothing_left();
}

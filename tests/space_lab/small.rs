//! The store of directories on a small file system of its own, in a file.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{FLOORS, Lab, MIB};
use crate::harness::{self, Installation};

/// Which file system, and what ends its room.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Ext4,
    /// Has to be 300 MiB at least.
    Xfs,
    /// Gives back what was deleted with its next commit only.
    Btrfs,
    /// Room enough, but for a quota: EDQUOT and not ENOSPC.
    BtrfsQuota,
}

impl Kind {
    fn make(self, disk: &str) {
        match self {
            // No room for root alone: what is full is full for everybody.
            Self::Ext4 => run("mkfs.ext4", &["-q", "-m", "0", "-F", disk]),
            Self::Xfs => run("mkfs.xfs", &["-q", "-f", disk]),
            Self::Btrfs | Self::BtrfsQuota => run("mkfs.btrfs", &["-q", "-f", "--mixed", disk]),
        };
    }

    /// How exactly its room can be told.
    fn grain(self) -> u64 {
        match self {
            Self::Ext4 => 64 << 10,
            Self::Xfs | Self::BtrfsQuota => MIB,
            // What it keeps for itself when it is full counts as available.
            Self::Btrfs => 3 * MIB,
        }
    }
}

/// A file system of `mib` with nothing but the store and ballast on it.
pub struct Small {
    host: Installation,
    kind: Kind,
}

impl Small {
    pub fn make(mib: u64) -> Self {
        Self::on(Kind::Ext4, mib, "0")
    }

    pub fn with_reserve(mib: u64, reserve: &str) -> Self {
        Self::on(Kind::Ext4, mib, reserve)
    }

    pub fn on(kind: Kind, mib: u64, reserve: &str) -> Self {
        let host = Installation::empty();
        host.configure(&format!(
            "version = 1\ndigests = \"never\"\n[dir]\nreserve = \"{reserve}\"\n{FLOORS}"
        ));
        let disk = host.path().join("disk");
        std::fs::File::create(&disk).unwrap().set_len(mib * MIB).unwrap();
        let at = host.at("/var/lib/zchroot");
        std::fs::create_dir_all(&at).unwrap();
        kind.make(disk.to_str().unwrap());
        // The loop device goes with the mount, and that with the installation.
        run("mount", &["-o", "loop", disk.to_str().unwrap(), at.to_str().unwrap()]);
        if kind == Kind::BtrfsQuota {
            run("btrfs", &["quota", "enable", at.to_str().unwrap()]);
        }
        host.zchroot(["init"]).ok();
        Self { host, kind }
    }

    pub fn state(&self) -> PathBuf {
        self.host.at("/var/lib/zchroot")
    }

    /// Of the only quota group: what it holds, and how much it may.
    fn quota(&self) -> (u64, Option<u64>) {
        let at = self.state();
        let text = run("btrfs", &["qgroup", "show", "--raw", "--sync", "-r", at.to_str().unwrap()]);
        let line = text.lines().find(|line| line.starts_with("0/5 ")).unwrap();
        let mut words = line.split_whitespace().skip(1);
        let holds = words.next().unwrap().parse().unwrap();
        (holds, words.nth(1).and_then(|word| word.parse().ok()))
    }

    fn lay_ballast(&self, bytes: u64) {
        let path = self.state().join("ballast");
        let file = std::fs::File::create(&path).unwrap();
        // What the allocation itself takes shows only afterwards; the last of it is taken byte by byte.
        let most = bytes.max(MIB);
        for _ in 0..6 {
            let more = self.available().saturating_sub(most);
            let size = file.metadata().unwrap().len();
            // One that has to be rounded up may be too much by a little.
            for more in [more, more.saturating_sub(4 * MIB)] {
                let flags = rustix::fs::FallocateFlags::empty();
                if more > 0 && rustix::fs::fallocate(&file, flags, size, more).is_ok() {
                    break;
                }
            }
            rustix::fs::syncfs(&file).unwrap();
        }
    }
}

impl Lab for Small {
    fn host(&self) -> &Installation {
        &self.host
    }

    fn available(&self) -> u64 {
        if self.kind == Kind::BtrfsQuota {
            let (holds, limit) = self.quota();
            return limit.map_or(u64::MAX, |limit| limit.saturating_sub(holds));
        }
        if self.kind == Kind::Btrfs {
            rustix::fs::sync();
        }
        let stat = rustix::fs::statvfs(self.state()).unwrap();
        stat.f_bavail * stat.f_frsize
    }

    fn leave(&self, bytes: u64) {
        let (state, filler) = (self.state(), self.state().join("filler"));
        let _ = std::fs::remove_file(state.join("ballast"));
        let _ = std::fs::remove_file(&filler);
        rustix::fs::sync();
        if self.kind == Kind::BtrfsQuota {
            // Even the limit cannot be changed without room: what is deleted next time makes it.
            run("btrfs", &["qgroup", "limit", "none", state.to_str().unwrap()]);
            std::fs::write(state.join("ballast"), vec![7; MIB as usize]).unwrap();
            rustix::fs::sync();
            let limit = (self.quota().0 + bytes).to_string();
            run("btrfs", &["qgroup", "limit", &limit, state.to_str().unwrap()]);
        } else {
            self.lay_ballast(bytes);
        }
        if bytes == 0 {
            fill(&filler);
        } else if bytes < MIB {
            use std::io::Write;
            let mut file = std::fs::File::create(&filler).unwrap();
            while self.available() > bytes {
                file.write_all(&[7; 4096]).unwrap();
                file.sync_all().unwrap();
            }
        }
        let left = self.available();
        assert!(
            left <= bytes + self.kind.grain() && left + self.kind.grain() >= bytes,
            "{left} left instead of {bytes}"
        );
    }

    fn full(&self) -> &'static str {
        if self.kind == Kind::BtrfsQuota { "quota exceeded" } else { "No space left on device" }
    }

    fn missing(&self) -> &'static str {
        if self.kind == Kind::BtrfsQuota { "a quota allows less than the " } else { " missing; " }
    }

    fn assert_clean(&self) {
        self.host.assert_nothing_left();
        let images = std::fs::read_dir(self.state().join("store/images")).unwrap();
        let drafts: Vec<_> = images
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.starts_with('.'))
            .collect();
        assert_eq!(drafts, [] as [&str; 0]);
    }
}

/// Fills what is left to the last byte, as a user of the file system would.
pub fn fill(path: &Path) {
    use std::io::Write;
    // Not even a name.
    let Ok(mut file) = std::fs::File::create(path) else { return };
    for size in [MIB as usize, 4096, 1] {
        while file.write_all(&vec![7; size]).and_then(|()| file.sync_data()).is_ok() {}
    }
}

#[track_caller]
fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).env("PATH", harness::program::PATH).output().unwrap();
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

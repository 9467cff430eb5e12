//! The store of directories on a small file system of its own, in a file.

use std::path::PathBuf;
use std::process::Command;

use super::{FLOORS, Lab, MIB};
use crate::harness::{self, Installation};

/// A file system of `mib` with nothing but the store and ballast on it.
pub struct Small {
    host: Installation,
}

impl Small {
    pub fn make(mib: u64) -> Self {
        Self::with_reserve(mib, "0")
    }

    pub fn with_reserve(mib: u64, reserve: &str) -> Self {
        let host = Installation::empty();
        host.configure(&format!(
            "version = 1\ndigests = \"never\"\n[dir]\nreserve = \"{reserve}\"\n{FLOORS}"
        ));
        let disk = host.path().join("disk");
        std::fs::File::create(&disk).unwrap().set_len(mib * MIB).unwrap();
        let at = host.at("/var/lib/zchroot");
        std::fs::create_dir_all(&at).unwrap();
        // No room for root alone: what is full is full for everybody.
        run("mkfs.ext4", &["-q", "-m", "0", "-F", disk.to_str().unwrap()]);
        // The loop device goes with the mount, and that with the installation.
        run("mount", &["-o", "loop", disk.to_str().unwrap(), at.to_str().unwrap()]);
        host.zchroot(["init"]).ok();
        Self { host }
    }

    fn state(&self) -> PathBuf {
        self.host.at("/var/lib/zchroot")
    }
}

impl Lab for Small {
    fn host(&self) -> &Installation {
        &self.host
    }

    fn available(&self) -> u64 {
        let stat = rustix::fs::statvfs(self.state()).unwrap();
        stat.f_bavail * stat.f_frsize
    }

    fn leave(&self, bytes: u64) {
        let path = self.state().join("ballast");
        let _ = std::fs::remove_file(&path);
        let _ = std::fs::remove_file(self.state().join("filler"));
        rustix::fs::sync();
        let file = std::fs::File::create(&path).unwrap();
        // What the allocation itself takes shows only afterwards; the last of it is taken byte by byte.
        let most = bytes.max(MIB);
        for _ in 0..4 {
            let more = self.available().saturating_sub(most);
            let size = file.metadata().unwrap().len();
            if more > 0 {
                rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), size, more).unwrap();
            }
        }
        if bytes == 0 {
            fill(&self.state().join("filler"));
        } else if bytes < MIB {
            use std::io::Write;
            let mut file = std::fs::File::create(self.state().join("filler")).unwrap();
            while self.available() > bytes {
                file.write_all(&[7; 4096]).unwrap();
                file.sync_all().unwrap();
            }
        }
        let left = self.available();
        assert!(left <= bytes && left + 64 * 1024 >= bytes, "{left} left instead of {bytes}");
    }

    fn full(&self) -> &'static str {
        "No space left on device"
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
pub fn fill(path: &std::path::Path) {
    use std::io::Write;
    let mut file = std::fs::File::create(path).unwrap();
    for size in [MIB as usize, 4096, 1] {
        while file.write_all(&vec![7; size]).and_then(|()| file.sync_data()).is_ok() {}
    }
}

#[track_caller]
fn run(program: &str, args: &[&str]) {
    let output = Command::new(program).args(args).env("PATH", harness::program::PATH).output().unwrap();
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

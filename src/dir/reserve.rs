//! The reserve: a file of blocks that nobody else can have, and that goes when room is needed to clear up.
//!
//! `STORE/reserve`, allocated and never written. What a crash left short is made whole by the next lay. A file
//! system that cannot promise blocks (ZFS, for one: its fallocate reserves nothing) has no reserve.

use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;

use rustix::fs::{CWD, FallocateFlags, Mode, OFlags};

use super::{DirStore, failed};
use crate::store::{Error, ErrorKind, Outcome, Reserve, Result};
use crate::sys::{effect, file};

impl DirStore {
    fn reserve_file(&self) -> std::path::PathBuf {
        self.layout.dir_store().join("reserve")
    }

    pub(super) fn reserve_state(&self) -> Result<Reserve> {
        let laid = file::stat(&self.reserve_file())?.map_or(0, |meta| meta.len().min(meta.blocks() * 512));
        Ok(Reserve { size: self.reserve, laid })
    }

    pub(super) fn drop_reserve(&self) -> Result<Outcome> {
        let path = self.reserve_file();
        if file::stat(&path)?.is_none() {
            return Ok(Outcome::Unchanged);
        }
        file::remove(&path)?;
        Ok(Outcome::Changed)
    }

    pub(super) fn allocate_reserve(&self) -> Result<Outcome> {
        let Reserve { size, laid } = self.reserve_state()?;
        if size == laid {
            return Ok(Outcome::Unchanged);
        }
        let path = self.reserve_file();
        if size == 0 {
            return self.drop_reserve();
        }
        let made = self.allocate(size).and_then(|()| match self.reserve_state()?.laid {
            laid if laid >= size => Ok(Outcome::Changed),
            _ => {
                let why = "this file system cannot promise blocks";
                Err(Error::new(ErrorKind::Unsupported, "reserve room in", path.display().to_string(), why))
            }
        });
        if made.is_err() {
            // Half a reserve is only in the way.
            file::remove(&path)?;
        }
        made
    }

    fn allocate(&self, size: u64) -> Result<()> {
        let path = self.reserve_file();
        let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let step = |name, call: &dyn Fn() -> rustix::io::Result<()>| {
            effect::point(name)
                .and_then(|()| Ok(call()?))
                .map_err(|error| Error::io("reserve room in", path.display().to_string(), error))
        };
        effect::point("open reserve").map_err(failed("make", &path))?;
        let made = rustix::fs::openat(CWD, &path, flags, Mode::RUSR | Mode::WUSR);
        let made = made.map_err(|error| failed("make", &path)(error.into()))?;
        let fd = made.as_fd();
        step("truncate reserve", &|| rustix::fs::ftruncate(fd, size))?;
        step("fallocate", &|| rustix::fs::fallocate(fd, FallocateFlags::empty(), 0, size))?;
        step("fsync", &|| rustix::fs::fsync(fd))
    }
}

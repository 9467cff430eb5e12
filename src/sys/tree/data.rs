//! Copying the bytes of a file, holes left out.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::fs::{SeekFrom, Stat};
use rustix::io::Errno;

use super::retry;

/// The most that one copy_file_range(2) does, so that progress shows and signals get in.
const STEP: usize = 8 << 20;

pub(super) fn copy(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    stat: &Stat,
    progress: &mut dyn FnMut(u64),
) -> io::Result<()> {
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    if super::allocated(stat) >= size {
        copy_range(from, to, 0, size, progress)?;
    } else {
        let mut at = 0;
        while let Some((start, end)) = next_data(from, at, size)? {
            copy_range(from, to, start, end, progress)?;
            at = end;
        }
    }
    // A hole at the end.
    Ok(rustix::fs::ftruncate(to, size)?)
}

fn next_data(file: BorrowedFd<'_>, at: u64, size: u64) -> io::Result<Option<(u64, u64)>> {
    if at >= size {
        return Ok(None);
    }
    match rustix::fs::seek(file, SeekFrom::Data(at)) {
        Ok(start) if start >= size => Ok(None),
        Ok(start) => Ok(Some((start, rustix::fs::seek(file, SeekFrom::Hole(start))?.min(size)))),
        Err(Errno::NXIO) => Ok(None),
        Err(Errno::INVAL) => Ok(Some((at, size))),
        Err(error) => Err(error.into()),
    }
}

fn copy_range(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    start: u64,
    end: u64,
    progress: &mut dyn FnMut(u64),
) -> io::Result<()> {
    let (mut read, mut written) = (start, start);
    while read < end {
        let step = usize::try_from(end - read).map_or(STEP, |left| left.min(STEP));
        let copied =
            retry(|| rustix::fs::copy_file_range(from, Some(&mut read), to, Some(&mut written), step));
        match copied {
            Ok(0) => return copy_bytes(from, to, written, end, progress),
            Ok(copied) => progress(copied as u64),
            Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM) => {
                return copy_bytes(from, to, written, end, progress);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// By read and write, for file systems that cannot do better. Ends early where the file does.
pub(super) fn copy_bytes(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    mut at: u64,
    end: u64,
    progress: &mut dyn FnMut(u64),
) -> io::Result<()> {
    let mut buffer = vec![0; 256 << 10];
    while at < end {
        let room = usize::try_from(end - at).map_or(buffer.len(), |left| left.min(buffer.len()));
        let part = buffer.get_mut(..room).unwrap_or_default();
        let read = retry(|| rustix::io::pread(from, &mut *part, at))?;
        let mut rest = part.get(..read).unwrap_or_default();
        if rest.is_empty() {
            break;
        }
        while !rest.is_empty() {
            let written = retry(|| rustix::io::pwrite(to, rest, at))?;
            rest = rest.get(written..).unwrap_or_default();
            at += written as u64;
            progress(written as u64);
        }
    }
    Ok(())
}

//! Reading files of a tree to compare or digest them; holes cost no reading.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;

use rustix::fs::SeekFrom;
use rustix::io::Errno;
use sha2::{Digest, Sha256};

use super::retry;

const BUFFER: usize = 256 << 10;
/// Holes are told of, and signals looked for, at least once in so many bytes.
const STEP: u64 = 64 << 20;

/// Hears of bytes that were read; an error from it ends the reading.
pub type Step<'a> = dyn FnMut(u64) -> io::Result<()> + 'a;

/// SHA-256 of a file's bytes; a hole is the zeros that it reads as.
///
/// # Errors
/// As pread(2), or what `step` says.
pub fn digest_file(file: &File, step: &mut Step<'_>) -> io::Result<[u8; 32]> {
    let mut hash = Sha256::new();
    let size = size_of(file)?;
    let mut buffer = vec![0; BUFFER];
    let mut at = 0;
    while at < size {
        let (from, to) = data(file, at, size)?;
        zeros(&mut hash, from - at, step)?;
        at = from;
        while at < to {
            let read = read_at(file, &mut buffer, at, to)?;
            if read == 0 {
                // It became shorter under us: what is left is what there is.
                return Ok(hash.finalize().into());
            }
            hash.update(buffer.get(..read).unwrap_or_default());
            at += read as u64;
            step(read as u64)?;
        }
    }
    Ok(hash.finalize().into())
}

fn zeros(hash: &mut Sha256, mut count: u64, step: &mut Step<'_>) -> io::Result<()> {
    let zeros = [0; 16 << 10];
    let mut told = 0;
    while count > 0 {
        let part = usize::try_from(count).map_or(zeros.len(), |count| count.min(zeros.len()));
        hash.update(zeros.get(..part).unwrap_or_default());
        count -= part as u64;
        told += part as u64;
        if told >= STEP || count == 0 {
            step(told)?;
            told = 0;
        }
    }
    Ok(())
}

/// Whether two files have the same bytes. Where both have a hole nothing is read.
///
/// # Errors
/// As pread(2), or what `step` says.
pub fn same_bytes(one: &File, other: &File, step: &mut Step<'_>) -> io::Result<bool> {
    let size = size_of(one)?;
    if size_of(other)? != size {
        return Ok(false);
    }
    let mut buffers = (vec![0; BUFFER], vec![0; BUFFER]);
    let mut at = 0;
    while at < size {
        let from = data(one, at, size)?.0.min(data(other, at, size)?.0);
        at = from;
        let end = at.saturating_add(BUFFER as u64).min(size);
        while at < end {
            let left = read_at(one, &mut buffers.0, at, end)?;
            let right = read_at(other, &mut buffers.1, at, at + left as u64)?;
            if left != right || buffers.0.get(..left) != buffers.1.get(..right) {
                return Ok(false);
            }
            if left == 0 {
                return Ok(true);
            }
            at += left as u64;
            step(left as u64)?;
        }
    }
    Ok(true)
}

/// Reads until the buffer or the range is full, or the file ends.
fn read_at(file: &File, buffer: &mut [u8], at: u64, end: u64) -> io::Result<usize> {
    let room = usize::try_from(end - at).map_or(buffer.len(), |left| left.min(buffer.len()));
    let mut filled = 0;
    while filled < room {
        let part = buffer.get_mut(filled..room).unwrap_or_default();
        match retry(|| rustix::io::pread(file, &mut *part, at + filled as u64))? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}

/// Where there is data at or after `at`, and where it ends; both `size` if there is none.
fn data(file: &File, at: u64, size: u64) -> io::Result<(u64, u64)> {
    match rustix::fs::seek(file, SeekFrom::Data(at)) {
        Ok(from) if from >= size => Ok((size, size)),
        Ok(from) => Ok((from, rustix::fs::seek(file, SeekFrom::Hole(from))?.clamp(from, size))),
        Err(Errno::NXIO) => Ok((size, size)),
        // A file system that cannot say.
        Err(Errno::INVAL | Errno::OPNOTSUPP) => Ok((at, size)),
        Err(error) => Err(error.into()),
    }
}

fn size_of(file: &File) -> io::Result<u64> {
    Ok(u64::try_from(rustix::fs::fstat(file.as_fd())?.st_size).unwrap_or(0))
}

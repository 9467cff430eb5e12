//! A tar archive, plain or compressed, becomes a tree.
//!
//! ```text
//! stream.rs   the archive's bytes, whatever they are compressed with
//! archive.rs  the walk over headers, extensions and data
//! header.rs   what one header and its extensions say
//! pax.rs      records of extended headers
//! acl.rs      ACLs that are text
//! ```

mod acl;
pub(super) mod archive;
mod header;
mod pax;
pub(super) mod stream;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use self::archive::Archive;
use self::stream::{Input, Stream};
use super::Filled;
use super::dedup::Lender;
use super::error::{Error, Result};
use super::unpack::{Aside, Site, Unpacking};
use crate::store::Progress;

/// Unpacks the archive `name` of `size` bytes into the mounted empty tree `root`.
///
/// # Errors
/// The archive is wrong or there is no room: an error that names the entry.
pub(super) fn fill(
    archive: &File,
    size: u64,
    name: &str,
    root: &Path,
    mut lender: Option<&mut Lender<'_>>,
    progress: &mut dyn Progress,
) -> Result<Filled> {
    let unpacking = start(archive.as_fd(), name, root, lender.as_deref_mut())?;
    progress.start(&format!("unpack {name}"), Some(size));
    let filled = unpacking.finish(progress, lender.map(|lender| lender as &mut dyn Aside));
    progress.finish();
    filled
}

/// Starts the worker on an open archive, which may be a pipe.
pub(super) fn start(
    archive: BorrowedFd<'_>,
    name: &str,
    root: &Path,
    lender: Option<&mut Lender<'_>>,
) -> Result<Unpacking> {
    let copy = archive.try_clone_to_owned().map(File::from);
    let archive = copy.map_err(|error| Error::failed("start to unpack", name, error))?;
    Unpacking::start(&[archive.as_fd()], name, root, lender, |site| unpack(&archive, site))
}

fn unpack(archive: &File, site: &mut Site) -> io::Result<()> {
    let input = Input::over(Box::new(archive.try_clone()?), site.beat.clone());
    let mut archive = Archive::new(Stream::new(input)?);
    while let Some(member) = archive.next()? {
        site.entry.clone_from(&member.path);
        site.tree.write(&member, &mut archive.data())?;
        site.entry.clear();
    }
    // To the end: checksums stand there, and whoever writes the pipe must not be cut off.
    io::copy(&mut archive.into_inner(), &mut io::sink())?;
    Ok(())
}

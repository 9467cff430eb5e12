//! What an archive is called by, before it is unpacked.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;

use rustix::fs::{CWD, Mode, OFlags};

use super::record::{NewImage, Origin};
use crate::import::Source;
use crate::import::error::{Error, Result};
use crate::import::hash::Sum;
use crate::import::source::Input;
use crate::store::{Digest, Layout, Progress};
use crate::sys::{effect, file};

const CHUNK: usize = 1 << 20;

/// What it is called by, and the archive itself: a file that others could change meanwhile was copied first, else
/// somebody might have one thing summed up and another unpacked under its name.
pub(super) fn identify(
    source: &Source,
    input: Input,
    layout: &Layout,
    progress: &mut dyn Progress,
) -> Result<(NewImage, Input)> {
    let named = |digest, kind| NewImage {
        digest,
        kind,
        origin: source.to_string(),
        manifest: None,
        architecture: None,
    };
    let name = source.to_string();
    match input {
        Input::Oci(image) => {
            let kind = if matches!(source, Source::Oci { .. }) { Origin::Oci } else { Origin::DockerArchive };
            let mut new = named(image.id.clone(), kind);
            new.manifest.clone_from(&image.manifest);
            new.architecture = Some(image.architecture.clone()).filter(|text| !text.is_empty());
            Ok((new, Input::Oci(image)))
        }
        Input::Squashfs { image, size } => {
            let (image, digest) = sum(image, size, &name, layout, progress)?;
            Ok((named(digest, Origin::Squashfs), Input::Squashfs { image, size }))
        }
        Input::Tar { archive, size } => {
            let (archive, digest) = sum(archive, size, &name, layout, progress)?;
            Ok((named(digest, Origin::Tar), Input::Tar { archive, size }))
        }
        Input::Bootstrap(_) | Input::Directory(_) => Err(Error::NotASource {
            object: name,
            why: "an image is made from an archive: a squashfs image, a tar archive, oci: or docker-archive:"
                .to_owned(),
        }),
    }
}

fn sum(
    archive: File,
    size: u64,
    name: &str,
    layout: &Layout,
    progress: &mut dyn Progress,
) -> Result<(File, Digest)> {
    progress.start(&format!("read {name}"), Some(size));
    let read = if is_roots_alone(&archive).map_err(|error| Error::failed("stat", name, error))? {
        let digest = pass(&archive, &mut io::sink(), progress);
        digest.map(|digest| (archive, digest)).map_err(|error| Error::failed("read", name, error))
    } else {
        copy(&archive, name, layout, progress)
    };
    progress.finish();
    read
}

fn is_roots_alone(file: &File) -> io::Result<bool> {
    let stat = file.metadata()?;
    Ok(stat.uid() == 0 && stat.mode() & 0o022 == 0)
}

/// A copy without a name: whatever happens, it goes with us.
fn copy(archive: &File, name: &str, layout: &Layout, progress: &mut dyn Progress) -> Result<(File, Digest)> {
    let failed = |error: io::Error| Error::failed("copy", name, error);
    file::make_dirs(&layout.images(), 0o755)?;
    effect::point("make temp file").map_err(failed)?;
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let copy = rustix::fs::openat(CWD, layout.images(), flags, Mode::RUSR | Mode::WUSR);
    let mut copy = File::from(copy.map_err(|error| failed(error.into()))?);
    let digest = pass(archive, &mut copy, progress).map_err(failed)?;
    io::Seek::rewind(&mut copy).map_err(failed)?;
    Ok((copy, digest))
}

fn pass(archive: &File, into: &mut dyn Write, progress: &mut dyn Progress) -> io::Result<Digest> {
    let sum = Sum::default();
    let mut reader = sum.over(archive);
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = match reader.read(&mut chunk) {
            Ok(0) => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        into.write_all(chunk.get(..read).unwrap_or_default())?;
        progress.advance(read as u64);
    }
    let mut archive = archive;
    io::Seek::rewind(&mut archive)?;
    Ok(sum.digest())
}

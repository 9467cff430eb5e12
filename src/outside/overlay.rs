//! What a session writes over a tree that it must not change: an overlay of its own, by the rules of the dir store's.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::mount::open;
use super::{failed, make_folder, remove_in};
use crate::dir::overlay::{self, Layers};
use crate::store::{Error, ErrorKind, MountOptions, Result, SessionId};
use crate::sys::{effect, file, tree};

const UPPER: &str = "upper";
const WORK: &str = "work";
/// How long the directories may be held by a mount that is on its way out.
const PATIENCE: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(10);

/// Makes the directories of a session; the top of its tree will look like that of `lower`.
pub(super) fn make(folder: &Path, session: &SessionId, lower: &Path) -> Result<()> {
    make_folder(folder)?;
    let place = folder.join(session.as_str());
    // Closed to others: a tree is reached through its mount only.
    file::make_dir(&place, 0o700)?;
    file::make_dir(&place.join(WORK), 0o700)?;
    let upper = place.join(UPPER);
    file::make_dir(&upper, 0o700)?;
    let (from, to) = (open(lower)?, file::open_dir(&upper)?);
    effect::point("copy attributes")
        .and_then(|()| tree::copy_attributes(from.as_fd(), to.as_fd()))
        .map_err(failed("set the attributes of", &upper))?;
    for dir in [&upper, &place] {
        file::sync_dir(dir)?;
    }
    Ok(file::sync_parent(&place)?)
}

/// Mounts the overlay.
pub(super) fn mount(
    folder: &Path,
    session: &SessionId,
    lower: &Path,
    at: &Path,
    options: MountOptions,
) -> Result<()> {
    let place = folder.join(session.as_str());
    let (upper, work) = (place.join(UPPER), place.join(WORK));
    let layers = Layers { lower, upper: &upper, work: &work };
    let deadline = Instant::now() + PATIENCE;
    loop {
        match try_mount(&layers, at, options) {
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) && Instant::now() < deadline => {
                sleep(PAUSE);
            }
            other => return other.map_err(failed("mount", &place)),
        }
    }
}

fn try_mount(layers: &Layers<'_>, at: &Path, options: MountOptions) -> io::Result<()> {
    effect::point("mount")?;
    overlay::mount(layers, at, options)
}

/// Removes the directories of a session, with all that it wrote.
pub(super) fn discard(folder: &Path, name: &str) -> Result<()> {
    let place = folder.join(name);
    if crate::dir::is_upper(&[&place.join(UPPER)])? {
        return Err(Error::new(ErrorKind::Busy, "remove", place.display().to_string(), "it is mounted"));
    }
    remove_in(folder, name)
}

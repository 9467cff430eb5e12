//! Takes away again what a former layer made.

use std::io;

use rustix::fs::{AtFlags, Dir, FileType, OFlags};

use super::tree::{BENEATH, Tree};
use crate::sys::whereabouts::Place;

/// What a directory holds: a name, and what it is.
type Entry = (Vec<u8>, FileType);

impl Tree {
    /// Removes what is in a directory, but for what `keep` names and what leads there. If there is no such
    /// directory, nothing is to be done.
    pub(in crate::import) fn clear_directory(
        &mut self,
        path: &[u8],
        keep: &dyn Fn(&[u8]) -> bool,
    ) -> io::Result<()> {
        let _work = self.at(Place::Store);
        // A list instead of recursion: the depth is the archive's.
        let mut pending = vec![(path.to_vec(), false)];
        while let Some((directory, emptied)) = pending.pop() {
            if emptied {
                if directory != path && !keep(&directory) {
                    self.remove(&directory)?;
                }
                continue;
            }
            let Some(entries) = self.entries(&directory)? else { continue };
            pending.push((directory, true));
            for (child, kind) in entries {
                if kind == FileType::Directory {
                    pending.push((child, false));
                } else if !keep(&child) {
                    self.remove(&child)?;
                }
            }
            self.alive()?;
        }
        Ok(())
    }

    /// As [`Tree::clear_directory`], and what stands at `path` too.
    pub(in crate::import) fn remove_all(
        &mut self,
        path: &[u8],
        keep: &dyn Fn(&[u8]) -> bool,
    ) -> io::Result<()> {
        self.clear_directory(path, keep)?;
        let (parent, name) = super::tree::split(path);
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let there = self
            .beneath(parent, flags, BENEATH)
            .and_then(|parent| Ok(rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?));
        match there {
            Ok(_) if keep(path) => Ok(()),
            Ok(_) => self.remove(path),
            Err(error) if is_absent(&error) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The paths below a directory and what they are; `None` if it is none.
    fn entries(&self, path: &[u8]) -> io::Result<Option<Vec<Entry>>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = match self.beneath(path, flags, BENEATH) {
            Err(error) if is_absent(&error) => return Ok(None),
            other => other?,
        };
        let mut found = Vec::new();
        for entry in Dir::read_from(&directory)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            let kind = match entry.file_type() {
                FileType::Unknown => {
                    let stat = rustix::fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
                    FileType::from_raw_mode(stat.st_mode)
                }
                known => known,
            };
            let mut child = path.to_vec();
            if !child.is_empty() {
                child.push(b'/');
            }
            child.extend(name);
            found.push((child, kind));
        }
        Ok(Some(found))
    }
}

/// There is nothing at the path, or no directory.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR | libc::ELOOP))
}

//! The part of a session that stands in the running system: mount, set-up, processes. Gone with a reboot.

use std::time::Duration;

use super::record::{Kind, Record};
use super::scripts::{Part, Stage};
use super::setup::{self, SetupInfo};
use super::{Error, PATIENCE, Sessions};
use crate::store::{Memory, MountOptions};
use crate::sys::cgroup::Cgroup;
use crate::sys::file;
use crate::sys::lock::{self, Lock};
use crate::sys::mount::{self, How};
use crate::sys::mountinfo::Source;
use crate::sys::reap::{self, Left};
use crate::template::{Overlay, Profile};

/// What left-over processes get between TERM and KILL.
const GRACE: Duration = Duration::from_millis(500);

impl Sessions<'_> {
    /// Mounts the session's tree and sets it up by its profile.
    pub(crate) fn bring_up(&self, record: &Record, profile: &Profile) -> Result<(), Error> {
        let at = self.layout().mount(&record.id);
        self.prepare_mounts()?;
        file::make_dir(&at, 0o755)?;
        // Here and nowhere else: who enters a session while it ends must not bring its cgroup back.
        if !record.is_bare() {
            Cgroup::make(&self.cgroup_name(record)?)
                .map_err(|error| Error::sys("make the cgroup of", &record.id, error))?;
        }
        // On the host's side setuid bits and devices are inert: a user who finds the mount in /run gains
        // nothing by what a session's root left there. A command gets its own mount without them.
        let options = MountOptions {
            nosuid: true,
            nodev: true,
            volatile: Self::is_volatile(record),
            memory: memory(record),
        };
        let stage = Stage::bringing_up(record);
        self.run_scripts(record, stage, Part::BeforeMounts)?;
        match &record.foreign {
            Some(foreign) => foreign.tree.mount(&record.id, &at, &self.staging(&record.id), options)?,
            None => self.store().mount(&record.tree(), &at, options)?,
        }
        self.set_up(record, profile)?;
        self.run_scripts(record, stage, Part::AfterMounts)
    }

    /// Sets a mounted tree up by a profile; can be repeated.
    pub(super) fn set_up(&self, record: &Record, profile: &Profile) -> Result<(), Error> {
        if record.is_bare() {
            return Ok(());
        }
        let at = self.layout().mount(&record.id);
        let mode = mode(record);
        let info = SetupInfo { template: record.template.as_str(), session: record.id.as_str() };
        setup::apply(&at, profile, mode, &info)?;
        Ok(())
    }

    /// Makes the folder of mounts, shared with its copies in other mount namespaces, so that what is unmounted here is
    /// unmounted there.
    pub(crate) fn prepare_mounts(&self) -> Result<(), Error> {
        file::make_dirs(&self.layout().run(), 0o755)?;
        file::make_dirs(&self.layout().mounts(), 0o755)?;
        self.share_mounts()
    }

    /// Whether all that a profile mounts in the tree of a session is there.
    pub(super) fn is_set_up(&self, record: &Record, profile: &Profile) -> Result<bool, Error> {
        Ok(record.is_bare() || setup::stands(&self.layout().mount(&record.id), profile, mode(record))?)
    }

    /// Under a lock that only root can take: on the directory itself anybody could hold one for ever.
    fn share_mounts(&self) -> Result<(), Error> {
        let mounts = self.layout().mounts();
        if mount::is_mount_root(&mounts)? {
            return Ok(());
        }
        lock::make_folder(&self.layout().locks())?;
        let lock = Lock::take(&self.layout().mounts_lock(), PATIENCE)?;
        let _lock = lock.ok_or_else(|| {
            Error::sys("share", mounts.display(), std::io::Error::from_raw_os_error(libc::EBUSY))
        })?;
        mount::shared_parent(&mounts)?;
        Ok(())
    }

    /// Whether the session's tree is mounted.
    ///
    /// # Errors
    /// Its mount point cannot be looked at.
    pub fn is_mounted(&self, record: &Record) -> Result<bool, Error> {
        Ok(mount::is_mount_root(&self.layout().mount(&record.id))?)
    }

    /// Ends every process of the session and unmounts its tree; idempotent.
    ///
    /// Whoever cannot be ended is named in the error, and the tree stays mounted for him: a store could not
    /// destroy it under him, or would destroy it while he works on it.
    pub(crate) fn take_down(&self, record: &Record) -> Result<(), Error> {
        let at = self.layout().mount(&record.id);
        if record.is_bare() {
            // Who is in the tree is there without a session: nobody ends him.
            self.unmount(record, How::Lazy)?;
            file::remove_dir(&at)?;
            return Ok(());
        }
        let cgroup = self.cgroup(record)?;
        if record.has_changed_source() {
            self.clear_all(record, cgroup.as_ref())?;
            self.undo_set_up(record);
        }
        let killed = match cgroup.as_ref().map(Cgroup::kill) {
            Some(Ok(())) => true,
            // A kernel without cgroup.kill: one by one then.
            None | Some(Err(_)) => false,
        };
        if !killed || self.unmount(record, How::Strict).is_err() {
            self.clear_all(record, cgroup.as_ref())?;
            self.unmount_patiently(record)?;
        }
        self.put_away(record, cgroup)?;
        file::remove_dir(&at)?;
        Ok(())
    }

    /// As [`Sessions::take_down`], but every mount is really gone afterwards, in every mount namespace: only
    /// then is what was written through it (also by mmap) in the tree.
    pub(crate) fn quiesce(&self, record: &Record) -> Result<(), Error> {
        let at = self.layout().mount(&record.id);
        let cgroup = self.cgroup(record)?;
        self.clear_all(record, cgroup.as_ref())?;
        let source = reap::source_of(&at).map_err(|error| Error::sys("look at", at.display(), error))?;
        setup::undo_source(&at)?;
        mount::sync_filesystem(&at)?;
        self.unmount(record, How::Strict)?;
        if let Some(source) = source {
            self.wait_until_unmounted(record, &source)?;
        }
        self.put_away(record, cgroup)?;
        file::remove_dir(&at)?;
        Ok(())
    }

    /// Namespaces of processes that were just killed go a moment later than the processes.
    fn wait_until_unmounted(&self, record: &Record, source: &Source) -> Result<(), Error> {
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        loop {
            let holders = reap::namespaces_holding(source)
                .map_err(|error| Error::sys("look for mounts of", &record.id, error))?;
            match holders.into_iter().next() {
                None => return Ok(()),
                Some(holder) if std::time::Instant::now() >= deadline => {
                    return Err(Error::StillMounted { id: record.id.clone(), pid: holder.pid });
                }
                Some(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    /// Ends every process of the session, or says who stays.
    fn clear_all(&self, record: &Record, cgroup: Option<&Cgroup>) -> Result<(), Error> {
        let at = self.layout().mount(&record.id);
        let clear = if record.is_shared() { reap::clear_mount } else { reap::clear };
        let reaped = clear(&at, cgroup, GRACE)
            .map_err(|error| Error::sys("end the processes of", &record.id, error))?;
        tracing::debug!(session = %record.id, ?reaped, "processes ended");
        match reaped.left.into_iter().next() {
            None => Ok(()),
            Some(Left { pid, name, is_caller }) => {
                let id = record.id.clone();
                Err(match is_caller {
                    true => Error::CalledFromInside { id, pid, name },
                    false => Error::StillUsed { id, pid, name },
                })
            }
        }
    }

    /// What a process held that is gone is let go a moment after it. What is held by none (a swap file, a loop
    /// device) is taken out of sight: then it is for the store to say whether the tree can go.
    fn unmount_patiently(&self, record: &Record) -> Result<(), Error> {
        let deadline = std::time::Instant::now() + GRACE;
        while let Err(error) = self.unmount(record, How::Strict) {
            if std::time::Instant::now() >= deadline {
                let error = crate::sys::chain(&error);
                tracing::warn!(session = %record.id, %error, "no process uses the tree, but it is in use; it is unmounted lazily");
                return self.unmount(record, How::Lazy);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    fn unmount(&self, record: &Record, how: How) -> Result<(), Error> {
        let at = self.layout().mount(&record.id);
        mount::unmount_all(&at, how)?;
        Ok(())
    }

    fn put_away(&self, record: &Record, cgroup: Option<Cgroup>) -> Result<(), Error> {
        match cgroup {
            Some(cgroup) => {
                cgroup.remove().map_err(|error| Error::sys("remove the cgroup of", &record.id, error))
            }
            None => Ok(()),
        }
    }

    /// The session's cgroup; none on a host without cgroup v2, or if it is gone.
    pub(super) fn cgroup(&self, record: &Record) -> Result<Option<Cgroup>, Error> {
        Cgroup::open(&self.cgroup_name(record)?)
            .map_err(|error| Error::sys("open the cgroup of", &record.id, error))
    }

    fn cgroup_name(&self, record: &Record) -> Result<String, Error> {
        Ok(format!("{}{}", record.id, self.cgroup_suffix()?))
    }

    /// What the names of our cgroups end with: sessions under different roots may have one name.
    pub(crate) fn cgroup_suffix(&self) -> Result<String, Error> {
        let root = self.layout().root();
        if root == std::path::Path::new("/") {
            return Ok(String::new());
        }
        let inode = file::stat(root)?.map_or(0, |meta| std::os::unix::fs::MetadataExt::ino(&meta));
        Ok(format!("@{inode}"))
    }
}

fn mode(record: &Record) -> setup::Mode {
    match &record.foreign {
        Some(foreign) if foreign.tree.is_source => setup::Mode::Source,
        Some(foreign) if foreign.tree.is_shared() => setup::Mode::InPlace,
        None if record.kind == Kind::Source => setup::Mode::Source,
        _ => setup::Mode::Session,
    }
}

fn memory(record: &Record) -> Option<Memory> {
    match record.setup.overlay {
        Overlay::Disk => None,
        Overlay::Tmpfs { size } => Some(Memory { limit: size.map(|size| size.bytes()) }),
    }
}

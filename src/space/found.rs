//! What gc looks at: all that there is of sessions, drafts and files, and how old it is.

use std::path::PathBuf;
use std::time::SystemTime;

use super::gc::Gc;
use crate::session;
use crate::source::Error;
use crate::store::{SessionId, TemplateName, VersionId};
use crate::sys::cgroup::Cgroup;
use crate::sys::file;

impl Gc<'_> {
    pub(super) fn runs(&self) -> Result<Vec<(SessionId, SystemTime)>, Error> {
        let mut runs = Vec::new();
        for session in self.sessions.records().ids_and_runs()?.1 {
            if let Some(meta) = file::stat(&self.layout().runs(&session))? {
                runs.push((session, meta.modified().unwrap_or_else(|_| SystemTime::now())));
            }
        }
        Ok(runs)
    }

    pub(super) fn drafts(&self) -> Result<Vec<(TemplateName, VersionId, SystemTime)>, Error> {
        let mut drafts = Vec::new();
        for template in self.sessions.store().templates()? {
            for head in self.sessions.store().heads(&template)? {
                if !head.complete {
                    drafts.push((template.clone(), head.id, head.created));
                }
            }
        }
        Ok(drafts)
    }

    pub(super) fn locks(&self) -> Result<Vec<(SessionId, SystemTime)>, Error> {
        let mut locks = Vec::new();
        for name in file::list(&self.layout().locks())? {
            let Some(session) = name.strip_prefix("session-").and_then(|id| id.parse::<SessionId>().ok())
            else {
                continue;
            };
            if let Some(meta) = file::stat(&self.layout().session_lock(&session))? {
                locks.push((session, meta.modified().unwrap_or_else(|_| SystemTime::now())));
            }
        }
        Ok(locks)
    }

    pub(super) fn cgroups(&self) -> Result<Vec<(SessionId, SystemTime)>, Error> {
        let suffix = self.sessions.cgroup_suffix()?;
        let all = Cgroup::all().map_err(|error| session::Error::sys("list", "the cgroups", error))?;
        // Under another root they have another suffix, and one with a suffix is no name of a session.
        let ours = all.into_iter().filter_map(|(name, made)| {
            Some((name.strip_suffix(suffix.as_str())?.parse::<SessionId>().ok()?, made))
        });
        Ok(ours.collect())
    }

    /// Whoever writes one renames it at once: an old one was left by a crash.
    pub(super) fn temp_files(&self) -> Result<Vec<(PathBuf, SystemTime)>, Error> {
        let config = self.layout().config_dir();
        let mut folders = vec![
            self.layout().records(),
            self.layout().images(),
            self.layout().mounts(),
            config.join("templates.d"),
            config,
        ];
        for name in file::list(&self.layout().templates())? {
            let Ok(template) = name.parse::<TemplateName>() else { continue };
            folders.push(self.layout().templates().join(&name));
            folders.push(self.layout().versions(&template));
            folders.push(self.layout().pins(&template));
            folders.push(self.layout().digests(&template));
        }
        let mut found = Vec::new();
        for folder in folders {
            for name in file::list_temps(&folder)? {
                let path = folder.join(name);
                if let Some(meta) = file::stat(&path)? {
                    found.push((path, meta.modified().unwrap_or_else(|_| SystemTime::now())));
                }
            }
        }
        Ok(found)
    }

    pub(super) fn mounts(&self) -> Result<Vec<(SessionId, SystemTime)>, Error> {
        let mut mounts = Vec::new();
        for name in file::list(&self.layout().mounts())? {
            let Ok(session) = name.parse::<SessionId>() else { continue };
            // The mounted tree's times say nothing of the mount: the record's absence and the tree's age do,
            // so a mount point counts from its own last change.
            let at = self.layout().mount(&session);
            if let Some(meta) = file::stat(&at)? {
                mounts.push((session, meta.modified().unwrap_or_else(|_| SystemTime::now())));
            }
        }
        Ok(mounts)
    }
}

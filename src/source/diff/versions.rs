//! What is compared: two versions, or a session and its base.

use std::io;
use std::os::fd::BorrowedFd;

use serde::Serialize;

use super::compare::{Comparing, compare};
use super::{Change, Counts, Difference, PackageChange, escape, package_summary, read_packages};
use crate::session::record::{Record, State};
use crate::session::setup;
use crate::source::{Error, Sources};
use crate::store::{TemplateName, VersionId};
use crate::sys::mount::{Access, Detached};
use crate::sys::tree::{Guide, Step};
use crate::template::Overlay;

/// What is wanted of a comparison; each difference is told while the trees are walked.
pub struct Wanted<'a> {
    /// The files; else only the packages are looked at.
    pub files: bool,
    /// Compares all bytes, also where an inode says that it was not touched.
    pub full: bool,
    /// Hears of each difference.
    pub tell: &'a mut dyn FnMut(Difference) -> io::Result<()>,
    /// Hears of bytes that were read; an error from it ends the work.
    pub step: &'a mut Step<'a>,
}

impl std::fmt::Debug for Wanted<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wanted").field("files", &self.files).field("full", &self.full).finish_non_exhaustive()
    }
}

/// What a comparison found, beside the differences that were told.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Compared {
    /// How many entries differ; none if files were not asked for.
    pub counts: Option<Counts>,
    /// Packages that differ; none if one of the trees has no dpkg status.
    pub packages: Option<Vec<PackageChange>>,
}

impl Sources<'_> {
    /// Compares two complete versions of a template.
    ///
    /// # Errors
    /// One of them is not there, or cannot be read.
    pub fn diff(
        &self,
        template: &TemplateName,
        old: &VersionId,
        new: &VersionId,
        wanted: Wanted<'_>,
    ) -> Result<Compared, Error> {
        self.look_at(template, old, |before| {
            self.look_at(template, new, |after| {
                let object = || format!("versions {old} and {new} of {template}");
                let same_inodes = self.store().keeps_inodes() && !wanted.full;
                run(before, after, &Given { same_inodes, ..Given::default() }, wanted)
                    .map_err(|source| Error::Tree { op: "compare", object: object(), source })
            })
        })
    }

    /// Compares a session with what it was cloned from. The session must stand, and nobody may end it meanwhile:
    /// the caller holds its lock.
    ///
    /// # Errors
    /// It does not stand, has no base, or a tree cannot be read.
    pub fn diff_session(&self, record: &Record, wanted: Wanted<'_>) -> Result<Compared, Error> {
        let base = record.base.as_ref().ok_or_else(|| Error::no_base(record))?;
        self.look_at(&record.template, base, |before| self.diff_with(record, before, wanted))
    }

    /// Compares a session with a tree that it was cloned from.
    fn diff_with(
        &self,
        record: &Record,
        before: BorrowedFd<'_>,
        wanted: Wanted<'_>,
    ) -> Result<Compared, Error> {
        record.refuse_kept()?;
        if record.state != State::Ready || !self.sessions.is_mounted(record)? {
            return Err(Error::NotStanding(record.id.clone()));
        }
        let failed = |source| Error::Tree { op: "look at", object: format!("session {}", record.id), source };
        let at = self.layout().mount(&record.id);
        // The tree alone, without what is mounted in it.
        let access = Access { read_only: true, no_exec: true, ..Access::default() };
        let tree = Detached::bind(&at, false, access).map_err(failed)?;
        let on_disk = record.draft.is_none() && record.setup.overlay == Overlay::Disk;
        let guide = if on_disk && !wanted.full { self.store().written(&record.id)? } else { None };
        let same_inodes = self.store().keeps_inodes() && !wanted.full;
        // What a set-up made in a source session's tree goes before a commit.
        let made = setup::made_in(tree.root()).map_err(failed)?;
        let made: Vec<String> =
            made.iter().map(|path| escape(path.strip_prefix(b"/").unwrap_or(path))).collect();
        let given = Given { same_inodes, guide: guide.as_ref(), made };
        run(before, tree.root(), &given, wanted).map_err(failed)
    }

    /// Shows `look` the top of a complete version.
    pub(in crate::source) fn look_at<T>(
        &self,
        template: &TemplateName,
        version: &VersionId,
        look: impl FnOnce(BorrowedFd<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let (mut look, mut result) = (Some(look), None);
        self.store().look_at(template, version, &mut |top| {
            if let Some(look) = look.take() {
                result = Some(look(top));
            }
        })?;
        result.unwrap_or_else(|| {
            Err(Error::NoSuchVersion { template: template.clone(), version: version.to_string() })
        })
    }
}

/// What is known of two trees beforehand.
#[derive(Default)]
struct Given<'a> {
    same_inodes: bool,
    guide: Option<&'a Guide>,
    /// What is only there as long as the session stands.
    made: Vec<String>,
}

fn run(
    before: BorrowedFd<'_>,
    after: BorrowedFd<'_>,
    given: &Given<'_>,
    wanted: Wanted<'_>,
) -> io::Result<Compared> {
    let mut compared = Compared::default();
    if wanted.files {
        let mut counts = Counts::default();
        let mut how = Comparing { same_inodes: given.same_inodes, guide: given.guide, step: wanted.step };
        compare(before, after, &mut how, &mut |difference| {
            if difference.change == Change::Added && given.made.contains(&difference.path) {
                return Ok(());
            }
            counts.add(difference.change);
            (wanted.tell)(difference)
        })?;
        compared.counts = Some(counts);
    }
    if let (Some(old), Some(new)) = (read_packages(before)?, read_packages(after)?) {
        compared.packages = Some(package_summary(&old, &new));
    }
    Ok(compared)
}

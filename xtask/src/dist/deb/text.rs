//! What packages say of themselves. Pure: text out.

use super::super::Release;
use super::super::files::{Entry, Kind};

/// The version of the packages: that of the program, its suffix between two releases, and one of the packing that is below
/// any of a distribution's.
pub fn version(release: &Release) -> String {
    let variant = if release.no_zfs { "+nozfs" } else { "" };
    format!("{}{}-0dist1{variant}", release.version, release.commit.suffix)
}

/// `debian/control` of its template.
pub fn control(template: &str, release: &Release) -> String {
    template.replace("@MAINTAINER@", &release.maintainer())
}

/// One entry: what changed is in the program's own changelog.
pub fn changelog(release: &Release) -> String {
    format!(
        "zchroot ({}) unstable; urgency=medium\n\n  * Packed by `cargo xtask dist`.\n  * What changed is in \
         /usr/share/doc/zchroot/changelog.gz.\n\n -- {}  {}\n",
        version(release),
        release.maintainer(),
        release.commit.date
    )
}

/// Whether dpkg asks before it replaces a file that was changed.
pub fn is_conffile(entry: &Entry) -> bool {
    matches!(entry.kind, Kind::File { .. }) && entry.path.starts_with("etc/")
}

/// The list of such files.
pub fn conffiles(entries: &[Entry]) -> String {
    let lines = entries.iter().filter(|entry| is_conffile(entry)).map(|entry| format!("/{}\n", entry.path));
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dist::commit::Commit;

    fn release(suffix: &str, no_zfs: bool) -> Release {
        let commit = Commit {
            time: 0,
            date: "Thu, 01 Jan 1970 00:00:00 +0000".into(),
            author: "A Name <a@name>".into(),
            suffix: suffix.into(),
        };
        Release { root: "/nowhere".into(), version: "1.2.3".into(), commit, no_zfs }
    }

    #[test]
    fn a_release_without_zfs_has_a_version_of_its_own() {
        assert_eq!(version(&release("", false)), "1.2.3-0dist1");
        assert_eq!(version(&release("", true)), "1.2.3-0dist1+nozfs");
        assert_eq!(version(&release("~git20260101.abcdef01", false)), "1.2.3~git20260101.abcdef01-0dist1");
    }

    #[test]
    fn what_was_built_between_two_releases_is_older_than_the_second() {
        let order = [version(&release("~git2.b", false)), version(&release("", false))];
        assert!(crate::debian::archive::at_most(&order[0], &order[1]).unwrap(), "{order:?}");
        assert!(
            crate::debian::archive::at_most(&order[1], "1.2.3-1").unwrap(),
            "below a distribution's: {order:?}"
        );
        let earlier = version(&release("~git1.f", false));
        assert!(crate::debian::archive::at_most(&earlier, &order[0]).unwrap(), "{earlier} {order:?}");
    }

    #[test]
    fn the_changelog_has_the_form_that_dpkg_reads() {
        let text = changelog(&release("", false));
        assert!(text.starts_with("zchroot (1.2.3-0dist1) unstable; urgency=medium\n\n  * "), "{text}");
        assert!(text.ends_with(">  Thu, 01 Jan 1970 00:00:00 +0000\n"), "{text}");
    }

    #[test]
    fn files_below_etc_are_conffiles_and_nothing_else_is() {
        let entries = [
            Entry::plain("etc/zchroot/zchroot.toml", ""),
            Entry::dir("etc/zchroot/profiles"),
            Entry::plain("usr/etc/x", ""),
        ];
        assert_eq!(conffiles(&entries), "/etc/zchroot/zchroot.toml\n");
    }

    #[test]
    fn who_maintains_a_package_is_who_packs_it() {
        let release = release("", false);
        let text = control("Maintainer: @MAINTAINER@\n", &release);
        assert_eq!(text, format!("Maintainer: {}\n", release.maintainer()));
    }
}

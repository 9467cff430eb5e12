//! The names of our datasets: the one place where they are put together.

use crate::store::{Digest, Error, ErrorKind, Result, SessionId, TemplateName, VersionId};

/// A snapshot's name, the longest of ours, is `ROOT/templates/NAME/VID@VID`, each part at most 64 characters,
/// and ZFS allows 255.
const LONGEST_ROOT: usize = 255 - "/templates/".len() - 3 * 64 - 2;

/// All names under one root dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Names {
    root: String,
}

impl Names {
    /// The names under `base`, a pool or a dataset of one: `base/zchroot` is ours.
    pub(super) fn under(base: &str) -> Result<Self> {
        let root = format!("{base}/zchroot");
        match flaw(&root) {
            None => Ok(Self { root }),
            Some(why) => Err(Error::new(ErrorKind::Other, "use the dataset", format!("{base:?}"), why)),
        }
    }

    pub(super) fn root(&self) -> &str {
        &self.root
    }

    /// What the administrator named: it must be there before us.
    pub(super) fn base(&self) -> &str {
        self.root.rsplit_once('/').map_or(&self.root, |(base, _)| base)
    }

    pub(super) fn pool(&self) -> &str {
        self.root.split_once('/').map_or(&self.root, |(pool, _)| pool)
    }

    pub(super) fn state(&self) -> String {
        self.below("state")
    }

    pub(super) fn images(&self) -> String {
        self.below("images")
    }

    pub(super) fn image(&self, digest: &Digest) -> String {
        format!("{}/images/{digest}", self.root)
    }

    pub(super) fn templates(&self) -> String {
        self.below("templates")
    }

    pub(super) fn sessions(&self) -> String {
        self.below("sessions")
    }

    pub(super) fn reserve(&self) -> String {
        self.below("reserve")
    }

    pub(super) fn session(&self, id: &SessionId) -> String {
        format!("{}/sessions/{id}", self.root)
    }

    /// The container of a template's heads; its property says which version is current.
    pub(super) fn container(&self, template: &TemplateName) -> String {
        format!("{}/templates/{template}", self.root)
    }

    pub(super) fn head(&self, template: &TemplateName, version: &VersionId) -> String {
        format!("{}/templates/{template}/{version}", self.root)
    }

    /// The snapshot of a version while it still sits on its own head.
    pub(super) fn snapshot(&self, template: &TemplateName, version: &VersionId) -> String {
        format!("{}@{version}", self.head(template, version))
    }

    fn below(&self, name: &str) -> String {
        format!("{}/{name}", self.root)
    }
}

/// What makes a name unfit; libzetta and our lists know fewer characters than ZFS does.
fn flaw(root: &str) -> Option<&'static str> {
    let fit = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphanumeric())
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
    };
    if root.len() > LONGEST_ROOT {
        Some("the name is too long: 42 characters are left to it")
    } else if root.split('/').all(fit) {
        None
    } else {
        Some("want POOL or POOL/DATASET of letters, digits and _ . -")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datasets_lie_where_the_layout_says() {
        let names = Names::under("tank/data").unwrap();
        let (sid, v1) = ("sid".parse().unwrap(), "v1".parse().unwrap());
        assert_eq!(names.pool(), "tank");
        assert_eq!(names.base(), "tank/data");
        assert_eq!(names.root(), "tank/data/zchroot");
        assert_eq!(names.state(), "tank/data/zchroot/state");
        assert_eq!(names.images(), "tank/data/zchroot/images");
        assert_eq!(names.reserve(), "tank/data/zchroot/reserve");
        assert_eq!(names.container(&sid), "tank/data/zchroot/templates/sid");
        assert_eq!(names.head(&sid, &v1), "tank/data/zchroot/templates/sid/v1");
        assert_eq!(names.snapshot(&sid, &v1), "tank/data/zchroot/templates/sid/v1@v1");
        assert_eq!(names.session(&"s-1".parse().unwrap()), "tank/data/zchroot/sessions/s-1");
    }

    #[test]
    fn the_longest_names_still_fit() {
        let names = Names::under(&"p".repeat(42)).unwrap();
        let long = "n".repeat(64);
        let snapshot = names.snapshot(&long.parse().unwrap(), &long.parse().unwrap());
        assert_eq!(snapshot.len(), 255);
        assert!(Names::under(&"p".repeat(43)).is_err());
    }

    #[test]
    fn a_base_that_is_no_plain_dataset_name_is_refused() {
        for base in ["", "/tank", "tank/", "a//b", "a:b", "a b", "a@b", "-a", "a/../b", "tank\n", "a/#b"] {
            let error = Names::under(base).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Other, "{base:?}");
            assert!(error.to_string().starts_with("cannot use the dataset"), "{error}");
        }
    }
}

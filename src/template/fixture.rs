//! A host for tests: a directory with a configuration in it, trusted because it is ours.

#![expect(
    clippy::disallowed_methods,
    reason = "a test lays out the files that the code under test distrusts"
)]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::{fs, process};

use crate::store::Layout;

use super::account::{AccountName, Accounts};
use super::diagnostic::Fault;
use super::load::Loader;

pub(super) struct Host {
    root: tempfile::TempDir,
    layout: Layout,
}

impl Host {
    /// A host without a configuration.
    pub(super) fn bare() -> Self {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::new(root.path());
        Self { root, layout }
    }

    /// A host with these files under /etc/zchroot.
    pub(super) fn with(files: &[(&str, &str)]) -> Self {
        let host = Self::bare();
        for (name, text) in files {
            host.write(name, text);
        }
        host
    }

    pub(super) fn write(&self, name: &str, text: &str) {
        self.write_bytes(name, text.as_bytes());
    }

    pub(super) fn write_bytes(&self, name: &str, text: &[u8]) {
        let path = self.path(name);
        let folders = path.ancestors().skip(1).take_while(|path| *path != self.root.path());
        for folder in folders.collect::<Vec<_>>().into_iter().rev() {
            if !folder.is_dir() {
                fs::create_dir(folder).unwrap();
                fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
            }
        }
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.layout.config_dir().join(name)
    }

    pub(super) fn set_mode(&self, name: &str, mode: u32) {
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(mode)).unwrap();
    }

    pub(super) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// A loader that trusts the files of whoever runs the test.
    pub(super) fn loader(&self) -> Loader<'_> {
        Loader::trusting(&self.layout, rustix::process::geteuid().as_raw())
    }

    /// Text without the name of this host's directory.
    pub(super) fn plain(&self, text: &str) -> String {
        text.replace(&self.root.path().display().to_string(), "")
    }
}

/// The files of `etc/` in the source tree: (file name, text), sorted.
pub(super) fn shipped(dir: &str) -> Vec<(String, String)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("etc").join(dir);
    let mut files: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_type().unwrap().is_file())
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read_to_string(entry.path()).unwrap()))
        .collect();
    files.sort();
    files
}

/// Makes a fifo where a file is expected.
pub(super) fn make_fifo(path: &Path) {
    let made = rustix::fs::mknodat(
        rustix::fs::CWD,
        path,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        0,
    );
    assert!(made.is_ok(), "process {} cannot make a fifo", process::id());
}

/// An account database of a few fixed names.
pub(super) struct FewAccounts;

impl Accounts for FewAccounts {
    fn uid(&self, user: &AccountName) -> Option<u32> {
        match user.as_str() {
            "root" => Some(0),
            "alice" => Some(1001),
            "bob" => Some(1002),
            _ => None,
        }
    }

    fn gid(&self, group: &AccountName) -> Option<u32> {
        match group.as_str() {
            "root" => Some(0),
            "sudo" => Some(27),
            "sbuild" => Some(130),
            "users" => Some(100),
            _ => None,
        }
    }
}

/// What is said of each of these texts, which are all wrong; `version = 1` goes before each.
pub(super) fn faults<T: std::fmt::Debug>(parse: impl Fn(&str) -> Result<T, Fault>, texts: &[&str]) -> String {
    let mut all = String::new();
    for text in texts {
        let text = format!("version = 1\n{text}");
        let fault = parse(&text).unwrap_err();
        all += &format!("{}\n", fault.in_file(Path::new("f.toml"), &text));
    }
    all
}

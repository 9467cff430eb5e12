//! For tests: a small tree to enter, and a process of one's own to change.
//!
//! A tree lives in a mount namespace of the test's thread: whatever the test mounts is gone with the thread.

#![expect(clippy::disallowed_methods, reason = "tests build and look at trees of their own")]

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

use super::enter::{Directory, Ended, EnterError, Entry, Namespaces, Program, enter};
use super::env::{Filter, Variable};
use super::identity::Account;
use super::startup::Process;

/// A tmpfs with the host's programs, mounted for this thread alone.
pub(super) struct TestTree {
    dir: tempfile::TempDir,
}

impl TestTree {
    pub(super) fn new() -> Self {
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        let none = None::<&str>;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
        let tree = Self { dir: tempfile::tempdir().unwrap() };
        let root = tree.root();
        mount(Some("tree"), &root, Some("tmpfs"), MsFlags::empty(), Some("mode=755")).unwrap();
        for dir in ["usr", "proc", "tmp", "dev", "etc", "root", "home", "srv"] {
            fs::create_dir(root.join(dir)).unwrap();
        }
        fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
        for dir in ["bin", "sbin", "lib", "lib64"] {
            symlink(format!("usr/{dir}"), root.join(dir)).unwrap();
        }
        mount(Some("/usr"), &root.join("usr"), none, MsFlags::MS_BIND, none).unwrap();
        mount(Some("/dev"), &root.join("dev"), none, MsFlags::MS_BIND, none).unwrap();
        mount(Some("/proc"), &root.join("proc"), none, MsFlags::MS_BIND, none).unwrap();
        tree
    }

    pub(super) fn root(&self) -> PathBuf {
        self.dir.path().to_owned()
    }

    /// Writes a file of the tree; returns its path inside.
    pub(super) fn file(&self, name: &str, text: &str, mode: u32) -> String {
        let path = self.root().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        format!("/{name}")
    }

    pub(super) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.root().join(name)).unwrap()
    }

    pub(super) fn symlink(&self, target: &str, name: &str) {
        symlink(target, self.root().join(name)).unwrap();
    }
}

impl Drop for TestTree {
    fn drop(&mut self) {
        // The directory below is removed by its owner; without the mounts that is an empty one.
        let _ = umount2(&self.root(), MntFlags::MNT_DETACH);
    }
}

/// What a test enters, with defaults: root, a command, `/`.
pub(super) struct Visit {
    pub(super) user: &'static str,
    pub(super) program: Program,
    pub(super) directory: Directory,
    pub(super) namespaces: Namespaces,
    pub(super) hostname: Option<String>,
    pub(super) no_new_privs: bool,
    pub(super) extra: Vec<(&'static str, String)>,
}

impl Visit {
    pub(super) fn argv(words: &[&str]) -> Self {
        Self::program(Program::Argv(words.iter().map(OsString::from).collect()))
    }

    pub(super) fn script(text: &str) -> Self {
        Self::argv(&["sh", "-c", text])
    }

    pub(super) fn program(program: Program) -> Self {
        Self {
            user: "root",
            program,
            directory: Directory::Given("/".into()),
            namespaces: Namespaces::default(),
            hostname: None,
            no_new_privs: false,
            extra: Vec::new(),
        }
    }

    pub(super) fn user(mut self, user: &'static str) -> Self {
        self.user = user;
        self
    }

    pub(super) fn directory(mut self, directory: Directory) -> Self {
        self.directory = directory;
        self
    }

    pub(super) fn namespaces(mut self, namespaces: Namespaces) -> Self {
        self.namespaces = namespaces;
        self
    }

    pub(super) fn at(self, root: &Path) -> Result<Ended, EnterError> {
        self.at_with(root, |entry| enter(entry))
    }

    pub(super) fn at_with<T>(self, root: &Path, go: impl FnOnce(&Entry<'_>) -> T) -> T {
        let process = Process::unhardened().unwrap();
        let target = Account::by_name(self.user).unwrap();
        let environment: Vec<Variable> =
            process.environment().for_command(&target, false, &Filter::default(), &self.extra);
        go(&Entry {
            root,
            target: &target,
            program: self.program,
            directory: self.directory,
            environment,
            namespaces: self.namespaces,
            hostname: self.hostname,
            cgroup: None,
            process: &process,
            no_new_privs: self.no_new_privs,
        })
    }
}

/// Runs `body` in a process of its own; its result as the exit status, 101 for a panic.
pub(super) fn in_child(body: impl FnOnce() -> i32) -> i32 {
    match fork(body).wait() {
        Ended::Exited(status) => i32::from(status),
        Ended::Signaled(signal) => panic!("killed by signal {signal}"),
    }
}

/// A process that a test started.
pub(super) struct Forked(pub(super) nix::unistd::Pid);

impl Forked {
    pub(super) fn wait(self) -> Ended {
        use nix::sys::wait::{WaitStatus, waitpid};
        match waitpid(self.0, None).unwrap() {
            WaitStatus::Exited(_, status) => Ended::Exited(u8::try_from(status).unwrap()),
            WaitStatus::Signaled(_, signal, _) => Ended::Signaled(signal as i32),
            other => panic!("{other:?}"),
        }
    }
}

/// Starts a process that runs `body`.
pub(super) fn fork(body: impl FnOnce() -> i32) -> Forked {
    // SAFETY: the C library's fork keeps its own allocator usable in the child, which ends by _exit.
    match unsafe { nix::unistd::fork() }.unwrap() {
        nix::unistd::ForkResult::Parent { child } => Forked(child),
        nix::unistd::ForkResult::Child => {
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
            super::clone::exit_now(result.unwrap_or(101));
        }
    }
}

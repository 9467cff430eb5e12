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

use super::cgroup::Cgroup;
use super::enter::{Directory, Ended, EnterError, Entry, Namespaces, Program, enter};
use super::env::{Filter, Variable};
use super::identity::Account;
use super::startup::Process;

const NONE: Option<&str> = None;

/// A tmpfs with the host's programs, mounted for this thread alone.
pub(super) struct TestTree {
    /// Removed as an empty directory only, never with what is in it: the host's programs are mounted there.
    dir: PathBuf,
    store: Option<tempfile::TempDir>,
}

impl TestTree {
    pub(super) fn new() -> Self {
        let tree = Self::empty();
        mount(Some("tree"), &tree.root(), Some("tmpfs"), MsFlags::empty(), Some("mode=755")).unwrap();
        tree.fill();
        tree
    }

    /// The same as a directory of the host's own file system, mounted elsewhere.
    pub(super) fn bound() -> Self {
        let mut tree = Self::empty();
        let store = tempfile::tempdir().unwrap();
        mount(Some(store.path()), &tree.root(), NONE, MsFlags::MS_BIND, NONE).unwrap();
        fs::set_permissions(tree.root(), fs::Permissions::from_mode(0o755)).unwrap();
        tree.store = Some(store);
        tree.fill();
        tree
    }

    fn empty() -> Self {
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE).unwrap();
        Self { dir: tempfile::tempdir().unwrap().keep(), store: None }
    }

    fn fill(&self) {
        let root = self.root();
        for dir in ["usr", "proc", "tmp", "dev", "etc", "root", "home", "srv"] {
            fs::create_dir(root.join(dir)).unwrap();
        }
        fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
        for dir in ["bin", "sbin", "lib", "lib64"] {
            symlink(format!("usr/{dir}"), root.join(dir)).unwrap();
        }
        for dir in ["usr", "dev", "proc"] {
            mount(Some(&Path::new("/").join(dir)), &root.join(dir), NONE, MsFlags::MS_BIND, NONE).unwrap();
        }
        let read_only = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
        mount(NONE, &root.join("usr"), NONE, read_only, NONE).unwrap();
    }

    pub(super) fn root(&self) -> PathBuf {
        self.dir.clone()
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
        let _ = umount2(&self.dir, MntFlags::MNT_DETACH);
        let _ = fs::remove_dir(&self.dir);
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
    /// The name of a control group that is there.
    pub(super) cgroup: Option<String>,
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
            cgroup: None,
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
        self.at_with(root, enter)
    }

    pub(super) fn at_with<T>(self, root: &Path, go: impl FnOnce(&Entry<'_>) -> T) -> T {
        let process = Process::unhardened().unwrap();
        let target = Account::by_name(self.user).unwrap();
        let cgroup = self.cgroup.and_then(|name| Cgroup::open(&name).unwrap());
        let environment: Vec<Variable> =
            process.environment().for_command(&target, false, &Filter::default(), &self.extra);
        go(&Entry {
            confirm: super::enter::Confirm(&|| Ok(())),
            root,
            target: &target,
            program: self.program,
            directory: self.directory,
            environment,
            namespaces: self.namespaces,
            hostname: self.hostname,
            cgroup: cgroup.as_ref(),
            process: &process,
            no_new_privs: self.no_new_privs,
            inert: super::mount::Inert::default(),
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
            // The test's own output is captured in memory that nobody will see.
            std::panic::set_hook(Box::new(|info| {
                let _ = rustix::io::write(rustix::stdio::stderr(), format!("{info}\n").as_bytes());
            }));
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
            super::clone::exit_now(result.unwrap_or(101));
        }
    }
}

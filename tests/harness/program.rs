//! Calls of the program: with an environment of their own, in `/`, and never longer than a minute.

use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The program under test. In a machine that tests were carried to it lies elsewhere than where it was built.
pub fn binary() -> PathBuf {
    std::env::var_os("NEXTEST_BIN_EXE_zchroot")
        .map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_zchroot")), PathBuf::from)
}

/// A call that is being put together.
pub struct Order {
    command: Command,
    input: Vec<u8>,
    words: Vec<OsString>,
}

impl Order {
    /// A call of `program` with an environment that holds nothing but `PATH` and what is added.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        let mut command = Command::new(program.as_ref());
        command.env_clear().env("PATH", PATH).env("LC_ALL", "C.UTF-8").current_dir("/");
        // Where libzfs_core lies if it is not installed: the loader's business, the program never sees it.
        command.envs(std::env::var_os("LD_LIBRARY_PATH").map(|path| ("LD_LIBRARY_PATH", path)));
        Self { command, input: Vec::new(), words: vec![program.as_ref().to_owned()] }
    }

    pub fn word(mut self, word: impl AsRef<OsStr>) -> Self {
        self.words.push(word.as_ref().to_owned());
        self.command.arg(word);
        self
    }

    pub fn words<'a>(self, words: impl IntoIterator<Item = &'a str>) -> Self {
        words.into_iter().fold(self, Self::word)
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    pub fn input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = bytes.into();
        self
    }

    pub fn current_dir(mut self, dir: impl AsRef<Path>) -> Self {
        self.command.current_dir(dir);
        self
    }

    /// As an ordinary user, with no group but his own and `groups`.
    pub fn user(mut self, uid: u32, groups: &'static [u32]) -> Self {
        // SAFETY: setgroups, setgid and setuid are plain system calls.
        unsafe {
            self.command.pre_exec(move || {
                let groups: Vec<_> = groups.iter().map(|gid| nix::unistd::Gid::from_raw(*gid)).collect();
                nix::unistd::setgroups(&groups)?;
                nix::unistd::setgid(nix::unistd::Gid::from_raw(uid))?;
                nix::unistd::setuid(nix::unistd::Uid::from_raw(uid))?;
                Ok(())
            });
        }
        self
    }

    /// Something that is done in the child before the program starts; only system calls.
    pub fn before(mut self, step: impl Fn() -> std::io::Result<()> + Send + Sync + 'static) -> Self {
        // SAFETY: the callers' closures make system calls only.
        unsafe { self.command.pre_exec(step) };
        self
    }

    /// As a command of the standard library, for those who look after the process themselves.
    pub fn into_command(self) -> Command {
        self.command
    }

    /// Starts it and lets it run; it is killed when the result is dropped.
    pub fn start(mut self) -> Running {
        self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = self.command.spawn().unwrap_or_else(|error| panic!("start {:?}: {error}", self.words));
        Running { child: Some(child), words: self.words }
    }

    /// Runs it to its end.
    pub fn run(mut self) -> Done {
        let input = std::mem::take(&mut self.input);
        let mut running = self.start();
        let mut stdin = running.child.as_mut().unwrap().stdin.take().unwrap();
        std::thread::spawn(move || {
            // A program that reads nothing closes the pipe: that is its right.
            let _ = stdin.write_all(&input);
        });
        running.finish()
    }
}

/// A call that runs.
pub struct Running {
    child: Option<Child>,
    words: Vec<OsString>,
}

impl Running {
    pub fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// The next line that it prints, at once.
    pub fn line(&mut self) -> String {
        let stdout = self.child.as_mut().unwrap().stdout.as_mut().unwrap();
        #[allow(clippy::unbuffered_bytes, reason = "what follows the line is for others to read")]
        let bytes = stdout.bytes().map(Result::unwrap).take_while(|byte| *byte != b'\n').collect();
        String::from_utf8(bytes).unwrap()
    }

    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.pid().cast_signed()), signal).unwrap();
    }

    /// Kills it alone, not what it started, and waits for its end.
    pub fn kill(mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Closes its standard input and waits for its end, at most a minute.
    #[track_caller]
    pub fn finish(mut self) -> Done {
        let mut child = self.child.take().unwrap();
        drop(child.stdin.take());
        let (ended, end) = mpsc::channel::<()>();
        let pid = nix::unistd::Pid::from_raw(child.id().cast_signed());
        let watchdog = std::thread::spawn(move || {
            let late = end.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout);
            if late {
                let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
            }
            late
        });
        let mut stderr = child.stderr.take().unwrap();
        let errors = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            stderr.read_to_end(&mut bytes).map(|_| bytes)
        });
        let mut stdout = Vec::new();
        child.stdout.take().unwrap().read_to_end(&mut stdout).unwrap();
        let status = child.wait().unwrap();
        drop(ended);
        let stderr = String::from_utf8_lossy(&errors.join().unwrap().unwrap()).into_owned();
        let done = Done {
            status: status.code().unwrap_or_else(|| 1000 + status.signal().unwrap()),
            stdout,
            stderr,
            words: std::mem::take(&mut self.words),
        };
        assert!(!watchdog.join().unwrap(), "it took longer than a minute: {done}");
        done
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A call that has ended.
#[derive(Debug)]
pub struct Done {
    /// Its exit status; 1000 and the signal, if one killed it.
    pub status: i32,
    pub stdout: Vec<u8>,
    pub stderr: String,
    words: Vec<OsString>,
}

impl Done {
    #[track_caller]
    pub fn exits(self, status: i32) -> Self {
        assert_eq!(self.status, status, "{self}");
        self
    }

    #[track_caller]
    pub fn ok(self) -> Self {
        self.exits(0)
    }

    /// Its output as text, without the last line end.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim_end().to_owned()
    }

    #[track_caller]
    pub fn prints(self, text: &str) -> Self {
        assert_eq!(self.text(), text, "{self}");
        self
    }

    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "does not say {text:?}: {self}");
        self
    }

    #[track_caller]
    pub fn json(self) -> serde_json::Value {
        assert_eq!(self.status, 0, "{self}");
        serde_json::from_slice(&self.stdout).unwrap_or_else(|error| panic!("no JSON: {error}: {self}"))
    }
}

impl std::fmt::Display for Done {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{:?}\nexited with {}", self.words, self.status)?;
        writeln!(f, "stdout: {}", String::from_utf8_lossy(&self.stdout))?;
        write!(f, "stderr: {}", self.stderr)
    }
}

/// Just this on stdout, nothing on stderr, status 0.
#[track_caller]
pub fn gives(done: Done, stdout: &str) {
    let done = done.ok();
    assert_eq!((done.text().as_str(), done.stderr.as_str()), (stdout, ""), "{done}");
}

/// Nothing on stdout, just this on stderr, status 1.
#[track_caller]
pub fn refuses(done: Done, stderr: &str) {
    let done = done.exits(1);
    assert_eq!((done.text().as_str(), done.stderr.as_str()), ("", stderr), "{done}");
}

//! Programs of the host, run with nothing of the caller's: the one wrapper of `Command`.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Gid, Mode, Uid};

use super::effect;
use super::env::ROOT_PATH;
use super::log::escape;
use super::privilege::raised;

const CHUNK: usize = 64 << 10;
const TAIL: usize = 1 << 10;
const LONGEST_LINE: usize = 8 << 10;

/// `mmdebstrap ARGUMENT...`: makes a Debian tree.
pub const MMDEBSTRAP: &str = "/usr/bin/mmdebstrap";
/// `zpool ARGUMENT...`.
pub const ZPOOL: &str = "/usr/sbin/zpool";
/// `modprobe MODULE`.
pub const MODPROBE: &str = "/usr/sbin/modprobe";

/// `tar ARGUMENT...`.
pub const TAR: &str = "/bin/tar";
/// `mount ARGUMENT...`.
pub const MOUNT: &str = "/bin/mount";

/// Why a program did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It could not be started or talked to.
    #[error("cannot run {path}")]
    Start {
        /// The program.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It failed.
    #[error("{path} failed with {ended}{}", if tail.is_empty() { String::new() } else { format!(": {tail}") })]
    Failed {
        /// The program.
        path: String,
        /// Its exit status or signal.
        ended: String,
        /// The end of what it wrote to standard error.
        tail: String,
    },
}

/// A program of the host, to be run as root with an environment of its own.
#[derive(Debug)]
pub struct HostProgram {
    path: String,
    name: Option<OsString>,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    stdin: Option<std::fs::File>,
    stdout: Option<std::fs::File>,
}

/// Where a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

impl HostProgram {
    /// The program at an absolute path.
    #[must_use]
    pub fn new(path: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            name: None,
            arguments: Vec::new(),
            environment: Vec::new(),
            stdin: None,
            stdout: None,
        }
    }

    /// Calls it by another name than its path.
    #[must_use]
    pub fn name(mut self, name: impl AsRef<OsStr>) -> Self {
        self.name = Some(name.as_ref().to_owned());
        self
    }

    /// Adds an argument. What a user named comes after `--`.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args(mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.arguments.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    /// Adds a variable to the environment, which else has only `PATH`.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.into(), value.as_ref().to_owned()));
        self
    }

    /// Gives it a file as standard input, which else is empty.
    #[must_use]
    pub fn stdin(mut self, file: std::fs::File) -> Self {
        self.stdin = Some(file);
        self
    }

    /// Gives it a file as standard output, of which then nothing is heard.
    #[must_use]
    pub fn stdout(mut self, file: std::fs::File) -> Self {
        self.stdout = Some(file);
        self
    }

    /// Runs it and returns what it wrote to standard output.
    ///
    /// # Errors
    /// It did not start or did not succeed.
    pub fn run(self) -> Result<Vec<u8>, Error> {
        let mut output = Vec::new();
        self.drive(&mut |stream, chunk| {
            if stream == Stream::Out {
                output.extend_from_slice(chunk);
            }
        })?;
        Ok(output)
    }

    /// Runs it and passes each line that it writes to `on_line`, without its end.
    ///
    /// # Errors
    /// As [`HostProgram::run`].
    pub fn stream(self, on_line: &mut dyn FnMut(Stream, &str)) -> Result<(), Error> {
        let (mut out, mut err) = (Lines::default(), Lines::default());
        let result = self.drive(&mut |stream, chunk| match stream {
            Stream::Out => out.take(chunk, &mut |line| on_line(stream, line)),
            Stream::Err => err.take(chunk, &mut |line| on_line(stream, line)),
        });
        out.finish(&mut |line| on_line(Stream::Out, line));
        err.finish(&mut |line| on_line(Stream::Err, line));
        result
    }

    fn drive(self, on_chunk: &mut dyn FnMut(Stream, &[u8])) -> Result<(), Error> {
        let path = self.path.clone();
        let start = |source| Error::Start { path: path.clone(), source };
        effect::point("run program").map_err(start)?;
        let mut child = self.start().map_err(start)?;
        let mut tail = Tail::default();
        let read = read_both(&mut child, &mut |stream, chunk| {
            if stream == Stream::Err {
                tail.take(chunk);
            }
            on_chunk(stream, chunk);
        });
        let status = child.wait().map_err(start)?;
        read.map_err(start)?;
        if status.success() {
            return Ok(());
        }
        let ended = match (status.code(), status.signal()) {
            (Some(code), _) => format!("status {code}"),
            (None, signal) => format!("signal {}", signal.unwrap_or(0)),
        };
        Err(Error::Failed { path, ended, tail: tail.text() })
    }

    #[expect(clippy::disallowed_methods, reason = "this is the wrapper that the ban points to")]
    fn start(self) -> io::Result<Child> {
        let mut command = Command::new(&self.path);
        command.arg0(self.name.unwrap_or_else(|| self.path.into()));
        command.args(self.arguments).env_clear().env("PATH", ROOT_PATH).envs(self.environment);
        command.current_dir("/").stderr(Stdio::piped());
        command.stdout(self.stdout.map_or_else(Stdio::piped, Stdio::from));
        command.stdin(self.stdin.map_or_else(Stdio::null, Stdio::from));
        // SAFETY: only system calls, no allocation.
        unsafe { command.pre_exec(become_root) };
        raised(|| command.spawn())
    }
}

/// Root in all ids, with root's group alone, and the umask that programs of root expect.
fn become_root() -> io::Result<()> {
    rustix::thread::set_thread_groups(&[Gid::ROOT])?;
    rustix::thread::set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT)?;
    rustix::thread::set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT)?;
    rustix::process::umask(Mode::from_raw_mode(0o022));
    Ok(())
}

/// Reads standard output and error as they come, until both are closed.
fn read_both(child: &mut Child, on_chunk: &mut dyn FnMut(Stream, &[u8])) -> io::Result<()> {
    let out = child.stdout.take().map(|pipe| (Stream::Out, OwnedFd::from(pipe)));
    let err = child.stderr.take().map(|pipe| (Stream::Err, OwnedFd::from(pipe)));
    let mut pipes: Vec<_> = out.into_iter().chain(err).collect();
    let mut buffer = vec![0; CHUNK];
    while !pipes.is_empty() {
        let mut fds: Vec<_> = pipes.iter().map(|(_, pipe)| PollFd::new(pipe, PollFlags::IN)).collect();
        match poll(&mut fds, None) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        let mut closed = Vec::new();
        for ((stream, pipe), _) in pipes.iter().zip(ready).filter(|(_, ready)| *ready) {
            match rustix::io::read(pipe, &mut buffer) {
                Ok(0) => closed.push(*stream),
                Ok(length) => on_chunk(*stream, buffer.get(..length).unwrap_or_default()),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        pipes.retain(|(stream, _)| !closed.contains(stream));
    }
    Ok(())
}

/// The end of what was written.
#[derive(Default)]
struct Tail(Vec<u8>);

impl Tail {
    fn take(&mut self, chunk: &[u8]) {
        self.0.extend_from_slice(chunk);
        let surplus = self.0.len().saturating_sub(TAIL);
        self.0.drain(..surplus);
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0).trim().lines().map(escape).collect::<Vec<_>>().join(" / ")
    }
}

/// Chunks into lines. Progress that overwrites itself (`\r`) counts as lines too.
#[derive(Default)]
struct Lines(Vec<u8>);

impl Lines {
    fn take(&mut self, chunk: &[u8], on_line: &mut dyn FnMut(&str)) {
        for byte in chunk {
            if matches!(byte, b'\n' | b'\r') || self.0.len() >= LONGEST_LINE {
                self.finish(on_line);
            }
            if !matches!(byte, b'\n' | b'\r') {
                self.0.push(*byte);
            }
        }
    }

    fn finish(&mut self, on_line: &mut dyn FnMut(&str)) {
        if !self.0.is_empty() {
            on_line(&String::from_utf8_lossy(&self.0));
            self.0.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SH: &str = "/bin/sh";

    fn script(text: &str) -> HostProgram {
        HostProgram::new(SH).args(["-c", text])
    }

    #[test]
    fn sys_root_a_program_gets_nothing_of_ours() {
        let output =
            script("env; pwd; umask; cat; grep -E '^(Uid|Gid|Groups|SigIgn|SigBlk)' /proc/$$/status")
                .env("LC_ALL", "C")
                .run()
                .unwrap();
        let text = String::from_utf8(output).unwrap();
        let shown: Vec<_> = text.lines().filter(|line| !line.starts_with("SigIgn")).collect();
        let path = format!("PATH={ROOT_PATH}");
        for line in ["LC_ALL=C", &path, "PWD=/", "/", "0022", "Uid:\t0\t0\t0\t0", "Gid:\t0\t0\t0\t0"] {
            assert!(shown.contains(&line), "{line}: {text}");
        }
        assert!(text.contains("Groups:\t0"), "{text}");
        // LC_ALL, PATH, PWD; directory, umask; two ids, groups, blocked signals.
        assert_eq!(shown.len(), 9, "{text}");
    }

    #[test]
    fn sys_root_a_failure_shows_the_status_and_the_end_of_the_errors() {
        let error = script("echo out; echo 'bad \u{1b}thing' >&2; echo worse >&2; exit 3").run().unwrap_err();
        assert_eq!(error.to_string(), "/bin/sh failed with status 3: bad \\u{1b}thing / worse");
        let error = script("kill -KILL $$").run().unwrap_err();
        assert_eq!(error.to_string(), "/bin/sh failed with signal 9");
        let error = script("yes | head -c 100000 >&2; echo end >&2; false").run().unwrap_err();
        let Error::Failed { tail, .. } = error else { panic!("{error:?}") };
        assert!(tail.ends_with("/ y / end") && tail.len() < 4 * TAIL);
    }

    #[test]
    fn sys_root_a_program_that_is_not_there_is_named() {
        let error = HostProgram::new("/no/such/program").run().unwrap_err();
        assert_eq!(error.to_string(), "cannot run /no/such/program");
        assert!(matches!(error, Error::Start { source, .. } if source.kind() == io::ErrorKind::NotFound));
    }

    #[test]
    fn sys_root_lines_arrive_one_by_one_and_the_last_without_its_end() {
        let mut lines = Vec::new();
        script("echo a; printf '1%%\\r2%%\\n'; echo e >&2; printf last")
            .stream(&mut |stream, line| lines.push((stream, line.to_owned())))
            .unwrap();
        let of = |wanted| {
            lines
                .iter()
                .filter(|(stream, _)| *stream == wanted)
                .map(|(_, line)| line.as_str())
                .collect::<Vec<_>>()
        };
        assert_eq!(of(Stream::Out), ["a", "1%", "2%", "last"]);
        assert_eq!(of(Stream::Err), ["e"]);
    }

    #[test]
    fn sys_root_much_output_on_both_sides_does_not_block() {
        let output = script("head -c 1000000 /dev/zero; head -c 1000000 /dev/zero >&2").run().unwrap();
        assert_eq!(output.len(), 1_000_000);
    }

    #[test]
    fn sys_root_a_file_can_be_standard_input() {
        let file = rustix::fs::open("/proc/self/comm", rustix::fs::OFlags::RDONLY, Mode::empty()).unwrap();
        let output = HostProgram::new("/bin/cat").stdin(file.into()).run().unwrap();
        assert!(!output.is_empty());
    }

    #[test]
    fn a_program_can_fail_at_its_effect() {
        use crate::sys::effect::{Mode, Plan, run};
        let plan = Plan { at: 1, mode: Mode::Fail(libc::ENOMEM) };
        let (result, seen) = run(plan, || script("true").run().unwrap_err().to_string());
        assert_eq!((result.unwrap().as_str(), seen), ("cannot run /bin/sh", vec!["run program"]));
    }
}

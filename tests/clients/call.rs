//! A call of a client, in a host: what it printed, on both streams, and how it ended.

use std::process::{Child, Command, Stdio};

/// How long any client may take, on a busy machine with a slow mirror.
const LIMIT: &str = "900";

/// A call that is being put together. It is ended with all that it started if it takes too long.
pub(crate) struct Call {
    command: Command,
}

impl Call {
    /// `enter` brings a command into the host.
    pub(crate) fn new(enter: &[String]) -> Self {
        let mut command = Command::new("timeout");
        command.args(["--signal=INT", "--kill-after=20", LIMIT]).args(enter).env_clear();
        // Nothing that is not a file of the log.
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self { command }
    }

    pub(crate) fn words<'a>(mut self, words: impl IntoIterator<Item = &'a str>) -> Self {
        self.command.args(words);
        self
    }

    pub(crate) fn start(mut self) -> Child {
        self.command.spawn().unwrap()
    }

    /// Runs it to its end.
    pub(crate) fn run(self) -> Told {
        Told::of(self.start())
    }
}

/// What a call told.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) status: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Told {
    /// Waits for the end of a call.
    pub(crate) fn of(child: Child) -> Self {
        let output = child.wait_with_output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Self { status: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    #[track_caller]
    pub(crate) fn exits(self, status: i32) -> Self {
        assert_eq!(self.status, Some(status), "{self}");
        self
    }

    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        self.exits(0)
    }

    /// Succeeds, and has nothing to remark.
    #[track_caller]
    pub(crate) fn quiet(self) -> Self {
        assert_eq!((self.status, self.stderr.as_str()), (Some(0), ""), "{self}");
        self
    }

    /// Its output without the last line end.
    pub(crate) fn text(&self) -> &str {
        self.stdout.trim_end()
    }

    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Self {
        assert!(self.stdout.contains(text) || self.stderr.contains(text), "does not say {text:?}: {self}");
        self
    }
}

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ended with {:?}\nstdout: {}\nstderr: {}", self.status, self.stdout, self.stderr)
    }
}
